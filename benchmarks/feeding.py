"""How busy the features stage would keep a GPU, on a machine that has none.

    python benchmarks/feeding.py [--clips N] [--rounds N] [--rate FRAMES_PER_SECOND] [--workers N]

Everything is the stage's own, its threads, processes, files and checksums, but for the two things that a small
machine cannot do: a forward pass is a wait of as long as a GPU of that rate takes, one pass after another, and decoding
is a wait in the worker processes, of as long as 16 cores take. The seconds without a pass are the stage's: before the
first batch, after the last one, and between them, where a whole corpus would lose them again with every shard.
"""

# ruff: noqa: T201  (what it prints is its result)

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from any folder, installed or not

from data_stages import FRAMES, GRAIN, KEEP_ALL, write_clips

from slt import frame_decoding
from slt.frames import make_frames
from slt.manifest import write_manifest

SIZE, BATCH, WIDTH = 224, 256, 1280
RATE = 18_500  # frames a second of EfficientNet-B0 on an H100 in bfloat16 (docs/speed.md)
DECODED = 26_000  # frames a second of 16 processes beside it


@dataclass
class Gpu:
    """What :class:`slt.backbone.Backbone` is to the stage, with a clock in place of a GPU."""

    seconds: float
    """of a batch"""
    config: Any = field(default_factory=lambda: SimpleNamespace(batch=BATCH))
    dim: int = WIDTH
    free: float = 0.0
    """when all that was started will be done"""
    first: float = 0.0
    batches: int = 0
    idle: float = 0.0
    """seconds between the first batch and the last one"""

    def start(self, frames: np.ndarray) -> tuple[float, int]:
        now = time.perf_counter()
        if not self.batches:
            self.first = self.free = now
        self.idle += max(0.0, now - self.free)
        self.free = max(now, self.free) + self.seconds
        self.batches += 1
        return self.free, len(frames)

    def finish(self, pending: tuple[float, int]) -> np.ndarray:
        done, count = pending
        time.sleep(max(0.0, done - time.perf_counter()))
        return FEATURES[:count]


FEATURES = np.random.default_rng(0).standard_normal((BATCH, WIDTH), np.float32).astype(np.float16)


def decode_slowly(key: Any, slot: int, at: int, starts: list[int], ends: list[int]) -> bool:
    """In a worker, in the place of decoding."""
    time.sleep(len(starts) * int(os.environ["SLT_WORKERS"]) / DECODED)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=600, help="of 60 frames")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=float, default=RATE, help="frames a second that the GPU does")
    parser.add_argument("--workers", type=int, default=16, help="processes that decode")
    arguments = parser.parse_args()
    from slt import features  # not in the workers, which import this file

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_manifest(folder / "manifest.parquet", write_clips(folder / "clips", arguments.clips, 10, SIZE, GRAIN))
        index = make_frames(replace(FRAMES, size=SIZE), folder / "manifest.parquet", folder / "frames", KEEP_ALL)
        tasks = [
            features.ShardTask(folder / "frames", shard, folder / f"features-{number}.parquet", {})
            for number, shard in enumerate(index["shards"])
        ]
        found: dict[str, list[float]] = {"before the first batch": [], "between": [], "after the last": [], "busy": []}
        with (
            mock.patch.dict(os.environ, {"SLT_WORKERS": str(arguments.workers)}),
            mock.patch.object(frame_decoding, "_decode_shared", decode_slowly),
            frame_decoding.by_processes(SIZE, BATCH) as decode,
        ):
            for turn in range(arguments.rounds + 1):
                for task in tasks:
                    task.path.unlink(missing_ok=True)
                gpu: Any = Gpu(BATCH / arguments.rate)
                begun = time.perf_counter()
                features._make_shards(tasks, gpu, itertools.count(), decode)
                ended = time.perf_counter()
                if turn:  # the first round waits for the processes to start
                    found["before the first batch"].append(gpu.first - begun)
                    found["between"].append(gpu.idle)
                    found["after the last"].append(ended - gpu.free)
                    found["busy"].append(gpu.batches * gpu.seconds)
        print(f"{len(tasks)} shards, {index['frames']} frames; seconds, median (lowest to highest)")
        for name, seconds in found.items():
            print(f"  {name:24s} {statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})")


if __name__ == "__main__":
    main()
