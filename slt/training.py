"""The training loop that all three phases share.

A phase supplies the model, the micro-batches, the losses and a validation; the loop supplies the optimiser, the
schedule, gradient accumulation, early stopping, checkpoints and the curves. Sample order is a pure function of
(seed, epoch) and dropout of (seed, step, micro-batch), so a resumed run needs no generator state: it equals an
uninterrupted one bit for bit on CPU with the same number of threads. For the same reason it does not matter which of
several processes computes which micro-batch (:mod:`slt.ranks`): their results differ by the rounding of sums.
"""

import itertools
import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from slt import launch, lifecycle, ranks, resources
from slt.batching import epoch_steps
from slt.bootstrap import Comparison, draw, paired_test
from slt.config.train import TrainingConfig
from slt.errors import ConfigError, DataError
from slt.metrics import BLEU_13A, Statistics
from slt.recorded import recorded
from slt.run_log import executed
from slt.stage import compiles, device_name, progress, records
from slt.store import replacing

log = logging.getLogger(__name__)

AHEAD, THREADS = 4, 2
"""steps whose batches are made while a GPU computes, and by how many threads: more would wait for the interpreter"""
PLATEAU = 0.02
"""Where a dev figure cannot be resampled: the fraction by which a plateau's last quarter may raise the best of it."""


class Phase(Protocol):
    """What a phase gives to the loop."""

    select: str
    """the validation figure that early stopping maximises"""

    @property
    def model(self) -> nn.Module:
        """What is trained."""

    def lengths(self, epoch: int) -> list[int]:
        """Frames or tokens that each training item has in this epoch, as ``micro_batch`` counts them."""

    def batch(self, items: list[int], epoch: int) -> dict[str, Any]:
        """The micro-batch of these items, on CPU."""

    def counts(self, items: Sequence[int]) -> dict[str, float]:
        """Over how many terms (clips, tokens, glosses) each loss of these items is summed."""

    def losses(self, batch: dict[str, Any]) -> dict[str, tuple[Tensor, float]]:
        """Per loss: its sum over the micro-batch, and its weight in the total."""

    def validate(self) -> tuple[dict[str, float], Statistics | None]:
        """Figures on dev, of which ``select`` is one, and where that is BLEU its statistics."""


@dataclass
class Run:
    """Where training stands: the curves so far, and the best validation."""

    step: int = 0
    best: float = -math.inf
    best_step: int = 0
    curves: list[tuple[int, str, float]] = field(default_factory=list)
    stopped_early: bool = False
    sums: dict[str, list[float]] = field(default_factory=dict)
    """each loss at every step since the last validation"""
    bleu: dict[int, Tensor] = field(default_factory=dict)
    """each validation's BLEU statistics of the dev sentences, where the phase selects by BLEU"""

    def scores(self, series: str) -> list[tuple[int, float]]:
        return [(step, value) for step, name, value in self.curves if name == series]


