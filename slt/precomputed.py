"""Features that a corpus brings: ``.npy`` files to the same shards, index and provenance as a backbone's."""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from slt.arrays import read_npy
from slt.config.data import PRECOMPUTED, FeaturesConfig
from slt.errors import ConfigError, DataError
from slt.feature_set import INDEX, SCHEMA
from slt.manifest import Clip, read_features_source, read_manifest
from slt.paths import resolve
from slt.stage import progress
from slt.store import discard, file_sha256, fingerprint, publish, work_folder, write_json, write_table

log = logging.getLogger("slt.precomputed")

SHARD_BYTES = 256 * 2**20  # a few large files, each well below what memory holds


def make_precomputed(config: FeaturesConfig, manifest: Path, out: Path) -> dict[str, Any]:
    """Shards of the features that the manifest's clips bring, in the layout of :func:`slt.features.make_features`.

    ``weights_sha256`` in the provenance is the hash of all features, ``source`` what the corpus adapter knows of them.
    Returns the index, ``out/features.json``. Raises ConfigError when the section calls features gloss-free that are
    not, DataError naming clip and file for features that are missing or do not fit.
    """
    source = read_features_source(manifest)
    if config.gloss_free and source.get("gloss_free") is False:
        raise ConfigError(
            "features.gloss_free is true, but the training of these features saw gloss (so the corpus adapter says): "
            "set it to false; every table row will say so"
        )
    clips = read_manifest(manifest)
    key = fingerprint("precomputed", file_sha256(manifest), config.weights, config.gloss_free)
    discard(work_folder("features", key))  # shards of a run that was interrupted may be cut elsewhere
    work = work_folder("features", key)
    hashes: list[tuple[str, str]] = []
    records: list[dict[str, Any]] = []
    dim = 0
    for number, rows in enumerate(_shards(clips)):
        path = work / f"features-{number:05d}.parquet"
        write_table(path, pa.Table.from_pylist(rows, schema=SCHEMA))
        hashes += [(row["id"], hashlib.sha256(row["data"]).hexdigest()) for row in rows]
        dim = rows[0]["width"]
        frames = sum(row["length"] for row in rows)
        records.append({"file": path.name, "sha256": file_sha256(path), "clips": len(rows), "frames": frames})
    index = {
        "stage": "features",
        "backbone": {
            "backbone": PRECOMPUTED,
            "weights": config.weights,
            "weights_sha256": fingerprint(hashes),
            "gloss_free": config.gloss_free,
            "dim": dim,
            "source": source,
        },
        "dim": dim,
        "clips": len(clips),
        "frames": sum(record["frames"] for record in records),
        "shards": records,
    }
    write_json(work / INDEX, index)
    publish(work, out)
    log.info("%d clips, %d frames, %d features each", index["clips"], index["frames"], dim)
    return index


def read_features(path: Path, clip: str, dim: int | None = None) -> np.ndarray:
    """Features (T, F), little-endian float16, of a ``.npy`` file; ``clip`` is named in errors.

    Raises DataError when the file is missing or no array, is not a float array of two dimensions, at least one frame
    and (where ``dim`` is given) ``dim`` features, or holds what is no number or beyond float16.
    """
    if not path.is_file():
        raise DataError(f"clip `{clip}`: {path}: no such file of features; run the corpus stage again")
    try:
        array = read_npy(path)
    except DataError as error:
        raise DataError(f"clip `{clip}`: {error}") from error
    if array.ndim != 2 or array.dtype.kind != "f" or not array.size:
        what = f"{array.dtype} {array.shape}"
        raise DataError(f"clip `{clip}`: {path}: {what}, expected floats of (frames, features); make it again")
    if dim is not None and array.shape[1] != dim:
        raise DataError(f"clip `{clip}`: {path}: {array.shape[1]} features per frame, expected {dim}; make it again")
    with np.errstate(over="ignore"):  # found below
        half = array.astype("<f2")
    if not np.isfinite(half).all():
        raise DataError(f"clip `{clip}`: {path}: a feature is no number or beyond float16 (65504); scale the features")
    return half


def _shards(clips: list[Clip]) -> Iterator[list[dict[str, Any]]]:
    """Rows of one shard after the other, in manifest order."""
    rows: list[dict[str, Any]] = []
    held, dim = 0, None
    for clip in progress(clips, "features", unit="clip"):
        if not clip.features:
            raise DataError(
                f"clip `{clip.id}` brings no features; set features.backbone to a timm model instead of {PRECOMPUTED}"
            )
        array = read_features(resolve(clip.features), clip.id, dim)
        dim = array.shape[1]
        rows.append({"id": clip.id, "length": len(array), "width": dim, "data": array.tobytes()})
        held += array.nbytes
        if held >= SHARD_BYTES:
            yield rows
            rows, held = [], 0
    if rows:
        yield rows
