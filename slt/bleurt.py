"""BLEURT-20 without TensorFlow: a RemBERT encoder and one linear unit on its pooled output, read from a checkpoint.

The layout is that of the PyTorch checkpoints at ``hub:lucadiliello/BLEURT-20`` and its distilled sizes D3, D6, D12:
``config.json`` of model type ``bleurt``, weights, and the SentencePiece model ``spm.model``. transformers does not know
that type, and no code from a checkpoint is run: the weights are put into the RemBERT of transformers, which computes
the same. Tokens and truncation follow google-research/bleurt. Checkpoints older than BLEURT-20 (BERT) are refused.
"""

import logging
import pickle
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from sentencepiece import SentencePieceProcessor
from transformers import RemBertConfig, RemBertForSequenceClassification

from slt.errors import ConfigError, DataError, StoreError
from slt.stage import device_name, progress
from slt.store import read_json
from slt.weights import resolve_weights, single_weight_file, weights_sha256

log = logging.getLogger("slt")
BATCH = 32
VOCABULARY = "spm.model"
SHARED_SETTINGS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "pad_token_id",
)


class Bleurt:
    """Scores hypotheses against references; ``signature`` names checkpoint and weights.

    Raises ConfigError or DataError when ``folder`` holds no checkpoint of this layout, StoreError when it is damaged.
    """

    def __init__(self, folder: Path, name: str, device: str) -> None:
        settings = read_json(folder / "config.json")
        if settings.get("model_type") != "bleurt" or not settings.get("embedding_size"):
            raise ConfigError(
                f"{folder}: no BLEURT-20 checkpoint (model type `{settings.get('model_type')}`, embedding size"
                f" {settings.get('embedding_size')}); name one like hub:lucadiliello/BLEURT-20@<revision>"
            )
        if not (folder / VOCABULARY).is_file():
            raise DataError(f"{folder / VOCABULARY}: no such file; copy the whole checkpoint")
        try:
            self.pieces = SentencePieceProcessor(model_file=str(folder / VOCABULARY))
        except (OSError, RuntimeError) as error:
            raise StoreError(f"{folder / VOCABULARY}: no SentencePiece model ({error}); download it again") from error
        self.cls, self.sep = (self.pieces.piece_to_id(piece) for piece in ("[CLS]", "[SEP]"))
        if self.pieces.unk_id() in (self.cls, self.sep):
            raise StoreError(f"{folder / VOCABULARY}: has no [CLS] or no [SEP]; download the checkpoint again")
        self.device = device
        self.model = _model(folder, settings).eval()
        self.model.to(torch.device(device))
        self.room = self.model.config.max_position_embeddings - 3  # beside [CLS] and twice [SEP]
        self.signature = f"{name}@sha256:{weights_sha256(folder)[:12]}"

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        """One score per sentence, about 0 to 1; pairs that are too long for the model are cut, and counted."""
        encoded = [self.pieces.encode(list(texts)) for texts in (references, hypotheses)]
        cut = sum(len(first) + len(second) > self.room for first, second in zip(*encoded, strict=True))
        if cut:
            log.warning("BLEURT: %d of %d pairs are longer than %d tokens and are cut", cut, len(hypotheses), self.room)
        pairs = [self._pair(first, second) for first, second in zip(*encoded, strict=True)]
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]))
        batches = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
        scores = [0.0] * len(pairs)
        for batch in progress(batches, "BLEURT", unit="batch"):
            for i, score in zip(batch, self._score([pairs[i] for i in batch]), strict=True):
                scores[i] = score
        return scores

    def _pair(self, first: list[int], second: list[int]) -> tuple[list[int], int]:
        """Ids of ``[CLS] reference [SEP] hypothesis [SEP]``, and how many of them belong to the reference."""
        while len(first) + len(second) > self.room:  # the longer one loses its last token; of equals the hypothesis
            (first if len(first) > len(second) else second).pop()
        return [self.cls, *first, self.sep, *second, self.sep], len(first) + 2

    @torch.inference_mode()
    def _score(self, pairs: Sequence[tuple[list[int], int]]) -> list[float]:
        longest = max(len(ids) for ids, _ in pairs)
        ids_BL, mask_BL, segments_BL = (torch.zeros(len(pairs), longest, dtype=torch.long) for _ in range(3))
        for row, (ids, own) in enumerate(pairs):
            ids_BL[row, : len(ids)] = torch.tensor(ids)
            mask_BL[row, : len(ids)] = 1
            segments_BL[row, own : len(ids)] = 1
        inputs = [tensor.to(self.device) for tensor in (ids_BL, mask_BL, segments_BL)]
        logits = self.model(input_ids=inputs[0], attention_mask=inputs[1], token_type_ids=inputs[2]).logits
        return logits.flatten().float().cpu().tolist()


@lru_cache(maxsize=1)  # the splits and conditions of an evaluation share one model
def load_bleurt(checkpoint: str) -> Bleurt:
    """The scorer of a checkpoint, named as a local path or ``hub:<id>@<revision>``."""
    folder = resolve_weights(checkpoint)
    if not folder.is_dir():
        raise ConfigError(f"bleurt `{checkpoint}`: a file; name the folder of the checkpoint")
    name = checkpoint.removeprefix("hub:").split("@")[0]
    return Bleurt(folder, Path(name).name, device_name())


def _model(folder: Path, settings: dict[str, Any]) -> RemBertForSequenceClassification:
    missing = [key for key in SHARED_SETTINGS if key not in settings]
    if missing:
        raise StoreError(f"{folder / 'config.json'}: lacks {', '.join(missing)}; download the checkpoint again")
    shared = {key: settings[key] for key in SHARED_SETTINGS}
    config = RemBertConfig.from_dict({**shared, "input_embedding_size": settings["embedding_size"], "num_labels": 1})
    model = RemBertForSequenceClassification(config)
    path = single_weight_file(folder)
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise StoreError(f"{path}: unreadable weights ({error}); download the checkpoint again") from error
    state = {_rembert_name(key): value for key, value in found.items() if not key.endswith("position_ids")}
    expected = model.state_dict()
    wrong = sorted(set(expected) ^ set(state))
    wrong += [key for key in expected if key in state and expected[key].shape != state[key].shape]
    if wrong:
        raise StoreError(f"{path}: {len(wrong)} weights do not fit {folder / 'config.json'}, the first: {wrong[0]}")
    model.load_state_dict(state)
    return model


def _rembert_name(key: str) -> str:
    key = key.replace("bleurt.", "rembert.", 1)
    return key.replace("encoder.embedding_projection.", "encoder.embedding_hidden_mapping_in.", 1)
