"""A published encoder-decoder as the start of a text decoder: its conventions, its vocabulary, its weights."""

import contextlib
import json
import logging
import pickle
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, GenerationConfig, PretrainedConfig

from slt.config.train import PretrainedDecoderConfig
from slt.errors import ConfigError, DataError
from slt.models.text_decoder import TextDecoder, positions, seq2seq_class
from slt.store import read_json
from slt.tokenizer import sentence_tokenizer, tokenizer_sha256
from slt.trimming import trim, used_ids
from slt.weights import resolve_weights, weights_sha256

LANGUAGE_CODE = re.compile(r"<\|[a-z]{2,3}\|>|__[a-z]{2,3}__|[a-z]{2,3}_[A-Z][A-Za-z]{1,3}")
"""how Whisper, M2M-100, mBART and NLLB spell the tokens that name a language"""
NOT_CARRIED = {
    *("architectures", "dtype", "torch_dtype", "transformers_version", "task_specific_params", "_name_or_path"),
    *(key for key in GenerationConfig().to_dict() if not key.endswith("_token_id")),
    "num_hidden_layers",  # means the encoder's and would set them again
}
"""keys of a published config.json that say nothing about the decoder: how to search is the evaluate section's"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A published model folder, its weights not read yet."""

    spec: str
    """as in params.yaml"""
    folder: Path
    sha256: str
    """of the weights"""
    config: dict[str, Any]
    """config.json as published: transformers' own classes do not write T5's back as they read it"""

    @classmethod
    def open(cls, spec: str, where: str) -> "Source":
        """Find the model; ``where`` is the key that names it. Raises ConfigError when it is no encoder-decoder."""
        path = resolve_weights(spec)
        folder = path if path.is_dir() else path.parent
        if not (folder / "config.json").is_file():
            raise ConfigError(f"{where}: `{spec}` ({folder}) has no config.json, so it is no transformers model folder")
        published = read_json(folder / "config.json")
        source = cls(spec, folder, weights_sha256(folder), published)
        try:
            seq2seq_class(source.transformers_config())
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"{where}: `{spec}` is a model of type `{published.get('model_type')}`: {error}; name a model with a "
                "decoder that attends to an encoder, such as mBART, BART, T5, M2M-100 or Whisper"
            ) from error
        return source

    def transformers_config(self, **changes: Any) -> PretrainedConfig:
        return AutoConfig.for_model(**{**self.config, **changes})

    def tokenizer(self) -> Any:
        """The ``tokenizers.Tokenizer``, from its own file where there is one: it is then read as published."""
        from tokenizers import Tokenizer
        from transformers import AutoTokenizer

        try:
            if (self.folder / "tokenizer.json").is_file():
                return Tokenizer.from_file(str(self.folder / "tokenizer.json"))
            tokenizer = AutoTokenizer.from_pretrained(str(self.folder), local_files_only=True, trust_remote_code=False)
            return tokenizer.backend_tokenizer
        except Exception as error:  # the tokenizers library raises bare Exception for a file that it cannot read
            raise DataError(
                f"{self.folder}: no tokenizer can be loaded: {type(error).__name__}: {error}; a folder with a "
                "SentencePiece model alone needs `pip install sentencepiece protobuf`, others need tokenizer.json"
            ) from error

    def special_ids(self) -> dict[str, int | None]:
        """Ids that config.json or generation_config.json names, by their key without ``_token_id``."""
        path = self.folder / "generation_config.json"
        named = {**self.transformers_config().to_dict(), **self.config, **(read_json(path) if path.is_file() else {})}
        ids = {key.removesuffix("_token_id"): value for key, value in named.items() if key.endswith("_token_id")}
        return {key: value[0] if isinstance(value, list) else value for key, value in ids.items()}


