"""Published figures with where they came from: the typed content of ``published.yaml``, beside this module."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from slt.config.base import PARAMS, parse
from slt.errors import ConfigError

UNKNOWN = "unknown"
GlossUse = Literal["gloss-free", "weakly", "gloss", "unknown"]
METRICS = {"bleu": "BLEU", "chrf": "chrF", "bleurt": "BLEURT", "wer": "gloss WER"}
"""what a published figure may be of, under the names of ``scores.json``"""


@dataclass(frozen=True)
class Source:
    """Where figures were read: ``second-hand`` when not in the publication that they are of."""

    reading: Literal["first-hand", "second-hand"]
    title: str


@dataclass(frozen=True)
class Grid:
    """The rows of the paper's table for a corpus: systems × decoders, those with a SEM also × teachers."""

    title: str
    adapters: tuple[str, ...]
    """those that read the corpus, whose sections are compared"""
    clips: tuple[int, ...]
    """fewest and most test clips of a run on the corpus itself"""
    without_sem: tuple[str, ...]
    with_sem: tuple[str, ...]
    decoders: tuple[str, ...]
    teachers: dict[str, str]
    """entry under ``teachers`` → model of the paper, ``unknown`` where no source names it"""

    def __post_init__(self) -> None:
        if len(self.clips) != 2 or self.clips[0] > self.clips[1]:
            raise ValueError("clips needs two numbers, the fewest and the most")


@dataclass(frozen=True)
class Figure:
    """One published figure, a ``value`` or a range from ``low`` to ``high``; ``unknown`` is what no source tells."""

    corpus: str
    metric: str
    source: str
    gloss: GlossUse
    """whether training or features saw gloss; ``weakly``: only what the features were trained on, or the like"""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    system: str = UNKNOWN
    """our name of it, where it is a system of the paper"""
    label: str = ""
    """its published name, where it is another group's"""
    decoder: str = UNKNOWN
    teacher: str = UNKNOWN
    split: str = UNKNOWN
    role: str = UNKNOWN
    """which cell of the table it is"""

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"no metric `{self.metric}`; there are {', '.join(METRICS)}")
        if (self.value is None) == (self.low is None or self.high is None):
            raise ValueError("needs a value, or low and high")

    def bounds(self) -> tuple[float, float]:
        """The range, or twice the value."""
        if self.value is not None:
            return self.value, self.value
        assert self.low is not None and self.high is not None
        return self.low, self.high


@dataclass(frozen=True)
class Claim:
    """What is said of two systems (or two sem2text models) that differ in one factor, ``left`` minus ``right``."""

    corpus: str
    factor: Literal["system", "decoder", "teacher"]
    left: str
    right: str
    metric: str
    source: str
    expect: Literal["greater", "same", "range"] = "range"
    low: float | None = None
    high: float | None = None
    among: Literal["rows", "sem2text"] = "rows"

    def __post_init__(self) -> None:
        if (self.expect == "range") != (self.low is not None and self.high is not None):
            raise ValueError("needs either low and high, or an expectation of greater or same")


@dataclass(frozen=True)
class Statement:
    """What is said of the literature; nothing here can be run against it."""

    corpus: str
    text: str
    source: str


@dataclass(frozen=True)
class Published:
    """The whole file."""

    sources: dict[str, Source]
    grid: dict[str, Grid]
    paper: tuple[Figure, ...]
    claims: tuple[Claim, ...]
    statements: tuple[Statement, ...]
    prior: tuple[Figure, ...]

    def __post_init__(self) -> None:
        entries: tuple[Figure | Claim | Statement, ...] = (*self.paper, *self.claims, *self.statements, *self.prior)
        for entry in entries:
            if entry.source not in self.sources:
                raise ValueError(f"no source `{entry.source}`; there are {', '.join(self.sources)}")
            if entry.corpus not in (*self.grid, UNKNOWN):
                raise ValueError(f"no corpus `{entry.corpus}` in the grid, which has {', '.join(self.grid)}")

    def of(self, corpus: str, part: Literal["paper", "claims", "statements", "prior"]) -> list[Any]:
        """The entries of that part that are of a corpus, or of no corpus in particular."""
        return [entry for entry in getattr(self, part) if entry.corpus in (corpus, UNKNOWN)]


@lru_cache(maxsize=1)
def read_published() -> Published:
    """Read the file that is shipped with the package; ConfigError names the entry that does not fit."""
    content = yaml.safe_load(files("slt").joinpath("published.yaml").read_text(encoding="utf-8"))
    try:
        return parse(Published, content, "published")
    except ConfigError as error:
        raise ConfigError(f"slt/published.yaml: {str(error).removeprefix(f'{PARAMS}: ')}") from error
