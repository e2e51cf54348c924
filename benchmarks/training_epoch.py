"""A training epoch at the paper's sizes: clips of like lengths beside random ones, and how busy a GPU is.

    python benchmarks/training_epoch.py --annotation DIR --lengths FILE [--dataset NAME] [--steps N] [--out FILE.csv]

``--annotation`` holds ``PHOENIX-2014-T.train.corpus.csv`` and ``--lengths`` its clips' numbers of frames, a table of
split, name and num_frames, so that sentences and lengths are the corpus' own; the features are random numbers, which
make no difference to speed. Sizes, batches and augmentation are those of a section of params.yaml, by default
``phoenix14t``, with an encoder that starts from random weights.
"""

# ruff: noqa: T201  (what it prints is its result)

import argparse
import csv
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from any folder, installed or not

from side_by_side import Sheet

import slt.training
from slt.clips import ClipSet
from slt.config.base import read_params, section
from slt.config.train import DecoderConfig, FinetuneConfig, Sign2semConfig, SystemConfig, TrainingConfig
from slt.finetune import Finetune, join
from slt.manifest import Clip
from slt.models.sign_encoder import random_transformer
from slt.models.translator import SignTranslator, SignTranslatorConfig
from slt.sem2text import new_decoder
from slt.sem_space import SemSpace
from slt.sign2sem import Sign2sem
from slt.training import Phase

Batching = Callable[[list[int], int, int, int, int], list[list[list[int]]]]
Step = Callable[[Callable[[], None]], None]

WIDTH = 1280
SEM = 384
POOL = 200_000  # frames of random features that clips are cut from: half a gigabyte
FIXED = 32  # clips in a batch drawn at random, as the field's codebases have it
DEV = 64
PROFILED = 20  # steps


