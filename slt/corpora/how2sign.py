"""How2Sign: re-aligned CSV files and one clip file per sentence.

The release's annotation is tab-separated and quoted as csv quotes, in a file named ``.csv``; public copies are
comma-separated. START_REALIGNED and END_REALIGNED are times in the full video, so they do not apply to clips that
are already cut. Some rows hold UTF-8 that was once read as Latin-1; they are mended by rule and counted.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from slt.config.base import parse
from slt.config.data import CorpusConfig
from slt.corpora import Reading, check_name
from slt.errors import DataError
from slt.manifest import SPLITS, Clip
from slt.paths import resolve
from slt.store import file_sha256

NAME, TEXT = "SENTENCE_NAME", "SENTENCE"
FRAMES = "frames"  # only the small sample has it


@dataclass(frozen=True)
class How2SignConfig:
    """The adapter's options, ``<dataset>.corpus.options``."""

    annotation: dict[str, str]
    """per split: the re-aligned CSV; absolute, `raw:<path>` below SLT_RAW or relative to the checkout"""
    clips: dict[str, str]
    """per split: the folder of `<SENTENCE_NAME>.mp4`"""
    extension: str = ".mp4"
    """of the clip files"""
    hash_media: bool = False
    """identify clips by content, not by size and modification time: reproducible, but reads every byte"""
    allow_same_clips_in_splits: bool = False
    """one set of clips as train, dev and test (ids become `<split>/<name>`): shows that a system can learn its own
    clips, and nothing else"""

    def __post_init__(self) -> None:
        for key in ("annotation", "clips"):
            if set(getattr(self, key)) != set(SPLITS):
                raise ValueError(f"{key} needs the keys {', '.join(SPLITS)}")


@dataclass(frozen=True)
class Sentence:
    """One row of an annotation file."""

    name: str
    text: str
    frames: int | None


def read(config: CorpusConfig, dataset: str, out: Path) -> Reading:
    """Read How2Sign as the publisher ships it; ``out`` is not used.

    Rows without text or clip file, and repeated ids, are dropped with their reason. Raises DataError for a missing
    annotation file or folder, an empty file, missing columns, or a name that leads out of its folder.
    """
    options = parse(How2SignConfig, config.options, f"{dataset}.corpus.options")
    reading = Reading([])
    mended = 0
    names: dict[str, str] = {}  # sentence name -> split
    same = 0
    for split in SPLITS:
        rows, repaired = read_annotation(resolve(options.annotation[split]))
        mended += repaired
        folder = resolve(options.clips[split])
        if not folder.is_dir():
            raise DataError(
                f"{folder}: no such folder of {split} clips; unpack How2Sign's clips there, or set SLT_RAW or "
                f"{dataset}.corpus.options.clips.{split}"
            )
        # one listing, since 31,000 look-ups are slow on a network disk
        files = {path.name: path for path in folder.iterdir()}
        reading.rows[split] = len(rows)
        seen: set[str] = set()
        for row in rows:
            reason = _why_dropped(row, files, options.extension, seen)
            seen.add(row.name)
            if reason is not None:
                reading.dropped.append((split, row.name, reason))
                continue
            if names.setdefault(row.name, split) != split:
                same += 1
                if not options.allow_same_clips_in_splits:
                    raise DataError(
                        f"clip `{row.name}` stands in both {names[row.name]} and {split}: scores would be meaningless; "
                        "correct the annotation, or set allow_same_clips_in_splits: true to overfit on purpose"
                    )
            file = files[row.name + options.extension]
            reading.clips.append(
                Clip(
                    id=f"{split}/{row.name}" if options.allow_same_clips_in_splits else row.name,
                    split=split,
                    language=config.language,
                    sign_language=config.sign_language,
                    video=f"{options.clips[split].rstrip('/')}/{file.name}",
                    text=row.text,
                    frames=row.frames,
                    fingerprint=_fingerprint(file, options.hash_media),
                )
            )
    reading.notes["mended_texts"] = mended
    if options.allow_same_clips_in_splits:
        reading.notes["warning"] = (
            f"{same} clips of dev and test are clips of another split (allow_same_clips_in_splits): scores show only "
            "whether a system can learn its own clips, never how well it translates"
        )
        reading.notes["same_clips_in_splits"] = same
    return reading


def read_annotation(path: Path) -> tuple[list[Sentence], int]:
    """Rows of a re-aligned CSV (tab- or comma-separated, csv quoting, with or without BOM) and how many were mended.

    Raises DataError for a file that is missing, empty, not UTF-8, or lacks the columns SENTENCE_NAME and SENTENCE.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: no such annotation; download How2Sign's re-aligned CSV files from https://how2sign.github.io and "
            "put them there, or set SLT_RAW"
        )
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}); download the file again") from error
    first = content.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(content, newline=""), delimiter="\t" if "\t" in first else ",")
    columns = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = columns
    missing = [name for name in (NAME, TEXT) if name not in columns]
    if missing:
        raise DataError(
            f"{path}: no column {' and '.join(missing)}, found: {', '.join(columns) or 'nothing'}; this is not a "
            "How2Sign annotation: name the re-aligned CSV"
        )
    sentences, mended = [], 0
    try:
        for row in reader:
            text = " ".join((row[TEXT] or "").split())
            better = mend(text)
            mended += better != text
            count = (row.get(FRAMES) or "").strip()
            sentences.append(Sentence((row[NAME] or "").strip(), better, int(count) if count.isdigit() else None))
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}; download the file again") from error
    if not sentences:
        raise DataError(f"{path}: no row below its header; download the file again")
    return sentences, mended


def mend(text: str) -> str:
    """The text with UTF-8 that was read as Latin-1 put right, where the whole text can be read so; else as it is."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text


def _why_dropped(row: Sentence, files: dict[str, Path], extension: str, seen: set[str]) -> str | None:
    if not row.name:
        return "no name"
    check_name(row.name, NAME)
    if row.name in seen:
        return "duplicate id"
    if not row.text:
        return "empty text"
    if row.name + extension not in files:
        return f"missing clip file: {row.name + extension}"
    return None


def _fingerprint(file: Path, hash_media: bool) -> str:
    if hash_media:
        return f"sha256:{file_sha256(file)}"
    stat = file.stat()
    return f"stat:{stat.st_size}:{stat.st_mtime_ns}"
