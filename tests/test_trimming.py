"""A trimmed vocabulary splits the corpus' text as the whole one did, and can still spell any other."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published_models import OTHER, TEXTS, byte_bpe, pieces, unigram
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer

from slt.errors import ConfigError, DataError
from slt.store import write_json
from slt.tokenizer import load_tokenizer, sentence_tokenizer, tokenizer_sha256
from slt.trimming import trim, used_ids

SHARED = Path(__file__).parents[2] / "shared"
E5, WHISPER = SHARED / "models" / "multilingual-e5-small-de-en", SHARED / "models" / "whisper-base-text-decoder"
WIKI = SHARED / "data" / "wiki" / "deu_wikipedia_2021_10K-sentences.txt.gz"
UNIGRAM, BPE = unigram(pieces([*TEXTS, *OTHER]), ["de_DE"]), byte_bpe([*TEXTS, *OTHER] * 3, 420, ["<s>", "</s>"])


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def trimmed(tokenizer: Tokenizer, texts: list[str]) -> tuple[Tokenizer, list[int]]:
    small, rows = trim(tokenizer, used_ids(tokenizer, texts), "demo.decoders.x")
    assert rows == sorted(set(rows)) and small.get_vocab_size() == len(rows)
    for new, old in enumerate(rows):
        assert small.id_to_token(new) == tokenizer.id_to_token(old)
    return small, rows


@pytest.mark.parametrize("whole", [UNIGRAM, BPE], ids=["unigram", "bpe"])
def test_text_in_use_is_split_as_before(whole: Tokenizer) -> None:
    small, rows = trimmed(whole, TEXTS)
    assert len(rows) < whole.get_vocab_size()
    for text in TEXTS:
        assert [rows[i] for i in ids(small, text)] == ids(whole, text)


@pytest.mark.parametrize("whole", [UNIGRAM, BPE], ids=["unigram", "bpe"])
def test_other_text_is_still_spelt_out(whole: Tokenizer) -> None:
    small, _ = trimmed(whole, TEXTS)
    for text in OTHER:
        assert len(ids(small, text)) > len(ids(whole, text))
        assert small.decode(ids(small, text)) == whole.decode(ids(whole, text)) == text


@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=40))
@settings(max_examples=200, deadline=None)
def test_bytes_spell_any_text(text: str) -> None:
    small, _ = trim(BPE, used_ids(BPE, TEXTS), "x")
    assert "<" in text or small.decode(ids(small, text)) == text


def test_no_character_becomes_unknown() -> None:
    small, rows = trimmed(UNIGRAM, TEXTS)
    unknown = UNIGRAM.token_to_id("<unk>")
    for text in ("xyz", "Sylt", "日本 x", "q\u0000", "ßß🙂ö"):
        before, after = ids(UNIGRAM, text), [rows[i] for i in ids(small, text)]
        assert before.count(unknown) == after.count(unknown)


def test_what_an_unknown_character_costs_stays() -> None:
    # it costs the vocabulary's lowest score less 10: too cheap, and `ab?` would no longer be one piece
    whole = unigram([("▁", -2.0), ("a", -3.0), ("b", -3.0), ("▁ab?", -40.0), ("rare", -50.0)])
    small, rows = trimmed(whole, ["ab?"])
    assert [small.id_to_token(i) for i in ids(small, "ab?")] == ["▁ab?"]
    assert "rare" in {whole.id_to_token(row) for row in rows}


def test_special_tokens_stay_and_mark_text_as_before() -> None:
    small, _ = trimmed(UNIGRAM, TEXTS)
    assert [small.token_to_id(token) for token in ("<s>", "<pad>", "</s>", "<unk>")] == [0, 1, 2, 3]
    assert small.decode([small.token_to_id("de_DE"), *ids(small, TEXTS[0]), 2]) == TEXTS[0]


@pytest.mark.parametrize("whole", [UNIGRAM, BPE], ids=["unigram", "bpe"])
def test_saved_and_loaded_it_is_the_same_for_us_and_for_transformers(whole: Tokenizer, tmp_path: Path) -> None:
    small, _ = trimmed(whole, TEXTS)
    names = {"pad": "<pad>" if whole is UNIGRAM else "</s>", "bos": "<s>", "eos": "</s>", "unk": "<unk>"}
    ours = sentence_tokenizer(small, {name: small.token_to_id(token) for name, token in names.items()})
    ours.save_pretrained(tmp_path)
    again = [load_tokenizer(tmp_path), AutoTokenizer.from_pretrained(str(tmp_path))]
    for other in again:
        assert other(TEXTS)["input_ids"] == ours(TEXTS)["input_ids"]
        assert other.eos_token_id == ours.eos_token_id and other.pad_token_id == ours.pad_token_id
        assert tokenizer_sha256(other) == tokenizer_sha256(ours)
        assert other.batch_decode(other(TEXTS)["input_ids"], skip_special_tokens=True) == TEXTS
    assert all(sentence[-1] == ours.eos_token_id for sentence in ours(TEXTS)["input_ids"])


def test_a_tokenizer_other_than_the_decoder_was_trained_with_is_refused(tmp_path: Path) -> None:
    def make(texts: list[str]) -> Any:
        small, _ = trim(UNIGRAM, used_ids(UNIGRAM, texts), "x")
        return sentence_tokenizer(small, {"bos": 0, "pad": 1, "eos": 2, "unk": 3})

    write_json(tmp_path / "config.json", {"decoder": {"tokenizer_sha256": tokenizer_sha256(make(TEXTS))}})
    make(TEXTS).save_pretrained(tmp_path)
    load_tokenizer(tmp_path)
    make(TEXTS[1:]).save_pretrained(tmp_path)
    with pytest.raises(DataError, match="not the vocabulary that this folder's decoder was trained with"):
        load_tokenizer(tmp_path)


def test_a_kind_that_cannot_be_trimmed_says_so() -> None:
    words = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    with pytest.raises(ConfigError, match=r"demo\.decoders\.x\.trim_vocabulary: true.*WordLevel.*set it to false"):
        trim(words, {0}, "demo.decoders.x")


def test_a_vocabulary_as_large_as_mbarts() -> None:
    draw = np.random.default_rng(0)
    letters = [chr(code) for code in (*range(97, 123), 0xE4, 0xF6, 0xFC, 0xDF, *range(0x4E00, 0x5B00))]
    syllables = ["".join(word) for word in draw.choice(letters[:30], (140_000, 5))]
    names = list(dict.fromkeys(["▁", *letters, *syllables, *("▁" + s for s in syllables)]))[: 250_027 - 7]
    codes = ["de_DE", "en_XX"]
    whole = unigram(list(zip(names, sorted(-draw.uniform(3, 20, len(names)), reverse=True), strict=True)), codes)
    assert whole.get_vocab_size() == 250_027
    texts = [" ".join(draw.choice(syllables[:5000], 9)) for _ in range(500)]
    small, rows = trimmed(whole, texts)
    assert len(letters) < len(rows) < 20_000
    assert all([rows[i] for i in ids(small, text)] == ids(whole, text) for text in texts)


@pytest.mark.skipif(not E5.is_dir(), reason="needs the shared models and Wikipedia sentences")
@pytest.mark.parametrize("folder", [E5, WHISPER], ids=["xlm-r pieces", "whisper"])
def test_real_vocabularies_split_real_text_as_before(folder: Path) -> None:
    whole = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with gzip.open(WIKI, "rt", encoding="utf-8") as file:
        texts = [line.split("\t", 1)[1].strip() for line in file][:3000]
    small, rows = trimmed(whole, texts[:2000])
    assert all([rows[i] for i in ids(small, text)] == ids(whole, text) for text in texts[:2000])
    assert len(rows) < whole.get_vocab_size() / 2
    for text in texts[2000:]:  # held out: perhaps in shorter tokens, but nothing lost
        assert small.decode(ids(small, text)) == whole.decode(ids(whole, text))
