"""Manifest to shards of JPEG-encoded frames: every video is decoded once, front to back, whatever is cut from it."""

import dataclasses
import itertools
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from slt import images, media, video
from slt.config.data import FramesConfig
from slt.errors import DataError, StoreError
from slt.manifest import SPLITS, Clip, read_manifest
from slt.paths import resolve
from slt.run_log import executed
from slt.stage import progress
from slt.store import (
    canonical,
    file_sha256,
    fingerprint,
    iter_rows,
    publish,
    read_json,
    replacing,
    work_folder,
    write_json,
)
from slt.workers import in_parallel, worker_count

log = logging.getLogger("slt.frames")

INDEX = "frames.json"
REPORT = "report.json"  # of the corpus, beside its manifest
NAMED = 3  # clips that a message names
SHORTER = 0.1  # of the annotated length: annotators' times and cuts at keyframes differ by less
SCHEMA = pa.schema([("id", pa.string()), ("n", pa.int32()), ("frames", pa.list_(pa.binary()))])
GROUP_BYTES = 32 * 2**20  # what a worker holds before it writes; also the unit in which a shard is read back
LARGEST_GROUP = 2**31 - 1  # bytes: Arrow counts those of a list of binaries in 32 bits


@dataclass(frozen=True)
class ShardTask:
    """One shard to make: which clips, how, and where."""

    path: Path
    clips: tuple[Clip, ...]
    config: FramesConfig
    provenance: dict[str, Any]


@dataclass(frozen=True)
class ShardRecord:
    """What a finished shard holds; ``dropped`` and ``other_length`` name clips as (split, id, reason)."""

    file: str
    sha256: str
    bytes: int
    clips: int
    frames: int
    splits: dict[str, int]
    dropped: tuple[tuple[str, str, str], ...]
    other_length: tuple[tuple[str, str, str], ...]


def make_frames(config: FramesConfig, manifest: Path, out: Path, max_dropped: dict[str, int]) -> dict[str, Any]:
    """Decode all clips of a manifest into ``out/frames-*.parquet`` and return the index, ``out/frames.json``.

    A shard has one row per clip: id, n, frames (n JPEG images of size × size pixels), in manifest order. Complete
    shards of an interrupted run are taken up. Clips that do not decode are counted and named in the index; clips
    that bring features instead of a video are counted as ``precomputed``.

    Raises DataError when more clips of a split are dropped than ``max_dropped`` allows, those included that the data
    report beside the manifest counts as dropped before, or when a clip has neither.
    """
    listed = read_manifest(manifest)
    clips = [clip for clip in listed if clip.video]
    for clip in listed:
        if not clip.video and not clip.features:
            raise DataError(f"{manifest}: clip `{clip.id}` has neither video nor features; correct the corpus adapter")
    provenance = {
        "stage": "frames",
        "params": dataclasses.asdict(config),
        "manifest": file_sha256(manifest),
        "versions": {"av": av.__version__, "opencv": cv2.__version__},
    }
    code = [file_sha256(Path(name)) for name in (__file__, images.__file__, media.__file__, video.__file__)]
    work = work_folder("frames", fingerprint(provenance, code))
    cuts = range(0, len(clips), config.clips_per_shard)
    tasks = [
        ShardTask(work / f"frames-{i:05d}.parquet", tuple(clips[at : at + config.clips_per_shard]), config, provenance)
        for i, at in enumerate(cuts)
    ]
    records = list(progress(_run(tasks), "frames", len(tasks), "shard"))
    index = {**_index(records, provenance), "precomputed": len(listed) - len(clips)}
    if count := index["other_length"]["clips"]:
        log.warning(
            "%s: %d clips have another length than annotated: %s; check that their files are whole and the annotation "
            "is theirs (%s counts them)",
            manifest,
            count,
            _name(index["other_length"]["first"], count),
            INDEX,
        )
    before = _dropped_before(manifest.with_name(REPORT))
    for split in SPLITS:
        dropped = [clip for clip in index["dropped"] if clip["split"] == split]
        if dropped and before[split] + len(dropped) > max_dropped[split]:
            also = f" and the corpus stage dropped {before[split]}" if before[split] else ""
            raise DataError(
                f"{len(dropped)} {split} clips do not decode{also}, more than corpus.max_dropped.{split} = "
                f"{max_dropped[split]}: {_name(dropped, len(dropped))}; replace the files, or raise that number"
            )
    write_json(work / INDEX, index)
    for leftover in work.glob(".*.tmp"):  # of a worker that was killed while it wrote
        leftover.unlink()
    publish(work, out)
    log.info("%d clips, %d frames in %d shards", index["clips"], index["frames"], len(records))
    return index


