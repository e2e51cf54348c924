"""Phase 2: a decoder learns to write the sentence that a SEM stands for, from monolingual text alone."""

import hashlib
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slt.batching import pad_tokens, rng
from slt.config.train import DecoderConfig, PretrainedDecoderConfig, Sem2textConfig
from slt.decoding import VALIDATION, WITHOUT_GRADIENT, Search, translate
from slt.losses import text_loss
from slt.metrics import BLEU_13A, Statistics
from slt.models.pretrained_decoder import Source, load_source, take_decoder
from slt.models.text_decoder import TextDecoder, sltr
from slt.models.translator import SignTranslator, SignTranslatorConfig
from slt.sem_space import SemSpace
from slt.tokenizer import encode, language_token, tokenizer_sha256, train_tokenizer

log = logging.getLogger(__name__)

DEV_SENTENCES = 300  # greedy decoding of this many takes seconds; BLEU on them moves by about ±3 between draws


Sentences = tuple[list[str], np.ndarray, list[str]]
"""texts, their SEMs (n, S) and their languages"""


class Sem2text:
    """The phase as the training loop wants it; selected by greedy BLEU on the ``dev`` sentences."""

    select = "bleu"

    def __init__(
        self,
        model: SignTranslator,
        tokenizer: Any,
        config: Sem2textConfig,
        max_tokens: int,
        train: Sentences,
        dev: Sentences,
    ) -> None:
        self.model, self.tokenizer, self.config = model, tokenizer, config
        texts, self.sems, self.languages = train
        self.ids, self.cut = encode(tokenizer, texts, max_tokens)
        if self.cut:
            log.warning("%d training sentences are longer than max_tokens = %d and were cut", self.cut, max_tokens)
        self.unknown = sum(ids.count(tokenizer.unk_token_id) for ids in self.ids)
        if self.unknown:
            log.warning("%d tokens of the training sentences are unknown to the vocabulary", self.unknown)
        self.dev_texts, self.dev_sems, self.dev_languages = spread(dev, DEV_SENTENCES)
        fitting = max(1, WITHOUT_GRADIENT * config.training.micro_batch // max_tokens)
        self.search = Search(beam=1, length_penalty=1.0, max_tokens=max_tokens, batch=min(VALIDATION, fitting))

    def lengths(self, epoch: int) -> list[int]:
        return [len(ids) for ids in self.ids]

    def batch(self, items: list[int], epoch: int) -> dict[str, Any]:
        sems = self.sems[items]
        if self.config.sem_noise:
            draw = rng(self.config.seed, epoch, *items[:1])
            sems = sems + self.config.sem_noise * draw.standard_normal(sems.shape, dtype=np.float32)
        languages = [self.languages[i] for i in items]
        inputs, labels = text_tensors(self.model.decoder, [self.ids[i] for i in items], languages)
        return {
            "sems": torch.from_numpy(np.asarray(sems, np.float32)),
            "inputs": inputs,
            "labels": labels,
        }

    def counts(self, items: Sequence[int]) -> dict[str, float]:
        return {"loss_text": sum(len(self.ids[i]) for i in items)}

    def losses(self, batch: dict[str, Any]) -> dict[str, tuple[Tensor, float]]:
        memory, mask = self.model.build_memory(batch["sems"])
        logits = self.model.decoder.logits(memory, mask, batch["inputs"])
        return {"loss_text": (text_loss(logits, batch["labels"], self.config.training.label_smoothing), 1.0)}

    def validate(self) -> tuple[dict[str, float], Statistics | None]:
        bleu = greedy_bleu(
            self.model, self.tokenizer, self.search, self.dev_texts, sems=self.dev_sems, languages=self.dev_languages
        )
        return {"bleu": bleu.value()}, bleu


def chosen_sentences(sentences: Sentences, share: float, languages: Sequence[str] | None = None) -> Sentences:
    """Those in ``parallel.languages`` (None: all), and of them the share that ``sem2text.monolingual`` leaves."""
    texts, sems, own = sentences
    if languages is None and share == 1:
        return sentences
    items = [i for i in range(len(texts)) if languages is None or own[i] in languages]
    ranked = sorted(items, key=lambda i: (hashlib.sha256(texts[i].encode()).digest(), i))
    kept = sorted(ranked[: max(1, round(share * len(items)))])
    return [texts[i] for i in kept], sems[kept], [own[i] for i in kept]


def spread(sentences: Sentences, count: int) -> Sentences:
    """At most ``count`` of the sentences, spread evenly over all of them: corpora are sorted by date or signer."""
    texts, sems, languages = sentences
    kept = np.linspace(0, len(texts) - 1, min(count, len(texts))).round().astype(int)
    return [texts[i] for i in kept], sems[kept], [languages[i] for i in kept]


def text_tensors(
    decoder: TextDecoder, ids: list[list[int]], languages: Sequence[str] | None = None
) -> tuple[Tensor, Tensor]:
    """Decoder inputs and labels, both (B, L), of token ids that end with the end token; generation reads the same."""
    inputs, labels = pad_tokens(ids, decoder.prompt, decoder.pad)
    inputs[:, : len(decoder.prompt)] = decoder.prompt_ids(len(ids), languages)
    return inputs, labels


def greedy_bleu(
    model: SignTranslator,
    tokenizer: Any,
    search: Search,
    texts: list[str],
    clips: list[np.ndarray] | None = None,
    sems: np.ndarray | None = None,
    languages: Sequence[str] | None = None,
) -> Statistics:
    """BLEU (13a) of greedy translations, for early stopping; tables are made by the evaluate stage."""
    results = translate(model, tokenizer, search, clips, sems, "dev", languages, references=texts)
    return BLEU_13A.statistics([result.sentences[0] for result in results], [[text] for text in texts])


def new_decoder(
    config: DecoderConfig | PretrainedDecoderConfig,
    source: Source | None,
    sentences: list[str],
    sem_dim: int,
    space: SemSpace,
    seed: int,
    where: str,
    languages: Sequence[str] = (),
) -> tuple[SignTranslator, Any]:
    """A sem2text model at its start and its tokenizer: from scratch, or from a pretrained decoder's ``source``.

    ``sentences`` are the text that the vocabulary is learnt on or trimmed to; ``where`` is the decoder's section;
    ``languages`` are those of the dataset's text: of several, the decoder is told with each sentence which to write.
    """
    several = languages if len(languages) > 1 else ()
    torch.manual_seed(seed)
    if isinstance(config, PretrainedDecoderConfig):
        assert source is not None
        decoder, tokenizer, rows = take_decoder(source, config, sentences, where, several)
    else:
        tokenizer, rows = train_tokenizer(sentences, config.vocabulary, several), None
        ids = {"pad": tokenizer.pad_token_id, "bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id}
        decoder = sltr(
            config.layers,
            config.width,
            config.heads,
            config.ffn,
            config.dropout,
            len(tokenizer),
            config.max_tokens + (2 if several else 1),
            ids,
        )
        if several:
            tags = tokenizer.convert_tokens_to_ids([language_token(language) for language in several])
            decoder["prompts"] = {name: [ids["bos"], tag] for name, tag in zip(several, tags, strict=True)}
            decoder["prompt"] = decoder["prompts"][several[0]]
        decoder["tokenizer_sha256"] = tokenizer_sha256(tokenizer)
    model = SignTranslator(
        SignTranslatorConfig(
            sem_dim=sem_dim, decoder=decoder, memory="sem", tokens=config.tokens, sem_space=space.to_json()
        )
    )
    if rows is not None:
        load_source(model.decoder, rows)
    return model, tokenizer
