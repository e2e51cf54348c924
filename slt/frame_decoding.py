"""JPEG frames to pixels, ahead of a backbone: by threads, or by processes where a GPU waits for them.

Threads share one interpreter and one address space: 16 of them decoded 12,000 frames of 224 pixels a second beside an
H100, whose EfficientNet-B0 wants 18,000. Processes write into memory that the stage shares with them and has pinned.
"""

import functools
import mmap
import os
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from slt.errors import DataError, StoreError
from slt.workers import cores, process_pool, worker_count

PART = 32  # frames that a process decodes at a time: a few milliseconds
BATCHES = 10  # in shared memory at once: decoded ahead, handed over, and on the GPU
HEADER = 1024  # bytes of a JPEG image that do not grow with its pixels: its tables


@dataclass(frozen=True)
class Decoding:
    """A batch of frames (N, size, size, 3), RGB, uint8, that is being decoded; ``source`` is the shard it is of."""

    frames: np.ndarray
    parts: list[Future[bool]]
    source: Path
    release: Callable[[], None]
    """to be called when nothing reads ``frames`` any more"""

    def result(self) -> np.ndarray:
        """The frames, once all are there; StoreError when one is no image of their size."""
        if not all([part.result() for part in self.parts]):
            raise _unreadable(self.source, self.frames.shape[1])
        return self.frames


class Decoder(Protocol):
    """What decodes batches."""

    def __call__(self, encoded: list[np.ndarray], source: Path) -> Decoding:
        """Begin to decode the bytes of a batch's frames, which stay as they are until they are decoded."""


def _unreadable(source: Path, size: int) -> StoreError:
    return StoreError(f"{source}: a frame is no JPEG of {size} x {size} pixels; run the frames stage again")


@contextmanager
def by_threads(size: int, buffer: Callable[[tuple[int, ...]], np.ndarray]) -> Iterator[Decoder]:
    """A decoder with a thread a core, into memory from ``buffer``."""
    count = cores()

    def decode(encoded: list[np.ndarray], source: Path) -> Decoding:
        frames = buffer((len(encoded), size, size, 3))
        # OpenCV lets go of the interpreter while it decodes
        parts = [
            pool.submit(_decode, encoded[first::count], frames[first::count])
            for first in range(min(count, len(encoded)))
        ]
        return Decoding(frames, parts, source, lambda: None)

    with ThreadPoolExecutor(count, "decoder") as pool:
        yield decode


@contextmanager
def by_processes(size: int, batch: int) -> Iterator[Decoder]:
    """A decoder with ``SLT_WORKERS`` processes (default: one a core), into pinned memory for ten batches.

    More batches than these are never out: the stage reads ahead by fewer. DataError when a process was killed.
    """
    memory = _SharedMemory(size, batch)

    def decode(encoded: list[np.ndarray], source: Path) -> Decoding:
        ends = np.cumsum([len(image) for image in encoded]).tolist()
        if ends[-1] > memory.key.jpeg_bytes:
            raise _unreadable(source, size)
        slot = memory.free.get()
        np.concatenate(encoded, out=memory.encoded(slot)[: ends[-1]])
        starts = [0, *ends[:-1]]
        cuts = range(0, len(encoded), PART)
        parts = [
            pool.submit(_decode_shared, memory.key, slot, at, starts[at : at + PART], ends[at : at + PART])
            for at in cuts
        ]
        return Decoding(memory.frames(slot)[: len(encoded)], parts, source, lambda: memory.free.put(slot))

    try:
        with process_pool(worker_count()) as pool:
            yield decode
    finally:
        memory.close()  # not before the last process has ended: the number of its file may be given to another one


def _decode(encoded: list[np.ndarray], frames: np.ndarray) -> bool:
    """Whether all of these bytes are images of the frames' size; then the frames hold them."""
    for image, frame in zip(encoded, frames, strict=True):
        pixels = cv2.imdecode(image, cv2.IMREAD_COLOR_RGB) if len(image) else None
        if pixels is None or pixels.shape != frame.shape:
            return False
        frame[:] = pixels
    return True


