"""The joint model, saved and loaded the Hugging Face way; each training phase uses the parts it needs."""

from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from slt.models.sign_encoder import SignEncoder
from slt.models.text_decoder import SemBridge, TextDecoder


class SignTranslatorConfig(PretrainedConfig):
    """Sizes of the parts, and all that a clip needs on its way to the model.

    ``encoder`` and ``decoder`` are transformers configurations, or None where the phase has no such part;
    ``memory`` is ``frames``, ``sem`` or ``sem+frames``; ``sem_space`` maps the teacher's vectors to the model's;
    ``pipeline`` holds the frames and features parameters with their provenance; ``glosses`` is the gloss vocabulary in
    the order of its ids, the blank first, or None for a model without a gloss head.
    """

    model_type = "sign_translator"

    def __init__(
        self,
        feature_dim: int = 0,
        sem_dim: int = 384,
        encoder: dict[str, Any] | None = None,
        decoder: dict[str, Any] | None = None,
        memory: str = "sem",
        tokens: int = 12,
        sem_space: dict[str, Any] | None = None,
        pipeline: dict[str, Any] | None = None,
        glosses: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.feature_dim = feature_dim
        self.sem_dim = sem_dim
        self.encoder = encoder
        self.decoder = decoder
        self.memory = memory
        self.tokens = tokens
        self.sem_space = sem_space
        self.pipeline = pipeline
        self.glosses = glosses
        super().__init__(**kwargs)


class SignTranslator(PreTrainedModel):
    """Features to SEM (sign2sem), SEM to text (sem2text), or features to text through SEM, frame states or both."""

    config_class = SignTranslatorConfig
    base_model_prefix = ""
    _supports_sdpa = True

    def __init__(self, config: SignTranslatorConfig) -> None:
        super().__init__(config)
        if config.encoder is not None:
            self.encoder = SignEncoder(config.feature_dim, config.sem_dim, config.encoder)
        if config.decoder is not None:
            self.decoder = TextDecoder(config.decoder)
            if "sem" in config.memory:
                self.bridge = SemBridge(config.sem_dim, config.tokens, self.decoder.width)
            if "frames" in config.memory:
                width = self.encoder.head.in_features
                self.frame_bridge = torch.nn.Linear(width, self.decoder.width)
        if config.glosses is not None:  # last, so that the other parts start as they do without it
            self.gloss_head = torch.nn.Linear(self.encoder.head.in_features, len(config.glosses))
        self.post_init()
        # transformers collects the decoder's tied embeddings only for the outermost model unless told otherwise
        self.all_tied_weights_keys = self.get_expanded_tied_weights_keys(all_submodels=True)

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Parts initialise themselves; transformers must not do it a second time."""

    def encode(self, features_BTF: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Per-frame states (B, T, D) and SEMs (B, S) of padded features."""
        return self.encoder(features_BTF, mask_BT)

    def gloss_logits(self, states_BTD: Tensor) -> Tensor:
        """Logits (B, T, V) of the blank and the glosses at each frame, to be read by CTC."""
        return self.gloss_head(states_BTD)

    def build_memory(
        self, sem_BS: Tensor, states_BTD: Tensor | None = None, mask_BT: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the decoder attends to, (B, M, D) and its mask (B, M), as ``config.memory`` says."""
        parts, masks = [], []
        if "sem" in self.config.memory:
            parts.append(self.bridge(sem_BS))
            masks.append(sem_BS.new_ones(parts[0].shape[:2]))
        if "frames" in self.config.memory:
            if states_BTD is None or mask_BT is None:
                raise ValueError("this model's decoder reads frames: give their states and mask")
            valid = mask_BT.bool().unsqueeze(-1)
            parts.append(self.frame_bridge(states_BTD).masked_fill(~valid, 0.0))
            masks.append(mask_BT.to(states_BTD.dtype))
        return torch.cat(parts, 1), torch.cat(masks, 1)
