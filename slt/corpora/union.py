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
from slt.corpora import Reading, read_corpus, report
from slt.errors import ConfigError
from slt.manifest import SPLITS, Clip

MANY = "mul"
"""ISO 639-2's code for text in multiple languages, which stands for them in the section of the whole"""


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


def read(config: CorpusConfig, dataset: str, out: Path) -> Reading:
    """Read every part with its own adapter and limits; what a part generates lies below ``out / <its name>``.

    Raises ConfigError when the section's languages are not those of its parts, and whatever a part's own adapter and
    report raise.
    """
    where = f"{dataset}.corpus"
    options = parse(UnionConfig, config.options, f"{where}.options")
    for key in ("language", "sign_language"):
        _check_code(f"{where}.{key}", getattr(config, key), {getattr(part, key) for part in options.parts.values()})
    whole = Reading([], rows=dict.fromkeys(SPLITS, 0))
    gloss_free: list[bool | None] = []
    for name, part in options.parts.items():
        reading = _read_part(part, dataset, name, out / name)
        reading.section = f"{where}.options.parts.{name}"
        whole.notes[name] = report(reading, part)
        whole.clips += [_moved(clip, name, paths.corpus_dir(dataset)) for clip in reading.clips]
        whole.dropped += [(split, f"{name}-{clip}", reason) for split, clip, reason in reading.dropped]
        for split, count in reading.rows.items():
            whole.rows[split] += count
        if reading.features is not None:
            gloss_free.append(reading.features.get("gloss_free"))
    if gloss_free:  # one part that saw gloss is enough, and one of which it is not known
        free = False if False in gloss_free else None if None in gloss_free else True
        whole.features = {"gloss_free": free, "parts": list(options.parts)}
    return whole


def _check_code(key: str, given: str, parts: set[str]) -> None:
    expected = parts.pop() if len(parts) == 1 else MANY
    if given != expected:
        raise ConfigError(f"{PARAMS}: {key}: `{given}`, but its parts make it `{expected}`; write that")


def _read_part(part: CorpusConfig, dataset: str, name: str, out: Path) -> Reading:
    try:
        return read_corpus(part, dataset, out)
    except ConfigError as error:  # an adapter names its keys as if the part were a dataset's own section
        raise ConfigError(f"{dataset}.corpus.options.parts.{name}: {error}") from error


def _moved(clip: Clip, name: str, folder: Path) -> Clip:
    """The clip with its part's name before its id; media that the part generated lie in a folder of that name."""

    def moved(path: str) -> str:
        inside = Path(path).is_relative_to(folder)
        return (folder / name / Path(path).relative_to(folder)).as_posix() if inside else path

    features = clip.features and moved(clip.features)
    return replace(clip, id=f"{name}-{clip.id}", video=clip.video and moved(clip.video), features=features)
