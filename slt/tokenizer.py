"""The text vocabulary: byte-level BPE learnt on the training text, kept as a Hugging Face tokenizer."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from slt.errors import DataError

SPECIALS = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


def train_tokenizer(sentences: Iterable[str], size: int) -> Any:
    """A byte-level BPE tokenizer of at most ``size`` entries; any text survives encoding and decoding unchanged."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token=SPECIALS["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIALS.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **SPECIALS)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer saved in a model folder; DataError when there is none."""
    from transformers import PreTrainedTokenizerFast

    if not (folder / "tokenizer.json").is_file():
        raise DataError(f"{folder}: no tokenizer.json in this model folder; run `dvc repro` to build sem2text first")
    return PreTrainedTokenizerFast.from_pretrained(str(folder))


def encode(tokenizer: Any, sentences: list[str], max_tokens: int) -> tuple[list[list[int]], int]:
    """Token ids of each sentence, end token included, at most ``max_tokens``; and how many sentences were cut."""
    ids = tokenizer(sentences, add_special_tokens=True)["input_ids"]
    cut = [len(sentence) > max_tokens for sentence in ids]
    short = [
        [*sentence[: max_tokens - 1], tokenizer.eos_token_id] if is_cut else sentence
        for sentence, is_cut in zip(ids, cut, strict=True)
    ]
    return short, sum(cut)
