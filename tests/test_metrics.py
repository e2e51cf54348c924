"""Metrics against sacrebleu's own command line and classes."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from slt.bootstrap import bootstrap, draw
from slt.errors import DataError
from slt.metrics import BLEU_13A, BLEU_MULTI, BLEU_RAW, CHRF2, MeanMetric, Score, corpus_statistics

TEXT = "am Tag regnet es im Norden, im Süden 10 Grad und nachts schneit's auf den Höhen nicht (Wind aus West)."
WORDS = TEXT.split()


def sentences(n: int, seed: int) -> list[str]:
    random_ = random.Random(seed)
    return [" ".join(random_.choices(WORDS, k=random_.randint(3, 22))) + " ." for _ in range(n)]


def corrupted(references: list[str], skill: float, seed: int) -> list[str]:
    random_ = random.Random(seed)
    changed = [[w if random_.random() < skill else random_.choice(WORDS) for w in r.split()] for r in references]
    return [" ".join(words[: random_.randint(0, 1) + len(words)]) for words in changed]


def command_line(folder: Path, hypotheses: list[str], streams: list[list[str]], *options: str) -> list[dict]:
    (folder / "hyp").write_text("\n".join(hypotheses) + "\n", encoding="utf-8")
    for i, stream in enumerate(streams):
        (folder / f"ref{i}").write_text("\n".join(stream) + "\n", encoding="utf-8")
    references = [f"ref{i}" for i in range(len(streams))]
    command = [sys.executable, "-m", "sacrebleu", *references, "-i", "hyp", "--confidence", "-w", "2", *options]
    printed = json.loads(subprocess.run(command, cwd=folder, capture_output=True, check=True, text=True).stdout)
    return printed if isinstance(printed, list) else [printed]


def assert_as_printed(score: Score, printed: dict) -> None:
    assert round(score.value, 2) == printed["score"]
    assert round(score.mean, 2) == printed["confidence_mean"]
    assert round(score.half_width, 2) == printed["confidence_var"]
    assert score.signature == printed["signature"]


def test_value_mean_half_width_and_signature_are_those_of_the_command_line(tmp_path: Path) -> None:
    references = sentences(150, 1)
    hypotheses = corrupted(references, 0.7, 2)
    hypotheses[5] = ""  # a system may write nothing
    own = [[reference] for reference in references]
    drawn = draw(150)
    bleu, chrf = command_line(tmp_path, hypotheses, [references], "-m", "bleu", "chrf")
    assert_as_printed(bootstrap(BLEU_13A.statistics(hypotheses, own), drawn), bleu)
    assert_as_printed(bootstrap(CHRF2.statistics(hypotheses, own), drawn), chrf)
    (raw,) = command_line(tmp_path, hypotheses, [references], "-m", "bleu", "--tokenize", "none", "--force")
    assert_as_printed(bootstrap(BLEU_RAW.statistics(hypotheses, own), drawn), raw)
    assert raw["score"] != bleu["score"]


def test_several_references_are_scored_as_on_the_command_line(tmp_path: Path) -> None:
    streams = [sentences(80, seed) for seed in (1, 2, 3)]
    hypotheses = corrupted(streams[1], 0.6, 4)
    own = [list(references) for references in zip(*streams, strict=True)]
    (bleu,) = command_line(tmp_path, hypotheses, streams, "-m", "bleu")
    score = bootstrap(BLEU_MULTI.statistics(hypotheses, own), draw(80))
    assert_as_printed(score, bleu)
    assert "nrefs:3" in score.signature


def test_every_sentence_may_have_its_own_number_of_references() -> None:
    first, second = sentences(60, 1), sentences(60, 2)
    hypotheses = corrupted(second, 0.8, 3)
    ragged = [[a, b] if i % 3 else [a] for i, (a, b) in enumerate(zip(first, second, strict=True))]
    streams = [first, [b if i % 3 else None for i, b in enumerate(second)]]
    for metric, theirs in ((BLEU_MULTI, BLEU(force=True)), (CHRF2, CHRF())):
        score = bootstrap(metric.statistics(hypotheses, ragged), draw(60))
        expected = theirs.corpus_score(hypotheses, streams, n_bootstrap=1000)
        assert score.value == pytest.approx(expected.score, abs=1e-9)
        assert score.mean == pytest.approx(expected._mean, abs=1e-4)  # sacrebleu sums in float32
        assert score.half_width == pytest.approx(expected._ci, abs=1e-4)
        assert score.signature == str(theirs.get_signature())
        assert "nrefs:var" in score.signature


def test_statistics_refuse_texts_that_do_not_belong_together() -> None:
    with pytest.raises(DataError, match="2 hypotheses, but references for 1"):
        BLEU_13A.statistics(["a", "b"], [["a"]])
    with pytest.raises(DataError, match="sentence 1 has no reference"):
        BLEU_13A.statistics(["a", "b"], [["a"], []])
    with pytest.raises(DataError, match="no sentence"):
        BLEU_13A.statistics([], [])


def test_what_cannot_be_computed_is_a_reason_not_a_number() -> None:
    statistics = corpus_statistics(["a b"], [["a b"]], bleurt=None)
    assert "no BLEURT checkpoint" in str(statistics["bleurt"])
    assert "one reference" in str(statistics["bleu_multi"])
    assert "models/BLEURT-20" in str(corpus_statistics(["a"], [["a"]], bleurt="models/BLEURT-20")["bleurt"])


def test_further_references_change_bleu_multi_alone() -> None:
    references = sentences(40, 1)
    hypotheses = corrupted(references, 0.5, 2)
    single = corpus_statistics(hypotheses, [[r] for r in references], None)
    multi = corpus_statistics(hypotheses, [[r, h] for r, h in zip(references, hypotheses, strict=True)], None)
    for name in ("bleu", "bleu_raw", "chrf"):
        assert single[name].value() == multi[name].value()
    assert multi["bleu_multi"].value() == pytest.approx(100)


def test_a_metric_of_sentence_scores_goes_through_the_same_bootstrap() -> None:
    scores = np.random.default_rng(0).normal(0.5, 0.2, size=70)
    metric = MeanMetric("bleurt", "BLEURT-20")
    picked = np.random.default_rng(12345).choice(70, size=(1000, 70), replace=True)
    expected = np.sort(scores[picked].mean(axis=1))
    score = bootstrap(metric.statistics(scores.tolist()), draw(70))
    assert score.value == pytest.approx(scores.mean())
    assert (score.low, score.high) == pytest.approx((expected[25], expected[974]))
    assert score.signature == "nrefs:1|bs:1000|seed:12345|model:BLEURT-20"
