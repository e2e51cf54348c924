"""The space that SEMs are learnt in: teacher vectors normalised, centred and brought to unit mean square."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from slt.errors import DataError


@dataclass(frozen=True)
class SemSpace:
    """A similarity map from raw teacher vectors to the space models are trained in: ``scale * (unit(raw) - mean)``.

    Over train targets the mean square per dimension is 1, so an MSE of 1 means "no better than always answering
    with the mean" (with zero, when not centred), whatever the teacher. The one scalar leaves cosines as they are.
    Our choice: the paper does not say how targets are scaled.
    """

    normalize: bool
    """L2-normalise each raw vector first"""
    mean: np.ndarray
    """(size,) float32, zeros when the space is not centred"""
    scale: float

    @classmethod
    def fit(cls, train_vectors: np.ndarray, normalize: bool, center: bool) -> "SemSpace":
        """The space of raw train vectors (n, size).

        Raises DataError for no vector, values that are not finite, or vectors without any spread about the mean.
        """
        if train_vectors.ndim != 2 or not len(train_vectors):
            raise DataError(f"no train vectors to fit the SEM space on (shape {train_vectors.shape}); is train empty?")
        vectors = _unit(train_vectors) if normalize else train_vectors.astype(np.float64)
        if not np.isfinite(vectors).all():
            raise DataError("the teacher gave vectors that are not finite; try another teacher or device")
        mean = vectors.mean(axis=0) if center else np.zeros(vectors.shape[1])
        mean = mean.astype(np.float32)  # as stored, so that fit and apply subtract the same
        root_mean_square = float(np.sqrt(np.mean((vectors - mean) ** 2)))
        if root_mean_square < 1e-6 * max(1e-30, float(np.abs(vectors).max())):
            what = "do not differ from each other" if center else "are all zero"
            raise DataError(
                f"the teacher's {len(vectors)} train vectors {what}: nothing can be learnt from them; "
                "check the train texts and the teacher's weights"
            )
        return cls(normalize, mean, 1.0 / root_mean_square)

    @property
    def size(self) -> int:
        return len(self.mean)

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Raw teacher vectors (…, size) in the model space, float32; DataError when the size is another."""
        if raw.shape[-1] != self.size:
            raise DataError(
                f"vectors of {raw.shape[-1]} numbers in a SEM space of {self.size}; "
                "they come from different teachers: run `dvc repro` on their stages"
            )
        vectors = _unit(raw) if self.normalize else raw.astype(np.float64)
        return np.asarray((vectors - self.mean) * self.scale, dtype=np.float32)

    def to_json(self) -> dict[str, Any]:
        """The space as JSON-able values, exact to the bit."""
        return {"normalize": self.normalize, "mean": [float(value) for value in self.mean], "scale": self.scale}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "SemSpace":
        """The space that :meth:`to_json` described."""
        return cls(bool(value["normalize"]), np.array(value["mean"], dtype=np.float32), float(value["scale"]))


def _unit(raw: np.ndarray) -> np.ndarray:
    vectors = raw.astype(np.float64)
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if (norms == 0).any():
        raise DataError(
            f"{int((norms == 0).sum())} teacher vectors are all zero and have no direction; "
            "set the teacher's `normalize: false`, or look for empty sentences"
        )
    return np.asarray(vectors / norms)


def mean_pairwise_cosine(vectors: np.ndarray) -> float:
    """Mean cosine over all pairs of different rows of (n, size); near 1: a teacher whose vectors need centring.

    Zero for fewer than two rows. Rows of zeros count as orthogonal to everything.
    """
    count = len(vectors)
    if count < 2:
        return 0.0
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    units = np.divide(vectors, norms, out=np.zeros(vectors.shape), where=norms > 0)
    # |sum of units|^2 is the sum over all pairs, from which each row's pair with itself is taken off
    return float((np.sum(units.sum(axis=0) ** 2) - np.sum(units**2)) / (count * (count - 1)))
