"""Batches hold every item once, keep to the budget, and depend on (seed, epoch) alone."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slt.batching import augment, epoch_batches, fill, pad_tokens, rng, subsample
from slt.clips import ClipSet, feature_deviation
from slt.config.train import AugmentConfig
from slt.manifest import Clip
from slt.sign2sem import ClipBatches

LENGTHS = st.lists(st.integers(1, 90), min_size=1, max_size=200)


@given(LENGTHS, st.integers(1, 500), st.integers(0, 5), st.integers(0, 5))
def test_every_item_once_and_within_the_budget(lengths: list[int], budget: int, seed: int, epoch: int) -> None:
    batches = epoch_batches(lengths, budget, seed, epoch)
    assert sorted(item for batch in batches for item in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[item] for item in batch) <= budget
    assert batches == epoch_batches(lengths, budget, seed, epoch)


def test_epochs_and_seeds_differ() -> None:
    lengths = list(range(1, 101))
    orders = [epoch_batches(lengths, 200, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])


@pytest.mark.parametrize("budget", [3712, 8192])
def test_padding_is_under_five_percent_of_the_frames(budget: int) -> None:
    # PHOENIX-2014T's train clips: 7,096 of 116.6 ± 49.9 frames, 16 to 475
    mean, deviation = 116.6, 49.9
    drawn = np.random.default_rng(0).gamma((mean / deviation) ** 2, deviation**2 / mean, 7096)
    lengths = drawn.clip(16, 475).round().astype(int).tolist()
    padded = sum(len(b) * max(lengths[i] for i in b) for b in epoch_batches(lengths, budget, 0, 0))
    assert 1 - sum(lengths) / padded < 0.05


def test_fill_keeps_the_order() -> None:
    assert fill([2, 0, 1], [5, 1, 4], 10) == [[2, 0], [1]]


def test_subsample_keeps_both_ends_and_short_clips() -> None:
    clip = np.arange(100).reshape(100, 1)
    short = subsample(clip, 10)
    assert len(short) == 10 and short[0, 0] == 0 and short[-1, 0] == 99
    assert subsample(clip, 100) is clip


def test_augmentation_depends_on_its_key_alone_and_can_be_nothing() -> None:
    clip = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float16)
    strong = AugmentConfig(speed_min=0.5, speed_max=1.2, drop=0.3, noise=0.5)
    nothing = AugmentConfig(speed_min=1.0, speed_max=1.0, drop=0.0, noise=0.0)
    first, again, other = (augment(clip, strong, np.ones(4), rng(0, e, 7)) for e in (1, 1, 2))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)
    assert np.array_equal(augment(clip, nothing, np.ones(4), rng(0)), clip)


def test_decoder_inputs_are_the_labels_shifted_behind_the_start_token() -> None:
    inputs, labels = pad_tokens([[5, 6, 2], [7, 2]], prompt=[0], pad=1)
    assert inputs.tolist() == [[0, 5, 6], [0, 7, 1]]
    assert labels.tolist() == [[5, 6, 2], [7, 2, -100]]


def test_a_longer_prompt_is_read_and_not_learnt() -> None:
    inputs, labels = pad_tokens([[5, 6, 2], [7, 2]], prompt=[3, 4], pad=1)
    assert inputs.tolist() == [[3, 4, 5, 6], [3, 4, 7, 1]]
    assert labels.tolist() == [[-100, 5, 6, 2], [-100, 7, 2, -100]]


def clip_batches(noise: float, on_gpu: bool) -> ClipBatches:
    draw = np.random.default_rng(0)
    features = [draw.normal(0, (1, 5, 20), (length, 3)).astype(np.float16) for length in (90, 40, 7)]
    clips = ClipSet([Clip(str(i), "train", "en", "ase", f"{i}.mp4", "text") for i in range(3)], features, np.eye(3), 0)
    return ClipBatches(clips, AugmentConfig(0.7, 1.2, 0.3, noise), 60, seed=1, on_gpu=on_gpu)


def test_a_clip_batch_for_a_gpu_is_that_for_a_cpu_but_for_the_noise() -> None:
    here, there = (clip_batches(0.0, on_gpu).batch([0, 1, 2], 4) for on_gpu in (False, True))
    assert here["features"].dtype == torch.float32 and there["features"].dtype == torch.float16
    taken = clip_batches(0.0, on_gpu=True).given(there)
    assert taken.dtype == torch.float32 and torch.equal(taken, clip_batches(0.0, on_gpu=False).given(here))
    assert torch.equal(here["mask"], there["mask"]) and here["features"].shape[1] == 60  # cut to the position table


@pytest.mark.parametrize("on_gpu", [False, True])
def test_clips_that_nothing_augments_are_given_as_they_are_stored(
    on_gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = lambda *shape, dtype, **_: torch.full(shape, 7, dtype=dtype)  # noqa: E731  (memory as others leave it)
    monkeypatch.setattr(torch, "empty", used)
    clips = clip_batches(0.0, on_gpu).clips
    batches = ClipBatches(clips, AugmentConfig(1.0, 1.0, 0.0, 0.0), 100, seed=1, on_gpu=on_gpu)
    batch = batches.batch([2, 0], 4)
    features = batches.given(batch)
    assert batch["mask"].sum(1).tolist() == [7, 90] and features.dtype == torch.float32
    assert np.array_equal(features[0, :7], clips.features[2]) and np.array_equal(features[1], clips.features[0])
    assert not features[0, 7:].any()


def test_the_noise_of_a_gpu_is_scaled_by_each_feature_and_comes_again_with_the_seed() -> None:
    batches = clip_batches(0.5, on_gpu=True)
    batch = {"features": torch.zeros(20, 60, 3, dtype=torch.float16)}
    torch.manual_seed(3)
    first = batches.given(batch)
    torch.manual_seed(3)
    assert torch.equal(batches.given(batch), first) and not torch.equal(batches.given(batch), first)
    deviation = feature_deviation(batches.clips.features)
    assert np.allclose(first.std((0, 1)).numpy(), 0.5 * deviation, rtol=0.1)
    assert abs(float(first[..., 2].mean())) < 0.1 * deviation[2]
