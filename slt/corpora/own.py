"""Any corpus as a table: one row per clip in a TSV, CSV or Parquet file, or in the TSV files of multimodalhugs.

What is wrong with the file as a whole, or would make scores meaningless, stops the run with the line's number. What is
wrong with one clip drops the clip, counted and named in the data report, up to ``max_dropped``.
"""

import functools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from slt.annotation import Row, read_table
from slt.config.base import parse
from slt.config.data import CorpusConfig
from slt.corpora import ClipsInTwoSplits, Reading
from slt.errors import DataError
from slt.manifest import SPLITS, Clip
from slt.media import Intervals, identify, parse_seconds
from slt.paths import resolve
from slt.stage import progress
from slt.store import file_sha256

COLUMNS = ("id", "split", "video", "start", "end", "text", "gloss", "signer", "language", "references", "features")
LAYOUTS = {
    "own": {},
    "multimodalhugs": {"video": "signal", "start": "signal_start", "end": "signal_end", "text": "output"},
}
UNITS = {"own": "s", "multimodalhugs": "ms"}  # multimodalhugs' default; its processors can also take frames
REFERENCES = "|"


@dataclass(frozen=True)
class OwnConfig:
    """The adapter's options, ``<dataset>.corpus.options``."""

    manifest: str | dict[str, str]
    """the table, or per split its table; absolute, `raw:<path>` below SLT_RAW or relative to the checkout"""
    media: str
    """the folder that videos and features are named in; none of them may lie outside"""
    layout: Literal["own", "multimodalhugs"] = "own"
    """what the columns are called, and that in multimodalhugs' files a time of 0 0 is the whole video"""
    columns: dict[str, str] = field(default_factory=dict)
    """our name of a column -> the file's, where they differ"""
    splits: dict[str, str] = field(default_factory=dict)
    """the file's name of a split -> train, dev or test, where they differ"""
    unit: Literal["s", "ms", "frames"] | None = None
    """of start and end; null: seconds, for multimodalhugs milliseconds"""
    quotes: bool = True
    """fields may be quoted as csv quotes them; false: a quote is text like any other"""
    hash_media: bool = False
    """identify media by content, not by size and modification time: reproducible, but reads every byte"""

    def __post_init__(self) -> None:
        if not self.media:
            raise ValueError("media needs the folder that the videos are in (`.` for the checkout itself)")
        if isinstance(self.manifest, dict) and set(self.manifest) != set(SPLITS):
            raise ValueError(f"manifest needs one file, or the keys {', '.join(SPLITS)}")
        for name in self.columns:
            if name not in COLUMNS:
                raise ValueError(f"columns: no column `{name}`; there are: {', '.join(COLUMNS)}")
        for name, split in self.splits.items():
            if split not in SPLITS:
                raise ValueError(f"splits: `{name}` leads to `{split}`; it must be one of {', '.join(SPLITS)}")


class _Dropped(Exception):
    """Why a row becomes no clip."""


def read_options(config: CorpusConfig, where: str) -> OwnConfig:
    """The adapter's parameters, checked; ConfigError names the key below ``where``, the corpus section."""
    return parse(OwnConfig, config.options, f"{where}.options")


def read(config: CorpusConfig, dataset: str, out: Path) -> Reading:
    """Read a corpus from its table; ``out`` is not used.

    Dropped with their reason: rows without id or text, with times that are none or that the video does not have, and
    with missing media files. Raises DataError, naming the line, for what :func:`slt.annotation.read_table` refuses, a
    missing media folder, an unknown split, a repeated id, a path that leads out of the media folder, a cell of Parquet
    that is no text, and a clip that stands in two splits, or most of it.
    """
    options = read_options(config, f"{dataset}.corpus")
    media = resolve(options.media)
    if not media.is_dir():
        raise DataError(f"{media}: no such folder of media; correct {dataset}.corpus.options.media, or set SLT_RAW")
    tables = options.manifest if isinstance(options.manifest, dict) else {"": options.manifest}
    reading, reader = Reading([]), _Reader(options, config, media)
    places: dict[str, str] = {}  # of ids
    shown = ClipsInTwoSplits(options.hash_media)
    splits_of: dict[str, set[str]] = defaultdict(set)  # of videos
    for given_split, table in tables.items():
        for split in [given_split] if given_split else SPLITS:
            reading.annotation[split] = str(resolve(table))
        for row in progress(reader.rows(resolve(table), given_split), "clips", unit="clip"):
            split = given_split or reader.split(row)
            reading.rows[split] = reading.rows.get(split, 0) + 1
            name = reader.name(row)
            if name and name in places:
                raise DataError(f"{row.place}: id `{name}` stands already in {places[name]}; make ids unique")
            places[name] = row.place
            try:
                clip = reader.clip(row, name, split)
            except _Dropped as dropped:
                reading.dropped.append((split, name or row.place, str(dropped)))
                continue
            other = shown.elsewhere(clip)
            if other is not None:
                raise DataError(
                    f"{row.place}: {shown.says(clip, other)}, so scores would be meaningless; leave it in one split"
                )
            if clip.video:
                splits_of[clip.video].add(split)
            reading.clips.append(clip)
    reading.notes["manifest_sha256"] = {table: file_sha256(resolve(table)) for table in tables.values()}
    reading.notes["videos_in_several_splits"] = sum(len(splits) > 1 for splits in splits_of.values())
    reading.notes |= reader.intervals.notes() | shown.notes()
    return reading


