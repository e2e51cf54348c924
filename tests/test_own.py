"""A corpus of one's own: what a table may say, what drops one clip by name, and what stops the run by line."""

import csv
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from test_video import pictures, write_video

import stages.corpus
import stages.frames
from slt.annotation import LINE_LIMIT
from slt.cli import main
from slt.config.base import read_params
from slt.config.data import CorpusConfig
from slt.config.schema import check
from slt.corpora import Reading, read_corpus, report
from slt.errors import ConfigError, DataError
from slt.manifest import Clip
from slt.store import file_sha256, read_json

ROOT = Path(__file__).parents[1]
SPLITS = {"train": "train", "val": "dev", "test": "test"}
HUGS = "signal\tsignal_start\tsignal_end\tencoder_prompt\tdecoder_prompt\toutput\n"


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SLT_RAW with a corpus of three videos of two seconds at 25 frames per second."""
    monkeypatch.setenv("SLT_RAW", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for later, name in enumerate(("a", "b", "c")):
        (tmp_path / "mine" / "videos" / name).mkdir(parents=True)
        write_video(tmp_path / "mine" / "videos" / name / "v.mp4", pictures(50 + later, 64, 64)[later:])
    return tmp_path / "mine"


def write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")


def config(**options: Any) -> CorpusConfig:
    defaults = {"manifest": "raw:mine/clips.tsv", "media": "raw:mine/videos", "splits": SPLITS}
    dropped = {"train": 9, "dev": 9, "test": 9}
    return CorpusConfig("own", "en", "ase", dropped, {**defaults, **options})


def read(raw: Path, **options: Any) -> Reading:
    return read_corpus(config(**options), "mine", raw)


MINIMAL = "id\tsplit\tvideo\ttext\n1\ttrain\ta/v.mp4\tOne.\n2\tval\tb/v.mp4\tTwo.\n3\ttest\tc/v.mp4\tThree.\n"


def test_the_smallest_table(raw: Path) -> None:
    write(raw / "clips.tsv", MINIMAL)
    reading = read(raw)
    stat = (raw / "videos/a/v.mp4").stat()
    assert reading.clips[0] == Clip(
        "1",
        "train",
        "en",
        "ase",
        "raw:mine/videos/a/v.mp4",
        "One.",
        fingerprint=f"stat:{stat.st_size}:{stat.st_mtime_ns}",
    )
    assert [clip.split for clip in reading.clips] == ["train", "dev", "test"] and not reading.dropped
    findings = report(reading, config())
    assert findings["notes"]["manifest_sha256"] == {"raw:mine/clips.tsv": file_sha256(raw / "clips.tsv")}
    assert findings["splits"]["dev"]["rows"] == 1
    assert read(raw, hash_media=True).clips[0].fingerprint == f"sha256:{file_sha256(raw / 'videos/a/v.mp4')}"


FULL = [
    {
        "id": "x-1",
        "split": "train",
        "video": "a/v.mp4",
        "start": "0.5",
        "end": "1.25",
        "text": 'He said "go",\tthen;  left.',
        "gloss": "GO  LEAVE",
        "signer": "S1",
        "language": "de",
        "references": "He said to go. | He left.",
        "features": "f.npy",
    },
    {"id": "x-2", "split": "train", "video": "a/v.mp4", "start": "1.25", "end": "", "text": "“Ü” – ’s"},
    {"id": "y", "split": "val", "video": "b/v.mp4", "text": '"Yes."'},
    {"id": "z", "split": "test", "video": "c/v.mp4", "start": "", "end": "1", "text": "a, b; c"},
]


def test_a_split_without_a_clip_names_its_table_and_what_to_do(raw: Path) -> None:
    write(raw / "clips.tsv", MINIMAL.replace("2\tval", "2\ttrain"))
    with pytest.raises(DataError) as caught:
        report(read(raw), config())
    assert str(caught.value) == (
        f"mine.corpus: the dev split has no clip: no row of {raw}/clips.tsv belongs to it; add some there, or correct "
        "mine.corpus.options"
    )
    for split, folder in (("train", "a"), ("dev", "b"), ("test", "gone")):
        write(raw / f"{split}.csv", f"id,video,text\n{split},{folder}/v.mp4,Text\n")
    reading = read(raw, manifest={split: f"raw:mine/{split}.csv" for split in ("train", "dev", "test")})
    message = (
        rf"the test split has no clip: all 1 rows of {raw}/test\.csv were dropped, the first `test`: missing .*; mend"
    )
    with pytest.raises(DataError, match=message):
        report(reading, config())


def test_ids_that_an_adapter_lets_stand_twice_are_named_with_their_files(raw: Path) -> None:
    write(raw / "clips.tsv", MINIMAL)
    reading = read(raw)
    reading.clips.append(replace(reading.clips[0], split="test"))
    message = rf"mine\.corpus: 1 clip ids stand twice, e\.g\. `1` in {raw}/clips\.tsv; make them unique there, or"
    with pytest.raises(DataError, match=message):
        report(reading, config())
    reading.annotation = {}
    with pytest.raises(DataError, match=r"`1` in the train split and the test split; make them .*slt/corpora/own\.py"):
        report(reading, config())


def test_a_copy_under_another_name_in_two_splits_is_found_by_its_hash(raw: Path) -> None:
    shutil.copy(raw / "videos/a/v.mp4", raw / "videos/a/copy.mp4")
    write(raw / "clips.tsv", MINIMAL + "4\tval\ta/copy.mp4\tx\n")
    assert len(read(raw).clips) == 4
    with pytest.raises(DataError, match="clip `4` of dev is clip `1` of train: the same media"):
        read(raw, hash_media=True)


@pytest.mark.parametrize("form", ["tsv", "csv", "semicolons", "bom", "crlf", "parquet"])
def test_every_column_in_every_form(raw: Path, form: str) -> None:
    np.save(raw / "videos" / "f.npy", np.zeros((3, 4)))
    path = raw / ("clips.parquet" if form == "parquet" else "clips.tsv")
    if form == "parquet":
        times = {"start": pa.float64(), "end": pa.float64(), "references": pa.list_(pa.string())}
        rows = [{name: row.get(name) or None for name in FULL[0]} for row in FULL]
        for row in rows:
            row |= {name: row[name] and float(row[name]) for name in ("start", "end")}
            row["references"] = row["references"] and row["references"].split("|")
        schema = pa.schema([(name, times.get(name, pa.string())) for name in FULL[0]])
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    else:
        with path.open("w", encoding="utf-8-sig" if form == "bom" else "utf-8", newline="") as file:
            delimiter = {"csv": ",", "semicolons": ";"}.get(form, "\t")
            end = "\r\n" if form == "crlf" else "\n"
            table = csv.DictWriter(file, FULL[0], delimiter=delimiter, lineterminator=end)
            table.writeheader()
            table.writerows(FULL)
    first, second, dev, test = read(raw, manifest=f"raw:mine/{path.name}").clips
    assert (first.start, first.end, first.text) == (0.5, 1.25, 'He said "go", then; left.')
    assert (first.gloss, first.signer, first.language) == ("GO LEAVE", "S1", "de")
    assert first.references == ("He said to go.", "He left.")
    assert first.features == "raw:mine/videos/f.npy" and first.video == "raw:mine/videos/a/v.mp4"
    assert first.fingerprint is not None and len(first.fingerprint.split()) == 2
    assert (second.start, second.end, second.text, second.gloss) == (1.25, None, "“Ü” – ’s", None)
    assert (dev.split, dev.text, dev.start) == ("dev", '"Yes."', None)
    assert (test.start, test.end, test.language, test.references) == (None, 1.0, "en", ())


def test_columns_under_other_names_and_no_ids(raw: Path) -> None:
    write(raw / "clips.tsv", "FILE,SET,SENTENCE,FROM\na/v.mp4,train,One.,0.5\nb/v.mp4,dev,Two.,\nc/v.mp4,test,3,1\n")
    names = {"video": "FILE", "split": "SET", "text": "SENTENCE", "start": "FROM"}
    assert [clip.id for clip in read(raw, columns=names).clips] == ["a/v-0.5", "b/v", "c/v-1"]


def test_a_table_per_split(raw: Path) -> None:
    for split, folder in (("train", "a"), ("dev", "b"), ("test", "c")):
        write(raw / f"{split}.csv", f"id,video,text\n{split},{folder}/v.mp4,Text\n")
    reading = read(raw, manifest={split: f"raw:mine/{split}.csv" for split in ("train", "dev", "test")})
    assert [(clip.id, clip.split) for clip in reading.clips] == [(split, split) for split in ("train", "dev", "test")]
    assert len(reading.notes["manifest_sha256"]) == 3
    with pytest.raises(ConfigError, match="manifest needs one file, or the keys train, dev, test"):
        read(raw, manifest={"train": "x"})


def hugs(raw: Path, *train: str, **options: Any) -> Reading:
    """What multimodalhugs' three TSV files are read as."""
    for split, rows in (
        ("train", train),
        ("dev", ("b/v.mp4\t0\t0\t\t\tTwo.",)),
        ("test", ("c/v.mp4\t\t\t\t\tThree.",)),
    ):
        write(raw / f"{split}.tsv", HUGS + "".join(row + "\n" for row in rows))
    manifest = {split: f"raw:mine/{split}.tsv" for split in ("train", "dev", "test")}
    return read(raw, manifest=manifest, layout="multimodalhugs", **options)


