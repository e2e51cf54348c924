"""Every reader of a file that others made or a disk may damage, each with a small valid file of its format."""

import bz2
import csv
import dataclasses
import gzip
import json
import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from mutation import Reader

from slt import features, wikipedia
from slt.config import schema
from slt.config.base import parse, read_params
from slt.config.data import CorpusConfig, FramesConfig, WikipediaConfig
from slt.corpora import how2sign, own, phoenix14t, phoenix14t_pami0
from slt.errors import DataError
from slt.evaluations import _read_sems
from slt.feature_set import INDEX, SCHEMA, FeatureSet
from slt.frame_decoding import by_threads
from slt.frames import ShardTask, make_shard
from slt.manifest import SPLITS, Clip, read_features_source, read_manifest, write_manifest
from slt.precomputed import read_features
from slt.score_files import Selection, read_texts
from slt.sem_space import SemSpace
from slt.store import file_sha256, write_json, write_table
from slt.targets import Targets
from slt.teacher import pack_vectors
from slt.video import read_frames
from slt.wikipedia_source import read_documents, source_files

ROOT = Path(__file__).parents[2]
TEXTS = ("am tag regnet es .", "in der nacht schneit es .", "morgen scheint die sonne .")
NAMES = ("a1", "b2", "c3")
CLEANING = parse(
    WikipediaConfig,
    {
        **{"source": "", "max_sentences": 100, "min_words": 2, "max_words": 40},
        **{"lowercase": False, "dev_sentences": 1},
    },
    "x.wikipedia",
)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def pictures(count: int = 3) -> np.ndarray:
    """Frames (count, 48, 64, 3) with edges and noise, so that every part of a codec has something to do."""
    frames = np.random.default_rng(0).integers(0, 60, (count, 48, 64, 3), dtype=np.uint8)
    for i in range(count):
        frames[i, 8:30, 4 * i : 4 * i + 20] += 120
    return frames


