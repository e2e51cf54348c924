"""An alignment undoes what moved the SEMs, is no better than its fit, and the gap is that of the centroids."""

import dataclasses

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import bootstrap, ortho_group

from slt.errors import DataError
from slt.evaluations import Record, Sems
from slt.sem_alignment import fit, found_first, map_figures, modality_gap, recall_test

RANDOM = np.random.default_rng(4)
TRUE = RANDOM.normal(size=(60, 8))
TURN = ortho_group.rvs(8, random_state=1)


def records(count: int) -> list[Record]:
    return [Record(f"c{i}", "test", "model", "", f"sentence {i}", (), None, None, False) for i in range(count)]


def figures(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    return map_figures(records(len(true)), Sems(tuple(f"c{i}" for i in range(len(true))), predicted, true))


def test_a_rotated_space_is_read_again_after_a_rotation_fitted_elsewhere() -> None:
    predicted = TRUE @ TURN + 0.05 * RANDOM.normal(size=TRUE.shape)
    moved = fit("rotation", predicted[:40], TRUE[:40])(predicted[40:])
    assert figures(predicted[40:], TRUE[40:])["recall_at_1"] < 0.3
    assert figures(moved, TRUE[40:])["recall_at_1"] == 1.0


def test_the_rotation_is_scipys() -> None:
    predicted = TRUE @ TURN + 0.5 * RANDOM.normal(size=TRUE.shape)
    matrix, _ = orthogonal_procrustes(predicted, TRUE)
    np.testing.assert_allclose(fit("rotation", predicted, TRUE)(predicted), predicted @ matrix, atol=1e-10)


def test_a_shifted_space_loses_its_gap_and_cosines_within_stay() -> None:
    predicted = TRUE + 3.0
    moved = fit("shift", predicted[:40], TRUE[:40])(predicted[40:])
    assert modality_gap(predicted[40:], TRUE[40:]) > 0.5
    assert modality_gap(moved, TRUE[40:]) < 1e-6
    np.testing.assert_allclose(moved, TRUE[40:], atol=1e-10)


def test_the_gap_is_the_distance_of_the_centroids_of_unit_vectors() -> None:
    assert modality_gap(np.array([[2.0, 0.0], [5.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 9.0]])) == pytest.approx(2**0.5)
    assert modality_gap(TRUE, 7 * TRUE) == pytest.approx(0)


def test_noise_cannot_be_aligned() -> None:
    noise = RANDOM.normal(size=TRUE.shape)
    moved = fit("rotation", noise[:40], TRUE[:40])(noise[40:])
    assert figures(moved, TRUE[40:])["recall_at_1"] < 0.4


def test_sems_that_do_not_pair_are_refused() -> None:
    with pytest.raises(DataError, match="needs pairs"):
        fit("shift", TRUE[:3], TRUE)


def sems(predicted: np.ndarray) -> Sems:
    return Sems(tuple(f"c{i}" for i in range(len(TRUE))), predicted, TRUE)


@pytest.mark.parametrize("sentences", [60, 20])
def test_recall_is_the_share_of_the_clips_found_first(sentences: int) -> None:
    """With sentences that several clips share, and a constant prediction, whose ties find nothing."""
    given = [dataclasses.replace(record, reference=f"{i % sentences}") for i, record in enumerate(records(60))]
    for predicted in (TRUE + 1.5 * RANDOM.normal(size=TRUE.shape), np.zeros_like(TRUE)):
        found = found_first(given, sems(predicted))
        assert found.mean() == pytest.approx(map_figures(given, sems(predicted))["recall_at_1"], abs=1e-6)


def test_a_difference_in_recall_has_scipys_paired_interval() -> None:
    good, bad = (sems(TRUE + noise * RANDOM.normal(size=TRUE.shape)) for noise in (1.0, 1.6))
    setting = {"resamples": 5000, "seed": 1, "confidence": 0.95}
    test = recall_test(records(60), good, records(60), bad, setting)
    sides = [100.0 * found_first(records(60), side) for side in (good, bad)]
    assert test["difference"] == pytest.approx(sides[0].mean() - sides[1].mean()) and test["difference"] > 5
    theirs = bootstrap(
        sides, lambda x, y, axis: (x - y).mean(axis), paired=True, method="percentile", n_resamples=5000, rng=2
    ).confidence_interval
    assert (test["low"], test["high"]) == pytest.approx((theirs.low, theirs.high), abs=2)
    assert recall_test(records(60), good, records(60), good, setting)["p_value"] == 1
    with pytest.raises(DataError, match="other clips"):
        recall_test(records(60), good, records(60)[::-1], bad, setting)
