"""RWTH-PHOENIX-Weather 2014 T (v3): annotation files separated by ``|``, one folder of PNG frames per clip.

The release quotes nothing, so quotes in it are text. Its sentences have no final stop; the files that the field
trains and scores on (neccam/slt's) have one, and a stop missing on one side moves BLEU: it is added, and counted.
What is not all of the release carries a warning in its data report, and no table compares it with published figures.
"""

import json
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slt.annotation import read_lines
from slt.config.base import parse
from slt.config.data import CorpusConfig
from slt.corpora import NAMED, ClipsInTwoSplits, Reading, check_name
from slt.errors import DataError
from slt.images import list_images
from slt.manifest import SPLITS, Clip
from slt.paths import resolve
from slt.stage import progress
from slt.store import file_sha256, fingerprint

log = logging.getLogger("slt.corpora.phoenix14t")

ANNOTATION = "annotations/manual/PHOENIX-2014-T.{split}.corpus.csv"
FRAMES = "features/fullFrame-210x260px/{split}"
COLUMNS = ("name", "speaker", "orth", "translation")  # start and end are -1 throughout, video repeats the name
COUNTS = ("split", "name", "num_frames")
RELEASED = {"train": 7096, "dev": 519, "test": 642}
RELEASED_FRAMES = {"train": 827_354, "dev": 55_775, "test": 64_627}  # the sums of num_frames in neccam/slt's annotation
STOP = " ."
REHEARSAL = "REHEARSAL.json"  # written by slt.demo.rehearsal; not imported from there: no reader needs a renderer
SHOWN = 20  # clips that a note names; it counts all of them


@dataclass(frozen=True)
class Phoenix14tConfig:
    """The adapter's options, ``<dataset>.corpus.options``."""

    root: str
    """folder that holds `annotations` and `features`; absolute, `raw:<path>` below SLT_RAW, or of the checkout"""
    final_stop: bool = True
    """end each sentence in ` .`, as the files do that published scores rest on"""
    frame_counts: str | None = None
    """tab-separated file with the columns split, name, num_frames: a folder of another length is dropped; null: as
    many frames as the folder holds"""
    hash_media: bool = False
    """identify clips by content, not by number, size and time of their images, and refuse one that two splits show:
    reads all 0.95 million"""
    text_only: bool = False
    """read the annotation alone, for what needs no video: targets, sem2text and its ceiling"""


@dataclass(frozen=True)
class Sentence:
    """One row of an annotation file."""

    name: str
    signer: str
    gloss: str
    text: str


def read_options(config: CorpusConfig, where: str) -> Phoenix14tConfig:
    """The adapter's parameters, checked; ConfigError names the key below ``where``, the corpus section."""
    return parse(Phoenix14tConfig, config.options, f"{where}.options")


