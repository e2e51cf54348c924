"""The loop: gradients as one big batch's, resumed as uninterrupted, loud on a loss that is no number."""

import json
import math
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.significance import _bootstrap_resample
from test_gloss import STILL
from test_gloss import phase as finetune
from torch import Tensor, nn

from slt.config.train import TrainingConfig
from slt.errors import DataError
from slt.metrics import BLEU_13A, Statistics
from slt.training import Run, _accumulate, _StepBatches, _Steps, last_quarter, plateaued, schedule, train


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
        self.validations = 0

    def lengths(self, epoch: int) -> list[int]:
        return [1 + i % 3 for i in range(20)]

    def batch(self, items: list[int], epoch: int) -> dict[str, Any]:
        return {"x": self.x[items], "y": self.y[items]}

    def counts(self, items: Sequence[int]) -> dict[str, float]:
        return {"loss": len(items)}

    def losses(self, batch: dict[str, Any]) -> dict[str, tuple[Tensor, float]]:
        return {"loss": ((self.model(batch["x"]) - batch["y"]).square().sum(), 1.0)}

    def validate(self) -> tuple[dict[str, float], Statistics | None]:
        self.validations += 1
        with torch.no_grad():
            return {"score": -float((self.model(self.x) - self.y).square().mean())}, None


def test_loss_falls_and_the_best_weights_are_returned(tmp_path: Path) -> None:
    phase = Regression(dropout=0.0)
    before = phase.validate()[0]["score"]
    run = train(phase, config(max_steps=60, lr=0.03), 0, tmp_path)
    assert run.best > before / 4
    assert phase.validate()[0]["score"] == pytest.approx(run.best)


