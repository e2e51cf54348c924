"""The demo corpus: generated, not read; an avatar signs short English weather reports."""

from collections import Counter
from pathlib import Path
from typing import Any

from slt import paths
from slt.config.base import parse
from slt.config.data import CorpusConfig
from slt.corpora import Reading
from slt.demo.config import DemoConfig
from slt.demo.corpus import Demo, sample, write
from slt.demo.lexicon import LEXICON, minimal_pairs
from slt.manifest import SPLITS, Clip
from slt.store import file_sha256


def read(config: CorpusConfig, dataset: str, out: Path) -> Reading:
    """Generate the corpus below ``out / "raw"`` and return its clips; ConfigError for options that do not fit."""
    options = parse(DemoConfig, config.options, f"{dataset}.corpus.options")
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
    """What the data report says of the corpus beyond its splits: overlaps (computed), coverage, minimal pairs."""
    glosses = {split: [r.meaning.gloss for r in demo.reports if r.split == split] for split in SPLITS}
    texts = {split: {t for r in demo.reports if r.split == split for t in (r.text, *r.references)} for split in SPLITS}
    heldout = {*glosses["dev"], *glosses["test"]}
    train_signs = Counter(token for gloss in glosses["train"] for token in gloss.split())
    test_signs = [token for gloss in glosses["test"] for token in gloss.split()]
    return {
        "signs_in_lexicon": len(LEXICON),
        "minimal_pairs": {parameter: len(pairs) for parameter, pairs in minimal_pairs().items()},
        "sentences": len(demo.sentences),
        "sentences_equal_to_a_heldout_text": len(set(demo.sentences) & (texts["dev"] | texts["test"])),
        "train_texts_equal_to_a_heldout_text": len(texts["train"] & (texts["dev"] | texts["test"])),
        "train_meanings_equal_to_a_heldout_meaning": len(set(glosses["train"]) & heldout),
        "dev_meanings_equal_to_a_test_meaning": len(set(glosses["dev"]) & set(glosses["test"])),
        "train_sign_types": len(train_signs),
        "test_signs_unseen_in_train": sum(token not in train_signs for token in test_signs),
        "test_signs": len(test_signs),
    }
