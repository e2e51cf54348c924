"""How2Sign: re-aligned CSV files, and one clip per sentence, full videos to cut, or precomputed features.

The release's annotation is tab-separated and quoted as csv quotes, in a file named ``.csv``; public copies are
comma-separated. START_REALIGNED and END_REALIGNED are seconds in the full video, so they do not apply to clips that
are already cut. Some rows hold UTF-8 that was once read as Latin-1; they are mended by rule and counted.
"""

import functools
import logging
import re
from dataclasses import dataclass, field
from pathlib import Path

from slt.annotation import read_table
from slt.config.base import parse
from slt.config.data import CorpusConfig
from slt.corpora import ClipsInTwoSplits, Reading, check_name
from slt.errors import DataError
from slt.manifest import SPLITS, Clip
from slt.media import Intervals, identify, parse_seconds
from slt.paths import resolve
from slt.stage import progress

log = logging.getLogger("slt.corpora.how2sign")

NAME, TEXT = "SENTENCE_NAME", "SENTENCE"
VIDEO, START, END = "VIDEO_NAME", "START_REALIGNED", "END_REALIGNED"
FRAMES = "frames"  # only the small sample has it
SOURCES = ("clips", "videos", "features")
# The publisher numbers its signers 1 to 11 (signers.html of how2sign.github.io). The number before the camera's name is
# one of nine throughout the release: all but 6 and 7, which that page lists last, apart from the others.
SIGNER = re.compile(r"-(1[01]|[1-9])-rgb_(?:front|side)$")


@dataclass(frozen=True)
class How2SignConfig:
    """The adapter's options, ``<dataset>.corpus.options``: annotation, and clips or videos, or features, or both."""

    annotation: dict[str, str]
    """per split: the re-aligned CSV; absolute, `raw:<path>` below SLT_RAW or relative to the checkout"""
    clips: dict[str, str] = field(default_factory=dict)
    """per split: the folder of `<SENTENCE_NAME>.mp4`"""
    extension: str = ".mp4"
    """of the clip and video files"""
    hash_media: bool = False
    """identify media by content, not by size and modification time: reproducible, but reads every byte"""
    allow_same_clips_in_splits: bool = False
    """one set of clips as train, dev and test (ids become `<split>/<name>`): shows that a system can learn its own
    clips, and nothing else"""
    videos: dict[str, str] = field(default_factory=dict)
    """per split: the folder of full videos, `<VIDEO_NAME>.mp4`, cut at START_REALIGNED and END_REALIGNED"""
    features: dict[str, str] = field(default_factory=dict)
    """per split: the folder of precomputed features, `<SENTENCE_NAME>.npy`, (frames, dimensions)"""
    quotes: bool = True
    """fields of the annotation may be quoted as csv quotes them; false: a quote is text like any other"""
    features_gloss_free: bool | None = None
    """whether what computed ``features`` never saw sign labels; null: as the published I3D features (Tarrés et al.
    2023), whose network was trained on them, so no system that reads them is gloss-free"""
    text_only: bool = False
    """without videos, clips and features: targets, sem2text and its ceiling need none; the annotation needs no times"""

    def __post_init__(self) -> None:
        given = self.sources
        if not self.text_only and (not given or {"clips", "videos"} <= set(given)):
            raise ValueError("name either clips or videos, or features, or features with one of them; or text_only")
        for key in ("annotation", *given):
            if set(getattr(self, key)) != set(SPLITS):
                raise ValueError(f"{key} needs the keys {', '.join(SPLITS)}")

    @property
    def sources(self) -> tuple[str, ...]:
        """Where frames or features come from: none for text alone, whatever else is named."""
        return () if self.text_only else tuple(name for name in SOURCES if getattr(self, name))


@dataclass(frozen=True)
class Sentence:
    """One row of an annotation file; the times are as written, since clips that are already cut need none."""

    name: str
    text: str
    frames: int | None
    video: str = ""
    start: str = ""
    end: str = ""


