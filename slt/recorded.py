"""Passes of training recorded as CUDA graphs, since a GPU waits for Python to start their kernels one by one.

A pass forward and backward through twelve layers is some thousands of kernels, which take a GPU less time than Python
takes to start them. A recorded pass is started at once, but has one shape: so batches are rounded up to few shapes.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from slt import resources
from slt.models.sign_encoder import SignEncoder
from slt.models.text_decoder import TextDecoder

log = logging.getLogger(__name__)

FRAMES, CLIPS, TOKENS = 16, 8, 2
"""into how many shapes a length up to its double is divided: of frames rounding adds 3 % on average"""


def rounded(length: int, fineness: int, limit: int | None = None) -> int:
    """A length rounded up to one of so many between a power of two and the next; as it is if that is over the limit."""
    step = max(1, 2 ** (length.bit_length() - 1) // fineness)
    up = -(-length // step) * step
    return length if limit is not None and up > limit else up


@contextmanager
def recorded(model: nn.Module) -> Iterator[None]:
    """Within it, a model's sign encoder and text decoder compute by recorded passes while they are trained on a GPU.

    Of each shape from the second batch on. What is padded in addition has no influence, so results agree to rounding;
    dropout is another draw, as it is on another device. What does not do the same each time is left as it is: a model
    that drops layers by chance, or computes them anew for the gradient, to save memory.
    """
    encoder, decoder = getattr(model, "encoder", None), getattr(model, "decoder", None)
    with ExitStack() as replaced:
        if isinstance(encoder, SignEncoder) and _repeats(encoder):
            replaced.enter_context(_replaced(encoder, "frame_states", _states(encoder)))
        if isinstance(decoder, TextDecoder) and _repeats(decoder):
            replaced.enter_context(_replaced(decoder, "logits", _logits(decoder)))
        yield


def _repeats(part: nn.Module) -> bool:
    """Whether its passes are the same kernels each time, as far as transformers' models say."""
    return not any(
        getattr(module, "gradient_checkpointing", False) or getattr(module, "layerdrop", 0) for module in part.modules()
    )


@contextmanager
def _replaced(module: nn.Module, name: str, function: Callable[..., Tensor]) -> Iterator[None]:
    setattr(module, name, function)
    try:
        yield
    finally:
        delattr(module, name)  # the class' own again


def _states(encoder: SignEncoder) -> Callable[[Tensor, Tensor], Tensor]:
    """Frame states (B, T, D) of features (B, T, F) and mask (B, T) that are rounded up."""
    passes = _Passes(encoder, encoder.frame_states)
    # text encoders with a padding index begin counting positions behind it
    limit = encoder.transformer.config.max_position_embeddings - 2

    def states(features_BTF: Tensor, mask_BT: Tensor) -> Tensor:
        if not encoder.training:
            return passes.plain(features_BTF, mask_BT)
        count, frames = mask_BT.shape
        clips, longest = rounded(count, CLIPS), rounded(frames, FRAMES, limit)
        padded = _padded(features_BTF, clips, longest), _padded(mask_BT, clips, longest)
        return passes(*padded)[:count, :frames]

    return states


