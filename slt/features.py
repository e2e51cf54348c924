"""Frame shards to feature shards: one forward pass per batch, batches formed across the clips of a shard."""

import functools
import itertools
import logging
import queue
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import pyarrow as pa
import timm
import torch

from slt import backbone as backbone_module
from slt import cluster, folding, frame_decoding
from slt.backbone import Backbone, Pending, frame_buffer
from slt.config.data import PRECOMPUTED, FeaturesConfig
from slt.errors import ConfigError, StoreError
from slt.feature_set import INDEX, SCHEMA, check_shard
from slt.frame_decoding import BATCHES, Decoder, Decoding, by_processes, by_threads
from slt.run_log import executed
from slt.stage import progress
from slt.store import (
    file_sha256,
    fingerprint,
    iter_tables,
    publish,
    read_json,
    read_metadata,
    read_table,
    work_folder,
    write_json,
    write_table,
)

log = logging.getLogger("slt.features")
T = TypeVar("T")

FRAMES_INDEX = "frames.json"
STARTED = 2  # batches that a GPU has yet to do when the stage waits for the one before: 28 ms of an H100
QUEUED_BATCHES = BATCHES - STARTED - 3  # of the others one is being read, one handed over, one on the GPU


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
    parts = (backbone_module.__file__, folding.__file__, frame_decoding.__file__)
    code = [file_sha256(Path(name)) for name in (__file__, *map(str, parts))]
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
    batch = model.config.batch
    bar = progress(itertools.count(), "features", sum(_batch_count(task, batch) for task in tasks), f"batch of {batch}")
    with decoder(model) as decode:
        return _make_shards(tasks, model, iter(bar), decode)


def decoder(model: Backbone) -> AbstractContextManager[Decoder]:
    """Decodes frames for the model: on the cores that a GPU leaves alone by processes, else by threads."""
    if model.device.type == "cuda":
        return by_processes(model.size, model.config.batch)
    return by_threads(model.size, frame_buffer)


def _on_cluster(tasks: list[ShardTask], config: FeaturesConfig, size: int, device: str) -> list[dict[str, Any]]:
    """Records of all shards, each made by a node's GPU, or by as many cores of a node as this process has threads."""
    threads = torch.get_num_threads()
    make = functools.partial(make_shard, config=config, size=size, device=device, threads=threads)
    records = cluster.cluster_map(make, tasks, *cluster.computing(threads), stay=True)
    return list(progress(records, "features", len(tasks), "shard"))


def make_shard(task: ShardTask, config: FeaturesConfig, size: int, device: str, threads: int) -> dict[str, Any]:
    """Write one shard, or take up a complete one, and return its record; the last bits depend on ``threads``."""
    torch.set_num_threads(threads)
    with by_threads(size, frame_buffer) as decode:  # processes would be started anew for each shard
        return _make_shards([task], _loaded(config, size, device), itertools.count(), decode)[0]


@functools.lru_cache(maxsize=1)
def _loaded(config: FeaturesConfig, size: int, device: str) -> Backbone:
    return Backbone.load(config, size, device)


