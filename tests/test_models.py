"""Padding has no influence, a batch of one equals a batch of many, and a saved model is the model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from slt.batching import pad_features
from slt.decoding import Search, encode_clips, translate
from slt.model_folder import load_model
from slt.models.sign_encoder import MaskedBatchNorm, copy_teacher, masked_mean, random_transformer, teacher_transformer
from slt.models.text_decoder import sltr
from slt.models.translator import SignTranslator, SignTranslatorConfig
from slt.tokenizer import train_tokenizer
from slt.translate import Result

TEXTS = ["Tomorrow it will rain in the north.", "Snow falls in the south.", "The wind is weak tonight."] * 3
IDS = {"pad": 1, "bos": 0, "eos": 2}


def tiny(memory: str = "sem+frames", tokens: int = 12) -> SignTranslator:
    torch.manual_seed(0)
    config = SignTranslatorConfig(
        feature_dim=20,
        encoder=random_transformer(2, 32, 2, 64, 0.1, 64),
        decoder=sltr(2, 48, 2, 64, 0.1, 300, 32, IDS),
        memory=memory,
        tokens=tokens,
    )
    return SignTranslator(config).eval()


@pytest.fixture
def clips() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.standard_normal((length, 20)).astype(np.float16) for length in (3, 17, 9, 5)]


def test_masked_batch_norm_equals_batch_norm_over_the_valid_frames_alone() -> None:
    torch.manual_seed(0)
    x, mask = torch.randn(3, 5, 4), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]])
    x[mask == 0] = float("nan")
    ours, plain = MaskedBatchNorm(4), nn.BatchNorm1d(4)
    out = ours(x, mask)
    assert torch.equal(out[mask.bool()], plain(x[mask.bool()]))
    assert torch.equal(ours.running_var, plain.running_var)
    assert torch.equal(out[~mask.bool()], torch.zeros(5, 4))


def test_pooling_ignores_garbage_in_the_padding() -> None:
    x, mask = torch.ones(2, 4, 3), torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    x[0, 2:] = float("inf")
    assert torch.equal(masked_mean(x, mask), torch.ones(2, 3))


@pytest.mark.parametrize("garbage", [1e4, float("nan")])
def test_encoder_ignores_garbage_in_the_padding_exactly(clips: list[np.ndarray], garbage: float) -> None:
    model = tiny()
    features, mask = pad_features(clips)
    dirty = features.clone()
    dirty[mask == 0] = garbage
    states, sem = model.encode(features, mask)
    dirty_states, dirty_sem = model.encode(dirty, mask)
    assert torch.equal(sem, dirty_sem)
    assert torch.equal(states[mask.bool()], dirty_states[mask.bool()])


@pytest.mark.parametrize("memory", ["frames", "sem+frames"])
def test_decoder_ignores_garbage_in_the_memory_padding_exactly(memory: str) -> None:
    model = tiny(memory)
    torch.manual_seed(1)
    states, sem, mask = torch.randn(2, 6, 32), torch.randn(2, 384), torch.tensor([[1, 1, 1, 0, 0, 0], [1] * 6])
    filled, valid = model.build_memory(sem, states, mask)
    inputs = torch.randint(3, 300, (2, 7))
    clean = model.decoder.logits(filled, valid, inputs)
    filled[valid == 0] = 1e4
    assert torch.equal(clean, model.decoder.logits(filled, valid, inputs))


def test_decoder_without_its_mask_would_be_caught() -> None:
    model = tiny("frames")
    torch.manual_seed(1)
    memory, inputs = torch.randn(2, 6, 48), torch.randint(3, 300, (2, 7))
    everything = torch.ones(2, 6)
    changed = memory.clone()
    changed[0, 3:] = 1e4
    assert not torch.equal(
        model.decoder.logits(memory, everything, inputs), model.decoder.logits(changed, everything, inputs)
    )


def test_a_batch_of_one_equals_a_batch_of_many(clips: list[np.ndarray]) -> None:
    model, tokenizer = tiny(), train_tokenizer(TEXTS, 300)
    together = encode_clips(model, clips, batch=4)
    alone = np.concatenate([encode_clips(model, [clip], batch=1) for clip in clips])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    search = Search(beam=3, length_penalty=1.0, max_tokens=12, batch=4, n_best=2, scores=True)
    many = translate(model, tokenizer, search, clips=clips)
    single = [translate(model, tokenizer, search, clips=[clip])[0] for clip in clips]
    assert [one.sentences for one in many] == [one.sentences for one in single]
    np.testing.assert_allclose([one.scores for one in many], [one.scores for one in single], atol=1e-4)
    kept: list[Any] = []
    generate = model.decoder.generate
    with mock.patch.object(model.decoder, "generate", lambda *a, **k: (kept.append(generate(*a, **k)), kept[-1])[1]):
        unscored = translate(model, tokenizer, replace(search, scores=False), clips=clips)
    assert [(one.sentences, one.scores) for one in unscored] == [(one.sentences, None) for one in many]
    assert [output.scores for output in kept] == [None]  # else every step's, of all beams over the whole vocabulary


def test_a_translation_without_scores_is_json() -> None:
    found = Result("clip", 3, ["a", "b"], None, []).to_json()
    assert [entry["score"] for entry in json.loads(json.dumps(found, allow_nan=False))["n_best"]] == [None, None]


def test_sems_of_long_sentences_are_written_together_and_in_their_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = tiny("sem"), train_tokenizer(TEXTS, 300)
    sems = np.random.default_rng(0).standard_normal((4, 384)).astype(np.float32)
    search, seen = Search(beam=3, length_penalty=1.0, max_tokens=12, batch=2), []
    plain = translate(model, tokenizer, search, sems=sems)
    build = model.build_memory
    monkeypatch.setattr(model, "build_memory", lambda given: (seen.append(given.numpy()), build(given))[1])
    ordered = translate(model, tokenizer, search, sems=sems, references=["a b", "a b c d e", "a", "a b c d"])
    assert np.array_equal(np.concatenate(seen), sems[[1, 3, 0, 2]])
    assert [one.sentences for one in ordered] == [one.sentences for one in plain]


def test_saved_and_loaded_model_gives_the_same_numbers(clips: list[np.ndarray], tmp_path: Path) -> None:
    model = tiny()
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert np.array_equal(encode_clips(model, clips, 2), encode_clips(again, clips, 2))
    memory, mask = model.build_memory(*_given(model, clips))
    inputs = torch.randint(3, 300, (4, 5))
    assert torch.equal(model.decoder.logits(memory, mask, inputs), again.decoder.logits(memory, mask, inputs))


def _given(model: SignTranslator, clips: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    features, mask = pad_features(clips)
    states, sem = model.encode(features, mask)
    return sem.detach(), states.detach(), mask


def test_greedy_search_equals_argmax_without_a_cache(clips: list[np.ndarray]) -> None:
    model = tiny("sem")
    sem = torch.randn(2, 384, generator=torch.Generator().manual_seed(0))
    memory, mask = model.build_memory(sem)
    found = model.decoder.generate(memory, mask, beam=1, max_new_tokens=6).sequences
    ids = torch.zeros(2, 1, dtype=torch.long)
    for _ in range(6):
        ids = torch.cat([ids, model.decoder.logits(memory, mask, ids)[:, -1:].argmax(-1)], 1)
    length = min(found.shape[1], 6)  # the seventh is the forced end token
    assert torch.equal(found[:, :length], ids[:, :length])


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "mpnet"])
def test_encoder_starts_from_a_teacher_of_any_bert_like_family(family: str) -> None:
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = AutoConfig.for_model(family, vocab_size=50, max_position_embeddings=40, **sizes)
    teacher = AutoModel.from_config(config)
    model = SignTranslator(
        SignTranslatorConfig(feature_dim=8, sem_dim=32, encoder=teacher_transformer(teacher, 0.0))
    ).eval()
    copy_teacher(model.encoder, teacher)
    for name, weight in model.encoder.transformer.state_dict().items():
        if "word_embeddings" not in name and "token_type" not in name:
            assert torch.equal(weight, teacher.state_dict()[name]), name
    sem = model.encode(*pad_features([np.ones((5, 8))]))[1]
    assert sem.shape == (1, 32) and bool(sem.isfinite().all())
