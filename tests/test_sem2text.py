"""What sem2text trains on when it may not have all of the monolingual text, and in which language it writes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slt.config.train import DecoderConfig, Sem2textConfig, TrainingConfig
from slt.decoding import Search, translate
from slt.errors import DataError
from slt.manifest import Clip
from slt.model_folder import load_model
from slt.models.translator import SignTranslator
from slt.sem2text import Sem2text, chosen_sentences, new_decoder, spread
from slt.sem_space import SemSpace
from slt.tokenizer import load_tokenizer
from slt.training import train
from stages.sem2text import held_out

TEXTS = [f"sentence {i}" for i in range(200)]
SEMS = np.arange(200, dtype=np.float32)[:, None]
LANGUAGES = ["de" if i % 4 == 3 else "en" for i in range(200)]
ALL = TEXTS, SEMS, LANGUAGES


def test_all_of_the_text_is_the_text_itself() -> None:
    texts, sems, languages = chosen_sentences(ALL, 1.0)
    assert texts is TEXTS and sems is SEMS and languages is LANGUAGES


@pytest.mark.parametrize(("share", "count"), [(0.5, 100), (0.1, 20), (0.001, 1)])
def test_a_share_keeps_the_order_and_each_sentence_its_sem(share: float, count: int) -> None:
    texts, sems, languages = chosen_sentences(ALL, share)
    assert len(texts) == count
    assert [f"sentence {i:.0f}" for i in sems[:, 0]] == texts
    assert languages == [LANGUAGES[TEXTS.index(text)] for text in texts]
    assert texts == sorted(texts, key=TEXTS.index)


def test_a_smaller_share_is_part_of_a_larger_one_and_no_prefix() -> None:
    shares = [set(chosen_sentences(ALL, share)[0]) for share in (0.1, 0.3, 0.5)]
    assert shares[0] < shares[1] < shares[2]
    assert shares[2] != set(TEXTS[:100])


def test_a_language_alone_and_a_share_of_it() -> None:
    texts, sems, languages = chosen_sentences(ALL, 1.0, ["de"])
    assert len(texts) == 50 and set(languages) == {"de"}
    assert [f"sentence {i:.0f}" for i in sems[:, 0]] == texts
    assert set(chosen_sentences(ALL, 0.1, ["de"])[0]) < set(texts)


# --- whose held-out sentences choose the weights ---


def test_few_of_many_dev_sentences_are_spread_over_all_of_them() -> None:
    texts, sems, languages = spread(ALL, 3)
    assert texts == [TEXTS[i] for i in (0, 100, 199)] and languages == [LANGUAGES[i] for i in (0, 100, 199)]
    assert [f"sentence {i:.0f}" for i in sems[:, 0]] == texts
    assert spread(ALL, 1000)[0] == TEXTS


class Held:
    """Targets and monolingual text in one: a clip's raw vector is its number, all are doubled in the model's space."""

    def __init__(self) -> None:
        self.space = SemSpace(False, np.zeros(1, np.float32), 2.0)

    def matrix(self, ids: list[str]) -> np.ndarray:
        return 2 * np.array([[float(name)] for name in ids])

    def sentences(self, split: str) -> Any:
        assert split == "dev"
        return ["mono en", "mono de"], np.array([[7.0], [8.0]]), ["en", "de"]


@pytest.mark.parametrize(
    ("select_on", "languages", "texts", "sems"),
    [
        ("corpus", None, ["two", "drei"], [4, 6]),
        ("corpus", ["de"], ["drei"], [6]),
        ("monolingual", None, ["mono en", "mono de"], [14, 16]),
        ("monolingual", ["en"], ["mono en"], [14]),
    ],
)
def test_the_weights_are_chosen_on_dev_text_of_the_corpus_or_of_the_monolingual_text(
    select_on: Any, languages: list[str] | None, texts: list[str], sems: list[float]
) -> None:
    rows = [
        ("1", "train", "en", "one"),
        ("2", "dev", "en", "two"),
        ("3", "dev", "de", "drei"),
        ("4", "test", "en", "four"),
    ]
    clips = [Clip(name, split, language, "mis", "v.mp4", text) for name, split, language, text in rows]
    training = TrainingConfig(1e-2, "constant", 1, 60, 256, 1, 60, None, 0.0, 1.0, 0.0, "float32")
    config = Sem2textConfig(train_text=True, sem_noise=0.0, training=training, seed=0, select_on=select_on)
    held: Any = Held()
    found = held_out(config, languages, clips, held, held)
    assert found[0] == texts and found[1][:, 0].tolist() == sems and len(found[2]) == len(texts)


# --- a decoder that writes several languages ---

TEACHES = {"en": "the rain falls in the north", "de": "der Regen fällt im Norden"}
CONFIG = DecoderConfig(layers=1, width=32, heads=2, ffn=64, dropout=0.0, vocabulary=300, max_tokens=24, tokens=2)
SPACE = SemSpace(False, np.zeros(8, np.float32), 1.0)


def decoder_of(languages: tuple[str, ...]) -> tuple[SignTranslator, Any]:
    return new_decoder(CONFIG, None, list(TEACHES.values()), 8, SPACE, 0, "t", languages)


@pytest.mark.parametrize(("micro_batch", "sentences"), [(256, 64), (30, 10), (1, 1)])
def test_validation_writes_no_more_tokens_at_a_time_than_eight_micro_batches(micro_batch: int, sentences: int) -> None:
    model, tokenizer = decoder_of(())
    training = TrainingConfig(1e-2, "constant", 1, 60, micro_batch, 1, 60, None, 0.0, 1.0, 0.0, "float32")
    config = Sem2textConfig(train_text=True, sem_noise=0.0, training=training, seed=0)
    data = list(TEACHES.values()), np.ones((2, 8), np.float32), list(TEACHES)
    assert Sem2text(model, tokenizer, config, 24, data, data).search.batch == sentences


def test_the_decoder_writes_the_language_it_is_asked_for(tmp_path: Path) -> None:
    """One SEM means both sentences: what is written depends on the language that is named, and on nothing else."""
    model, tokenizer = decoder_of(("de", "en"))
    sems = np.ones((2, 8), np.float32)
    training = TrainingConfig(1e-2, "constant", 1, 60, 256, 1, 60, None, 0.0, 1.0, 0.0, "float32")
    config = Sem2textConfig(train_text=True, sem_noise=0.0, training=training, seed=0)
    data = list(TEACHES.values()), sems, list(TEACHES)
    train(Sem2text(model, tokenizer, config, 24, data, data), training, 0, tmp_path)
    save_model_and_tokenizer(model, tokenizer, tmp_path / "model")
    model, tokenizer = load_model(tmp_path / "model"), load_tokenizer(tmp_path / "model")
    for beam in (1, 3):
        for asked in (["en", "de"], ["de", "en"]):
            found = translate(model, tokenizer, Search(beam, 1.0, 24, 2), sems=sems, languages=asked)
            assert [result.sentences[0] for result in found] == [TEACHES[language] for language in asked]


def save_model_and_tokenizer(model: SignTranslator, tokenizer: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def test_a_decoder_of_several_languages_has_to_be_told_a_known_one() -> None:
    model, tokenizer = decoder_of(("de", "en"))
    sems, search = np.ones((1, 8), np.float32), Search(1, 1.0, 4, 1)
    with pytest.raises(DataError, match="writes de, en, and is not told which"):
        translate(model, tokenizer, search, sems=sems)
    with pytest.raises(DataError, match="`fr` is none of them"):
        translate(model, tokenizer, search, sems=sems, languages=["fr"])


def test_one_language_alone_leaves_vocabulary_and_model_as_they_were() -> None:
    plain, named = decoder_of(()), decoder_of(("en",))
    assert plain[1].get_vocab() == named[1].get_vocab()
    assert plain[0].config.decoder == named[0].config.decoder
    assert not named[0].decoder.prompts and named[0].decoder.prompt == [named[1].bos_token_id]
