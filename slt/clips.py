"""Clips as a model sees them: features, sentence, target SEM, one split at a time."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slt import paths
from slt.batching import subsample
from slt.config.train import ParallelConfig
from slt.errors import DataError
from slt.feature_set import FeatureSet
from slt.manifest import Clip, read_manifest
from slt.targets import Targets

log = logging.getLogger(__name__)


@dataclass
class ClipSet:
    """One split: clips with their features (T_i, F) as stored (float16) and target SEMs (n, S) in model space."""

    clips: list[Clip]
    features: list[np.ndarray]
    sems: np.ndarray
    shortened: int
    """clips that were longer than the position table and were uniformly sub-sampled"""

    @property
    def lengths(self) -> list[int]:
        return [len(clip) for clip in self.features]

    @property
    def texts(self) -> list[str]:
        return [clip.text for clip in self.clips]

    @property
    def languages(self) -> list[str]:
        """Of the texts."""
        return [clip.language for clip in self.clips]

    def of_languages(self, languages: Sequence[str] | None) -> "ClipSet":
        """The clips whose text is in one of these languages; None: all."""
        if languages is None:
            return self
        kept = [i for i, clip in enumerate(self.clips) if clip.language in languages]
        return ClipSet([self.clips[i] for i in kept], [self.features[i] for i in kept], self.sems[kept], self.shortened)


def chosen_clips(clips: list[Clip], config: ParallelConfig) -> list[Clip]:
    """The train clips that ``parallel`` leaves, in their order; DataError when there are not so many."""
    if config.languages is not None:
        known = {clip.language for clip in clips}
        unknown = [language for language in config.languages if language not in known]
        if unknown:
            raise DataError(
                f"parallel.languages: no train clip has text in `{unknown[0]}`; there are: {', '.join(sorted(known))}"
            )
        clips = [clip for clip in clips if clip.language in config.languages]
    if config.train_clips is None:
        return clips
    if config.train_clips > len(clips):
        raise DataError(f"parallel.train_clips: {config.train_clips}, but there are {len(clips)} train clips; lower it")
    ranked = sorted(clips, key=lambda clip: hashlib.sha256(clip.id.encode()).digest())
    chosen = {clip.id for clip in ranked[: config.train_clips]}
    return [clip for clip in clips if clip.id in chosen]


def load_clips(
    dataset: str, split: str, features: FeatureSet, targets: Targets, positions: int, parallel: ParallelConfig
) -> ClipSet:
    """The clips of a split that have frames; those dropped by the frames stage are named in its index.

    Of the train split, those that ``parallel`` leaves.
    """
    manifest = read_manifest(paths.corpus_dir(dataset) / "manifest.parquet", split)
    if split == "train":
        manifest = chosen_clips(manifest, parallel)
    present = set(features.ids)
    clips = [clip for clip in manifest if clip.id in present]
    if len(clips) < len(manifest):
        log.warning(
            "%s: %d of %d clips have no features; frames.json names them",
            split,
            len(manifest) - len(clips),
            len(manifest),
        )
    arrays = [features.get(clip.id) for clip in clips]
    shortened = sum(len(array) > positions for array in arrays)
    if shortened:
        log.warning("%s: %d clips longer than %d frames are sub-sampled", split, shortened, positions)
    return ClipSet(
        clips, [subsample(array, positions) for array in arrays], targets.matrix([clip.id for clip in clips]), shortened
    )


def feature_deviation(features: list[np.ndarray]) -> np.ndarray:
    """Standard deviation (F,) of each feature over the frames of all clips."""
    total, squares = np.zeros(features[0].shape[1]), np.zeros(features[0].shape[1])
    for clip in features:
        wide = clip.astype(np.float64)
        total += wide.sum(0)
        squares += np.square(wide, out=wide).sum(0)
    count = sum(map(len, features))
    return np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0)).astype(np.float32)
