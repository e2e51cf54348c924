"""A corpus' features as one memory-mapped array, whatever their number of shards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from slt.errors import DataError, StoreError
from slt.paths import work_root
from slt.store import file_sha256, iter_rows, read_json, read_table, replacing

INDEX = "features.json"
SCHEMA = pa.schema([("id", pa.string()), ("length", pa.int32()), ("width", pa.int32()), ("data", pa.binary())])


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

    @classmethod
    def open(cls, directory: Path) -> FeatureSet:
        """Open the output of the features stage.

        The first opening unpacks all shards, checksums verified, into one file in the work root, named by the hash of
        the index (which holds the hash of every shard); later ones map that file. Raises DataError when the stage has
        not run and StoreError for a shard that is corrupt or does not hold what the index says.
        """
        index = _read_index(directory / INDEX)
        dim, total = index["dim"], index["frames"]
        if total < 1:
            raise DataError(f"{directory / INDEX}: no frame in it; look at frames.json for what was dropped")
        unpacked = work_root() / "feature_sets" / f"{file_sha256(directory / INDEX)[:24]}.f16"
        unpacked_whole = unpacked.is_file() and unpacked.stat().st_size == total * dim * 2
        lengths: dict[str, int] = {}
        for shard in index["shards"]:
            if not unpacked_whole:
                check_shard(directory / shard["file"], shard["sha256"], INDEX)
            table = read_table(directory / shard["file"], ["id", "length"])
            lengths.update(zip(table["id"].to_pylist(), table["length"].to_pylist(), strict=True))
        if len(lengths) != index["clips"] or sum(lengths.values()) != total:
            raise StoreError(f"{directory}: the shards do not hold what {INDEX} says; run the features stage again")
        if not unpacked_whole:
            _unpack(directory, index, unpacked)
        ends = np.cumsum(list(lengths.values()), dtype=np.int64)
        starts = {name: int(end) - lengths[name] for name, end in zip(lengths, ends, strict=True)}
        data = np.memmap(unpacked, "<f2", "r", shape=(total, dim))
        return cls(directory, dim, tuple(lengths), lengths, index["backbone"], starts, data)

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
