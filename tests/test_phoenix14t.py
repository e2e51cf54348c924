"""PHOENIX-2014T as the publisher ships it: columns, quotes, folders of frames; and the figures the field knows."""

import logging
import shutil
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from slt.config.data import CorpusConfig, FramesConfig
from slt.corpora import Reading, phoenix14t, read_corpus, report
from slt.corpora.phoenix14t import read_annotation, read_counts, with_stop
from slt.errors import ConfigError, DataError
from slt.frames import make_frames
from slt.manifest import SPLITS, Clip, write_manifest
from slt.store import read_json, write_json

SHARED = Path(__file__).parents[2] / "shared" / "data" / "phoenix14t"
HEADER = "name|video|start|end|speaker|orth|translation\n"
NAMES = {
    "train": ["11August_2010_Wednesday_tagesschau-1", "11August_2010_Wednesday_tagesschau-4", "01April_2010_heute-5"],
    "dev": ["11August_2010_Wednesday_tagesschau-2"],
    "test": ["25October_2010_Monday_tagesschau-17"],
}


def row(name: str, text: str = "am  tag regnet es", orth: str = "TAG REGEN", signer: str = "Signer08") -> str:
    return f"{name}|{name}/1/*.png|-1|-1|{signer}|{orth}|{text}\n"


