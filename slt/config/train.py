"""Parameters of the three training phases and of the models that they train."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from slt.config.base import lookup, parse


@dataclass(frozen=True)
class ParallelConfig:
    """How much of the parallel text is used: the axis of a learning curve, or of a low-resource simulation."""

    train_clips: int | None
    """this many train clips, chosen by the hash of their ids, so that a smaller set is part of a larger one; null: all.
    Targets stay centred on all train sentences: text without video is not what is scarce"""
    languages: tuple[str, ...] | None = None
    """train on clips and monolingual text in these languages alone (ISO 639-1), in a dataset that has several; null:
    all. Evaluation stays that of all"""

    def __post_init__(self) -> None:
        if self.languages is not None and not self.languages:
            raise ValueError("languages must name one at least, or be null for all")
        if self.train_clips is not None and self.train_clips < 1:
            raise ValueError("train_clips must be at least 1, or null for all")


@dataclass(frozen=True)
class TrainingConfig:
    """One training run: the same loop serves sign2sem, sem2text and finetune."""

    lr: float
    """peak learning rate of AdamW"""
    schedule: Literal["constant", "linear", "cosine"]
    """what the rate does after warm-up; linear and cosine reach zero at max_steps"""
    warmup_steps: int
    """optimiser steps in which the rate rises linearly to ``lr``; 0: none; fewer than max_steps"""
    max_steps: int
    """optimiser steps at most, the same for every row of a table"""
    micro_batch: int
    """frames, of clips as augmented, or tokens in a mean micro-batch. All have as many items; one with more than 1.5
    times as many positions after padding is halved until it has not, and an item longer than that stands alone. What is
    computed at once, a micro-batch or its part, is the unit of BatchNorm statistics, siamese pairs and dropout seeds"""
    accumulate: int
    """micro-batches per optimiser step; the effective batch is micro_batch × accumulate, as many clips in every step"""
    validate_every: int
    """optimiser steps between validations on dev"""
    patience: int | None
    """validations without a better dev score before training stops; null runs to max_steps"""
    weight_decay: float
    """AdamW's, on matrices only (not on biases and norms)"""
    clip_norm: float
    """gradients are scaled to at most this norm"""
    label_smoothing: float
    """of the text loss"""
    precision: Literal["float32", "bfloat16"]
    """of the forward pass; bfloat16 is faster on most GPUs; weights, gradients and the optimiser stay in float32"""

    def __post_init__(self) -> None:
        for name in ("max_steps", "micro_batch", "accumulate", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.warmup_steps >= self.max_steps:
            raise ValueError("warmup_steps must be smaller than max_steps")


@dataclass(frozen=True)
class TrainedTeacherConfig:
    """A small teacher trained from scratch on monolingual text by denoising: TSDAE (Wang et al. 2021), slt/tsdae.py."""

    share: float
    """of the monolingual sentences, those that `sem2text.monolingual` would take"""
    layers: int
    """of the sentence encoder; its width is the teacher's `size`"""
    heads: int
    """attention heads of each layer, in encoder and decoder; a divisor of the teacher's ``size``"""
    ffn: int
    """width of each layer's feed-forward part, in encoder and decoder"""
    dropout: float
    """of hidden states and attention, in encoder and decoder"""
    vocabulary: int
    """size of the byte-level BPE vocabulary, learnt on the share of the text"""
    max_tokens: int
    """longest sentence in tokens; longer ones are cut, and counted"""
    deletion: float
    """share of a sentence's tokens that the encoder does not see (Wang et al.: 0.6 is best)"""
    decoder_layers: int
    """of the decoder that has to write the whole sentence from the embedding alone, and then is thrown away"""
    training: TrainingConfig
    """micro_batch counts tokens; the weights with the best mean log-probability of a dev token are kept"""
    seed: int
    """of weights, order of sentences, deleted tokens and dropout"""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError("share must be above 0 and at most 1")
        if not 0 <= self.deletion < 1:
            raise ValueError("deletion must lie in [0, 1)")


@dataclass(frozen=True)
class AugmentConfig:
    """What happens to a training clip's features, anew in every epoch; all zero or 1.0 means nothing."""

    speed_min: float
    """the clip is resampled in time by a factor drawn from [speed_min, speed_max] (0.5 drops every second frame)"""
    speed_max: float
    """the largest factor: 1.2 lengthens a clip by up to a fifth, by showing frames twice"""
    drop: float
    """up to this fraction of the frames is dropped at random (the authors zero up to half: 5 % × copy number)"""
    noise: float
    """standard deviation of Gaussian noise, in standard deviations of the features"""

    def __post_init__(self) -> None:
        if not 0 < self.speed_min <= self.speed_max:
            raise ValueError("speeds must be positive, speed_min at most speed_max")
        if not 0 <= self.drop < 1:
            raise ValueError("drop must lie in [0, 1)")


@dataclass(frozen=True)
class EncoderConfig:
    """The sign encoder. ``sbert`` takes the teacher's own Transformer (layers, width, heads are then the teacher's)."""

    init: Literal["random", "sbert"]
    """random: an untrained BERT of the sizes below; sbert: the teacher's Transformer and its weights, less its word
    embeddings"""
    layers: int
    """Transformer layers"""
    width: int
    """size of a frame's state"""
    heads: int
    """attention heads of each layer; a divisor of ``width``"""
    ffn: int
    """width of each layer's feed-forward part"""
    dropout: float
    """of hidden states and attention, for either ``init``"""
    positions: int
    """length of the position table; longer clips are uniformly sub-sampled, and counted"""


@dataclass(frozen=True)
class Sign2semConfig:
    """Phase 1: features to SEM."""

    encoder: EncoderConfig
    """what is trained; finetune takes it over"""
    loss: Literal["mse", "cosine", "siamese"]
    """distance of predicted to target SEMs, in finetune too. mse: mean squared difference per dimension; cosine:
    1 - cos; siamese: squared difference of the cosines between the clips of a micro-batch, the form in the authors'
    code, which leaves the vectors in a rotated space"""
    augment: AugmentConfig
    """of train clips in this phase; finetune has its own"""
    training: TrainingConfig
    """micro_batch counts frames; the weights with the best Spearman correlation on dev are kept"""
    seed: int
    """of untrained weights, order of clips, augmentation and dropout"""


@dataclass(frozen=True)
class DecoderConfig:
    """A text decoder from scratch with cross-attention on a given memory, and its vocabulary."""

    layers: int
    """Transformer layers"""
    width: int
    """size of a token's embedding and hidden state, and of a memory position"""
    heads: int
    """attention heads of each layer; a divisor of ``width``"""
    ffn: int
    """width of each layer's feed-forward part"""
    dropout: float
    """of hidden states and attention"""
    vocabulary: int
    """size of the byte-level BPE vocabulary, learnt on the training text"""
    max_tokens: int
    """longest sentence in tokens; longer training sentences are cut, and counted"""
    tokens: int
    """memory positions that the SEM is projected to"""
    pretrained: None = None
    """an entry that names a model here is a :class:`PretrainedDecoderConfig`, with other keys"""
    training: dict[str, object] | None = None
    """as for a pretrained decoder"""


@dataclass(frozen=True)
class PretrainedDecoderConfig:
    """The decoder of a published encoder-decoder, with its embeddings and its vocabulary; its encoder stays behind."""

    pretrained: str
    """``package:<distribution>``, ``hub:<id>@<revision>`` or the local path of a transformers model folder"""
    language_code: str | dict[str, str] | None
    """the token that names the language to write, as the model spells it (mBART: de_DE, en_XX; Whisper: <|de|>);
    null for a model without such tokens; in a dataset of several languages their codes ({de: de_DE, en: en_XX})"""
    trim_vocabulary: bool
    """keep only the tokens that Wikipedia and the corpus' train text use, and single characters, so that any text can
    still be written: 12 % of mBART's 250,027 rows for PHOENIX-2014T and 10,000 German sentences"""
    gradient_checkpointing: bool
    """compute a layer's activations again in the backward pass: less memory, 30 % more time, the same gradients"""
    dropout: float | None
    """of hidden states and attention; null takes the model's own"""
    max_tokens: int
    """longest sentence in tokens; longer training sentences are cut, and counted"""
    tokens: int
    """memory positions that the SEM is projected to; 1 for mBART"""
    layers: int | None = None
    """keep the first so many decoder layers; null keeps all"""
    training: dict[str, object] | None = None
    """any keys of a training section, which hold for this decoder's sem2text and its rows' finetune in place of the
    dataset's: published weights want lower rates than a decoder from scratch beside them; null changes nothing"""

    def __post_init__(self) -> None:
        if self.layers is not None and self.layers < 1:
            raise ValueError("layers must be at least 1, or null for all")


def decoder_class(entry: Any) -> type[DecoderConfig] | type[PretrainedDecoderConfig]:
    """What a decoder entry is, told by its key ``pretrained``; a key of the other kind is then an unknown key."""
    named = isinstance(entry, dict) and entry.get("pretrained") is not None
    return PretrainedDecoderConfig if named else DecoderConfig


def decoder_section(params: dict[str, Any], key: str) -> DecoderConfig | PretrainedDecoderConfig:
    """The decoder entry at a dotted key, of the kind that it is; ConfigError names a key that does not fit."""
    entry = lookup(params, key)
    return parse(decoder_class(entry), entry, key)


def decoder_training(
    training: TrainingConfig, decoder: DecoderConfig | PretrainedDecoderConfig, key: str
) -> TrainingConfig:
    """A phase's training with what the decoder entry at ``key`` sets itself; ConfigError names a key that is none."""
    if decoder.training is None:
        return training
    return parse(TrainingConfig, {**asdict(training), **decoder.training}, f"{key}.training")


@dataclass(frozen=True)
class Sem2textConfig:
    """Phase 2: SEM to text."""

    train_text: bool
    """whether the corpus' own training sentences join the Wikipedia sentences"""
    sem_noise: float
    """standard deviation of Gaussian noise on the input SEM (1.0 is the targets' own root mean square)"""
    training: TrainingConfig
    """micro_batch counts tokens; the weights with the best greedy BLEU on the sentences of ``select_on`` are kept"""
    seed: int
    """of untrained weights, order of sentences, noise and dropout"""
    monolingual: float = 1.0
    """share of the monolingual training sentences, chosen by their hash, so that a smaller share is part of a larger
    one; the held-out sentences stay the same"""
    select_on: Literal["corpus", "monolingual"] = "corpus"
    """whose held-out sentences choose the weights to keep: the corpus' dev text, which is like what will be written, or
    the monolingual text's. On real Wikipedia a small decoder's BLEU stays below 1, and its best is chance"""

    def __post_init__(self) -> None:
        if not 0 < self.monolingual <= 1:
            raise ValueError("monolingual must be above 0 and at most 1")


@dataclass(frozen=True)
class SystemConfig:
    """A way from features to text; each is a row's recipe."""

    memory: Literal["frames", "sem", "sem+frames"]
    """what the decoder attends to"""
    text_weight: float
    """of the text loss: cross-entropy per token of the sentence; must be above 0"""
    sem_weight: float
    """of the SEM loss, ``sign2sem.loss`` per clip, beside the text loss; 0: none in this phase"""
    start: Literal["scratch", "pretrained"]
    """pretrained: from the weights of sign2sem and sem2text; scratch: without these two phases, of which only the sizes
    and the vocabulary are taken. A decoder with ``pretrained:`` weights starts from its published weights either way,
    so that the two starts differ in sentence embedding supervision alone"""
    gloss_weight: float = 0.0
    """of the CTC loss on the glosses, read from the encoder's states; above 0 every train clip needs its glosses"""

    def __post_init__(self) -> None:
        if self.text_weight <= 0:
            raise ValueError("text_weight must be positive: without it nothing trains the decoder")
        if self.gloss_weight < 0:
            raise ValueError("gloss_weight must not be negative")


@dataclass(frozen=True)
class FinetuneConfig:
    """Phase 3: end to end, the same budget for every row."""

    augment: AugmentConfig
    """of train clips in this phase; sign2sem has its own"""
    training: TrainingConfig
    """micro_batch counts frames; the weights with the best greedy BLEU on dev are kept. What the decoder entry
    sets in its own ``training`` goes first"""