def write_video(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"threads": "1", "g": "5"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for frame in pictures(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def read_video(path: Path) -> Any:
    return list(read_frames(path, size=32, fit="stretch"))


def write_images(folder: Path, suffix: str) -> None:
    (folder / "frames").mkdir()
    for number, frame in enumerate(pictures(), 1):
        cv2.imwrite(str(folder / "frames" / f"image{number}{suffix}"), frame)


def write_frame_shard(folder: Path) -> None:
    write_video(folder / "clip.mp4")
    clips = tuple(Clip(name, "train", "de", "gsg", str(folder / "clip.mp4"), TEXTS[0]) for name in NAMES)
    config = FramesConfig(size=32, fit="stretch", stride=1, quality=90, clips_per_shard=3)
    make_shard(ShardTask(folder / "frames-00000.parquet", clips, config, {"stage": "frames"}))
    (folder / "sha256").write_text(file_sha256(folder / "frames-00000.parquet"))


def read_frame_shard(folder: Path, verified: bool) -> Any:
    """As the features stage reads it; unverified: as if the index named whatever lies there, so that pages speak."""
    shard = folder / "frames-00000.parquet"
    named = (folder / "sha256").read_text() if verified else file_sha256(shard)
    task = features.ShardTask(folder, {"file": shard.name, "sha256": named}, folder / "features.parquet", {})
    with by_threads(32, np.empty) as decode:
        read = list(features._shards([task], 8, decode))
        frames = [features._frames(decoded, batch) for decoded, batch in read if batch is not None]
    return [frames, read[-1][0].ids, read[-1][0].lengths]


def write_feature_set(folder: Path) -> None:
    rows = [{"id": name, "length": 5, "width": 8, "data": noise(5, 8).astype("<f2").tobytes()} for name in NAMES]
    shard = folder / "features-00000.parquet"
    write_table(shard, pa.Table.from_pylist(rows, schema=SCHEMA), {"stage": "features"})
    record = {"file": shard.name, "sha256": file_sha256(shard), "clips": 3, "frames": 15}
    index = {"backbone": {"backbone": "x"}, "dim": 8, "clips": 3, "frames": 15, "shards": [record]}
    write_json(folder / INDEX, index)


def read_feature_set(folder: Path) -> Any:
    shutil.rmtree(folder / "work", ignore_errors=True)  # an unpacked set of the file before
    found = FeatureSet.open(folder)
    return [found.dim, found.provenance, [(name, np.array(found.get(name))) for name in found.ids]]


def write_targets(folder: Path) -> None:
    provenance = {"model": "x", "sha256": "0", "size": 8, "prompt": ""}
    vectors = noise(3, 8)
    table = pa.table({"id": list(NAMES), "sem": pack_vectors(vectors)})
    write_table(folder / "targets.parquet", table, provenance)
    write_json(folder / "sem_space.json", SemSpace.fit(vectors, True, True).to_json())
    write_json(folder / "targets.json", {**provenance, "clips": 3})


def read_targets(folder: Path) -> Any:
    targets = Targets.open(folder)
    return [targets.provenance, targets.matrix(list(NAMES))]


def write_sems(folder: Path) -> None:
    np.savez(folder / "sems.npz", ids=np.array(NAMES), predicted=noise(3, 8), true=noise(3, 8) + 1)


def read_sems(folder: Path) -> Any:
    found = _read_sems(folder / "sems.npz")
    return dataclasses.astuple(found) if found else None


def write_corpus_manifest(folder: Path) -> None:
    clips = [Clip(n, s, "de", "gsg", f"{n}.mp4", t) for n, s, t in zip(NAMES, SPLITS, TEXTS, strict=True)]
    write_manifest(folder / "manifest.parquet", clips, {"gloss_free": True})


def read_corpus_manifest(folder: Path) -> Any:
    path = folder / "manifest.parquet"
    return [[dataclasses.astuple(clip) for clip in read_manifest(path)], read_features_source(path)]


def corpus(adapter: Any, folder: Path, **options: Any) -> Any:
    """What an adapter reads, with as many drops as there are."""
    config = CorpusConfig(adapter.__name__, "de", "gsg", dict.fromkeys(SPLITS, 99), options)
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    reading = adapter.read(config, "x", out)
    arrays = [np.load(path) for path in sorted(out.rglob("*.npy"))]
    return [[dataclasses.astuple(clip) for clip in reading.clips], reading.dropped, reading.rows, arrays]


def write_pami0(folder: Path) -> None:
    for at, (split, name, text) in enumerate(zip(SPLITS, NAMES, TEXTS, strict=True)):
        records = [
            {
                "name": f"{split}/{name}{i}",
                "signer": "s",
                "gloss": "REGEN",
                "text": text,
                "sign": torch.from_numpy(rows),
            }
            for i, rows in enumerate((noise(4, 6) + at, noise(3, 6) + at))  # no two splits may have the same
        ]
        (folder / f"pami0.{split}").write_bytes(gzip.compress(pickle.dumps(records, protocol=4), mtime=0))


def read_pami0(folder: Path) -> Any:
    return corpus(phoenix14t_pami0, folder, files={split: [str(folder / f"pami0.{split}")] for split in SPLITS})


def write_npy(folder: Path) -> None:
    np.save(folder / "clip.npy", noise(6, 8))


def own_rows() -> list[dict[str, str]]:
    return [
        {"id": f"{s}{i}", "split": s, "features": f"{s}{i}.npy", "text": text, "signer": "s 1", "gloss": "A B"}
        for s in SPLITS
        for i, text in enumerate(TEXTS)
    ]


def write_own(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        rows = own_rows()
        (folder / "media").mkdir()
        for row in rows:
            (folder / "media" / row["features"]).write_bytes(b"x" * 10)
        if name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist(rows), folder / name)
            return
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if name.endswith(".tsv") else ",")
            writer.writeheader()
            writer.writerows(rows)

    return write


def read_own(name: str) -> Callable[[Path], Any]:
    return lambda folder: corpus(own, folder, manifest=str(folder / name), media=str(folder / "media"))


def write_phoenix(folder: Path) -> None:
    annotation = folder / "annotations" / "manual"
    annotation.mkdir(parents=True)
    for split in SPLITS:
        lines = ["name|video|start|end|speaker|orth|translation"]
        for i, text in enumerate(TEXTS):
            lines.append(f"{split}{i}|{split}{i}/1/*.png|-1|-1|Signer08|AM TAG REGEN|{text.removesuffix(' .')} übrig")
        (annotation / f"PHOENIX-2014-T.{split}.corpus.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = ["split\tname\tnum_frames", *(f"{split}\t{split}{i}\t{20 + i}" for split in SPLITS for i in range(3))]
    (folder / "num_frames.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_phoenix(folder: Path) -> Any:
    return corpus(phoenix14t, folder, root=str(folder), text_only=True, frame_counts=str(folder / "num_frames.tsv"))


def write_how2sign(folder: Path) -> None:
    columns = ("VIDEO_ID", "VIDEO_NAME", "SENTENCE_ID", "SENTENCE_NAME", "START_REALIGNED", "END_REALIGNED", "SENTENCE")
    for split in SPLITS:
        (folder / split).mkdir()
        lines = ["\t".join(columns)]
        for i, text in enumerate(TEXTS):
            (folder / split / f"{split}{i}.npy").write_bytes(b"x")
            lines.append(
                f'{split}-v{i}\t{split}-v{i}-rgb\t{split}-v_{i}\t{split}{i}\t{i}.5\t{i + 2}.25\t"{text} ""quoted"""'
            )
        (folder / f"how2sign_realigned_{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_how2sign(folder: Path) -> Any:
    return corpus(
        how2sign,
        folder,
        annotation={split: str(folder / f"how2sign_realigned_{split}.csv") for split in SPLITS},
        features={split: str(folder / split) for split in SPLITS},
    )


def dump() -> bytes:
    """A MediaWiki export of four pages with the markup that articles have."""
    text = (
        "'''Regen''' ist [[Niederschlag|flüssiger Niederschlag]].&lt;ref&gt;{{Literatur|Titel=Wetter}}&lt;/ref&gt; "
        "Er fällt aus [[Wolke]]n. {{lang|en|rain}} {| class=x\n|-\n| a || b\n|}\n* Liste\n== Titel ==\nNoch ein Satz."
    )
    page = "<page><title>Seite {0}</title><ns>{1}</ns><id>{0}</id><revision><model>wikitext</model><text>{2}</text>"
    pages = [page.format(i, 0 if i < 3 else 1, text) + "</revision></page>" for i in range(4)]
    names = '<namespace key="6">Datei</namespace><namespace key="14">Kategorie</namespace>'
    head = f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">\n<siteinfo><namespaces>{names}</namespaces>'
    return (head + "</siteinfo>\n" + "\n".join(pages) + "\n</mediawiki>\n").encode()


def read_source(name: str) -> Callable[[Path], Any]:
    """Documents of a Wikipedia source, cleaned as the stage cleans them."""
    return lambda folder: wikipedia.clean_documents(list(read_documents(source_files(folder / name))), CLEANING, "de")


def write_bytes(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def leipzig() -> bytes:
    return "".join(f"{i}\t{text.capitalize()}\n" for i, text in enumerate(TEXTS * 4, 1)).encode()


def write_articles(folder: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2], "text": [" ".join(TEXTS), "\n".join(TEXTS)]}), folder / "articles.parquet")


def write_params(folder: Path) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    kept = {"run": params["run"], **{name: params[name] for name in params["run"]["datasets"]}}
    (folder / "params.yaml").write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")


def read_parameters(folder: Path) -> Any:
    params = read_params(folder / "params.yaml")
    schema.check(params)
    return params


def jsonl() -> bytes:
    rows = [{"id": f"x{i}", "split": "test", "hypothesis": t, "reference": t[3:]} for i, t in enumerate(TEXTS)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def read_scored(name: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        found = read_texts(folder / name, "hypothesis", Selection())
        return [found.texts, found.ids, found.rows]

    return read


def make_faulty(folder: Path) -> None:
    (folder / "f.txt").write_text("v")


def read_faulty(folder: Path) -> str:
    """Fails as the file's first letter says."""
    letter = (folder / "f.txt").read_text()
    if letter == "b":
        raise KeyError("a bug")
    if letter == "u":
        raise DataError("something is wrong")
    if letter == "h":
        time.sleep(60)
    if letter == "c":
        import ctypes

        ctypes.string_at(0)
    return letter


def parquet_pages(valid: bytes) -> int:
    """Bytes of a Parquet file that page checksums cover: all before the footer."""
    return len(valid) - 8 - int.from_bytes(valid[-8:-4], "little")


READERS = (
    Reader("video, .mp4", "clip.mp4", lambda f: write_video(f / "clip.mp4"), lambda f: read_video(f / "clip.mp4")),
    Reader("video, .mkv", "clip.mkv", lambda f: write_video(f / "clip.mkv"), lambda f: read_video(f / "clip.mkv")),
    Reader(
        "frame folder, .png",
        "frames/image2.png",
        lambda f: write_images(f, ".png"),
        lambda f: read_video(f / "frames"),
        len,
    ),
    Reader(
        "frame folder, .jpg", "frames/image2.jpg", lambda f: write_images(f, ".jpg"), lambda f: read_video(f / "frames")
    ),
    Reader("frame shard", "frames-00000.parquet", write_frame_shard, lambda f: read_frame_shard(f, True), len),
    Reader(
        "frame shard, its pages alone",
        "frames-00000.parquet",
        write_frame_shard,
        lambda f: read_frame_shard(f, False),
        parquet_pages,
    ),
    Reader("feature shard", "features-00000.parquet", write_feature_set, read_feature_set, len),
    Reader("feature index", INDEX, write_feature_set, read_feature_set),
    Reader("targets", "targets.parquet", write_targets, read_targets, parquet_pages),
    Reader("targets' SEM space", "sem_space.json", write_targets, read_targets),
    Reader("evaluation's SEMs, .npz", "sems.npz", write_sems, read_sems, len),
    Reader("corpus manifest", "manifest.parquet", write_corpus_manifest, read_corpus_manifest, parquet_pages),
    Reader("pami0 pickle", "pami0.train", write_pami0, read_pami0, len),
    Reader("pami0 pickle, inside its gzip", "pami0.train", write_pami0, read_pami0, packed=True),
    Reader("features, .npy", "clip.npy", write_npy, lambda f: read_features(f / "clip.npy", "clip")),
    Reader("own corpus, .csv", "clips.csv", write_own("clips.csv"), read_own("clips.csv")),
    Reader("own corpus, .tsv", "clips.tsv", write_own("clips.tsv"), read_own("clips.tsv")),
    Reader("own corpus, .parquet", "clips.parquet", write_own("clips.parquet"), read_own("clips.parquet")),
    Reader(
        "PHOENIX-2014T annotation",
        "annotations/manual/PHOENIX-2014-T.train.corpus.csv",
        write_phoenix,
        read_phoenix,
    ),
    Reader("PHOENIX-2014T frame counts", "num_frames.tsv", write_phoenix, read_phoenix),
    Reader("How2Sign annotation", "how2sign_realigned_train.csv", write_how2sign, read_how2sign),
    Reader("MediaWiki dump, .xml", "wiki.xml", write_bytes("wiki.xml", dump()), read_source("wiki.xml")),
    Reader(
        "MediaWiki dump, .xml.bz2",
        "wiki.xml.bz2",
        write_bytes("wiki.xml.bz2", bz2.compress(dump())),
        read_source("wiki.xml.bz2"),
        len,
    ),
    Reader("sentences, .txt", "text.txt", write_bytes("text.txt", leipzig()), read_source("text.txt")),
    Reader(
        "sentences, .txt.gz",
        "text.txt.gz",
        write_bytes("text.txt.gz", gzip.compress(leipzig(), mtime=0)),
        read_source("text.txt.gz"),
        len,
    ),
    Reader("articles, .parquet", "articles.parquet", write_articles, read_source("articles.parquet")),
    Reader("params.yaml", "params.yaml", write_params, read_parameters),
    Reader("slt score, .jsonl", "output.jsonl", write_bytes("output.jsonl", jsonl()), read_scored("output.jsonl")),
    Reader("slt score, plain", "output.txt", write_bytes("output.txt", leipzig()), read_scored("output.txt")),
)

FAULTY = Reader("a reader with every fault", "f.txt", make_faulty, read_faulty, len)
