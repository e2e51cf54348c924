"""Diagnostics beside the score, because the field was burned by their absence.

Where a score is of a part of the split (a length bucket, seen sentences) the bootstrap resamples that part, as if
it were the corpus: a part's interval is that of sacrebleu on a file with the part's lines.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from slt.bootstrap import bootstrap, draw
from slt.config.evaluate import IntervalConfig
from slt.evaluations import Record, Sems
from slt.metrics import BLEU_13A, DIGITS, SacrebleuMetric, Statistics, bleu_scores, no_score
from slt.sem_metrics import cosines, own_ranks

LENGTHS = ((0, 7), (8, 11), (12, 16), (17, 25), (26, 10**9))
"""Buckets of reference length in words. Fixed, so that corpora can be compared; the first four hold about a quarter
of PHOENIX-2014T each (12 words on average), the last one is for How2Sign (17.5 on average, up to 115)."""

_GERMAN = """
der die das den dem des ein eine einer eines einem einen
ich du er sie es wir ihr mich dich ihn uns euch mir dir ihm ihnen sich man mein meine meiner meinem meinen dein deine
sein seine seiner seinem seinen ihre ihrer ihrem ihren unser unsere unserer unserem unseren euer eure
dies diese dieser dieses diesem diesen jene jener jenes jenem jenen
in im ins an am ans auf aus bei beim bis durch für mit nach um von vom vor zu zum zur
und oder aber denn doch sondern sowie als wenn dass daß ob weil da damit während so also
bin bist ist sind seid war waren wart wäre wären gewesen sei habe hast hat haben habt hatte hatten hätte hätten
werde wirst wird werden werdet wurde wurden würde würden geworden worden kann kannst können könnt konnte konnten könnte
könnten muss muß müssen musste mussten soll sollen sollte sollten will wollen wollte darf dürfen dürfte mag mögen möchte
auch nur noch schon mal ja eben halt dann dabei dazu daran darauf davon her hin
"""
_ENGLISH = """
a an the i you he she it we they me him her us them my your his its our their mine yours hers ours theirs
myself yourself himself herself itself ourselves themselves this that these those who whom whose which there
in on at of to from for with by about into onto through as upon within
and or but so if because while although though than then
am is are was were be been being have has had having do does did doing done
can could will would shall should may might must
i'm you're he's she's it's we're they're i've you've we've they've i'll you'll he'll she'll it'll we'll they'll
i'd you'd he'd she'd we'd they'd that's there's here's what's who's let's
also just too very well okay ok um uh oh
"""
FUNCTION_WORDS = {"de": frozenset(_GERMAN.split()), "en": frozenset(_ENGLISH.split())}
"""By language: articles, pronouns, conjunctions, auxiliaries, particles and the bleached prepositions. What carries
meaning stays in the text: negations, numbers, question words, and words of place and direction (über, under, off)."""

_HAS_LETTER = re.compile(r"\w")


def diagnose(
    records: Sequence[Record], config: IntervalConfig, sems: Sems | None = None, language: str | None = None
) -> dict[str, Any]:
    """Diagnostics of one system on one split (records of one condition); shares are between 0 and 1."""
    return {
        **diagnose_text([r.hypothesis for r in records], [r.reference for r in records], config, language),
        "sentences": _parts(records, lambda r: r.reference_in_train, {True: "seen", False: "unseen"}, config),
        "signers": _parts(
            records, lambda r: r.signer_in_train, {True: "seen", False: "unseen", None: "unknown"}, config
        ),
        "retrieval": retrieval(records, sems) if sems else no_score("no SEM of this system and split"),
    }


def diagnose_text(
    hypotheses: Sequence[str], references: Sequence[str], config: IntervalConfig, language: str | None = None
) -> dict[str, Any]:
    """The diagnostics that need nothing but text: hypothesis i against reference i.

    ``language`` (ISO 639-1) picks the list of function words.
    """
    pairs = list(zip(hypotheses, references, strict=True))
    by_length = {name: [pair for pair in pairs if bucket(pair[1]) == name] for name in bucket_names()}
    return {
        "bleu_by_length": {name: _part(part, config) for name, part in by_length.items()},
        "bleu_content": _bleu_content(pairs, config, language),
        "output": output(hypotheses, references),
    }


def bucket(reference: str) -> str:
    """The length bucket of a reference; words are what stands between white space and is not punctuation alone."""
    words = sum(1 for word in reference.split() if _HAS_LETTER.search(word))
    return next(_bucket_name(bounds) for bounds in LENGTHS if words <= bounds[1])


def _bucket_name(bounds: tuple[int, int]) -> str:
    low, high = bounds
    if bounds == LENGTHS[0]:
        return f"≤{high}"
    return f"≥{low}" if bounds == LENGTHS[-1] else f"{low}–{high}"


def bucket_names() -> list[str]:
    """The buckets of :data:`LENGTHS` as written in tables and plots, in order."""
    return [_bucket_name(bounds) for bounds in LENGTHS]


def _score(statistics: Statistics, config: IntervalConfig) -> dict[str, Any]:
    return bootstrap(statistics, draw(statistics.n, config.resamples, config.seed, config.confidence)).as_dict()


def _parts(
    records: Sequence[Record], label: Callable[[Record], Any], names: dict[Any, str], config: IntervalConfig
) -> dict[str, Any]:
    return {
        name: _part([(r.hypothesis, r.reference) for r in records if label(r) == value], config)
        for value, name in names.items()
    }


def _part(pairs: Sequence[tuple[str, str]], config: IntervalConfig) -> dict[str, Any]:
    if not pairs:
        return {"n": 0, "bleu": no_score("no such clip")}
    statistics = BLEU_13A.statistics([hypothesis for hypothesis, _ in pairs], [[reference] for _, reference in pairs])
    return {"n": len(pairs), "bleu": _score(statistics, config)}


def _bleu_content(pairs: Sequence[tuple[str, str]], config: IntervalConfig, language: str | None) -> dict[str, Any]:
    if language not in FUNCTION_WORDS:
        return no_score(
            f"no list of function words for {f'language `{language}`' if language else 'an unnamed language'}"
        )
    metric = SacrebleuMetric(
        "bleu_content",
        lambda: BLEU(force=True, tokenize="none"),
        bleu_scores,
        f"|text:13a-tokens-without-punctuation-and-function-words-{language}",
    )
    statistics = metric.statistics(
        [content_words(hypothesis, language) for hypothesis, _ in pairs],
        [[content_words(reference, language)] for _, reference in pairs],
    )
    return _score(statistics, config)


def content_words(text: str, language: str) -> str:
    """The text, split as BLEU's 13a does, without punctuation and without the language's function words."""
    dropped = FUNCTION_WORDS[language]
    return " ".join(
        token for token in _TOKENIZE(text).split() if _HAS_LETTER.search(token) and token.lower() not in dropped
    )


_TOKENIZE = Tokenizer13a()


def retrieval(records: Sequence[Record], sems: Sems) -> dict[str, Any]:
    """How well a predicted SEM finds its sentence among the distinct reference sentences, see :func:`candidates`.

    ``mean_cosine_other`` is the mean cosine with the wrong sentences: what ``mean_cosine`` has to be read against.
    """
    similarity, target = candidates(records, sems)
    found = own_ranks(similarity, target)
    own = similarity[np.arange(len(target)), target]
    others = (similarity.sum() - own.sum()) / max(1, similarity.size - len(own))
    return {
        "n": len(target),
        "candidates": similarity.shape[1],
        "recall_at_1": round(float((found <= 1).mean()), DIGITS),
        "recall_at_5": round(float((found <= 5).mean()), DIGITS),
        "median_rank": float(np.median(found)),
        "mean_cosine": round(float(own.mean()), DIGITS),
        "mean_cosine_other": round(float(others), DIGITS),
    }


def candidates(records: Sequence[Record], sems: Sems) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of predicted SEMs with the distinct references' (n × candidates), and each record's own column (n,).

    Records with the same reference share one candidate.
    """
    row = {clip: i for i, clip in enumerate(sems.ids)}
    order = [row[record.id] for record in records]
    first: dict[str, int] = {}
    for record, i in zip(records, order, strict=True):
        first.setdefault(record.reference, i)
    column = {text: i for i, text in enumerate(first)}
    true = sems.true[list(first.values())]
    similarity = cosines(sems.predicted[order].astype(np.float64), true.astype(np.float64))
    return similarity, np.array([column[record.reference] for record in records])


def output(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """What the hypotheses look like: length against the references, empty ones, distinct ones.

    ``length_ratio`` is sacrebleu's (13a tokens of all hypotheses over those of all references, None when the
    references are empty); a share of distinct hypotheses far below that of the references means that a system
    repeats a few sentences.
    """
    hypotheses, references = [text.strip() for text in hypotheses], [text.strip() for text in references]
    sizes = [sum(len(_TOKENIZE(text).split()) for text in texts) for texts in (hypotheses, references)]
    n = len(hypotheses)
    return {
        "length_ratio": round(sizes[0] / sizes[1], DIGITS) if sizes[1] else None,
        "empty": round(sum(not text for text in hypotheses) / n, DIGITS),
        "distinct": round(len(set(hypotheses)) / n, DIGITS),
        "distinct_references": round(len(set(references)) / n, DIGITS),
    }
