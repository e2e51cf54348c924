"""The metrics, each as sums over sentences: sacrebleu computes the statistics and turns their sums into a score.

That a corpus score is a function of summed sentence statistics is what lets :mod:`slt.bootstrap` resample any of
them by one matrix product. A metric whose corpus score is the mean of sentence scores (BLEURT) fits as well:
its statistics are (score, 1).
"""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from slt.errors import DataError

log = logging.getLogger("slt")
DIGITS = 6  # of figures in JSON: far below any interval, above the last bits in which machines differ


@dataclass(frozen=True)
class Score:
    """One figure with its interval and signature, in the metric's own unit (0 to 100 for BLEU and chrF).

    ``mean``, ``low`` and ``high`` are of the bootstrap distribution, ``half_width`` is half of high - low:
    sacrebleu prints ``value (mean ± half_width)``. ``n`` counts sentences.
    """

    metric: str
    value: float
    mean: float
    low: float
    high: float
    half_width: float
    n: int
    signature: str

    def as_dict(self) -> dict[str, Any]:
        """As JSON-able dictionary, floats rounded to six decimals."""
        content = dataclasses.asdict(self)
        return {key: round(value, DIGITS) if isinstance(value, float) else value for key, value in content.items()}


def no_score(reason: str) -> dict[str, Any]:
    """What stands in place of a score that could not be computed: null and why, never zero."""
    return {"value": None, "reason": reason}


class Metric(Protocol):
    """What the bootstrap needs to know of a metric."""

    @property
    def name(self) -> str: ...

    def score(self, totals: Sequence[float]) -> float:
        """The corpus score from statistics summed over sentences."""
        ...

    def scores(self, totals: np.ndarray) -> np.ndarray:
        """:meth:`score` of each row of sums (resamples × statistics), computed for all of them at once."""
        ...

    def signature(self, references: int, resamples: int, seed: int) -> str:
        """sacrebleu's signature; ``references`` per sentence, -1 when they vary."""
        ...


@dataclass(frozen=True)
class Statistics:
    """Sufficient statistics of one system: ``values`` is sentences × statistics, ``references`` as in signatures."""

    metric: Metric
    values: np.ndarray
    references: int

    @property
    def n(self) -> int:
        return len(self.values)

    def value(self) -> float:
        """The score of the corpus as it is."""
        return self.metric.score(self.values.sum(axis=0).tolist())