def schedule(config: TrainingConfig, step: int) -> float:
    """The learning rate's factor at a step (from 0): linear warm-up, then the configured course."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.max_steps - config.warmup_steps)
    if config.schedule == "linear":
        return max(0.0, 1.0 - done)
    if config.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return 1.0


def train(phase: Phase, config: TrainingConfig, seed: int, work: Path) -> Run:
    """Train the phase's model, which ends with the weights of its best validation.

    ``work`` keeps ``checkpoint.pt`` and ``best.pt``; a run that finds them goes on from there. A first SIGTERM or
    SIGINT writes a checkpoint after the step at hand and raises :class:`slt.lifecycle.Stopped`. Of several processes
    the leading one alone validates, writes, and ends with the best weights.
    Raises DataError when the gradient is no finite number, naming the step and the items; the last checkpoint stays.
    ConfigError when there are more processes than micro-batches in a step.
    """
    if launch.world() > config.accumulate:
        raise ConfigError(
            f"{launch.world()} processes for the {config.accumulate} micro-batches of a step; start no more than"
            f" {config.accumulate}, or lower training.micro_batch (now {config.micro_batch}) and raise"
            " training.accumulate by the same factor"
        )
    device = device_name()
    if device.startswith("cuda"):  # cuDNN's attention makes a plan for each new shape, and here most batches have one
        torch.backends.cuda.enable_cudnn_sdp(False)
    model = phase.model.to(device)
    if compiles():
        _compile_layers(model)
    optimiser = torch.optim.AdamW(_groups(model, config.weight_decay), lr=config.lr, fused=True)
    run = _resume(work, model, optimiser)
    ranks.share(model, work.name, run.step, phase.lengths(0))
    # once, since to walk through hundreds of modules takes a GPU's step some milliseconds
    parameters = list(model.parameters())
    model.train()
    steps = _Steps(phase, config, seed, run.step, device)
    bar = iter(progress(range(run.step, config.max_steps), "training", config.max_steps - run.step, "step"))
    with lifecycle.deferred(), steps, _recorded(model, device):
        while run.step < config.max_steps and not run.stopped_early:
            _step(phase, config, run, parameters, optimiser, steps.next(), seed, device)
            if launch.leads():
                executed(work, "step", run.step)
            next(bar, None)
            validated = run.step % config.validate_every == 0 or run.step == config.max_steps
            if validated:
                losses = [(run.step, f"train_{name}", float(np.mean(values))) for name, values in run.sums.items()]
                run.curves += losses
                run.sums.clear()
                ranks.check_equal(model, run.step)
                if launch.leads():
                    _validate(phase, config, run, model, work)
            number, run.stopped_early = _agreed(lifecycle.asked_to_stop(), run.stopped_early)
            if (validated or number) and launch.leads():
                state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), **asdict(run)}
                _save(work / "checkpoint.pt", state)
            if number:
                ranks.wait()  # a launcher ends the others when the first process has ended
                log.warning("step %d of %d is in %s", run.step, config.max_steps, work / "checkpoint.pt")
                raise lifecycle.Stopped(number)
    if not launch.leads():
        return run
    model.load_state_dict(torch.load(work / "best.pt", map_location=device, weights_only=True)["model"])
    model.eval()
    log.info("best %s %.4f at step %d of %d", phase.select, run.best, run.best_step, run.step)
    return run


def _recorded(model: nn.Module, device: str) -> AbstractContextManager[None]:
    return recorded(model) if _records(device) else nullcontext()


def _records(device: str) -> bool:
    # of several processes each changes the momentum of running averages from step to step, a recording has but one
    return device.startswith("cuda") and launch.world() == 1 and records()


def _compile_layers(model: nn.Module) -> None:
    """Let ``torch.compile`` make the Transformer layers, which are most of what a GPU waits for.

    Layer by layer, since all of a kind share what is compiled once, for any shape. Only for training: in validation a
    decoder's cache is another object at each token. Dropout draws what it else draws, so results agree to rounding.
    """
    for layer in model.modules():
        if isinstance(layer, GradientCheckpointingLayer):  # what transformers makes all its layers of
            layer.forward = _compiled_in_training(layer)


def _compiled_in_training(layer: nn.Module) -> Callable[..., Any]:
    plain = layer.forward
    compiled = torch.compile(plain, dynamic=True, options={"fallback_random": True})
    return lambda *args, **kwargs: (compiled if layer.training else plain)(*args, **kwargs)


def _step(
    phase: Phase,
    config: TrainingConfig,
    run: Run,
    parameters: list[nn.Parameter],
    optimiser: torch.optim.Optimizer,
    batches: "_StepBatches",
    seed: int,
    device: str,
) -> None:
    """One optimiser step; its losses join ``run.sums``."""
    optimiser.param_groups[0]["lr"] = optimiser.param_groups[1]["lr"] = config.lr * schedule(config, run.step)
    optimiser.zero_grad(set_to_none=True)
    losses = _accumulate(phase, config, batches, seed, run.step, device)
    with _memory(run.step, device, lambda: _OPTIMISER):
        ranks.sum_gradients(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        optimiser.step()
        # only now, since to read a number is to wait for a GPU, which was still at the backward pass
        if not math.isfinite(norm):
            raise DataError(
                f"step {run.step}: the gradient is not finite; lower training.lr or clip_norm,"
                f" or look at the items {batches.items[0][:8]} of epoch {batches.epoch}"
            )
        for name, value in ranks.summed(_added(losses), list(batches.counts)).items():
            run.sums.setdefault(name, []).append(value)
    run.step += 1


_OPTIMISER = (
    "the gradients and the optimiser's states, which do not depend on the batch; free what other processes hold, or"
    " take a smaller model or a device with more memory"
)


def _micro_batch(phase: Phase, config: TrainingConfig, epoch: int, items: list[int]) -> str:
    lengths = phase.lengths(epoch)
    frames = sum(lengths[i] for i in items)
    if len(items) == 1:
        return (
            f"a micro-batch of the one item {items[0]}, {frames} frames or tokens, which cannot be divided; take a"
            " smaller model or a device with more memory"
        )
    return f"a micro-batch of {len(items)} items, {frames} frames or tokens; {_lower(config)}"


def _lower(config: TrainingConfig) -> str:
    return (
        f"lower training.micro_batch (now {config.micro_batch}) and raise training.accumulate (now"
        f" {config.accumulate}) by the same factor"
    )


@contextmanager
def _memory(step: int, device: str, what: Callable[[], str]) -> Iterator[None]:
    """A lack of memory is a DataError that says ``what`` it did not suffice for and what to do."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not resources.out_of_memory(error):
            raise
        less = "; SLT_RECORD=0 takes less memory, too" if _records(device) else ""
        raise DataError(f"step {step}: out of memory on {device} with {what()}{less}") from error


