"""Run each stage again and again, the disk full from its first write call, its second, … on; see test_full_disk.py.

Started with the shim preloaded: `python full_disk.py FOLDER`; prints one JSON line a stage.
"""

import ctypes
import errno
import json
import logging
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from test_frames import CONFIG as FRAMES
from test_tables import fake_records, fake_sems
from test_targets import TEXTS, write_corpus
from test_teacher import MINILM, minilm
from test_training import Regression
from test_training import config as training_config
from test_video import pictures, write_video

import slt.targets
from slt import resources
from slt.config.data import FeaturesConfig
from slt.errors import SltError
from slt.evaluations import Info, Point, write_evaluation
from slt.features import make_features
from slt.frames import make_frames
from slt.manifest import Clip, write_manifest
from slt.store import discard, publish, work_folder
from slt.targets import make_targets
from slt.training import train

SHIM = ctypes.CDLL(None)
SHIM.full_disk_first.restype = ctypes.c_char_p
KEEP_ALL = {"train": 0, "dev": 0, "test": 0}


def frames(out: Path) -> None:
    make_frames(replace(FRAMES, clips_per_shard=2), Path("manifest.parquet"), out, KEEP_ALL)


def features(out: Path) -> None:
    config = FeaturesConfig("test_efficientnet.r160_in1k", "tiny.pth", "avg", 8, "float32", True)
    make_features(config, FRAMES.size, Path("frames"), out)


def targets(out: Path) -> None:
    make_targets(MINILM, "demo.teachers.minilm", Path("corpus"), out)


def trained(out: Path) -> None:
    work = work_folder("sign2sem", "0" * 24)
    phase = Regression()
    train(phase, training_config(max_steps=6), 0, work)
    with (work / "model.pt").open("wb") as file:
        torch.save(phase.model.state_dict(), file)
    (work / "best.pt").unlink()
    (work / "checkpoint.pt").unlink()
    publish(work, out)


def evaluation(out: Path) -> None:
    work = work_folder("evaluate", "0" * 24)
    records = fake_records(0.5)
    provenance = {"gloss_free": True, "backbone": "efficientnet", "weights": "sha256:0"}
    training = {"steps": 1, "plateaued": True}
    info = Info("demo", "minilm", "sltr", provenance, training, "row", "sign2text", 1, None)
    write_evaluation(work / "out", records, info, {}, [Point(1, "dev_bleu", 2.0)], fake_sems(records, 0.5))
    publish(work / "out", out)
    discard(work)


STAGES: dict[str, Callable[[Path], None]] = {
    stage.__name__: stage for stage in (frames, features, targets, trained, evaluation)
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def prepare(folder: Path) -> None:
    os.chdir(folder)
    os.environ.update(SLT_WORK=str(folder / "disk/work"), SLT_WORKERS="1", SLT_DEVICE="cpu")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    clips = []
    for i in range(3):
        write_video(folder / f"{i}.mp4", pictures(3 + 2 * i, 64, 64, seed=i))
        clips.append(Clip(f"clip{i}", "train", "en", "ase", str(folder / f"{i}.mp4"), "text"))
    write_manifest(folder / "manifest.parquet", clips)
    write_corpus(folder / "corpus", TEXTS)
    import timm

    torch.manual_seed(0)
    torch.save(timm.create_model("test_efficientnet.r160_in1k").state_dict(), folder / "tiny.pth")
    teacher = replace(minilm(), truncated=0)
    slt.targets.Teacher.load = classmethod(lambda cls, config, where: teacher)  # type: ignore[method-assign]
    frames(folder / "frames")


def every_call(stage: Callable[[Path], None], folder: Path) -> dict[str, Any]:
    """Counts by the kind of the first call that failed, and what went wrong, for one stage."""
    disk = folder / "disk"
    out = disk / "out"
    shutil.rmtree(disk, ignore_errors=True)
    stage(out)
    whole = contents(out)
    result: dict[str, Any] = {"stage": stage.__name__, "kinds": Counter(), "wrong": [], "files": len(whole)}
    call = 0
    while True:
        shutil.rmtree(disk)
        disk.mkdir()
        SHIM.full_disk_arm(ctypes.c_long(call), errno.ENOSPC, str(disk).encode())
        message: str | None = None
        try:
            stage(out)
            failed = False
        except SltError as error:
            failed, message = True, str(error)
        except Exception as error:
            failed, message = True, resources.explain(error)
            if message is None:
                message = f"unexplained {type(error).__name__}: {error}"
        SHIM.full_disk_disarm()
        kind = SHIM.full_disk_first().decode()
        if not kind:
            return result  # no call was refused: every one has had its turn
        result["kinds"][kind] += 1
        if not failed and contents(out) != whole:
            result["wrong"].append(f"call {call} ({kind}): no error, and another output")
        if failed and out.exists() and contents(out) != whole:
            result["wrong"].append(f"call {call} ({kind}): half an output was published")
        if failed and (message is None or message.startswith("unexplained") or "SLT_WORK" not in message):
            result["wrong"].append(f"call {call} ({kind}): {message}")
        stage(out)
        if contents(out) != whole:
            result["wrong"].append(f"call {call} ({kind}): the run after it gave other bytes")
        call += 1


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
    for name in STAGES:
        sys.stdout.write(json.dumps(every_call(STAGES[name], Path(sys.argv[1]))) + "\n")