def read(config: CorpusConfig, dataset: str, out: Path) -> Reading:
    """Read the release in the publisher's layout; ``out`` is not used.

    Rows without text or images, repeated ids, and folders of another length than ``frame_counts`` says are dropped
    with their reason. Raises DataError for a missing or odd annotation or folder, a name that leads out of its
    folder, and a clip that stands in two splits, with ``hash_media`` also under two names. Logs a warning, and keeps it
    in the notes, when what was read is not all of the release.
    """
    options = read_options(config, f"{dataset}.corpus")
    root = resolve(options.root)
    marker = read_marker(root)
    if marker is not None and not marker["complete"]:
        raise DataError(f"{root}: rendered in part; run `python -m slt.demo.rehearsal` with the same options again")
    annotation = {split: read_annotation(root / ANNOTATION.format(split=split)) for split in SPLITS}
    counts = read_counts(resolve(options.frame_counts)) if options.frame_counts else {}
    check_disjoint({split: [row.name for row in rows] for split, rows in annotation.items()}, root)
    reading = Reading([], annotation={split: str(root / ANNOTATION.format(split=split)) for split in SPLITS})
    stops = unannotated = 0
    gaps: list[str] = []
    shown = ClipsInTwoSplits(options.hash_media)
    for split, rows in annotation.items():
        folder = root / FRAMES.format(split=split)
        if not folder.is_dir() and not options.text_only:
            raise DataError(
                f"{folder}: no such folder of {split} frames; unpack the release's features there, or set SLT_RAW or "
                f"{dataset}.corpus.options.root"
            )
        folders = {row.name for row in rows} if options.text_only else set(os.listdir(folder))
        unannotated += len(folders - {row.name for row in rows})
        reading.rows[split] = len(rows)
        seen: set[str] = set()
        for row in progress(rows, f"listing {split} frames", unit="clip"):
            reason = _why_dropped(row, root / ANNOTATION.format(split=split), folders, seen)
            seen.add(row.name)
            spec, images = "", list[os.DirEntry[str]]()
            if reason is None and not options.text_only:
                spec = f"{options.root.rstrip('/')}/{FRAMES.format(split=split)}/{row.name}"
                if (resolve(spec) / "1").is_dir():  # the annotation's video column has this level, the release not
                    spec += "/1"
                images = list_images(resolve(spec))
                expected = counts.get((split, row.name)) if counts else len(images)
                reason = _why_images_do_not_do(images, expected)
            if reason is not None:
                reading.dropped.append((split, row.name, reason))
                continue
            if _has_gaps([image.name for image in images]):
                gaps.append(row.name)
            text, added = with_stop(row.text) if options.final_stop else (row.text, False)
            stops += added
            clip = Clip(
                id=row.name,
                split=split,
                language=config.language,
                sign_language=config.sign_language,
                video=spec,
                text=text,
                gloss=row.gloss or None,
                signer=row.signer or None,
                frames=len(images) or None,
                fingerprint=_fingerprint(images, options.hash_media) if images else None,
            )
            other = shown.elsewhere(clip)
            if other is not None:
                raise DataError(
                    f"{resolve(spec)}: clip `{clip.id}` of {split} shows the same images as clip `{other.id}` of "
                    f"{other.split}: scores would be meaningless; unpack both again, or leave one out of the annotation"
                )
            reading.clips.append(clip)
    frames = {split: sum(c.frames or 0 for c in reading.clips if c.split == split) for split in SPLITS}
    reading.notes = {
        "final_stops_added": stops,
        "clips_without_gloss": sum(clip.gloss is None for clip in reading.clips),
        "folders_without_annotation": unannotated,
        "gaps_in_frame_numbers": {"clips": len(gaps), "first": gaps[:SHOWN]},
        "rows_other_than_released": {s: n for s, n in reading.rows.items() if n != RELEASED[s]},
        "frames_other_than_released": {
            s: n for s, n in frames.items() if n != RELEASED_FRAMES[s] and not options.text_only
        },
        "text_only": options.text_only,
    }
    if gaps:
        log.warning(
            "%s.corpus: %d clips have gaps in their frames' numbers: %s; frames are missing there: unpack them again",
            dataset,
            len(gaps),
            ", ".join(f"`{name}`" for name in gaps[:NAMED]) + (" …" if len(gaps) > NAMED else ""),
        )
    lacking = None if marker is not None else _not_the_release(reading)  # a rehearsal may be of a part, and says so
    if lacking is not None:
        log.warning("%s.corpus: %s; unpack it again; report.json names what was dropped", dataset, lacking)
    warning = marker["note"] if marker is not None else lacking
    if warning is not None:
        reading.notes["warning"] = warning
    return reading


def _not_the_release(reading: Reading) -> str | None:
    """In which numbers a reading differs from the release; None where it is all of it."""
    found = []
    for split in SPLITS:
        rows, clips = reading.rows[split], sum(clip.split == split for clip in reading.clips)
        frames = reading.notes["frames_other_than_released"].get(split)
        if rows != RELEASED[split]:
            found.append(f"{rows:,} {split} rows where {RELEASED[split]:,} were released")
        elif clips != rows:
            found.append(f"{rows - clips:,} {split} clips dropped")
        elif frames is not None:
            found.append(f"{frames:,} {split} frames where {RELEASED_FRAMES[split]:,} were released")
    return f"not the whole of PHOENIX-2014T as released: {', '.join(found)}" if found else None


def read_marker(root: Path) -> dict[str, Any] | None:
    """What ``REHEARSAL.json`` says of a corpus rendered below ``root``: ``note``, ``complete``; None for a real one.

    Raises DataError for a marker that is there and cannot be read. It must not be deleted: drawn signs would then pass
    as the release.
    """
    path = root / REHEARSAL
    if not os.path.lexists(path):
        return None
    try:
        marker = json.loads(path.read_text(encoding="utf-8"))
        why = _why_no_marker(marker)
    except (OSError, ValueError, RecursionError) as error:
        why = str(error)
    if why is not None:
        raise DataError(
            f"{path}: damaged ({why}); it marks drawn signs: remove the whole folder {root}, not this file alone, and "
            "render it again with `python -m slt.demo.rehearsal`"
        )
    return dict(marker)


def _why_no_marker(marker: Any) -> str | None:
    if not isinstance(marker, dict):
        return f"a {type(marker).__name__}, expected an object"
    if not isinstance(marker.get("complete"), bool):
        return "`complete` is not true or false"
    note = marker.get("note")
    return None if isinstance(note, str) and note.strip() else "no text under `note`"