def take_decoder(
    source: Source, config: PretrainedDecoderConfig, sentences: Sequence[str], where: str, languages: Sequence[str] = ()
) -> tuple[dict[str, Any], Any, Tensor]:
    """A decoder's configuration for :class:`TextDecoder`, its tokenizer, and the source's rows (V,) that it keeps.

    ``sentences`` are the text that a trimmed vocabulary is for; ``where`` is the decoder's section; ``languages`` are
    those to write, where there are several. Raises ConfigError for a language code that the model has not, a language
    without one, more layers than it has, or sentences longer than its position table.
    """
    full = source.tokenizer()
    vocabulary = max(full.get_vocab().values()) + 1
    special = source.special_ids()
    if special.get("eos") is None or special.get("pad") is None:
        raise ConfigError(f"{where}.pretrained: `{source.spec}` names no end and no padding token in its config.json")
    codes = _language_codes(config.language_code, languages, where)
    prompts = {language: _prompt(source, special, full, code, where) for language, code in codes.items()}
    prompt = next(iter(prompts.values()))
    unknown = json.loads(full.to_str())["model"].get("unk_id")
    needed = {*(id_ for ids in prompts.values() for id_ in ids), *(id_ for id_ in special.values() if id_ is not None)}
    if vocabulary > source.transformers_config().vocab_size or max(needed) >= vocabulary:
        raise ConfigError(
            f"{where}.pretrained: `{source.spec}` has a tokenizer of {vocabulary} tokens beside "
            f"{source.transformers_config().vocab_size} embeddings; they do not belong together"
        )
    trimmed, rows = full, list(range(vocabulary))
    if config.trim_vocabulary:
        trimmed, rows = trim(full, used_ids(full, sentences) | needed, where)
    new = {old: id_ for id_, old in enumerate(rows)}
    ids = {name: new[old] for name, old in special.items() if old is not None}
    tokenizer = sentence_tokenizer(
        trimmed, {**{name: ids.get(name) for name in ("bos", "pad", "eos")}, "unk": new.get(unknown)}
    )
    added = json.loads(trimmed.to_str())["added_tokens"]
    log.info("%s: %d of %d tokens kept", source.spec, len(rows), vocabulary)
    decoder = {
        **_decoder_config(source, config, where),
        "vocab_size": len(rows),
        **{f"{name}_token_id": id_ for name, id_ in ids.items()},
        "prompt": [new[old] for old in prompt],
        **({"prompts": {name: [new[old] for old in ids] for name, ids in prompts.items()}} if languages else {}),
        "suppressed": sorted(token["id"] for token in added if token["special"] and token["id"] != ids["eos"]),
        "gradient_checkpointing": config.gradient_checkpointing,
        "tokenizer_sha256": tokenizer_sha256(tokenizer),
        "source": {
            "pretrained": source.spec,
            "weights_sha256": source.sha256,
            "vocabulary": vocabulary,
            "language_code": config.language_code,
        },
    }
    longest = positions(source.transformers_config()) - len(prompt)
    if config.max_tokens > longest:
        raise ConfigError(
            f"{where}.max_tokens: {config.max_tokens}, but `{source.spec}` has positions for {longest} tokens; lower it"
        )
    return decoder, tokenizer, torch.tensor(rows)


def load_source(decoder: TextDecoder, rows: Tensor) -> None:
    """Give a decoder its source's weights: of matrices over the vocabulary the rows (V,), all others whole.

    Raises DataError when the weights are not those that the decoder's configuration names, or do not fit it.
    """
    assert decoder.source is not None
    spec = decoder.source["pretrained"]
    source = Source.open(spec, spec)
    if source.sha256 != decoder.source["weights_sha256"]:
        raise DataError(
            f"{spec}: these are not the weights that this decoder was made of (sha256 {source.sha256[:12]}, expected "
            f"{decoder.source['weights_sha256'][:12]}); fetch the named model again, or run `dvc repro sem2text`"
        )
    theirs = _read_weights(source, _decoder_layers(decoder.seq2seq.config))
    for name, weight in decoder.seq2seq.state_dict().items():
        found = theirs[name]
        for axis, size in enumerate(weight.shape):
            if found.shape[axis] != size:  # the vocabulary's: every other size is the source's own
                found = found.index_select(axis, rows)
        weight.copy_(found)
    decoder.source_rows.copy_(rows)


def _decoder_config(source: Source, config: PretrainedDecoderConfig, where: str) -> dict[str, Any]:
    theirs = source.transformers_config()
    has = _decoder_layers(theirs)
    if config.layers is not None and config.layers > has:
        raise ConfigError(f"{where}.layers: {config.layers}, but `{source.spec}` has a decoder of {has} layers")
    dropouts = {
        name: config.dropout
        for name in ("dropout", "dropout_rate", "attention_dropout")
        if config.dropout is not None and hasattr(theirs, name)
    }
    carried = {key: value for key, value in source.config.items() if key not in NOT_CARRIED}
    return {**carried, **_layer_counts(theirs, config.layers or has), **dropouts}


