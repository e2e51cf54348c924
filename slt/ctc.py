"""Connectionist temporal classification (CTC): what it asks of a clip, and how its outputs are read as labels.

Label 0 is the blank. A path has one label per frame; what it spells is left when its runs are joined and its blanks go.
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

import numpy as np

Beams = dict[tuple[int, ...], tuple[float, float]]
CANDIDATES = 15  # labels tried at a frame; on the demo's dev split all 165 give the same glosses, ten times slower


def frames_needed(labels: Sequence[int]) -> int:
    """The fewest frames that can spell these labels: one each, and a blank between two equal ones."""
    return len(labels) + sum(one == other for one, other in pairwise(labels))


def collapse(path: Iterable[int]) -> list[int]:
    """The labels that a path spells: runs become one, then blanks go."""
    return [label for label, _ in groupby(path) if label]


def best_labels(log_probabilities_TV: np.ndarray, beam: int) -> list[int]:
    """The labels that a clip's outputs spell; ``beam`` 1 reads the likeliest path, more sum over the paths of a prefix.

    The prefix search keeps the ``beam`` likeliest beginnings after each frame, each with two probabilities: of its
    paths that end in a blank, and of those that end in its last label. Source: Graves and Jaitly 2014, without their
    language model.
    """
    if beam == 1:
        return collapse(log_probabilities_TV.argmax(-1).tolist())
    beams: Beams = {(): (0.0, -math.inf)}
    for frame in log_probabilities_TV:
        tried = [(int(label), float(frame[label])) for label in np.argsort(-frame, kind="stable")[:CANDIDATES]]
        grown: Beams = {}
        for prefix, (blank, last) in beams.items():
            either = _add(blank, last)
            for label, score in tried:
                if label == 0:
                    _grow(grown, prefix, either + score, -math.inf)
                elif prefix and label == prefix[-1]:
                    _grow(grown, prefix, -math.inf, last + score)
                    _grow(grown, (*prefix, label), -math.inf, blank + score)
                else:
                    _grow(grown, (*prefix, label), -math.inf, either + score)
        beams = dict(heapq.nlargest(beam, grown.items(), key=lambda item: _add(*item[1])))
    return list(next(iter(beams)))


def _grow(beams: Beams, prefix: tuple[int, ...], blank: float, last: float) -> None:
    old = beams.get(prefix, (-math.inf, -math.inf))
    beams[prefix] = _add(old[0], blank), _add(old[1], last)


def _add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))"""
    high, low = (a, b) if a > b else (b, a)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
