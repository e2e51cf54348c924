"""Renders a rehearsal of PHOENIX-2014T: its annotation and folder layout, with the demo's avatar before the camera.

The whole run can so be timed and debugged at full size before the licensed videos are at hand. Text and gloss
lines are the corpus' own; the signs are invented (``slt.demo.gloss_signs``), so scores on it are no results.
"""

import argparse
import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from slt.corpora.phoenix14t import REHEARSAL as MARKER
from slt.corpora.phoenix14t import read_marker
from slt.demo import avatar, gloss_signs, lexicon, motion
from slt.demo.lexicon import Sign, Token
from slt.demo.motion import Motion, Signer
from slt.errors import ConfigError, DataError, SltError
from slt.manifest import SPLITS
from slt.stage import configure_logging, progress
from slt.store import file_sha256, fingerprint, replacing, write_json
from slt.workers import process_pool, worker_count

log = logging.getLogger("slt.rehearsal")

HEADER = "name|video|start|end|speaker|orth|translation"
ANNOTATION = "PHOENIX-2014-T.{}.corpus.csv"
FEATURES = "features/fullFrame-210x260px"
FPS = 25  # of the release
COMPRESSION = 1  # of the PNG files: level 6 takes four times as long for a tenth less
UNFINISHED = ".part"
NOTE = (
    "A rehearsal: the corpus' own text and glosses, signed by a drawn avatar with invented signs. Scores on it tell "
    "whether the pipeline runs and how long it takes, never how well a system translates."
)


@dataclass(frozen=True)
class Row:
    """One clip of an annotation file; ``line`` is its row as the publisher wrote it."""

    split: str
    name: str
    speaker: str
    glosses: tuple[str, ...]
    line: str


@dataclass(frozen=True)
class Look:
    """What the frames of all clips have in common."""

    width: int = 210
    height: int = 260
    grain: float = avatar.GRAIN
    """standard deviation of the camera's noise, grey levels; it makes most of the bytes"""

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 64:
            raise ConfigError(f"size {self.width}x{self.height}: hand shapes cannot be told apart below 64 pixels")
        if not 0 <= self.grain <= 20:
            raise ConfigError(f"grain {self.grain}: give a number from 0 to 20")