def test_multimodalhugs_times_are_milliseconds_and_zero_is_the_whole_video(raw: Path) -> None:
    np.save(raw / "videos" / "f.npy", np.zeros((3, 4)))
    absolute = raw / "videos" / "a" / "v.mp4"
    reading = hugs(
        raw,
        "a/v.mp4\t500\t1250\t__ase__\t__en__\tOne.",
        "a/v.mp4\t0\t500\t__ase__\t__en__\tTwo.",
        "a/v.mp4\t1500\t0\t\t\tThree.",
        f"{absolute}\t0\t0\t\t\tFour.",
        "f.npy\t0\t0\t\t\tFive.",
    )
    assert [(clip.start, clip.end) for clip in reading.clips] == [
        (0.5, 1.25),
        (None, 0.5),
        (1.5, None),
        *[(None, None)] * 4,
    ]
    assert [clip.id for clip in reading.clips[:2]] == ["a/v-500-1250", "a/v-0-500"]
    assert reading.clips[3].video == "raw:mine/videos/a/v.mp4"
    assert (reading.clips[4].video, reading.clips[4].features) == ("", "raw:mine/videos/f.npy")


def test_multimodalhugs_times_in_frames(raw: Path) -> None:
    reading = hugs(raw, "a/v.mp4\t10\t11\t\t\tOne.", "a/v.mp4\t20\t40\t\t\tTwo.", unit="frames")
    assert [(clip.start, clip.end) for clip in reading.clips[:2]] == [(0.4, 0.44), (0.8, 1.6)]
    from slt.video import read_frames

    counts = [len(list(read_frames(raw / "videos/a/v.mp4", size=8, fit="stretch", start=c.start, end=c.end)))
              for c in reading.clips[:2]]  # fmt: skip
    assert counts == [1, 20]