def _batch_count(task: ShardTask, batch: int) -> int:
    return -(-task.shard["frames"] // batch)


def _make_shards(tasks: list[ShardTask], model: Backbone, bar: Iterator[int], decode: Decoder) -> list[dict[str, Any]]:
    """Records of all shards, each made unless it lies there; ``bar`` is moved on by one for each batch.

    One thread checks and decodes ahead, another puts together, writes and hashes what is done, so that the forward
    passes of one shard follow those of the shard before: on a GPU hashing 50 MB takes as long as a thousand frames.
    """
    finished = {task.path: _record(task) for task in tasks if _complete(task.path, task.counts)}
    missing = [task for task in tasks if task.path not in finished]
    taken_up = sum(_batch_count(task, model.config.batch) for task in tasks if task.path in finished)
    deque(itertools.islice(bar, taken_up), maxlen=0)
    writing: dict[Path, Future[dict[str, Any]]] = {}
    with ThreadPoolExecutor(1, "writer") as writer, closing(_computed(missing, model, bar, decode)) as shards:
        before: Future[dict[str, Any]] | None = None
        for shard, features in shards:
            if before:
                before.result()  # no more than one shard waits, and an error of the disk is met at once
            before = writing[shard.task.path] = writer.submit(_written, shard, features)
        return [finished.get(task.path) or writing[task.path].result() for task in tasks]


def _written(shard: "_Decoded", features: np.ndarray) -> dict[str, Any]:
    task = shard.task
    write_table(task.path, shard.table(features), {**task.provenance, "record": task.counts})
    executed(task.path.parent, "shard", task.path.name)
    return _record(task)


def _record(task: ShardTask) -> dict[str, Any]:
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


@dataclass
class _Decoded:
    """A frame shard as it is read: its clips so far."""

    task: ShardTask
    checked: Future[None]
    """raises StoreError unless the shard is the one that the index names"""
    ids: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def table(self, features: np.ndarray) -> pa.Table:
        """The feature table of all its frames."""
        dim = features.shape[1]
        ends = np.cumsum(self.lengths)
        cells = [features[end - n : end].tobytes() for n, end in zip(self.lengths, ends, strict=True)]
        return pa.table([self.ids, self.lengths, [dim] * len(self.ids), cells], schema=SCHEMA)


def _frames_file(task: ShardTask) -> Path:
    return task.frames / task.shard["file"]


def _other_clips(task: ShardTask) -> StoreError:
    return StoreError(
        f"{_frames_file(task)}: does not hold the clips that {FRAMES_INDEX} names; run the frames stage again"
    )


def _computed(
    tasks: list[ShardTask], model: Backbone, bar: Iterator[int], decode: Decoder
) -> Generator[tuple[_Decoded, np.ndarray], None, None]:
    """The features of each frame shard, in order; a batch's frames are neighbours in one shard."""
    features = np.empty((0, model.dim), "<f2")
    done = 0
    # None: all of the shard was started
    under_way: deque[tuple[_Decoded, tuple[Decoding, Pending] | None]] = deque()

    def finish() -> Iterator[tuple[_Decoded, np.ndarray]]:
        nonlocal features, done
        shard, computing = under_way.popleft()
        counts = shard.task.counts
        if computing is None:
            if (done, len(shard.ids), sum(shard.lengths)) != (counts["frames"], counts["clips"], done):
                raise _other_clips(shard.task)
            yield shard, features
            done = 0
            return
        if not done:
            features = np.empty((counts["frames"], model.dim), "<f2")
        batch, pending = computing
        made = model.finish(pending)
        batch.release()
        if done + len(made) > len(features):
            raise _other_clips(shard.task)
        features[done : done + len(made)] = made
        done += len(made)
        next(bar, None)

    for shard, batch in _ahead(_shards(tasks, model.config.batch, decode)):
        under_way.append((shard, None if batch is None else (batch, model.start(_frames(shard, batch)))))
        # the first of them, which a GPU did while the others were prepared
        while sum(computing is not None for _, computing in under_way) > STARTED:
            yield from finish()
    while under_way:
        yield from finish()


def _shards(
    tasks: list[ShardTask], batch: int, decode: Decoder
) -> Generator[tuple[_Decoded, Decoding | None], None, None]:
    """Every batch of every shard, then None for the shard's end, when it is checked and its ids are complete."""
    with ThreadPoolExecutor(1, "checker") as checker:
        for task in tasks:
            path = _frames_file(task)
            # hashed while it is read: 100 MB take as long as a GPU takes for a thousand frames
            checked = checker.submit(check_shard, path, task.shard["sha256"], FRAMES_INDEX)
            shard = _Decoded(task, checked)
            try:
                for frames in _batches(path, batch, shard, decode):
                    yield shard, frames
            except Exception:
                checked.result()  # a damaged shard is called that, whatever came of reading it
                raise
            checked.result()
            yield shard, None


def _frames(shard: _Decoded, batch: Decoding) -> np.ndarray:
    try:
        return batch.result()
    except StoreError:
        shard.checked.result()
        raise


def _batches(path: Path, batch: int, shard: _Decoded, decode: Decoder) -> Generator[Decoding, None, None]:
    """The frames of a shard across clip borders, the last batch shorter; several are decoded at once."""
    waiting: list[np.ndarray] = []
    for table in iter_tables(path, ["id", "n", "frames"]):
        shard.ids.extend(table["id"].to_pylist())
        shard.lengths.extend(table["n"].to_pylist())
        waiting.extend(_cells(table["frames"]))
        for at in range(0, len(waiting) - batch + 1, batch):
            yield decode(waiting[at : at + batch], path)
        del waiting[: len(waiting) // batch * batch]
    if waiting:
        yield decode(waiting, path)


def _cells(column: pa.ChunkedArray) -> Iterator[np.ndarray]:
    """The bytes of every frame of a column of lists, as views of Arrow's memory: a copy of each takes 20 µs."""
    for chunk in column.chunks:
        frames = chunk.flatten()
        if not len(frames):
            continue
        _, offsets, data = frames.buffers()
        ends = np.frombuffer(offsets, np.int32)[frames.offset : frames.offset + len(frames) + 1].tolist()
        content = np.frombuffer(data, np.uint8)
        yield from (content[start:end] for start, end in itertools.pairwise(ends))


def _ahead(items: Generator[T, None, None]) -> Iterator[T]:
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
