"""The sign encoder: frame features to per-frame states and one sentence embedding (SEM)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the valid frames only, so that padding changes neither output nor statistics.

    Input (B, T, D) and mask (B, T); output (B, T, D) with zeros at the padding.
    Source: the authors' released sign2sem, after SLT's ``MaskedNorm``.
    """

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:  # type: ignore[override]
        if self.training and x_BTD.is_cuda:
            return self.without_selecting(x_BTD, mask_BT)
        mask = mask_BT.bool()
        out = torch.zeros_like(x_BTD)
        out[mask] = super().forward(x_BTD[mask]).to(out.dtype)
        return out

    def without_selecting(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """The same in training, to rounding: to select frames, a GPU is waited for until their number is known."""
        padding = ~mask_BT.bool().unsqueeze(-1)
        count = mask_BT.sum()
        x = x_BTD.float().masked_fill(padding, 0.0)
        mean = x.sum((0, 1)) / count
        centred = (x - mean).masked_fill(padding, 0.0)
        variance = centred.square().sum((0, 1)) / count
        with torch.no_grad():
            assert self.momentum is not None and self.num_batches_tracked is not None
            assert self.running_mean is not None and self.running_var is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1).clamp(min=1), self.momentum)
            self.num_batches_tracked += 1
        out = centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias
        return out.masked_fill(padding, 0.0).to(x_BTD.dtype)


def masked_mean(x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean over the valid positions, (B, T, D) to (B, D); garbage at the padding, even NaN, has no influence."""
    mask = mask_BT.bool().unsqueeze(-1)
    return x_BTD.masked_fill(~mask, 0.0).sum(1) / mask.sum(1).clamp(min=1)


class SignEncoder(nn.Module):
    """Linear, masked BatchNorm, ReLU, a Transformer encoder with learned positions, and mean pooling to the SEM.

    ``transformer`` is the JSON configuration of a Hugging Face text encoder that takes ``inputs_embeds`` (BERT,
    XLM-R, MPNet …): its word embeddings are the only part replaced, as in the authors' released code.
    """

    def __init__(self, feature_dim: int, sem_dim: int, transformer: dict[str, Any]) -> None:
        super().__init__()
        config = AutoConfig.for_model(**transformer)
        width = config.hidden_size
        self.project = nn.Linear(feature_dim, width)
        self.norm = MaskedBatchNorm(width)
        self.transformer = AutoModel.from_config(config, add_pooling_layer=False)
        self.head = nn.Linear(width, sem_dim)

    def forward(self, features_BTF: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Per-frame states (B, T, D) and SEMs (B, S) of padded features; ``mask_BT`` is 1 at real frames."""
        states_BTD = self.frame_states(features_BTF, mask_BT)
        return states_BTD, self.head(masked_mean(states_BTD, mask_BT))

    def frame_states(self, features_BTF: Tensor, mask_BT: Tensor) -> Tensor:
        """Per-frame states (B, T, D) of padded features; a row may be padding as a whole."""
        valid = mask_BT.bool().unsqueeze(-1)
        x_BTD = self.project(features_BTF.masked_fill(~valid, 0.0))
        x_BTD = torch.relu(self.norm(x_BTD, mask_BT))
        # a clip's first frame is real; of a row without a clip it is given, since nothing to attend to is no number
        attended = functional.pad(mask_BT[:, 1:].long(), (1, 0), value=1)
        states_BTD: Tensor = self.transformer(inputs_embeds=x_BTD, attention_mask=attended).last_hidden_state
        return states_BTD


def random_transformer(layers: int, width: int, heads: int, ffn: int, dropout: float, positions: int) -> dict[str, Any]:
    """Configuration of a small BERT encoder to be trained from scratch."""
    return {
        "model_type": "bert",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": ffn,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "max_position_embeddings": positions,
        "vocab_size": 2,  # words never enter: features do, as inputs_embeds
        "type_vocab_size": 1,
    }


def teacher_transformer(teacher: nn.Module, dropout: float) -> dict[str, Any]:
    """Configuration of a teacher's own Transformer, its vocabulary cut to nothing."""
    config = teacher.config.to_diff_dict()  # type: ignore[union-attr, operator]
    config["model_type"] = teacher.config.model_type  # type: ignore[union-attr]
    keep = {key: value for key, value in config.items() if key not in {"architectures", "dtype", "torch_dtype"}}
    pad = keep.get("pad_token_id") or 0
    return {
        **keep,
        "vocab_size": pad + 2,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }


def copy_teacher(encoder: SignEncoder, teacher: nn.Module) -> None:
    """Start the encoder from the teacher's Transformer weights; its word embeddings alone stay behind.

    Token-type embeddings are zeroed: the authors' code computes but does not add them.
    """
    own, theirs = encoder.transformer.state_dict(), teacher.state_dict()
    for name in own:
        if "word_embeddings" in name:
            continue
        if name not in theirs or own[name].shape != theirs[name].shape:
            raise ValueError(f"the teacher has no weight {name} of shape {tuple(own[name].shape)}")
        own[name] = torch.zeros_like(own[name]) if "token_type_embeddings" in name else theirs[name].float()
    encoder.transformer.load_state_dict(own)
    nn.init.eye_(encoder.head.weight)  # the pooled vector already is a sentence embedding
    nn.init.zeros_(encoder.head.bias)
