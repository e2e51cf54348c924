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
from slt.manifest import read_manifest
from slt.run_log import executed
from slt.sem_space import SemSpace, mean_pairwise_cosine
from slt.store import (
    file_sha256,
    fingerprint,
    publish,
    read_json,
    read_metadata,
    read_table,
    work_folder,
    write_json,
    write_table,
)
from slt.teacher import Teacher, pack_vectors, unpack_vectors

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
    path, ids = work / "targets.parquet", [clip.id for clip in clips]
    if not _finished(path, ids):
        vectors = teacher.encode([clip.text for clip in clips], "embedding targets")
        table = pa.table({"id": ids, "sem": pack_vectors(vectors)})
        write_table(path, table, {**teacher.provenance(), "truncated": teacher.truncated})
        executed(work, "table", path.name)
    raw = unpack_vectors(read_table(path).column("sem"), teacher.size)
    train = raw[[i for i, clip in enumerate(clips) if clip.split == "train"]]
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
            "mean_cosine_space": round(mean_pairwise_cosine(space.apply(train)), 4),
        },
    )
    publish(work, out)


def _finished(path: Path, ids: list[str]) -> bool:
    """Whether an interrupted run left the table of these clips whole, checksums verified."""
    try:
        return path.is_file() and read_table(path).column("id").to_pylist() == ids
    except StoreError as error:
        log.warning("%s; making it again", error)
        return False


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
        table = read_table(folder / "targets.parquet")
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
        if table.column_names != ["id", "sem"]:  # page checksums do not cover names
            raise StoreError(f"{folder / 'targets.parquet'}: columns {table.column_names}; delete it, run `dvc repro`")
        ids = tuple(table.column("id").to_pylist())
        vectors = unpack_vectors(table.column("sem"), space.size)
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
