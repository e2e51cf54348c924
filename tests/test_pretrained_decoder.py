"""A published decoder in our slot says what it said, reads only its memory, and writes text."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published_models import CODES, FAMILIES, TEXTS, pieces, publish, unigram
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM, AutoModelForSpeechSeq2Seq
from transformers.modeling_outputs import BaseModelOutput

from slt.batching import rng
from slt.config.base import parse
from slt.config.train import (
    DecoderConfig,
    PretrainedDecoderConfig,
    Sem2textConfig,
    SystemConfig,
    TrainingConfig,
    decoder_class,
)
from slt.decoding import Search, translate
from slt.errors import ConfigError, DataError
from slt.finetune import join
from slt.losses import text_loss
from slt.model_folder import load_model
from slt.models.pretrained_decoder import Source, load_source, take_decoder
from slt.models.sign_encoder import random_transformer
from slt.models.text_decoder import TextDecoder
from slt.models.translator import SignTranslator, SignTranslatorConfig
from slt.sem2text import Sem2text, new_decoder, text_tensors
from slt.sem_space import SemSpace
from slt.training import train

WHERE = "demo.decoders.x"
SHARED = Path(__file__).parents[2] / "shared"
WHISPER, MBART = SHARED / "models" / "whisper-base-text-decoder", SHARED / "data" / "mbart_trimmed_tokenizer"
SPACE = SemSpace(False, np.zeros(8, np.float32), 1.0)


def config(folder: Path, family: str = "mbart", **changes: Any) -> PretrainedDecoderConfig:
    return replace(
        PretrainedDecoderConfig(str(folder), CODES.get(family), True, False, None, max_tokens=24, tokens=1), **changes
    )


def build(settings: PretrainedDecoderConfig, texts: list[str] = TEXTS) -> tuple[TextDecoder, Any, Tensor]:
    description, tokenizer, rows = take_decoder(Source.open(settings.pretrained, WHERE), settings, texts, WHERE)
    decoder = TextDecoder(description).eval()
    load_source(decoder, rows)
    return decoder, tokenizer, rows


def translator(settings: PretrainedDecoderConfig, seed: int = 0) -> tuple[SignTranslator, Any]:
    source = Source.open(settings.pretrained, WHERE)
    return new_decoder(settings, source, TEXTS, 8, SPACE, seed, WHERE)


def memory(decoder: TextDecoder) -> tuple[Tensor, Tensor]:
    torch.manual_seed(5)
    return torch.randn(3, 6, decoder.width), torch.tensor([[1, 1, 1, 0, 0, 0], [1] * 6, [1, 1, 0, 0, 0, 0]])


def same_logits(ours: TextDecoder, tokenizer: Any, rows: Tensor, folder: Path, family: str) -> int:
    """Assert that the kept tokens' logits are those of the published model; how many tokens that one has."""
    auto = AutoModelForSpeechSeq2Seq if family == "whisper" else AutoModelForSeq2SeqLM
    theirs = auto.from_pretrained(str(folder), dtype=torch.float32).eval()
    x, mask = memory(ours)
    inputs, _ = text_tensors(ours, tokenizer(TEXTS[:3])["input_ids"])
    expected = []
    for i in range(3):  # clip by clip, so that it rests on no mask
        given = BaseModelOutput(x[i : i + 1, mask[i].bool()])
        expected.append(theirs(encoder_outputs=given, decoder_input_ids=rows[inputs[i : i + 1]]).logits[..., rows])
    assert torch.isfinite(torch.cat(expected)).all()
    torch.testing.assert_close(ours.logits(x, mask, inputs), torch.cat(expected), atol=2e-4, rtol=1e-4)
    return int(theirs.config.vocab_size)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- what the source said ---


@pytest.mark.parametrize("trimmed", [True, False])
def test_logits_of_kept_tokens_are_the_sources(family: str, trimmed: bool, tmp_path: Path) -> None:
    folder = publish(tmp_path, family)
    ours, tokenizer, rows = build(config(folder, family, trim_vocabulary=trimmed))
    tokens = same_logits(ours, tokenizer, rows, folder, family)
    assert len(rows) < tokens or not trimmed


