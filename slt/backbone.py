"""A frozen timm image backbone: uint8 frames in, pooled float16 features out."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import timm
import torch
from timm.data import resolve_model_data_config
from torch import nn

from slt.config.data import FeaturesConfig
from slt.errors import ConfigError, DataError
from slt.folding import fold_batch_norms
from slt.stage import compiles, device_name
from slt.weights import resolve_weights, single_weight_file, weights_sha256

log = logging.getLogger("slt.features")

GEM = "gem"
GEM_POWER = 3.0  # Radenović et al. 2018
TIMM_POOLS = {"avg+max": "catavgmax", GEM: ""}
"""what timm calls a pool of ours that it does not know by our name; gem is none of timm's, so it hands over the map"""


class GemPool(nn.Module):
    """Generalised mean over a feature map: the root of the mean of powers; values below zero count as zero."""

    def forward(self, x_BFHW: torch.Tensor) -> torch.Tensor:
        if x_BFHW.ndim != 4:
            raise ConfigError(
                f"features.pool: {GEM} needs a feature map (B x F x H x W), which this backbone does not give "
                f"(it gives {x_BFHW.ndim} dimensions); take another pool"
            )
        # in float32, since bfloat16 has three digits, which powers eat up; the floor keeps roots away from zero
        return x_BFHW.float().clamp(min=1e-6).pow(GEM_POWER).mean((2, 3)).pow(1 / GEM_POWER)


