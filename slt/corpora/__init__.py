"""Corpus adapters: one module per corpus, named in ``<dataset>.corpus.adapter``.

An adapter module has one function ``read(config: CorpusConfig, dataset: str, out: Path) -> Reading``. It reads
the publisher's annotation in the publisher's layout and returns clips plus what was dropped and why; it may
write media below ``out / "raw"`` if the corpus is generated. A second, ``read_options(config, where)``, checks
``config.options`` and nothing else, for `slt check`; a module without it is checked once the stage reads.
"""

import functools
import importlib
import logging
import math
import os
import pkgutil
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

from slt.config.base import PARAMS
from slt.config.data import CorpusConfig
from slt.errors import ConfigError, DataError
from slt.manifest import SPLITS, Clip
from slt.media import NAMED as MOST_NAMED
from slt.media import Intervals
from slt.paths import resolve

log = logging.getLogger("slt.corpora")

NAMED = 3  # clips that a line names
OVERLAPS = "overlaps_between_splits"
TOUCHING = 1e-6  # seconds: times that were computed differ by less where one clip ends and the next begins


@dataclass
class Reading:
    """What an adapter found: clips, dropped rows as (split, id, reason), and rows seen per split."""

    clips: list[Clip]
    dropped: list[tuple[str, str, str]] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    """adapter-specific counts for the report, such as mended characters"""
    features: dict[str, Any] | None = None
    """what is known of the features that the corpus brings, at least ``gloss_free``; kept in the manifest's metadata"""
    annotation: dict[str, str] = field(default_factory=dict)
    """per split: the file or files that its rows come from, for messages; a generated corpus has none"""
    section: str = "corpus"
    """the section of params.yaml that was read, for messages"""


def read_corpus(config: CorpusConfig, dataset: str, out: Path) -> Reading:
    """Read a corpus with the adapter its section names; ConfigError lists the adapters when there is none such."""
    reading: Reading = _adapter(config, f"{dataset}.corpus").read(config, dataset, out)
    reading.section = f"{dataset}.corpus"
    return reading


def check_options(config: CorpusConfig, where: str) -> None:
    """Raise ConfigError for a section ``where`` whose adapter is not there or refuses its options, and read nothing."""
    adapter = _adapter(config, where)
    if hasattr(adapter, "read_options"):
        adapter.read_options(config, where)


def _adapter(config: CorpusConfig, where: str) -> ModuleType:
    adapters = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if config.adapter not in adapters:
        raise ConfigError(
            f"{PARAMS}: {where}.adapter: no adapter `{config.adapter}`; there are: {', '.join(adapters)}"
            " (a new one is a module in slt/corpora)"
        )
    return importlib.import_module(f"slt.corpora.{config.adapter}")


def check_name(name: str, where: str) -> None:
    """Raise DataError for a clip name that leads out of its folder; ``where`` says where the name stands."""
    if Path(name).name != name or "\\" in name or "\0" in name or name in (".", ".."):
        raise DataError(f"{where} `{name}` leads out of the folder of clips; correct the annotation")