def read_annotation(path: Path) -> list[Sentence]:
    """Rows of ``PHOENIX-2014-T.<split>.corpus.csv``: UTF-8, separated by ``|``, nothing quoted.

    Raises DataError for a file that is missing, not UTF-8, empty or of other columns, and for a row with more or
    fewer fields than the header.
    """
    if not path.is_file():
        if path.parent.is_dir():
            raise DataError(
                f"{path}: no such annotation, but its folder is there; unpack the release's annotations again"
            )
        nested = sorted(path.parents[2].glob("*/annotations")) + sorted(path.parents[2].glob("*/*/annotations"))
        hint = f"; it looks as if root should be {nested[0].parent}" if nested else ""
        raise DataError(
            f"{path}: no such annotation{hint}; root is the folder of RWTH-PHOENIX-Weather 2014 T (v3) that holds "
            "`annotations` and `features`"
        )
    lines = _lines(path)
    columns = [name.strip() for name in lines[0].split("|")]
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(missing)}, found: {', '.join(columns)}; this is not the annotation of "
            "PHOENIX-2014T (PHOENIX-2014 without T has no translations)"
        )
    at = [columns.index(name) for name in COLUMNS]
    sentences = []
    for number, line in enumerate(lines[1:], 2):
        fields = line.split("|")
        if len(fields) != len(columns):
            raise DataError(
                f"{path}: line {number}: {len(fields)} fields, the header names {len(columns)}: cut short, or a `|` "
                "inside a text; get the file again"
            )
        name, *rest = (" ".join(fields[i].split()) for i in at)
        sentences.append(Sentence(name, *rest))
    if not sentences:
        raise DataError(f"{path}: no row below its header; get the file again")
    return sentences


def read_counts(path: Path) -> dict[tuple[str, str], int]:
    """Frames per (split, name) of a tab-separated file; DataError when it is missing or not such a file."""
    if not path.is_file():
        raise DataError(f"{path}: no such file of frame counts; correct frame_counts, or set it to null")
    header, *lines = [line.split("\t") for line in _lines(path)]
    if tuple(header) != COUNTS:
        raise DataError(f"{path}: its columns are {', '.join(header)}; frame_counts needs {', '.join(COUNTS)}")
    counts = {}
    for number, fields in enumerate(lines, 2):
        if len(fields) != len(COUNTS) or not fields[2].isdecimal():
            raise DataError(f"{path}: line {number} is not split, name, number of frames; correct it")
        counts[fields[0], fields[1]] = int(fields[2])
    return counts


def with_stop(text: str) -> tuple[str, bool]:
    """The sentence with a final stop as a word of its own, and whether it had to be added."""
    return (text, False) if text.endswith(".") else (text + STOP, True)


def check_disjoint(names: dict[str, list[str]], where: Path) -> None:
    """Raise DataError for a clip that stands in two splits; ``where`` is what was read."""
    first: dict[str, str] = {}
    for split, listed in names.items():
        for name in listed:
            if first.setdefault(name, split) != split:
                raise DataError(
                    f"{where}: clip `{name}` stands in both {first[name]} and {split}: scores would be meaningless; "
                    "get the annotation again"
                )


def _lines(path: Path) -> list[str]:
    return [line.rstrip("\r\n") for _, line in read_lines(path) if line.strip()] or [""]


def _why_dropped(row: Sentence, annotation: Path, folders: set[str], seen: set[str]) -> str | None:
    if not row.name:
        return "no name"
    check_name(row.name, f"{annotation}: name")
    if row.name in seen:
        return "duplicate id"
    if not row.text:
        return "empty text"
    return None if row.name in folders else "missing folder"


def _why_images_do_not_do(images: list[os.DirEntry[str]], expected: int | None) -> str | None:
    if not images:
        return "no image in its folder"
    if expected is None:
        return "not in frame_counts"
    if len(images) != expected:
        return f"other length: {len(images)} images, {expected} annotated"
    empty = [image.name for image in images if not image.stat().st_size]
    return f"empty image: {empty[0]}" if empty else None


def _has_gaps(names: list[str]) -> bool:
    numbers = [int(found[-1]) for name in names if (found := re.findall(r"[0-9]+", name))]
    return bool(numbers) and numbers[-1] - numbers[0] + 1 != len(names)


def _fingerprint(images: list[os.DirEntry[str]], hash_media: bool) -> str:
    if hash_media:
        # not of the names: a clip whose images are numbered from 0 shows the same
        return f"sha256:{fingerprint([file_sha256(Path(image.path)) for image in images])}"
    stats = [image.stat() for image in images]
    return f"stat:{len(stats)}:{sum(s.st_size for s in stats)}:{max(s.st_mtime_ns for s in stats)}"