def test_the_prompt_is_the_one_the_family_was_trained_with(family: str, tmp_path: Path) -> None:
    ours, tokenizer, _ = build(config(publish(tmp_path, family), family))
    assert (
        tokenizer.convert_ids_to_tokens(ours.prompt)
        == {
            "mbart": ["de_DE"],
            "mbart50": ["</s>", "de_DE"],
            "m2m_100": ["</s>", "__de__"],
            "bart": ["</s>", "<s>"],
            "t5": ["<pad>"],
            "mt5": ["<pad>"],
            "whisper": ["<|startoftranscript|>", "<|de|>", "<|transcribe|>", "<|notimestamps|>"],
        }[family]
    )
    generation = ours.seq2seq.generation_config
    assert generation.decoder_start_token_id == ours.prompt[0]
    assert generation.eos_token_id == generation.forced_eos_token_id == tokenizer.eos_token_id
    inputs, labels = text_tensors(ours, tokenizer(TEXTS[:1])["input_ids"])
    assert inputs[0, : len(ours.prompt)].tolist() == ours.prompt
    assert (labels[0] == -100).sum() == len(ours.prompt) - 1 and labels[0, -1] == tokenizer.eos_token_id


def test_several_languages_have_a_prompt_each_and_their_codes_stay_in_the_vocabulary(tmp_path: Path) -> None:
    settings = config(publish(tmp_path, "mbart"), language_code={"de": "de_DE", "en": "en_XX"})
    source = Source.open(settings.pretrained, WHERE)
    model, tokenizer = new_decoder(settings, source, TEXTS, 8, SPACE, 0, WHERE, ("de", "en"))
    named = {language: tokenizer.convert_ids_to_tokens(ids) for language, ids in model.decoder.prompts.items()}
    assert named == {"de": ["de_DE"], "en": ["en_XX"]}
    inputs, _ = text_tensors(model.decoder, tokenizer(TEXTS[:2])["input_ids"], ["en", "de"])
    assert tokenizer.convert_ids_to_tokens(inputs[:, 0]) == ["en_XX", "de_DE"]


@pytest.mark.parametrize("code", [None, "de_DE", {"de": "de_DE"}, {"de": "de_DE", "fr": "fr_XX"}])
def test_several_languages_without_a_code_for_each_are_refused(code: Any, tmp_path: Path) -> None:
    settings = config(publish(tmp_path, "mbart"), language_code=code)
    with pytest.raises(ConfigError, match=r"language_code: the dataset's text is in de and en.*de: …, en: …"):
        take_decoder(Source.open(settings.pretrained, WHERE), settings, TEXTS, WHERE, ("de", "en"))
    if isinstance(code, dict):
        with pytest.raises(ConfigError, match="text is in one language: name its code"):
            take_decoder(Source.open(settings.pretrained, WHERE), settings, TEXTS, WHERE)


# --- reads its memory, and no padding ---


@pytest.mark.parametrize("garbage", [1e4, -1e4])
def test_logits_ignore_garbage_in_the_memory_padding_exactly(family: str, garbage: float, tmp_path: Path) -> None:
    ours, tokenizer, _ = build(config(publish(tmp_path, family), family))
    x, mask = memory(ours)
    inputs, _ = text_tensors(ours, tokenizer(TEXTS[:3])["input_ids"])
    clean = ours.logits(x, mask, inputs)
    dirty = x.masked_fill(mask[..., None] == 0, garbage)
    assert torch.equal(clean, ours.logits(dirty, mask, inputs))
    assert not torch.equal(clean, ours.logits(dirty, torch.ones_like(mask), inputs))


@pytest.mark.parametrize("beam", [1, 3])
def test_generation_ignores_garbage_in_the_memory_padding(family: str, beam: int, tmp_path: Path) -> None:
    ours, _, _ = build(config(publish(tmp_path, family), family))
    x, mask = memory(ours)
    dirty = x.masked_fill(mask[..., None] == 0, 1e4)
    clean, other = (ours.generate(m, mask, beam=beam, max_new_tokens=8).sequences for m in (x, dirty))
    assert torch.equal(clean, other)
    alone = ours.generate(x[2:, :2], mask[2:, :2], beam=beam, max_new_tokens=8).sequences[0]
    assert clean[2, : len(alone)].tolist() == alone.tolist()