class ClipsInTwoSplits:
    """Finds clips that show the same in two splits: scores on such a clip would be meaningless.

    A file is known by where it lies, ``by_content`` by its hash, so that a copy under another name is the same. Two
    stretches of a video are taken for the same when they share more than half of the shorter one; what shares less,
    as neighbours do that were cut with a margin, is only counted, see :meth:`notes`.
    """

    def __init__(self, by_content: bool) -> None:
        self.by_content = by_content
        self.clips: dict[tuple[Any, ...], dict[str, Clip]] = defaultdict(dict)  # per split the first that shows it
        self.cuts: dict[str, dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))  # per video and split
        self.overlaps: dict[tuple[str, str], float] = {}  # seconds that two clips share, at most half of the shorter
        self.headers = Intervals()
        self.folder = functools.cache(os.path.realpath)  # of one folder, not of each of its files: those are many

    def elsewhere(self, clip: Clip, *known: tuple[Any, ...]) -> Clip | None:
        """An earlier clip of another split with the same stretch of video, the same features, or one of ``known``.

        ``known`` is what else tells that two clips are one, such as its name in the release.
        """
        other = self.find(clip, *known)
        self.add(clip, *known)
        return other

    def find(self, clip: Clip, *known: tuple[Any, ...]) -> Clip | None:
        """What :meth:`elsewhere` finds, without adding the clip to those that later ones are held against."""
        names = self._names(clip)
        for shown in (*known, ("features", names.get(clip.features or ""))):
            for split, other in self.clips.get(shown, {}).items():
                if split != clip.split:
                    return other
        for split, others in self.cuts.get(names.get(clip.video, ""), {}).items():
            for other in others if split != clip.split else ():
                shared, shorter = self._shared(clip, other)
                if shared > shorter / 2 or math.isinf(shared):
                    return other
                if shared > TOUCHING:
                    self.overlaps[other.id, clip.id] = shared
        return None

    def add(self, clip: Clip, *known: tuple[Any, ...]) -> None:
        """Later clips are held against this one."""
        names = self._names(clip)
        features = [("features", names[clip.features])] if clip.features else []
        for shown in (*known, *features):
            self.clips[shown].setdefault(clip.split, clip)
        if clip.video:
            self.cuts[names[clip.video]][clip.split].append(clip)

    def says(self, clip: Clip, other: Clip) -> str:
        """How a clip is like the one that :meth:`find` found, the beginning of a message."""
        part = self.in_part(clip, other)
        if part is None:
            return f"clip `{clip.id}` of {clip.split} is clip `{other.id}` of {other.split}: the same media"
        return f"clip `{clip.id}` of {clip.split} shares with clip `{other.id}` of {other.split} {part}"

    def in_part(self, clip: Clip, other: Clip) -> str | None:
        """What two clips share that :meth:`find` found, for a message, where it is not all of both."""
        video = self._names(clip).get(clip.video)
        if video is None or video != self._names(other).get(other.video):
            return None
        stretches = self._stretch(clip), self._stretch(other)
        if stretches[0] == stretches[1]:
            return None
        shared, _ = self._shared(clip, other)
        much = f"{shared:.6g} s" if math.isfinite(shared) else "most"
        ends = [f"{start:.6g} to {f'{end:.6g} s' if math.isfinite(end) else 'its end'}" for start, end in stretches]
        return f"{much} of one video, in which they are {' and '.join(ends)}"

    def notes(self) -> dict[str, Any]:
        """For the data report: pairs of clips in two splits that share a smaller part of their video, if any."""
        if not self.overlaps:
            return {}
        first = [f"`{one}` and `{two}`: {seconds:.3g} s" for (one, two), seconds in self.overlaps.items()]
        return {OVERLAPS: {"pairs": len(first), "first": first[:MOST_NAMED]}}

    def _names(self, clip: Clip) -> dict[str, str]:
        """What the clip's files are known by."""
        files = [file for file in (clip.video, clip.features) if file]
        if self.by_content:
            return dict(zip(files, (clip.fingerprint or "").split(), strict=True))
        paths = map(resolve, files)
        return {file: str(Path(self.folder(path.parent), path.name)) for file, path in zip(files, paths, strict=True)}

    def _stretch(self, clip: Clip) -> tuple[float, float]:
        """Start and end in the video, seconds: of a whole video too, however the annotation writes that."""
        if clip.end is not None:
            return clip.start or 0.0, clip.end
        try:
            length = self.headers.header(resolve(clip.video)).seconds
        except DataError:  # a folder of images, or one that the stage `frames` will name
            length = None
        return clip.start or 0.0, math.inf if length is None else length

    def _shared(self, clip: Clip, other: Clip) -> tuple[float, float]:
        """Seconds that two clips of one video share, and the length of the shorter."""
        (start, end), (first, last) = self._stretch(clip), self._stretch(other)
        return min(end, last) - max(start, first), min(end - start, last - first)


class ClipsOfParts:
    """As :class:`ClipsInTwoSplits`, of clips from several corpora: known by path, and by content where that was hashed.

    Size and time alone do not tell that files of two corpora are one: unpacked archives often give all the same time.
    """

    def __init__(self) -> None:
        self.by_path, self.by_content = ClipsInTwoSplits(by_content=False), ClipsInTwoSplits(by_content=True)

    def find(self, clip: Clip) -> tuple[ClipsInTwoSplits, Clip] | None:
        """An earlier clip of another split that shows the same, and the rule that found it."""
        for rule in self._rules(clip):
            other = rule.find(clip)
            if other is not None:
                return rule, other
        return None

    def add(self, clip: Clip) -> None:
        """Later clips are held against this one."""
        for rule in self._rules(clip):
            rule.add(clip)

    def notes(self) -> dict[str, Any]:
        """As :meth:`ClipsInTwoSplits.notes`."""
        self.by_path.overlaps |= self.by_content.overlaps
        return self.by_path.notes()

    def _rules(self, clip: Clip) -> list[ClipsInTwoSplits]:
        hashed = all(name.startswith("sha256:") for name in (clip.fingerprint or "none").split())
        return [self.by_path, *([self.by_content] if hashed else [])]


