"""A corpus' features as one memory-mapped array, whatever their number of shards."""

from __future__ import annotations

import fcntl
import io
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from slt.errors import DataError, StoreError
from slt.paths import work_root
from slt.store import file_sha256, fingerprint, iter_rows, read_json, read_table, replacing, write_json

log = logging.getLogger("slt.feature_set")

INDEX = "features.json"
SCHEMA = pa.schema([("id", pa.string()), ("length", pa.int32()), ("width", pa.int32()), ("data", pa.binary())])


CHUNK = 16 * 2**20
SHARE = 0.5  # of the memory at hand that features may fill; the rest is for what trains on them


@dataclass(frozen=True)
class FeatureSet:
    """Features of all clips of a corpus: ``get(id)`` is (T, dim), float16, read from disk when it is touched."""

    directory: Path
    dim: int
    ids: tuple[str, ...]
    """in shard order, that of the manifest"""
    lengths: dict[str, int]
    """frames per clip"""
    provenance: dict[str, Any]
    """backbone, weights and their hash, gloss_free, dim, mean, std, input_size"""
    _starts: dict[str, int]
    _data: np.ndarray
    _file: io.FileIO
    """what is mapped, locked so that no other process removes it"""

    @classmethod
    def open(cls, directory: Path) -> FeatureSet:
        """Open the output of the features stage.

        The first opening unpacks all shards, checksums verified, into one file in the work root, named by the hash of
        the index (which holds the hash of every shard); later ones map that file. Files of older indices of the same
        folder are removed. Raises DataError when the stage has not run and StoreError for a shard that is corrupt or
        does not hold what the index says.
        """
        index = _read_index(directory / INDEX)
        dim, total = index["dim"], index["frames"]
        if total < 1:
            raise DataError(f"{directory / INDEX}: no frame in it; look at frames.json for what was dropped")
        unpacked = work_root() / "feature_sets" / f"{file_sha256(directory / INDEX)[:24]}.f16"
        file = _held(unpacked, total * dim * 2)
        lengths: dict[str, int] = {}
        for shard in index["shards"]:
            if file is None:
                check_shard(directory / shard["file"], shard["sha256"], INDEX)
            table = read_table(directory / shard["file"], ["id", "length"])
            lengths.update(zip(table["id"].to_pylist(), table["length"].to_pylist(), strict=True))
        if len(lengths) != index["clips"] or sum(lengths.values()) != total:
            raise StoreError(f"{directory}: the shards do not hold what {INDEX} says; run the features stage again")
        while file is None:
            _unpack(directory, index, unpacked)
            file = _held(unpacked, total * dim * 2)
        _forget_older(directory, unpacked)
        ends = np.cumsum(list(lengths.values()), dtype=np.int64)
        starts = {name: int(end) - lengths[name] for name, end in zip(lengths, ends, strict=True)}
        data = np.memmap(file, "<f2", "r", shape=(total, dim))
        return cls(directory, dim, tuple(lengths), lengths, index["backbone"], starts, data, file)

    def read_ahead(self) -> None:
        """Bring all features into the system's page cache, which processes share, when they fit in there.

        For training, which reads them epoch after epoch in random order: in order, a disk or a network file system is
        read at its full speed. What is in there already costs a copy in memory; what does not fit stays on disk.
        """
        size, free = self._data.nbytes, _free_memory()
        if size > SHARE * free:
            log.info("%s: %d MB, left on disk: there are %d MB free", self.directory, size // 10**6, free // 10**6)
            return
        chunk = bytearray(CHUNK)
        self._file.seek(0)
        while self._file.readinto(chunk):
            pass
        log.info("%s: %d MB in memory, with %d MB free before", self.directory, size // 10**6, free // 10**6)

    def get(self, name: str) -> np.ndarray:
        """Features of one clip, (T, dim), float16, read-only; DataError when the set does not hold it."""
        if name not in self.lengths:
            raise DataError(
                f"clip `{name}` has no features in {self.directory}; it was dropped (see frames.json) or the features "
                "are of another corpus: run `dvc repro`"
            )
        start = self._starts[name]
        return self._data[start : start + self.lengths[name]]

    def __contains__(self, name: object) -> bool:
        return name in self.lengths


def _read_index(path: Path) -> dict[str, Any]:
    """The index of a feature set; StoreError when it is not what the features stage writes."""
    index = read_json(path)
    try:
        numbers = (index["dim"], index["frames"], index["clips"])
        shards = [(shard["file"], shard["sha256"]) for shard in index["shards"]]
        whole = isinstance(index["backbone"], dict) and all(isinstance(n, int) for n in numbers)
    except (KeyError, TypeError) as error:
        raise StoreError(
            f"{path}: damaged, or no index of features ({error!r}); run the features stage again"
        ) from error
    if not whole or not all(isinstance(f, str) and Path(f).name == f and isinstance(s, str) for f, s in shards):
        raise StoreError(f"{path}: damaged, or a shard's name leads out of its folder; run the features stage again")
    return index


def check_shard(path: Path, sha256: str, index: str) -> None:
    """Raise StoreError unless a shard is the one that ``index``, beside it, names, DataError when it is missing.

    Page checksums cover a shard's data but not its footer, so its hash is compared wherever all of it is read.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file, but {index} names it; run `dvc repro` or `dvc checkout`")
    if file_sha256(path) != sha256:
        raise StoreError(
            f"{path}: not the shard that {index} names: one of the two is damaged or replaced; delete it and run "
            "`dvc repro`"
        )


def _unpack(directory: Path, index: dict[str, Any], target: Path) -> None:
    with replacing(target) as temporary, temporary.open("wb") as file:
        for shard in index["shards"]:
            for row in iter_rows(directory / shard["file"]):
                file.write(row["data"])
        if file.tell() != index["frames"] * index["dim"] * 2:
            raise StoreError(f"{directory}: the shards do not hold what {INDEX} says; run the features stage again")


def _held(path: Path, size: int) -> io.FileIO | None:
    """The open file, locked against its removal for as long as it is referred to; None when it is not there whole."""
    try:
        file = io.FileIO(path)
    except FileNotFoundError:
        return None
    fcntl.flock(file, fcntl.LOCK_SH)
    found = os.fstat(file.fileno())
    if path.exists() and path.stat().st_ino == found.st_ino and found.st_size == size:
        return file
    file.close()
    return None


def _forget_older(directory: Path, unpacked: Path) -> None:
    """Remove what older indices of a features folder were unpacked to, but for what is still in use.

    A file beside them says for each folder, of any data set or checkout, what it was unpacked to, the latest first:
    what another folder has too is left to that one, and what a process has open until a later index comes.
    """
    folder = directory.absolute()
    register = unpacked.with_name(f"{fingerprint(str(folder))[:24]}.json")
    before: list[str] = read_json(register)["files"] if register.is_file() else []
    if before == [unpacked.name]:
        return
    elsewhere: set[str] = set()
    for other in unpacked.parent.glob("*.json"):
        if other != register and Path((entry := read_json(other))["folder"]).is_dir():
            elsewhere.update(entry["files"])
    older = [name for name in before if name != unpacked.name and name not in elsewhere]
    in_use = [name for name in older if not _removed(unpacked.with_name(name))]
    write_json(register, {"folder": str(folder), "files": [unpacked.name, *in_use]})


def _removed(path: Path) -> bool:
    """Whether the file is gone; it stays while a process holds it."""
    try:
        with path.open("rb+") as file:  # to be written, which a network file system asks of an exclusive lock
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except BlockingIOError:
        return False
    except FileNotFoundError:
        pass
    return True


def _free_memory() -> int:
    """Bytes of memory that files and programs could still take; 0 where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)