def _decoder_layers(config: PretrainedConfig) -> int:
    return config.num_decoder_layers if hasattr(config, "num_decoder_layers") else config.decoder_layers


def _layer_counts(config: PretrainedConfig, layers: int) -> dict[str, int]:
    if hasattr(config, "num_decoder_layers"):  # T5 counts its cache by the encoder's
        return {"num_layers": layers, "num_decoder_layers": layers}
    return {"encoder_layers": 0, "decoder_layers": layers}


def _language_codes(given: str | dict[str, str] | None, languages: Sequence[str], where: str) -> dict[str, str | None]:
    """Language → its code; of a dataset in one language, whatever it is called, the one code that is given."""
    if not languages:
        if isinstance(given, dict):
            raise ConfigError(
                f"{where}.language_code: {given}, but the dataset's text is in one language: name its code"
            )
        return {"": given}
    if not isinstance(given, dict) or set(given) != set(languages):
        wanted = ", ".join(f"{language}: …" for language in languages)
        raise ConfigError(
            f"{where}.language_code: the dataset's text is in {' and '.join(languages)}, and the decoder has to be "
            f"told which to write: give {{{wanted}}}, of a model that has such codes"
        )
    return {language: given[language] for language in languages}


def _prompt(
    source: Source, special: dict[str, int | None], tokenizer: Any, language_code: str | None, where: str
) -> list[int]:
    """Ids that stand before every sentence, as the model's own training put them."""
    added = [tokenizer.id_to_token(id_) for id_ in sorted(tokenizer.get_added_tokens_decoder())]
    codes = [token for token in added if LANGUAGE_CODE.fullmatch(token)]
    if language_code is None and codes:
        raise ConfigError(
            f"{where}.language_code: null, but `{source.spec}` writes several languages and has to be told which: "
            f"{', '.join(codes)}"
        )
    if language_code is not None and language_code not in codes:
        known = f"it has {', '.join(codes)}" if codes else "it has no such tokens: set it to null"
        raise ConfigError(f"{where}.language_code: `{language_code}` is no language code of `{source.spec}`; {known}")
    language = [] if language_code is None else [tokenizer.token_to_id(language_code)]
    kind, start = source.config["model_type"], special.get("decoder_start")
    if kind == "whisper":
        names = ["<|startoftranscript|>", language_code, *(["<|transcribe|>"] if language else []), "<|notimestamps|>"]
        return [tokenizer.token_to_id(name) for name in names if name is not None]
    if start is None or (language and tokenizer.id_to_token(start) in codes):  # mBART-25 starts with the language
        prompt = language
    elif language:  # mBART-50, M2M-100: the start token, and the language is the first that it predicts
        prompt = [start, *language]
    else:
        first = special.get("bos") if kind == "bart" else special.get("forced_bos")
        prompt = [start, *([] if first is None else [first])]
    if not prompt:
        raise ConfigError(f"{where}.pretrained: `{source.spec}` names no decoder_start_token_id in its config.json")
    return prompt


def _read_weights(source: Source, layers: int) -> dict[str, Tensor]:
    """The source's state (float32) less its encoder's layers; safetensors, or a pickle that may hold only tensors."""
    published = source.transformers_config()
    carried = {key: value for key, value in source.config.items() if key not in NOT_CARRIED}
    config = AutoConfig.for_model(**{**carried, **_layer_counts(published, layers)})
    try:
        with _quiet():
            model, info = seq2seq_class(config).from_pretrained(
                str(source.folder),
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                weights_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{source.folder}: its weights cannot be loaded: {type(error).__name__}: {reason}; fetch the model again"
        ) from error
    missing = sorted(name for name in info["missing_keys"] if not re.search(r"(^|\.)encoder\.", name))
    if missing:
        raise DataError(
            f"{source.folder}: its weights lack {len(missing)} that the decoder needs, first `{missing[0]}`; it is no "
            f"complete model of type {config.model_type}: fetch it again, or name another"
        )
    return model.state_dict()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' report of weights left out: the encoder's are, and what matters is checked here."""
    from transformers.utils import logging as theirs

    before, bar = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(before)
        if bar:
            theirs.enable_progress_bar()