def test_whispers_mask_survives_bfloat16_and_a_later_batch_in_the_backward_pass(tmp_path: Path) -> None:
    ours, tokenizer, _ = build(config(publish(tmp_path, "whisper"), "whisper", gradient_checkpointing=True))
    x, mask = memory(ours)
    inputs, _ = text_tensors(ours, tokenizer(TEXTS[:3])["input_ids"])
    with torch.autocast("cpu", torch.bfloat16):
        dirty = x.masked_fill(mask[..., None] == 0, 1e4)
        assert torch.equal(ours.logits(x, mask, inputs), ours.logits(dirty, mask, inputs))
    gradients = []
    for later in (False, True):
        leaf = x.clone().requires_grad_()
        loss = ours.train().logits(leaf, mask, inputs).square().sum()
        if later:  # validation between forward and backward, say
            ours.logits(x, torch.ones_like(mask), inputs)
        gradients.append(torch.autograd.grad(loss, leaf)[0])
    assert torch.equal(*gradients) and not gradients[0][mask == 0].any()


# --- writes text ---


def test_greedy_search_equals_teacher_forced_argmax(family: str, tmp_path: Path) -> None:
    ours, _, _ = build(config(publish(tmp_path, family), family))
    x, mask = memory(ours)
    found = ours.generate(x, mask, beam=1, max_new_tokens=7).sequences
    ids = torch.tensor([ours.prompt] * 3)
    forbidden = ours.seq2seq.generation_config.suppress_tokens
    assert found[:, : ids.shape[1]].tolist() == ids.tolist()
    for _ in range(6):  # the seventh is the forced end
        logits = ours.logits(x, mask, ids)[:, -1].index_fill(1, torch.tensor(forbidden), -torch.inf)
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)
    end = ours.seq2seq.config.eos_token_id
    for sentence, expected in zip(found.tolist(), ids.tolist(), strict=True):
        length = min(
            len(expected), sentence.index(end, len(ours.prompt)) if end in sentence[len(ours.prompt) :] else 99
        )
        assert sentence[:length] == expected[:length]


def test_no_special_token_is_written(family: str, tmp_path: Path) -> None:
    model, tokenizer = translator(config(publish(tmp_path, family), family))
    special = {tokenizer.convert_ids_to_tokens(i) for i in model.eval().config.decoder["suppressed"]}
    assert special >= {"<s>", "<pad>", "<unk>"} or family == "whisper"
    sems = np.random.default_rng(0).standard_normal((9, 8), dtype=np.float32) * 30
    for beam in (1, 3):
        sentences = [r.sentences[0] for r in translate(model, tokenizer, Search(beam, 1.0, 10, 5), sems=sems)]
        assert any(sentences) and not [token for token in special if any(token in sentence for sentence in sentences)]
        memory, mask = model.build_memory(torch.from_numpy(sems))
        found = model.decoder.generate(memory, mask, beam=beam, max_new_tokens=10).sequences
        written = set(found[:, len(model.decoder.prompt) :].flatten().tolist()) - {model.decoder.pad}
        assert not written & set(model.config.decoder["suppressed"])  # not even where decoding would hide it


# --- saved ---


def test_saved_without_its_encoder_and_loaded_it_is_the_same(family: str, tmp_path: Path) -> None:
    model, tokenizer = translator(config(publish(tmp_path / "source", family), family))
    model.eval().save_pretrained(tmp_path / "model")
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert not [name for name in saved if "encoder." in name.replace("decoder.", "")]
    matrices = [name for name, weight in saved.items() if weight.ndim == 2 and weight.shape[0] == len(tokenizer)]
    assert len(matrices) == (2 if family == "mt5" else 1), matrices  # tied as the source ties them
    again = load_model(tmp_path / "model")
    x, mask = memory(model.decoder)
    inputs, _ = text_tensors(model.decoder, tokenizer(TEXTS[:3])["input_ids"])
    assert torch.equal(model.decoder.logits(x, mask, inputs), again.decoder.logits(x, mask, inputs))
    assert torch.equal(
        *(m.decoder.generate(x, mask, 2, scores=True, max_new_tokens=5).sequences_scores for m in (model, again))
    )
    source = again.config.decoder["source"]
    assert source["pretrained"] == str(tmp_path / "source") and len(source["weights_sha256"]) == 64


@pytest.mark.parametrize("layers", [1, 2])
def test_the_first_layers_can_be_kept(family: str, layers: int, tmp_path: Path) -> None:
    ours, _, _ = build(config(publish(tmp_path, family), family, layers=layers))
    whole, _, _ = build(config(tmp_path, family))
    kept = dict(whole.named_parameters())
    assert all(torch.equal(weight, kept[name]) for name, weight in ours.named_parameters())
    x, mask = memory(ours)
    out = ours.generate(x, mask, beam=2, max_new_tokens=4)
    assert out.sequences.shape[0] == 3