def read_clips(annotation: Path, lengths: Path, share: float) -> ClipSet:
    """The train clips, or a share of them, with random features and SEMs."""
    with lengths.open(newline="", encoding="utf-8") as file:
        frames = {
            row["name"]: int(row["num_frames"])
            for row in csv.DictReader(file, delimiter="\t")
            if row["split"] == "train"
        }
    with (annotation / "PHOENIX-2014-T.train.corpus.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="|", quoting=csv.QUOTE_NONE))
    rows = rows[: round(share * len(rows))]
    draw = np.random.default_rng(0)
    pool = draw.standard_normal((POOL, WIDTH), dtype=np.float32).astype(np.float16)
    starts = draw.integers(0, POOL - max(frames.values()), len(rows))
    clips = [Clip(row["name"], "train", "de", "gsg", "", row["translation"], gloss=row["orth"]) for row in rows]
    features = [pool[start : start + frames[clip.id]] for clip, start in zip(clips, starts, strict=True)]
    return ClipSet(clips, features, draw.standard_normal((len(clips), SEM), dtype=np.float32) / SEM**0.5, 0)


def some(clips: ClipSet, count: int) -> ClipSet:
    return ClipSet(clips.clips[:count], clips.features[:count], clips.sems[:count], 0)


def phases(clips: ClipSet, params: dict[str, Any], dataset: str) -> dict[str, tuple[Any, TrainingConfig]]:
    """sign2sem, and the finetuning of sign2text and sign2semtext, each with its training section."""
    config = section(Sign2semConfig, params, f"{dataset}.sign2sem")
    encoder = {key: value for key, value in asdict(config.encoder).items() if key != "init"}
    space = SemSpace.fit(clips.sems, center=True, normalize=True)
    sizes: dict[str, Any] = {"feature_dim": WIDTH, "sem_dim": SEM, "encoder": random_transformer(**encoder)}

    def sign2sem_model() -> SignTranslator:
        return SignTranslator(SignTranslatorConfig(**sizes, sem_space=space.to_json()))

    decoder = section(DecoderConfig, params, f"{dataset}.decoders.sltr")
    text_model, tokenizer = new_decoder(decoder, None, clips.texts, SEM, space, 1, f"{dataset}.decoders.sltr")
    finetune = section(FinetuneConfig, params, f"{dataset}.finetune")
    dev = some(clips, DEV)
    made: dict[str, tuple[Any, TrainingConfig]] = {
        "sign2sem": (Sign2sem(sign2sem_model(), config, clips, dev), config.training)
    }
    for name in ("sign2text", "sign2semtext"):
        system = section(SystemConfig, params, f"{dataset}.systems.{name}")
        model = join(sign2sem_model(), text_model, system, 1)
        positions = config.encoder.positions
        phase = Finetune(model, tokenizer, system, finetune, config.loss, positions, decoder.max_tokens, clips, dev, 1)
        made[name] = (phase, finetune.training)
    return made


def random_steps(lengths: list[int], micro_batch: int, accumulate: int, seed: int, epoch: int) -> list[list[list[int]]]:
    order = np.random.default_rng([seed, epoch]).permutation(len(lengths)).tolist()
    return [[order[at : at + FIXED]] for at in range(0, len(order), FIXED)]


def train(phase: Phase, training: TrainingConfig, steps: int, batches: Batching, each: Step) -> None:
    """Train for some steps, ``each`` of them called with the step that it is to do."""
    config = replace(training, warmup_steps=0, max_steps=steps, validate_every=steps, patience=None)
    whole = slt.training._step
    with (
        tempfile.TemporaryDirectory() as work,
        mock.patch.object(slt.training, "_step", lambda *arguments: each(partial(whole, *arguments))),
        mock.patch.object(slt.training, "epoch_steps", batches),
    ):
        slt.training.train(phase, config, 1, Path(work))


def seconds_a_step(phase: Phase, training: TrainingConfig, steps: int, batches: Batching) -> float:
    """Mean seconds of a training step, of the second half: a GPU's first ones are recorded (slt/recorded.py)."""
    begun: list[float] = []

    def timed(step: Callable[[], None]) -> None:
        begun.append(time.perf_counter())
        step()

    train(phase, training, steps, batches, timed)
    gaps = [after - before for before, after in itertools.pairwise(begun)]
    return statistics.mean(gaps[len(gaps) // 2 :])


def kernel_seconds(phase: Phase, training: TrainingConfig, batches: Batching) -> float:
    """Mean seconds that a training step's kernels take on the GPU."""
    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
    done = 0

    def profiled(step: Callable[[], None]) -> None:
        nonlocal done
        if not done:
            torch.cuda.synchronize()
            profiler.start()
        step()
        done += 1
        if done == PROFILED:
            torch.cuda.synchronize()
            profiler.stop()

    train(phase, training, PROFILED, batches, profiled)
    return sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6 / PROFILED


def measure(sheet: Sheet, phase: Phase, training: TrainingConfig, name: str, steps: int) -> None:
    """Seconds of an epoch either way."""
    found = []
    for what, batches in BATCHES.items():
        step = seconds_a_step(phase, training, steps, batches)
        lengths = phase.lengths(0)
        grouped = batches(lengths, training.micro_batch, training.accumulate, 1, 0)
        found.append(step * len(grouped))
        padded = sum(max(lengths[i] for i in items) * len(items) for step_items in grouped for items in step_items)
        sheet.note(f"{name}, {what}: padding", 100 * (1 - sum(lengths) / padded), "% of frames")
        sheet.note(f"{name}, {what}: a step", 1000 * step, "ms")
        sheet.note(f"{name}, {what}: an epoch of {len(grouped)} steps", found[-1], "s")
    ours, theirs = found
    sheet.note(f"{name}: random batches' epoch over ours", theirs / ours, "x")


BATCHES: dict[str, Batching] = {"clips of like lengths": slt.training.epoch_steps, "random": random_steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotation", type=Path, required=True, metavar="DIR")
    parser.add_argument("--lengths", type=Path, required=True, metavar="FILE")
    parser.add_argument("--dataset", default="phoenix14t", help="the section of params.yaml with the sizes")
    parser.add_argument("--micro-batch", type=int, help="frames a step, in place of the section's")
    parser.add_argument("--share", type=float, default=1.0, help="of the train clips")
    parser.add_argument("--steps", type=int, default=100, help="to measure, of each kind")
    parser.add_argument("--precision", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--phases", nargs="+", default=["sign2sem", "sign2text", "sign2semtext"])
    parser.add_argument("--out", type=Path, help="keep the figures as CSV, with the machine's description")
    arguments = parser.parse_args()
    clips = read_clips(arguments.annotation, arguments.lengths, arguments.share)
    print(f"{len(clips.clips)} clips, {sum(clips.lengths)} frames", flush=True)
    sheet = Sheet()
    changes = {"micro_batch": arguments.micro_batch, "accumulate": 1} if arguments.micro_batch else {}
    chosen = [
        (name, phase, replace(training, precision=precision, **changes))
        for name, (phase, training) in phases(clips, read_params(), arguments.dataset).items()
        for precision in arguments.precision
        if name in arguments.phases
    ]
    chosen = [
        (
            f"{arguments.dataset}, {name}, {training.precision}, {training.accumulate} x {training.micro_batch} frames",
            phase,
            training,
        )
        for name, phase, training in chosen
    ]
    for name, phase, training in chosen:
        measure(sheet, phase, training, name, arguments.steps)
        if arguments.out:  # after each: rented time may end in the middle
            sheet.save(arguments.out)
    for name, phase, training in (
        chosen if torch.cuda.is_available() else ()
    ):  # last, since a profiler slows what follows
        for what, batches in BATCHES.items():
            sheet.note(f"{name}, {what}: a step's kernels", 1000 * kernel_seconds(phase, training, batches), "ms")
    if arguments.out:
        sheet.save(arguments.out)


if __name__ == "__main__":
    main()
