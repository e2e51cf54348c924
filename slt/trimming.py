"""A published tokenizer cut to the tokens that a corpus uses; what it keeps it still splits the same way.

A tokenizer is edited as the JSON that the tokenizers library reads and writes. Ids are handed out anew, in the old
order, so that one list of kept ids selects the rows of every matrix that the vocabulary indexes.
"""

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from slt.errors import ConfigError
from slt.stage import progress

BATCH = 10_000
"""sentences per call, so that there is progress to show"""


def used_ids(tokenizer: Any, sentences: Sequence[str]) -> set[int]:
    """Ids of all tokens that a ``tokenizers.Tokenizer`` splits the sentences into, special tokens left out."""
    used: set[int] = set()
    for start in progress(range(0, len(sentences), BATCH), "tokens in use", unit="batch"):
        part = list(sentences[start : start + BATCH])
        used.update(*(encoding.ids for encoding in tokenizer.encode_batch_fast(part, add_special_tokens=False)))
    return used


def trim(tokenizer: Any, used: Iterable[int], where: str) -> tuple[Any, list[int]]:
    """A tokenizer with the tokens in ``used``, special tokens and single characters, and their old ids in new order.

    Text made of used tokens is split as before, up to the new ids; other text falls into shorter tokens, and is
    unknown only where it was. ``where`` is the configuration key that asked for it. Raises ConfigError for a model that
    is neither Unigram (SentencePiece) nor BPE.
    """
    data = json.loads(tokenizer.to_str())
    model = data["model"]
    special = {token["id"] for token in data["added_tokens"] if token["special"]}
    if model["type"] == "Unigram":
        kept = _keep_unigram(model, {*used, *special})
    elif model["type"] == "BPE" and not model["continuing_subword_prefix"] and not model["end_of_word_suffix"]:
        kept = _keep_bpe(model, {*used, *special})
    else:
        raise ConfigError(
            f"{where}.trim_vocabulary: true, but the model's tokenizer is of type {model['type']}, for which there is "
            "no way to trim that keeps how text is split; set it to false"
        )
    new = {old: position for position, old in enumerate(kept)}
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][old] for old in kept if old < len(model["vocab"])]
        model["unk_id"] = new.get(model["unk_id"])
    else:
        model["vocab"] = {token: new[old] for token, old in model["vocab"].items() if old in new}
        pairs = model["merges"]
        model["merges"] = [p for p in pairs if all(token in model["vocab"] for token in (*p, "".join(p)))]
    data["added_tokens"] = [{**t, "id": new[t["id"]]} for t in data["added_tokens"] if t["id"] in new]
    data["post_processor"] = None  # it names special tokens by their old ids
    return type(tokenizer).from_str(json.dumps(data, ensure_ascii=False)), kept


def _keep_unigram(model: dict[str, Any], wanted: set[int]) -> list[int]:
    vocabulary = model["vocab"]
    kept = wanted | {i for i, (piece, _) in enumerate(vocabulary) if _always(piece)} | {model["unk_id"]}
    # an unknown character costs the lowest score of all and a penalty: without that piece it would cost less
    kept.add(min(range(len(vocabulary)), key=lambda i: vocabulary[i][1]))
    return sorted(kept - {None})


def _keep_bpe(model: dict[str, Any], wanted: set[int]) -> list[int]:
    vocabulary = model["vocab"]
    tokens = {id_: token for token, id_ in vocabulary.items()}
    ranks = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
    kept = wanted | {id_ for token, id_ in vocabulary.items() if _always(token)}
    for id_ in wanted & tokens.keys():
        kept.update(vocabulary[part] for part in _steps(tokens[id_], ranks))
    if model["unk_token"] is not None:
        kept.add(vocabulary[model["unk_token"]])
    return sorted(kept)


def _always(token: str) -> bool:
    """Whether a token is one character or one byte, from which any text can be put together."""
    return len(token) == 1 or re.fullmatch(r"<0x[0-9A-F]{2}>", token) is not None


def _steps(token: str, ranks: dict[tuple[str, ...], int]) -> list[str]:
    """The tokens that BPE merges on its way from the characters of ``token`` to the whole.

    Inside a longer word the same merges happen in the same order: one that crossed the token's borders would have
    made another token of it.
    """
    parts, made = list(token), list[str]()
    while len(parts) > 1:
        rank, at = min((ranks.get(pair, len(ranks)), i) for i, pair in enumerate(itertools.pairwise(parts)))
        if rank == len(ranks):  # a token that no merge makes: kept, but never met
            return made
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
        made.append(parts[at])
    return made