def test_dropout_is_the_entrys_or_the_models_own(tmp_path: Path) -> None:
    folder = publish(tmp_path, "mbart")
    for given, expected in ((None, 0.1), (0.3, 0.3)):
        ours, _, _ = build(config(folder, dropout=given))
        assert ours.seq2seq.config.dropout == expected
        assert ours.seq2seq.model.decoder.layers[0].dropout == expected


# --- memory against time ---


def test_gradient_checkpointing_changes_memory_and_not_results(family: str, tmp_path: Path) -> None:
    folder = publish(tmp_path, family)
    results, kept = [], []
    for checkpointing in (False, True):
        ours, tokenizer, _ = build(config(folder, family, gradient_checkpointing=checkpointing, dropout=0.2))
        x, mask = memory(ours)
        x.requires_grad_()
        inputs, labels = text_tensors(ours.train(), tokenizer(TEXTS[:3])["input_ids"])
        sizes: list[int] = []
        torch.manual_seed(1)
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t):
            loss = text_loss(ours.logits(x, mask, inputs), labels, 0.1)
        loss.backward()
        results.append([loss.detach(), x.grad, *(p.grad for p in ours.parameters() if p.grad is not None)])
        kept.append(sum(sizes))
    assert len(results[0]) == len(results[1])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert kept[1] < 0.6 * kept[0]


# --- the files of mbart-large-cc25 ---


@pytest.mark.parametrize("pickled", [True, False])
def test_mbart_from_the_published_files_in_either_weight_format(pickled: bool, tmp_path: Path) -> None:
    ours, tokenizer, rows = build(config(publish(tmp_path, "mbart", pickled=pickled)))
    name = "pytorch_model.bin" if pickled else "model.safetensors"
    published = torch.load(tmp_path / name, weights_only=True) if pickled else load_file(tmp_path / name)
    assert torch.equal(ours.seq2seq.lm_head.weight, published["model.shared.weight"][rows])
    assert torch.equal(ours.seq2seq.final_logits_bias, published["final_logits_bias"][:, rows])
    assert published["final_logits_bias"].any() and ours.seq2seq.config.encoder_layers == 0
    assert torch.equal(
        ours.seq2seq.model.decoder.layers[1].encoder_attn.k_proj.weight,
        published["model.decoder.layers.1.encoder_attn.k_proj.weight"],
    )
    assert tokenizer(TEXTS[0])["input_ids"][-1] == tokenizer.eos_token_id == 2


def test_mbart_with_all_its_250027_tokens(tmp_path: Path) -> None:
    codes = ["ar_AR", "de_DE", "en_XX"]
    corpus = pieces(TEXTS)
    filler = [(f"▁{i:x}g", -21.0) for i in range(250_027 - 5 - len(codes) - len(corpus))]
    tokenizer = unigram([*corpus, *filler], codes)
    ours, small, rows = build(config(publish(tmp_path, "mbart", tokenizer)))
    assert tokenizer.get_vocab_size() == 250_027 and len(rows) < 200
    assert small.convert_ids_to_tokens(ours.prompt) == ["de_DE"]
    assert small.batch_decode(small(TEXTS)["input_ids"], skip_special_tokens=True) == TEXTS
    assert same_logits(ours, small, rows, tmp_path, "mbart") >= 250_027


@pytest.mark.skipif(not MBART.is_dir(), reason="needs the shared PHOENIX mBART tokenizer")
def test_a_real_mbart_config_and_sentencepiece_model(tmp_path: Path) -> None:
    published = json.loads((MBART / "config.json").read_text())
    small = {"d_model": 32, **{f"{half}_{part}": 2 for half in ("encoder", "decoder") for part in ("layers",)}}
    small |= {f"{half}_attention_heads": 2 for half in ("encoder", "decoder")}
    small |= {f"{half}_ffn_dim": 48 for half in ("encoder", "decoder")}
    (tmp_path / "config.json").write_text(json.dumps({**published, **small}))
    (tmp_path / "sentencepiece.bpe.model").write_bytes((MBART / "sentencepiece.bpe.model").read_bytes())
    from transformers import AutoConfig

    whole = AutoModelForSeq2SeqLM.from_config(AutoConfig.from_pretrained(str(tmp_path)))
    torch.save(whole.state_dict(), tmp_path / "pytorch_model.bin")
    text = "morgen regnet es im norden ."
    ours, tokenizer, rows = build(config(tmp_path), [text])
    assert tokenizer.convert_ids_to_tokens(ours.prompt) == ["de_DE"] and len(rows) < 100
    # ids of transformers' own MBartTokenizer on these files
    assert rows[tokenizer(text)["input_ids"]].tolist() == [1002, 2256, 94, 183, 777, 22, 5, 4, 2]


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


