"""What it costs that nothing can be lost: stages as they are against the same code with every safeguard taken out.

    python benchmarks/safety_cost.py [--rounds N] [--dataset demo] [--teacher minilm]

Taken out on the bare side: syncing to disk, page checksums, hashes of inputs, outputs and code, the run log, and
checkpoints of training but for the best weights. Both sides run in turns in one process, each from an empty work
folder, on what `dvc repro` has left in this checkout: all clips' frames, the features of one shard, steps of sign2sem.
"""

# ruff: noqa: T201  (what it prints is its result)

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq

from slt import feature_set, features, frames, paths, run_log, store, training
from slt.clips import load_clips
from slt.config.base import read_params, section
from slt.config.data import FeaturesConfig, FramesConfig, TeacherConfig
from slt.config.train import ParallelConfig, Sign2semConfig
from slt.feature_set import FeatureSet
from slt.features import FRAMES_INDEX, make_features
from slt.frames import make_frames
from slt.sign2sem import Sign2sem, new_encoder
from slt.store import fingerprint, folder_sha256, read_json, work_folder, write_json
from slt.targets import Targets

STEPS = {"max_steps": 100, "validate_every": 50, "warmup_steps": 10}
KEEP_ALL = {"train": 10**6, "dev": 10**6, "test": 10**6}


@contextmanager
def without_safeguards() -> Iterator[None]:
    """The code of this process with the safeguards taken out."""
    writer, read = pq.ParquetWriter, pq.ParquetFile

    def save_best(path: Path, state: dict[str, Any]) -> None:
        if path.name == "best.pt":
            training.torch.save(state, path)

    with ExitStack() as patches:

        def put(where: Any, name: str, value: Any) -> None:
            patches.enter_context(mock.patch.object(where, name, value))

        put(os, "fsync", lambda file: None)
        put(pq, "ParquetWriter", lambda *given, **named: writer(*given, **{**named, "write_page_checksum": False}))
        put(pq, "ParquetFile", lambda *given, page_checksum_verification=False, **named: read(*given, **named))
        for module in (store, frames, features, feature_set):
            put(module, "file_sha256", lambda path: "0")
        for module in (features, feature_set):
            put(module, "check_shard", lambda *given: None)
        for module in (run_log, frames, features, training):
            put(module, "executed", lambda *given: None)
        put(training, "_save", save_best)
        yield


def sides(dataset: str, teacher: str, folder: Path) -> dict[str, Callable[[], None]]:
    """What is timed, by name; each leaves its output in ``folder``."""
    params = read_params()
    frames_config = section(FramesConfig, params, f"{dataset}.frames")
    features_config = section(FeaturesConfig, params, f"{dataset}.features")
    config = section(Sign2semConfig, params, f"{dataset}.sign2sem")
    parallel = section(ParallelConfig, params, f"{dataset}.parallel")
    teacher_config = section(TeacherConfig, params, f"{dataset}.teachers.{teacher}")
    one_shard = folder / "one-shard"
    index = read_json(paths.frames_dir(dataset) / FRAMES_INDEX)
    index["shards"] = index["shards"][:1]
    write_json(one_shard / FRAMES_INDEX, index)
    shutil.copy(paths.frames_dir(dataset) / index["shards"][0]["file"], one_shard)

    def sign2sem() -> None:
        key = fingerprint([folder_sha256(paths.targets_dir(dataset, teacher))])
        set_, targets = FeatureSet.open(paths.features_dir(dataset)), Targets.open(paths.targets_dir(dataset, teacher))
        train, dev = (
            load_clips(dataset, split, set_, targets, config.encoder.positions, parallel) for split in ("train", "dev")
        )
        model = new_encoder(config.encoder, teacher_config, targets.space, set_.dim, {}, config.seed)
        phase = Sign2sem(model, config, train, dev)
        training.train(phase, replace(config.training, **STEPS), config.seed, work_folder("sign2sem", key))

    manifest = paths.corpus_dir(dataset) / "manifest.parquet"
    return {
        "frames, all clips": lambda: make_frames(frames_config, manifest, folder / "frames", KEEP_ALL) and None,
        "features, one shard": lambda: (
            make_features(features_config, frames_config.size, one_shard, folder / "features") and None
        ),
        f"sign2sem, {STEPS['max_steps']} steps": sign2sem,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--teacher", default="minilm")
    arguments = parser.parse_args()
    os.environ["SLT_WORKERS"] = "1"  # a worker process would not have the patches
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary) / "work"
        os.environ["SLT_WORK"] = str(work)

        def seconds(side: Callable[[], None]) -> float:
            shutil.rmtree(work, ignore_errors=True)
            os.sync()  # not the disk's backlog of the other side
            started = time.perf_counter()
            side()
            return time.perf_counter() - started

        for name, side in sides(arguments.dataset, arguments.teacher, Path(temporary)).items():
            kept, bare = list[float](), list[float]()
            seconds(side)
            for _ in range(arguments.rounds):
                kept.append(seconds(side))
                with without_safeguards():
                    bare.append(seconds(side))
            ratios = sorted(a / b for a, b in zip(kept, bare, strict=True))
            print(
                f"{name}: {statistics.median(kept):.2f} s, without safeguards {statistics.median(bare):.2f} s, ratio"
                f" {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