def _logits(decoder: TextDecoder) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Logits (B, L, V) of memory (B, M, D), its mask (B, M) and inputs (B, L) that are rounded up."""
    passes = _Passes(decoder, decoder.logits)
    limit = decoder.longest + len(decoder.prompt)

    def logits(memory_BMD: Tensor, mask_BM: Tensor, inputs_BL: Tensor) -> Tensor:
        if not decoder.training:
            return passes.plain(memory_BMD, mask_BM, inputs_BL)
        (count, remembered), tokens = mask_BM.shape, inputs_BL.shape[1]
        clips, longest, end = rounded(count, CLIPS), rounded(remembered, FRAMES), rounded(tokens, TOKENS, limit)
        mask = _padded(mask_BM, clips, longest)
        if clips > count:
            mask[count:, 0] = 1  # a row without a clip: nothing to attend to is no number
        memory, inputs = _padded(memory_BMD, clips, longest), _padded(inputs_BL, clips, end, decoder.pad)
        return passes(memory, mask, inputs)[:count, :tokens]

    return logits


def _padded(tensor: Tensor, rows: int, columns: int, value: float = 0) -> Tensor:
    """A tensor (B, L, ...) with more rows and columns, of this value."""
    more = rows - tensor.shape[0], columns - tensor.shape[1]
    return functional.pad(tensor, (*[0, 0] * (tensor.ndim - 2), 0, more[1], 0, more[0]), value=value)


class _Passes:
    """A function of tensors in training, from each shape's second call on by a recording of that shape."""

    def __init__(self, module: nn.Module, plain: Callable[..., Tensor]) -> None:
        self.module, self.plain = module, plain
        self.seen: dict[tuple[Any, ...], _Recorded | None] = {}
        self.shared: _Shared | None = None
        self.records = True
        """until a pass turns out not to be recordable"""

    def __call__(self, *inputs: Tensor) -> Tensor:
        key = tuple((tuple(tensor.shape), tensor.dtype, tensor.requires_grad) for tensor in inputs)
        if inputs[0].is_cuda and self.records and key in self.seen and self.seen[key] is None:
            with torch.cuda.device(inputs[0].device):  # what is recorded is the current device's
                self.seen[key] = self._record(inputs)
        found = self.seen.setdefault(key, None)
        return found(*inputs) if found else self.plain(*inputs)

    def _record(self, inputs: Sequence[Tensor]) -> "_Recorded | None":
        """None, then and for all that follow, where it cannot be done."""
        try:
            self.shared = self.shared or _Shared.of(self.module, self.plain, inputs)
            return self.shared.record(inputs)
        except RuntimeError as error:
            lacking = resources.out_of_memory(error)
            if not lacking and "captur" not in str(error):
                raise
            reason = str(error).splitlines()[0]
        self.records = False
        if lacking:  # what is recorded gives its memory back
            self.seen, self.shared = {}, None
            torch.cuda.empty_cache()
        log.warning("kernels of %s are started one by one (%s)", type(self.module).__name__, reason)
        return None


@dataclass
class _Room:
    """Memory of a GPU at one place, for tensors of many shapes of which one is needed at a time."""

    memory: Tensor | None = None

    def for_one_like(self, tensor: Tensor) -> Tensor:
        """Not initialised. What was given out before stays valid where it is too small for this one."""
        if self.memory is None or self.memory.numel() < tensor.numel() or self.memory.dtype != tensor.dtype:
            self.memory = torch.empty(tensor.numel(), dtype=tensor.dtype, device=tensor.device)
        return self.memory[: tensor.numel()].view(tensor.shape)