def test_bad_clips_are_dropped_with_their_reason(raw: Path) -> None:
    (raw / "videos" / "bad.mp4").write_bytes(b"no video")
    (raw / "videos" / "images").mkdir()
    np.save(raw / "videos" / "f.npy", np.zeros((3, 4)))
    rows = {
        "gone\ta/w.mp4\t\t\tText\t": "missing media file: a/w.mp4",
        "lost\ta/v.mp4\t\t\tText\tg.npy": "missing media file: g.npy",
        "mute\ta/v.mp4\t\t\t \t": "empty text",
        "bare\t\t\t\tText\t": "no media file: neither video nor features",
        "word\ta/v.mp4\tone\t2\tText\t": "times are no numbers: `one` to `2`",
        "comma\ta/v.mp4\t0,5\t1,5\tText\t": "times are no numbers: `0,5` to `1,5`",
        "nan\ta/v.mp4\tnan\t1\tText\t": "times are no numbers: `nan` to `1`",
        "minus\ta/v.mp4\t-1\t1\tText\t": "times are no numbers: `-1` to `1`",
        "back\ta/v.mp4\t1.5\t0.5\tText\t": "reversed times: 1.5 to 0.5 s",
        "zero\ta/v.mp4\t1\t1\tText\t": "zero length: at 1 s",
        "past\ta/v.mp4\t2\t3\tText\t": "starts past the end of its video: at 2 s of 2 s",
        "short\ta/v.mp4\t1\t1.02\tText\t": "shorter than one frame: 0.02 s at 25 frames per second",
        "odd\tbad.mp4\t0\t1\tText\t": f"unreadable video: {raw}/videos/bad.mp4: cannot be opened",
        "pics\timages\t0\t1\tText\t": "times in a folder of images: it has no presentation time",
        "vec\t\t0\t1\tText\tf.npy": "times without a video: features are taken whole",
        "\ta/v.mp4\t\t\tText\t": "no id",
    }
    header = "split\tid\tvideo\tstart\tend\ttext\tfeatures\n"
    good = "train\tlate\ta/v.mp4\t1.5\t2.5\tText\t\nval\tb\tb/v.mp4\t\t\tText\t\ntest\tc\tc/v.mp4\t\t\tText\t\n"
    write(raw / "clips.tsv", header + good + "".join(f"train\t{row}\n" for row in rows))
    reading = read(raw)
    assert [clip.id for clip in reading.clips] == ["late", "b", "c"]
    assert reading.clips[0].end == 2.0 and reading.notes["ends_clamped_to_video"] == {"clips": 1, "first": ["late"]}
    names = [row.split("\t")[0] or f"{raw.parent}/mine/clips.tsv: line 20" for row in rows]
    assert [name for _, name, _ in reading.dropped] == names
    for (_, name, reason), expected in zip(reading.dropped, rows.values(), strict=True):
        assert reason.startswith(expected), name
    assert reading.rows == {"train": 17, "dev": 1, "test": 1}
    with pytest.raises(DataError, match=r"16 train clips were dropped, more than mine\.corpus\.max_dropped\.train = 9"):
        report(reading, config())
    assert report(reading, replace(config(), max_dropped={"train": 16, "dev": 0, "test": 0}))


