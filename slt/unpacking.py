"""Other people's compressed files, unpacked within limits: a few kilobytes can claim to be terabytes."""

import bz2
import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from slt.errors import DataError

MAX_RATIO = 200
"""a file may unpack to this many times its size: text and features reach 20, what gzip packs best 1,032"""
ALWAYS = 64 * 2**20
"""bytes that any file may unpack to, however small it is"""
OPENERS: dict[str, Any] = {".bz2": bz2.open, ".gz": gzip.open}


class Unpacked:
    """The content of a ``.gz`` or ``.bz2`` file (of any other: the file itself), read front to back; a context manager.

    Reading raises DataError, naming file and limit, past :func:`unpacked_limit` or past what :meth:`allow` left, and
    whatever gzip and bz2 raise for damage; an empty file is an EOFError.
    """

    def __init__(self, path: Path, kind: str) -> None:
        """``kind`` is the suffix that says how the file is packed."""
        if not path.stat().st_size:  # to gzip an empty file is packed nothing
            raise EOFError("empty")
        self.path = path
        self._whole = unpacked_limit(path)
        self._stop, self._what = self._whole, ""
        self._read = 0
        self._stream = OPENERS.get(kind, open)(path, "rb")

    def __enter__(self) -> "Unpacked":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream.close()

    def allow(self, size: int, what: str) -> None:
        """Let no more than ``size`` further bytes be read, until this is called again; ``what`` they are of."""
        self._stop, self._what = min(self._whole, self._read + size), f"{what} of more than {size:,} bytes"

    def read(self, size: int = -1) -> bytes:
        room = self._stop - self._read + 1
        return self._counted(self._stream.read(room if size < 0 else min(size, room)))

    def readline(self, size: int = -1) -> bytes:
        room = self._stop - self._read + 1
        return self._counted(self._stream.readline(room if size < 0 else min(size, room)))

    def _counted(self, data: bytes) -> bytes:
        self._read += len(data)
        if self._read > self._stop:
            what = self._what if self._stop < self._whole else claim(self._whole)
            raise DataError(f"{self.path}: {what}: damaged, or made to exhaust memory; get it from its publisher")
        return data


ROWS_AT_ONCE = 64  # few: one repeated value of a bomb is copied into each row of them


def parquet_batches(path: Path, file: pq.ParquetFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file, few at a time; DataError when they unpack to more than :func:`unpacked_limit`.

    What the footer says is looked at before anything is read; then what is read is counted, since a column of equal
    values takes no room in the file, however many they are.
    """
    limit = unpacked_limit(path)
    groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
    size = sum(group.total_byte_size for group in groups)
    if size <= limit:
        size = 0
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(columns)):
            size += batch.nbytes
            if size > limit:
                break
            yield batch
    if size > limit:
        raise DataError(f"{path}: {claim(limit)}: damaged, or made to exhaust memory; get it from its publisher")


def unpacked_limit(path: Path) -> int:
    """Bytes that a packed file may unpack to."""
    return path.stat().st_size * MAX_RATIO + ALWAYS


def claim(limit: int) -> str:
    """How a message says that a file went past a limit, bytes, of :func:`unpacked_limit`."""
    return f"unpacks to more than {limit:,} bytes, the limit ({MAX_RATIO} times its size and {ALWAYS >> 20} MiB)"