@dataclass(frozen=True)
class Folder:
    """The files of one source by what they are called, listed once: 31,000 look-ups are slow on a network disk."""

    spec: str
    files: dict[str, Path]
    suffix: str
    one_per_sentence: bool

    def file(self, row: Sentence) -> str:
        """The name that a sentence's file has in this folder."""
        return (row.name if self.one_per_sentence else row.video) + self.suffix

    def path(self, row: Sentence) -> Path:
        return self.files[self.file(row)]

    def as_spec(self, row: Sentence) -> str:
        return f"{self.spec.rstrip('/')}/{self.file(row)}"


def read_options(config: CorpusConfig, where: str) -> How2SignConfig:
    """The adapter's parameters, checked; ConfigError names the key below ``where``, the corpus section."""
    return parse(How2SignConfig, config.options, f"{where}.options")


def read(config: CorpusConfig, dataset: str, out: Path) -> Reading:
    """Read How2Sign as the publisher ships it; ``out`` is not used.

    Rows without text or media file, repeated ids, and intervals that their video does not have are dropped with their
    reason; ends past the end of the video are clamped to it and counted. Raises DataError for a missing annotation
    file or folder, an empty file, missing columns, a row with a stray quote or separator, a name that leads out of
    its folder, or a clip that stands in two splits: by its name, its video and times, its media or most of them.
    """
    options = read_options(config, f"{dataset}.corpus")
    reading = Reading([])
    mended = 0
    shown = ClipsInTwoSplits(options.hash_media)
    same = 0
    intervals = Intervals()
    content = functools.cache(functools.partial(identify, hash_media=options.hash_media))
    for split in SPLITS:
        annotation = resolve(options.annotation[split])
        rows, repaired = read_annotation(annotation, "videos" in options.sources, options.quotes)
        mended += repaired
        sources = {name: _list(options, name, split, dataset) for name in options.sources}
        reading.rows[split] = len(rows)
        reading.annotation[split] = str(annotation)
        seen: set[str] = set()
        for row in progress(rows, f"{split} sentences", unit="sentence"):
            start = end = None
            try:
                _check(row, annotation, sources, seen)
                if "videos" in sources:
                    start, end = _cut(row, sources["videos"].path(row), intervals)
            except _Dropped as dropped:
                reading.dropped.append((split, row.name, str(dropped)))
                continue
            finally:
                seen.add(row.name)
            pictures = sources.get("clips") or sources.get("videos")
            features = sources.get("features")
            clip = Clip(
                id=f"{split}/{row.name}" if options.allow_same_clips_in_splits else row.name,
                split=split,
                language=config.language,
                sign_language=config.sign_language,
                video=pictures.as_spec(row) if pictures else "",
                start=start,
                end=end,
                text=row.text,
                signer=_signer(row),
                frames=row.frames,
                fingerprint=" ".join(content(source.path(row)) for source in sources.values()),
                features=features.as_spec(row) if features else None,
                seconds=_length(row) if "clips" in sources else None,
            )
            other = shown.elsewhere(clip, *_release_names(row))
            if other is not None:
                same += 1
                if not options.allow_same_clips_in_splits:
                    raise DataError(_in_two_splits(annotation, clip, other, shown))
            reading.clips.append(clip)
    if "features" in options.sources:
        reading.features = {"gloss_free": bool(options.features_gloss_free)}
        if options.features_gloss_free is None:
            log.warning(
                "%s: its features are taken as the published I3D features, which saw sign labels: not gloss-free; set "
                "%s.corpus.options.features_gloss_free to say which they are",
                dataset,
                dataset,
            )
    reading.notes |= {"mended_texts": mended, "text_only": options.text_only}
    if "videos" in options.sources:
        reading.notes |= intervals.notes() | shown.notes()
    if options.allow_same_clips_in_splits:
        reading.notes["warning"] = (
            f"{same} clips of dev and test are clips of another split (allow_same_clips_in_splits): scores show only "
            "whether a system can learn its own clips, never how well it translates"
        )
        reading.notes["same_clips_in_splits"] = same
    return reading


def _release_names(row: Sentence) -> list[tuple[object, ...]]:
    """What a sentence is known by in the release, whatever its files are called: its name, its video and times."""
    names: list[tuple[object, ...]] = [("name", row.name)]
    start, end = _times(row)
    if row.video and start is not None and end is not None:
        names.append(("times", row.video, start, end))
    return names