def test_weights_that_would_run_code_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = publish(tmp_path / "source", "mbart", pickled=True)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(DataError, match="its weights cannot be loaded"):
        build(config(folder))
    assert not (tmp_path / "executed").exists()


def test_incomplete_or_cut_weights_are_named(tmp_path: Path) -> None:
    folder = publish(tmp_path, "mbart", pickled=True)
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    del state["model.decoder.layers.1.fc1.weight"]
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(
        DataError, match=r"lack 1 that the decoder needs, first `model\.decoder\.layers\.1\.fc1\.weight`"
    ):
        build(config(folder))
    whole = (publish(tmp_path / "cut", "mbart") / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(DataError, match="its weights cannot be loaded"):
        build(config(tmp_path / "cut"))


# --- parameters ---

ENTRY = {
    **{"pretrained": "hub:facebook/mbart-large-cc25@abc", "language_code": "de_DE", "trim_vocabulary": True},
    **{"gradient_checkpointing": True, "dropout": None, "max_tokens": 64, "tokens": 1},
}
SCRATCH = {
    "layers": 2,
    "width": 64,
    "heads": 2,
    "ffn": 64,
    "dropout": 0.1,
    "vocabulary": 99,
    "max_tokens": 9,
    "tokens": 1,
}


def test_an_entry_is_one_kind_of_decoder_and_a_mixed_one_names_the_key() -> None:
    def read(entry: dict[str, Any]) -> Any:
        return parse(decoder_class(entry), entry, WHERE)

    assert isinstance(read(ENTRY), PretrainedDecoderConfig) and read(ENTRY).layers is None
    assert isinstance(read(SCRATCH), DecoderConfig) and isinstance(read({**SCRATCH, "pretrained": None}), DecoderConfig)
    with pytest.raises(ConfigError, match=r"unknown key `demo\.decoders\.x\.width`"):
        read({**ENTRY, "width": 512})
    with pytest.raises(ConfigError, match=r"unknown key `demo\.decoders\.x\.language_code`"):
        read({**SCRATCH, "language_code": "de_DE"})
    with pytest.raises(ConfigError, match=r"missing key `demo\.decoders\.x\.trim_vocabulary`"):
        read({key: value for key, value in ENTRY.items() if key != "trim_vocabulary"})
    with pytest.raises(ConfigError, match="layers must be at least 1"):
        read({**ENTRY, "layers": 0})


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("mbart", {"language_code": None}, r"x\.language_code: null, but .* several languages.*de_DE, en_XX"),
        ("mbart", {"language_code": "de"}, r"x\.language_code: `de` is no language code of .*it has de_DE, en_XX"),
        ("t5", {"language_code": "de_DE"}, r"x\.language_code: `de_DE` .*set it to null"),
        ("whisper", {"language_code": None}, r"x\.language_code: null.*<\|en\|>, <\|de\|>"),
        ("mbart", {"max_tokens": 64}, r"x\.max_tokens: 64, but .* positions for 63 tokens"),
        ("whisper", {"max_tokens": 61}, r"x\.max_tokens: 61, but .* positions for 60 tokens"),
        ("mbart", {"layers": 3}, r"x\.layers: 3, but .* has a decoder of 2 layers"),
    ],
)
def test_an_entry_that_does_not_fit_the_model_is_named(
    family: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(config(publish(tmp_path, family), family, **changes))


def test_a_folder_that_holds_no_encoder_decoder_is_named(tmp_path: Path) -> None:
    folder = publish(tmp_path, "mbart")
    tokens = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="no tokenizer can be loaded"):
        build(config(folder))
    (folder / "tokenizer.json").write_text(tokens)
    published = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**published, "vocab_size": 9}))
    with pytest.raises(ConfigError, match="they do not belong together"):
        build(config(folder))
    for kind in ("bert", "no-such-model"):
        (folder / "config.json").write_text(json.dumps({"model_type": kind}))
        with pytest.raises(ConfigError, match=f"is a model of type `{kind}`.*such as mBART"):
            build(config(folder))
    (folder / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"no config\.json"):
        build(config(folder))