def write_frames(folder: Path, count: int, width: int = 21, height: int = 26) -> None:
    """Frames of a look of their own in each folder."""
    folder.mkdir(parents=True)
    for i in range(count):
        picture = np.full((height, width, 3), (i * 20 + zlib.crc32(folder.name.encode())) % 256, np.uint8)
        assert cv2.imwrite(str(folder / f"images{i + 1:04d}.png"), picture)


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no more than the fixture had been released."""
    monkeypatch.setattr(phoenix14t, "RELEASED", {"train": 3, "dev": 1, "test": 1})
    monkeypatch.setattr(phoenix14t, "RELEASED_FRAMES", {"train": 12, "dev": 3, "test": 3})


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The publisher's layout below SLT_RAW: annotation files and one folder of PNG frames per clip."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLT_RAW", str(tmp_path))
    monkeypatch.setenv("SLT_WORKERS", "1")
    monkeypatch.delenv("SLT_WORK", raising=False)
    root = tmp_path / "phoenix14t"
    (root / "annotations" / "manual").mkdir(parents=True)
    for split, names in NAMES.items():
        annotation(root, split).write_text(HEADER + "".join(row(name) for name in names), encoding="utf-8")
        for i, name in enumerate(names):
            write_frames(frames_of(root, split, name), 3 + i)
    return root


def annotation(root: Path, split: str) -> Path:
    return root / "annotations" / "manual" / f"PHOENIX-2014-T.{split}.corpus.csv"


def frames_of(root: Path, split: str, name: str) -> Path:
    return root / "features" / "fullFrame-210x260px" / split / name


def section(**options: Any) -> CorpusConfig:
    defaults = {"root": "raw:phoenix14t"}
    return CorpusConfig("phoenix14t", "de", "gsg", {"train": 9, "dev": 9, "test": 9}, {**defaults, **options})


def read(release: Path, **options: Any) -> Reading:
    return read_corpus(section(**options), "phoenix14t", release)


def test_the_publishers_layout(release: Path) -> None:
    reading = read(release)
    assert [(clip.split, clip.id) for clip in reading.clips] == [(s, n) for s, names in NAMES.items() for n in names]
    first = reading.clips[0]
    assert first.video == f"raw:phoenix14t/features/fullFrame-210x260px/train/{first.id}"
    assert (first.text, first.gloss, first.signer) == ("am tag regnet es .", "TAG REGEN", "Signer08")
    assert (first.language, first.sign_language, first.start, first.features) == ("de", "gsg", None, None)
    assert [clip.frames for clip in reading.clips] == [3, 4, 5, 3, 3]
    findings = report(reading, section())
    assert findings["notes"] == {
        "final_stops_added": 5,
        "clips_without_gloss": 0,
        "folders_without_annotation": 0,
        "gaps_in_frame_numbers": {"clips": 0, "first": []},
        "rows_other_than_released": {"train": 3, "dev": 1, "test": 1},
        "frames_other_than_released": {"train": 12, "dev": 3, "test": 3},
        "text_only": False,
        "warning": "not the whole of PHOENIX-2014T as released: 3 train rows where 7,096 were released, "
        "1 dev rows where 519 were released, 1 test rows where 642 were released",
    }
    train, dev = findings["splits"]["train"], findings["splits"]["dev"]
    keys = ("gloss_types", "singletons", "types", "frames")
    assert [train[key] for key in keys] == [2, 0, 5, 12]  # each word three times
    assert [dev[key] for key in keys] == [2, 5, 5, 3]  # and once


def test_the_frames_stage_reads_the_folders(release: Path) -> None:
    write_manifest(release / "manifest.parquet", read(release).clips)
    config = FramesConfig(size=16, fit="pad", stride=2, quality=95, clips_per_shard=2)
    index = make_frames(config, release / "manifest.parquet", Path("frames"), {"train": 0, "dev": 0, "test": 0})
    assert (index["clips"], index["frames"], index["precomputed"]) == (5, 2 + 2 + 3 + 2 + 2, 0)
    assert index["other_length"]["clips"] == 0


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", "other size", "cut"])
def test_a_damaged_frame_is_named_by_the_frames_stage(release: Path, content: bytes | str) -> None:
    victim = frames_of(release, "train", NAMES["train"][2]) / "images0003.png"
    clips = read(release).clips
    if content == "other size":
        cv2.imwrite(str(victim), np.zeros((30, 30, 3), np.uint8))
    else:
        victim.write_bytes(victim.read_bytes()[:-20] if content == "cut" else content)
    write_manifest(release / "manifest.parquet", clips)
    config = FramesConfig(size=16, fit="stretch", stride=1, quality=95, clips_per_shard=9)
    with pytest.raises(DataError, match=r"1 train clips do not decode.*01April_2010_heute-5`: .*images0003\.png: "):
        make_frames(config, release / "manifest.parquet", Path("frames"), {"train": 0, "dev": 0, "test": 0})
    make_frames(config, release / "manifest.parquet", Path("frames"), {"train": 1, "dev": 0, "test": 0})
    assert "images0003.png" in read_json(Path("frames/frames.json"))["dropped"][0]["reason"]


def test_the_final_stop_is_an_option_and_is_not_doubled(release: Path) -> None:
    assert read(release, final_stop=False).clips[0].text == "am tag regnet es"
    assert read(release, final_stop=False).notes["final_stops_added"] == 0
    assert with_stop("schon da .") == ("schon da .", False)
    annotation(release, "dev").write_text(HEADER + row(NAMES["dev"][0], "schon da ."), encoding="utf-8")
    assert read(release).notes["final_stops_added"] == 4


def test_quotes_are_text_and_a_separator_inside_text_is_an_error(release: Path) -> None:
    path = annotation(release, "dev")
    path.write_text(HEADER + row(NAMES["dev"][0], 'das "hoch" über\u2028 dem'), encoding="utf-8")
    assert read(release).clips[3].text == 'das "hoch" über dem .'
    path.write_text(HEADER + row(NAMES["dev"][0], '"offen'), encoding="utf-8")
    assert read(release).clips[3].text == '"offen .'
    path.write_text(HEADER + row(NAMES["dev"][0], "regen|schnee"), encoding="utf-8")
    with pytest.raises(DataError, match=r"dev\.corpus\.csv: line 2: 8 fields, the header names 7"):
        read(release)
    path.write_text((HEADER + row(NAMES["dev"][0]))[:-30], encoding="utf-8")
    with pytest.raises(DataError, match="line 2: 5 fields, the header names 7: cut short"):
        read(release)


@pytest.mark.parametrize("change", ["bom", "crlf", "blank", "order"])
def test_copies_of_the_annotation_read_the_same(release: Path, change: str) -> None:
    path = annotation(release, "train")
    expected = read_annotation(path)
    content = path.read_text(encoding="utf-8")
    if change == "bom":
        path.write_text("\ufeff" + content, encoding="utf-8")
    elif change == "crlf":
        path.write_bytes(content.replace("\n", "\r\n").encode())
    elif change == "blank":
        path.write_text(content + "\n\n", encoding="utf-8")
    else:
        path.write_text("\n".join("|".join(line.split("|")[::-1]) for line in content.split("\n")), encoding="utf-8")
    assert read_annotation(path) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column name, speaker, orth, translation, found: "),
        (HEADER.encode(), "no row below its header"),
        (b"id|folder|signer|annotation\na|b|c|d\n", r"no column name, .*PHOENIX-2014 without T has no translations"),
        (HEADER.encode() + row("a", "schön").encode("latin-1"), "not UTF-8"),
        (b"name\tvideo\tspeaker\torth\ttranslation\n", "no column name"),
    ],
)
def test_an_annotation_that_is_none_is_named(release: Path, content: bytes, message: str) -> None:
    annotation(release, "test").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read(release)
    assert "PHOENIX-2014-T.test.corpus.csv" in str(caught.value)


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "/etc/passwd", "a\\b", "a\0b", "../train/x"])
def test_a_name_that_climbs_out_is_refused(release: Path, name: str) -> None:
    annotation(release, "test").write_text(HEADER + row(name), encoding="utf-8")
    with pytest.raises(DataError, match="leads out of the folder"):
        read(release)


def test_gaps_are_dropped_with_their_reason(release: Path) -> None:
    (frames_of(release, "train", "empty")).mkdir()
    (frames_of(release, "train", "extra")).mkdir()
    write_frames(frames_of(release, "train", "zero"), 2)
    (frames_of(release, "train", "zero") / "images0002.png").write_bytes(b"")
    with annotation(release, "train").open("a", encoding="utf-8") as file:
        for name, text in [("gone", "x"), ("empty", "x"), ("zero", "x"), (NAMES["train"][0], "x"), ("mute", " ")]:
            file.write(row(name, text))
    reading = read(release)
    assert reading.dropped == [
        ("train", "gone", "missing folder"),
        ("train", "empty", "no image in its folder"),
        ("train", "zero", "empty image: images0002.png"),
        ("train", NAMES["train"][0], "duplicate id"),
        ("train", "mute", "empty text"),
    ]
    assert reading.notes["folders_without_annotation"] == 1
    assert report(reading, section())["splits"]["train"]["dropped"] == 5
    with pytest.raises(
        DataError, match=r"5 train clips were dropped, more than phoenix14t\.corpus\.max_dropped\.train = 4"
    ):
        report(reading, replace(section(), max_dropped={"train": 4, "dev": 0, "test": 0}))


def test_a_clip_in_train_and_test_is_refused(release: Path) -> None:
    with annotation(release, "test").open("a", encoding="utf-8") as file:
        file.write(row(NAMES["train"][1]))
    with pytest.raises(DataError, match=f"`{NAMES['train'][1]}` stands in both train and test"):
        read(release)


def test_a_folder_shorter_than_its_annotation_is_dropped(release: Path) -> None:
    counts = release / "counts.tsv"
    lines = [f"{s}\t{n}\t{3 + i}" for s, names in NAMES.items() for i, n in enumerate(names)]
    counts.write_text("\n".join(["split\tname\tnum_frames", *lines]) + "\n", encoding="utf-8")
    assert read(release, frame_counts="raw:phoenix14t/counts.tsv").dropped == []
    (frames_of(release, "train", NAMES["train"][1]) / "images0002.png").unlink()
    reading = read(release, frame_counts="raw:phoenix14t/counts.tsv")
    assert reading.dropped == [("train", NAMES["train"][1], "other length: 3 images, 4 annotated")]
    without = read(release)
    assert without.dropped == []
    assert without.notes["gaps_in_frame_numbers"] == {"clips": 1, "first": [NAMES["train"][1]]}
    counts.write_text("\n".join(["split\tname\tnum_frames", *lines[1:]]) + "\n", encoding="utf-8")
    reading = read(release, frame_counts="raw:phoenix14t/counts.tsv")
    assert ("train", NAMES["train"][0], "not in frame_counts") in reading.dropped
    for content, message in [("a\tb\n", "its columns are a, b"), ("split\tname\tnum_frames\na\tb\tx\n", "line 2")]:
        counts.write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match=message):
            read(release, frame_counts="raw:phoenix14t/counts.tsv")


def test_a_wrong_root_says_which_would_be_right(release: Path) -> None:
    with pytest.raises(DataError, match=r"no such annotation; it looks as if root should be .*phoenix14t;"):
        read(release, root="raw:")
    with pytest.raises(DataError, match=r"nowhere.*no such annotation; root is the folder"):
        read(release, root="raw:nowhere")
    (release / "features").rename(release / "other")
    with pytest.raises(DataError, match="fullFrame-210x260px/train: no such folder of train frames"):
        read(release)
    with pytest.raises(ConfigError, match=r"phoenix14t\.corpus\.options\.rot`; did you mean `root`"):
        read(release, rot="x")


def test_a_missing_split_is_named(release: Path) -> None:
    shutil.move(annotation(release, "dev"), release / "kept")
    message = r"PHOENIX-2014-T\.dev\.corpus\.csv: no such annotation, but its folder is there; unpack .* again"
    with pytest.raises(DataError, match=message):
        read(release)
    shutil.move(release / "kept", annotation(release, "dev"))
    shutil.rmtree(release / "features" / "fullFrame-210x260px" / "dev")
    message = r"fullFrame-210x260px/dev: no such folder of dev frames; unpack .* or phoenix14t\.corpus\.options\.root"
    with pytest.raises(DataError, match=message):
        read(release)
    frames_of(release, "dev", "other").mkdir(parents=True)
    message = (
        rf"phoenix14t\.corpus: the dev split has no clip: all 1 rows of {annotation(release, 'dev')} were dropped, "
    )
    with pytest.raises(DataError, match=message + f"the first `{NAMES['dev'][0]}`: missing folder; mend them"):
        report(read(release), section())


def test_a_fingerprint_changes_with_the_frames(release: Path) -> None:
    def prints(**options: Any) -> list[str | None]:
        return [clip.fingerprint for clip in read(release, **options).clips]

    before, hashed = prints(), prints(hash_media=True)
    assert before == prints() and before[0] is not None and before[0].startswith("stat:3:")
    path = frames_of(release, "train", NAMES["train"][0]) / "images0002.png"
    path.write_bytes(path.read_bytes() + b"\0")
    assert prints()[0] != before[0] and prints()[1:] == before[1:]
    assert prints(hash_media=True)[0] != hashed[0] and prints(hash_media=True)[1:] == hashed[1:]


def test_the_level_that_the_annotation_names_is_found(release: Path) -> None:
    folder = frames_of(release, "dev", NAMES["dev"][0])
    folder.rename(release / "moved")
    folder.mkdir()
    (release / "moved").rename(folder / "1")
    clip = next(clip for clip in read(release).clips if clip.split == "dev")
    assert clip.video.endswith(f"{NAMES['dev'][0]}/1") and clip.frames == 3


def shared_reading(final_stop: bool) -> Reading:
    """The real annotation without its frames, which are under another licence."""
    counts = read_counts(SHARED / "num_frames.tsv")
    clips = [
        Clip(
            id=row.name,
            split=split,
            language="de",
            sign_language="gsg",
            video=row.name,
            text=with_stop(row.text)[0] if final_stop else row.text,
            gloss=row.gloss,
            signer=row.signer,
            frames=counts[split, row.name],
        )
        for split in SPLITS
        for row in read_annotation(SHARED / f"PHOENIX-2014-T.{split}.corpus.csv")
    ]
    return Reading(clips)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared PHOENIX-2014T annotation")
def test_the_releases_own_figures() -> None:
    """Golden values: counted in neccam/slt's files, which have the final stop, by another script."""
    found = report(shared_reading(final_stop=True), section())["splits"]
    keys = ("clips", "frames", "words", "words_max", "types", "gloss_types", "oov_words", "texts_also_in_train")
    expected = {
        "train": (7096, 827354, 106177, 53, 2888, 1085, 0, None),
        "dev": (519, 55775, 7339, 33, 952, 393, 57, 25),
        "test": (642, 64627, 8458, 31, 1002, 411, 60, 32),
    }
    assert {split: tuple(found[split][key] for key in keys) for split in SPLITS} == expected
    assert found["train"]["singletons"] == 1077
    lengths = {split: tuple(found[split]["frames_a_clip"].values()) for split in SPLITS}
    assert lengths == {"train": (116.6, 112, 475, 16), "dev": (107.5, 105, 272, 16), "test": (100.7, 99.5, 242, 17)}
    assert [len(found[split]["signers"]) for split in SPLITS] == [9, 9, 9]


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared PHOENIX-2014T annotation")
def test_the_releases_own_figures_without_the_stop() -> None:
    found = report(shared_reading(final_stop=False), section())["splits"]
    expected = {"train": (2887, 99081, 52), "dev": (951, 6820, 32), "test": (1001, 7816, 30)}
    assert {s: (found[s]["types"], found[s]["words"], found[s]["words_max"]) for s in SPLITS} == expected


