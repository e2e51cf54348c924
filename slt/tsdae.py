"""A teacher of our own: a small sentence encoder trained from scratch on monolingual text alone, by denoising.

TSDAE (Wang, Reimers, Gurevych 2021, arXiv 2104.06979): most of a sentence's tokens are deleted, the rest is encoded
into one vector, and a decoder that sees nothing but this vector has to write the whole sentence. The encoder is kept,
as a sentence-transformers folder. For languages of which no pretrained model knows anything, and to simulate them.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slt import batching, paths, tokenizer, training
from slt.batching import rng
from slt.config.base import parse, section
from slt.config.data import TeacherConfig, WikipediaConfig
from slt.config.train import TrainedTeacherConfig
from slt.decoding import WITHOUT_GRADIENT
from slt.errors import ConfigError
from slt.losses import text_loss
from slt.model_folder import environment
from slt.models import sign_encoder, text_decoder
from slt.models.sign_encoder import masked_mean
from slt.models.text_decoder import SemBridge, TextDecoder, sltr
from slt.sem2text import chosen_sentences, text_tensors
from slt.store import file_sha256, fingerprint, publish, read_json, read_table, work_folder, write_json
from slt.tokenizer import encode, train_tokenizer
from slt.training import plateaued, train
from slt.wikipedia import extract_sentences

TRAINED = "trained.json"
"""in the folder of a teacher that was made here: from what, and how its training ended"""
DEV_SENTENCES = 300
BATCH = 100
log = logging.getLogger("slt.teacher")


class Denoiser(nn.Module):
    """The sentence encoder and the decoder that trains it; one vector is all that passes from one to the other."""

    def __init__(self, size: int, config: TrainedTeacherConfig, vocabulary: int, ids: dict[str, int]) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        self.encoder = BertModel(
            BertConfig(
                vocab_size=vocabulary,
                hidden_size=size,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                intermediate_size=config.ffn,
                hidden_dropout_prob=config.dropout,
                attention_probs_dropout_prob=config.dropout,
                max_position_embeddings=config.max_tokens,
                pad_token_id=ids["pad"],
            )  # with BERT's own pooling layer, though nothing reads it: a folder without is filled up at random
        )
        positions = config.max_tokens + 1
        self.decoder = TextDecoder(
            sltr(config.decoder_layers, size, config.heads, config.ffn, config.dropout, vocabulary, positions, ids)
        )
        self.bridge = SemBridge(size, 1, self.decoder.width)

    def embed(self, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """Sentence vectors (B, S): the mean over the tokens, as sentence-transformers' pooling takes it."""
        states = self.encoder(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state
        return masked_mean(states, mask_BL)


class Tsdae:
    """The phase as the training loop wants it; selected by the mean log-probability of a dev token."""

    select = "likelihood"

    def __init__(self, model: Denoiser, tokens: Any, config: TrainedTeacherConfig, texts: list[str], dev: list[str]):
        self.model, self.config = model, config
        self.ids, self.cut = encode(tokens, texts, config.max_tokens)
        self.dev, _ = encode(tokens, dev[:DEV_SENTENCES], config.max_tokens)
        if self.cut:
            log.warning("%d sentences are longer than max_tokens = %d and were cut", self.cut, config.max_tokens)

    def lengths(self, epoch: int) -> list[int]:
        return [len(ids) for ids in self.ids]

    def batch(self, items: list[int], epoch: int) -> dict[str, Any]:
        whole = [self.ids[i] for i in items]
        return self._tensors(whole, [rng(self.config.seed, epoch, i) for i in items])

    def counts(self, items: Sequence[int]) -> dict[str, float]:
        return {"loss_text": sum(len(self.ids[i]) for i in items)}

    def losses(self, batch: dict[str, Any]) -> dict[str, tuple[Tensor, float]]:
        return {"loss_text": (self._loss(batch, self.config.training.label_smoothing), 1.0)}

    @torch.inference_mode()
    def validate(self) -> tuple[dict[str, float], None]:
        # not how often a noised sentence finds its own: an untrained encoder, a bag of random vectors, does that best
        device, total, count = next(self.model.parameters()).device, 0.0, 0
        # as many padded tokens at most as a training batch, times what no gradient leaves room for
        fitting = max(1, WITHOUT_GRADIENT * self.config.training.micro_batch // self.config.max_tokens)
        size = min(BATCH, fitting)
        for start in range(0, len(self.dev), size):
            whole = self.dev[start : start + size]
            draws = [rng(self.config.seed, start + i) for i in range(len(whole))]
            batch = {key: value.to(device) for key, value in self._tensors(whole, draws).items()}
            total += float(self._loss(batch, label_smoothing=0.0))
            count += sum(map(len, whole))
        return {"likelihood": -total / count}, None

    def _tensors(self, whole: list[list[int]], draws: list[np.random.Generator]) -> dict[str, Tensor]:
        """What the encoder sees of these sentences, and what the decoder has to write."""
        noised = [self._noised(ids, draw) for ids, draw in zip(whole, draws, strict=True)]
        seen, mask = _padded(noised, self.model.decoder.pad)
        inputs, labels = text_tensors(self.model.decoder, whole)
        return {"seen": seen, "mask": mask, "inputs": inputs, "labels": labels}

    def _loss(self, batch: dict[str, Any], label_smoothing: float) -> Tensor:
        memory = self.model.bridge(self.model.embed(batch["seen"], batch["mask"]))
        logits = self.model.decoder.logits(memory, memory.new_ones(memory.shape[:2]), batch["inputs"])
        return text_loss(logits, batch["labels"], label_smoothing)

    def _noised(self, ids: list[int], draw: np.random.Generator) -> list[int]:
        """The tokens that the encoder sees: some of them, one at least, and the end token."""
        words = ids[:-1]
        kept = draw.random(len(words)) >= self.config.deletion
        if len(words) and not kept.any():
            kept[draw.integers(len(words))] = True
        return [*(word for word, stays in zip(words, kept, strict=True) if stays), ids[-1]]


def _padded(sentences: list[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Token ids (B, L) and their mask (B, L)."""
    longest = max(map(len, sentences))
    ids = torch.tensor([[*sentence, *[pad] * (longest - len(sentence))] for sentence in sentences])
    lengths = torch.tensor([len(sentence) for sentence in sentences])
    return ids, (torch.arange(longest) < lengths[:, None]).long()


def make_teacher(params: dict[str, Any], dataset: str, teacher: str) -> Path:
    """Train the teacher that an entry with a section ``trained`` describes, and return its folder, ``model``.

    What lies there already, made of the same text by the same code, stays. Raises ConfigError for an entry without
    ``trained`` or with a ``model`` that is no place to write to, DataError when the corpus stage has not run.
    """
    where = f"{dataset}.teachers.{teacher}"
    config = section(TeacherConfig, params, where)
    if config.trained is None:
        raise ConfigError(f"{where}: no section `trained`, so this teacher is not made here; demo_de.teachers has one")
    recipe = parse(TrainedTeacherConfig, config.trained, f"{where}.trained")
    out = _place(config.model, where)
    manifest = paths.corpus_dir(dataset) / "manifest.parquet"
    if not manifest.is_file():
        raise ConfigError(
            f"{manifest}: not there, so the text that a teacher may see is not known; run"
            f" `python -m stages.corpus --dataset {dataset}`"
        )
    extraction = extract_sentences(section(WikipediaConfig, params, f"{dataset}.wikipedia"), manifest, dataset)
    texts, dev = _texts(extraction.folder / "sentences.parquet", recipe.share)
    modules = (batching, tokenizer, training, text_decoder, sign_encoder)
    code = [file_sha256(Path(str(name))) for name in (__file__, *(module.__file__ for module in modules))]
    key = fingerprint("teacher", config.size, asdict(recipe), texts, dev, code)
    if (out / TRAINED).is_file() and read_json(out / TRAINED)["key"] == key:
        log.info("%s: made of this text already", out)
        return out
    if out.exists() and not (out / TRAINED).is_file():
        raise ConfigError(f"{where}.model: {out} is there and was not made by `slt teacher`; name another place")
    work = work_folder("teacher", key)
    torch.manual_seed(recipe.seed)
    tokens = train_tokenizer(texts, recipe.vocabulary)
    ids = {"pad": tokens.pad_token_id, "bos": tokens.bos_token_id, "eos": tokens.eos_token_id}
    phase = Tsdae(Denoiser(config.size, recipe, len(tokens), ids), tokens, recipe, texts, dev)
    run = train(phase, recipe.training, recipe.seed, work)
    _save(phase.model, tokens, recipe, work / "model")
    write_json(
        work / "model" / TRAINED,
        {
            "key": key,
            "dataset": dataset,
            "recipe": asdict(recipe),
            "sentences": len(texts),
            "cut_sentences": phase.cut,
            "steps": run.step,
            "best_dev_likelihood": round(run.best, 4),
            "plateaued": plateaued(run, "dev_likelihood"),
            "environment": environment(),
        },
    )
    publish(work, out, "model")
    return out


def _place(model: str, where: str) -> Path:
    kind, _, rest = model.rpartition(":")
    if kind not in ("", "raw") or ".." in PurePosixPath(rest).parts:
        raise ConfigError(
            f"{where}.model: `{model}` is no place that a teacher can be written to; name one as raw:teachers/{where}"
        )
    return paths.resolve(model)


def _texts(path: Path, share: float) -> tuple[list[str], list[str]]:
    """The share of the train sentences that sem2text would take, and all held-out ones."""
    rows = read_table(path, ["text", "split", "language"]).to_pylist()
    train, dev = ([row for row in rows if row["split"] == split] for split in ("train", "dev"))
    texts, languages = [row["text"] for row in train], [row["language"] for row in train]
    kept, _, _ = chosen_sentences((texts, np.zeros((len(texts), 0), np.float32), languages), share)
    return kept, [row["text"] for row in dev]


def _save(model: Denoiser, tokens: Any, recipe: TrainedTeacherConfig, folder: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    plain = folder.with_name("transformer")
    model.encoder.cpu().save_pretrained(plain)
    tokens.save_pretrained(plain)
    transformer = Transformer(str(plain), max_seq_length=recipe.max_tokens)
    modules = [transformer, Pooling(transformer.get_embedding_dimension(), "mean")]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)
