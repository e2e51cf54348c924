"""Raw video to text with a saved model: the same frames, features and search as the pipeline's."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from slt.backbone import Backbone
from slt.batching import subsample
from slt.config.base import parse
from slt.config.data import PRECOMPUTED, FeaturesConfig, FramesConfig
from slt.decoding import Search, encode_clips, recognise, translate
from slt.errors import DataError
from slt.frames import encoded_frames
from slt.model_folder import load_model, load_neighbours
from slt.precomputed import read_features
from slt.stage import device_name
from slt.tokenizer import load_tokenizer


@dataclass(frozen=True)
class Result:
    """One clip's n-best sentences with beam scores, and the nearest training sentences by predicted SEM.

    ``scores`` is None where the search had none, ``glosses`` for a model without a gloss head.
    """

    clip: str
    frames: int
    sentences: list[str]
    scores: list[float] | None
    neighbours: list[tuple[str, float]]
    glosses: list[str] | None = None

    def to_json(self) -> dict[str, Any]:
        scores = [None] * len(self.sentences) if self.scores is None else [round(score, 4) for score in self.scores]
        return {
            "clip": self.clip,
            "frames": self.frames,
            "translation": self.sentences[0],
            "n_best": [{"sentence": s, "score": x} for s, x in zip(self.sentences, scores, strict=True)],
            "nearest_training_sentences": [{"sentence": s, "cosine": round(x, 4)} for s, x in self.neighbours],
            "glosses": self.glosses,
        }


class ClipTranslator:
    """A saved model with its backbone (if it has one), tokenizer and neighbours, ready for clips."""

    def __init__(self, folder: Path) -> None:
        self.model = load_model(folder, device_name())
        if self.model.config.decoder is None or self.model.config.encoder is None:
            raise DataError(f"{folder}: this is half a model (sign2sem or sem2text); give a folder below data/finetune")
        self.tokenizer, self.neighbours = load_tokenizer(folder), load_neighbours(folder)
        pipeline = self.model.config.pipeline
        self.frames = parse(FramesConfig, pipeline["frames"], f"{folder}/config.json: pipeline.frames")
        known = {field.name for field in dataclasses.fields(FeaturesConfig)}
        features = {key: value for key, value in pipeline["features"].items() if key in known}
        self.backbone: Backbone | None = None
        if features["backbone"] == PRECOMPUTED:
            return
        config = parse(FeaturesConfig, features, f"{folder}/config.json: pipeline.features")
        self.backbone = Backbone.load(config, self.frames.size)
        if self.backbone.sha256 != pipeline["features"]["weights_sha256"]:
            raise DataError(
                f"{config.weights}: these are not the backbone weights that {folder} was trained on"
                f" (sha256 {self.backbone.sha256[:12]}, expected {pipeline['features']['weights_sha256'][:12]})"
            )

    def features(self, clip: Path) -> np.ndarray:
        """Features (T, F) of any file that PyAV opens or folder of images, through the JPEG frames that training saw.

        Where training took precomputed features, so does this: ``clip`` is a ``.npy`` of (frames, features).
        """
        positions = self.model.config.encoder["max_position_embeddings"]
        if self.backbone is None:
            if clip.suffix != ".npy":
                raise DataError(
                    f"{clip}: this model was trained on precomputed features "
                    f"({self.model.config.pipeline['features']['weights']}), not on video; give a .npy file of "
                    f"(frames, {self.model.config.feature_dim}), made as those were"
                )
            return subsample(read_features(clip, clip.stem, self.model.config.feature_dim), positions)
        if clip.suffix == ".npy":
            raise DataError(f"{clip}: this model computes its features itself; give a video file or a folder of images")
        encoded = encoded_frames(clip, self.frames)
        frames = [np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)) for data in encoded]
        return subsample(self.backbone(np.stack(frames)), positions)

    def __call__(
        self, clips: list[Path], search: Search, neighbours: int = 5, language: str | None = None
    ) -> list[Result]:
        """Translations of clips, in their order; ``language`` is the one to write, of a model that writes several.

        Raises DataError naming a file that does not decode, or the languages when none or another is asked for.
        """
        features = [self.features(clip) for clip in clips]
        search = dataclasses.replace(search, max_tokens=min(search.max_tokens, self.model.decoder.longest))
        languages = None if language is None else [language] * len(clips)
        translations = translate(self.model, self.tokenizer, search, clips=features, languages=languages)
        sems = encode_clips(self.model, features, search.batch)
        glosses: list[list[str]] | list[None] = [None] * len(clips)
        if self.model.config.glosses is not None:
            glosses = recognise(self.model, features, search.batch, search.beam)
        return [
            Result(str(clip), len(array), found.sentences, found.scores, self.neighbours.nearest(sem, neighbours), line)
            for clip, array, found, sem, line in zip(clips, features, translations, sems, glosses, strict=True)
        ]