@pytest.mark.parametrize(
    "path",
    ["../secret.mp4", "a/../../secret.mp4", "/etc/passwd", "a\\v.mp4", "..", "a/\x01v.mp4", "{raw}/secret.mp4"],
)
@pytest.mark.parametrize("column", ["video", "features"])
def test_a_path_that_leads_out_of_the_media_folder_is_refused(raw: Path, path: str, column: str) -> None:
    (raw / "secret.mp4").write_bytes(b"")
    write(raw / "clips.tsv", f"id\tsplit\t{column}\ttext\n1\ttrain\t{path.format(raw=raw)}\tOne.\n")
    with pytest.raises(DataError, match=rf"clips\.tsv: line 2: {column} `.*` leads out of the media folder"):
        read(raw)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"clips\.tsv: the file is empty; it needs a header"),
        ("\n\n", r"clips\.tsv: the file is empty; it needs a header"),
        (MINIMAL.replace("\n", "\r"), "its lines end with a carriage return alone, as on old Macs; save it with line"),
        ("x\r" * LINE_LIMIT, "its lines end with a carriage return alone, as on old Macs; save it with line"),
        ("PAR1" + MINIMAL, r"a Parquet file by its content; let its name end in \.parquet or \.pq"),
        ("id\tsplit\tvideo\ttext\n", "no row in it"),
        ("id\tsplit\tvideo\tsentence\n1\ttrain\ta/v.mp4\tx\n", "no column `text`, found: id, split, video, sentence"),
        ("id\tvideo\ttext\n1\ta/v.mp4\tx\n", "no column `split`, found: id, video, text; rename"),
        (
            "id\tsplit\tfile\ttext\n1\ttrain\ta/v.mp4\tx\n",
            "no column `video` or `features`, found: id, split, file, text",
        ),
        ("id\tsplit\tvideo\ttext\ttext\n1\ttrain\ta/v.mp4\tx\ty\n", "column `text` stands twice"),
        ("id|split|video|text\n1|train|a/v.mp4|x\n", r"no column `split` and `text`, found: id\|split\|video\|text"),
        (
            MINIMAL + "4\textra\ta/v.mp4\tx\n",
            "line 5: split `extra` is none of train, dev, test; map it under `splits`",
        ),
        (MINIMAL + "4\t\ta/v.mp4\tx\n", "line 5: split `` is none of train, dev, test"),
        (MINIMAL + "2\tval\ta/v.mp4\tx\n", r"line 5: id `2` stands already in .*clips\.tsv: line 3"),
        (MINIMAL + "4\tval\ta/v.mp4\tx\n", "line 5: clip `4` of dev is clip `1` of train: the same media"),
        (MINIMAL + "4\ttrain\ta/v.mp4\tx\ty\n", "line 5: 5 fields where the header has 4"),
        (MINIMAL + "4\ttrain\ta/v.mp4\n", "line 5: 3 fields where the header has 4"),
        (MINIMAL + '4\ttrain\ta/v.mp4\t"Go", he said.\n', "line 5: .*set `quotes: false`"),
        (MINIMAL + '4\ttrain\ta/v.mp4\t"Go\n5\ttrain\ta/v.mp4\tand"\n', "line 5: .*set `quotes: false`"),
        ("id,split,video,text\n1,train,a/v.mp4,One, two.\n", "line 2: 5 fields where the header has 4; quote a text"),
    ],
)
def test_a_table_that_is_wrong_as_a_whole_is_refused_by_line(raw: Path, content: str, message: str) -> None:
    write(raw / "clips.tsv", content)
    with pytest.raises(DataError, match=message) as caught:
        read(raw)
    assert "clips.tsv" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (MINIMAL.replace("Two", "Zwö").encode("latin-1"), r"line 3 is not UTF-8 \(byte 0xf6\); save the file as UTF-8"),
        (MINIMAL.encode("utf-16"), r"line 1 is not UTF-8 \(byte 0xff\)"),
    ],
)
def test_another_encoding_is_named_by_line(raw: Path, content: bytes, message: str) -> None:
    (raw / "clips.tsv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(raw)


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_huge_field_is_refused_before_it_fills_the_memory(raw: Path, quote: str) -> None:
    import tracemalloc

    size = 2**30
    with (raw / "clips.tsv").open("wb") as file:
        file.write(f"id\tsplit\tvideo\ttext\n1\ttrain\ta/v.mp4\t{quote}".encode())
        file.truncate(size)  # a gigabyte of zeros that takes no room on the disk
    tracemalloc.start()
    with pytest.raises(DataError, match=f"line 2 is longer than {LINE_LIMIT} bytes, the limit of a row"):
        read(raw)
    assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    tracemalloc.stop()


def test_a_huge_field_of_a_parquet_file_is_refused(raw: Path) -> None:
    row = {"id": "1", "split": "train", "video": "a/v.mp4", "text": "x" * (LINE_LIMIT + 1)}
    pq.write_table(pa.Table.from_pylist([row]), raw / "clips.parquet")
    with pytest.raises(DataError, match=f"row 1: column `text` is longer than {LINE_LIMIT}"):
        read(raw, manifest="raw:mine/clips.parquet")
    (raw / "clips.parquet").write_bytes(b"PAR1" + b"x" * 100)
    with pytest.raises(DataError, match=r"clips\.parquet: unreadable Parquet file"):
        read(raw, manifest="raw:mine/clips.parquet")


@pytest.mark.parametrize("name", ["clips.pq", "clips.PARQUET"])
def test_a_parquet_file_under_its_other_suffixes_is_read(raw: Path, name: str) -> None:
    header, *rows = (line.split("\t") for line in MINIMAL.splitlines())
    pq.write_table(pa.Table.from_pylist([dict(zip(header, row, strict=True)) for row in rows]), raw / name)
    assert [clip.text for clip in read(raw, manifest=f"raw:mine/{name}").clips] == ["One.", "Two.", "Three."]


def parquet(raw: Path, **columns: Any) -> Reading:
    """Three rows of Parquet with further columns, or others."""
    videos = ["a/v.mp4", "b/v.mp4", "c/v.mp4"]
    table = {"id": [1, 2, 3], "split": ["train", "dev", "test"], "video": videos, "text": ["x", "y", "z"], **columns}
    pq.write_table(pa.table(table), raw / "clips.parquet")
    return read(raw, manifest="raw:mine/clips.parquet", splits={})


def test_binary_columns_of_parquet_are_text_in_utf_8(raw: Path) -> None:
    reading = parquet(raw, text=["ü".encode(), b"y", b"z"], references=[[b"a", None], [], None])
    assert [clip.text for clip in reading.clips] == ["ü", "y", "z"]
    assert reading.clips[0].references == ("a",)
    with pytest.raises(DataError, match=r"clips\.parquet: row 2: column `text` is not UTF-8 \(byte 0xff\); write the"):
        parquet(raw, text=[b"x", b"\xff", b"z"])


def test_nan_in_parquet_is_an_empty_cell(raw: Path) -> None:
    nan = float("nan")
    reading = parquet(raw, start=[nan] * 3, end=[nan, 1.0, nan], gloss=[nan] * 3, signer=[nan, 2.0, nan])
    assert not reading.dropped
    assert [(clip.start, clip.end) for clip in reading.clips] == [(None, None), (None, 1.0), (None, None)]
    assert [(clip.gloss, clip.signer) for clip in reading.clips] == [(None, None), (None, "2.0"), (None, None)]
    reading = parquet(raw, text=[nan, nan, nan], references=pa.array([[nan], [nan], [nan]]))
    assert [reason for _, _, reason in reading.dropped] == ["empty text"] * 3


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (
            "text",
            [1.5, 2.5, 3.5],
            r"row 1: column `text` holds 1\.5 \(float\) where text is needed; write the column as",
        ),
        ("gloss", [7, 8, 9], r"row 1: column `gloss` holds 7 \(int\) where text is needed"),
        ("text", [["x"], ["y"], ["z"]], r"row 1: column `text` holds \['x'\] \(list\) where text is needed"),
        ("signer", [True, False, True], r"row 1: column `signer` holds True \(bool\) where text or a number is needed"),
        ("references", [[1], [2], [3]], r"row 1: column `references` holds 1 \(int\) where text is needed"),
        ("video", [["a"], ["b"], ["c"]], r"row 1: column `video` holds \['a'\] \(list\) where text or a number is"),
    ],
)
def test_what_is_no_text_in_parquet_is_refused(raw: Path, column: str, values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=r"clips\.parquet: " + message):
        parquet(raw, **{column: values})