def report(reading: Reading, config: CorpusConfig) -> dict[str, Any]:
    """The data report: per split, rows, clips, drops by reason, lengths, vocabulary, overlap with train, signers.

    ``types`` counts the different words, ``singletons`` those that stand once; ``gloss_types``, ``frames`` and
    ``frames_a_clip`` are None where no clip has gloss or an annotated length.

    Raises DataError when ids repeat, a split is empty, or more clips were dropped than ``max_dropped`` allows.
    """
    _check_ids(reading, config)
    _warn_of_short_videos(reading)
    _warn_of_overlaps(reading)
    train_texts = {clip.text for clip in reading.clips if clip.split == "train"}
    train_words = {word for text in train_texts for word in text.split()}
    splits = {}
    for split in SPLITS:
        clips = [clip for clip in reading.clips if clip.split == split]
        dropped = [(name, reason) for part, name, reason in reading.dropped if part == split]
        if len(dropped) > config.max_dropped[split]:
            name, reason = dropped[0]
            raise DataError(
                f"{len(dropped)} {split} clips were dropped, more than {reading.section}.max_dropped.{split} = "
                f"{config.max_dropped[split]}; the first: `{name}`: {reason}; mend them, or raise that number"
            )
        if not clips:
            raise DataError(_no_clip(reading, split, dropped))
        words = [clip.text.split() for clip in clips]
        lengths = sorted(len(sentence) for sentence in words)
        types = Counter(word for sentence in words for word in sentence)
        glosses = {gloss for clip in clips for gloss in (clip.gloss or "").split()}
        frames = [clip.frames for clip in clips if clip.frames is not None]
        splits[split] = {
            "rows": reading.rows.get(split, len(clips) + len(dropped)),
            "clips": len(clips),
            "dropped": len(dropped),
            "dropped_by_reason": dict(Counter(reason.split(":")[0] for _, reason in dropped)),
            "dropped_clips": [f"{name}: {reason}" for name, reason in dropped],
            "words": sum(lengths),
            "words_median": lengths[len(lengths) // 2],
            "words_max": lengths[-1],
            "types": len(types),
            "singletons": sum(count == 1 for count in types.values()),
            "gloss_types": len(glosses) or None,
            "frames": sum(frames) if frames else None,
            "frames_a_clip": {
                "mean": round(sum(frames) / len(frames), 1),
                "median": median(frames),
                "max": max(frames),
                "min": min(frames),
            }
            if frames
            else None,
            "oov_words": sum(count for word, count in types.items() if word not in train_words),
            "texts_also_in_train": sum(clip.text in train_texts for clip in clips) if split != "train" else None,
            "repeated_texts": len(clips) - len({clip.text for clip in clips}),
            "signers": dict(sorted(Counter(clip.signer or "unknown" for clip in clips).items())),
        }
    return {"splits": splits, "notes": reading.notes}


def _check_ids(reading: Reading, config: CorpusConfig) -> None:
    """Raise DataError for ids that stand twice; the adapters here see to that, so it is one of another's."""
    repeated = [name for name, count in Counter(clip.id for clip in reading.clips).items() if count > 1]
    if repeated:
        splits = dict.fromkeys(clip.split for clip in reading.clips if clip.id == repeated[0])
        places = dict.fromkeys(reading.annotation.get(split, f"the {split} split") for split in splits)
        raise DataError(
            f"{reading.section}: {len(repeated)} clip ids stand twice, e.g. `{repeated[0]}` in {' and '.join(places)}; "
            f"make them unique there, or have slt/corpora/{config.adapter}.py drop what is repeated"
        )


def _no_clip(reading: Reading, split: str, dropped: list[tuple[str, str]]) -> str:
    """Why a split is empty, and what to do."""
    where = reading.annotation.get(split, "its annotation")
    if dropped:
        name, reason = dropped[0]
        why = f"all {len(dropped)} rows of {where} were dropped, the first `{name}`: {reason}; mend them"
    else:
        why = f"no row of {where} belongs to it; add some there, or correct {reading.section}.options"
    return f"{reading.section}: the {split} split has no clip: {why}"


def _warn_of_short_videos(reading: Reading) -> None:
    """One line for the clips that :class:`slt.media.Intervals` cut short, which the report only counts."""
    clamped = reading.notes.get("ends_clamped_to_video", {"clips": 0})
    if clamped["clips"]:
        log.warning(
            "%s: %d clips end past the end of their video and are cut there: %s; check that their videos are whole and "
            "the annotation's times are of these files",
            reading.section,
            clamped["clips"],
            ", ".join(f"`{name}`" for name in clamped["first"][:NAMED]) + (" …" if clamped["clips"] > NAMED else ""),
        )


def _warn_of_overlaps(reading: Reading) -> None:
    """One line for the clips of two splits that share a little of their video, which the report only counts."""
    overlaps = reading.notes.get(OVERLAPS)
    if overlaps:
        log.warning(
            "%s: %d pairs of clips in two splits share up to half of the shorter one: %s; cut them apart, or keep each "
            "video in one split, lest scores gain by it",
            reading.section,
            overlaps["pairs"],
            "; ".join(overlaps["first"][:NAMED]) + (" …" if overlaps["pairs"] > NAMED else ""),
        )
