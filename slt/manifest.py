"""The manifest: one row per clip, the only thing later stages know about a corpus."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from slt.errors import DataError, StoreError
from slt.store import read_metadata, read_table, write_table

SPLITS = ("train", "dev", "test")

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),
        ("language", pa.string()),
        ("sign_language", pa.string()),
        ("video", pa.string()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("text", pa.string()),
        ("references", pa.list_(pa.string())),
        ("gloss", pa.string()),
        ("signer", pa.string()),
        ("frames", pa.int32()),
        ("fingerprint", pa.string()),
        ("features", pa.string()),
        ("seconds", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Clip:
    """One signed sentence.

    ``video`` is a path as :func:`slt.paths.resolve` reads it; ``start`` and ``end`` are seconds in it, or None
    for the whole file. ``references`` holds further correct translations of held-out clips, ``gloss`` the
    space-separated glosses, ``frames`` the annotated number of frames, where a corpus has them.
    ``fingerprint`` identifies the media file's content (``sha256:…``, or ``stat:<bytes>:<mtime>``; of two files both,
    separated by a blank). ``features`` is the path of precomputed features, a ``.npy`` of (frames, dimensions), where
    the corpus brings its own; ``video`` may then be empty. ``seconds`` is how long the annotation says that a clip is
    that comes in a file of its own.
    """

    id: str
    split: str
    language: str
    sign_language: str
    video: str
    text: str
    start: float | None = None
    end: float | None = None
    references: tuple[str, ...] = ()
    gloss: str | None = None
    signer: str | None = None
    frames: int | None = None
    fingerprint: str | None = None
    features: str | None = None
    seconds: float | None = None


def write_manifest(path: Path, clips: list[Clip], features: dict[str, Any] | None = None) -> None:
    """Write clips, sorted by split (train, dev, test) and id, as one checksummed Parquet file.

    ``features`` says what is known of the features that the clips bring, at least ``gloss_free``.
    """
    ordered = sorted(clips, key=lambda clip: (SPLITS.index(clip.split), clip.id))
    table = pa.Table.from_pylist([dataclasses.asdict(clip) for clip in ordered], schema=SCHEMA)
    write_table(path, table, {"features": features} if features else None)


def read_features_source(path: Path) -> dict[str, Any]:
    """What :func:`write_manifest` was told of the clips' own features; empty where nothing was said."""
    return read_metadata(path).get("features", {})


def read_manifest(path: Path, split: str | None = None) -> list[Clip]:
    """Clips of ``manifest.parquet``, all or those of one split.

    Raises DataError when the manifest (or the split) holds no clip, StoreError when it is damaged.
    """
    batches = read_table(path).to_batches(max_chunksize=1000)  # rows as dictionaries take more than the clips
    try:
        rows = (row for batch in batches for row in batch.to_pylist())
        clips = [Clip(**{**row, "references": tuple(row["references"] or ())}) for row in rows]
    except (KeyError, TypeError) as error:  # page checksums do not cover the columns' names
        raise StoreError(f"{path}: not the columns of a manifest ({error}); delete it and run `dvc repro`") from error
    if split is not None:
        clips = [clip for clip in clips if clip.split == split]
    if not clips:
        what = f"no {split} clip" if split else "no clip"
        raise DataError(f"{path}: {what} in the manifest; look at report.json beside it for what was dropped")
    return clips


def read_texts(path: Path) -> pa.Table:
    """``id``, ``split`` and ``text`` of all clips of ``manifest.parquet``: a tenth of the memory that the clips take.

    Raises DataError when the manifest holds no clip, StoreError when it is damaged.
    """
    columns = ["id", "split", "text"]
    table = read_table(path, columns)
    if table.column_names != columns:
        raise StoreError(f"{path}: not the columns of a manifest; delete it and run `dvc repro`")
    if not len(table):
        raise DataError(f"{path}: no clip in the manifest; look at report.json beside it for what was dropped")
    return table
