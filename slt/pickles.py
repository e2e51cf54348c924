"""Other people's pickles, read without running what is in them: plain values and CPU tensors, nothing else."""

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slt.errors import DataError, SltError
from slt.unpacking import Unpacked

ZIP = b"PK"


def read_pickle(path: Path) -> Any:
    """The content of a gzip-compressed pickle, its tensors as numpy arrays.

    A pickle is a program. This reader knows numbers, strings, bytes, lists, tuples, dicts, OrderedDicts and dense
    CPU tensors; a pickle that names any other function or class is refused before that is imported, let alone called.

    Raises DataError naming the function or class, or the file when it is missing, no gzip, damaged or cut short, or
    unpacks to more than :mod:`slt.unpacking` allows.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; put it there, or correct the options of the corpus")
    try:
        with Unpacked(path, ".gz") as file:
            content = _Unpickler(file, path).load()
            if file.read(1):  # gzip compares its checksum at the end of the file, and a pickle ends before
                raise ValueError("something follows the pickle")
            return content
    except SltError:
        raise
    except Exception as error:  # a damaged pickle can raise anything, and each library below its own
        raise DataError(
            f"{path}: not a readable gzip-compressed pickle ({type(error).__name__}: {error}): damaged or cut short; "
            "get the file again"
        ) from error


class _Unpickler(pickle._Unpickler):  # type: ignore[name-defined]  # no one has written types for it
    """Python's own unpickler in Python: the one in C makes a list as long as the largest number in the pickle."""

    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file)
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch.storage", "_load_from_bytes"): _Storage,
            ("torch._utils", "_rebuild_tensor_v2"): _array,
        }
        if (module, name) not in known:
            raise DataError(
                f"{self.path}: refused: this pickle wants `{module}.{name}`, which no feature file needs and which "
                "may run code; do not open it otherwise, and get the file from its publisher"
            )
        return known[module, name]


class _Storage:
    """The bytes of a tensor's storage, left as they are until the tensor that stands on them is built."""

    __slots__ = ("saved",)

    def __init__(self, saved: bytes) -> None:
        if saved[:2] == ZIP:
            raise ValueError("a storage in a zip archive, which no pickle of tensors holds and which may be a bomb")
        self.saved = saved


def _array(storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Any:
    import torch  # here, since the stage that reads a corpus otherwise does without

    flat = torch.load(io.BytesIO(storage.saved), map_location="cpu", weights_only=True)
    values = torch.empty(0, dtype=flat.dtype).set_(flat)
    if math.prod(size) > len(values):
        raise ValueError(f"a tensor of {size} on a storage of {len(values)}")
    return torch.as_strided(values, size, stride, offset).numpy()  # refuses what lies outside of the storage