class Backbone:
    """A timm model without its classifier, as the features stage and ``slt translate`` run it.

    Every forward pass has exactly ``config.batch`` frames, the last one filled up with black ones: kernels are chosen
    by shape, so a frame's features do not depend on how many frames came with it. Nor do they depend on which frames
    these were or on the place among them: on CPU to the bit (seen, in float32 and bfloat16); what tests hold and what
    may be relied on elsewhere is 1e-3 of the largest feature.
    """

    def __init__(self, config: FeaturesConfig, size: int, model: nn.Module, sha256: str, device: torch.device) -> None:
        self.config, self.size, self.device = config, size, device
        data = resolve_model_data_config(model)
        if data.get("fixed_input_size") and data["input_size"][-1] != size:
            raise ConfigError(
                f"backbone {config.backbone} takes frames of {data['input_size'][-1]} pixels, not {size}; "
                "set frames.size to that"
            )
        self.mean, self.std = tuple(data["mean"]), tuple(data["std"])
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        # (x / 255 - mean) / std as one multiplication and one addition
        self._scale = (1 / (255 * std)).view(1, 3, 1, 1).to(device)
        self._shift = (-mean / std).view(1, 3, 1, 1).to(device)
        if config.pool == GEM:
            model = nn.Sequential(model, GemPool())
        frozen = fold_batch_norms(model.eval().requires_grad_(False), size)
        if config.precision == "bfloat16":
            _round_weights(frozen)
        self.model = frozen.requires_grad_(False).to(device).to(memory_format=torch.channels_last)
        self.sha256 = sha256
        self.dim = int(self._forward(torch.zeros(1, size, size, 3, dtype=torch.uint8)).shape[1])
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        if compiles():  # from here on every forward pass has one shape, so it is compiled once
            self.model = cast(nn.Module, torch.compile(self.model, dynamic=False))
        self._recorded = _Recorded.of(self._forward, (config.batch, size, size, 3), device) if self._copies else None

    @classmethod
    def load(cls, config: FeaturesConfig, size: int, device: str | None = None) -> Backbone:
        """The backbone of a ``features`` section for frames of ``size`` pixels, on ``SLT_DEVICE`` or the GPU if any.

        Raises ConfigError for a name timm does not know or weights that do not fit it, DataError for missing ones.
        """
        if ":" in config.backbone:  # timm would fetch `hf-hub:…`, of whatever revision there is
            raise ConfigError(
                f"backbone `{config.backbone}`: name the architecture as timm calls it, and a model of the hub under "
                "features.weights as hub:<id>@<revision>"
            )
        weights = resolve_weights(config.weights)
        pool = TIMM_POOLS.get(config.pool, config.pool)
        try:
            model: Any = timm.create_model(config.backbone, pretrained=False, global_pool=pool or "avg")
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            close = ", ".join(timm.list_models(f"*{config.backbone.split('_')[-1]}*")[:5])
            raise ConfigError(
                f"backbone `{config.backbone}`: timm {timm.__version__} cannot make it with pool `{config.pool}` "
                f"({error}){'; near names: ' + close if close else ''}"
            ) from error
        path = single_weight_file(weights)
        load_weights(model, path, config.backbone)
        model.reset_classifier(0, pool)
        return cls(config, size, model, weights_sha256(path), torch.device(device or device_name()))

    @property
    def provenance(self) -> dict[str, Any]:
        """What made the features, for the index of every feature set and the rows that rest on it."""
        return {
            **dataclasses.asdict(self.config),
            "weights_sha256": self.sha256,
            "dim": self.dim,
            "mean": list(self.mean),
            "std": list(self.std),
            "input_size": self.size,
        }

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Features (N, dim), float16, of RGB frames (N, size, size, 3), uint8; any N, run in batches of ``batch``.

        Raises DataError for other shapes and for features that float16 cannot hold.
        """
        if frames.dtype != np.uint8 or frames.shape[1:] != (self.size, self.size, 3):
            raise DataError(
                f"backbone {self.config.backbone} takes uint8 frames N x {self.size} x {self.size} x 3, "
                f"not {frames.dtype} {' x '.join(map(str, frames.shape))}"
            )
        batch = self.config.batch
        return np.concatenate(
            [
                np.empty((0, self.dim), np.float16),
                *(self.finish(self.start(frames[at : at + batch])) for at in range(0, len(frames), batch)),
            ]
        )

    def start(self, frames: np.ndarray) -> Pending:
        """Begin the forward pass of at most ``batch`` frames; a GPU goes on with it while the next one is prepared.

        The frames must stay as they are until :func:`finish`. Copies overlap with computing where the frames lie in
        pinned memory (:func:`frame_buffer`).
        """
        count, batch = len(frames), self.config.batch
        if count < batch:
            filled = frame_buffer((batch, *frames.shape[1:]))
            filled[:count], filled[count:] = frames, 0
            frames = filled
        source = torch.from_numpy(frames)
        if self._copies is None:
            return Pending(source, self._forward(source), None, count)
        with torch.cuda.stream(self._copies):  # beside the forward pass of the batch before
            pixels = source.to(self.device, non_blocking=True)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self._copies)
        pixels.record_stream(computing)
        made = self._recorded(pixels) if self._recorded else self._forward(pixels)
        features = torch.empty(made.shape, dtype=made.dtype, pin_memory=True)
        features.copy_(made, non_blocking=True)
        done = torch.cuda.Event()
        done.record(computing)
        return Pending(source, features, done, count)

    def finish(self, pending: Pending) -> np.ndarray:
        """The features (N, dim), float16, of a batch that was started; DataError as for a call."""
        if pending.done is not None:
            pending.done.synchronize()
        features = pending.features.cpu().numpy()[: pending.count]
        if not np.isfinite(features).all():
            raise DataError(
                f"backbone {self.config.backbone} gave features beyond float16 (65504) or no number; check that the "
                f"weights `{self.config.weights}` belong to it, or try precision float32"
            )
        return features

    @torch.inference_mode()
    def _forward(self, frames_BHWC: torch.Tensor) -> torch.Tensor:
        # a view of B x H x W x C bytes as B x C x H x W is already channels_last
        pixels = frames_BHWC.to(self.device).permute(0, 3, 1, 2)
        images = pixels.float().mul_(self._scale).add_(self._shift)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            return self.model(images).to(torch.float16)


class _Recorded:
    """A forward pass of one shape as a CUDA graph: a GPU is told once a batch what to do, not once a kernel.

    A pass is a few hundred kernels; each would be started by Python, while the threads that decode want Python too.
    """

    def __init__(self, forward: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, ...], device: torch.device):
        self.pixels = torch.zeros(shape, dtype=torch.uint8, device=device)
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):  # libraries set themselves up in the first passes, which must not be recorded
            for _ in range(3):
                forward(self.pixels)
        torch.cuda.current_stream(device).wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.features = forward(self.pixels)

    @classmethod
    def of(
        cls, forward: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, ...], device: torch.device
    ) -> _Recorded | None:
        """The recorded pass; None for a model that cannot be recorded, since it looks at its numbers on the way."""
        try:
            with torch.cuda.device(device):  # what is recorded is the current device's
                return cls(forward, shape, device)
        except RuntimeError as error:
            if "captur" not in str(error):
                raise
            log.warning("the backbone's kernels are started one by one (%s)", str(error).splitlines()[0])
            return None

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """The features of one batch; they stay until the next one's are computed."""
        self.pixels.copy_(pixels, non_blocking=True)
        self.graph.replay()
        return self.features


