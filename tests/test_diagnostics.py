"""Diagnostics: each against a case whose answer is known."""

import dataclasses

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from slt.config.base import parse
from slt.config.evaluate import EvaluateConfig
from slt.diagnostics import FUNCTION_WORDS, bucket, bucket_names, content_words, diagnose, output, retrieval
from slt.errors import ConfigError, DataError
from slt.evaluations import Record, Sems
from slt.scoring import score_folder

CONFIG = EvaluateConfig(beam=4, length_penalty=1.0, max_tokens=30, batch=8, resamples=100)


def record(number: int, hypothesis: str, reference: str, **fields) -> Record:
    known = {"signer": None, "signer_in_train": None, "reference_in_train": False, "references": ()}
    return Record(f"c{number:03d}", "test", "model", hypothesis, reference, **{**known, **fields})


def test_words_are_counted_without_punctuation() -> None:
    assert bucket("a b c d e f g .") == bucket_names()[0] == "≤7"
    assert bucket("a b c d e f g h .") == "8–11"
    assert bucket(" ".join("a" * 26)) == bucket_names()[-1] == "≥26"
    assert bucket("…") == "≤7"


def test_a_part_is_scored_as_if_it_were_the_corpus() -> None:
    seen = [
        record(i, f"rain in the north {i}", f"rain in the north {i} today", reference_in_train=True) for i in range(5)
    ]
    unseen = [record(i, f"sun {i} all over the land", f"snow {i} all over the hills") for i in range(5, 12)]
    parts = diagnose([*seen, *unseen], CONFIG)["sentences"]
    for name, part in (("seen", seen), ("unseen", unseen)):
        expected = BLEU().corpus_score([r.hypothesis for r in part], [[r.reference for r in part]], n_bootstrap=100)
        assert parts[name]["n"] == len(part)
        assert parts[name]["bleu"]["value"] == pytest.approx(expected.score, abs=1e-6)
        assert parts[name]["bleu"]["half_width"] == pytest.approx(expected._ci, abs=1e-4)


def test_every_clip_is_in_one_part_and_an_empty_part_has_no_score() -> None:
    records = [record(i, "a b", "a b " * (i + 1), signer_in_train=(True, False, None)[i % 3]) for i in range(9)]
    found = diagnose(records, CONFIG)
    for which in ("bleu_by_length", "sentences", "signers"):
        assert sum(part["n"] for part in found[which].values()) == 9
    assert [part["n"] for part in found["signers"].values()] == [3, 3, 3]
    assert found["sentences"]["seen"] == {"n": 0, "bleu": {"value": None, "reason": "no such clip"}}
    assert found["retrieval"]["value"] is None


def test_content_words_keep_what_carries_meaning() -> None:
    assert content_words("und nun die Wettervorhersage: es regnet nicht im Norden.", "de") == (
        "nun Wettervorhersage regnet nicht Norden"
    )
    assert content_words("You can't pull it off, not with two.", "en") == "can't pull off not two"
    for words in FUNCTION_WORDS.values():
        assert not words & {"nicht", "kein", "keine", "not", "no", "never", "zwei", "two"}


def test_bleu_of_content_words_sees_through_function_words() -> None:
    records = [
        record(i, f"the rain and the wind {i} will be in the north .", f"wind {i} , and rain of the north .")
        for i in range(6)
    ]
    assert diagnose(records, CONFIG)["bleu_content"]["value"] is None  # no language, no list
    same = [record(i, f"the heavy rain {i} reaches the north .", f"heavy rain {i} reaches north") for i in range(6)]
    score = diagnose(same, CONFIG, language="en")["bleu_content"]
    assert score["value"] == pytest.approx(100)
    assert score["signature"].endswith("function-words-en")
    assert diagnose(records, CONFIG, language="en")["bleu_content"]["value"] < 100


def sems(predicted: np.ndarray, true: np.ndarray) -> Sems:
    return Sems(tuple(f"c{i:03d}" for i in range(len(true))), predicted, true)