# --- in the pipeline ---


def test_scratch_starts_from_the_published_decoder_and_not_from_sem2text(tmp_path: Path) -> None:
    folder = publish(tmp_path / "source", "mbart")
    sem2text, _ = translator(config(folder))
    published = {name: weight.clone() for name, weight in sem2text.decoder.state_dict().items()}
    with torch.no_grad():  # what phase 2 would have done
        for parameter in sem2text.decoder.parameters():
            parameter.add_(0.1)
    sem2text.save_pretrained(tmp_path / "sem2text")
    sem2text = load_model(tmp_path / "sem2text")
    encoder = random_transformer(1, 16, 2, 16, 0.0, 32)
    sign2sem = SignTranslator(SignTranslatorConfig(feature_dim=4, sem_dim=8, encoder=encoder))
    scratch = join(sign2sem, sem2text, SystemConfig("frames", 1.0, 0.0, "scratch"), seed=1)
    joined = join(sign2sem, sem2text, SystemConfig("frames", 1.0, 0.0, "pretrained"), seed=1)
    for name, weight in published.items():
        assert torch.equal(scratch.decoder.state_dict()[name], weight), name
        assert torch.equal(joined.decoder.state_dict()[name], sem2text.decoder.state_dict()[name]), name
    assert not torch.equal(joined.decoder.seq2seq.lm_head.weight, scratch.decoder.seq2seq.lm_head.weight)
    other = publish(tmp_path / "other", "mbart", pickled=True) / "pytorch_model.bin"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(other.read_bytes())
    with pytest.raises(DataError, match="not the weights that this decoder was made of"):
        join(sign2sem, sem2text, SystemConfig("frames", 1.0, 0.0, "scratch"), seed=1)


def phase_of(settings: PretrainedDecoderConfig, texts: list[str], steps: int, lr: float) -> tuple[Sem2text, Any]:
    model, tokenizer = new_decoder(settings, Source.open(settings.pretrained, WHERE), texts, 8, SPACE, 0, WHERE)
    training = TrainingConfig(lr, "constant", 1, steps, 256, 1, steps, None, 0.0, 1.0, 0.0, "float32")
    sems = rng(0).standard_normal((len(texts), 8), dtype=np.float32)
    parts = (texts, sems, ["de"] * len(texts))
    return Sem2text(
        model, tokenizer, Sem2textConfig(False, 0.0, training, 0), settings.max_tokens, parts, parts
    ), training


def test_sem2text_trains_it_through_the_stages_own_loop(family: str, tmp_path: Path) -> None:
    phase, training = phase_of(config(publish(tmp_path / "source", family), family), TEXTS, 120, 0.01)
    assert phase.unknown == 0 and phase.cut == 0
    run = train(phase, replace(training, validate_every=20), 0, tmp_path)
    losses = [value for _, value in run.scores("train_loss_text")]
    assert losses[-1] < 0.5 * losses[0], losses
    assert run.best > 10


@pytest.mark.skipif(not WHISPER.is_dir(), reason="needs the shared Whisper decoder")
def test_a_real_pretrained_decoder_prefers_a_sentence_to_its_words_shuffled_and_learns(tmp_path: Path) -> None:
    texts = ["Morgen regnet es im Norden.", "Am Abend schneit es in den Bergen.", "Der Wind weht schwach aus Osten."]
    ours, tokenizer, _ = build(config(WHISPER, "whisper"), texts)
    words = ["Morgen regnet es im Norden.", "es Norden. im regnet Morgen"]
    inputs, labels = text_tensors(ours, tokenizer(words)["input_ids"])
    losses = [
        float(
            text_loss(ours.logits(torch.zeros(1, 1, 512), torch.ones(1, 1), inputs[i : i + 1]), labels[i : i + 1], 0.0)
        )
        / int((labels[i] >= 0).sum())
        for i in range(2)
    ]
    assert losses[0] < losses[1] - 0.5, losses
    phase, training = phase_of(config(WHISPER, "whisper"), texts, 16, 2e-4)
    run = train(phase, replace(training, validate_every=8), 0, tmp_path)
    curve = [value for _, value in run.scores("train_loss_text")]
    assert curve[-1] < 0.6 * curve[0], curve
    for result in translate(phase.model, tokenizer, Search(3, 1.0, 24, 3), sems=phase.sems):
        assert result.sentences[0] and "<|" not in result.sentences[0]
