"""Arrays in files: numpy's own formats, read without pickles, whatever the file claims; and larger ones than memory."""

import os
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slt.errors import DataError
from slt.unpacking import claim, unpacked_limit

UNREADABLE = (
    *(ValueError, OSError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error, NotImplementedError),
    *(SyntaxError, tokenize.TokenError, RecursionError),  # a header is a Python literal
    MemoryError,  # a header that claims an absurd size
    OverflowError,
)
"""what numpy lets through of a damaged file"""


def read_npy(path: Path) -> np.ndarray:
    """The array of a ``.npy`` file; DataError when it is none, is cut short or holds Python objects."""
    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except UNREADABLE as error:
        raise DataError(f"{path}: not a readable .npy file ({error}); make it again") from error


def read_npz(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """The arrays of these names in a ``.npz`` file.

    Raises DataError when it is none, is damaged, holds members of other names (a path that leads out is one) or Python
    objects, or claims to unpack to more than :func:`slt.unpacking.unpacked_limit`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        other = sorted({member.filename for member in members} - {f"{name}.npy" for name in names})
        if other:
            raise ValueError(f"holds `{other[0]}` beside {', '.join(names)}")
        if sum(member.file_size for member in members) > unpacked_limit(path):
            raise ValueError(claim(unpacked_limit(path)))
        with np.load(path, allow_pickle=False) as found:
            return [found[name] for name in names]
    except UNREADABLE as error:
        raise DataError(f"{path}: not a readable .npz file ({error}); make it again") from error


class DiskMatrix:
    """A float32 matrix (n, size) in an unnamed file below ``folder``, of which memory holds the rows at hand alone.

    No mapping of the file, whose pages would count as the process' memory until the system takes them back.
    """

    def __init__(self, count: int, size: int, folder: Path) -> None:
        self.shape = (count, size)
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed by :meth:`close`, at the latest)

    def close(self) -> None:
        """Give the file's room back."""
        self._file.close()

    def __len__(self) -> int:
        return self.shape[0]

    def __setitem__(self, rows: slice | Sequence[int] | np.ndarray, values: np.ndarray) -> None:
        block, width = np.ascontiguousarray(values, np.float32), 4 * self.shape[1]
        count = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
        if block.shape != (count, self.shape[1]):
            raise ValueError(f"values of shape {block.shape} for {count} rows of {self.shape[1]}")
        if isinstance(rows, slice):
            self._write(block, rows.start * width)
            return
        for row, value in zip(rows, block, strict=True):
            self._write(value, int(row) * width)

    def _write(self, values: np.ndarray, at: int) -> None:
        left = values.reshape(-1).view(np.uint8)
        try:
            while len(left):
                done = os.pwrite(self._file.fileno(), left.data, at)
                left, at = left[done:], at + done
        except OSError as error:
            error.filename = str(self._folder / "vectors")  # it has no name, but the disk has to be told
            raise

    def __getitem__(self, rows: slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """A copy of these rows (m, size); of a slice only start and stop are looked at."""
        width = 4 * self.shape[1]
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            found = np.empty((max(0, stop - start), self.shape[1]), np.float32)
            _read_all(self._file.fileno(), found, start * width)
            return found
        found = np.empty((len(rows), self.shape[1]), np.float32)
        for place, row in zip(found, rows, strict=True):
            _read_all(self._file.fileno(), place, int(row) * width)
        return found


def _read_all(file: int, place: np.ndarray, at: int) -> None:
    left = place.reshape(-1).view(np.uint8)
    while len(left):
        done = os.preadv(file, [left.data], at)
        if not done:
            raise IndexError("rows that were never written")
        left, at = left[done:], at + done