def test_retrieval_finds_what_is_there_and_nothing_else() -> None:
    true = np.random.default_rng(0).normal(size=(40, 32))
    records = [record(i, "", f"sentence {i}") for i in range(40)]
    perfect = retrieval(records, sems(3 * true, true))
    assert (perfect["recall_at_1"], perfect["median_rank"], perfect["mean_cosine"]) == (1, 1, 1)
    assert abs(perfect["mean_cosine_other"]) < 0.1
    nothing = retrieval(records, sems(np.zeros_like(true), true))
    assert (nothing["recall_at_1"], nothing["recall_at_5"], nothing["median_rank"]) == (0, 0, 40)
    collapsed = retrieval(records, sems(np.tile(true.mean(axis=0), (40, 1)), true))
    assert collapsed["recall_at_1"] == 1 / 40  # one sentence is the nearest of all


def test_clips_of_one_sentence_are_one_candidate() -> None:
    true = np.random.default_rng(0).normal(size=(10, 32))
    true[5:] = true[:5]
    records = [record(i, "", f"sentence {i % 5}") for i in range(10)]
    found = retrieval(records, sems(true, true))
    assert (found["n"], found["candidates"], found["recall_at_1"]) == (10, 5, 1)


def test_retrieval_does_not_depend_on_the_order_of_the_sems() -> None:
    random = np.random.default_rng(0)
    true = random.normal(size=(20, 8))
    own = sems(true + random.normal(size=true.shape), true)
    order = random.permutation(20)
    moved = Sems(tuple(own.ids[i] for i in order), own.predicted[order], own.true[order])
    records = [record(i, "", f"sentence {i}") for i in range(20)]
    assert retrieval(records, own) == retrieval(records, moved)


def test_output_tells_empty_and_repeated_hypotheses() -> None:
    found = output(["", "x y", "x y ", "z"], ["a b.", "c d.", "e f.", "g h."])
    assert found == {"length_ratio": round(5 / 12, 6), "empty": 0.25, "distinct": 0.75, "distinct_references": 1.0}


def test_scores_do_not_depend_on_the_order_of_the_records() -> None:
    records = [record(i, f"a b {i % 3} c", f"a b {i} c d") for i in range(12)]
    assert score_folder(records, CONFIG) == score_folder(records[::-1], CONFIG)


def test_scores_json_has_the_agreed_shape() -> None:
    model = [record(i, f"a b c {i}", f"a b c {i} d") for i in range(8)]
    control = [dataclasses.replace(r, condition="constant", hypothesis="a b") for r in model]
    dev = [dataclasses.replace(r, split="dev", id="d" + r.id) for r in model]
    true = np.eye(8)
    scores = score_folder([*control, *model, *dev], CONFIG, sems(true, true), language="en")
    assert set(scores) == {"dev", "test", "diagnostics", "interval"}
    assert set(scores["test"]) == {"model", "constant"}
    assert scores["interval"] == {"resamples": 100, "seed": 12345, "confidence": 0.95}
    bleu = scores["test"]["model"]["bleu"]
    assert set(bleu) == {"metric", "value", "mean", "low", "high", "half_width", "n", "signature"}
    assert bleu["half_width"] == pytest.approx((bleu["high"] - bleu["low"]) / 2, abs=1e-6)
    bleurt = scores["test"]["model"]["bleurt"]
    assert bleurt["value"] is None
    assert "checkpoint" in bleurt["reason"]
    assert scores["diagnostics"]["test"]["retrieval"]["recall_at_1"] == 1
    assert scores["diagnostics"]["test"]["condition"] == "model"
    assert scores["diagnostics"]["dev"]["retrieval"]["value"] is None


def test_sems_of_other_clips_are_refused() -> None:
    records = [record(i, "a", "b") for i in range(3)]
    with pytest.raises(DataError, match="lacks 1 of them: c003"):
        score_folder(records, CONFIG, sems(np.eye(4), np.eye(4)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confidence": 95.0}, "confidence must lie between 0 and 1"),
        ({"resamples": 20}, "too few"),
        ({"beam": 0}, "at least 1"),
        ({"bleurtt": None}, "did you mean `bleurt`"),
    ],
)
def test_settings_are_checked(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(EvaluateConfig, {**dataclasses.asdict(CONFIG), **change}, "demo.evaluate")
