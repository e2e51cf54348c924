"""The text vocabulary, kept as a Hugging Face tokenizer: byte-level BPE learnt on the training text, or published."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from slt.errors import DataError
from slt.store import fingerprint, read_json

SPECIALS = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


def language_token(language: str) -> str:
    """The token that tells a decoder from scratch which language to write."""
    return f"<2{language}>"


def train_tokenizer(sentences: Iterable[str], size: int, languages: Sequence[str] = ()) -> Any:
    """A byte-level BPE tokenizer of at most ``size`` entries; any text survives encoding and decoding unchanged.

    ``languages`` have a token each, for a decoder that writes several.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token=SPECIALS["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[*SPECIALS.values(), *map(language_token, languages)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    names: dict[str, Any] = dict(SPECIALS)
    if languages:
        names["additional_special_tokens"] = [language_token(language) for language in languages]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **names)


def sentence_tokenizer(tokenizer: Any, ids: dict[str, int | None]) -> Any:
    """A ``tokenizers.Tokenizer`` as the Hugging Face tokenizer of target sentences: their tokens, then the end token.

    ``ids`` names the ids of ``bos``, ``pad``, ``eos`` and ``unk``; a model may lack ``bos`` and ``unk``. What stands
    before a sentence, such as a language code, is the decoder's prompt, not the tokenizer's.
    """
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    names = {f"{name}_token": tokenizer.id_to_token(id_) for name, id_ in ids.items() if id_ is not None}
    end = names["eos_token"]
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {end}", special_tokens=[(end, ids["eos"])])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **names)


def tokenizer_sha256(tokenizer: Any) -> str:
    """sha256 of all that decides how text becomes ids and which token an id stands for."""
    data = json.loads(tokenizer.backend_tokenizer.to_str())
    return fingerprint([data[part] for part in ("normalizer", "pre_tokenizer", "model")])


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer saved in a model folder.

    Raises DataError when there is none, or when it is not the one that the folder's decoder was trained with.
    """
    from transformers import PreTrainedTokenizerFast

    if not (folder / "tokenizer.json").is_file():
        raise DataError(f"{folder}: no tokenizer.json in this model folder; run `dvc repro` to build sem2text first")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder))
    if (folder / "config.json").is_file():
        expected = (read_json(folder / "config.json").get("decoder") or {}).get("tokenizer_sha256")
        if expected is not None and expected != tokenizer_sha256(tokenizer):
            raise DataError(
                f"{folder}: tokenizer.json is not the vocabulary that this folder's decoder was trained with"
                " (sha256 differs from config.json); put the right one back, or run `dvc repro`"
            )
    return tokenizer


def encode(tokenizer: Any, sentences: list[str], max_tokens: int) -> tuple[list[list[int]], int]:
    """Token ids of each sentence, end token included, at most ``max_tokens``; and how many sentences were cut."""
    ids = tokenizer(sentences, add_special_tokens=True)["input_ids"]
    cut = [len(sentence) > max_tokens for sentence in ids]
    short = [
        [*sentence[: max_tokens - 1], tokenizer.eos_token_id] if is_cut else sentence
        for sentence, is_cut in zip(ids, cut, strict=True)
    ]
    return short, sum(cut)
