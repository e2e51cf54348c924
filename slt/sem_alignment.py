"""Do predicted SEMs lie where the true ones do, and would a rigid motion bring them there?

An alignment is fitted on clips of train or dev and judged on test, so that it cannot know the answers.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np

from slt.diagnostics import retrieval
from slt.errors import DataError
from slt.evaluations import Record, Sems
from slt.metrics import DIGITS

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
    return float(np.linalg.norm(_unit(predicted).mean(0) - _unit(true).mean(0)))


def map_figures(records: Sequence[Record], sems: Sems) -> dict[str, Any]:
    """Retrieval and cosines as in the diagnostics, and the modality gap, of one split's SEMs."""
    return {**retrieval(records, sems), "modality_gap": round(modality_gap(sems.predicted, sems.true), DIGITS)}


def _unit(sems: np.ndarray) -> np.ndarray:
    sems = sems.astype(np.float64)
    return sems / np.maximum(np.linalg.norm(sems, axis=1, keepdims=True), 1e-12)
