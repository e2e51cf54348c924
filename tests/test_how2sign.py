"""How2Sign's files as the publisher ships them: quotes, mis-decoded text, gaps, times that no video has."""

import csv
import gzip
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_video import pictures, write_video

from slt.config.data import CorpusConfig, FeaturesConfig, FramesConfig
from slt.corpora import read_corpus, report
from slt.corpora.how2sign import _signer, mend, read_annotation
from slt.errors import ConfigError, DataError
from slt.frames import make_frames
from slt.manifest import SPLITS, write_manifest
from slt.media import Header, read_header
from slt.precomputed import make_precomputed
from slt.store import file_sha256, iter_rows

HEADER = "VIDEO_ID\tVIDEO_NAME\tSENTENCE_ID\tSENTENCE_NAME\tSTART_REALIGNED\tEND_REALIGNED\tSENTENCE\n"
SHARED = Path(__file__).parents[2] / "shared" / "data" / "how2sign"
MISREAD = "Now you’re ready – café.".encode().decode("latin-1")


def row(name: str, text: str) -> str:
    """One row as the release writes it: tab-separated, quoted only where the text holds a quote."""
    video = name.split("_")[0]
    quoted = '"' + text.replace('"', '""') + '"' if '"' in text else text
    return f"{video}\t{video}-1-rgb_front\t{name}\t{name}-1-rgb_front\t1.5\t2.25\t{quoted}\n"


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The publisher's layout below SLT_RAW: three CSV files, one folder of clips per split."""
    monkeypatch.setenv("SLT_RAW", str(tmp_path))
    root = tmp_path / "how2sign"
    rows = {
        "train": [row("aa_0", 'He said "go", then left.'), row("aa_1", MISREAD), row("aa_2", "  Two   blanks. ")],
        "val": [row("bb_0", '"Yes."')],
        "test": [row("cc_0", "It's fine.")],
    }
    for split, lines in rows.items():
        folder = root / f"{split}_rgb_front_clips" / "raw_videos"
        folder.mkdir(parents=True)
        (root / f"how2sign_realigned_{split}.csv").write_text(HEADER + "".join(lines), encoding="utf-8")
        for line in lines:
            (folder / (line.split("\t")[3] + ".mp4")).write_bytes(b"video " + split.encode())
    return root


def section(**options: Any) -> CorpusConfig:
    names = {"train": "train", "dev": "val", "test": "test"}
    defaults = {
        "annotation": {split: f"raw:how2sign/how2sign_realigned_{name}.csv" for split, name in names.items()},
        "clips": {split: f"raw:how2sign/{name}_rgb_front_clips/raw_videos" for split, name in names.items()},
    }
    return CorpusConfig("how2sign", "en", "ase", {"train": 9, "dev": 9, "test": 9}, {**defaults, **options})


def test_the_publishers_layout(corpus: Path) -> None:
    config = section()
    reading = read_corpus(config, "how2sign", corpus)
    assert [(clip.id, clip.split, clip.text) for clip in reading.clips] == [
        ("aa_0-1-rgb_front", "train", 'He said "go", then left.'),
        ("aa_1-1-rgb_front", "train", "Now you’re ready – café."),
        ("aa_2-1-rgb_front", "train", "Two blanks."),
        ("bb_0-1-rgb_front", "dev", '"Yes."'),
        ("cc_0-1-rgb_front", "test", "It's fine."),
    ]
    first = reading.clips[0]
    assert first.video == "raw:how2sign/train_rgb_front_clips/raw_videos/aa_0-1-rgb_front.mp4"
    assert (first.start, first.end, first.language, first.sign_language) == (None, None, "en", "ase")
    assert first.seconds == 0.75  # what frames holds the file against
    stat = (corpus / "train_rgb_front_clips/raw_videos/aa_0-1-rgb_front.mp4").stat()
    assert first.fingerprint == f"stat:{stat.st_size}:{stat.st_mtime_ns}"
    findings = report(reading, config)
    assert findings["notes"] == {"mended_texts": 1, "text_only": False}
    assert [findings["splits"][split]["rows"] for split in ("train", "dev", "test")] == [3, 1, 1]