def _round_weights(model: nn.Module) -> None:
    """Store the weights of convolutions and linear layers in bfloat16, as autocast rounds them at every forward pass.

    The same numbers; autocast keeps rounded weights from pass to pass only while they are being trained.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(torch.bfloat16)


@dataclasses.dataclass(frozen=True)
class Pending:
    """A batch whose forward pass may still run: its frames, which a GPU may be reading, and what becomes its features.

    ``count`` frames of the batch are real; ``done`` is None where nothing runs any more.
    """

    frames: torch.Tensor
    features: torch.Tensor
    done: torch.cuda.Event | None
    count: int


def frame_buffer(shape: tuple[int, ...]) -> np.ndarray:
    """Memory for frames, uint8, not initialised; pinned where there is a GPU, which then copies while it computes."""
    return torch.empty(shape, dtype=torch.uint8, pin_memory=torch.cuda.is_available()).numpy()


def load_weights(model: Any, path: Path, name: str) -> None:
    """Load a checkpoint into a timm model that still has its classifier; the classifier's weights may be missing.

    Names must be the model's own; a checkpoint with other names throughout, as the publishers of EfficientNet-lite
    wrote it, is matched by order after its count and every shape were checked.

    ``model`` is a timm model, which torch's types do not know. Raises ConfigError naming the first tensor that does
    not fit, DataError when the file cannot be read.
    """
    state = _read_state(path)
    own = model.state_dict()
    heads = model.default_cfg.get("classifier") or ()
    prefixes = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    needed = {key: value for key, value in own.items() if not (prefixes and key.startswith(prefixes))}
    if not set(state) & set(own):
        if len(state) == len(needed):
            own = needed
        if len(state) != len(own):
            raise ConfigError(
                f"{path}: {len(state)} tensors under other names, but {name} has {len(own)}; these are another "
                "model's weights: correct features.backbone or features.weights"
            )
        state = dict(zip(own, state.values(), strict=True))
    missing = [key for key in needed if key not in state]
    unexpected = [key for key in state if key not in needed and not (prefixes and key.startswith(prefixes))]
    if missing or unexpected:
        first = f"lacks `{missing[0]}`" if missing else f"has an unknown `{unexpected[0]}`"
        raise ConfigError(
            f"{path}: not the weights of {name}: it {first} ({len(missing)} missing, {len(unexpected)} unknown)"
        )
    for key, value in needed.items():
        if state[key].shape != value.shape:
            shapes = f"{tuple(state[key].shape)}, expected {tuple(value.shape)}"
            raise ConfigError(f"{path}: not the weights of {name}: `{key}` is {shapes}")
    model.load_state_dict({key: state[key] for key in needed}, strict=False)


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zipfile, pickle, safetensors and torch each raise their own
        raise DataError(f"{path}: no readable weights ({type(error).__name__}: {error}); get the file again") from error
    for key in ("state_dict", "model"):  # how training scripts wrap it
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise DataError(f"{path}: holds no state dict of tensors; save the model's state_dict() alone")
    return {key.removeprefix("module."): value for key, value in state.items()}
