"""What wording a meaning needs in any language: a choice among forms, the most usual first, and a bearable length."""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

from slt.demo.grammar import Meaning, rank_weights

T = TypeVar("T")
MIN_WORDS, MAX_WORDS = 5, 30


class Wording(ABC):
    """Words meanings; ``rng`` decides everything, ``skew`` is the exponent of the preference for usual forms."""

    def __init__(self, rng: random.Random, skew: float) -> None:
        self.rng = rng
        self.skew = skew

    def sentence(self, meaning: Meaning) -> str:
        """A sentence of 5 to 30 words: capital first, full stop at the end, no other full stop."""
        while True:
            text = self._report(meaning)
            if MIN_WORDS <= len(text.split()) <= MAX_WORDS:
                return text[0].upper() + text[1:] + "."

    @abstractmethod
    def _report(self, meaning: Meaning) -> str:
        """One wording of a meaning, of any length, without capital or full stop."""

    def pick(self, options: Sequence[T]) -> T:
        """One option, the earlier the likelier."""
        return self.rng.choices(options, cum_weights=rank_weights(len(options), self.skew))[0]

    def prefer(self, odds: int = 1) -> bool:
        """Whether the more usual of two ways is taken; ``odds`` is how many of its kind stand against the other."""
        return self.pick((True,) * odds + (False,))


def join(*pieces: str) -> str:
    """The pieces that are not empty, separated by blanks."""
    return " ".join(piece for piece in pieces if piece)