def test_without_quotes_a_quote_is_text(raw: Path) -> None:
    write(raw / "clips.tsv", MINIMAL.replace("One.", '"Go", he said.').replace("Two.", '"Open'))
    assert [clip.text for clip in read(raw, quotes=False).clips] == ['"Go", he said.', '"Open', "Three."]


def test_the_same_features_in_two_splits_are_refused(raw: Path) -> None:
    np.save(raw / "videos" / "f.npy", np.zeros((3, 4)))
    write(raw / "clips.tsv", "id\tsplit\tfeatures\ttext\n1\ttrain\tf.npy\tOne.\n2\ttest\tf.npy\tTwo.\n")
    with pytest.raises(DataError, match="clip `2` of test is clip `1` of train"):
        read(raw)


def test_two_stretches_of_one_video_may_stand_in_two_splits_and_are_counted(raw: Path) -> None:
    rows = "1\ttrain\ta/v.mp4\t0\t1\tOne.\n2\tval\ta/v.mp4\t1\t2\tTwo.\n3\ttest\tb/v.mp4\t\t\tThree.\n"
    write(raw / "clips.tsv", "id\tsplit\tvideo\tstart\tend\ttext\n" + rows)
    assert read(raw).notes["videos_in_several_splits"] == 1
    write(raw / "clips.tsv", "id\tsplit\tvideo\tstart\tend\ttext\n" + rows.replace("1\t2\tTwo", "0.0\t1.00\tTwo"))
    with pytest.raises(DataError, match="clip `2` of dev is clip `1` of train"):
        read(raw)