def _dropped_before(report: Path) -> dict[str, int]:
    """Clips of each split that the corpus stage dropped; none where a manifest comes without a data report."""
    splits = read_json(report)["splits"] if report.exists() else {}
    return {split: splits[split]["dropped"] if splits else 0 for split in SPLITS}


def _name(clips: list[dict[str, str]], count: int) -> str:
    """The first of ``count`` clips with their reasons."""
    named = "; ".join(f"`{clip['id']}`: {clip['reason']}" for clip in clips[:NAMED])
    return named + (" …" if count > NAMED else "")


def _run(tasks: list[ShardTask]) -> Iterator[ShardRecord]:
    """Records of all shards."""
    count = min(worker_count(), len(tasks))
    return map(make_shard, tasks) if count <= 1 else in_parallel(make_shard, tasks, count)


def make_shard(task: ShardTask) -> ShardRecord:
    """Write one shard, or take up the complete one of an earlier run, and return its record."""
    cv2.setNumThreads(1)  # one core a worker
    if task.path.exists():
        record = _taken_up(task.path)
        if record is not None:
            return record
    dropped: list[tuple[str, str, str]] = []
    other_length: list[tuple[str, str, str]] = []
    counts: Counter[str] = Counter()
    with _ShardWriter(task.path, task.provenance) as shard:
        for clip, encoded in encoded_clips(task.clips, task.config):
            encoded = _storable(encoded)
            if isinstance(encoded, DataError):
                dropped.append((clip.split, clip.id, str(encoded)))
                continue
            if reason := _other_length(clip, len(encoded), task.config.stride):
                other_length.append((clip.split, clip.id, reason))
            counts[clip.split] += 1
            shard.add(clip.id, encoded)
        shard.record.update(splits=dict(counts), dropped=dropped, other_length=other_length)
    executed(task.path.parent, "shard", task.path.name)
    return _record(task.path, shard.record)


def _storable(encoded: list[bytes] | DataError) -> list[bytes] | DataError:
    if isinstance(encoded, DataError) or (size := sum(map(len, encoded))) <= LARGEST_GROUP:
        return encoded
    return DataError(
        f"its {len(encoded)} frames take {size} bytes as JPEG, and a clip may have {LARGEST_GROUP}; cut it into"
        " sentences, or raise frames.stride"
    )


