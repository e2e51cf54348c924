"""The sign encoder: frame features to per-frame states and one sentence embedding (SEM)."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the valid frames only, so that padding changes neither output nor statistics.

    Input (B, T, D) and mask (B, T); output (B, T, D) with zeros at the padding.
    Source: the authors' released sign2sem, after SLT's ``MaskedNorm``.
    """

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:  # type: ignore[override]
        mask = mask_BT.bool()
        out = torch.zeros_like(x_BTD)
        out[mask] = super().forward(x_BTD[mask]).to(out.dtype)
        return out


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
        valid = mask_BT.bool().unsqueeze(-1)
        x_BTD = self.project(features_BTF.masked_fill(~valid, 0.0))
        x_BTD = torch.relu(self.norm(x_BTD, mask_BT))
        states_BTD = self.transformer(inputs_embeds=x_BTD, attention_mask=mask_BT.long()).last_hidden_state
        return states_BTD, self.head(masked_mean(states_BTD, mask_BT))


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
