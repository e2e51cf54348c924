"""Which items train together: as many in each step, in micro-batches of like lengths; a function of (seed, epoch)."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from slt.config.train import AugmentConfig

POOL = 32  # micro-batches per pool: sorting inside a pool saves padding, drawing the pools anew keeps batches mixed
LONGEST = 1.5  # times micro_batch: padded positions that one of long items may have; 2 takes memory, 1 makes many parts


def rng(*key: int) -> np.random.Generator:
    """A generator that depends on the key alone, so that nothing has to be saved to resume it."""
    return np.random.default_rng(list(key))


def epoch_steps(
    lengths: Sequence[int], micro_batch: int, accumulate: int, seed: int, epoch: int
) -> list[list[list[int]]]:
    """The micro-batches (item indices) of every step of an epoch, in which each item stands once.

    All steps have equally many items, ± ``accumulate``, with ``micro_batch`` × ``accumulate`` positions before padding
    on average: filled by positions, a batch of long clips has a fifth of the clips that one of short clips has, and dev
    scores are lower after as many steps (docs/speed.md). A step has ``accumulate`` micro-batches, drawn from different
    places in the order of lengths, each of neighbours there; one that would have more than LONGEST × ``micro_batch``
    positions after padding is halved. Where items are longer than ``micro_batch``, a step may have fewer.
    """
    draw = rng(seed, epoch)
    steps = min(len(lengths), max(1, round(sum(lengths) / (micro_batch * accumulate))))
    count = min(len(lengths), steps * accumulate)
    drawn = np.array_split(draw.permutation(len(lengths)), count)
    alike: list[list[list[int]]] = []
    for pool in np.array_split(np.arange(count), math.ceil(count / POOL)):
        order = sorted(np.concatenate([drawn[i] for i in pool]).tolist(), key=lengths.__getitem__)  # ties stay shuffled
        ends = np.cumsum([len(drawn[i]) for i in pool]).tolist()
        alike += [_parts(order[a:b], lengths, micro_batch) for a, b in itertools.pairwise([0, *ends])]
    mixed = np.array_split(draw.permutation(count), steps)
    return [list(itertools.chain.from_iterable(alike[i] for i in step)) for step in mixed]


def _parts(items: list[int], lengths: Sequence[int], micro_batch: int) -> list[list[int]]:
    """The items, in order of length, halved until each part is within bounds; an item that is not stands alone."""
    half = len(items) // 2
    if not half or len(items) * lengths[items[-1]] <= LONGEST * micro_batch:
        return [items]
    return _parts(items[:half], lengths, micro_batch) + _parts(items[half:], lengths, micro_batch)


def pad_features(
    clips: Sequence[np.ndarray], dtype: torch.dtype = torch.float32, pinned: bool = False
) -> tuple[Tensor, Tensor]:
    """Features (B, T, F) of this type and mask (B, T), float32, of clips with (T_i, F) frames each.

    ``pinned``: in memory that a GPU copies from while it computes.
    """
    longest = max(len(clip) for clip in clips)
    padded = torch.empty(len(clips), longest, clips[0].shape[1], dtype=dtype, pin_memory=pinned)
    # written by numpy, since torch would start threads of its own in each of those that make batches ahead
    features = padded.numpy()
    mask = np.zeros((len(clips), longest), np.float32)
    for i, clip in enumerate(clips):
        features[i, : len(clip)] = clip
        features[i, len(clip) :] = 0
        mask[i, : len(clip)] = 1
    return padded, torch.from_numpy(mask)


def pad_tokens(sentences: Sequence[Sequence[int]], prompt: Sequence[int], pad: int) -> tuple[Tensor, Tensor]:
    """Decoder inputs (B, L), which begin with ``prompt``, and labels (B, L), -100 at prompt and padding."""
    given = len(prompt) - 1  # its last token is where the sentence's first is predicted
    longest = given + max(map(len, sentences))
    # numpy's: a tensor made for each sentence takes ten times as long, which a GPU's step would wait for
    inputs = np.full((len(sentences), longest), pad)
    labels = np.full((len(sentences), longest), -100)
    for i, ids in enumerate(sentences):
        end = given + len(ids)
        labels[i, given:end] = ids
        inputs[i, : given + 1] = prompt
        inputs[i, given + 1 : end] = ids[:-1]
    return torch.from_numpy(inputs), torch.from_numpy(labels)


def pad_glosses(lines: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Gloss ids (B, G), padded with the blank, and their lengths (B,)."""
    lengths = torch.tensor([len(ids) for ids in lines])
    glosses = torch.zeros(len(lines), int(lengths.max()), dtype=torch.long)
    for i, ids in enumerate(lines):
        glosses[i, : len(ids)] = torch.tensor(ids)
    return glosses, lengths


def subsample(clip: np.ndarray, longest: int) -> np.ndarray:
    """At most ``longest`` frames of a clip (T, F), uniformly spread."""
    if len(clip) <= longest:
        return clip
    return clip[np.linspace(0, len(clip) - 1, longest).round().astype(int)]


def draw_lengths(
    lengths: Sequence[int], config: AugmentConfig, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """How many frames each training clip has after its change of speed, and how many of them stay when it is thinned.

    Drawn for all clips at once, before any is touched, so that batches are filled by the lengths that they will have.
    """
    stored = np.asarray(lengths)
    speeds = draw.uniform(config.speed_min, config.speed_max, len(stored))
    frames = np.maximum(1, np.round(stored * speeds).astype(int))
    stays = 1 - draw.uniform(0, config.drop, len(stored))
    return frames, np.maximum(1, np.round(frames * stays).astype(int))


def resample(clip: np.ndarray, frames: int, kept: int, draw: np.random.Generator) -> np.ndarray:
    """A clip (T, F) resampled to so many frames, of which as many as ``kept`` stay, any of them; as they are stored."""
    at = np.linspace(0, len(clip) - 1, frames).round().astype(int)
    if kept < frames:
        at = at[np.sort(draw.choice(frames, kept, replace=False))]
    return clip[at]