def _other_length(clip: Clip, kept: int, stride: int) -> str | None:
    """How a clip that is a whole file differs from its annotation: in frames, or shorter by a tenth of its seconds."""
    if clip.start is not None or clip.end is not None:
        return None
    if clip.frames is not None and -(-clip.frames // stride) != kept:
        return f"{kept} frames kept, {clip.frames} annotated, stride {stride}"
    if clip.seconds is None or not (rate := media.read_header(resolve(clip.video)).rate):
        return None
    if kept >= (1 - SHORTER) * clip.seconds * rate / stride - 1:
        return None
    return f"{kept} frames kept, {clip.seconds:.2f} s annotated, {rate:g} frames/s, stride {stride}"


def encoded_clips(clips: Sequence[Clip], config: FramesConfig) -> Iterator[tuple[Clip, list[bytes] | DataError]]:
    """Clips with their JPEG frames, in the order given, or with the error that says why a clip has none.

    A video of which several clips are cut is decoded once for all of them, when the first of them comes; the others
    wait in memory. So a video whose clips cross a shard's boundary is decoded once for each of the two shards, from
    the first keyframe that each needs.
    """
    cut: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if clip.start is not None or clip.end is not None:
            cut[clip.video].append(clip)
    waiting: dict[str, list[bytes]] = {}
    for clip in clips:
        neighbours = cut.pop(clip.video, [])
        if len(neighbours) > 1:
            waiting |= _decoded_together(neighbours, config)
        if clip.id in waiting:
            yield clip, waiting.pop(clip.id)
            continue
        try:
            yield clip, list(encoded_frames(resolve(clip.video), config, clip.start, clip.end))
        except DataError as error:
            yield clip, error


def _decoded_together(clips: list[Clip], config: FramesConfig) -> dict[str, list[bytes]]:
    """JPEG frames by id of the clips of one video that have any; nothing at all where the video is damaged.

    What is missing is left to be decoded clip by clip, so that damage drops the clips that it touches and no others.
    """
    path, windows = resolve(clips[0].video), [(clip.start, clip.end) for clip in clips]
    encoded: dict[str, list[bytes]] = defaultdict(list)
    latest: tuple[np.ndarray, bytes] | None = None  # clips that overlap share a frame, so encode it once
    try:
        for i, frame in video.read_clips(
            path, windows, size=config.size, fit=config.fit, stride=config.stride, bgr=True
        ):
            if latest is None or latest[0] is not frame:
                latest = frame, _encode(frame, config.quality)
            encoded[clips[i].id].append(latest[1])
    except DataError as error:
        log.warning("%s; its %d clips are decoded one by one", error, len(clips))
        return {}
    return encoded


def encoded_frames(
    video_file: Path, config: FramesConfig, start: float | None = None, end: float | None = None
) -> Iterator[bytes]:
    """The JPEG frames of a video as shards store them; DataError names a file that does not decode."""
    frames = video.read_frames(
        video_file, size=config.size, fit=config.fit, start=start, end=end, stride=config.stride, bgr=True
    )
    for frame in frames:
        yield _encode(frame, config.quality)


def _encode(frame: np.ndarray, quality: int) -> bytes:
    return cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


class _ShardWriter:
    """Writes a shard row group by row group, so that a long clip or a large shard does not set the memory.

    The final name appears only when the block succeeds; ``record`` becomes part of the file's metadata.
    """

    def __init__(self, path: Path, provenance: dict[str, Any]) -> None:
        self.path, self.provenance = path, provenance
        self.record: dict[str, Any] = {"clips": 0, "frames": 0}

    def __enter__(self) -> "_ShardWriter":
        self._ids: list[str] = []
        self._frames: list[list[bytes]] = []
        self._bytes = 0
        self._replacing = replacing(self.path)
        self._writer = pq.ParquetWriter(
            self._replacing.__enter__(),
            SCHEMA.with_metadata({"slt": canonical(self.provenance)}),
            compression="none",
            write_page_checksum=True,
            use_dictionary=False,
        )
        return self

    def add(self, name: str, encoded: list[bytes]) -> None:
        size = sum(map(len, encoded))
        if self._bytes + size > LARGEST_GROUP:
            self._flush()
        self._ids.append(name)
        self._frames.append(encoded)
        self._bytes += size
        self.record["clips"] += 1
        self.record["frames"] += len(encoded)
        if self._bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._ids:
            counts = pa.array([len(encoded) for encoded in self._frames], self._writer.schema.field("n").type)
            ends = pa.array(np.cumsum([0, *map(len, self._frames)]), pa.int32())
            every = pa.array(list(itertools.chain.from_iterable(self._frames)), pa.binary())
            columns = [pa.array(self._ids), counts, pa.ListArray.from_arrays(ends, every)]
            self._writer.write_table(pa.Table.from_arrays(columns, schema=self._writer.schema))
        self._ids, self._frames, self._bytes = [], [], 0

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._flush()
            self._writer.add_key_value_metadata({"record": canonical(self.record)})  # known only now
        self._writer.close()
        self._replacing.__exit__(*error)


def _record(path: Path, stored: dict[str, Any]) -> ShardRecord:
    clips = {key: tuple(map(tuple, stored[key])) for key in ("dropped", "other_length")}
    return ShardRecord(
        file=path.name,
        sha256=file_sha256(path),
        bytes=path.stat().st_size,
        clips=stored["clips"],
        frames=stored["frames"],
        splits=stored["splits"],
        **clips,
    )


def _taken_up(path: Path) -> ShardRecord | None:
    """The record of a complete shard found in the work folder; None when it must be made again.

    It is read through once, checksums verified. A shard with dropped clips is made again: the work folder's key
    knows the manifest, not the media, which may have been repaired since.
    """
    try:
        rows = sum(1 for _ in iter_rows(path))
        stored = json.loads((pq.read_metadata(path).metadata or {})[b"record"])
        if stored["dropped"] or rows != stored["clips"]:
            return None
    except (StoreError, KeyError, ValueError) as error:
        log.warning("%s: made again (%s)", path.name, error)
        return None
    return _record(path, stored)


def _index(records: Iterable[ShardRecord], provenance: dict[str, Any]) -> dict[str, Any]:
    records = list(records)
    named = ("split", "id", "reason")
    dropped = [dict(zip(named, clip, strict=True)) for record in records for clip in record.dropped]
    other = [dict(zip(named, clip, strict=True)) for record in records for clip in record.other_length]
    splits: Counter[str] = Counter()
    for record in records:
        splits.update(record.splits)
    return {
        **provenance,
        "clips": sum(record.clips for record in records),
        "frames": sum(record.frames for record in records),
        "clips_per_split": {split: splits[split] for split in SPLITS},
        "dropped": dropped,
        "other_length": {"clips": len(other), "first": other[:20]},
        "shards": [
            {key: getattr(record, key) for key in ("file", "sha256", "bytes", "clips", "frames")} for record in records
        ],
    }
