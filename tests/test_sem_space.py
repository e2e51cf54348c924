"""The SEM space: cosines kept, unit mean square over train, exact JSON, and the inputs it must refuse."""

import json
import tracemalloc

import numpy as np
import pytest

from slt.errors import DataError
from slt.sem_space import SemSpace, mean_pairwise_cosine


@pytest.fixture
def raw() -> np.ndarray:
    """Vectors of an e5-like teacher: a large common part, so that all cosines are high."""
    random = np.random.default_rng(0)
    return (3.0 + random.normal(size=(200, 16)) * random.uniform(0.1, 1.0, size=16)).astype(np.float32)


def cosines(vectors: np.ndarray) -> np.ndarray:
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units @ units.T


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("center", [True, False])
def test_mean_square_over_train_is_one(raw: np.ndarray, normalize: bool, center: bool) -> None:
    targets = SemSpace.fit(raw, normalize, center).apply(raw)
    assert targets.dtype == np.float32
    assert np.mean(targets.astype(np.float64) ** 2) == pytest.approx(1, abs=1e-6)
    # so an MSE of 1 is what always answering with the mean (centred) or zero costs
    assert np.abs(targets.mean(axis=0)).max() < 1e-5 if center else targets.mean() > 0.5


@pytest.mark.parametrize("normalize", [True, False])
def test_without_centring_cosines_are_those_of_the_teacher(raw: np.ndarray, normalize: bool) -> None:
    targets = SemSpace.fit(raw, normalize, center=False).apply(raw)
    np.testing.assert_allclose(cosines(targets), cosines(raw), atol=1e-5)


def test_centred_cosines_are_those_of_the_centred_teacher(raw: np.ndarray) -> None:
    targets = SemSpace.fit(raw, normalize=False, center=True).apply(raw)
    np.testing.assert_allclose(cosines(targets), cosines(raw - raw.mean(axis=0)), atol=1e-4)


def test_centring_spreads_what_the_teacher_put_close_together(raw: np.ndarray) -> None:
    space = SemSpace.fit(raw, normalize=True, center=True)
    assert mean_pairwise_cosine(raw) > 0.9
    assert abs(mean_pairwise_cosine(space.apply(raw))) < 0.02


def test_mean_pairwise_cosine_is_the_mean_over_pairs_of_different_rows(raw: np.ndarray) -> None:
    every = cosines(raw.astype(np.float64))
    off_diagonal = every[~np.eye(len(raw), dtype=bool)]
    assert mean_pairwise_cosine(raw) == pytest.approx(off_diagonal.mean(), abs=1e-9)
    assert mean_pairwise_cosine(raw[:1]) == 0.0


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(("count", "size"), [(1, 384), (7, 384), (1_025, 384), (5_001, 24), (9_000, 384)])
def test_a_space_fitted_in_blocks_is_the_one_fitted_in_one_piece(count: int, size: int, normalize: bool) -> None:
    raw = 0.2 + np.random.default_rng(0).normal(size=(count + 1, size)).astype(np.float32)
    vectors = raw.astype(np.float64)
    if normalize:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    mean = vectors.mean(axis=0).astype(np.float32)
    space = SemSpace.fit(raw, normalize, center=True)
    np.testing.assert_allclose(space.mean, mean, rtol=1e-6)
    assert space.scale == pytest.approx(1.0 / float(np.sqrt(np.mean((vectors - mean) ** 2))), rel=1e-12)
    assert mean_pairwise_cosine(raw, space) == pytest.approx(mean_pairwise_cosine(space.apply(raw)), abs=1e-12)


def test_fitting_takes_no_copy_of_the_vectors() -> None:
    raw = np.random.default_rng(0).normal(size=(20_000, 384)).astype(np.float32)
    tracemalloc.start()
    space = SemSpace.fit(raw, normalize=True, center=True)
    mean_pairwise_cosine(raw, space)
    assert tracemalloc.get_traced_memory()[1] < raw.nbytes
    tracemalloc.stop()


def test_held_out_vectors_are_mapped_with_the_train_statistics(raw: np.ndarray) -> None:
    space = SemSpace.fit(raw[:100], normalize=False, center=True)
    expected = (raw[100:] - raw[:100].mean(axis=0)) * space.scale
    np.testing.assert_allclose(space.apply(raw[100:]), expected, atol=1e-4)
    np.testing.assert_array_equal(space.apply(raw[100]), space.apply(raw[100:])[0])  # one vector as well as many


def test_json_keeps_every_bit(raw: np.ndarray) -> None:
    space = SemSpace.fit(raw, normalize=True, center=True)
    again = SemSpace.from_json(json.loads(json.dumps(space.to_json())))
    np.testing.assert_array_equal(again.apply(raw), space.apply(raw))


def test_vectors_that_all_agree_are_refused(raw: np.ndarray) -> None:
    same = np.repeat(raw[:1], 5, axis=0)
    with pytest.raises(DataError, match="do not differ"):
        SemSpace.fit(same, normalize=True, center=True)


def test_nothing_infinities_and_zero_vectors_are_refused(raw: np.ndarray) -> None:
    with pytest.raises(DataError, match="no train vectors"):
        SemSpace.fit(raw[:0], normalize=False, center=True)
    with pytest.raises(DataError, match="not finite"):
        SemSpace.fit(np.where(raw == raw[3], np.inf, raw), normalize=False, center=True)
    with pytest.raises(DataError, match="no direction"):
        SemSpace.fit(np.concatenate([raw, np.zeros_like(raw[:2])]), normalize=True, center=False)


def test_vectors_of_another_size_are_refused(raw: np.ndarray) -> None:
    with pytest.raises(DataError, match="8 numbers in a SEM space of 16"):
        SemSpace.fit(raw, normalize=False, center=False).apply(raw[:, :8])