@dataclass(frozen=True)
class _StepBatches:
    """One step's micro-batches: which items are in each, and the tensors of those that this process computes."""

    epoch: int
    items: list[list[int]]
    own: dict[int, dict[str, Any]]
    counts: dict[str, float]
    """the terms of each loss in this step"""
    usual: dict[str, float]
    """those of the epoch's mean step"""

    @classmethod
    def make(
        cls, phase: Phase, epoch: int, items: list[list[int]], usual: dict[str, float], device: str
    ) -> "_StepBatches":
        own = {index: phase.batch(items[index], epoch) for index in ranks.own(len(items))}
        counts = phase.counts(list(itertools.chain.from_iterable(items)))
        if device.startswith("cuda"):  # pinned, so that the copy does not wait for the kernels before it
            own = {index: _tensors(batch, Tensor.pin_memory) for index, batch in own.items()}
        return cls(epoch, items, own, counts, usual)


class _Steps:
    """The batches of every optimiser step, epoch after epoch.

    On a GPU the next steps' are made while this one is computed. A CPU has no core to spare: there the thread that
    makes them disturbs those that compute, and a step takes a fifth longer.
    """

    def __init__(self, phase: Phase, config: TrainingConfig, seed: int, first: int, device: str) -> None:
        self.phase, self.config, self.seed, self.device = phase, config, seed, device
        self.step = first
        """the next one to be made"""
        self.epoch, self.begun_at, self.steps = -1, 0, list[list[list[int]]]()
        self.terms = phase.counts(range(len(phase.lengths(0))))
        self.ahead = ThreadPoolExecutor(THREADS, "batches") if device.startswith("cuda") else None
        self.waiting = deque[Future[_StepBatches]]()

    def __enter__(self) -> "_Steps":
        return self

    def __exit__(self, *error: object) -> None:
        if self.ahead:
            self.ahead.shutdown(cancel_futures=True)

    def next(self) -> _StepBatches:
        if not self.ahead:
            return self._make(*self._next_items())
        while len(self.waiting) <= AHEAD and self.step < self.config.max_steps:
            self.waiting.append(self.ahead.submit(self._make, *self._next_items()))
        return self.waiting.popleft().result()

    def _next_items(self) -> tuple[int, list[list[int]], dict[str, float]]:
        """Of which epoch the next step is, the items of each of its micro-batches, and the terms of a usual step."""
        while self.step >= self.begun_at + len(self.steps):
            self.begun_at += len(self.steps)
            self.epoch += 1
            training = self.config
            lengths = self.phase.lengths(self.epoch)
            self.steps = epoch_steps(lengths, training.micro_batch, training.accumulate, self.seed, self.epoch)
        items = self.steps[self.step - self.begun_at]
        self.step += 1
        return self.epoch, items, {name: terms / len(self.steps) for name, terms in self.terms.items()}

    def _make(self, epoch: int, items: list[list[int]], usual: dict[str, float]) -> _StepBatches:
        return _StepBatches.make(self.phase, epoch, items, usual, self.device)


