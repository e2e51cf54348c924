"""Parameters of the evaluate stage: how a model writes its hypotheses and how they are scored."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class IntervalConfig:
    """The bootstrap behind every interval and every paired test."""

    resamples: int = 1000
    """bootstrap resamples; one draw serves all systems and metrics of a split"""
    seed: int = 12345
    """of the draw; 12345 is sacrebleu's, so that intervals equal those of its command line"""
    confidence: float = 0.95
    """of every interval; sacrebleu's command line knows 0.95 only"""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed {self.seed}: no seed is below 0")
        if not 0 < self.confidence < 1:
            raise ValueError("confidence must lie between 0 and 1, as in 0.95")
        if self.resamples * (1 - self.confidence) / 2 < 1 - 1e-9:
            raise ValueError(f"{self.resamples} resamples are too few for an interval of {self.confidence:.0%}")


@dataclass(frozen=True)
class EvaluateConfig(IntervalConfig):
    """Beam search and the statistics behind every figure; the metrics themselves are fixed (slt/metrics.py)."""

    beam: int
    """hypotheses kept per clip during the search, of sentences and of gloss sequences; 1 is greedy"""
    length_penalty: float
    """exponent of the length by which a hypothesis' log-probability is divided; 0: none"""
    max_tokens: int
    """longest hypothesis, in the decoder's tokens"""
    batch: int
    """clips per generate call"""
    bleurt: str | None = None
    """BLEURT checkpoint, a local path or `hub:<id>@<revision>`; null: the score is null, with the reason"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.beam, self.max_tokens, self.batch) < 1:
            raise ValueError("beam, max_tokens and batch must be at least 1")
