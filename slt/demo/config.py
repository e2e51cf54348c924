"""Parameters of the demo corpus: everything that its bytes depend on."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DemoConfig:
    """What the generated corpus holds; equal parameters give equal bytes.

    Test and dev are sampled before train, and train clips one after another, so that the first n train clips, the
    held-out clips and the monolingual text stay the same whatever ``train_clips`` is (learning curves need that).
    """

    seed: int
    train_clips: int
    dev_clips: int
    test_clips: int
    sentences: int
    """distinct sentences of the monolingual dump"""
    references: int
    """further surface forms of the same meaning, for each dev and test clip"""
    pixels: int
    """side of the square video, pixels; even, as yuv420p needs"""
    fps: int
    crf: int
    """constant rate factor of x264: 0 lossless, 51 worst"""
    zipf: float
    """exponent of the frequencies of signs in the clips; 0 would make them uniform"""
    zipf_monolingual: float
    """the same in the dump: smaller, so that its coverage is broader"""
    wording: float
    """exponent of the preference among wordings of one meaning: 0 all alike, large one fixed wording"""
    unseen_share: float
    """share of test clips by the signer whom neither train nor dev shows"""
    language: Literal["en", "de"] = "en"
    """of the text, as the corpus section says it; the signs and the avatar are the same"""

    def __post_init__(self) -> None:
        if min(self.train_clips, self.dev_clips, self.test_clips, self.sentences) < 1:
            raise ValueError("train_clips, dev_clips, test_clips and sentences must be at least 1")
        if self.pixels < 64 or self.pixels % 2:
            raise ValueError("pixels must be even and at least 64: hand shapes cannot be told apart below that")
        if not 6 <= self.fps <= 60:
            raise ValueError("fps must be 6 to 60")
        if not 0 <= self.crf <= 51:
            raise ValueError("crf must be 0 to 51")
        if self.references < 0:
            raise ValueError("references must be at least 0")
        if min(self.zipf, self.zipf_monolingual, self.wording) < 0:
            raise ValueError("zipf, zipf_monolingual and wording must be at least 0")
        if not 0.0 <= self.unseen_share < 1.0:
            raise ValueError("unseen_share must be at least 0 and below 1")

    def clips(self, split: str) -> int:
        """How many clips a split has."""
        return {"train": self.train_clips, "dev": self.dev_clips, "test": self.test_clips}[split]
