"""Targets: the teacher's embedding of each clip's text, stored raw beside the space that models learn them in."""

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slt import teacher as teacher_module
from slt.arrays import DiskMatrix
from slt.config.data import TeacherConfig
from slt.errors import DataError, StoreError
from slt.manifest import read_texts
from slt.run_log import executed
from slt.sem_space import SemSpace, mean_pairwise_cosine
from slt.store import (
    file_sha256,
    fingerprint,
    iter_tables,
    publish,
    read_columns,
    read_json,
    read_metadata,
    work_folder,
    write_json,
    writing,
)
from slt.teacher import Teacher, pack_vectors, unpack_vectors

CLIPS_PER_GROUP = 10_000
"""rows in a row group, which is what is in memory of the vectors when the table is written or read"""
log = logging.getLogger("slt.targets")


def make_targets(config: TeacherConfig, where: str, corpus: Path, out: Path) -> None:
    """Embed the text of every clip of ``corpus/manifest.parquet`` and publish it, with its SEM space, to ``out``.

    The space is fitted on train clips, one row per clip, since that is what the SEM loss averages over.
    In memory are texts and ids, a few hundred bytes a clip; vectors are in files.
    """
    clips = read_texts(corpus / "manifest.parquet")
    _check_texts(clips, corpus / "manifest.parquet")
    teacher = Teacher.load(config, where)
    code = [file_sha256(Path(name)) for name in (__file__, str(teacher_module.__file__))]
    said = [fingerprint(part.to_pylist()) for part in clips.to_batches(max_chunksize=CLIPS_PER_GROUP)]
    ids, is_train = clips["id"], pc.equal(clips["split"], "train").to_numpy()
    texts, rows = _distinct(clips["text"])
    del clips
    pa.default_memory_pool().release_unused()  # sorting took four times what the texts take
    work = work_folder("targets", fingerprint(asdict(config), teacher.provenance(), code, said))
    path = work / "targets.parquet"
    if not _finished(path, ids):
        _write(path, ids, texts, rows, teacher)
        executed(work, "table", path.name)
    with closing(DiskMatrix(int(is_train.sum()), teacher.size, work)) as train:
        _read_rows(path, is_train, train)
        space = SemSpace.fit(train, config.normalize, config.center)
        # rounded: the last bits differ between processors, and the file that they go to is compared between machines
        cosines = {
            "mean_cosine_raw": round(mean_pairwise_cosine(train), 4),
            "mean_cosine_space": round(mean_pairwise_cosine(train, space), 4),
        }
    write_json(work / "sem_space.json", space.to_json())
    write_json(
        work / "targets.json",
        {
            **teacher.provenance(),
            "normalize": config.normalize,
            "center": config.center,
            "clips": len(ids),
            "unique_sentences": len(texts),
            "truncated": read_metadata(path)["truncated"],
            **cosines,
        },
    )
    publish(work, out)


def _check_texts(clips: pa.Table, manifest: Path) -> None:
    empty = list[str]()
    for part in clips.to_batches(max_chunksize=CLIPS_PER_GROUP):
        blank = pc.equal(pc.utf8_trim_whitespace(pc.fill_null(part["text"], "")), "")
        empty += part["id"].filter(blank).to_pylist()
    if empty:
        raise DataError(
            f"{manifest}: {len(empty)} clips have no text, e.g. `{empty[0]}`; the corpus adapter must drop them"
        )


class _Texts(Sequence[str]):
    """Strings that stay in Arrow's memory, a third of what Python's take."""

    def __init__(self, array: pa.Array) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._array[index].to_pylist() if isinstance(index, slice) else self._array[index].as_py()