class _Reader:
    """Rows of a table as clips; every media file is looked up once."""

    def __init__(self, options: OwnConfig, config: CorpusConfig, media: Path) -> None:
        self.options, self.config, self.media = options, config, media
        self.columns = {name: name for name in COLUMNS} | LAYOUTS[options.layout] | options.columns
        self.unit = options.unit or UNITS[options.layout]
        self.intervals = Intervals()
        self.content: Callable[[str], str | None] = functools.cache(self._content)

    def rows(self, table: Path, split: str) -> list[Row]:
        """The table's rows, its columns under our names; a column that the options name must be there."""
        needed = {"text", *self.options.columns} | ({"split"} if not split else set())
        required = [self.columns[name] for name in COLUMNS if name in needed]
        found = read_table(table, required, list(self.columns.values()), self.options.quotes)
        media = [self.columns[name] for name in ("video", "features")]
        if not set(media) & set(found.columns):
            raise DataError(
                f"{table}: no column `{media[0]}` or `{media[1]}`, found: {', '.join(found.columns)}; rename the "
                "column, or name it under `columns`"
            )
        return found.rows

    def text(self, row: Row, name: str) -> str:
        """A cell as text with single blanks; empty for one that is empty or not there. A name may be a number."""
        return row.text(self.columns[name], numbers=name not in ("text", "gloss"))

    def split(self, row: Row) -> str:
        given = self.text(row, "split")
        split = self.options.splits.get(given, given)
        if split not in SPLITS:
            raise DataError(
                f"{row.place}: split `{given}` is none of {', '.join(SPLITS)}; map it under `splits`, "
                f"such as `splits: {{{given or 'name'}: dev}}`"
            )
        return split

    def name(self, row: Row) -> str:
        """The row's id; in a table without ids the path of its media without suffix, and its times."""
        if self.columns["id"] in row.cells:
            return self.text(row, "id")
        path = PurePosixPath(self.text(row, "video") or self.text(row, "features"))
        return "-".join([path.with_suffix("").as_posix(), *filter(None, (self.text(row, t) for t in ("start", "end")))])

    def clip(self, row: Row, name: str, split: str) -> Clip:
        video, features = self.file(row, "video"), self.file(row, "features")
        if self.options.layout == "multimodalhugs" and video.endswith(".npy"):
            video, features = "", video
        text = self.text(row, "text")
        if not name:
            raise _Dropped("no id")
        if not text:
            raise _Dropped("empty text")
        files = [file for file in (video, features) if file]
        if not files:
            raise _Dropped("no media file: neither video nor features")
        contents = [self.content(file) for file in files]
        for file, content in zip(files, contents, strict=True):
            if content is None:
                raise _Dropped(f"missing media file: {file}")
        start, end = self.times(row, name, video)
        folder = self.options.media.rstrip("/") or "/"
        return Clip(
            id=name,
            split=split,
            language=self.text(row, "language") or self.config.language,
            sign_language=self.config.sign_language,
            video=f"{folder}/{video}" if video else "",
            start=start,
            end=end,
            text=text,
            references=self.references(row),
            gloss=self.text(row, "gloss") or None,
            signer=self.text(row, "signer") or None,
            fingerprint=" ".join(filter(None, contents)),
            features=f"{folder}/{features}" if features else None,
        )

    def _content(self, file: str) -> str | None:
        path = self.media / file
        return identify(path, self.options.hash_media) if path.exists() else None

    def file(self, row: Row, name: str) -> str:
        """A media file's path inside the media folder; DataError when it leads out."""
        cell = row.cells.get(self.columns[name])
        text = str(cell).strip() if self.text(row, name) else ""  # blanks in a path stay as they are
        path = PurePosixPath(text)
        inside = not any(c == "\\" or ord(c) < 32 for c in text)
        if path.is_absolute():
            folder = PurePosixPath(self.media.absolute().as_posix())
            inside = inside and path.is_relative_to(folder)
            path = path.relative_to(folder) if inside else path
        if not inside or ".." in path.parts:
            raise DataError(
                f"{row.place}: {name} `{text}` leads out of the media folder {self.media}; name it by its path in that "
                "folder, with `/`"
            )
        return path.as_posix() if path.parts else ""

    def times(self, row: Row, name: str, video: str) -> tuple[float | None, float | None]:
        """Start and end in seconds, as the video has them."""
        cells = [row.cells.get(self.columns[key]) for key in ("start", "end")]
        try:
            start, end = map(parse_seconds, cells)
        except (TypeError, ValueError):
            raise _Dropped(f"times are no numbers: `{cells[0]}` to `{cells[1]}`") from None
        if self.options.layout == "multimodalhugs":
            start, end = start or None, end or None
        if start is None and end is None:
            return None, None
        if not video:
            raise _Dropped("times without a video: features are taken whole")
        path = self.media / video
        if path.is_dir():
            raise _Dropped("times in a folder of images: it has no presentation time")
        try:
            per_second = {"s": 1.0, "ms": 1000.0, "frames": 0.0}[self.unit] or self.intervals.header(path).rate
            if per_second is None:
                raise _Dropped("times in frames: the video declares no frame rate")
            start, end = (None if time is None else time / per_second for time in (start, end))
            return self.intervals.fit(name, path, start, end)
        except DataError as error:
            raise _Dropped(str(error)) from error

    def references(self, row: Row) -> tuple[str, ...]:
        """Further translations: a list in Parquet, in text separated by `|`."""
        column = self.columns["references"]
        cell = row.cells.get(column)
        parts = cell if isinstance(cell, list) else row.text(column).split(REFERENCES)
        texts = (row.as_text(part, column) for part in parts if part is not None)
        return tuple(text for text in map(str.strip, texts) if text)
