"""Several corpora as one, such as two in different languages: one run, one teacher, one decoder for all of them.

Options: ``parts``, name → what a dataset's `corpus` section holds, spelt out in full, so that nothing hangs on another
dataset's section. A clip of the part `en` called `test-0001` is called `en-test-0001`; its splits stay its own.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from slt import paths
from slt.config.base import PARAMS, parse
from slt.config.data import CorpusConfig
from slt.corpora import ClipsOfParts, Reading, check_options, read_corpus, report
from slt.errors import ConfigError, DataError
from slt.manifest import SPLITS, Clip

MANY = "mul"
"""ISO 639-2's code for text in multiple languages, which stands for them in the section of the whole"""
WARNING = "warning"
"""what the data report, and every table made of it, says of the corpus first"""


@dataclass(frozen=True)
class UnionConfig:
    """The adapter's options, ``<dataset>.corpus.options``."""

    parts: dict[str, CorpusConfig]
    """name → corpus section of its own; the name, letters and digits, goes before the ids of its clips"""

    def __post_init__(self) -> None:
        if len(self.parts) < 2:
            raise ValueError("parts must hold two corpora at least")
        bad = [name for name in self.parts if not re.fullmatch("[A-Za-z0-9]+", name)]
        if bad:
            raise ValueError(f"parts: the name `{bad[0]}` must be letters and digits")
        if WARNING in self.parts:
            raise ValueError(f"parts: the name `{WARNING}` is taken in the data report; choose another")


def read_options(config: CorpusConfig, where: str) -> UnionConfig:
    """The adapter's parameters, checked; ConfigError names the key below ``where``, the corpus section."""
    options = parse(UnionConfig, config.options, f"{where}.options")
    for key in ("language", "sign_language"):
        _check_code(f"{where}.{key}", getattr(config, key), {getattr(part, key) for part in options.parts.values()})
    for name, part in options.parts.items():
        check_options(part, f"{where}.options.parts.{name}")
    return options


def read(config: CorpusConfig, dataset: str, out: Path) -> Reading:
    """Read every part with its own adapter and limits; what a part generates lies below ``out / <its name>``.

    Raises ConfigError when the section's languages are not those of its parts, DataError when a clip of one part
    stands in another split of another part, and whatever a part's own adapter and report raise.
    """
    where = f"{dataset}.corpus"
    options = read_options(config, where)
    whole = Reading([], rows=dict.fromkeys(SPLITS, 0))
    gloss_free: list[bool | None] = []
    shown = ClipsOfParts()
    warnings: list[str] = []
    for name, part in options.parts.items():
        reading = read_corpus(part, dataset, out / name)
        reading.section = f"{where}.options.parts.{name}"
        whole.notes[name] = report(reading, part)
        moved = [_moved(clip, name, paths.corpus_dir(dataset)) for clip in reading.clips]
        _check_splits(moved, shown, f"{where}.options.parts")
        whole.clips += moved
        whole.dropped += [(split, f"{name}-{clip}", reason) for split, clip, reason in reading.dropped]
        for split, count in reading.rows.items():
            whole.rows[split] += count
        if WARNING in reading.notes:
            warnings.append(f"part `{name}`: {reading.notes[WARNING]}")
        if reading.features is not None:
            gloss_free.append(reading.features.get("gloss_free"))
    whole.notes |= shown.notes()
    if warnings:
        whole.notes[WARNING] = "; ".join(warnings)
    if gloss_free:  # one part that saw gloss is enough, and one of which it is not known
        free = False if False in gloss_free else None if None in gloss_free else True
        whole.features = {"gloss_free": free, "parts": list(options.parts)}
    return whole


def _check_code(key: str, given: str, parts: set[str]) -> None:
    expected = parts.pop() if len(parts) == 1 else MANY
    if given != expected:
        raise ConfigError(f"{PARAMS}: {key}: `{given}`, but its parts make it `{expected}`; write that")


def _check_splits(clips: list[Clip], earlier: ClipsOfParts, where: str) -> None:
    """Raise DataError for a clip that an earlier part has in another split; then its part is one of the earlier.

    Within a part its own adapter has looked, and may have been told to let it be.
    """
    for clip in clips:
        found = earlier.find(clip)
        if found is not None:
            rule, other = found
            raise DataError(f"{where}: {rule.says(clip, other)}, so scores would be meaningless; leave it in one split")
    for clip in clips:
        earlier.add(clip)


def _moved(clip: Clip, name: str, folder: Path) -> Clip:
    """The clip with its part's name before its id; media that the part generated lie in a folder of that name."""

    def moved(path: str) -> str:
        inside = Path(path).is_relative_to(folder)
        return (folder / name / Path(path).relative_to(folder)).as_posix() if inside else path

    features = clip.features and moved(clip.features)
    return replace(clip, id=f"{name}-{clip.id}", video=clip.video and moved(clip.video), features=features)
