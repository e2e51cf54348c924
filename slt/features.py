"""Frame shards to feature shards: one forward pass per batch, batches formed across the clips of a shard."""

import functools
import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import timm
import torch

from slt import backbone as backbone_module
from slt import cluster, folding
from slt.backbone import Backbone, Pending, frame_buffer
from slt.config.data import PRECOMPUTED, FeaturesConfig
from slt.errors import ConfigError, StoreError
from slt.feature_set import INDEX, SCHEMA, check_shard
from slt.run_log import executed
from slt.stage import progress
from slt.store import (
    file_sha256,
    fingerprint,
    iter_rows,
    publish,
    read_json,
    read_metadata,
    read_table,
    work_folder,
    write_json,
    write_table,
)

log = logging.getLogger("slt.features")

FRAMES_INDEX = "frames.json"
QUEUED_BATCHES = 4  # decoded ahead of the forward pass: 5 MB each at 224 pixels and batch 32


@dataclass(frozen=True)
class ShardTask:
    """One shard to make: of which frame shard, as the index of the frames names it, and where."""

    frames: Path
    shard: dict[str, Any]
    path: Path
    provenance: dict[str, Any]

    @property
    def counts(self) -> dict[str, int]:
        return {"clips": self.shard["clips"], "frames": self.shard["frames"]}


def make_features(config: FeaturesConfig, size: int, frames: Path, out: Path) -> dict[str, Any]:
    """Features of all frame shards as ``out/features-*.parquet``; returns the index, ``out/features.json``.

    A shard has one row per clip: id, length, width, data (length × width float16, little-endian, C order), the same
    clips as the frame shard of that number. Complete shards of an interrupted run are taken up. Raises StoreError
    for a frame shard that is corrupt or not the one its index names, ConfigError for clips without video.
    """
    source = read_json(frames / FRAMES_INDEX)
    if source.get("precomputed"):
        raise ConfigError(
            f"{source['precomputed']} clips have no video but bring features; set features.backbone to {PRECOMPUTED}"
        )
    model = Backbone.load(config, size, "cpu" if cluster.address() else None)
    device = cluster.device().split(":")[0] if cluster.address() else model.device.type
    provenance = {
        "stage": "features",
        "backbone": model.provenance,
        "frames": file_sha256(frames / FRAMES_INDEX),
        "versions": {"torch": torch.__version__, "timm": timm.__version__, "opencv": cv2.__version__},
        "device": device,
    }
    code = [file_sha256(Path(name)) for name in (__file__, str(backbone_module.__file__), folding.__file__)]
    work = work_folder("features", fingerprint(provenance, code))
    tasks = [
        ShardTask(frames, shard, work / shard["file"].replace("frames", "features"), provenance)
        for shard in source["shards"]
    ]
    records = _on_cluster(tasks, config, size, device) if cluster.address() else _here(tasks, model)
    index = {
        **provenance,
        "dim": model.dim,
        "clips": sum(record["clips"] for record in records),
        "frames": sum(record["frames"] for record in records),
        "shards": records,
    }
    write_json(work / INDEX, index)
    for leftover in work.glob(".*.tmp"):  # of a run that was killed while it wrote
        leftover.unlink()
    publish(work, out)
    log.info("%d clips, %d frames, %d features each", index["clips"], index["frames"], model.dim)
    return index


