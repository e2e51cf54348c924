"""Any text survives the vocabulary."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slt.errors import DataError
from slt.tokenizer import encode, load_tokenizer, train_tokenizer

TOKENIZER = train_tokenizer(["Tomorrow it will rain.", "Es schneit im Süden ."] * 5, 400)


@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_survives_encoding_and_decoding(text: str) -> None:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    special = any(token in text for token in TOKENIZER.all_special_tokens)
    assert special or TOKENIZER.decode(ids) == text


def test_saved_tokenizer_is_the_same(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    text = "Morgen regnet es, 12 Grad ."
    assert load_tokenizer(tmp_path)(text)["input_ids"] == TOKENIZER(text)["input_ids"]


def test_missing_tokenizer_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=str(tmp_path)):
        load_tokenizer(tmp_path)


def test_long_sentences_are_cut_counted_and_still_end() -> None:
    ids, cut = encode(TOKENIZER, ["rain " * 30, "rain"], 8)
    assert cut == 1 and len(ids[0]) == 8
    assert ids[0][-1] == ids[1][-1] == TOKENIZER.eos_token_id