def cuts(raw: Path, train: str, test: str, **options: Any) -> Reading:
    """A clip of train and one of test, cut from the same video of two seconds at the times given."""
    rows = f"1\ttrain\ta/v.mp4\t{train}\tOne.\n2\tval\tb/v.mp4\t\t\tTwo.\n3\ttest\ta/v.mp4\t{test}\tThree.\n"
    write(raw / "clips.tsv", "id\tsplit\tvideo\tstart\tend\ttext\n" + rows)
    return read(raw, **options)


@pytest.mark.parametrize(
    ("train", "test"),
    [("\t1", "0\t1"), ("\t", "0\t99"), ("\t", "0\t"), ("0.5\t", "0.5\t99"), ("0\t", "\t2"), ("0\t2", "\t")],
)
@pytest.mark.parametrize("hash_media", [False, True])
def test_one_stretch_of_a_video_written_in_two_ways_in_two_splits_is_refused(
    raw: Path, train: str, test: str, hash_media: bool
) -> None:
    with pytest.raises(DataError, match="line 4: clip `3` of test is clip `1` of train: the same media"):
        cuts(raw, train, test, hash_media=hash_media)


@pytest.mark.parametrize(
    ("train", "test", "shared"),
    [
        ("0\t1", "0\t1.001", "1 s of one video, in which they are 0 to 1.001 s and 0 to 1 s"),
        ("\t", "1.5\t1.75", "0.25 s of one video, in which they are 1.5 to 1.75 s and 0 to 2 s"),
        ("0\t1.2", "0.5\t", "0.7 s of one video, in which they are 0.5 to 2 s and 0 to 1.2 s"),
        ("1.8\t", "0\t1.95", "0.15 s of one video, in which they are 0 to 1.95 s and 1.8 to 2 s"),
    ],
)
def test_stretches_that_share_most_of_the_shorter_in_two_splits_are_refused(
    raw: Path, train: str, test: str, shared: str
) -> None:
    with pytest.raises(DataError, match=re.escape(f"line 4: clip `3` of test shares with clip `1` of train {shared}")):
        cuts(raw, train, test)