def test_text_only_needs_no_frames(release: Path) -> None:
    shutil.rmtree(release / "features")
    with pytest.raises(DataError, match="no such folder of train frames"):
        read(release)
    reading = read(release, text_only=True)
    assert [(clip.id, clip.video, clip.frames) for clip in reading.clips] == [
        (name, "", None) for names in NAMES.values() for name in names
    ]
    assert reading.notes["text_only"] is True and not reading.dropped


def test_a_rendered_corpus_is_labelled_and_a_half_rendered_one_refused(release: Path) -> None:
    write_json(release / "REHEARSAL.json", {"note": "drawn, not filmed", "complete": True})
    assert read(release).notes["warning"] == "drawn, not filmed"
    write_json(release / "REHEARSAL.json", {"note": "drawn, not filmed", "complete": False})
    with pytest.raises(DataError, match="rendered in part"):
        read(release)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expecting value"),
        (b'{"note": "drawn", "compl', "Unterminated string"),
        (b"\xff\xfe", "can't decode"),
        (b"[]", "a list, expected an object"),
        (b"{}", "`complete` is not true or false"),
        (b'{"note": "drawn", "complete": "false"}', "`complete` is not true or false"),
        (b'{"complete": true}', "no text under `note`"),
        (b'{"note": " ", "complete": true}', "no text under `note`"),
        (None, "Is a directory"),
    ],
)
def test_a_damaged_marker_never_leads_to_its_own_removal(release: Path, content: bytes | None, why: str) -> None:
    marker = release / "REHEARSAL.json"
    marker.mkdir() if content is None else marker.write_bytes(content)
    with pytest.raises(DataError, match=f"REHEARSAL.json: damaged .*{why}") as caught:
        read(release)
    assert f"remove the whole folder {release}, not this file alone, and render it again" in str(caught.value)