def _distinct(texts: pa.ChunkedArray) -> tuple[_Texts, np.ndarray]:
    """The different texts in alphabetical order, and which of them (n,) each text is."""
    encoded = texts.dictionary_encode()
    found = encoded.chunk(encoded.num_chunks - 1).dictionary  # the chunks share it, each as far as it had grown
    order = pc.sort_indices(found)  # by UTF-8's bytes, which is by code points, as Python sorts
    row = np.empty(len(order), np.int32)
    row[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
    rows = np.concatenate([row[chunk.indices.to_numpy()] for chunk in encoded.chunks])
    return _Texts(found.take(order)), rows


def _write(path: Path, ids: pa.ChunkedArray, texts: _Texts, rows: np.ndarray, teacher: Teacher) -> None:
    """Embed each different text once and write a row per clip."""
    schema = pa.schema([("id", pa.string()), ("sem", pa.binary(4 * teacher.size))])
    with closing(DiskMatrix(len(texts), teacher.size, path.parent)) as vectors:
        teacher.embed(texts, vectors, "embedding targets")
        with writing(path, schema, {**teacher.provenance(), "truncated": teacher.truncated}) as table:
            for start in range(0, len(ids), CLIPS_PER_GROUP):
                sems = pack_vectors(vectors[rows[start : start + CLIPS_PER_GROUP]])
                table.write_table(pa.table([ids.slice(start, CLIPS_PER_GROUP), sems], schema=schema))


def _finished(path: Path, ids: pa.ChunkedArray) -> bool:
    """Whether an interrupted run left the table of these clips whole, checksums verified."""
    if not path.is_file():
        return False
    at = 0
    try:
        for table in iter_tables(path):
            if not table.column("id").equals(ids.slice(at, table.num_rows)):
                return False
            at += table.num_rows
    except StoreError as error:
        log.warning("%s; making it again", error)
        return False
    return at == len(ids)


def _read_rows(path: Path, wanted: np.ndarray, vectors: np.ndarray | DiskMatrix) -> None:
    """Put into ``vectors`` those of the rows that ``wanted`` marks."""
    row = at = 0
    for table in iter_tables(path, ["sem"]):
        found = unpack_vectors(table.column("sem"), vectors.shape[1])[wanted[at : at + table.num_rows]]
        vectors[row : row + len(found)] = found
        row, at = row + len(found), at + table.num_rows


@dataclass(frozen=True)
class Targets:
    """The stored targets of one (dataset, teacher) pair."""

    ids: tuple[str, ...]
    vectors: np.ndarray
    """(n, size) float32, raw, in the order of ``ids``"""
    space: SemSpace
    provenance: dict[str, Any]
    """model, sha256, size, prompt, truncated, mean cosines"""
    rows: dict[str, int]
    where: Path

    @classmethod
    def open(cls, folder: Path) -> "Targets":
        """Read what the stage ``targets`` published; DataError or StoreError when it is missing or corrupt."""
        provenance = read_json(folder / "targets.json")
        path = folder / "targets.parquet"
        columns = read_columns(path)
        try:
            space = SemSpace.from_json(read_json(folder / "sem_space.json"))
            if not isinstance(provenance["size"], int):
                raise TypeError("a size that is no number")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise StoreError(
                f"{folder}: sem_space.json or targets.json is damaged ({error!r}); delete them and run `dvc repro`"
            ) from error
        if space.size != provenance["size"]:
            raise DataError(
                f"{folder}: a SEM space of {space.size} beside vectors of {provenance['size']} (sem_space.json, "
                "targets.json); run `dvc repro`"
            )
        if columns != ["id", "sem"]:  # page checksums do not cover names
            raise StoreError(f"{path}: columns {columns}; delete it, run `dvc repro`")
        ids = tuple(name for table in iter_tables(path, ["id"]) for name in table.column("id").to_pylist())
        vectors = np.empty((len(ids), space.size), np.float32)
        _read_rows(path, np.ones(len(ids), dtype=bool), vectors)
        return cls(ids, vectors, space, provenance, {name: row for row, name in enumerate(ids)}, folder)

    @property
    def size(self) -> int:
        return self.space.size

    def raw(self, ids: list[str]) -> np.ndarray:
        """Vectors (n, size) as the teacher gave them; DataError names an id that has none."""
        missing = [name for name in ids if name not in self.rows]
        if missing:
            raise DataError(
                f"{self.where}: no target for {len(missing)} of {len(ids)} clips, e.g. `{missing[0]}`; "
                "the manifest is newer than the targets: run `dvc repro`"
            )
        return self.vectors[[self.rows[name] for name in ids]]

    def matrix(self, ids: list[str]) -> np.ndarray:
        """Vectors (n, size) float32 in the model space; DataError names an id that has none."""
        return self.space.apply(self.raw(ids))

    def get(self, name: str) -> np.ndarray:
        """The vector (size,) of one clip in the model space."""
        return np.asarray(self.matrix([name])[0])
