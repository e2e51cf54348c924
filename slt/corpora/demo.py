"""The demo corpus: generated, not read; an avatar signs short weather reports, worded in English or German."""

from collections import Counter
from collections.abc import Container
from pathlib import Path
from typing import Any

from slt import paths
from slt.config.base import PARAMS, parse
from slt.config.data import CorpusConfig
from slt.corpora import Reading
from slt.demo.config import DemoConfig
from slt.demo.corpus import WORDINGS, Demo, match_key, sample, word_list, write
from slt.demo.grammar import Meaning
from slt.demo.lexicon import LEXICON, minimal_pairs
from slt.demo.motion import UNSEEN
from slt.errors import ConfigError
from slt.manifest import SPLITS, Clip
from slt.store import file_sha256


def read_options(config: CorpusConfig, where: str) -> DemoConfig:
    """The adapter's parameters, checked; ConfigError names the key below ``where``, the corpus section."""
    if "language" in config.options:
        raise ConfigError(f"{PARAMS}: {where}.options.language: the language stands in {where} alone")
    if config.language not in WORDINGS:
        known = " and ".join(WORDINGS)
        raise ConfigError(f"{PARAMS}: {where}.language: the demo is worded in {known}, not `{config.language}`")
    return parse(DemoConfig, {**config.options, "language": config.language}, f"{where}.options")


def read(config: CorpusConfig, dataset: str, out: Path) -> Reading:
    """Generate the corpus below ``out / "raw"`` and return its clips; ConfigError for options that do not fit."""
    options = read_options(config, f"{dataset}.corpus")
    demo = sample(options)
    write(options, demo, out / "raw")
    published = paths.corpus_dir(dataset) / "raw" / "videos"
    clips = [
        Clip(
            id=report.id,
            split=report.split,
            language=config.language,
            sign_language=config.sign_language,
            video=(published / f"{report.id}.mp4").as_posix(),
            text=report.text,
            references=report.references,
            gloss=report.meaning.gloss,
            signer=report.signer.name,
            frames=len(report.motion(options)),
            fingerprint=f"sha256:{file_sha256(out / 'raw' / 'videos' / f'{report.id}.mp4')}",
        )
        for report in demo.reports
    ]
    rows = Counter(clip.split for clip in clips)
    return Reading(clips, rows=dict(rows), notes=notes(demo))


def notes(demo: Demo) -> dict[str, Any]:
    """What the data report says of the corpus beyond its splits, all of it counted: coverage, overlaps, minimal pairs.

    Sentences are compared as ``slt.wikipedia`` compares them: by their words, without case and punctuation.
    """
    splits = {split: [report for report in demo.reports if report.split == split] for split in SPLITS}
    signs = {split: Counter(s.sign for r in reports for s in r.meaning.tokens()) for split, reports in splits.items()}
    words = {split: Counter(w for r in reports for w in word_list(r.text)) for split, reports in splits.items()}
    monolingual_words = {word for text in demo.sentences for word in word_list(text)}
    vocabulary = monolingual_words.union(*words.values())
    found: dict[str, Any] = {
        "signs_in_lexicon": len(LEXICON),
        "minimal_pairs": {parameter: len(pairs) for parameter, pairs in minimal_pairs().items()},
        "sentences": len(demo.sentences),
        "vocabulary": len(vocabulary),
        "signs_per_clip": round(sum(sum(count.values()) for count in signs.values()) / len(demo.reports), 2),
        "train_sign_types": len(signs["train"]),
        "train_signs_among_30_most_frequent": _share(signs["train"], {s for s, _ in signs["train"].most_common(30)}),
    }
    everything: dict[str, list[tuple[Meaning, tuple[str, ...]]]] = {
        "train": [(report.meaning, (report.text,)) for report in splits["train"]],
        "monolingual": [(meaning, (text,)) for meaning, text in demo.monolingual],
        "other_heldout": [],
    }
    train_clauses = {clause for report in splits["train"] for clause in report.meaning.clauses}
    for split, other in (("dev", "test"), ("test", "dev")):
        everything["other_heldout"] = [(report.meaning, (report.text, *report.references)) for report in splits[other]]
        heldout = splits[split]
        clauses = Counter(clause for report in heldout for clause in report.meaning.clauses)
        found[split] = {
            f"meanings_in_{name}": len({r.meaning.gloss for r in heldout} & {meaning.gloss for meaning, _ in items})
            for name, items in everything.items()
        }
        keys = {match_key(text) for report in heldout for text in (report.text, *report.references)}
        for name, items in everything.items():
            found[split][f"sentences_in_{name}"] = len(keys & {match_key(text) for _, texts in items for text in texts})
        found[split] |= {
            "clauses_unseen_in_train": round(1 - _share(clauses, train_clauses), 4),
            "signs_unseen_in_train": round(1 - _share(signs[split], signs["train"]), 4),
            "words_unseen_in_train": round(1 - _share(words[split], words["train"]), 4),
            "words_unseen_anywhere": round(1 - _share(words[split], monolingual_words | set(words["train"])), 4),
            "clips_by_the_unseen_signer": sum(report.signer is UNSEEN for report in heldout),
        }
    return found


def _share(counts: Counter[Any], known: Container[Any]) -> float:
    """The share of all occurrences whose type is known."""
    return round(sum(count for key, count in counts.items() if key in known) / counts.total(), 4)
