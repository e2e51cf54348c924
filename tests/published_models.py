"""Small models with random weights in the published layout of their families, as tests meet them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoModelForSpeechSeq2Seq

TEXTS = [
    "Morgen regnet es im Norden .",
    "Am Tag schneit es im Süden .",
    "Der Wind weht schwach bis mäßig .",
    "Tomorrow it rains in the north , 12 degrees .",
]
OTHER = ["Quarks jazz vexingly !", "Zwölf Boxkämpfer jagen Viktor quer über den Sylter Deich ."]
SIZES = {"d_model": 32, "dropout": 0.1}
BART = {
    **SIZES,
    **{"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2},
    **{"encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 64},
}
T5 = {"d_model": 32, "d_kv": 16, "num_heads": 2, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 2}
SPECIALS = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    # as facebook/mbart-large-cc25 has them: counts of both halves under several names, search options, no start token
    "mbart": {
        **BART,
        **SPECIALS,
        **{"_num_labels": 3, "add_bias_logits": False, "add_final_layer_norm": True, "normalize_before": True},
        **{"scale_embedding": True, "static_position_embeddings": False, "max_length": 64, "num_beams": 5},
        **{"num_hidden_layers": 2, "output_past": True, "forced_eos_token_id": 2, "is_encoder_decoder": True},
        "task_specific_params": {"translation_en_to_ro": {"decoder_start_token_id": 250020}},
    },
    "mbart50": {**BART, **SPECIALS, "model_type": "mbart", "decoder_start_token_id": 2, "scale_embedding": True},
    "m2m_100": {**BART, **SPECIALS, "decoder_start_token_id": 2, "scale_embedding": True},
    "bart": {**BART, **SPECIALS, "decoder_start_token_id": 2, "forced_bos_token_id": 0, "num_hidden_layers": 2},
    "t5": {**T5, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1},
    # its output layer is no copy of the embeddings; fewer layers in the decoder than in the encoder
    "mt5": {
        **T5,
        **{"num_layers": 3, "tie_word_embeddings": False, "pad_token_id": 1, "eos_token_id": 2},
        **{"decoder_start_token_id": 1, "feed_forward_proj": "gated-gelu"},
    },
    "whisper": {**{k: v for k, v in BART.items() if k != "max_position_embeddings"}, "max_target_positions": 64},
}
CODES = {"mbart": "de_DE", "mbart50": "de_DE", "m2m_100": "__de__", "whisper": "<|de|>"}
"""the language code of each family that has any"""
WHISPER_TOKENS = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|transcribe|>", "<|notimestamps|>"]


def unigram(pieces: Sequence[tuple[str, float]], codes: Sequence[str] = ()) -> Tokenizer:
    """A SentencePiece Unigram vocabulary laid out as XLM-R's and mBART's: specials, pieces, codes, <mask>."""
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = [*((token, 0.0) for token in specials), *pieces, *((code, 0.0) for code in codes), ("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in [*specials, *codes, "<mask>"]])
    return tokenizer


def pieces(texts: Sequence[str]) -> list[tuple[str, float]]:
    """Every substring of every word as a piece, longer ones likelier, and all their characters."""
    found = {
        word[a:b]
        for text in texts
        for word in ("▁" + w for w in text.split())
        for a in range(9)
        for b in range(a + 1, 9)
    }
    return [(piece, -20.0 / (1 + len(piece)) - i / 1e4) for i, piece in enumerate(sorted(found - {""}))]


def byte_bpe(texts: Sequence[str], size: int, specials: Sequence[str], plain: Sequence[str] = ()) -> Tokenizer:
    """A byte-level BPE vocabulary with special tokens behind it, as Whisper's, and ``plain`` added ones last."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([*texts], trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in specials])
    tokenizer.add_tokens([AddedToken(token) for token in plain])
    return tokenizer


def tokenizer_of(family: str) -> Tokenizer:
    if family == "whisper":
        return byte_bpe([*TEXTS, *OTHER] * 3, 400, WHISPER_TOKENS, ["<|0.00|>", "<|0.02|>"])
    if family == "bart":
        tokenizer = byte_bpe([*TEXTS, *OTHER] * 3, 400, [])
        data = json.loads(tokenizer.to_str())  # BART's special tokens come first
        first = ["<s>", "<pad>", "</s>", "<unk>"]
        vocabulary = {token: id_ + 4 for token, id_ in data["model"]["vocab"].items()}
        data["model"]["vocab"] = {**{token: id_ for id_, token in enumerate(first)}, **vocabulary}
        tokenizer = Tokenizer.from_str(json.dumps(data))
        tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in first])
        return tokenizer
    codes = {"m2m_100": ["__en__", "__de__"], "t5": ["<extra_id_0>"], "mt5": []}.get(family, ["de_DE", "en_XX"])
    return unigram(pieces([*TEXTS, *OTHER]), codes)


def publish(folder: Path, family: str, tokenizer: Tokenizer | None = None, pickled: bool = False) -> Path:
    """Write a model folder of the family: config.json, tokenizer.json, and safetensors or ``pytorch_model.bin``."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer or tokenizer_of(family)
    config = {"model_type": family, **FAMILIES[family], "vocab_size": tokenizer.get_vocab_size()}
    if family == "whisper":
        end, start = (tokenizer.token_to_id(token) for token in WHISPER_TOKENS[:2])
        config |= {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end, "decoder_start_token_id": start}
        config |= {"num_mel_bins": 4, "max_source_positions": 8, "dropout": 0.0, "begin_suppress_tokens": None}
    if family in ("t5", "mt5"):
        config["vocab_size"] += 6  # published tables are padded to a round number of rows
    torch.manual_seed(0)
    auto = AutoModelForSpeechSeq2Seq if family == "whisper" else AutoModelForSeq2SeqLM
    model = auto.from_config(AutoConfig.for_model(**config))
    if family == "mt5":
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    for name, weight in model.state_dict().items():
        if weight.is_floating_point() and "norm" not in name:
            torch.nn.init.normal_(weight, std=0.3)  # far enough from zero that a lost weight shows
    state = model.state_dict()
    if pickled:
        torch.save(state, folder / "pytorch_model.bin")
    else:
        from safetensors.torch import save_file

        tied = {name for name in model.all_tied_weights_keys if family != "mt5" or "lm_head" not in name}
        save_file(
            {k: v.clone() for k, v in state.items() if k not in tied}, folder / "model.safetensors", {"format": "pt"}
        )
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
