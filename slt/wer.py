"""Word error rate of gloss sequences, as summed statistics, so that it has the bootstrap of every other metric.

The alignment is sclite's: of lowest cost with 4 per substitution and 3 per insertion or deletion, and each of them then
counts as one error. A plain edit distance (jiwer's) is now and then one error lower: it prefers k substitutions to more
insertions and deletions even where those match more glosses.

Published rates on PHOENIX-2014T are counted after a script of the corpus' own evaluation has cleaned the glosses
(``clean_phoenix_2014_trans`` in neccam/slt). That is not done here, which ``clean:none`` in the signature says: glosses
are counted as they are annotated, so the rates are not comparable.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slt.errors import DataError
from slt.metrics import Statistics

SUBSTITUTION, INSERTION, DELETION = 4, 3, 3


def errors(hypothesis: Sequence[str], reference: Sequence[str]) -> int:
    """Substitutions, insertions and deletions that lead from the reference to the hypothesis, as sclite aligns them."""
    above = [(j * INSERTION, j) for j in range(len(hypothesis) + 1)]  # cost and errors of the best way to each cell
    for expected in reference:
        row = [(above[0][0] + DELETION, above[0][1] + 1)]
        for j, found in enumerate(hypothesis):
            wrong = found != expected
            ways = [
                (above[j][0] + SUBSTITUTION * wrong, above[j][1] + wrong),
                (row[j][0] + INSERTION, row[j][1] + 1),
                (above[j + 1][0] + DELETION, above[j + 1][1] + 1),
            ]
            row.append(min(ways, key=lambda way: way[0]))  # of equal costs the first, which is sclite's choice too
        above = row
    return above[-1][1]


@dataclass(frozen=True)
class WordErrorRate:
    """Errors over the glosses of all references, in percent; statistics are (errors, glosses of the reference)."""

    name: str = "wer"

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str]) -> Statistics:
        """Statistics of gloss lines; a gloss that the system cannot know is an error like any other.

        Raises DataError when the numbers of lines differ, or a reference is empty.
        """
        if len(hypotheses) != len(references):
            raise DataError(f"{self.name}: {len(hypotheses)} hypotheses, but references for {len(references)}")
        pairs = [
            (hypothesis.split(), reference.split())
            for hypothesis, reference in zip(hypotheses, references, strict=True)
        ]
        empty = [i for i, (_, reference) in enumerate(pairs) if not reference]
        if empty or not pairs:
            raise DataError(
                f"{self.name}: reference {empty[0]} is empty" if empty else f"{self.name}: nothing to score"
            )
        values = [(errors(hypothesis, reference), len(reference)) for hypothesis, reference in pairs]
        return Statistics(self, np.array(values, dtype=np.float64), 1)

    def score(self, totals: Sequence[float]) -> float:
        return float(100 * totals[0] / totals[1])

    def scores(self, totals: np.ndarray) -> np.ndarray:
        return np.asarray(100 * totals[:, 0] / totals[:, 1])

    def signature(self, references: int, resamples: int, seed: int) -> str:
        return f"nrefs:{references}|bs:{resamples}|seed:{seed}|unit:gloss|clean:none|align:sclite-s4-i3-d3"


WER = WordErrorRate()