@dataclass(frozen=True)
class SacrebleuMetric:
    """A sacrebleu metric; ``make`` gives a fresh one, because sacrebleu's objects remember their last corpus.

    The score of a corpus is sacrebleu's own; ``formula`` gives the same for thousands of resamples in the time of one.
    ``suffix`` is appended to the signature, for what was done to the text before sacrebleu saw it.
    """

    name: str
    make: Callable[[], Any]
    formula: Callable[[np.ndarray], np.ndarray]
    suffix: str = ""

    def statistics(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Statistics:
        """Statistics of each hypothesis against its own references, of which each may have its own number.

        Raises DataError when the numbers of sentences differ, or a sentence has no reference.
        """
        if len(hypotheses) != len(references):
            raise DataError(f"{self.name}: {len(hypotheses)} hypotheses, but references for {len(references)}")
        if not hypotheses:
            raise DataError(f"{self.name}: no sentence to score")
        counts = {len(own) for own in references}
        if 0 in counts:
            raise DataError(f"{self.name}: sentence {[len(own) for own in references].index(0)} has no reference")
        streams = [[own[i] if i < len(own) else None for own in references] for i in range(max(counts))]
        values = self.make()._extract_corpus_statistics(list(hypotheses), streams)
        return Statistics(self, np.asarray(values, dtype=np.float64), counts.pop() if len(counts) == 1 else -1)

    def score(self, totals: Sequence[float]) -> float:
        return float(self._scorer._compute_score_from_stats(list(totals)).score)

    def scores(self, totals: np.ndarray) -> np.ndarray:
        # sacrebleu resamples in single precision, so its own figures are these; sums of integers stay exact
        return self.formula(totals.astype(np.float32))

    def signature(self, references: int, resamples: int, seed: int) -> str:
        metric = self.make()
        metric.num_refs, metric.n_bootstrap, metric.seed = references, resamples, str(seed)
        return str(metric.get_signature()) + self.suffix

    @cached_property
    def _scorer(self) -> Any:
        return self.make()  # one for all calls: scoring from sums reads a metric's settings only


@dataclass(frozen=True)
class MeanMetric:
    """A metric whose corpus score is the mean of sentence scores; statistics are (score, 1)."""

    name: str
    model: str
    """what goes into the signature: checkpoint and version"""

    def statistics(self, scores: Sequence[float], references: int = 1) -> Statistics:
        """Statistics from one score per sentence, computed elsewhere."""
        values = np.stack([np.asarray(scores, dtype=np.float64), np.ones(len(scores))], axis=1)
        return Statistics(self, values, references)

    def score(self, totals: Sequence[float]) -> float:
        return float(totals[0] / totals[1])

    def scores(self, totals: np.ndarray) -> np.ndarray:
        return np.asarray(totals[:, 0] / totals[:, 1])

    def signature(self, references: int, resamples: int, seed: int) -> str:
        nrefs = "var" if references == -1 else references
        return f"nrefs:{nrefs}|bs:{resamples}|seed:{seed}|model:{self.model}"


def bleu_scores(totals: np.ndarray) -> np.ndarray:
    """BLEU (N,), exponentially smoothed, from sums (N, 10): two lengths, then matches and n-grams of orders 1 to 4.

    Precisions are rounded as ``totals`` are; the penalty, logarithms and exponentials are doubles: so does sacrebleu.
    """
    written, expected = totals[:, 0].astype(np.float64), totals[:, 1].astype(np.float64)
    matches, ngrams = totals[:, 2:6], totals[:, 6:10]
    # orders after the first that no hypothesis reaches count as no precision at all, as in sacrebleu
    reached = np.logical_and.accumulate(ngrams > 0, axis=1)
    halvings = (2.0 ** np.cumsum(reached & (matches == 0), axis=1)).astype(totals.dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        precisions = np.where(matches > 0, 100.0 * matches / ngrams, 100.0 / (halvings * ngrams)).astype(np.float64)
        mean_log = np.where(reached, np.log(precisions), -9999999999.0).sum(axis=1) / 4
        penalty = np.where(written < expected, np.exp(1 - expected / written), 1.0)
    return np.where(matches.any(axis=1), penalty * np.exp(mean_log), 0.0)


def chrf_scores(totals: np.ndarray) -> np.ndarray:
    """chrF2 (N,) from sums (N, 3 × orders): n-grams written, expected and matched, of each order.

    Computed in the precision of ``totals`` and in sacrebleu's order of operations.
    """
    written, expected, matched = totals[:, 0::3], totals[:, 1::3], totals[:, 2::3]
    both = (written > 0) & (expected > 0)
    orders = np.maximum(both.sum(axis=1), 1).astype(totals.dtype)
    precision = np.divide(matched, written, out=np.zeros_like(matched), where=both).sum(axis=1) / orders
    recall = np.divide(matched, expected, out=np.zeros_like(matched), where=both).sum(axis=1) / orders
    weight = CHRF.BETA**2
    below = weight * precision + recall
    scores = 100 * np.divide((1 + weight) * precision * recall, below, out=np.zeros_like(below), where=below > 0)
    return scores.astype(np.float64)


BLEU_13A = SacrebleuMetric("bleu", lambda: BLEU(force=True), bleu_scores)
"""13a, mixed case, exponential smoothing: the paper's group's own signature (EVAL22)"""

BLEU_MULTI = SacrebleuMetric("bleu_multi", lambda: BLEU(force=True), bleu_scores)
"""the same against all references"""

BLEU_RAW = SacrebleuMetric("bleu_raw", lambda: BLEU(force=True, tokenize="none"), bleu_scores)
"""no tokenisation: what neccam/slt and the line of code after it report"""

CHRF2 = SacrebleuMetric("chrf", CHRF, chrf_scores)

NAMES = ("bleu", "bleu_multi", "bleu_raw", "chrf", "bleurt")
"""every metric of ``scores.json``, in the order of the tables"""


def corpus_statistics(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], bleurt: str | None
) -> dict[str, Statistics | str]:
    """Statistics of every metric in :data:`NAMES`, or the reason why there are none.

    ``references[i]`` holds all references of sentence i; the first one is the corpus' own and the only one that
    any metric but ``bleu_multi`` sees.
    """
    first = [own[:1] for own in references]
    several = any(len(own) > 1 for own in references)
    return {
        "bleu": BLEU_13A.statistics(hypotheses, first),
        "bleu_multi": BLEU_MULTI.statistics(hypotheses, references) if several else "one reference per clip",
        "bleu_raw": BLEU_RAW.statistics(hypotheses, first),
        "chrf": CHRF2.statistics(hypotheses, first),
        "bleurt": _bleurt_or_reason(hypotheses, [own[0] for own in references], bleurt),
    }


def _bleurt_or_reason(hypotheses: Sequence[str], references: Sequence[str], checkpoint: str | None) -> Statistics | str:
    try:
        return bleurt_statistics(hypotheses, references, checkpoint)
    except DataError as error:  # after hours of training a missing checkpoint is no reason to lose the other scores
        log.warning("BLEURT stays null: %s", error)
        return str(error)


def bleurt_statistics(hypotheses: Sequence[str], references: Sequence[str], checkpoint: str | None) -> Statistics | str:
    """BLEURT times 100, as the field's tables give it, by the checkpoint; without one, the reason why there is none.

    Raises DataError or ConfigError when the checkpoint that is named cannot be loaded.
    """
    if checkpoint is None:
        return "no BLEURT checkpoint given (`bleurt` in the evaluate section, `--bleurt` of slt score)"
    from slt.bleurt import load_bleurt  # torch and transformers take seconds to import

    scorer = load_bleurt(checkpoint)
    scores = [100 * score for score in scorer(hypotheses, references)]
    return MeanMetric("bleurt", scorer.signature + "|scale:100").statistics(scores)
