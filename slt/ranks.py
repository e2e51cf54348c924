"""Several processes that train one model: who computes which micro-batch, and what they add up.

Plain torch.distributed, without DistributedDataParallel, which Accelerate would bring: a phase calls parts of its
model, not the one ``forward`` that DDP hooks into; DDP averages over ranks, where here a loss is divided by a number
that is the same for all of them; and it hands on the running statistics of one rank alone. So gradients are added once
a step, after its last micro-batch. Any launcher that sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT
will do: torchrun, ``accelerate launch``.

Alone, every function here leaves its input as it is.
"""

import functools
import hashlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from slt import launch, resources
from slt.errors import ConfigError, DataError
from slt.stage import device_name
from slt.store import fingerprint

T = TypeVar("T")

PATIENCE = timedelta(hours=2)  # the others wait in a collective while the leading process validates
BUCKET = 2**24  # gradient elements added at a time: 64 MB beside the gradients themselves
SPOKEN = "slt/spoken"


def together(main: Callable[..., None]) -> Callable[..., None]:
    """A training stage's ``main`` for one process or, with a launcher, for several; all but the first end in it.

    With ``SLT_LAUNCH`` the stage starts itself again through the launcher that it names.
    """

    @functools.wraps(main)
    def stage(**arguments: str) -> None:
        launch.through_launcher()
        with joined():
            main(**arguments)
            follows = not launch.leads()
        if follows:
            sys.exit(0)

    return stage


@contextmanager
def joined() -> Iterator[None]:
    """Within this block the processes of a launcher are one run: gloo on CPU, NCCL on GPUs, one GPU each.

    Of an error that several of them see, the first to see it speaks; the others exit with code 2 in silence. Raises
    ConfigError for a launcher's variables that contradict each other, or when a process has no GPU of its own.
    """
    rank, world, local = (
        _given(name, default) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    if world <= 1:
        yield
        return
    if "RANK" not in os.environ or rank >= world:
        raise ConfigError(
            f"WORLD_SIZE is {world}, but RANK is {os.environ.get('RANK', 'not set')}; start the stage with torchrun, "
            "or unset WORLD_SIZE"
        )
    launch.join(rank, world)
    if not launch.leads():
        for name in (None, "slt"):
            logging.getLogger(name).setLevel(logging.ERROR)
    gpu = device_name().startswith("cuda")
    if gpu:
        _take_gpu(local)
    with _lost():
        store, _, _ = next(distributed.rendezvous("env://", rank, world, timeout=PATIENCE))
        # figures travel by gloo either way
        backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=PATIENCE)
    try:
        yield
    except Exception:  # of any kind: only who reports it is decided here
        if not _first_to_speak(store):
            sys.exit(2)
        raise
    finally:
        distributed.destroy_process_group()
        launch.join(0, 1)


def _take_gpu(local: int) -> None:
    device, count = device_name(), torch.cuda.device_count()
    if device != "cuda":
        raise ConfigError(f"SLT_DEVICE is `{device}`, one GPU for several processes; set it to cuda, or unset it")
    if local >= count:
        raise ConfigError(
            f"LOCAL_RANK is {local}, but this process sees {count} GPUs (CUDA_VISIBLE_DEVICES is"
            f" {os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')}), and each process needs one of its own; start no"
            f" more than {count} a machine (torchrun: --nproc-per-node {count}), or let each process see all GPUs"
        )
    torch.cuda.set_device(local)


def _given(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        raise ConfigError(f"{name} is `{text}`, no whole number; a launcher such as torchrun sets it, or unset it")
    return int(text)


def _first_to_speak(store: distributed.Store) -> bool:
    try:
        return store.add(SPOKEN, 1) == 1
    except RuntimeError:  # the process that held the store is gone
        return True


@contextmanager
def _lost() -> Iterator[None]:
    """Collectives fail when another process does."""
    try:
        yield
    except RuntimeError as error:
        if resources.out_of_memory(error):
            raise
        raise DataError(
            f"process {launch.rank()} of {launch.world()} (from 0) has lost another one; its own message or the "
            "launcher's says why. Start all of them again: training goes on from the last checkpoint, with any number "
            f"of processes ({str(error).splitlines()[0]})"
        ) from error


def led(make: Callable[..., T], *arguments: Any) -> T:
    """What ``make`` returns, made by the leading process first, so that the others find the files it left."""
    if not launch.leads():
        wait()
    value = make(*arguments)
    if launch.leads():
        wait()
    return value


def wait() -> None:
    """Until every process has come here."""
    _reduce(torch.zeros(1), distributed.ReduceOp.SUM)


def own(count: int) -> range:
    """Which of a step's micro-batches this process computes."""
    return range(launch.rank(), count, launch.world())


def summed(figures: dict[str, float], names: list[str]) -> dict[str, float]:
    """Each figure added up over the processes, in the order of ``names``; those that no process has are left out."""
    if launch.world() == 1:
        return figures
    table = torch.tensor([[figures.get(name, 0.0), name in figures] for name in names], dtype=torch.float64)
    _reduce(table, distributed.ReduceOp.SUM)
    return {name: value for name, (value, present) in zip(names, table.tolist(), strict=True) if present}


def highest(*numbers: int) -> list[int]:
    """The highest that any process gives of each number: a decision of one is one of all."""
    if launch.world() == 1:
        return list(numbers)
    table = torch.tensor(numbers)
    _reduce(table, distributed.ReduceOp.MAX)
    return table.tolist()


def sum_gradients(parameters: list[nn.Parameter]) -> None:
    """Add the processes' gradients; a parameter that none of them has used keeps none, so that it does not decay."""
    if launch.world() == 1:
        return
    used = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.int32)
    _reduce(used, distributed.ReduceOp.MAX)
    bucket: list[Tensor] = []
    for parameter, is_used in zip(parameters, used.tolist(), strict=True):
        if not is_used:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        bucket.append(parameter.grad)
        if sum(gradient.numel() for gradient in bucket) >= BUCKET:
            _sum_in_place(bucket)
            bucket = []
    if bucket:
        _sum_in_place(bucket)