def _tensors(batch: dict[str, Any], change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    return {key: change(value) if isinstance(value, Tensor) else value for key, value in batch.items()}


def _accumulate(
    phase: Phase, config: TrainingConfig, batches: _StepBatches, seed: int, step: int, device: str
) -> dict[str, list[tuple[Tensor, float]]]:
    """Backward through the micro-batches of one step.

    Each loss is divided by the terms of the epoch's mean step, not by those of its own: a step of long sentences has
    a few times the tokens of one of short sentences, whose tokens would weigh as many times more.
    Returns each loss of each micro-batch with its count over the whole step: to read a loss is to wait for the GPU.
    """
    statistics = ranks.BatchStatistics(phase.model, len(batches.items))
    values: dict[str, list[tuple[Tensor, float]]] = {}
    for index, batch in batches.own.items():
        torch.manual_seed(int(np.random.SeedSequence([seed, step, index]).generate_state(1, np.uint64)[0] >> 1))
        with _memory(step, device, partial(_micro_batch, phase, config, batches.epoch, batches.items[index])):
            moved = _tensors(batch, lambda tensor: tensor.to(device, non_blocking=True))
            with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=config.precision == "bfloat16"):
                losses = phase.losses(moved)
            total = sum(weight * loss / batches.usual[name] for name, (loss, weight) in losses.items())
            assert isinstance(total, Tensor)
            total.backward()  # type: ignore[no-untyped-call]
        for name, (loss, _) in losses.items():
            values.setdefault(name, []).append((loss.detach(), batches.counts[name]))
        statistics.take(index)
    statistics.merge()
    return values


def _added(losses: dict[str, list[tuple[Tensor, float]]]) -> dict[str, float]:
    """Each loss over the micro-batches."""
    return {name: sum(float(loss) / count for loss, count in values) for name, values in losses.items()}


def _agreed(number: int | None, stopped_early: bool) -> tuple[int, bool]:
    """The signal that asked any process to stop (0: none), and whether the leading one stops early."""
    highest, early = ranks.highest(number or 0, stopped_early)
    return highest, bool(early)


def _validate(phase: Phase, config: TrainingConfig, run: Run, model: nn.Module, work: Path) -> None:
    model.eval()
    with _memory(run.step, device_name(), lambda: f"the validation's batches; {_lower(config)}, which they follow"):
        figures, bleu = phase.validate()
    model.train()
    run.curves += [(run.step, f"dev_{name}", value) for name, value in figures.items()]
    if bleu is not None:
        run.bleu[run.step] = torch.from_numpy(bleu.values)
    log.info("step %d: %s", run.step, ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))
    if figures[phase.select] > run.best:
        run.best, run.best_step = figures[phase.select], run.step
        _save(work / "best.pt", {"model": model.state_dict()})
    since = (run.step - run.best_step) // config.validate_every
    run.stopped_early = config.patience is not None and since >= config.patience


def last_quarter(run: Run, series: str) -> Comparison | None:
    """What the last quarter of the steps added to the best dev BLEU: a paired bootstrap over the dev sentences.

    Negative where the best came before. The interval is of which sentences are in dev; that either side is the best
    of several validations, it does not know. None without statistics, or when a side had no validation.
    """
    before, after = _sides(run, series)
    if not run.bleu or not before or not after:
        return None
    best, late = (Statistics(BLEU_13A, run.bleu[max(side)[1]].numpy(), 1) for side in (before, after))
    return paired_test(late, best, draw(best.n))


def plateaued(run: Run, series: str) -> bool:
    """Whether the last quarter of the steps did not raise the best dev score.

    By more than chance, where it is BLEU: the interval of :func:`last_quarter` begins above 0. Else by PLATEAU of it.
    """
    rise = last_quarter(run, series)
    if rise is not None:
        return rise.low <= 0
    before, _ = _sides(run, series)
    return bool(before) and run.best - max(before)[0] <= PLATEAU * abs(run.best)


def _sides(run: Run, series: str) -> tuple[list[tuple[float, int]], list[tuple[float, int]]]:
    """The scores of the first three quarters of the steps and of the last one, each with its step."""
    before, after = list[tuple[float, int]](), list[tuple[float, int]]()
    for step, value in run.scores(series):
        (before if step <= 0.75 * run.step else after).append((value, step))
    return before, after


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def _save(path: Path, state: dict[str, Any]) -> None:
    # an open file, since torch puts a path's name, here one with a process id, into the bytes
    with replacing(path) as temporary, temporary.open("wb") as file:
        torch.save(state, file)


def _resume(work: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> Run:
    path = work / "checkpoint.pt"
    if not path.is_file():
        return Run()
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state.pop("model"))
    optimiser.load_state_dict(state.pop("optimiser"))
    log.info("going on from step %d of %s", state["step"], path)
    return Run(**{**state, "curves": [tuple(point) for point in state["curves"]]})
