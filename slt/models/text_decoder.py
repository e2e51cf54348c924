"""The text decoder: a memory (SEM, frame states, or both) to text."""

import inspect
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING,
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoModelForSpeechSeq2Seq,
    GenerationConfig,
    GenerationMixin,
    MBartConfig,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutput

from slt.errors import DataError

OWN_KEYS = ("prompt", "prompts", "suppressed", "source", "gradient_checkpointing", "tokenizer_sha256")
"""what a decoder's configuration holds beside transformers' own keys"""


class SemBridge(nn.Module):
    """Projects a SEM to a few memory positions: (B, S) to (B, tokens, D), one linear map of the whole vector each.

    The authors' code hints at cutting the 384 dimensions into 12 chunks of 32. Measured on the
    demo's sem2text, 300 steps: 5.2 dev BLEU when each position sees its chunk alone, 14.9 when it sees the whole SEM.
    """

    def __init__(self, sem_dim: int, tokens: int, width: int) -> None:
        super().__init__()
        self.tokens, self.width = tokens, width
        self.project = nn.Linear(sem_dim, tokens * width)

    def forward(self, sem_BS: Tensor) -> Tensor:
        return self.project(sem_BS).view(len(sem_BS), self.tokens, self.width)


class TextDecoder(nn.Module):
    """The decoder half of a transformers encoder-decoder, reading a given memory instead of its own encoder's.

    ``seq2seq`` is the model's transformers configuration and, for a pretrained decoder, also: ``prompt`` (ids that
    stand before every sentence, such as a language code; default: the start token), ``suppressed`` (ids that
    are never generated), ``source`` (where its weights came from) and ``gradient_checkpointing``;
    ``tokenizer_sha256`` names the vocabulary that the ids belong to. A decoder that writes several languages has
    ``prompts``, language → prompt, all of one length, and is told with every sentence which one to write.
    """

    source_rows: Tensor
    """(V,) of a pretrained decoder: the row of the source's vocabulary that each of our ids stands for"""

    def __init__(self, seq2seq: dict[str, Any]) -> None:
        super().__init__()
        own = {key: seq2seq[key] for key in OWN_KEYS if key in seq2seq}
        config = AutoConfig.for_model(**{key: value for key, value in seq2seq.items() if key not in OWN_KEYS})
        self.seq2seq = seq2seq_class(config).from_config(config)
        self.width: int = config.d_model
        self.pad: int = config.pad_token_id
        self.prompts: dict[str, list[int]] = own.get("prompts") or {}
        self.prompt: list[int] = own.get("prompt") or [config.decoder_start_token_id]
        self.source: dict[str, Any] | None = own.get("source")
        self._drop_encoder(tied=seq2seq.get("tie_word_embeddings", True))
        self._memory_mask = _MemoryMask()
        if "encoder_attention_mask" not in inspect.signature(type(self.seq2seq.get_decoder()).forward).parameters:
            self._memory_mask.give_to(self.seq2seq.get_decoder())
        if self.source is not None:
            self.register_buffer("source_rows", torch.zeros(config.vocab_size, dtype=torch.long))
            self.seq2seq.generation_config = self._generation_config(own["suppressed"])
        if own.get("gradient_checkpointing"):
            # re-entrant checkpoints would cut the gradient of a memory that is no leaf's own
            self.seq2seq.gradient_checkpointing_enable({"use_reentrant": False})

    @property
    def longest(self) -> int:
        """Tokens of the longest sentence that the position table holds behind the prompt."""
        return positions(self.seq2seq.config) - len(self.prompt)

    def logits(self, memory_BMD: Tensor, memory_mask_BM: Tensor, inputs_BL: Tensor) -> Tensor:
        """Next-token logits (B, L, V) after each of the teacher-forced ``inputs_BL``."""
        self._memory_mask.set(memory_mask_BM, 1)
        return self.seq2seq(
            encoder_outputs=BaseModelOutput(memory_BMD),
            attention_mask=memory_mask_BM.long(),
            decoder_input_ids=inputs_BL,
            use_cache=False,
        ).logits

    def prompt_ids(self, count: int, languages: Sequence[str] | None) -> Tensor:
        """What stands before each of ``count`` sentences, (B, P); ``languages`` are theirs, if the decoder has several.

        Raises DataError for a language that it was not made to write, or when it writes several and is not told which.
        """
        if not self.prompts:
            return torch.tensor(self.prompt).expand(count, -1)
        unknown = {None} if languages is None else set(languages) - set(self.prompts)
        if unknown:
            asked = "is not told which" if languages is None else f"`{min(map(str, unknown))}` is none of them"
            raise DataError(f"the decoder writes {', '.join(self.prompts)}, and {asked}; name one of them")
        return torch.tensor([self.prompts[language] for language in languages or ()])

    @torch.inference_mode()
    def generate(
        self,
        memory_BMD: Tensor,
        memory_mask_BM: Tensor,
        beam: int,
        n_best: int = 1,
        languages: Sequence[str] | None = None,
        scores: bool = False,
        **options: Any,
    ) -> Any:
        """Beam search; transformers' output object with ``sequences`` (B·n_best, L), each beginning with the prompt.

        With ``scores`` it has ``sequences_scores`` too. They cost memory: transformers then keeps the log-probabilities
        of all beams, over the whole vocabulary, of every step.
        """
        self._memory_mask.set(memory_mask_BM, beam)
        prompt = self.prompt_ids(len(memory_BMD), languages).to(memory_BMD.device)
        # not the model's own method: Whisper's takes audio features apart before it searches
        return GenerationMixin.generate(
            self.seq2seq,
            encoder_outputs=BaseModelOutput(memory_BMD),
            attention_mask=memory_mask_BM.long(),
            decoder_input_ids=prompt,
            num_beams=beam,
            num_return_sequences=n_best,
            do_sample=False,
            return_dict_in_generate=True,
            output_scores=scores,
            **options,
        )

    def _drop_encoder(self, tied: bool) -> None:
        """Take the encoder out; keep the ties among what stays, less the output layer's when the source unties it."""
        self.seq2seq.set_encoder(_NoEncoder())
        head = self.seq2seq.get_output_embeddings()
        if not tied:  # T5 ties its head at the start, whatever its configuration says
            head.weight = nn.Parameter(head.weight.detach().clone())
        for module in self.seq2seq.modules():
            if isinstance(module, PreTrainedModel):
                names = {name for name, _ in module.named_parameters(remove_duplicate=False)}
                if not tied:
                    names -= {f"{name}.weight" for name, part in module.named_modules() if part is head}
                ties = {
                    target: origin for target, origin in (module._tied_weights_keys or {}).items() if target in names
                }
                # transformers reads both: the first whenever it ties again, the second in saving and loading
                module._tied_weights_keys, module.all_tied_weights_keys = ties, dict(ties)

    def _generation_config(self, suppressed: list[int]) -> GenerationConfig:
        """Ids alone: how to search is the evaluate section's; what the source forces at the start is the prompt."""
        config = self.seq2seq.config
        return GenerationConfig(
            decoder_start_token_id=self.prompt[0],
            bos_token_id=getattr(config, "bos_token_id", None),
            eos_token_id=config.eos_token_id,
            pad_token_id=config.pad_token_id,
            forced_eos_token_id=config.eos_token_id,
            suppress_tokens=suppressed or None,
        )


