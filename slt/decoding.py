"""From features or SEMs to sentences and glosses: batches sorted by length, one encoder pass per clip, beam search."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slt.batching import pad_features
from slt.ctc import best_labels
from slt.models.translator import SignTranslator
from slt.stage import progress

VALIDATION = 64
"""clips or sentences at a time in validation, where memory allows"""
WITHOUT_GRADIENT = 8
"""times ``training.micro_batch`` that validation may have at a time: it keeps no layer's states for a backward pass"""


@dataclass(frozen=True)
class Search:
    """How sentences are searched for; the fields are those of EvaluateConfig."""

    beam: int
    length_penalty: float
    max_tokens: int
    batch: int
    n_best: int = 1
    scores: bool = False
    """whether the translations shall have them"""
    frames: int | None = None
    """of a batch of clips, after padding, at most (a longer clip stands alone); None: any number"""


@dataclass(frozen=True)
class Translation:
    """The n-best sentences of a clip, best first.

    ``scores`` are beam search's (log-probability over length); None where none were asked for, or a beam of 1 has none.
    """

    sentences: list[str]
    scores: list[float] | None


def encode_clips(
    model: SignTranslator, clips: Sequence[np.ndarray], batch: int, frames: int | None = None
) -> np.ndarray:
    """SEMs (n, S) of clips with (T_i, F) features each; ``frames`` as of a :class:`Search`."""
    sems = np.zeros((len(clips), model.config.sem_dim), np.float32)
    for items in _by_length([len(clip) for clip in clips], batch, frames):
        with torch.inference_mode():
            _, sem = model.encode(*_to_model(model, *pad_features([clips[i] for i in items])))
        sems[items] = sem.float().cpu().numpy()
    return sems


def recognise(
    model: SignTranslator, clips: Sequence[np.ndarray], batch: int, beam: int, frames: int | None = None
) -> list[list[str]]:
    """The glosses of clips (T_i, F), of a model with a gloss head; a ``beam`` of 1 reads the likeliest label per frame.

    An encoder trained with CTC alone had 45.8 WER on the demo's dev split by a beam of 1 and 43.5 by one of 4
    (difference 2.3, 95 % interval 1.3 to 3.3); a system at the end of a short training gains far more.
    """
    glosses: list[list[str]] = [[]] * len(clips)
    for items in progress(_by_length([len(clip) for clip in clips], batch, frames), "glosses", unit="batch"):
        features, mask = _to_model(model, *pad_features([clips[i] for i in items]))
        with torch.inference_mode():
            logits_BTV = model.gloss_logits(model.encode(features, mask)[0])
            scores_BTV = logits_BTV.float().log_softmax(-1).cpu().numpy()
        for item, scores_TV in zip(items, scores_BTV, strict=True):
            labels = best_labels(scores_TV[: len(clips[item])], beam)
            glosses[item] = [model.config.glosses[label] for label in labels]
    return glosses


def translate(
    model: SignTranslator,
    tokenizer: Any,
    search: Search,
    clips: Sequence[np.ndarray] | None = None,
    sems: np.ndarray | None = None,
    what: str = "translating",
    languages: Sequence[str] | None = None,
    references: Sequence[str] | None = None,
) -> list[Translation]:
    """Translations of clips (T_i, F), of SEMs (n, S), or of clips whose predicted SEM is replaced by a given one.

    ``languages`` are those to write; a decoder that writes one alone takes no notice of them. ``references`` order
    SEMs that come without clips, and do nothing else: a batch takes as long as its longest sentence.
    """
    if clips is not None:
        lengths = [len(clip) for clip in clips]
    elif sems is not None:
        lengths = [1] * len(sems) if references is None else [len(text) for text in references]
    else:
        raise ValueError("give clips, SEMs, or both")
    results: list[Translation | None] = [None] * len(lengths)
    batches = _by_length(lengths, search.batch, None if clips is None else search.frames)
    scored = search.scores and search.beam > 1
    for items in progress(batches, what, len(batches), "batch"):
        with torch.inference_mode():
            memory, mask = _memory(model, items, clips, sems)
            output = model.decoder.generate(
                memory,
                mask,
                beam=search.beam,
                n_best=search.n_best,
                languages=None if languages is None else [languages[i] for i in items],
                scores=scored,
                max_new_tokens=search.max_tokens,
                length_penalty=search.length_penalty,
                early_stopping=search.beam > 1,
            )
        written = output.sequences[:, len(model.decoder.prompt) :]
        sentences = tokenizer.batch_decode(written, skip_special_tokens=True)
        scores = output.sequences_scores.tolist() if scored else None
        for position, item in enumerate(items):
            part = slice(position * search.n_best, (position + 1) * search.n_best)
            found = [sentence.strip() for sentence in sentences[part]]
            results[item] = Translation(found, None if scores is None else scores[part])
    return [result for result in results if result is not None]


def _memory(
    model: SignTranslator, items: list[int], clips: Sequence[np.ndarray] | None, sems: np.ndarray | None
) -> tuple[Tensor, Tensor]:
    given = None if sems is None else torch.from_numpy(sems[items]).to(model.device, torch.float32)
    if clips is None:
        assert given is not None
        return model.build_memory(given)
    features, mask = _to_model(model, *pad_features([clips[i] for i in items]))
    states, predicted = model.encode(features, mask)
    return model.build_memory(predicted if given is None else given, states, mask)


def _to_model(model: SignTranslator, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return features.to(model.device), mask.to(model.device)


def _by_length(lengths: Sequence[int], batch: int, positions: int | None = None) -> list[list[int]]:
    order = sorted(range(len(lengths)), key=lambda item: (-lengths[item], item))  # longest first: memory shows at once
    batches = list[list[int]]()
    while order:
        fitting = batch if positions is None else min(batch, max(1, positions // max(1, lengths[order[0]])))
        batches.append(order[:fitting])
        order = order[fitting:]
    return batches