def _in_two_splits(annotation: Path, clip: Clip, other: Clip, shown: ClipsInTwoSplits) -> str:
    what = f"clip `{clip.id}` stands in both {other.split} and {clip.split}"
    if clip.id != other.id:
        what = f"clip `{clip.id}` of {clip.split} is clip `{other.id}` of {other.split}, the same signing"
        if shown.in_part(clip, other):
            what = shown.says(clip, other)
    return (
        f"{annotation}: {what}: scores would be meaningless; correct the annotation, or set "
        "allow_same_clips_in_splits: true to overfit on purpose"
    )


def _signer(row: Sentence) -> str | None:
    """The publisher's number of the signer; None for a name in another form than the release's."""
    found = SIGNER.search(row.name) or SIGNER.search(row.video)
    return found[1] if found else None


def _list(options: How2SignConfig, source: str, split: str, dataset: str) -> Folder:
    spec = getattr(options, source)[split]
    folder = resolve(spec)
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder of {split} {source}; unpack How2Sign's {source} there, or set SLT_RAW or "
            f"{dataset}.corpus.options.{source}.{split}"
        )
    suffix = ".npy" if source == "features" else options.extension
    return Folder(spec, {path.name: path for path in folder.iterdir()}, suffix, source != "videos")


def read_annotation(path: Path, times: bool = False, quotes: bool = True) -> tuple[list[Sentence], int]:
    """Rows of a re-aligned CSV (tab- or comma-separated, csv quoting, with or without BOM) and how many were mended.

    Raises DataError for what :func:`slt.annotation.read_table` refuses, and for a file that lacks the columns
    SENTENCE_NAME and SENTENCE, or with ``times`` those of the video, its start and end.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: no such annotation; download How2Sign's re-aligned CSV files from https://how2sign.github.io and "
            "put them there, or set SLT_RAW"
        )
    needed, kept = (NAME, TEXT, *((VIDEO, START, END) if times else ())), (NAME, TEXT, VIDEO, START, END, FRAMES)
    table = read_table(path, required=(), optional=kept, quotes=quotes)
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise DataError(
            f"{path}: no column {' and '.join(missing)}, found: {', '.join(table.columns)}; this is not a How2Sign "
            "annotation: name the re-aligned CSV"
        )
    sentences, mended = [], 0
    for row in table.rows:
        name, text, video, start, end, count = (row.text(key, numbers=key in (START, END, FRAMES)) for key in kept)
        better = mend(text)
        mended += better != text
        sentences.append(Sentence(name, better, int(count) if count.isdigit() else None, video, start, end))
    return sentences, mended


def mend(text: str) -> str:
    """The text with UTF-8 that was read as Latin-1 put right, where the whole text can be read so; else as it is."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text


class _Dropped(Exception):
    """Why a row becomes no clip."""


def _check(row: Sentence, annotation: Path, sources: dict[str, Folder], seen: set[str]) -> None:
    if not row.name:
        raise _Dropped("no name")
    check_name(row.name, f"{annotation}: {NAME}")
    if row.video:
        check_name(row.video, f"{annotation}: {VIDEO}")
    if row.name in seen:
        raise _Dropped("duplicate id")
    if not row.text:
        raise _Dropped("empty text")
    for source, folder in sources.items():
        if folder.file(row) not in folder.files:
            raise _Dropped(f"missing {source.removesuffix('s')} file: {folder.file(row)}")


def _times(row: Sentence) -> tuple[float | None, float | None]:
    try:
        return parse_seconds(row.start), parse_seconds(row.end)
    except ValueError:
        return None, None


def _length(row: Sentence) -> float | None:
    """Seconds from the annotated start to the end, where the annotation has both."""
    start, end = _times(row)
    return end - start if start is not None and end is not None and end > start else None


def _cut(row: Sentence, video: Path, intervals: Intervals) -> tuple[float | None, float | None]:
    start, end = _times(row)
    if start is None or end is None:
        raise _Dropped(f"no time: `{row.start}` to `{row.end}`")
    try:
        return intervals.fit(row.name, video, start, end)
    except DataError as error:
        raise _Dropped(str(error)) from error