def _here(tasks: list[ShardTask], model: Backbone) -> list[dict[str, Any]]:
    """Records of all shards."""
    records: list[dict[str, Any]] = []

    def batches() -> Iterator[int]:
        for task in tasks:
            records.append((yield from _make_shard(task, model)))

    batch = model.config.batch
    total = sum(-(-task.shard["frames"] // batch) for task in tasks)
    for _ in progress(batches(), "features", total, f"batch of {batch}"):
        pass
    return records


def _on_cluster(tasks: list[ShardTask], config: FeaturesConfig, size: int, device: str) -> list[dict[str, Any]]:
    """Records of all shards, each made by a node's GPU, or by as many cores of a node as this process has threads."""
    threads = torch.get_num_threads()
    make = functools.partial(make_shard, config=config, size=size, device=device, threads=threads)
    records = cluster.cluster_map(make, tasks, *cluster.computing(threads), stay=True)
    return list(progress(records, "features", len(tasks), "shard"))


def make_shard(task: ShardTask, config: FeaturesConfig, size: int, device: str, threads: int) -> dict[str, Any]:
    """Write one shard, or take up a complete one, and return its record; the last bits depend on ``threads``."""
    torch.set_num_threads(threads)
    made = _make_shard(task, _loaded(config, size, device))
    while True:
        try:
            next(made)
        except StopIteration as end:
            return end.value


@functools.lru_cache(maxsize=1)
def _loaded(config: FeaturesConfig, size: int, device: str) -> Backbone:
    return Backbone.load(config, size, device)


def _make_shard(task: ShardTask, model: Backbone) -> Generator[int, None, dict[str, Any]]:
    """The record of a shard, made unless it lies there; yields after each batch."""
    if not _complete(task.path, task.counts):
        frames = task.frames / task.shard["file"]
        check_shard(frames, task.shard["sha256"], FRAMES_INDEX)
        table = yield from _shard_features(model, frames, task.counts)
        write_table(task.path, table, {**task.provenance, "record": task.counts})
        executed(task.path.parent, "shard", task.path.name)
    return {"file": task.path.name, "sha256": file_sha256(task.path), **task.counts}


def _complete(path: Path, counts: dict[str, int]) -> bool:
    """Whether a feature shard of an earlier run lies there whole, checksums verified."""
    if not path.exists():
        return False
    try:
        return read_metadata(path)["record"] == counts and read_table(path).num_rows == counts["clips"]
    except (StoreError, KeyError, ValueError) as error:
        log.warning("%s: made again (%s)", path.name, error)
        return False


def _shard_features(model: Backbone, path: Path, counts: dict[str, int]) -> Generator[int, None, pa.Table]:
    """The feature table of one frame shard; yields after each batch, which neighbouring clips share."""
    ids: list[str] = []
    lengths: list[int] = []
    features = np.empty((counts["frames"], model.dim), "<f2")
    started = done = 0
    under_way: deque[Pending] = deque()

    def finish() -> int:
        made = model.finish(under_way.popleft())
        features[done : done + len(made)] = made
        return len(made)

    for batch in _ahead(_batches(path, model.config.batch, model.size, ids, lengths)):
        if started + len(batch) > len(features):
            break
        under_way.append(model.start(batch))
        started += len(batch)
        if len(under_way) > 1:  # the one before, which a GPU did while this batch was prepared
            done += finish()
            yield done
    while under_way:
        done += finish()
        yield done
    if (done, len(ids), sum(lengths)) != (counts["frames"], counts["clips"], done):
        raise StoreError(f"{path}: does not hold the clips that {FRAMES_INDEX} names; run the frames stage again")
    ends = np.cumsum(lengths)
    cells = [features[end - n : end].tobytes() for n, end in zip(lengths, ends, strict=True)]
    return pa.table([ids, lengths, [model.dim] * len(ids), cells], schema=SCHEMA)


def _batches(
    path: Path, batch: int, size: int, ids: list[str], lengths: list[int]
) -> Generator[np.ndarray, None, None]:
    """Decoded frames (batch, size, size, 3), RGB, across clip borders, the last batch shorter; fills ids, lengths."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        waiting: list[bytes] = []
        for row in iter_rows(path):
            ids.append(row["id"])
            lengths.append(row["n"])
            waiting.extend(row["frames"])
            while len(waiting) >= batch:
                yield _decode(pool, waiting[:batch], size, path)
                del waiting[:batch]
        if waiting:
            yield _decode(pool, waiting, size, path)


def _decode(pool: ThreadPoolExecutor, encoded: list[bytes], size: int, path: Path) -> np.ndarray:
    frames = frame_buffer((len(encoded), size, size, 3))

    def decode(i: int) -> None:  # OpenCV lets go of the interpreter while it decodes
        frame = cv2.imdecode(np.frombuffer(encoded[i], np.uint8), cv2.IMREAD_COLOR_RGB)
        if frame is None or frame.shape != frames.shape[1:]:
            raise StoreError(f"{path}: a frame is no JPEG of {size} x {size} pixels; run the frames stage again")
        frames[i] = frame

    list(pool.map(decode, range(len(encoded))))
    return frames


def _ahead(items: Generator[np.ndarray, None, None]) -> Iterator[np.ndarray]:
    """The same items, made by a thread that runs ``QUEUED_BATCHES`` ahead; its errors are raised here."""
    made: queue.Queue[Any] = queue.Queue(QUEUED_BATCHES)
    stop = threading.Event()

    def put(item: Any) -> None:
        while not stop.is_set():
            try:
                made.put(item, timeout=0.5)
                return
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
            put(None)
        except BaseException as error:  # handed to the reader, which raises it
            put(error)
        finally:
            items.close()

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
