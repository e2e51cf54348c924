"""A small training stage and its faults; tests/test_distributed.py runs it in forks of a process that imported it."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from test_gloss import SYSTEM
from test_gloss import phase as finetune
from test_training import Regression, config
from torch import Tensor, nn

from slt import launch
from slt.config.train import AugmentConfig
from slt.errors import DataError
from slt.finetune import Finetune
from slt.ranks import together
from slt.stage import run
from slt.store import work_folder
from slt.training import train

torch.optim.AdamW([nn.Parameter(torch.ones(1))])  # imports what takes longer than all of these trainings


class Phase(Regression):
    """With what is hard to share: dropout, a batch normalisation, a parameter that no loss depends on."""

    pause = 0.0
    settings = config(accumulate=3, validate_every=4, weight_decay=0.1, clip_norm=100.0)

    def __init__(self) -> None:
        super().__init__()
        # no bias below the normalisation: its gradient is zero but for rounding, which Adam would blow up
        self.model = nn.Sequential(nn.Linear(3, 8, bias=False), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.model.unused = nn.Parameter(torch.ones(4, 4))

    def losses(self, batch: dict[str, Any]) -> dict[str, tuple[Tensor, float]]:
        sys.stdout.write("micro-batch\n")
        sys.stdout.flush()
        time.sleep(self.pause)
        return super().losses(batch)


class Slow(Phase):
    pause = 0.1


class TwoMicroBatches(Phase):
    settings = config(accumulate=2)


class _OfFrames(nn.BatchNorm1d):
    """Over all frames of (B, T, C), so that a micro-batch may have one item."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class OneItemEach(Phase):
    """Some of its steps have two micro-batches, in which the last of three processes has nothing to do."""

    settings = config(accumulate=3, micro_batch=1, validate_every=4, weight_decay=0.1, clip_norm=100.0)

    def __init__(self) -> None:
        super().__init__()
        self.model[1] = _OfFrames(8)
        self.x, self.y = (torch.stack([part, part.flip(0)], 1) for part in (self.x, self.y))


class LongItems(OneItemEach):
    """A micro-batch of two of them is cut, so a step has more of them than ``accumulate``."""

    settings = config(accumulate=3, validate_every=4, weight_decay=0.1, clip_norm=100.0)

    def lengths(self, epoch: int) -> list[int]:
        return [*super().lengths(epoch)[:-6], *[8] * 6]


class OneMicroBatch(Phase):
    settings = config(accumulate=1)


class DamagedForOne(Phase):
    def batch(self, items: list[int], epoch: int) -> dict[str, Any]:
        if launch.rank() == 1:
            raise DataError("clip 7 is damaged")
        return super().batch(items, epoch)


class DamagedForAll(Phase):
    def __init__(self) -> None:
        super().__init__()
        self.x[7] = torch.nan


class OtherData(Phase):
    def lengths(self, epoch: int) -> list[int]:
        return super().lengths(epoch)[: 20 - launch.rank()]


def finetuned() -> Finetune:
    """Phase 3 in miniature, with every loss that it has and the sign encoder's batch normalisation."""
    system = replace(SYSTEM, sem_weight=1.0, memory="sem+frames")
    phase = finetune(AugmentConfig(0.8, 1.2, 0.1, 0.1), 9, system, accumulate=3, micro_batch=26, validate_every=3)
    phase.settings = phase.config.training  # type: ignore[attr-defined]
    return phase


class Drifting(Phase):
    def batch(self, items: list[int], epoch: int) -> dict[str, Any]:
        self.model[3].bias.data += 1e-3 * launch.rank()
        return super().batch(items, epoch)


def start(phase: Callable[[], Any], variables: dict[str, str], output: Path) -> None:
    """The life of one process; what it prints and logs goes to ``output`` with the suffixes .out and .err."""
    for number, suffix in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(output.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        os.environ.pop(name, None)
    os.environ.update(variables)
    torch.set_num_threads(1)
    stage(phase)


def stage(phase: Callable[[], Any]) -> None:
    """The stage as its script would run it."""

    def main(row: str) -> None:
        """Train the phase."""
        work = work_folder("training", "key")
        own = phase()
        done = train(own, own.settings, 0, work)
        if launch.leads():
            sys.stdout.write(f"done {done.step}\n")

    sys.argv = ["stage", "--row", "r"]
    run("training", ["row"], together(main))


if __name__ == "__main__":
    stage(Slow)
