"""Bootstrap intervals and paired tests: sacrebleu's definitions, resampled by one matrix product.

sacrebleu picks sentence indices for each resample and sums their statistics. The sum depends only on how often
each sentence was picked, so a matrix of counts (resamples × sentences) times the statistics (sentences ×
statistics) gives all resamples at once, exactly: the sums are of integers. With the same generator, seed and
call order as sacrebleu the intervals are those of its command line.
"""

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from slt.errors import DataError
from slt.metrics import DIGITS, Score, Statistics

LIMIT = 4 * 10**8  # sentences in all resamples of a draw: 3.2 GB of counts


@dataclass(frozen=True, eq=False)
class Draw:
    """How often each resample holds each sentence: ``counts`` is resamples × sentences, read-only float64."""

    counts: np.ndarray
    seed: int
    confidence: float

    @property
    def resamples(self) -> int:
        return len(self.counts)

    @property
    def n(self) -> int:
        return self.counts.shape[1]


@dataclass(frozen=True)
class Comparison:
    """System minus baseline on the same resamples, with the interval and the p-value of the difference."""

    metric: str
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    resamples: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON-able dictionary, floats rounded to six decimals."""
        content = dataclasses.asdict(self)
        return {key: round(value, DIGITS) if isinstance(value, float) else value for key, value in content.items()}


@lru_cache(maxsize=8)  # the systems of a corpus share one draw; a few are alive at once (dev, test, subsets)
def draw(n: int, resamples: int = 1000, seed: int = 12345, confidence: float = 0.95) -> Draw:
    """Draw resamples of n sentences as ``sacrebleu.significance._bootstrap_resample`` does with that seed."""
    if n < 1:
        raise DataError("nothing to resample: no sentence")
    if n * resamples > LIMIT:
        raise DataError(
            f"{resamples} resamples of {n} sentences do not fit in memory; at most {LIMIT // n} do, and 1000 are usual"
        )
    picked = np.random.default_rng(seed).choice(n, size=(resamples, n), replace=True)
    flat = (picked + n * np.arange(resamples)[:, None]).ravel()
    counts = np.bincount(flat, minlength=resamples * n).reshape(resamples, n).astype(np.float64)
    counts.setflags(write=False)
    return Draw(counts, seed, confidence)


def resample(statistics: Statistics, drawn: Draw) -> np.ndarray:
    """The corpus score of each resample, in the order of the draw.

    Raises DataError when the draw is of another number of sentences.
    """
    if statistics.n != drawn.n:
        raise DataError(f"{statistics.metric.name}: {statistics.n} sentences, but the draw is of {drawn.n}")
    return statistics.metric.scores(drawn.counts @ statistics.values)


def interval(scores: np.ndarray, confidence: float) -> tuple[float, float]:
    """The bounds that leave ``(1 - confidence) / 2`` of the scores on either side, by sacrebleu's index rule."""
    ordered = np.sort(scores)
    tail = int(len(ordered) * (1 - confidence) / 2 + 1e-9)  # sacrebleu's n // 40 at 0.95
    return float(ordered[tail]), float(ordered[len(ordered) - tail - 1])


def bootstrap(statistics: Statistics, drawn: Draw) -> Score:
    """The score of a corpus with its bootstrap mean and interval."""
    scores = resample(statistics, drawn)
    low, high = interval(scores, drawn.confidence)
    return Score(
        metric=statistics.metric.name,
        value=statistics.value(),
        mean=float(scores.mean()),
        low=low,
        high=high,
        half_width=0.5 * (high - low),
        n=statistics.n,
        signature=statistics.metric.signature(statistics.references, drawn.resamples, drawn.seed),
    )


def paired_test(system: Statistics, baseline: Statistics, drawn: Draw) -> Comparison:
    """Paired bootstrap test of a system against a baseline on the same sentences.

    The p-value follows sacrebleu's ``_paired_bs_test``: with d the observed absolute difference and s_i the
    absolute difference on resample i, p = (#{s_i - mean(s) > d} + 1) / (resamples + 1). One departure: when no
    resample shows any difference p is 1, where sacrebleu calls a system significantly different from itself
    (1/1001). The interval is of the signed difference. Raises DataError when the two cannot be compared.
    """
    if system.metric.name != baseline.metric.name or system.references != baseline.references:
        raise DataError(
            f"cannot compare {system.metric.name} ({system.references} references per sentence)"
            f" with {baseline.metric.name} ({baseline.references})"
        )
    difference = system.value() - baseline.value()
    differences = resample(system, drawn) - resample(baseline, drawn)
    low, high = interval(differences, drawn.confidence)
    sizes = np.abs(differences)
    beyond = int(np.sum(sizes - sizes.mean() > abs(difference)))
    p_value = (beyond + 1) / (drawn.resamples + 1) if sizes.any() else 1.0
    return Comparison(system.metric.name, difference, low, high, p_value, system.n, drawn.resamples)