def test_stretches_that_share_a_little_in_two_splits_are_counted_and_warned_of(
    raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reading = cuts(raw, "0\t1", "0.75\t2")
    assert reading.notes["overlaps_between_splits"] == {"pairs": 1, "first": ["`1` and `3`: 0.25 s"]}
    report(reading, config())
    line = (
        "mine.corpus: 1 pairs of clips in two splits share up to half of the shorter one: `1` and `3`: 0.25 s; cut them"
    )
    assert line in caplog.text
    assert "overlaps_between_splits" not in cuts(raw, "0\t1", "1\t2").notes
    assert "overlaps_between_splits" not in cuts(raw, f"0\t{0.1 + 0.2}", "0.3\t2").notes


def test_a_video_that_declares_no_length_is_one_stretch_all_the_same(raw: Path) -> None:
    write_video(raw / "videos/a/v.ts", pictures(50, 64, 64))
    (raw / "videos/a/v.ts").rename(raw / "videos/a/v.mp4")
    with pytest.raises(DataError, match="clip `3` of test is clip `1` of train: the same media"):
        cuts(raw, "\t", "0\t")
    with pytest.raises(
        DataError, match="shares with clip `1` of train most of one video, in which they are 1 to its end"
    ):
        cuts(raw, "\t", "1\t")
    assert cuts(raw, "0\t1", "1\t").notes["videos_in_several_splits"] == 1


def test_features_alone_are_no_video_in_several_splits(raw: Path) -> None:
    for name in "abc":
        np.save(raw / "videos" / f"{name}.npy", np.zeros((3, 4)))
    write(raw / "clips.tsv", "split\tfeatures\ttext\ntrain\ta.npy\tx\nval\tb.npy\ty\ntest\tc.npy\tz\n")
    assert read(raw).notes["videos_in_several_splits"] == 0


def test_unreadable_videos_are_counted_as_one_reason(raw: Path) -> None:
    rows = (
        "id\tsplit\tvideo\tend\ttext\n2\tval\tb/v.mp4\t\tTwo.\n3\ttest\tc/v.mp4\t\tThree.\n1\ttrain\ta/v.mp4\t\tOne.\n"
    )
    for name in ("bad1", "bad2"):
        (raw / "videos" / f"{name}.mp4").write_bytes(b"no video")
        rows += f"{name}\ttrain\t{name}.mp4\t1\tText\n"
    write(raw / "clips.tsv", rows)
    train = report(read(raw), config())["splits"]["train"]
    assert train["dropped_by_reason"] == {"unreadable video": 2}
    assert "bad2.mp4: cannot be opened" in train["dropped_clips"][1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"vidio": "x"}}, "columns: no column `vidio`; there are: id, split, video"),
        ({"splits": {"val": "valid"}}, "splits: `val` leads to `valid`; it must be one of train, dev, test"),
        ({"media": ""}, "media needs the folder"),
        ({"unit": "minutes"}, "unit"),
        ({"layout": "elan"}, "expected one of 'own', 'multimodalhugs'"),
        ({"manifests": "x"}, "did you mean `manifest`"),
    ],
)
def test_options_are_checked(raw: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(raw, **options)


def test_missing_files_say_what_to_do(raw: Path) -> None:
    with pytest.raises(DataError, match=r"clips\.tsv: no such annotation; correct its path, or set SLT_RAW"):
        read(raw)
    with pytest.raises(DataError, match=r"nowhere: no such folder of media; correct mine\.corpus\.options\.media"):
        read(raw, media="raw:nowhere")
    write(raw / "clips.tsv", MINIMAL)
    with pytest.raises(DataError, match="no column `GLOSSES`, found"):
        read(raw, columns={"gloss": "GLOSSES"})


DOCS = (ROOT / "docs" / "own-corpus.md").read_text(encoding="utf-8")
SHARED = ROOT.parent / "shared" / "data"


@pytest.mark.skipif(not (SHARED / "how2sign").is_dir(), reason="needs the shared How2Sign clips")
def test_a_new_corpus_takes_the_lines_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = [block.split("```")[0] for block in DOCS.split("```python\n")[1:]]
    commands = [block.split("```")[0].split("dvc repro")[0] for block in DOCS.split("```sh\n")[1:]]
    assert len((scripts[0] + commands[0]).splitlines()) < 10
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "raw").symlink_to(SHARED)
    monkeypatch.chdir(tmp_path)
    for name in ("SLT_RAW", "SLT_WORK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLT_WORKERS", "1")
    raw = tmp_path / "data" / "demo" / "corpus" / "raw"  # the demo's clips, of which the lines need no more than this
    (raw / "videos").mkdir(parents=True)
    write(raw / "annotation.tsv", "id\tsplit\tsigner\tgloss\ttext\treferences\ntrain-0000\ttrain\ts\tg\tt\t\n")
    for script, command in list(zip(scripts, commands, strict=False))[:2]:
        exec(script, {})
        main(shlex.split(command.replace("\\\n", ""))[1:])
    assert Path("mine.tsv").read_text().splitlines()[1].endswith("\ttrain-0000.mp4")
    expected = yaml.safe_load(DOCS.split("```yaml\n")[1].split("```")[0])
    assert read_params()["mine"]["corpus"] == expected["mine"]["corpus"]
    # an eighth of the frames, so that the test takes seconds
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("stride: 1", "stride: 8"))
    stages.corpus.main("asl")
    stages.frames.main("asl")
    findings = read_json(Path("data/asl/corpus/report.json"))["splits"]
    assert {split: found["clips"] for split, found in findings.items()} == {"train": 60, "dev": 7, "test": 7}
    index = read_json(Path("data/asl/frames/frames.json"))
    assert (index["clips"], index["dropped"]) == (74, [])
    with (SHARED / "how2sign" / "clips.tsv").open(encoding="utf-8", newline="") as file:
        frames = [int(row["frames"]) for row in csv.DictReader(file, delimiter="\t")]
    assert index["frames"] == sum(-(-count // 8) for count in frames)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a checkout with its params.yaml and an empty table."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "mine.tsv").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


NEW = ["new", "mine", "--like", "demo", "--manifest", "mine.tsv", "--media", "."]


def test_a_new_dataset_is_added_as_text_and_everything_else_stays(checkout: Path) -> None:
    before, text = read_params(), Path("params.yaml").read_text()
    main([*NEW, "--columns", "text=SATZ: #1", "--splits", "val=dev", "--language", "de", "--sign-language", "gsg"])
    after, added = read_params(), Path("params.yaml").read_text()
    check(after)
    lines = iter(added.splitlines())
    listed = re.sub(r"(?m)^(  datasets: \[.*)\]", r"\1, mine]", text)
    assert all(old in lines for old in listed.splitlines())
    mine = after.pop("mine")
    assert mine["corpus"] == {
        "adapter": "own",
        "language": "de",
        "sign_language": "gsg",
        "max_dropped": {"train": 0, "dev": 0, "test": 0},
        "options": {
            "manifest": "mine.tsv",
            "media": ".",
            "columns": {"text": "SATZ: #1"},
            "splits": {"val": "dev"},
        },
    }
    assert {**mine, "corpus": None} == {**before["demo"], "corpus": None}
    run = after.pop("run")
    assert after == {name: section for name, section in before.items() if name != "run"}
    assert run["datasets"] == [*before["run"]["datasets"], "mine"]
    assert list(run["targets"]) == [*before["run"]["targets"], "mine-minilm"]
    rows = {name: row for name, row in run["rows"].items() if name.startswith("mine")}
    assert list(rows) == [
        f"mine-{name}" for name in ("sign2text", "sign2sem2text", "sign2semtext", "sign2semtext-frames")
    ]
    assert rows["mine-sign2text"]["baseline"] is None and rows["mine-sign2semtext"]["baseline"] == "mine-sign2text"
    assert added.count("weights: package:") == text.count("weights: package:") + 1
    assert added.count("# ImageNet\n") == text.count("# ImageNet\n") + 1
    assert added.count("# few parallel clips") == 1  # it says why the demo's corpus is as it is
    assert added.endswith("\n") and "\n\n\n" not in added


def test_a_second_dataset_can_be_like_the_first(checkout: Path) -> None:
    main(NEW)
    main(["new", "yours", "--like", "mine", "--manifest", *(f"{s}=mine.tsv" for s in ("train", "dev", "test")),
          "--media", ".", "--layout", "multimodalhugs"])  # fmt: skip
    params = read_params()
    check(params)
    assert params["run"]["datasets"][-2:] == ["mine", "yours"]
    options = params["yours"]["corpus"]["options"]
    assert options["layout"] == "multimodalhugs" and set(options["manifest"]) == {"train", "dev", "test"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({1: "demo"}, "`demo` is taken"),
        ({1: "run"}, "`run` is taken"),
        ({1: "Mine-2"}, "`Mine-2` is taken or no name"),
        ({1: "null"}, "not laid out as text that can be added to"),
        ({3: "nothing"}, "no dataset `nothing` to copy; there are: demo, "),
        ({5: "none.tsv"}, "none.tsv: no such manifest"),
        ({5: "dev=mine.tsv"}, "--manifest: give one table, or three"),
        ({7: ""}, "media needs the folder"),
    ],
)
def test_what_cannot_be_added_leaves_params_as_they_were(
    checkout: Path, caplog: pytest.LogCaptureFixture, change: dict[int, str], message: str
) -> None:
    before = Path("params.yaml").read_bytes()
    with pytest.raises(SystemExit) as stopped:
        main([change.get(i, argument) for i, argument in enumerate(NEW)])
    assert stopped.value.code == 2 and message in caplog.text
    assert Path("params.yaml").read_bytes() == before


def test_a_layout_that_text_cannot_be_added_to_is_refused(checkout: Path, caplog: pytest.LogCaptureFixture) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(read_params()))  # datasets as a list of many lines
    before = Path("params.yaml").read_bytes()
    with pytest.raises(SystemExit):
        main(NEW)
    assert "copy the section `demo:` by hand to `mine:`" in caplog.text and Path("params.yaml").read_bytes() == before
