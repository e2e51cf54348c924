"""Phase 3: sign encoder and text decoder joined and trained end to end, as one row of the table says."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from slt.batching import pad_glosses
from slt.clips import ClipSet
from slt.config.train import FinetuneConfig, SystemConfig
from slt.ctc import frames_needed
from slt.decoding import VALIDATION, WITHOUT_GRADIENT, Search, encode_clips, recognise
from slt.gloss import encode_glosses
from slt.losses import gloss_loss, gradient_cosine, sem_loss, text_loss
from slt.metrics import Statistics
from slt.models.pretrained_decoder import load_source
from slt.models.translator import SignTranslator, SignTranslatorConfig
from slt.sem2text import greedy_bleu, text_tensors
from slt.sem_metrics import sem_figures
from slt.sign2sem import ClipBatches
from slt.tokenizer import encode
from slt.training import Run
from slt.wer import WER

log = logging.getLogger(__name__)

TOO_SHORT = "gloss_too_short"  # as a training curve: the share of clips with too few frames for CTC, after augmentation


def join(
    sign2sem: SignTranslator,
    sem2text: SignTranslator,
    system: SystemConfig,
    seed: int,
    glosses: list[str] | None = None,
) -> SignTranslator:
    """The row's model: parts and weights of both phases, or (``start: scratch``) the same parts untrained.

    Untrained means: by sign2sem and sem2text. A pretrained decoder starts from its published weights either way.
    With ``glosses``, the gloss vocabulary, it has an untrained gloss head as well.
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
            glosses=glosses,
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
        self.languages = train.languages
        self.ids, self.cut = encode(tokenizer, train.texts, max_tokens)
        self.batches = ClipBatches(train, config.augment, positions, seed)
        self.frames = WITHOUT_GRADIENT * config.training.micro_batch
        self.search = Search(beam=1, length_penalty=1.0, max_tokens=max_tokens, batch=VALIDATION, frames=self.frames)
        self.glosses: list[list[int]] | None = None
        self.too_short: list[str] = []
        if system.gloss_weight:
            self.glosses = encode_glosses([clip.gloss or "" for clip in train.clips], model.config.glosses)
            needed = zip(train.clips, self.glosses, train.lengths, strict=True)
            self.too_short = [clip.id for clip, ids, frames in needed if frames < frames_needed(ids)]
            if self.too_short:
                log.warning(
                    "%d train clips have fewer frames than CTC needs for their glosses and do not train the gloss head,"
                    " the first: %s",
                    len(self.too_short),
                    self.too_short[0],
                )
        # the same clips at every validation: their gradients tell whether the two losses pull apart
        self.probe = self.batch(list(range(min(8, len(train.clips)))), epoch=0)

    def lengths(self, epoch: int) -> list[int]:
        return self.batches.lengths(epoch)

    def batch(self, items: list[int], epoch: int) -> dict[str, Any]:
        inputs, labels = text_tensors(
            self.model.decoder, [self.ids[i] for i in items], [self.languages[i] for i in items]
        )
        batch = {**self.batches.batch(items, epoch), "inputs": inputs, "labels": labels}
        if self.glosses is not None:
            own = [self.glosses[i] for i in items]
            batch["glosses"], batch["gloss_lengths"] = pad_glosses(own)
            frames = batch["mask"].sum(1)
            batch[TOO_SHORT] = frames < torch.tensor([frames_needed(ids) for ids in own])
        return batch

    def counts(self, items: Sequence[int]) -> dict[str, float]:
        counts: dict[str, float] = {"loss_text": sum(len(self.ids[i]) for i in items), "loss_sem": len(items)}
        if self.glosses is not None:
            # per gloss, as the text loss is per token: then weights of 1 mean the same however long sentences are.
            # The glosses of clips that are too short stay in the count, so that it is never zero.
            counts["loss_gloss"], counts[TOO_SHORT] = sum(len(self.glosses[i]) for i in items), len(items)
        return counts

    def losses(self, batch: dict[str, Any]) -> dict[str, tuple[Tensor, float]]:
        states, predicted = self.model.encode(self.batches.given(batch), batch["mask"])
        memory, mask = self.model.build_memory(predicted, states, batch["mask"])
        logits = self.model.decoder.logits(memory, mask, batch["inputs"])
        text = text_loss(logits, batch["labels"], self.config.training.label_smoothing)
        losses = {"loss_text": (text, self.system.text_weight)}
        if self.system.sem_weight:
            losses["loss_sem"] = (
                sem_loss(self.sem_loss_kind, predicted, batch["sems"]),
                self.system.sem_weight,
            )
        if self.system.gloss_weight:
            frames = batch["mask"].sum(1).long()
            logits = self.model.gloss_logits(states)
            loss = gloss_loss(logits, frames, batch["glosses"], batch["gloss_lengths"])
            losses["loss_gloss"] = loss, self.system.gloss_weight
            # no loss, hence its weight: as one of them it is averaged over a step and kept in the curves
            losses[TOO_SHORT] = batch[TOO_SHORT].sum().float(), 0.0
        return losses

    def validate(self) -> tuple[dict[str, float], Statistics | None]:
        dev = self.dev
        bleu = greedy_bleu(
            self.model, self.tokenizer, self.search, dev.texts, clips=dev.features, languages=dev.languages
        )
        figures = {"bleu": bleu.value()}
        if predicts_sem(self.system):
            sems = encode_clips(self.model, self.dev.features, VALIDATION, self.frames)
            figures.update(sem_figures(sems, self.dev.sems))
        if self.system.sem_weight:
            figures["gradient_cosine"] = self._gradient_cosine()
        if self.glosses is not None:
            references = [clip.gloss or "" for clip in self.dev.clips]
            if all(line.split() for line in references):  # else there is no such figure, as in the evaluation
                found = recognise(self.model, self.dev.features, VALIDATION, beam=1, frames=self.frames)
                hypotheses = [" ".join(glosses) for glosses in found]
                figures["wer"] = WER.statistics(hypotheses, references).value()
        return figures, bleu

    def notes(self, run: Run) -> dict[str, Any]:
        """What training.json says about the data: what was cut, and clips that were too short for their glosses."""
        notes: dict[str, Any] = {"cut_sentences": self.cut}
        if self.glosses is not None:
            shares = [share for _, share in run.scores(f"train_{TOO_SHORT}")]
            notes["gloss"] = {
                "vocabulary": len(self.model.config.glosses),
                "too_short_train_clips": self.too_short,
                "too_short_share_augmented": round(sum(shares) / max(1, len(shares)), 4),
            }
        return notes

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