@pytest.mark.parametrize("change", ["bom", "commas", "crlf"])
def test_copies_of_the_annotation_read_the_same(corpus: Path, change: str) -> None:
    path = corpus / "how2sign_realigned_train.csv"
    expected, _ = read_annotation(path)
    content = path.read_text(encoding="utf-8")
    if change == "bom":
        path.write_text("\ufeff" + content, encoding="utf-8")
    elif change == "crlf":
        path.write_bytes(content.replace("\n", "\r\n").encode())
    else:
        import csv
        import io

        rows, target = list(csv.reader(io.StringIO(content), delimiter="\t")), io.StringIO()
        csv.writer(target).writerows(rows)
        path.write_text(target.getvalue(), encoding="utf-8")
    assert read_annotation(path)[0] == expected


def test_text_only_needs_no_clips_and_no_times(corpus: Path) -> None:
    shutil.rmtree(corpus / "train_rgb_front_clips")
    (corpus / "sentences.tsv").write_text("SENTENCE_NAME\tSENTENCE\naa_0\tOne.\naa_1\tTwo.\n", encoding="utf-8")
    config = section(text_only=True)
    config.options["annotation"] = {**config.options["annotation"], "train": "raw:how2sign/sentences.tsv"}
    reading = read_corpus(config, "how2sign", corpus)
    assert [(clip.id, clip.split, clip.video, clip.text) for clip in reading.clips] == [
        ("aa_0", "train", "", "One."),
        ("aa_1", "train", "", "Two."),
        ("bb_0-1-rgb_front", "dev", "", '"Yes."'),
        ("cc_0-1-rgb_front", "test", "", "It's fine."),
    ]
    assert report(reading, config)["notes"] == {"mended_texts": 0, "text_only": True}


def test_a_copy_that_quotes_nothing_is_read_when_told_so(corpus: Path) -> None:
    path = corpus / "how2sign_realigned_val.csv"
    path.write_text('SENTENCE_NAME\tSENTENCE\na\t"Go, he said.\nb\tTwo.\n', encoding="utf-8")
    assert [sentence.text for sentence in read_annotation(path, quotes=False)[0]] == ['"Go, he said.', "Two."]


