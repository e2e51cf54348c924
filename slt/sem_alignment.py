"""Do predicted SEMs lie where the true ones do, and would a rigid motion bring them there?

An alignment is fitted on clips of train or dev and judged on test, so that it cannot know the answers.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np

from slt.bootstrap import draw, paired_test
from slt.diagnostics import candidates, retrieval
from slt.errors import DataError
from slt.evaluations import Record, Sems
from slt.metrics import DIGITS, MeanMetric
from slt.sem_metrics import own_ranks, unit

Alignment = Literal["shift", "rotation"]
ALIGNMENTS: tuple[Alignment, ...] = get_args(Alignment)
Motion = Callable[[np.ndarray], np.ndarray]


def fit(kind: Alignment, predicted: np.ndarray, true: np.ndarray) -> Motion:
    """The motion that brings ``predicted`` nearest to ``true`` (clips × size, row by row), by least squares.

    ``shift`` adds the difference of the means, ``rotation`` multiplies by an orthogonal matrix (Procrustes; it may
    reflect). Raises DataError for SEMs that do not pair.
    """
    if predicted.shape != true.shape or not len(true):
        raise DataError(f"an alignment needs pairs: predicted {predicted.shape}, true {true.shape} SEMs")
    if kind == "shift":
        difference = (true - predicted).astype(np.float64).mean(0)
        return lambda sems: sems + difference
    left, _, right = np.linalg.svd(predicted.astype(np.float64).T @ true.astype(np.float64))
    return lambda sems: sems @ (left @ right)


def modality_gap(predicted: np.ndarray, true: np.ndarray) -> float:
    """Distance between the centroids of both sides' unit vectors (Liang et al. 2022): 0 to 2."""
    centroids = [unit(sems.astype(np.float64)).mean(0) for sems in (predicted, true)]
    return float(np.linalg.norm(centroids[0] - centroids[1]))


def map_figures(records: Sequence[Record], sems: Sems) -> dict[str, Any]:
    """Retrieval and cosines as in the diagnostics, and the modality gap, of one split's SEMs."""
    return {**retrieval(records, sems), "modality_gap": round(modality_gap(sems.predicted, sems.true), DIGITS)}


def found_first(records: Sequence[Record], sems: Sems) -> np.ndarray:
    """Whether each clip's own sentence is the one nearest to its predicted SEM: what recall@1 is the share of."""
    return own_ranks(*candidates(records, sems)) == 1


def recall_test(
    records: Sequence[Record], system: Sems, other: Sequence[Record], baseline: Sems, interval: dict[str, Any]
) -> dict[str, Any]:
    """Paired bootstrap of recall@1 in percent, ``system`` minus ``baseline``; ``interval`` as the evaluation has it.

    Raises DataError when the two are of other clips.
    """
    if [record.id for record in records] != [record.id for record in other]:
        raise DataError("recall@1 cannot be compared: the two were measured on other clips")
    metric = MeanMetric("recall@1", "")
    sides = [
        metric.statistics((100.0 * found_first(*side)).tolist()) for side in ((records, system), (other, baseline))
    ]
    return paired_test(sides[0], sides[1], draw(len(records), **interval)).as_dict()