@dataclass(frozen=True)
class _Key:
    """Where another process finds the memory; its process and file descriptor there."""

    process: int
    descriptor: int
    size: int
    batch: int

    @property
    def frame_bytes(self) -> int:
        """Of a batch's frames."""
        return self.batch * self.size * self.size * 3

    @property
    def jpeg_bytes(self) -> int:
        """That a batch's JPEG images may have: as many as its frames, which take no memory until they are used."""
        return self.frame_bytes + self.batch * HEADER

    @property
    def slot_bytes(self) -> int:
        """Of a slot, which begins a page: frames, then JPEG images."""
        return -(-(self.frame_bytes + self.jpeg_bytes) // mmap.PAGESIZE) * mmap.PAGESIZE

    def views(self, memory: mmap.mmap, slot: int) -> tuple[np.ndarray, np.ndarray]:
        """A slot's frames, and its room for JPEG images."""
        content = np.frombuffer(memory, np.uint8, self.slot_bytes, slot * self.slot_bytes)
        frames = content[: self.frame_bytes].reshape(self.batch, self.size, self.size, 3)
        return frames, content[self.frame_bytes : self.frame_bytes + self.jpeg_bytes]


class _SharedMemory:
    """Memory of this process that its workers open by way of /proc: containers keep /dev/shm small."""

    def __init__(self, size: int, batch: int) -> None:
        descriptor = os.memfd_create("slt-frames")
        self.key = _Key(os.getpid(), descriptor, size, batch)
        os.ftruncate(descriptor, BATCHES * self.key.slot_bytes)
        self.memory = mmap.mmap(descriptor, BATCHES * self.key.slot_bytes)
        self.free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(BATCHES):
            self.free.put(slot)
        self._unpin = _pin([self.frames(slot) for slot in range(BATCHES)])

    def frames(self, slot: int) -> np.ndarray:
        return self.key.views(self.memory, slot)[0]

    def encoded(self, slot: int) -> np.ndarray:
        return self.key.views(self.memory, slot)[1]

    def close(self) -> None:
        self._unpin()
        os.close(self.key.descriptor)


def _pin(blocks: list[np.ndarray]) -> Callable[[], None]:
    """Let a GPU, if there is one, copy from this memory while it computes; returns what ends that.

    Raises DataError when the system refuses.
    """
    import torch

    if not torch.cuda.is_available():
        return lambda: None
    runtime: Any = torch.cuda.cudart()
    for block in blocks:
        code = int(runtime.cudaHostRegister(block.ctypes.data, block.nbytes, 0))
        if code:
            raise DataError(
                f"the GPU cannot use {sum(block.nbytes for block in blocks) >> 20} MB of this machine's memory to take"
                f" frames from (CUDA error {code}); lower features.batch, or let more memory be locked (`ulimit -l`)"
            )

    def unpin() -> None:
        torch.cuda.synchronize()  # of a run that failed, a batch may still be on its way
        for block in blocks:
            runtime.cudaHostUnregister(block.ctypes.data)

    return unpin


def _decode_shared(key: _Key, slot: int, at: int, starts: list[int], ends: list[int]) -> bool:
    """In a worker: decode some of a slot's frames, the first of them number ``at``."""
    frames, encoded = key.views(_opened(key), slot)
    images = [encoded[start:end] for start, end in zip(starts, ends, strict=True)]
    return _decode(images, frames[at : at + len(images)])


@functools.lru_cache(maxsize=1)
def _opened(key: _Key) -> mmap.mmap:
    with open(f"/proc/{key.process}/fd/{key.descriptor}", "r+b") as file:
        return mmap.mmap(file.fileno(), BATCHES * key.slot_bytes)
