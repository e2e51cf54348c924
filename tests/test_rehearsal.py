"""The rehearsal: the release's layout, one sign per gloss everywhere, nothing half-written, nothing mixed up."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from slt.config.data import CorpusConfig
from slt.corpora import read_corpus, report
from slt.demo import rehearsal
from slt.demo.avatar import render
from slt.demo.gloss_signs import BODIES, cast, invent, tokens
from slt.demo.lexicon import Token
from slt.demo.motion import plan
from slt.demo.rehearsal import FEATURES, HEADER, MARKER, Look, Row, choose, read_annotation, rehearse
from slt.errors import ConfigError, DataError
from slt.manifest import SPLITS
from slt.store import read_json
from slt.video import read_frames

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data" / "phoenix14t"
SMALL = Look(64, 80)
GLOSSES = ("MORGEN REGEN", "NORD WIND STARK KOMMEN", "neg-REGEN", "SONNE")


def row(name: str, speaker: str, orth: str) -> str:
    return f"{name}|{name}/1/*.png|-1|-1|{speaker}|{orth}|ein satz von {name}"


@pytest.fixture
def annotation(tmp_path: Path) -> Path:
    folder = tmp_path / "manual"
    folder.mkdir()
    for split, count in (("train", 4), ("dev", 2), ("test", 2)):
        rows = [row(f"{split}_tagesschau-{i}", f"Signer0{1 + i}", GLOSSES[i]) for i in range(count)]
        write_split(folder, split, rows)
    return folder


def write_split(folder: Path, split: str, rows: list[str], header: str = HEADER) -> None:
    (folder / f"PHOENIX-2014-T.{split}.corpus.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def frame_counts(annotation: Path, frames: int = 12) -> Path:
    lines = [f"{split}\t{row.name}\t{frames + i}" for split, rows in read_annotation(annotation).items()
             for i, row in enumerate(rows)]  # fmt: skip
    path = annotation.parent / "num_frames.tsv"
    path.write_text("\n".join(["split\tname\tnum_frames", *lines]) + "\n")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_layout_is_the_release_s(annotation: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    marker = rehearse(annotation, out, frame_counts=frame_counts(annotation), workers=1)
    clip = out / FEATURES / "train" / "train_tagesschau-1"
    assert FEATURES == "features/fullFrame-210x260px"
    assert sorted(path.name for path in clip.iterdir()) == [f"images{i:04d}.png" for i in range(1, 14)]
    assert cv2.imread(str(clip / "images0001.png")).shape == (260, 210, 3)
    for split in SPLITS:
        name = f"PHOENIX-2014-T.{split}.corpus.csv"
        assert (out / "annotations" / "manual" / name).read_bytes() == (annotation / name).read_bytes()
    assert marker == read_json(out / MARKER)
    assert marker["complete"] and marker["clips"] == {"train": 4, "dev": 2, "test": 2}
    assert marker["frames"] == len(list(out.rglob("*.png"))) == sum(range(12, 16)) + 2 * sum(range(12, 14))
    assert "never how well a system translates" in marker["note"]


def test_the_pipeline_s_own_reader_takes_a_clip_in_its_colours(annotation: Path, tmp_path: Path) -> None:
    rehearse(annotation, tmp_path / "out", look=Look(64, 80, grain=0), workers=1)
    (first, *rest) = read_frames(tmp_path / "out" / FEATURES / "train" / "train_tagesschau-0", size=64, fit="stretch")
    assert 15 <= 1 + len(rest) <= 60
    np.testing.assert_allclose(first[:6].mean(axis=(0, 1)), BODIES[0].background, rtol=0.15)  # RGB, not BGR
    assert first[0, 0, 2] > first[0, 0, 0]


def test_the_release_s_own_adapter_reads_it(annotation: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rehearse(annotation, out, frame_counts=frame_counts(annotation), look=SMALL, workers=1)
    config = CorpusConfig("phoenix14t", "de", "gsg", dict.fromkeys(SPLITS, 0), {"root": str(out)})
    reading = read_corpus(config, "rehearsed", tmp_path / "corpus")
    expected = []
    for split in SPLITS:
        lines = (annotation / f"PHOENIX-2014-T.{split}.corpus.csv").read_text(encoding="utf-8").splitlines()
        for i, line in enumerate(lines[1:]):
            name, _, _, _, speaker, orth, translation = line.split("|")
            expected.append((split, name, f"{translation} .", orth, speaker, 12 + i))
    assert [(c.split, c.id, c.text, c.gloss, c.signer, c.frames) for c in reading.clips] == expected
    assert not reading.dropped and len(expected) == 8
    assert {Path(clip.video) for clip in reading.clips} == set((out / FEATURES).glob("*/*"))
    findings = report(reading, config)
    assert {split: found["clips"] for split, found in findings["splits"].items()} == {"train": 4, "dev": 2, "test": 2}
    assert "never how well a system translates" in findings["notes"]["warning"]


def test_bytes_depend_on_the_clip_alone(annotation: Path, tmp_path: Path) -> None:
    rehearse(annotation, tmp_path / "all", look=SMALL, workers=2)
    some = {"train": 2, "dev": 1, "test": 1}
    rehearse(annotation, tmp_path / "some", some, look=SMALL, workers=1)
    whole = contents(tmp_path / "all" / FEATURES)
    part = contents(tmp_path / "some" / FEATURES)
    assert part and part.items() < whole.items()
    marker = read_json(tmp_path / "some" / MARKER)
    assert marker["clips"] == some and marker["annotated_clips"] == {"train": 4, "dev": 2, "test": 2}
    assert {split: len(rows) for split, rows in read_annotation(tmp_path / "some/annotations/manual").items()} == some


def test_a_larger_choice_contains_the_smaller_and_keeps_its_clips(annotation: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rehearse(annotation, out, {"train": 1, "dev": 1, "test": 1}, look=SMALL, workers=1)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    rehearse(annotation, out, {"train": 3, "dev": 2, "test": 1}, look=SMALL, workers=1)
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert before.items() < after.items()


def test_clips_are_chosen_by_their_names_alone() -> None:
    rows = [Row("train", f"clip-{i}", "Signer01", (), "") for i in range(40)]
    assert all(set(choose(rows, n)) < set(choose(rows, n + 1)) for n in range(40))
    assert choose(rows, 7) == choose(rows[::-1], 7)[::-1] != rows[:7]


# --- interruption ---


def test_a_killed_run_is_taken_up_and_ends_in_the_same_bytes(annotation: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "slt.demo.rehearsal", "--annotation", str(annotation), "--out", str(out),
               "--size", "64x80", "--frames", str(frame_counts(annotation, 150)), "--workers", "1"]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(out.glob(f"{FEATURES}/train/[!.]*")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL and not read_json(out / MARKER)["complete"]
    assert not (out / "annotations").exists()  # an adapter finds no clip that is not there
    (out / FEATURES / "train" / ".gone.part").mkdir()  # of a clip that is not asked for any more
    subprocess.run(command, cwd=ROOT, check=True)
    assert not list(out.rglob("*.part"))
    rehearse(annotation, tmp_path / "straight", frame_counts=tmp_path / "num_frames.tsv", look=SMALL, workers=1)
    assert contents(out) == contents(tmp_path / "straight")


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["missing", "empty"])
def test_an_incomplete_clip_is_rendered_again(annotation: Path, tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    rehearse(annotation, tmp_path / "out", look=SMALL, workers=1)
    before = contents(tmp_path / "out")
    damage(tmp_path / "out" / FEATURES / "dev" / "dev_tagesschau-0" / "images0004.png")
    rehearse(annotation, tmp_path / "out", look=SMALL, workers=1)
    assert contents(tmp_path / "out") == before


def test_a_full_disk_is_one_clear_error_and_leaves_no_half_clip(
    annotation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "images0007.png":
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"train_tagesschau-0: cannot be written.*No space left.*are kept"):
        rehearse(annotation, tmp_path / "out", look=SMALL, workers=1)
    assert not list((tmp_path / "out" / FEATURES).glob("*/[!.]*"))


def test_two_runs_into_one_folder_are_refused(annotation: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with rehearsal._locked(tmp_path / "out"), pytest.raises(DataError, match="another process is rendering into it"):
        rehearse(annotation, tmp_path / "out", look=SMALL, workers=1)
    rehearse(annotation, tmp_path / "out", look=SMALL, workers=1)


@pytest.mark.parametrize("change", ["height", "frame_counts", "annotation"])
def test_a_folder_of_other_settings_is_refused(annotation: Path, tmp_path: Path, change: str) -> None:
    counts = {"train": 1, "dev": 1, "test": 1}
    rehearse(annotation, tmp_path / "out", counts, look=SMALL, workers=1)
    look, frames = Look(64, 81) if change == "height" else SMALL, None
    if change == "frame_counts":
        frames = frame_counts(annotation)
    if change == "annotation":
        write_split(annotation, "dev", [row("new", "Signer01", "REGEN")])
    with pytest.raises(ConfigError, match=rf"rendered with another {change} "):
        rehearse(annotation, tmp_path / "out", counts, frames, look, workers=1)


@pytest.mark.parametrize(
    ("content", "why"),
    [("{", "Expecting property name"), ("[]", "a list"), ('{"note": "x", "complete": true}', "no `settings`")],
)
def test_a_folder_with_a_damaged_marker_is_rendered_anew_or_not_at_all(
    annotation: Path, tmp_path: Path, content: str, why: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MARKER).write_text(content)
    with pytest.raises(DataError, match=rf"REHEARSAL.json: damaged .*{why}.*remove the whole folder \S+out"):
        rehearse(annotation, tmp_path / "out", look=SMALL, workers=1)


def test_a_folder_of_something_else_is_refused(annotation: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there are files in it, but no REHEARSAL\.json"):
        rehearse(annotation, tmp_path, look=SMALL, workers=1)


# --- signs ---


def test_a_gloss_has_one_sign_whatever_else_is_signed() -> None:
    alone, _ = invent(["REGEN"])
    among, _ = invent(["ABEND", "REGEN", "WIND", "REGEN", "neg-KLAR"])
    assert alone["REGEN"] == among["REGEN"] and len(among) == 4


def test_no_two_glosses_share_what_the_hands_do() -> None:
    signs, again = invent(f"GLOSS-{i}" for i in range(3000))
    assert len({sign.parameters[:-2] for sign in signs.values()}) == 3000
    assert 5 < again < 100


@pytest.mark.skipif(not REAL.is_dir(), reason="the PHOENIX annotation is not beside this checkout")
def test_all_glosses_of_the_release_differ_in_what_the_hands_do() -> None:
    rows = [row for rows in read_annotation(REAL).values() for row in rows]
    assert len(rows) == 7096 + 519 + 642
    signs, again = invent(token.sign for row in rows for token in tokens(row.glosses))
    assert len({sign.parameters[:-2] for sign in signs.values()}) == len(signs) > 1000
    assert 0 < again < 20
    assert len({body.name for body in cast(row.speaker for row in rows).values()}) == 9


def test_two_glosses_can_be_told_apart_on_every_body() -> None:
    signs, _ = invent(GLOSSES[1].split())
    for body in BODIES:
        clips = []
        for gloss in signs:
            poses = plan([Token(gloss)], body, 25, np.random.default_rng(0), signs).lasting(16)
            clips.append(render(poses, 210, np.random.default_rng(1), 260).astype(int))
        for i, first in enumerate(clips):
            for second in clips[:i]:
                differing = (np.abs(first - second).max(axis=3) > 40).sum(axis=(1, 2))
                assert differing[4:12].min() > 500  # of 54,600 pixels


def test_negation_is_the_same_sign_with_a_head_shake() -> None:
    assert tokens(["neg-REGEN", "negalp-KEIN", "neg-"]) == [Token("REGEN", True), Token("negalp-KEIN"), Token("neg-")]
    signs, _ = invent(["REGEN"])
    plain, negated = (plan(tokens([g]), BODIES[7], 25, np.random.default_rng(0), signs) for g in ("REGEN", "neg-REGEN"))
    np.testing.assert_array_equal(plain.hands, negated.hands)
    assert np.abs(negated.shake).max() > 2 and not plain.shake.any()


@pytest.mark.parametrize("frames", [1, 7, 40, 400])
def test_a_motion_lasts_as_long_as_it_is_told(frames: int) -> None:
    signs, _ = invent(["REGEN", "WIND"])
    motion = plan(tokens(["REGEN", "WIND"]), BODIES[8], 25, np.random.default_rng(0), signs)
    longer = motion.lasting(frames)
    shapes = [longer.hands.shape, longer.face.shape, longer.shake.shape, longer.camera.shape]
    assert shapes == [(frames, 2, 10), (frames, 6), (frames,), (frames, 2)]
    np.testing.assert_array_equal(longer.hands[0], motion.hands[0])
    if frames > 1:
        np.testing.assert_allclose(longer.hands[-1], motion.hands[-1])
    np.testing.assert_array_equal(motion.lasting(len(motion)).hands.round(9), motion.hands.round(9))


def test_a_clip_without_gloss_shows_a_signer_at_rest(annotation: Path, tmp_path: Path) -> None:
    write_split(annotation, "dev", [row("silent", "Signer01", "")])
    marker = rehearse(annotation, tmp_path / "out", {"train": 1, "dev": 1, "test": 1}, look=SMALL, workers=1)
    assert marker["complete"] and list((tmp_path / "out" / FEATURES / "dev" / "silent").iterdir())


# --- bad input ---


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (["a|b|c"], HEADER, r"line 2 has 3 columns, not 7"),
        ([row("x", "S", "A")], "id|text", r"expected the columns name\|video"),
        ([row("x", "S", "A")] * 2, HEADER, r"2 rows with 1 names"),
        ([], HEADER, r"0 rows"),
        ([row("../../x", "S", "A")], HEADER, r"line 2: `\.\./\.\./x` is no name of a folder"),
        ([row("..", "S", "A")], HEADER, r"line 2: `\.\.` is no name"),
        ([row("a\\b", "S", "A")], HEADER, r"is no name"),
    ],
)
def test_a_broken_annotation_is_named(annotation: Path, rows: list[str], header: str, message: str) -> None:
    write_split(annotation, "test", rows, header)
    with pytest.raises(DataError, match=rf"PHOENIX-2014-T\.test\.corpus\.csv: .*{message}"):
        read_annotation(annotation)


def test_a_clip_without_frame_count_is_named(annotation: Path, tmp_path: Path) -> None:
    counts = frame_counts(annotation)
    counts.write_text("\n".join(counts.read_text().splitlines()[:-1]))
    with pytest.raises(DataError, match="no test clip `test_tagesschau-1`"):
        rehearse(annotation, tmp_path / "out", frame_counts=counts, look=SMALL, workers=1)
    counts.write_text("split\tname\tnum_frames\ntrain\tx\tmany\n")
    with pytest.raises(DataError, match=r"num_frames\.tsv: line 2"):
        rehearse(annotation, tmp_path / "out", frame_counts=counts, look=SMALL, workers=1)


@pytest.mark.parametrize(
    "options",
    [
        ["--clips", "1", "2"],
        ["--clips", "0"],
        ["--share", "2"],
        ["--size", "20x30"],
        ["--grain", "-1"],
        ["--workers", "-1"],
    ],
)
def test_a_wrong_option_is_one_line(
    annotation: Path, tmp_path: Path, options: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SystemExit, match="2"):
        rehearsal.main(["--annotation", str(annotation), "--out", str(tmp_path / "out"), *options])
    assert len(caplog.records) == 1 and not (tmp_path / "out").exists()


def test_a_share_of_the_clips(annotation: Path, tmp_path: Path) -> None:
    rehearsal.main(["--annotation", str(annotation), "--out", str(tmp_path / "out"), "--share", "0.5",
                    "--size", "64x80", "--workers", "1"])  # fmt: skip
    assert read_json(tmp_path / "out" / MARKER)["clips"] == {"train": 2, "dev": 1, "test": 1}


def test_frames_are_ordinary_png_files(annotation: Path, tmp_path: Path) -> None:
    rehearse(annotation, tmp_path / "out", {"train": 1, "dev": 1, "test": 1}, look=SMALL, workers=1)
    for path in (tmp_path / "out").rglob("images0001.png"):
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.format.name) == (64, 80, "rgb24")
