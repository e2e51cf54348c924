"""Steps hold as many items each, every item once, padded little, and depend on (seed, epoch) alone."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slt.batching import LONGEST, POOL, draw_lengths, epoch_steps, pad_tokens, resample, rng, subsample
from slt.clips import ClipSet, feature_deviation
from slt.config.train import AugmentConfig
from slt.manifest import Clip
from slt.sign2sem import ClipBatches

NOTHING, STRONG = AugmentConfig(1.0, 1.0, 0.0, 0.0), AugmentConfig(0.7, 1.2, 0.3, 0.0)
LENGTHS = st.lists(st.integers(1, 90), min_size=1, max_size=200)


@given(LENGTHS, st.integers(1, 500), st.integers(1, 4), st.integers(0, 5), st.integers(0, 5))
def test_every_item_once_and_as_many_in_each_step(
    lengths: list[int], micro_batch: int, accumulate: int, seed: int, epoch: int
) -> None:
    steps = epoch_steps(lengths, micro_batch, accumulate, seed, epoch)
    assert sorted(itertools.chain.from_iterable(itertools.chain.from_iterable(steps))) == list(range(len(lengths)))
    assert len(steps) == min(len(lengths), max(1, round(sum(lengths) / (micro_batch * accumulate))))
    items = [sum(map(len, step)) for step in steps]
    assert max(items) - min(items) <= min(accumulate, min(items))
    assert steps == epoch_steps(lengths, micro_batch, accumulate, seed, epoch)


@given(LENGTHS, st.integers(1, 500), st.integers(0, 5))
def test_a_micro_batch_beyond_the_bound_is_halved_until_it_is_not(
    lengths: list[int], micro_batch: int, seed: int
) -> None:
    for step in epoch_steps(lengths, micro_batch, 1, seed, 0):
        positions = [len(part) * max(lengths[item] for item in part) for part in step]
        assert all(len(part) == 1 or p <= LONGEST * micro_batch for part, p in zip(step, positions, strict=True))
        longest = max(lengths[item] for part in step for item in part)
        assert len(step) == 1 or sum(map(len, step)) * longest > LONGEST * micro_batch


def test_one_long_item_leaves_its_batch_in_few_parts() -> None:
    (step,) = epoch_steps([10] * 63 + [2000], 2630, 1, 0, 0)
    assert sorted(map(len, step)) == [1, 1, 2, 4, 8, 16, 32] and step[-1] == [63]


def test_lowering_micro_batch_and_raising_accumulate_keeps_the_items_of_a_step() -> None:
    lengths = np.random.default_rng(0).integers(1, 90, 500).tolist()
    for micro_batch, accumulate in ((400, 1), (200, 2), (100, 4), (20, 20)):  # the last shorter than half the items
        steps = epoch_steps(lengths, micro_batch, accumulate, 0, 0)
        assert len(steps) == round(sum(lengths) / 400) and min(map(len, steps)) >= min(accumulate, 8)
        assert {sum(map(len, step)) for step in steps} <= {8, 9, 10}


def test_a_step_of_several_micro_batches_mixes_lengths_and_each_of_these_has_one() -> None:
    lengths = np.random.default_rng(0).integers(10, 90, 3000).tolist()
    steps = epoch_steps(lengths, 500, 4, 0, 0)
    means = [[np.mean([lengths[item] for item in part]) for part in step] for step in steps]
    spread = np.std(list(itertools.chain.from_iterable(means)))
    assert spread == pytest.approx(np.std(lengths), rel=0.1)
    assert np.std([np.mean(step) for step in means]) == pytest.approx(spread / 2, rel=0.2), "not as four at random"


def test_a_long_corpus_is_not_sorted_as_a_whole() -> None:
    """Else a clip would have the same neighbours in every epoch."""
    lengths = list(range(1000, 7400))
    parts = list(itertools.chain.from_iterable(epoch_steps(lengths, 420_000, 1, 0, 0)))
    assert len(parts) > 2 * POOL, "three pools"
    assert np.median([np.ptp([lengths[item] for item in part]) for part in parts]) > 2 * len(lengths) / len(parts)


def test_one_micro_batch_more_than_a_pool_holds_is_sorted_with_others() -> None:
    lengths = np.random.default_rng(0).integers(10, 90, 33 * 20).tolist()
    parts = list(itertools.chain.from_iterable(epoch_steps(lengths, 1000, 1, 0, 0)))
    assert len(parts) > POOL
    assert max(np.ptp([lengths[item] for item in part]) for part in parts) < 20


def test_epochs_and_seeds_differ() -> None:
    lengths = list(range(1, 101))
    orders = [epoch_steps(lengths, 200, 1, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])


@pytest.mark.parametrize("augmentation", [NOTHING, STRONG])
@pytest.mark.parametrize(("micro_batch", "accumulate"), [(3712, 1), (8192, 1), (928, 4)])
def test_padding_is_under_five_percent_of_the_frames(
    micro_batch: int, accumulate: int, augmentation: AugmentConfig
) -> None:
    # PHOENIX-2014T's train clips: 7,096 of 116.6 ± 49.9 frames, 16 to 475
    mean, deviation = 116.6, 49.9
    drawn = np.random.default_rng(0).gamma((mean / deviation) ** 2, deviation**2 / mean, 7096)
    batches = a_clip_of_each(drawn.clip(16, 475).round().astype(int).tolist(), augmentation, positions=400)
    frames = padded = passes = 0
    steps = epoch_steps(batches.lengths(3), micro_batch, accumulate, 0, 3)
    for items in itertools.chain.from_iterable(steps):
        mask = batches.batch(items, 3)["mask"]
        frames, padded, passes = frames + int(mask.sum()), padded + mask.numel(), passes + 1
        assert mask.numel() <= LONGEST * micro_batch
    assert 1 - frames / padded < 0.05
    assert frames / len(steps) == pytest.approx(micro_batch * accumulate, rel=0.01)
    assert passes < 1.25 * accumulate * len(steps), "most micro-batches are one pass"


def a_clip_of_each(lengths: list[int], augmentation: AugmentConfig, positions: int, seed: int = 1) -> ClipBatches:
    clips = [Clip(str(i), "train", "de", "gsg", f"{i}.mp4", "text") for i in range(len(lengths))]
    features = [np.arange(length, dtype=np.float16)[:, None] for length in lengths]
    return ClipBatches(
        ClipSet(clips, features, np.ones((len(clips), 1)), 0), augmentation, positions, seed, on_gpu=False
    )


def test_subsample_keeps_both_ends_and_short_clips() -> None:
    clip = np.arange(100).reshape(100, 1)
    short = subsample(clip, 10)
    assert len(short) == 10 and short[0, 0] == 0 and short[-1, 0] == 99
    assert subsample(clip, 100) is clip


def test_lengths_are_drawn_between_the_speeds_and_thinned_by_at_most_the_drop() -> None:
    frames, kept = draw_lengths([100] * 5000, AugmentConfig(0.7, 1.2, 0.3, 0.0), rng(0))
    assert (frames.min(), frames.max()) == (70, 120) and abs(frames.mean() - 95) < 1
    assert (kept / frames).min() > 0.69 and (kept / frames).max() == 1 and abs((kept / frames).mean() - 0.85) < 0.005
    assert [array.tolist() for array in draw_lengths([1, 1], AugmentConfig(0.1, 0.2, 0.9, 0.0), rng(0))] == [[1, 1]] * 2
    assert [array.tolist() for array in draw_lengths([7, 90], NOTHING, rng(0))] == [[7, 90]] * 2


def test_a_clip_is_resampled_evenly_and_loses_frames_anywhere() -> None:
    clip = np.arange(10).reshape(10, 1)
    assert resample(clip, 10, 10, rng(0)).tolist() == clip.tolist()
    assert resample(clip, 19, 19, rng(0))[::2].tolist() == clip.tolist()
    assert resample(clip, 4, 4, rng(0)).ravel().tolist() == [0, 3, 6, 9]
    thinned = [tuple(resample(clip, 10, 6, rng(0, i)).ravel()) for i in range(300)]
    assert {len(set(kept)) for kept in thinned} == {6} and all(list(kept) == sorted(kept) for kept in thinned)
    assert np.bincount(np.concatenate(thinned)).min() > 300 * 0.6 * 0.8, "some frame hardly ever stays"


def test_what_a_clip_looks_like_depends_on_seed_epoch_and_clip_not_on_its_batch() -> None:
    def frames(batches: ClipBatches, items: list[int], epoch: int) -> list[list[float]]:
        batch = batches.batch(items, epoch)
        return [row[mask.bool()].ravel().tolist() for row, mask in zip(batch["features"], batch["mask"], strict=True)]

    batches = a_clip_of_each([40, 40, 40], AugmentConfig(0.5, 1.2, 0.3, 0.5), positions=60)
    first = frames(batches, [0, 1, 2], 1)
    assert frames(batches, [2, 0], 1) == [first[2], first[0]]
    assert [len(clip) for clip in first] == batches.lengths(1)
    assert first[0] != first[1] and frames(batches, [0], 2) != first[:1]
    other = a_clip_of_each([40, 40, 40], AugmentConfig(0.5, 1.2, 0.3, 0.5), positions=60, seed=5)
    assert frames(other, [0], 1) != first[:1]


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
