"""Phase 3: sign encoder and text decoder joined and trained end to end, as one row of the table says."""

from typing import Any

import torch
from torch import Tensor

from slt.clips import ClipSet
from slt.config.train import FinetuneConfig, SystemConfig
from slt.decoding import Search, encode_clips
from slt.losses import gradient_cosine, sem_loss, text_loss
from slt.models.pretrained_decoder import load_source
from slt.models.translator import SignTranslator, SignTranslatorConfig
from slt.sem2text import greedy_bleu, text_tensors
from slt.sem_metrics import sem_figures
from slt.sign2sem import ClipBatches
from slt.tokenizer import encode


def join(sign2sem: SignTranslator, sem2text: SignTranslator, system: SystemConfig, seed: int) -> SignTranslator:
    """The row's model: parts and weights of both phases, or (``start: scratch``) the same parts untrained.

    Untrained means: by sign2sem and sem2text. A pretrained decoder starts from its published weights either way.
    """
    torch.manual_seed(seed)
    ours, theirs = sign2sem.config, sem2text.config
    model = SignTranslator(
        SignTranslatorConfig(
            feature_dim=ours.feature_dim,
            sem_dim=ours.sem_dim,
            encoder=ours.encoder,
            decoder=theirs.decoder,
            memory=system.memory,
            tokens=theirs.tokens,
            sem_space=ours.sem_space,
            pipeline=ours.pipeline,
        )
    )
    if system.start == "pretrained":
        model.encoder.load_state_dict(sign2sem.encoder.state_dict())
        model.decoder.load_state_dict(sem2text.decoder.state_dict())
        if "sem" in system.memory:
            model.bridge.load_state_dict(sem2text.bridge.state_dict())
    elif model.decoder.source is not None:
        load_source(model.decoder, sem2text.decoder.source_rows)
    return model


class Finetune:
    """The phase as the training loop wants it; selected by greedy BLEU on dev."""

    select = "bleu"

    def __init__(
        self,
        model: SignTranslator,
        tokenizer: Any,
        system: SystemConfig,
        config: FinetuneConfig,
        sem_loss_kind: str,
        positions: int,
        max_tokens: int,
        train: ClipSet,
        dev: ClipSet,
        seed: int,
    ) -> None:
        self.model, self.tokenizer, self.system, self.config = model, tokenizer, system, config
        self.sem_loss_kind, self.dev = sem_loss_kind, dev
        self.lengths = train.lengths
        self.ids, self.cut = encode(tokenizer, train.texts, max_tokens)
        self.batches = ClipBatches(train, config.augment, positions, seed)
        self.search = Search(beam=1, length_penalty=1.0, max_tokens=max_tokens, batch=64)
        # the same clips at every validation: their gradients tell whether the two losses pull apart
        self.probe = self.batch(list(range(min(8, len(train.clips)))), epoch=0)

    def batch(self, items: list[int], epoch: int) -> dict[str, Any]:
        inputs, labels = text_tensors(self.model.decoder, [self.ids[i] for i in items])
        counts = {"loss_text": sum(len(self.ids[i]) for i in items), "loss_sem": len(items)}
        return {**self.batches.batch(items, epoch), "inputs": inputs, "labels": labels, "counts": counts}

    def losses(self, batch: dict[str, Any]) -> dict[str, tuple[Tensor, float]]:
        states, predicted = self.model.encode(batch["features"], batch["mask"])
        memory, mask = self.model.build_memory(predicted, states, batch["mask"])
        logits = self.model.decoder.logits(memory, mask, batch["inputs"])
        text = text_loss(logits, batch["labels"], self.config.training.label_smoothing)
        losses = {"loss_text": (text, self.system.text_weight)}
        if self.system.sem_weight:
            losses["loss_sem"] = (
                sem_loss(self.sem_loss_kind, predicted, batch["sems"]),
                self.system.sem_weight,
            )
        return losses

    def validate(self) -> dict[str, float]:
        figures = {
            "bleu": greedy_bleu(self.model, self.tokenizer, self.search, self.dev.texts, clips=self.dev.features)
        }
        if predicts_sem(self.system):
            sems = encode_clips(self.model, self.dev.features, 64)
            figures.update(sem_figures(sems, self.dev.sems))
        if self.system.sem_weight:
            figures["gradient_cosine"] = self._gradient_cosine()
        return figures

    def _gradient_cosine(self) -> float:
        probe = {
            key: value.to(self.model.device) if isinstance(value, Tensor) else value
            for key, value in self.probe.items()
        }
        losses = self.losses(probe)
        return gradient_cosine([losses["loss_text"][0], losses["loss_sem"][0]], list(self.model.encoder.parameters()))


def predicts_sem(system: SystemConfig) -> bool:
    """Whether the system's pooled vector means anything: its decoder reads it or a loss trains it."""
    return "sem" in system.memory or system.sem_weight > 0
