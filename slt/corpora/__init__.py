"""Corpus adapters: one module per corpus, named in ``<dataset>.corpus.adapter``.

An adapter module has one function ``read(config: CorpusConfig, dataset: str, out: Path) -> Reading``. It reads
the publisher's annotation in the publisher's layout and returns clips plus what was dropped and why; it may
write media below ``out / "raw"`` if the corpus is generated.
"""

import importlib
import pkgutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from slt.config.data import CorpusConfig
from slt.errors import ConfigError, DataError
from slt.manifest import SPLITS, Clip


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


def read_corpus(config: CorpusConfig, dataset: str, out: Path) -> Reading:
    """Read a corpus with the adapter its section names; ConfigError lists the adapters when there is none such."""
    adapters = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if config.adapter not in adapters:
        raise ConfigError(
            f"{dataset}.corpus.adapter: no adapter `{config.adapter}`; there are: {', '.join(adapters)}"
            " (a new one is a module in slt/corpora)"
        )
    return importlib.import_module(f"slt.corpora.{config.adapter}").read(config, dataset, out)


def check_name(name: str, where: str) -> None:
    """Raise DataError for a clip name that leads out of its folder; ``where`` says where the name stands."""
    if Path(name).name != name or "\\" in name or "\0" in name or name in (".", ".."):
        raise DataError(f"{where} `{name}` leads out of the folder of clips; correct the annotation")


def report(reading: Reading, config: CorpusConfig) -> dict[str, Any]:
    """The data report: per split, rows, clips, drops by reason, lengths, vocabulary, overlap with train, signers.

    ``types`` counts the different words, ``singletons`` those that stand once; ``gloss_types``, ``frames`` and
    ``frames_a_clip`` are None where no clip has gloss or an annotated length.

    Raises DataError when ids repeat, a split is empty, or more clips were dropped than ``max_dropped`` allows.
    """
    repeated = [name for name, count in Counter(clip.id for clip in reading.clips).items() if count > 1]
    if repeated:
        raise DataError(
            f"{len(repeated)} clip ids stand twice in the annotation, e.g. `{repeated[0]}`; make them unique"
        )
    train_texts = {clip.text for clip in reading.clips if clip.split == "train"}
    train_words = {word for text in train_texts for word in text.split()}
    splits = {}
    for split in SPLITS:
        clips = [clip for clip in reading.clips if clip.split == split]
        dropped = [(name, reason) for part, name, reason in reading.dropped if part == split]
        if len(dropped) > config.max_dropped[split]:
            name, reason = dropped[0]
            raise DataError(
                f"{len(dropped)} {split} clips were dropped, more than max_dropped.{split} = "
                f"{config.max_dropped[split]}; the first: `{name}`: {reason}"
            )
        if not clips:
            raise DataError(f"the {split} split has no clip ({reading.rows.get(split, 0)} rows in its annotation)")
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