def test_a_marker_that_leads_nowhere_is_no_missing_marker(release: Path) -> None:
    (release / "REHEARSAL.json").symlink_to(release / "gone")
    with pytest.raises(DataError, match=r"REHEARSAL\.json: damaged"):
        read(release)


def test_the_whole_release_is_read_without_a_warning(
    release: Path, whole: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert "warning" not in read(release).notes
    assert "warning" not in read(release, text_only=True).notes
    assert not [entry for entry in caplog.records if entry.levelno >= logging.WARNING]


@pytest.mark.parametrize("lost", ["images0003.png", "images0005.png"], ids=["in the middle", "the last"])
def test_a_lost_frame_is_warned_of_and_keeps_the_corpus_from_being_compared(
    release: Path, whole: None, caplog: pytest.LogCaptureFixture, lost: str
) -> None:
    (frames_of(release, "train", NAMES["train"][2]) / lost).unlink()
    notes = read(release).notes
    assert notes["frames_other_than_released"] == {"train": 11}
    why = "not the whole of PHOENIX-2014T as released: 11 train frames where 12 were released"
    assert notes["warning"] == why  # which tables take for a reason not to compare
    assert f"phoenix14t.corpus: {why}; unpack it again" in caplog.text
    gap = f"phoenix14t.corpus: 1 clips have gaps in their frames' numbers: `{NAMES['train'][2]}`; frames are missing"
    assert (gap in caplog.text) == (lost == "images0003.png")


@pytest.mark.parametrize("text_only", [False, True])
def test_a_train_split_cut_short_is_warned_of_and_keeps_the_corpus_from_being_compared(
    release: Path, whole: None, caplog: pytest.LogCaptureFixture, text_only: bool
) -> None:
    annotation(release, "train").write_text(HEADER + row(NAMES["train"][0]) + row(NAMES["train"][1]), encoding="utf-8")
    why = "not the whole of PHOENIX-2014T as released: 2 train rows where 3 were released"
    assert read(release, text_only=text_only).notes["warning"] == why
    assert why in caplog.text


def test_a_dropped_clip_keeps_the_corpus_from_being_compared(release: Path, whole: None) -> None:
    shutil.rmtree(frames_of(release, "train", NAMES["train"][0]))
    assert read(release).notes["warning"].endswith("as released: 1 train clips dropped")


def test_a_rehearsal_of_a_part_says_no_more_than_that_it_is_one(
    release: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_json(release / "REHEARSAL.json", {"note": "drawn, not filmed", "complete": True})
    assert read(release).notes["warning"] == "drawn, not filmed"
    assert "released" not in caplog.text


@pytest.mark.parametrize("first", [1, 0], ids=["same numbers", "other numbers"])
def test_the_same_images_under_other_names_in_train_and_test_are_refused(release: Path, first: int) -> None:
    source, copy = (frames_of(release, split, NAMES[split][0]) for split in ("train", "test"))
    for path in copy.iterdir():
        path.unlink()
    for number, path in enumerate(sorted(source.iterdir()), first):
        shutil.copyfile(path, copy / f"images{number:04d}.png")
    assert len(read(release).clips) == 5
    message = rf"clip `{NAMES['test'][0]}` of test shows the same images as clip `{NAMES['train'][0]}` of train: scores"
    with pytest.raises(DataError, match=message):
        read(release, hash_media=True)
