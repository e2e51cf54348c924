"""Phase 1: the sign encoder learns to predict the sentence embedding of what is signed."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slt.batching import draw_lengths, pad_features, resample, rng, subsample
from slt.clips import ClipSet, feature_deviation
from slt.config.data import TeacherConfig
from slt.config.train import AugmentConfig, EncoderConfig, Sign2semConfig
from slt.decoding import VALIDATION, WITHOUT_GRADIENT, encode_clips
from slt.errors import ConfigError
from slt.losses import sem_loss
from slt.models.sign_encoder import copy_teacher, random_transformer, teacher_transformer
from slt.models.translator import SignTranslator, SignTranslatorConfig
from slt.sem_metrics import sem_figures
from slt.sem_space import SemSpace
from slt.stage import device_name

LENGTHS, CLIPS = 1, 2
"""third parts of keys: that of an epoch's lengths, and of its first clip; 0 would be the key of the epoch's order"""


class ClipBatches:
    """Training clips as augmented, padded micro-batches; what a clip looks like depends on (seed, epoch, clip).

    But for the noise where a GPU trains: there it is drawn by the GPU, as dropout is, from (seed, step, micro-batch). A
    core draws a billion normal numbers, one for each feature of an epoch of PHOENIX-2014T, in ten seconds, and a GPU
    should not wait for it; the features then travel as they are stored, in half the bytes.
    """

    def __init__(
        self, clips: ClipSet, augmentation: AugmentConfig, positions: int, seed: int, on_gpu: bool | None = None
    ) -> None:
        self.clips, self.augmentation, self.positions, self.seed = clips, augmentation, positions, seed
        # of a corpus' size ten seconds, so not where nothing is scaled by it
        self.deviation = feature_deviation(clips.features) if augmentation.noise else np.zeros(0, np.float32)
        self.augmented = augmentation != AugmentConfig(1.0, 1.0, 0.0, 0.0)
        self.on_gpu = device_name().startswith("cuda") if on_gpu is None else on_gpu
        self._scale: Tensor | None = None
        self._drawn: tuple[int, np.ndarray, np.ndarray] | None = None

    def lengths(self, epoch: int) -> list[int]:
        """Frames of each clip as the encoder is given it in this epoch."""
        kept = self._draw(epoch)[1] if self.augmented else np.asarray(self.clips.lengths)
        return np.minimum(kept, self.positions).tolist()

    def batch(self, items: list[int], epoch: int) -> dict[str, Any]:
        """``features`` (B, T, F), ``mask`` (B, T) and ``sems`` (B, S) of these clips."""
        arrays = [self._clip(item, epoch) for item in items]
        stored, pinned = (torch.float16, torch.cuda.is_available()) if self.on_gpu else (torch.float32, False)
        features, mask = pad_features(arrays, stored, pinned)
        return {"features": features, "mask": mask, "sems": torch.from_numpy(self.clips.sems[items])}

    def _clip(self, item: int, epoch: int) -> np.ndarray:
        clip = self.clips.features[item]
        if not self.augmented:
            return subsample(clip, self.positions)
        frames, kept = self._draw(epoch)
        draw = rng(self.seed, epoch, CLIPS + item)
        clip = subsample(resample(clip, frames[item], kept[item], draw), self.positions)
        if self.on_gpu or not self.augmentation.noise:
            return clip
        noise = draw.standard_normal(clip.shape, dtype=np.float32)
        return clip.astype(np.float32) + self.augmentation.noise * self.deviation * noise

    def _draw(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        drawn = self._drawn
        if drawn is None or drawn[0] != epoch:  # threads that are in two epochs may draw again, the same
            draw = rng(self.seed, epoch, LENGTHS)
            drawn = self._drawn = (epoch, *draw_lengths(self.clips.lengths, self.augmentation, draw))
        return drawn[1:]

    def given(self, batch: dict[str, Any]) -> Tensor:
        """The features (B, T, F), float32, that the encoder is given, on the device where the batch is."""
        features: Tensor = batch["features"]
        if not self.on_gpu:
            return features
        features = features.float()
        if not self.augmentation.noise:
            return features
        if self._scale is None:
            self._scale = self.augmentation.noise * torch.from_numpy(self.deviation).to(features.device)
        return features + self._scale * torch.randn_like(features)  # the padding's is never looked at


class Sign2sem:
    """The phase as the training loop wants it; selected by Spearman on dev, as the authors do."""

    select = "spearman"

    def __init__(self, model: SignTranslator, config: Sign2semConfig, train: ClipSet, dev: ClipSet) -> None:
        self.model, self.config, self.dev = model, config, dev
        self.batches = ClipBatches(train, config.augment, config.encoder.positions, config.seed)

    def lengths(self, epoch: int) -> list[int]:
        return self.batches.lengths(epoch)

    def batch(self, items: list[int], epoch: int) -> dict[str, Any]:
        return self.batches.batch(items, epoch)

    def counts(self, items: Sequence[int]) -> dict[str, float]:
        return {"loss_sem": len(items)}

    def losses(self, batch: dict[str, Any]) -> dict[str, tuple[Tensor, float]]:
        _, predicted = self.model.encode(self.batches.given(batch), batch["mask"])
        return {"loss_sem": (sem_loss(self.config.loss, predicted, batch["sems"]), 1.0)}

    def validate(self) -> tuple[dict[str, float], None]:
        frames = WITHOUT_GRADIENT * self.config.training.micro_batch
        predicted = encode_clips(self.model, self.dev.features, VALIDATION, frames)
        mse = float(np.square(predicted - self.dev.sems).mean())
        return {**sem_figures(predicted, self.dev.sems), "mse": mse}, None


def new_encoder(
    encoder: EncoderConfig,
    teacher: TeacherConfig,
    space: SemSpace,
    feature_dim: int,
    pipeline: dict[str, Any],
    seed: int,
) -> SignTranslator:
    """A sign encoder at its start: from scratch, or from the teacher's own Transformer (``init: sbert``).

    Raises ConfigError when the teacher's position table is shorter than the configured one.
    """
    torch.manual_seed(seed)
    source: nn.Module | None = None
    if encoder.init == "random":
        sizes = {key: value for key, value in asdict(encoder).items() if key != "init"}
        transformer = random_transformer(**sizes)
    else:
        source = _teacher_module(teacher)
        transformer = teacher_transformer(source, encoder.dropout)
        if transformer["max_position_embeddings"] < encoder.positions:
            raise ConfigError(
                f"sign2sem.encoder.positions: {encoder.positions}, but the teacher {teacher.model} has a table of"
                f" {transformer['max_position_embeddings']}; lower it"
            )
    model = SignTranslator(
        SignTranslatorConfig(
            feature_dim=feature_dim,
            sem_dim=teacher.size,
            encoder=transformer,
            sem_space=space.to_json(),
            pipeline=pipeline,
        )
    )
    if source is not None:
        copy_teacher(model.encoder, source)
        head = model.encoder.head  # from the teacher's own space to the one the targets live in
        with torch.no_grad():
            head.weight.mul_(space.scale)
            head.bias.copy_(torch.from_numpy(-space.scale * space.mean))
    return model


def _teacher_module(teacher: TeacherConfig) -> nn.Module:
    from transformers import AutoModel

    from slt.weights import resolve_weights

    return AutoModel.from_pretrained(str(resolve_weights(teacher.model)), dtype=torch.float32)
