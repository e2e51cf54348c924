"""Parameters of the data stages: frames, features, teachers, Wikipedia."""

from dataclasses import dataclass
from typing import Literal

PRECOMPUTED = "precomputed"


@dataclass(frozen=True)
class CorpusConfig:
    """What every corpus section has; ``options`` belong to the adapter, which checks them itself."""

    adapter: str
    """module in slt/corpora"""
    language: str
    """language of the text, ISO 639-1"""
    sign_language: str
    """ISO 639-3 code of the sign language"""
    max_dropped: dict[str, int]
    """per split: how many clips may be dropped before the stage fails; 0 for a test split you report on"""
    options: dict[str, object]
    """the adapter's own parameters"""

    def __post_init__(self) -> None:
        if set(self.max_dropped) != {"train", "dev", "test"}:
            raise ValueError("max_dropped needs the keys train, dev and test")


@dataclass(frozen=True)
class FramesConfig:
    """How a video becomes stored frames."""

    size: int
    """side of the square frame, pixels"""
    fit: Literal["stretch", "pad"]
    """stretch to the square, or keep the aspect and pad with black"""
    stride: int
    """keep every n-th frame"""
    quality: int
    """JPEG quality, 1 to 100"""
    clips_per_shard: int
    """clips in a file of frames or features; a stopped run goes on from the files that are whole"""

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ValueError("quality must be 1 to 100")
        if min(self.size, self.stride, self.clips_per_shard) < 1:
            raise ValueError("size, stride and clips_per_shard must be at least 1")


@dataclass(frozen=True)
class FeaturesConfig:
    """The frozen image backbone and how it is run; pool, batch and precision mean nothing for precomputed features."""

    backbone: str
    """a timm model name, or `precomputed`: the features that the corpus brings"""
    weights: str
    """package:<name>, hub:<id>@<revision>, raw:<path> below SLT_RAW, or a local path; of precomputed features their
    name, for the tables"""
    pool: Literal["avg", "max", "avgmax", "gem", "avg+max"]
    """global pooling over the feature map: mean, maximum, the mean of both, generalised mean with p = 3 (the default of
    Radenović et al. 2018, who introduced it for images), or mean and maximum side by side: twice as many features"""
    batch: int
    """frames per forward pass, formed inside a shard so that bytes do not depend on who computes which shard"""
    precision: Literal["float32", "bfloat16"]
    """of the forward pass; bfloat16 is faster on most GPUs, with two to three digits. Features are stored in float16"""
    gloss_free: bool
    """whether the backbone's training never saw gloss; carried to every table row"""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError("batch must be at least 1")


@dataclass(frozen=True)
class TeacherConfig:
    """A sentence-transformers model and what is done to its vectors before they become targets."""

    model: str
    """package:<name>, hub:<id>@<revision>, raw:<path> below SLT_RAW, or a local path"""
    size: int
    """expected embedding size; a model of another size is refused"""
    prompt: str | None
    """text put before each sentence (e5 models: `query: `); null: the model's own default"""
    normalize: bool
    """L2-normalise each embedding"""
    center: bool
    """subtract the mean over train sentences (e5-like models: all cosines 0.7 to 0.97)"""
    trained: dict[str, object] | None = None
    """a :class:`slt.config.train.TrainedTeacherConfig`: how `slt teacher` makes the model, which then lies where
    ``model`` says; null: the model is someone else's"""


@dataclass(frozen=True)
class WikipediaConfig:
    """Where the monolingual text comes from and which sentences are kept."""

    source: str | dict[str, str]
    """a MediaWiki dump (.xml.bz2), a .parquet file or a folder of them (column `text`, one article a row: the layout of
    wikimedia/wikipedia on Hugging Face), .txt (one sentence a line) or .tsv (number and sentence: the Leipzig corpora),
    also as .gz; `raw:<path>` below SLT_RAW or relative to the checkout. Of a corpus in several languages one of each:
    {de: …, en: …}"""
    max_sentences: int
    """stop after this many kept sentences of a language"""
    min_words: int
    """shorter sentences are left out; a word is what stands between spaces and has a letter or a digit in it"""
    max_words: int
    """longer sentences are left out"""
    lowercase: bool
    """PHOENIX text is lower-case, so its Wikipedia text must be"""
    dev_sentences: int
    """held out from the end of each language's sample, for the reconstruction report and early stopping"""
    punctuation: Literal["keep", "stop"] = "keep"
    """stop: none but a final ` .`, as PHOENIX text has it; a decoder that never saw its form has to unlearn another"""

    def __post_init__(self) -> None:
        if not 1 <= self.min_words <= self.max_words:
            raise ValueError("min_words must be at least 1 and at most max_words")