@dataclass(frozen=True)
class Take:
    """One clip to render into ``folder``; ``frames``: how many there must be, or None for the avatar's own tempo."""

    folder: Path
    tokens: tuple[Token, ...]
    signs: dict[str, Sign]
    signer: Signer
    frames: int | None
    look: Look

    def motion(self) -> Motion:
        """The poses, one a frame."""
        planned = motion.plan(self.tokens, self.signer, FPS, self._rng("motion"), self.signs)
        return planned if self.frames is None else planned.lasting(self.frames)

    def render(self) -> np.ndarray:
        """The drawn frames (T, height, width, 3), RGB."""
        return avatar.render(self.motion(), self.look.width, self._rng("render"), self.look.height, self.look.grain)

    def _rng(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng(list(hashlib.sha256(f"{purpose} {self.folder.name}".encode()).digest()))


def read_annotation(folder: Path) -> dict[str, list[Row]]:
    """The rows of each split; DataError for a file that is missing, of other columns, or with a name that repeats."""
    rows: dict[str, list[Row]] = {}
    for split in SPLITS:
        path = folder / ANNOTATION.format(split)
        if not path.is_file():
            raise DataError(f"{path}: no such annotation; name the release's folder annotations/manual")
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 ({error}); fetch the file again") from error
        if not lines or lines[0] != HEADER:
            raise DataError(f"{path}: expected the columns {HEADER}, found {lines[0] if lines else 'nothing'!r}")
        rows[split] = [_row(path, split, number, line) for number, line in enumerate(lines[1:], 2)]
        names = {row.name for row in rows[split]}
        if not names or len(names) < len(rows[split]):
            raise DataError(f"{path}: {len(rows[split])} rows with {len(names)} names; fetch the file again")
    return rows


def _row(path: Path, split: str, number: int, line: str) -> Row:
    cells = line.split("|")
    if len(cells) != 7:
        raise DataError(f"{path}: line {number} has {len(cells)} columns, not 7; fetch the file again")
    name, _, _, _, speaker, orth, _ = cells
    if not name or name.startswith(".") or Path(name).name != name or "\\" in name:
        raise DataError(f"{path}: line {number}: `{name}` is no name of a folder; correct the annotation")
    return Row(split, name, speaker, tuple(orth.split()), line)


def read_frame_counts(path: Path) -> dict[tuple[str, str], int]:
    """Frames by (split, name) from a tab-separated file split, name, num_frames; DataError for any other."""
    counts = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: no readable file of frame counts ({error})") from error
    for number, line in enumerate(lines[1:], 2):
        cells = line.split("\t")
        if len(cells) != 3 or not cells[2].isdigit() or not int(cells[2]):
            raise DataError(f"{path}: line {number}: expected split, name and a number of frames, found {line!r}")
        counts[cells[0], cells[1]] = int(cells[2])
    return counts


def choose(rows: list[Row], count: int) -> list[Row]:
    """So many rows, in their order, by a hash of the name: a larger choice contains every smaller one."""
    ranked = sorted(rows, key=lambda row: hashlib.sha256(row.name.encode()).digest())
    chosen = {row.name for row in ranked[:count]}
    return [row for row in rows if row.name in chosen]


def rehearse(
    annotation: Path,
    out: Path,
    counts: dict[str, int] | None = None,
    frame_counts: Path | None = None,
    look: Look | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Render the corpus below ``out`` in the release's layout and return the marker, ``out/REHEARSAL.json``.

    ``counts``: clips per split, default all. ``frame_counts``: how long each clip is, default as the signs take.
    Complete clips of an earlier run are kept; the annotation, of the rendered clips alone, is written when all are
    there. Bytes do not depend on ``workers``.

    Raises DataError for an annotation that does not fit and ConfigError for a folder rendered with other settings.
    """
    look = look or Look()
    rows = read_annotation(annotation)
    lengths = read_frame_counts(frame_counts) if frame_counts else None
    everything = [row for split in SPLITS for row in rows[split]]
    signs, again = gloss_signs.invent(token.sign for row in everything for token in gloss_signs.tokens(row.glosses))
    bodies = gloss_signs.cast(row.speaker for row in everything)
    chosen = {split: choose(rows[split], counts[split] if counts else len(rows[split])) for split in SPLITS}
    takes = [_take(row, out, signs, bodies, lengths, look) for split in SPLITS for row in chosen[split]]
    code = [file_sha256(Path(str(module.__file__))) for module in (avatar, gloss_signs, lexicon, motion)]
    settings = {
        "annotation": {split: file_sha256(annotation / ANNOTATION.format(split)) for split in SPLITS},
        "frame_counts": file_sha256(frame_counts) if frame_counts else None,
        "width": look.width,
        "height": look.height,
        "grain": look.grain,
        "fps": FPS,
        "renderer": fingerprint(code, file_sha256(Path(__file__))),
    }
    marker = {
        "note": NOTE,
        "settings": settings,
        "versions": {"opencv": cv2.__version__, "numpy": np.__version__},
        "signs": len(signs),
        "signs_drawn_again": again,
        "bodies": {speaker: body.name for speaker, body in bodies.items()},
    }
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        _refuse_other(out, settings)
        write_json(out / MARKER, {**marker, "complete": False})
        frames = _render_all(out, takes, min(workers or worker_count(), len(takes)))
        for split in SPLITS:
            with replacing(out / "annotations" / "manual" / ANNOTATION.format(split)) as temporary:
                temporary.write_text("\n".join([HEADER, *(row.line for row in chosen[split])]) + "\n", encoding="utf-8")
        marker |= {
            "clips": {split: len(chosen[split]) for split in SPLITS},
            "annotated_clips": {split: len(rows[split]) for split in SPLITS},
            "frames": sum(frames),
            "complete": True,
        }
        write_json(out / MARKER, marker)
    return marker


def _take(
    row: Row,
    out: Path,
    signs: dict[str, Sign],
    bodies: dict[str, Signer],
    lengths: dict[tuple[str, str], int] | None,
    look: Look,
) -> Take:
    if lengths is not None and (row.split, row.name) not in lengths:
        raise DataError(f"the file of frame counts has no {row.split} clip `{row.name}`; take the one of this release")
    signed = tuple(gloss_signs.tokens(row.glosses))
    return Take(
        folder=out / FEATURES / row.split / row.name,
        tokens=signed,
        signs={token.sign: signs[token.sign] for token in signed},
        signer=bodies[row.speaker],
        frames=lengths[row.split, row.name] if lengths is not None else None,
        look=look,
    )


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """One writer a folder; the system frees the lock when its holder dies."""
    descriptor = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise DataError(f"{out}: another process is rendering into it; wait for it, or take another folder") from error
    finally:
        os.close(descriptor)


def _refuse_other(out: Path, settings: dict[str, Any]) -> None:
    marker = read_marker(out)
    if marker is None:
        if any(out.iterdir()):
            raise ConfigError(
                f"{out}: there are files in it, but no {MARKER}; rehearsals go into a folder of their own"
            )
        return
    before = marker.get("settings")
    if not isinstance(before, dict):
        raise DataError(f"{out / MARKER}: damaged (no `settings`); remove the whole folder {out} and render it again")
    differing = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
    if differing:
        raise ConfigError(
            f"{out}: rendered with another {', '.join(differing)} (see {MARKER} in it); "
            "remove it, or take another folder"
        )


def _render_all(out: Path, takes: list[Take], workers: int) -> list[int]:
    """Frames of each clip, all rendered; seconds and rates go to the log."""
    for leftover in (out / FEATURES).glob(f"*/.*{UNFINISHED}"):
        shutil.rmtree(leftover)
    started = time.monotonic()
    if workers == 1:
        done = list(progress(map(_film, takes), "rendering", len(takes), "clip"))
    else:
        with process_pool(workers) as pool:
            done = list(progress(pool.map(_film, takes, chunksize=4), "rendering", len(takes), "clip"))
    seconds = time.monotonic() - started
    new = [frames for frames, rendered in done if rendered]
    log.info(
        "%s: %d clips, of which %d are new: %d frames in %.0f s (%.0f frames/s, %d processes)",
        *(out, len(done), len(new), sum(new), seconds, sum(new) / max(seconds, 1e-9), workers),
    )
    return [frames for frames, _ in done]


def _film(take: Take) -> tuple[int, bool]:
    """The clip's number of frames, and whether it had to be rendered; its folder appears only complete."""
    planned = len(take.motion()) if take.frames is None else take.frames
    if take.folder.is_dir():
        with os.scandir(take.folder) as entries:
            written = sum(entry.stat().st_size > 0 for entry in entries)
        if written == planned:
            return planned, False
        log.warning("%s: %d frames of %d; rendered again", take.folder, written, planned)
        shutil.rmtree(take.folder)
    cv2.setNumThreads(1)  # one clip a process: threads within would only compete
    unfinished = take.folder.with_name(f".{take.folder.name}{UNFINISHED}")
    try:
        unfinished.mkdir(parents=True)
        for number, frame in enumerate(take.render(), 1):
            encoded = cv2.imencode(".png", frame[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, COMPRESSION])[1]
            (unfinished / f"images{number:04d}.png").write_bytes(encoded.tobytes())
        unfinished.rename(take.folder)
    except OSError as error:
        raise DataError(
            f"{take.folder}: cannot be written ({error}); make room and run the same command again: "
            "complete clips are kept"
        ) from error
    return planned, True


def _counts(arguments: argparse.Namespace) -> dict[str, int] | None:
    if arguments.share is not None:
        if not 0 < arguments.share <= 1:
            raise ConfigError(f"--share {arguments.share}: give a number above 0, at most 1")
        rows = read_annotation(arguments.annotation)
        return {split: max(1, round(arguments.share * len(rows[split]))) for split in SPLITS}
    if arguments.clips is None:
        return None
    numbers = arguments.clips * len(SPLITS) if len(arguments.clips) == 1 else arguments.clips
    if len(numbers) != len(SPLITS) or min(numbers) < 1:
        raise ConfigError("--clips: give one number for all splits, or one each for train, dev and test, at least 1")
    return dict(zip(SPLITS, numbers, strict=True))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"`{text}`: expected WIDTHxHEIGHT, as in 210x260")
    return int(width), int(height)


def main(argv: list[str] | None = None) -> None:
    """Entry point of ``python -m slt.demo.rehearsal``; an expected error is one line on stderr and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m slt.demo.rehearsal", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--annotation", required=True, type=Path, help="folder of PHOENIX-2014-T.<split>.corpus.csv")
    parser.add_argument("--out", required=True, type=Path, help="root of the rehearsal; the same again resumes")
    parser.add_argument(
        "--frames", type=Path, help="split, name, num_frames as .tsv: each clip as long as the real one"
    )
    subset = parser.add_mutually_exclusive_group()
    subset.add_argument("--clips", type=int, nargs="+", metavar="N", help="clips of each split, or of train, dev, test")
    subset.add_argument("--share", type=float, help="share of each split's clips, such as 0.1")
    parser.add_argument("--size", type=_size, default=(Look.width, Look.height), help="WIDTHxHEIGHT, default 210x260")
    parser.add_argument("--grain", type=float, default=Look.grain, help=f"camera noise, default {Look.grain}")
    parser.add_argument("--workers", type=int, help="processes, default SLT_WORKERS or one a core")
    arguments = parser.parse_args(argv)
    configure_logging()
    try:
        if arguments.workers is not None and arguments.workers < 1:
            raise ConfigError(f"--workers {arguments.workers}: give a number of processes, at least 1")
        width, height = arguments.size
        look = Look(width, height, arguments.grain)
        rehearse(arguments.annotation, arguments.out, _counts(arguments), arguments.frames, look, arguments.workers)
    except SltError as error:
        log.error("%s", error)
        sys.exit(2)


if __name__ == "__main__":
    main()