@pytest.mark.parametrize("killed_at", [1, 2])
def test_resumed_training_equals_uninterrupted_bit_for_bit(tmp_path: Path, killed_at: int) -> None:
    settings = config(validate_every=4)  # an epoch has three steps
    whole = Regression()
    reference = train(whole, settings, 0, tmp_path / "whole")

    class Killed(Regression):
        def validate(self) -> tuple[dict[str, float], Statistics | None]:
            if self.validations == killed_at:
                raise KeyboardInterrupt
            return super().validate()

    with pytest.raises(KeyboardInterrupt):
        train(Killed(), settings, 0, tmp_path / "killed")
    resumed = Regression()
    run = train(resumed, settings, 0, tmp_path / "killed")
    assert resumed.validations < whole.validations
    assert run == reference
    for ours, theirs in zip(resumed.model.state_dict().values(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_micro_batches_of_unequal_size_give_the_gradient_of_one_batch() -> None:
    phase = Regression(dropout=0.0)
    _accumulate(phase, config(), _StepBatches.make(phase, 0, [[0, 1, 2, 3, 4], [5]], {"loss": 6}, "cpu"), 0, 0, "cpu")
    split = [p.grad.clone() for p in phase.model.parameters()]
    phase.model.zero_grad()
    _accumulate(phase, config(), _StepBatches.make(phase, 0, [[0, 1, 2, 3, 4, 5]], {"loss": 6}, "cpu"), 0, 0, "cpu")
    for ours, whole in zip(split, phase.model.parameters(), strict=True):
        torch.testing.assert_close(ours, whole.grad)


def test_a_run_that_begins_anywhere_has_the_steps_of_one_from_the_start() -> None:
    whole = _Steps(Regression(), config(), 0, 0, "cpu")
    expected = [(batches.epoch, batches.items) for batches in (whole.next() for _ in range(8))]
    assert {epoch for epoch, _ in expected} == {0, 1, 2}
    for first in range(8):
        batches = _Steps(Regression(), config(), 0, first, "cpu").next()
        assert (batches.epoch, batches.items) == expected[first]


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


def test_a_term_weighs_the_same_whether_its_step_has_many_terms_or_few() -> None:
    class Sentences(Regression):
        def counts(self, items: Sequence[int]) -> dict[str, float]:
            return {"loss": sum(self.lengths(0)[item] for item in items)}

    phase = Sentences(dropout=0.0)
    settings = config(accumulate=1, micro_batch=6)
    steps, terms = _Steps(phase, settings, 0, 0, "cpu"), list[float]()
    while sum(terms) < sum(phase.lengths(0)):
        batches = steps.next()
        terms.append(batches.counts["loss"])
        _accumulate(phase, settings, batches, 0, len(terms), "cpu")  # gradients add up
    assert sum(terms) == sum(phase.lengths(0)) and min(terms) < max(terms) / 2
    found = [parameter.grad / len(terms) for parameter in phase.model.parameters()]
    phase.model.zero_grad()
    (phase.losses(phase.batch(list(range(20)), 0))["loss"][0] / sum(terms)).backward()
    for ours, parameter in zip(found, phase.model.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad)


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
        def validate(self) -> tuple[dict[str, float], Statistics | None]:
            self.validations += 1
            return {"score": -float(self.validations)}, None

    run = train(Stuck(), config(max_steps=90, patience=2), 0, tmp_path)
    assert (run.step, run.best_step, run.stopped_early) == (9, 3, True)


def test_schedule_warms_up_and_ends_at_zero() -> None:
    rates = [schedule(config(), step) for step in range(12)]
    assert rates[0] == 0.5 and max(rates) == 1.0 and rates[-1] < 0.05
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_plateau_looks_at_the_last_quarter() -> None:
    rising = Run(step=100, best=40.0, curves=[(s, "dev_mse", s * 0.4) for s in (25, 50, 75, 100)])
    flat = Run(step=100, best=30.3, curves=[(25, "dev_mse", 20.0), (75, "dev_mse", 30.0), (100, "dev_mse", 30.3)])
    assert not plateaued(rising, "dev_mse") and plateaued(flat, "dev_mse")
    assert last_quarter(flat, "dev_mse") is None


def test_a_rise_of_dev_bleu_in_the_last_quarter_is_that_of_the_best_before_and_after_with_sacrebleus_interval() -> None:
    """Each side is the best of its validations, as sacrebleu's own resampling of the two outputs has them."""
    words = re.findall(r"\w+", "the rain in the north will turn to snow over night and clear up later")
    references = [" ".join(words[i % 7 :] + words[: i % 5]) for i in range(40)]

    def written(right: int) -> list[str]:
        return [text if i * 7 % 40 < right else "it snows in the north over night" for i, text in enumerate(references)]

    run, right = Run(step=100), {20: 12, 40: 25, 75: 20, 80: 26, 100: 22}
    for step, count in right.items():
        statistics = BLEU_13A.statistics(written(count), [[reference] for reference in references])
        run.bleu[step] = torch.from_numpy(statistics.values)
        run.curves.append((step, "dev_bleu", statistics.value()))
        run.best = max(run.best, statistics.value())
    rise = last_quarter(run, "dev_bleu")
    bleu = BLEU(force=True)
    scores = [bleu.corpus_score(written(count), [references]).score for count in (26, 25)]
    resampled = [
        [
            score.score
            for score in _bootstrap_resample(bleu._extract_corpus_statistics(written(c), [references]), bleu)[1]
        ]
        for c in (26, 25)
    ]
    differences = np.sort(np.subtract(*resampled))
    assert rise is not None and rise.difference == pytest.approx(scores[0] - scores[1]) and rise.difference > 0
    assert (rise.low, rise.high) == pytest.approx((differences[25], differences[-26]), abs=1e-4)
    assert rise.low <= 0 and plateaued(run, "dev_bleu")
    run.bleu[100] = torch.from_numpy(BLEU_13A.statistics(written(36), [[text] for text in references]).values)
    run.curves[-1] = (100, "dev_bleu", 90.0)
    assert not plateaued(run, "dev_bleu")
    run.curves = run.curves[-2:]
    assert last_quarter(run, "dev_bleu") is None and not plateaued(run, "dev_bleu")


def test_a_resumed_run_knows_what_was_written_at_the_validations_before(tmp_path: Path) -> None:
    class Writes(Regression):
        def validate(self) -> tuple[dict[str, float], Statistics]:
            figures, _ = super().validate()
            if self.validations == self.killed_at:
                raise KeyboardInterrupt
            hypothesis = "a b c d e f g h"[: 2 * (4 + self.validations) - 1]
            return figures, BLEU_13A.statistics([hypothesis] * 2, [["a b c d e f g h"]] * 2)

        killed_at = 3

    with pytest.raises(KeyboardInterrupt):
        train(Writes(), config(), 0, tmp_path)
    resumed = Writes()
    resumed.killed_at = 0
    run = train(resumed, config(), 0, tmp_path)
    assert list(run.bleu) == [3, 6, 9, 12]
    assert run.bleu[6].tolist() == BLEU_13A.statistics(["a b c d e f"] * 2, [["a b c d e f g h"]] * 2).values.tolist()


def test_the_run_log_counts_every_step_of_every_attempt(tmp_path: Path) -> None:
    train(Regression(), config(), 0, tmp_path / "key")
    entries = [json.loads(line) for line in (tmp_path / "run-log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries] == list(range(1, 13))
    assert {entry["key"] for entry in entries} == {"key"} and {entry["process"] for entry in entries} == {os.getpid()}


def test_compiled_layers_train_as_they_do_one_operation_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, used = torch.compile, set[bool]()

    def traced(forward: Any, *, dynamic: bool, options: dict[str, bool]) -> Any:  # without the minutes of a compiler
        assert dynamic and options == {"fallback_random": True}
        compiled = whole(forward, dynamic=dynamic, backend="eager")

        def noted(*args: Any, **kwargs: Any) -> Any:
            used.add(torch.is_grad_enabled())
            return compiled(*args, **kwargs)

        return noted

    def trained(compiles: str) -> dict[str, Tensor]:
        monkeypatch.setenv("SLT_COMPILE", compiles)
        learner = finetune(STILL, 4)
        for module in learner.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.1
            elif isinstance(getattr(module, "dropout", None), float):
                module.dropout = 0.1
        before = {name: value.clone() for name, value in learner.model.state_dict().items()}
        train(learner, learner.config.training, 1, tmp_path / compiles)
        after = learner.model.state_dict()
        assert any(not torch.equal(before[name], after[name]) for name in before)
        return after

    monkeypatch.setattr(torch, "compile", traced)
    plain = trained("0")
    assert not used
    compiled = trained("1")
    assert used == {True}, "validation, which has no gradient, runs as ever"
    assert compiled.keys() == plain.keys()
    for name, value in plain.items():
        assert torch.allclose(compiled[name], value, atol=1e-5), name
