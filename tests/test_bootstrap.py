"""Intervals and paired tests against sacrebleu's significance module and command line."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest, _bootstrap_resample
from test_metrics import corrupted, sentences

from slt.bootstrap import bootstrap, draw, interval, paired_test, resample
from slt.errors import DataError
from slt.metrics import BLEU_13A, CHRF2, SacrebleuMetric, Statistics

REFERENCES = sentences(120, 1)
SYSTEMS = {name: corrupted(REFERENCES, skill, 5) for name, skill in (("base", 0.6), ("near", 0.61), ("far", 0.8))}


def statistics(system: str, metric=BLEU_13A) -> Statistics:
    return metric.statistics(SYSTEMS[system], [[reference] for reference in REFERENCES])


@pytest.mark.parametrize(("ours", "theirs"), [(BLEU_13A, BLEU()), (CHRF2, CHRF())])
def test_each_resample_is_sacrebleus(ours, theirs) -> None:
    own = statistics("base", ours)
    _, scores = _bootstrap_resample(own.values.astype(int).tolist(), theirs, 1000)
    assert resample(own, draw(120)) == pytest.approx([score.score for score in scores], abs=1e-9)


def sums(metric: SacrebleuMetric) -> np.ndarray:
    """Summed statistics as corpora of all sizes have them, and as none but a broken system has."""
    generator = np.random.default_rng(3)
    rows = []
    for _ in range(2000):
        if metric is CHRF2:
            written, expected = (generator.integers(0, 9, 6) * generator.integers(0, 2) for _ in range(2))
            rows.append(np.stack([written, expected, np.minimum(written, expected) // generator.integers(1, 4)], 1))
        else:
            words, reference = generator.integers(0, 12), generator.integers(1, 12)
            ngrams = np.maximum(words - np.arange(4), 0)
            matches = np.minimum.accumulate(generator.integers(0, ngrams + 1))
            rows.append(np.concatenate([[words, reference], matches, ngrams]))
    return np.array([row.ravel() for row in rows], np.float64)


@pytest.mark.parametrize("metric", [BLEU_13A, CHRF2])
def test_many_sums_at_once_are_scored_as_sacrebleu_scores_each(metric: SacrebleuMetric) -> None:
    rows = sums(metric)
    each = np.array([metric.score(row) for row in rows.tolist()])
    assert metric.formula(rows) == pytest.approx(each, rel=1e-12, abs=1e-12)
    assert 0 < np.mean(each == 0) < 0.9 and len(np.unique(each)) > 50


def test_paired_p_values_are_those_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "ref").write_text("\n".join(REFERENCES) + "\n", encoding="utf-8")
    for name, hypotheses in SYSTEMS.items():
        (tmp_path / name).write_text("\n".join(hypotheses) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", "ref", "-i", *SYSTEMS, "-m", "bleu", "chrf", "--paired-bs", "-w", "2"]
    command += ["--format", "text"]  # as JSON sacrebleu 2.6.0 fails on its own float32 values
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, text=True).stdout
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if "│" in line]
    printed = {row[0]: (row[1:], below[1:]) for row, below in pairwise(cells) if row[0] in SYSTEMS}
    for name in ("near", "far"):
        for metric, score_cell, p_cell in zip((BLEU_13A, CHRF2), *printed[name], strict=True):
            score = bootstrap(statistics(name, metric), draw(120))
            test = paired_test(statistics(name, metric), statistics("base", metric), draw(120))
            assert f"{score.value:.2f} ({score.mean:.2f} ± {score.half_width:.2f})" == score_cell
            assert f"(p = {test.p_value:.4f})" == p_cell.rstrip("*")
    assert printed["far"][1][0].endswith("*")
    assert not printed["near"][1][0].endswith("*")


@pytest.mark.parametrize("seed", [1, 2, 3, 12345])
def test_paired_p_values_for_other_seeds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", str(seed))
    metrics = {"BLEU": BLEU(), "chrF2": CHRF()}
    _, table = PairedTest(list(SYSTEMS.items()), metrics, [REFERENCES], test_type="bs", n_samples=500)()
    for metric, key in ((BLEU_13A, "BLEU"), (CHRF2, "chrF2")):
        for i, name in enumerate(SYSTEMS):
            if name != "base":
                test = paired_test(statistics(name, metric), statistics("base", metric), draw(120, 500, seed))
                assert test.p_value == pytest.approx(table[key][i].p_value, abs=1e-12)


def test_the_interval_of_a_difference_is_of_the_same_resamples() -> None:
    test = paired_test(statistics("far"), statistics("base"), draw(120))
    differences = np.sort(resample(statistics("far"), draw(120)) - resample(statistics("base"), draw(120)))
    assert (test.low, test.high) == (differences[25], differences[974])
    assert test.low < test.difference < test.high
    back = paired_test(statistics("base"), statistics("far"), draw(120))
    assert (back.difference, back.low, back.high) == (-test.difference, -test.high, -test.low)
    assert back.p_value == test.p_value


def test_a_system_does_not_differ_from_itself() -> None:
    test = paired_test(statistics("base"), statistics("base"), draw(120))
    assert (test.difference, test.low, test.high, test.p_value) == (0, 0, 0, 1)


def test_one_draw_serves_all_systems_of_a_split() -> None:
    drawn = draw(50, 300, 7)
    assert drawn is draw(50, 300, 7)
    assert (drawn.counts.sum(axis=1) == 50).all()
    with pytest.raises(ValueError, match="read-only"):
        drawn.counts[0, 0] = 1
    assert not np.array_equal(drawn.counts, draw(50, 300, 8).counts)


def test_confidence_sets_the_width() -> None:
    scores = np.arange(1000.0)
    assert interval(scores, 0.95) == (25, 974)
    assert interval(scores, 0.9) == (50, 949)
    assert (
        bootstrap(statistics("base"), draw(120, 1000, 12345, 0.8)).half_width
        < bootstrap(statistics("base"), draw(120)).half_width
    )


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(DataError, match="120 sentences, but the draw is of 119"):
        bootstrap(statistics("base"), draw(119))
    with pytest.raises(DataError, match="cannot compare bleu"):
        paired_test(statistics("base"), statistics("base", CHRF2), draw(120))
    with pytest.raises(DataError, match="no sentence"):
        draw(0)


def test_a_draw_that_no_memory_holds_is_refused_before_it_is_made() -> None:
    with pytest.raises(DataError, match=r"100000000 resamples of 120 sentences .* at most 3333333 do"):
        draw(120, 10**8)
