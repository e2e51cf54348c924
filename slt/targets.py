"""Targets: the teacher's embedding of each clip's text, stored raw beside the space that models learn them in."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from slt import teacher as teacher_module
from slt.config.data import TeacherConfig
from slt.errors import DataError, StoreError
from slt.manifest import Clip, read_manifest
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
"""rows in a row group, which is what is in memory beside the vectors when the table is written or read"""
log = logging.getLogger("slt.targets")


def make_targets(config: TeacherConfig, where: str, corpus: Path, out: Path) -> None:
    """Embed the text of every clip of ``corpus/manifest.parquet`` and publish it, with its SEM space, to ``out``.

    The space is fitted on train clips, one row per clip, since that is what the SEM loss averages over.
    """
    clips = read_manifest(corpus / "manifest.parquet")
    empty = [clip.id for clip in clips if not clip.text.strip()]
    if empty:
        raise DataError(
            f"{corpus / 'manifest.parquet'}: {len(empty)} clips have no text, e.g. `{empty[0]}`; "
            "the corpus adapter must drop them"
        )
    teacher = Teacher.load(config, where)
    code = [file_sha256(Path(name)) for name in (__file__, str(teacher_module.__file__))]
    key = fingerprint(asdict(config), teacher.provenance(), code, [(clip.id, clip.split, clip.text) for clip in clips])
    work = work_folder("targets", key)
    path = work / "targets.parquet"
    if not _finished(path, [clip.id for clip in clips]):
        _write(path, clips, teacher)
        executed(work, "table", path.name)
    train = _read_rows(path, np.array([clip.split == "train" for clip in clips]), teacher.size)
    space = SemSpace.fit(train, config.normalize, config.center)
    write_json(work / "sem_space.json", space.to_json())
    write_json(
        work / "targets.json",
        {
            **teacher.provenance(),
            "normalize": config.normalize,
            "center": config.center,
            "clips": len(clips),
            "unique_sentences": len({clip.text for clip in clips}),
            "truncated": read_metadata(path)["truncated"],
            # rounded: the last bits differ between processors, and this file is compared between machines
            "mean_cosine_raw": round(mean_pairwise_cosine(train), 4),
            "mean_cosine_space": round(mean_pairwise_cosine(train, space), 4),
        },
    )
    publish(work, out)


def _write(path: Path, clips: list[Clip], teacher: Teacher) -> None:
    """Embed each different text once and write a row per clip: no vector is held twice but for a row group's."""
    texts = sorted({clip.text for clip in clips})
    vectors = teacher.encode(texts, "embedding targets")
    row = {text: i for i, text in enumerate(texts)}
    schema = pa.schema([("id", pa.string()), ("sem", pa.binary(4 * teacher.size))])
    with writing(path, schema, {**teacher.provenance(), "truncated": teacher.truncated}) as table:
        for start in range(0, len(clips), CLIPS_PER_GROUP):
            part = clips[start : start + CLIPS_PER_GROUP]
            sems = pack_vectors(vectors[[row[clip.text] for clip in part]])
            table.write_table(pa.table([[clip.id for clip in part], sems], schema=schema))


def _finished(path: Path, ids: list[str]) -> bool:
    """Whether an interrupted run left the table of these clips whole, checksums verified."""
    if not path.is_file():
        return False
    at = 0
    try:
        for table in iter_tables(path):
            if table.column("id").to_pylist() != ids[at : at + table.num_rows]:
                return False
            at += table.num_rows
    except StoreError as error:
        log.warning("%s; making it again", error)
        return False
    return at == len(ids)


def _read_rows(path: Path, wanted: np.ndarray, size: int) -> np.ndarray:
    """Vectors (n, size) of the rows that ``wanted`` marks."""
    vectors = np.empty((int(wanted.sum()), size), dtype=np.float32)
    row = at = 0
    for table in iter_tables(path, ["sem"]):
        found = unpack_vectors(table.column("sem"), size)[wanted[at : at + table.num_rows]]
        vectors[row : row + len(found)] = found
        row, at = row + len(found), at + table.num_rows
    return vectors


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
        vectors = _read_rows(path, np.ones(len(ids), dtype=bool), space.size)
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