def test_gaps_are_dropped_with_their_reason(corpus: Path) -> None:
    path = corpus / "how2sign_realigned_train.csv"
    with path.open("a", encoding="utf-8") as file:
        file.write(row("aa_3", "No clip was cut.") + row("aa_0", "Twice.") + row("aa_2", " "))
        file.write(row("aa_4", " "))
    config = section()
    reading = read_corpus(config, "how2sign", corpus)
    assert reading.dropped == [
        ("train", "aa_3-1-rgb_front", "missing clip file: aa_3-1-rgb_front.mp4"),
        ("train", "aa_0-1-rgb_front", "duplicate id"),
        ("train", "aa_2-1-rgb_front", "duplicate id"),
        ("train", "aa_4-1-rgb_front", "empty text"),
    ]
    assert len([clip for clip in reading.clips if clip.split == "train"]) == 3
    train = report(reading, config)["splits"]["train"]
    assert train["rows"] == 7 and train["dropped"] == 4
    assert train["dropped_by_reason"] == {"missing clip file": 1, "duplicate id": 2, "empty text": 1}
    message = r"4 train clips were dropped, more than how2sign\.corpus\.max_dropped\.train = 3; .*; mend them, or raise"
    with pytest.raises(DataError, match=message):
        report(reading, replace(config, max_dropped={"train": 3, "dev": 0, "test": 0}))


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "/etc/passwd", "a\\b", "../../how2sign/cc_0-1-rgb_front"])
def test_a_name_that_leads_out_of_its_folder_is_refused(corpus: Path, name: str) -> None:
    path = corpus / "how2sign_realigned_test.csv"
    path.write_text(f"SENTENCE_NAME\tSENTENCE\n{name}\tText.\n", encoding="utf-8")
    with pytest.raises(DataError, match="leads out of the folder"):
        read_corpus(section(), "how2sign", corpus)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty; it needs a header and one row"),
        (HEADER.encode(), "no row in it"),
        (b"SENTENCE_NAME\tTEXT\na\tb\n", "no column SENTENCE, found: SENTENCE_NAME, TEXT"),
        (b"name|signer|gloss\na|b|c\n", "no column SENTENCE_NAME and SENTENCE"),
        ("SENTENCE_NAME\tSENTENCE\na\tcafé\n".encode("latin-1"), "not UTF-8"),
        (b"SENTENCE_NAME,SENTENCE\na,Hello, world.\n", "line 2: 3 fields where the header has 2"),
        (b'SENTENCE_NAME\tSENTENCE\na\t"Hello.\nb\tTwo.\nc\t"Three.\n', "line 2: .* does not end with its field"),
    ],
)
def test_an_annotation_that_is_none_is_named(corpus: Path, content: bytes, message: str) -> None:
    (corpus / "how2sign_realigned_val.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_corpus(section(), "how2sign", corpus)
    assert "how2sign_realigned_val.csv" in str(caught.value)


def test_missing_files_say_what_to_do(corpus: Path) -> None:
    (corpus / "how2sign_realigned_val.csv").unlink()
    with pytest.raises(DataError, match=r"how2sign_realigned_val\.csv: no such annotation; download"):
        read_corpus(section(), "how2sign", corpus)
    with pytest.raises(DataError, match=r"nowhere: no such folder of train clips"):
        read_corpus(section(clips=dict.fromkeys(("train", "dev", "test"), "raw:nowhere")), "how2sign", corpus)


def test_options_are_checked(corpus: Path) -> None:
    with pytest.raises(ConfigError, match=r"how2sign\.corpus\.options\.hash_medium`; did you mean `hash_media`"):
        read_corpus(section(hash_medium=True), "how2sign", corpus)
    with pytest.raises(ConfigError, match="clips needs the keys train, dev, test"):
        read_corpus(section(clips={"train": "x"}), "how2sign", corpus)


def test_one_clip_in_two_splits_is_refused_unless_asked_for(corpus: Path) -> None:
    same = {
        "annotation": dict.fromkeys(("train", "dev", "test"), "raw:how2sign/how2sign_realigned_train.csv"),
        "clips": dict.fromkeys(("train", "dev", "test"), "raw:how2sign/train_rgb_front_clips/raw_videos/"),
    }
    with pytest.raises(DataError, match="stands in both train and dev"):
        read_corpus(section(**same), "how2sign", corpus)
    config = section(**same, allow_same_clips_in_splits=True, hash_media=True)
    reading = read_corpus(config, "how2sign", corpus)
    assert [clip.id for clip in reading.clips][::3] == [f"{s}/aa_0-1-rgb_front" for s in ("train", "dev", "test")]
    assert len({clip.video for clip in reading.clips}) == 3
    notes = report(reading, config)["notes"]
    assert notes["same_clips_in_splits"] == 6 and "never how well it translates" in notes["warning"]
    clip = corpus / "train_rgb_front_clips/raw_videos/aa_0-1-rgb_front.mp4"
    assert reading.clips[0].fingerprint == f"sha256:{file_sha256(clip)}"


def test_the_same_signing_under_another_name_in_two_splits_is_refused(corpus: Path) -> None:
    line = row("cc_1", "Its words are others.").replace("cc-1-rgb_front", "aa-1-rgb_front")  # train's video and times
    with (corpus / "how2sign_realigned_test.csv").open("a", encoding="utf-8") as file:
        file.write(line)
    (corpus / "test_rgb_front_clips/raw_videos/cc_1-1-rgb_front.mp4").write_bytes(b"cut elsewhere")
    message = (
        r"realigned_test\.csv: clip `cc_1-1-rgb_front` of test is clip `aa_0-1-rgb_front` of train, the same signing"
    )
    for options in ({}, {"hash_media": True}, {"text_only": True}):
        with pytest.raises(DataError, match=message):
            read_corpus(section(**options), "how2sign", corpus)
    assert read_corpus(section(allow_same_clips_in_splits=True), "x", corpus).notes["same_clips_in_splits"] == 1


def test_one_file_under_two_names_in_two_splits_is_refused_by_its_content(corpus: Path) -> None:
    clips = [corpus / f"{split}_rgb_front_clips/raw_videos" for split in ("train", "test")]
    shutil.copy(clips[0] / "aa_0-1-rgb_front.mp4", clips[1] / "cc_0-1-rgb_front.mp4")
    assert len(read_corpus(section(), "how2sign", corpus).clips) == 5
    with pytest.raises(DataError, match="`cc_0-1-rgb_front` of test is clip `aa_0-1-rgb_front` of train"):
        read_corpus(section(hash_media=True), "how2sign", corpus)


def test_the_signer_is_the_number_in_the_name(corpus: Path) -> None:
    lines = ["zz_0-11-rgb_front\tOne.", "zz_1-5-rgb_side\tTwo.", "zz_2\tThree.", "zz_3-12-rgb_front\tFour."]
    lines[2:2] = ["zz-8\tFive."]
    content = "".join(f"{line}\n" for line in ["SENTENCE_NAME\tSENTENCE", *lines])
    (corpus / "how2sign_realigned_train.csv").write_text(content, encoding="utf-8")
    config = section(text_only=True)
    reading = read_corpus(config, "how2sign", corpus)
    assert [clip.signer for clip in reading.clips] == ["11", "5", None, None, None, "1", "1"]
    assert report(reading, config)["splits"]["train"]["signers"] == {"11": 1, "5": 1, "unknown": 3}


@pytest.mark.parametrize("text", ["Plain.", "café", "naïve – “quoted”", "Ã", "ñ"])
def test_good_text_is_not_mended(text: str) -> None:
    assert mend(text) == text
    assert mend(text.encode().decode("latin-1")) == text


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared How2Sign files")
def test_the_releases_own_files() -> None:
    val, mended_val = read_annotation(SHARED / "how2sign_realigned_val.csv")
    test, mended_test = read_annotation(SHARED / "how2sign_realigned_test.csv")
    assert (len(val), len(test), mended_val, mended_test) == (1741, 2357, 2, 23)
    assert len({sentence.name for sentence in val}) == 1741
    # 5 and 6 of the 9 signers of the release, and no name without a number
    assert {_signer(sentence) for sentence in val} == {"1", "2", "3", "5", "8"}
    assert {_signer(sentence) for sentence in test} == {"1", "2", "3", "5", "8", "10"}
    assert not any("â\x80" in sentence.text or '""' in sentence.text for sentence in val + test)
    sample, _ = read_annotation(SHARED / "clips.tsv")
    assert len(sample) == 74 and sum(sentence.frames or 0 for sentence in sample) == 12662


def timed(name: str, start: str, end: str, video: str = "vv-1-rgb_front") -> str:
    return f"vv\t{video}\t{name}\t{name}\t{start}\t{end}\tText of {name}.\n"


@pytest.fixture
def full_videos(corpus: Path) -> Path:
    """The release's full videos: one of four seconds at 25 frames per second for train, one of two for val and test."""
    for split, count, start, end in (("train", 100, 0.5, 1.5), ("val", 50, 0.6, 1.6), ("test", 50, 0.7, 1.7)):
        folder = corpus / f"{split}_videos"
        folder.mkdir()
        write_video(folder / "vv-1-rgb_front.mp4", pictures(count, 64, 96))
        content = HEADER + timed(f"{split}_0", str(start), str(end))
        (corpus / f"how2sign_realigned_{split}.csv").write_text(content, encoding="utf-8")
    return corpus


def folders(name: str) -> dict[str, str]:
    return {split: f"raw:how2sign/{part}_{name}" for split, part in zip(SPLITS, ("train", "val", "test"), strict=True)}


def append(corpus: Path, *lines: str) -> None:
    with (corpus / "how2sign_realigned_train.csv").open("a", encoding="utf-8") as file:
        file.write("".join(lines))


def test_full_videos_are_cut_at_the_realigned_times(full_videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(full_videos, timed("train_1", "1.5", "3"), timed("train_2", "0", "4"))
    config = section(clips={}, videos=folders("videos"))
    reading = read_corpus(config, "how2sign", full_videos)
    assert [(clip.id, clip.start, clip.end) for clip in reading.clips if clip.split == "train"] == [
        ("train_0", 0.5, 1.5),
        ("train_1", 1.5, 3.0),
        ("train_2", 0.0, 4.0),
    ]
    assert {clip.video for clip in reading.clips} == {
        f"{spec}/vv-1-rgb_front.mp4" for spec in folders("videos").values()
    }
    assert len({clip.fingerprint for clip in reading.clips if clip.split == "train"}) == 1
    assert reading.notes["ends_clamped_to_video"] == {"clips": 0, "first": []}
    monkeypatch.chdir(full_videos)
    monkeypatch.setenv("SLT_WORKERS", "1")
    write_manifest(full_videos / "manifest.parquet", reading.clips)
    frames = FramesConfig(size=48, fit="stretch", stride=1, quality=95, clips_per_shard=9)
    make_frames(frames, full_videos / "manifest.parquet", full_videos / "frames", config.max_dropped)
    rows = {row["id"]: row for row in iter_rows(full_videos / "frames" / "frames-00000.parquet")}
    assert {name: row["n"] for name, row in rows.items()} == {
        **{"train_0": 25, "train_1": 37, "train_2": 100},  # frame 37 is shown at 1.48 s
        **{"val_0": 25, "test_0": 25},
    }
    assert rows["train_2"]["frames"][38:75] == rows["train_1"]["frames"]


def test_times_that_a_video_does_not_have_are_dropped_or_clamped_by_reason(
    full_videos: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    append(
        full_videos,
        timed("past", "4.0", "5.0"),
        timed("over", "3.5", "4.3"),
        timed("empty", "2.0", "2.0"),
        timed("back", "3.0", "2.5"),
        timed("short", "2.00", "2.02"),
        timed("last", "3.99", "9"),
        timed("words", "two", "3"),
        timed("none", "", ""),
        timed("nan", "nan", "inf"),
        timed("minus", "-1", "2"),
        timed("gone", "1", "2", video="ww-1-rgb_front"),
        timed("bad", "1", "2", video="xx-1-rgb_front"),
    )
    (full_videos / "train_videos" / "xx-1-rgb_front.mp4").write_bytes(b"no video")
    read_headers = []
    monkeypatch.setattr("slt.media.read_header", lambda path: read_headers.append(path) or read_header(path))
    config = replace(section(clips={}, videos=folders("videos")), max_dropped={"train": 11, "dev": 0, "test": 0})
    reading = read_corpus(config, "how2sign", full_videos)
    assert [(clip.id, clip.start, clip.end) for clip in reading.clips[:2]] == [
        ("train_0", 0.5, 1.5),
        ("over", 3.5, 4.0),
    ]
    assert [f"{name}: {reason}" for split, name, reason in reading.dropped][:-1] == [
        "past: starts past the end of its video: at 4 s of 4 s",
        "empty: zero length: at 2 s",
        "back: reversed times: 3 to 2.5 s",
        "short: shorter than one frame: 0.02 s at 25 frames per second",
        "last: shorter than one frame: 0.01 s at 25 frames per second",
        "words: no time: `two` to `3`",
        "none: no time: `` to ``",
        "nan: no time: `nan` to `inf`",
        "minus: no time: `-1` to `2`",
        "gone: missing video file: ww-1-rgb_front.mp4",
    ]
    assert reading.dropped[-1][1] == "bad" and "xx-1-rgb_front.mp4: cannot be opened" in reading.dropped[-1][2]
    assert sorted(path.stem for path in read_headers) == ["vv-1-rgb_front"] * 3 + ["xx-1-rgb_front"]
    findings = report(reading, config)
    assert findings["notes"]["ends_clamped_to_video"] == {"clips": 1, "first": ["over"]}
    line = "how2sign.corpus: 1 clips end past the end of their video and are cut there: `over`; check that their videos"
    assert caplog.text.count(line) == 1
    assert findings["splits"]["train"]["dropped_by_reason"]["shorter than one frame"] == 2
    assert findings["splits"]["train"]["dropped_by_reason"]["unreadable video"] == 1


def test_most_of_a_sentence_in_another_split_is_refused_and_a_little_is_counted(full_videos: Path) -> None:
    same = {"train": "raw:how2sign/train_videos", "dev": "raw:how2sign/val_videos", "test": "raw:how2sign/train_videos"}
    test = full_videos / "how2sign_realigned_test.csv"
    header = test.read_text(encoding="utf-8").splitlines()[0] + "\n"
    test.write_text(header + timed("other", "0.5", "1.501"), encoding="utf-8")
    message = (
        r"realigned_test\.csv: clip `other` of test shares with clip `train_0` of train 1 s of one video, in which "
        r"they are 0\.5 to 1\.501 s and 0\.5 to 1\.5 s: scores would be meaningless; correct the annotation"
    )
    with pytest.raises(DataError, match=message):
        read_corpus(section(clips={}, videos=same), "how2sign", full_videos)
    test.write_text(header + timed("other", "1.25", "2.5"), encoding="utf-8")
    notes = read_corpus(section(clips={}, videos=same), "how2sign", full_videos).notes
    assert notes["overlaps_between_splits"] == {"pairs": 1, "first": ["`train_0` and `other`: 0.25 s"]}


def test_a_video_without_a_declared_length_is_counted(full_videos: Path) -> None:
    write_video(full_videos / "train_videos" / "tt-1-rgb_front.ts", pictures(50, 64, 96))
    (full_videos / "train_videos" / "tt-1-rgb_front.ts").rename(full_videos / "train_videos" / "tt-1-rgb_front.mp4")
    append(full_videos, timed("stream", "1", "9", video="tt-1-rgb_front"))
    reading = read_corpus(section(clips={}, videos=folders("videos")), "how2sign", full_videos)
    assert reading.clips[1].end == 9
    assert reading.notes["videos_without_declared_length"] == {
        "videos": 1,
        "clips": 1,
        "first": ["tt-1-rgb_front.mp4"],
    }


@pytest.mark.parametrize("videos", [True, False])
def test_precomputed_features_are_a_source_of_their_own_or_beside_videos(full_videos: Path, videos: bool) -> None:
    for split in ("train", "val", "test"):
        (full_videos / f"{split}_i3d").mkdir()
        np.save(full_videos / f"{split}_i3d" / f"{split}_0.npy", np.zeros((7, 1024), np.float16))
    append(full_videos, timed("train_1", "1", "2"))
    options = {"videos": folders("videos")} if videos else {}
    reading = read_corpus(section(clips={}, features=folders("i3d"), **options), "how2sign", full_videos)
    first = reading.clips[0]
    assert first.features == "raw:how2sign/train_i3d/train_0.npy"
    assert first.video == ("raw:how2sign/train_videos/vv-1-rgb_front.mp4" if videos else "")
    assert (first.start, first.end) == ((0.5, 1.5) if videos else (None, None))
    assert first.fingerprint is not None and len(first.fingerprint.split()) == 1 + videos
    assert reading.features == {"gloss_free": False}
    assert reading.dropped == [("train", "train_1", "missing feature file: train_1.npy")]


def test_sources_are_checked(full_videos: Path) -> None:
    with pytest.raises(ConfigError, match="name either clips or videos"):
        read_corpus(section(videos=folders("videos")), "how2sign", full_videos)
    with pytest.raises(ConfigError, match="name either clips or videos"):
        read_corpus(section(clips={}), "how2sign", full_videos)
    with pytest.raises(ConfigError, match="features needs the keys"):
        read_corpus(section(features={"train": "x"}), "how2sign", full_videos)
    (full_videos / "how2sign_realigned_val.csv").write_text("SENTENCE_NAME\tSENTENCE\na\tb\n")
    with pytest.raises(DataError, match="no column VIDEO_NAME and START_REALIGNED and END_REALIGNED, found"):
        read_corpus(section(clips={}, videos=folders("videos")), "how2sign", full_videos)


def test_a_video_name_that_leads_out_of_its_folder_is_refused(full_videos: Path) -> None:
    append(full_videos, timed("out", "0", "1", video="../val_videos/vv-1-rgb_front"))
    with pytest.raises(DataError, match=r"VIDEO_NAME `\.\./val_videos/vv-1-rgb_front` leads out of the folder"):
        read_corpus(section(clips={}, videos=folders("videos")), "how2sign", full_videos)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared How2Sign files")
def test_the_rule_mends_the_rows_that_were_misread_and_no_others() -> None:
    content = gzip.decompress((SHARED / "how2sign_train_sentences.tsv.gz").read_bytes()).decode("utf-8")
    train = [line.split("\t")[1] for line in content.splitlines()[1:]]
    test = (SHARED / "how2sign_realigned_test.csv").read_text(encoding="utf-8").splitlines()
    for rows, misread_quotes, others in ((train, 163, 7), (test, 23, 0)):
        quotes = [text for text in rows if "â\x80" in text]
        mended = [text for text in rows if mend(text) != text]
        assert (len(quotes), len(mended)) == (misread_quotes, misread_quotes + others)
        assert set(quotes) <= set(mended)
        assert not any(character in mend(text) for text in rows for character in "âÂÃ\x80\x99")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared How2Sign files")
def test_the_releases_own_times(full_videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("val", "test"):
        release = SHARED / f"how2sign_realigned_{split}.csv"
        shutil.copy(release, full_videos / release.name)
        with release.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                (full_videos / f"{split}_videos" / f"{row['VIDEO_NAME']}.mp4").touch()
    monkeypatch.setattr("slt.media.read_header", lambda path: Header(3600.0, 24.0))
    reading = read_corpus(section(clips={}, videos=folders("videos")), "how2sign", full_videos)
    assert Counter(clip.split for clip in reading.clips) == {"train": 1, "dev": 1740, "test": 2357}
    ((split, _, reason),) = reading.dropped
    assert (split, reason) == ("dev", "shorter than one frame: 0.02 s at 24 frames per second")
    assert len({clip.video for clip in reading.clips if clip.split == "test"}) == 184


def test_features_count_as_the_published_ones_which_saw_gloss_unless_said_otherwise(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(corpus)
    monkeypatch.delenv("SLT_WORK", raising=False)
    for split, names in (("train", ("aa_0", "aa_1", "aa_2")), ("val", ("bb_0",)), ("test", ("cc_0",))):
        (corpus / f"{split}_i3d").mkdir()
        for name in names:
            np.save(corpus / f"{split}_i3d" / f"{name}-1-rgb_front.npy", np.zeros((7, 8), np.float16))
    gloss_free = FeaturesConfig("precomputed", "i3d", "avg", 1, "float32", gloss_free=True)
    for told, known in ((None, False), (False, False), (True, True)):
        caplog.clear()
        config = section(clips={}, features=folders("i3d"), features_gloss_free=told)
        reading = read_corpus(config, "how2sign", corpus)
        assert reading.features == {"gloss_free": known}
        assert ("set how2sign.corpus.options.features_gloss_free" in caplog.text) == (told is None)
        write_manifest(Path("manifest.parquet"), reading.clips, reading.features)
        if known:
            assert make_precomputed(gloss_free, Path("manifest.parquet"), Path("features"))["clips"] == 5
        else:
            with pytest.raises(ConfigError, match=r"features\.gloss_free is true, but"):
                make_precomputed(gloss_free, Path("manifest.parquet"), Path("features"))
    assert read_corpus(section(), "how2sign", corpus).features is None