class _NoEncoder(nn.Module):
    """Where the encoder was: memories are given, so nothing ever calls it."""

    main_input_name = "input_ids"


class _MemoryMask:
    """The cross-attention mask of a decoder whose own ``forward`` takes none (Whisper: audio is never padded).

    It goes to each layer as an argument, not as state that the layer looks up: gradient checkpointing calls a
    layer a second time, when the next batch's mask may stand here.
    """

    def __init__(self) -> None:
        self.value: Tensor | None = None
        self.wanted = False

    def give_to(self, decoder: nn.Module) -> None:
        """From now on every layer of the decoder is called with the mask."""
        for layer in decoder.layers:  # type: ignore[union-attr]
            if "encoder_attention_mask" not in inspect.signature(type(layer).forward).parameters:
                raise ValueError(f"{type(decoder).__name__} can be given no mask for its memory")
            layer.__class__ = _masked(type(layer))
            object.__setattr__(layer, "memory_mask", self)
        self.wanted = True

    def set(self, mask_BM: Tensor, beam: int) -> None:
        """Hold an additive (B·beam, 1, 1, M) mask: zero at the memory, minus infinity at its padding."""
        if self.wanted:
            additive = torch.zeros(mask_BM.shape, device=mask_BM.device).masked_fill(~mask_BM.bool(), -torch.inf)
            self.value = additive.repeat_interleave(beam, 0)[:, None, None]


def _masked(layer: Any) -> type[nn.Module]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return layer.__call__(self, *args, **{**kwargs, "encoder_attention_mask": self.memory_mask.value})

    return type(layer.__name__, (layer,), {"__call__": call})


def positions(config: PretrainedConfig) -> int:
    """Length of the decoder's position table; no bound (sys.maxsize) where positions are relative."""
    for name in ("max_target_positions", "max_position_embeddings"):
        if (value := getattr(config, name, None)) is not None:
            return value
    return sys.maxsize


def seq2seq_class(config: PretrainedConfig) -> Any:
    """The auto class that makes models of this configuration; ValueError when it is of no encoder-decoder."""
    for mapping, auto in (
        (MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, AutoModelForSeq2SeqLM),
        (MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING, AutoModelForSpeechSeq2Seq),
    ):
        if type(config) in mapping:
            return auto
    raise ValueError(f"`{config.model_type}` is no encoder-decoder that transformers generates text with")


def sltr(
    layers: int, width: int, heads: int, ffn: int, dropout: float, vocabulary: int, positions: int, ids: dict[str, int]
) -> dict[str, Any]:
    """Configuration of a small pre-norm decoder from scratch, sized like Camgöz et al. 2020; ``ids`` of pad, bos, eos.

    It is mBART's decoder architecture with the encoder cut to zero layers, so that one class serves both.
    """
    config = MBartConfig(
        vocab_size=vocabulary,
        d_model=width,
        encoder_layers=0,
        encoder_ffn_dim=1,
        encoder_attention_heads=1,
        decoder_layers=layers,
        decoder_attention_heads=heads,
        decoder_ffn_dim=ffn,
        dropout=dropout,
        attention_dropout=dropout,
        max_position_embeddings=positions,
        scale_embedding=True,
        pad_token_id=ids["pad"],
        bos_token_id=ids["bos"],
        eos_token_id=ids["eos"],
        decoder_start_token_id=ids["bos"],
        forced_eos_token_id=ids["eos"],
    )
    return {**config.to_diff_dict(), "model_type": "mbart"}