@dataclass
class _Shared:
    """What all recordings of a function share, so that one more takes little memory.

    Not those of another function: between its two passes others' are replayed.
    """

    module: nn.Module
    plain: Callable[..., Tensor]
    parameters: list[nn.Parameter]
    """those that the function depends on"""
    gradients: list[Tensor]
    """theirs, where every recorded backward pass leaves them"""
    inputs: list[_Room]
    d_inputs: list[_Room]
    output: _Room = field(default_factory=_Room)
    d_output: _Room = field(default_factory=_Room)
    aside: torch.cuda.Stream = field(default_factory=torch.cuda.Stream)
    pool: Any = field(default_factory=torch.cuda.graph_pool_handle)

    @classmethod
    def of(cls, module: nn.Module, plain: Callable[..., Tensor], inputs: Sequence[Tensor]) -> "_Shared":
        with _untouched(module), _uncached():
            output = plain(*(tensor.detach() for tensor in inputs))
            every = [parameter for parameter in module.parameters() if parameter.requires_grad]
            made = torch.autograd.grad(output, every, torch.zeros_like(output), allow_unused=True)
        parameters = [parameter for parameter, gradient in zip(every, made, strict=True) if gradient is not None]
        gradients = [torch.empty_like(parameter.detach()) for parameter in parameters]
        return cls(module, plain, parameters, gradients, [_Room() for _ in inputs], [_Room() for _ in inputs])

    def record(self, given: Sequence[Tensor]) -> "_Recorded":
        """Record both passes of a shape; weights, running averages and the generator are left as they are."""
        inputs = [room.for_one_like(tensor) for room, tensor in zip(self.inputs, given, strict=True)]
        for place, tensor in zip(inputs, given, strict=True):
            place.copy_(tensor.detach())
        inputs = [
            place.detach().requires_grad_(tensor.requires_grad) for place, tensor in zip(inputs, given, strict=True)
        ]
        asked = [place for place in inputs if place.requires_grad]
        d_inputs = [
            room.for_one_like(place.detach()) if place.requires_grad else None
            for room, place in zip(self.d_inputs, inputs, strict=True)
        ]
        places = [*(place for place in d_inputs if place is not None), *self.gradients]
        forward, backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with _untouched(self.module), _uncached():
            self.aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.aside):  # libraries set themselves up in a first pass: it must not be recorded
                made = self.plain(*inputs)
                output, d_output = (room.for_one_like(made.detach()) for room in (self.output, self.d_output))
                output.copy_(made.detach())
                d_output.zero_()
                torch._foreach_copy_(places, torch.autograd.grad(made, [*asked, *self.parameters], d_output))
                del made
            torch.cuda.current_stream().wait_stream(self.aside)
            # thread_local: the threads that make batches pin memory meanwhile
            with torch.cuda.graph(forward, self.pool, capture_error_mode="thread_local"):
                made = self.plain(*inputs)
                output.copy_(made.detach())
            with torch.cuda.graph(backward, self.pool, capture_error_mode="thread_local"):
                torch._foreach_copy_(places, torch.autograd.grad(made, [*asked, *self.parameters], d_output))
        return _Recorded(self, inputs, d_inputs, output, d_output, forward, backward)


def _uncached() -> torch.autocast:
    """Autocast as it is, but for its memory of rounded weights: a recording would have those of its own step."""
    dtype, enabled = torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda")
    return torch.autocast("cuda", dtype, enabled, cache_enabled=False)


@contextmanager
def _untouched(module: nn.Module) -> Iterator[None]:
    """Running averages and the generator are afterwards what they were."""
    buffers, generator = [buffer.clone() for buffer in module.buffers()], torch.cuda.get_rng_state()
    try:
        yield
    finally:
        for buffer, before in zip(module.buffers(), buffers, strict=True):
            buffer.copy_(before)
        torch.cuda.set_rng_state(generator)


@dataclass
class _Recorded:
    """The passes of one shape, and the tensors that they read and write."""

    shared: _Shared
    inputs: list[Tensor]
    d_inputs: list[Tensor | None]
    output: Tensor
    d_output: Tensor
    forward: torch.cuda.CUDAGraph
    backward: torch.cuda.CUDAGraph

    def __call__(self, *inputs: Tensor) -> Tensor:
        output: Tensor = _Replayed.apply(self, *inputs, *self.shared.parameters)  # type: ignore[no-untyped-call]
        return output


class _Replayed(torch.autograd.Function):
    """A recorded pass as an operation of autograd's. What it returns holds until the function's next recorded pass."""

    @staticmethod
    def forward(ctx: Any, recorded: _Recorded, *given: Tensor) -> Tensor:
        ctx.recorded = recorded
        for place, tensor in zip(recorded.inputs, given, strict=False):  # parameters follow
            place.detach().copy_(tensor)
        recorded.forward.replay()
        return recorded.output.detach()

    @staticmethod
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        recorded: _Recorded = ctx.recorded
        recorded.d_output.copy_(d_output)
        recorded.backward.replay()
        # copies, since the next recorded pass writes its own to the same place
        return None, *recorded.d_inputs, *torch._foreach_mul(recorded.shared.gradients, 1.0)
