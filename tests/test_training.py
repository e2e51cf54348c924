"""The loop: gradients as one big batch's, resumed as uninterrupted, loud on a loss that is no number."""

import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slt.config.train import TrainingConfig
from slt.errors import DataError
from slt.training import Run, _accumulate, _StepBatches, _Steps, plateaued, schedule, train


def config(**changes: Any) -> TrainingConfig:
    defaults: dict[str, Any] = dict(
        lr=0.01,
        schedule="cosine",
        warmup_steps=2,
        max_steps=12,
        micro_batch=6,
        accumulate=2,
        validate_every=3,
        patience=None,
        weight_decay=0.01,
        clip_norm=1.0,
        label_smoothing=0.0,
        precision="float32",
    )
    return TrainingConfig(**{**defaults, **changes})


class Regression:
    """A phase small enough to see through: y = 2x, with dropout."""

    select = "score"

    def __init__(self, dropout: float = 0.5) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(dropout), nn.Linear(8, 1))
        self.x = torch.randn(20, 3)
        self.y = 2 * self.x[:, :1]
        self.lengths = [1 + i % 3 for i in range(20)]
        self.validations = 0

    def batch(self, items: list[int], epoch: int) -> dict[str, Any]:
        return {"x": self.x[items], "y": self.y[items], "counts": {"loss": len(items)}}

    def losses(self, batch: dict[str, Any]) -> dict[str, tuple[Tensor, float]]:
        return {"loss": ((self.model(batch["x"]) - batch["y"]).square().sum(), 1.0)}

    def validate(self) -> dict[str, float]:
        self.validations += 1
        with torch.no_grad():
            return {"score": -float((self.model(self.x) - self.y).square().mean())}


def test_loss_falls_and_the_best_weights_are_returned(tmp_path: Path) -> None:
    phase = Regression(dropout=0.0)
    before = phase.validate()["score"]
    run = train(phase, config(max_steps=60, lr=0.03), 0, tmp_path)
    assert run.best > before / 4
    assert phase.validate()["score"] == pytest.approx(run.best)


@pytest.mark.parametrize("killed_at", [1, 2, 3])
def test_resumed_training_equals_uninterrupted_bit_for_bit(tmp_path: Path, killed_at: int) -> None:
    whole = Regression()
    reference = train(whole, config(), 0, tmp_path / "whole")

    class Killed(Regression):
        def validate(self) -> dict[str, float]:
            if self.validations == killed_at:
                raise KeyboardInterrupt
            return super().validate()

    with pytest.raises(KeyboardInterrupt):
        train(Killed(), config(), 0, tmp_path / "killed")
    resumed = Regression()
    run = train(resumed, config(), 0, tmp_path / "killed")
    assert resumed.validations < whole.validations
    assert run == reference
    for ours, theirs in zip(resumed.model.state_dict().values(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_micro_batches_of_unequal_size_give_the_gradient_of_one_batch() -> None:
    phase = Regression(dropout=0.0)
    _accumulate(phase, config(), _StepBatches.make(phase, 0, [[0, 1, 2, 3, 4], [5]], "cpu"), 0, 0, "cpu")
    split = [p.grad.clone() for p in phase.model.parameters()]
    phase.model.zero_grad()
    _accumulate(phase, config(), _StepBatches.make(phase, 0, [[0, 1, 2, 3, 4, 5]], "cpu"), 0, 0, "cpu")
    for ours, whole in zip(split, phase.model.parameters(), strict=True):
        torch.testing.assert_close(ours, whole.grad)


def test_batches_made_ahead_are_those_made_in_turn_and_end_with_the_last_step() -> None:
    """On a GPU; here the threads alone."""
    phase, made = Regression(), list[list[tuple[int, list[list[int]], list[int]]]]()
    for ahead in (False, True):
        steps = _Steps(phase, config(), 0, 2, "cpu")
        if ahead:
            steps.ahead = ThreadPoolExecutor(4)
        with steps:
            batches = [steps.next() for _ in range(2, config().max_steps)]
        assert not steps.waiting
        made.append([(batch.epoch, batch.items, [len(own["x"]) for own in batch.own.values()]) for batch in batches])
    assert made[0] == made[1]


def test_a_batch_made_ahead_that_fails_is_the_runs_error() -> None:
    class Broken(Regression):
        def batch(self, items: list[int], epoch: int) -> dict[str, Any]:
            raise DataError("clip `a`: gone")

    with _Steps(Broken(), config(), 0, 0, "cpu") as steps:
        steps.ahead = ThreadPoolExecutor(1)
        with pytest.raises(DataError, match="clip `a`"):
            steps.next()


def test_a_loss_that_is_no_number_stops_with_its_step(tmp_path: Path) -> None:
    phase = Regression()
    phase.x[7] = math.nan
    with pytest.raises(DataError, match=r"step \d+: the gradient is not finite"):
        train(phase, config(), 0, tmp_path)


def test_patience_stops_a_run_that_no_longer_improves(tmp_path: Path) -> None:
    class Stuck(Regression):
        def validate(self) -> dict[str, float]:
            self.validations += 1
            return {"score": -float(self.validations)}

    run = train(Stuck(), config(max_steps=90, patience=2), 0, tmp_path)
    assert (run.step, run.best_step, run.stopped_early) == (9, 3, True)


def test_schedule_warms_up_and_ends_at_zero() -> None:
    rates = [schedule(config(), step) for step in range(12)]
    assert rates[0] == 0.5 and max(rates) == 1.0 and rates[-1] < 0.05
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_plateau_looks_at_the_last_quarter() -> None:
    rising = Run(step=100, best=40.0, curves=[(s, "dev_bleu", s * 0.4) for s in (25, 50, 75, 100)])
    flat = Run(step=100, best=30.3, curves=[(25, "dev_bleu", 20.0), (75, "dev_bleu", 30.0), (100, "dev_bleu", 30.3)])
    assert not plateaued(rising, "dev_bleu") and plateaued(flat, "dev_bleu")


def test_the_run_log_counts_every_step_of_every_attempt(tmp_path: Path) -> None:
    train(Regression(), config(), 0, tmp_path / "key")
    entries = [json.loads(line) for line in (tmp_path / "run-log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries] == list(range(1, 13))
    assert {entry["key"] for entry in entries} == {"key"} and {entry["process"] for entry in entries} == {os.getpid()}
