"""The space that SEMs are learnt in: teacher vectors normalised, centred and brought to unit mean square."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from slt.errors import DataError

ROWS = 1024
"""vectors that are in memory as float64 at a time"""


class Rows(Protocol):
    """Vectors (n, size) that are read in blocks, in memory or not."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


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
    def fit(cls, train_vectors: Rows, normalize: bool, center: bool) -> "SemSpace":
        """The space of raw train vectors (n, size).

        Raises DataError for no vector, values that are not finite, or vectors without any spread about the mean.
        """
        if len(train_vectors.shape) != 2 or not len(train_vectors):
            raise DataError(f"no train vectors to fit the SEM space on (shape {train_vectors.shape}); is train empty?")
        count, size = train_vectors.shape
        total, largest, squares = np.zeros(size), 0.0, 0.0
        for block in _blocks(train_vectors):
            vectors = _double(block, normalize)
            if not np.isfinite(vectors).all():
                raise DataError("the teacher gave vectors that are not finite; try another teacher or device")
            largest = max(largest, float(np.abs(vectors).max()))
            total += vectors.sum(axis=0)
        mean = total / count if center else np.zeros(size)
        mean = mean.astype(np.float32)  # as stored, so that fit and apply subtract the same
        for block in _blocks(train_vectors):
            squares += float(np.sum((_double(block, normalize) - mean) ** 2))
        root_mean_square = float(np.sqrt(squares / (count * size)))
        if root_mean_square < 1e-6 * max(1e-30, largest):
            what = "do not differ from each other" if center else "are all zero"
            raise DataError(
                f"the teacher's {count} train vectors {what}: nothing can be learnt from them; "
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
        vectors = _double(raw, self.normalize)
        return np.asarray((vectors - self.mean) * self.scale, dtype=np.float32)

    def to_json(self) -> dict[str, Any]:
        """The space as JSON-able values, exact to the bit."""
        return {"normalize": self.normalize, "mean": [float(value) for value in self.mean], "scale": self.scale}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "SemSpace":
        """The space that :meth:`to_json` described."""
        return cls(bool(value["normalize"]), np.array(value["mean"], dtype=np.float32), float(value["scale"]))


def _double(raw: np.ndarray, normalize: bool) -> np.ndarray:
    """Raw vectors as float64, each of length 1 if they are to be normalised."""
    vectors = raw.astype(np.float64)
    if not normalize:
        return vectors
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if (norms == 0).any():
        raise DataError(
            f"{int((norms == 0).sum())} teacher vectors are all zero and have no direction; "
            "set the teacher's `normalize: false`, or look for empty sentences"
        )
    return np.asarray(vectors / norms)


def _blocks(vectors: Rows) -> Iterator[np.ndarray]:
    for start in range(0, len(vectors), ROWS):
        yield vectors[start : start + ROWS]


def mean_pairwise_cosine(vectors: Rows, space: SemSpace | None = None) -> float:
    """Mean cosine over all pairs of different rows of (n, size); near 1: a teacher whose vectors need centring.

    Of raw vectors in ``space``, if one is given. Zero for fewer than two rows. Rows of zeros count as orthogonal to
    everything.
    """
    count = len(vectors)
    if count < 2:
        return 0.0
    total, own = np.zeros(vectors.shape[1]), 0.0
    for block in _blocks(vectors):
        rows = (block if space is None else space.apply(block)).astype(np.float64)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        units = np.divide(rows, norms, out=np.zeros(rows.shape), where=norms > 0)
        total += units.sum(axis=0)
        own += float(np.sum(units**2))
    # |sum of units|^2 is the sum over all pairs, from which each row's pair with itself is taken off
    return float((np.sum(total**2) - own) / (count * (count - 1)))
