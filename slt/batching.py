"""Which items train together: batches filled by a budget from length-sorted pools, a pure function of (seed, epoch)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from slt.config.train import AugmentConfig

POOL = 32  # micro-batches per pool: sorting inside a pool saves padding, drawing the pools anew keeps batches mixed


def rng(*key: int) -> np.random.Generator:
    """A generator that depends on the key alone, so that nothing has to be saved to resume it."""
    return np.random.default_rng(list(key))


def epoch_batches(lengths: Sequence[int], budget: int, seed: int, epoch: int) -> list[list[int]]:
    """Micro-batches of item indices, each at most ``budget`` positions after padding (a longer item stands alone).

    Every item stands in exactly one micro-batch of the epoch.
    """
    draw = rng(seed, epoch)
    order = draw.permutation(len(lengths))
    per_pool = max(1, POOL * budget // max(1, int(np.mean(lengths))))
    batches: list[list[int]] = []
    for start in range(0, len(order), per_pool):
        pool = sorted(order[start : start + per_pool].tolist(), key=lambda item: lengths[item])  # ties stay shuffled
        batches.extend(fill(pool, lengths, budget))
    return [batches[i] for i in draw.permutation(len(batches))]


def fill(items: Sequence[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Cut a sequence of items, in order, into batches of at most ``budget`` padded positions."""
    batches: list[list[int]] = []
    longest = 0
    for item in items:
        longest = max(longest, lengths[item])
        if not batches or longest * (len(batches[-1]) + 1) > budget:
            batches.append([])
            longest = lengths[item]
        batches[-1].append(item)
    return batches


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
