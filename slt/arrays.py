"""Arrays in numpy's own formats, read without pickles, whatever the file claims."""

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