def _sum_in_place(tensors: list[Tensor]) -> None:
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    _reduce(flat, distributed.ReduceOp.SUM)
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


class BatchStatistics:
    """One step's update of the running statistics of batch normalisations, whoever computes which micro-batch.

    Normalisation itself is per micro-batch, so the number of processes does not change it. The running averages are
    moved by each micro-batch in turn, the last ones weighing most. So a process notes the statistics of each
    micro-batch that it computes (with a momentum of 1 the running ones become just these), and all processes then apply
    those of the whole step, in the order of its micro-batches, as one process would have.
    """

    def __init__(self, model: nn.Module, count: int) -> None:
        """Begin a step of ``count`` micro-batches."""
        modules = model.modules() if launch.world() > 1 else ()
        self.norms = [module for module in modules if isinstance(module, _BatchNorm) and module.track_running_stats]
        self.momenta = [_given_momentum(norm) for norm in self.norms]
        self.start = [[buffer.clone() for buffer in _buffers(norm)] for norm in self.norms]
        self.tracked = [_tracked(norm) + count for norm in self.norms]
        self.taken: list[Tensor | None] = [None] * count
        for norm in self.norms:
            norm.momentum = 1.0

    def take(self, index: int) -> None:
        """Note the statistics of micro-batch ``index``, which has just been computed."""
        if self.norms:
            self.taken[index] = torch.cat([buffer for norm in self.norms for buffer in _buffers(norm)])

    def merge(self) -> None:
        """End the step."""
        if not self.norms:
            return
        nothing = torch.zeros_like(torch.cat([buffer for start in self.start for buffer in start]))
        table = torch.stack([nothing if taken is None else taken for taken in self.taken])
        _reduce(table, distributed.ReduceOp.SUM)  # each row is one process's alone
        sizes = [buffer.numel() for start in self.start for buffer in start]
        statistics = [row.double().split(sizes) for row in table]
        at = 0
        for norm, start, momentum, tracked in zip(self.norms, self.start, self.momenta, self.tracked, strict=True):
            for buffer, begun in zip(_buffers(norm), start, strict=True):
                running = begun
                for row in statistics:
                    running = (momentum * row[at] + (1 - momentum) * running).to(begun.dtype)
                buffer.copy_(running)
                at += 1
            norm.momentum = momentum
            _tracked(norm).copy_(tracked)


def _given_momentum(norm: _BatchNorm) -> float:
    if norm.momentum is None:
        raise ValueError("a batch normalisation without momentum averages over all steps, which is not merged here")
    return norm.momentum


def _buffers(norm: _BatchNorm) -> list[Tensor]:
    assert norm.running_mean is not None and norm.running_var is not None
    return [norm.running_mean, norm.running_var]


def _tracked(norm: _BatchNorm) -> Tensor:
    assert norm.num_batches_tracked is not None
    return norm.num_batches_tracked


def share(model: nn.Module, *what: Any) -> None:
    """Give every process the leading one's weights; DataError unless all are about to train the same ``what``."""
    if launch.world() == 1:
        return
    number = int(fingerprint(*what)[:12], 16)
    if highest(number, -number) != [number, -number]:
        raise DataError(
            "the processes of this run do not train the same thing from the same step; give all of them the same code, "
            "parameters, data/ and SLT_WORK (on a shared file system)"
        )
    for tensor in model.state_dict().values():
        with _lost():
            distributed.broadcast(tensor, 0)


def check_equal(model: nn.Module, step: int) -> None:
    """DataError when the weights are no longer the same everywhere, which nothing else would show."""
    if launch.world() == 1:
        return
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    number = int(digest.hexdigest()[:12], 16)
    if highest(number, -number) != [number, -number]:
        raise DataError(
            f"step {step}: the processes hold different weights; let all of them have the same kind of device and the "
            "same libraries. The last checkpoint stays"
        )


def _reduce(tensor: Tensor, operation: Any) -> None:
    if launch.world() > 1:
        with _lost():
            distributed.all_reduce(tensor, operation)
