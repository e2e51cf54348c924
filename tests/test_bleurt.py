"""BLEURT's own code path on a tiny random checkpoint in the layout of BLEURT-20's PyTorch checkpoints.

What is verified: the layout is read, encoder and head compute what a BERT with factorised embeddings computes (against
one written out here), and the score is bootstrapped. What only a real checkpoint can show: test_the_published_scores.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece as spm
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from slt.bleurt import load_bleurt
from slt.bootstrap import bootstrap, draw
from slt.config.evaluate import EvaluateConfig, IntervalConfig
from slt.errors import ConfigError, DataError, StoreError
from slt.evaluations import Record
from slt.metrics import Statistics, bleurt_statistics
from slt.score_files import score_files
from slt.scoring import score_folder

SETTINGS: dict[str, Any] = {
    "model_type": "bleurt",
    "architectures": ["BleurtForSequenceClassification"],
    "embedding_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "hidden_act": "gelu",
    "max_position_embeddings": 40,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "hidden_dropout_prob": 0.0,
}
SENTENCE = "am Tag regnet es im Norden und nachts schneit es auf den Höhen Wind aus West"
TEXT = SENTENCE.split()
REFERENCES = ["am Tag regnet es", "nachts schneit es auf den Höhen", "Wind aus West", "im Norden Wind"]
HYPOTHESES = ["am Tag schneit es", "nachts schneit es auf den Höhen", "", "Wind im Norden und im Westen"]


def random_weights(vocabulary: int, settings: dict[str, Any] = SETTINGS) -> dict[str, torch.Tensor]:
    """Weights under the names of the PyTorch checkpoints."""
    e, h, f = (settings[key] for key in ("embedding_size", "hidden_size", "intermediate_size"))
    shapes: dict[str, tuple[int, ...]] = {
        "bleurt.embeddings.word_embeddings.weight": (vocabulary, e),
        "bleurt.embeddings.position_embeddings.weight": (settings["max_position_embeddings"], e),
        "bleurt.embeddings.token_type_embeddings.weight": (2, e),
        "bleurt.embeddings.LayerNorm.weight": (e,),
        "bleurt.embeddings.LayerNorm.bias": (e,),
        "bleurt.encoder.embedding_projection.weight": (h, e),
        "bleurt.encoder.embedding_projection.bias": (h,),
        "bleurt.pooler.dense.weight": (h, h),
        "bleurt.pooler.dense.bias": (h,),
        "classifier.weight": (1, h),
        "classifier.bias": (1,),
    }
    for layer in range(settings["num_hidden_layers"]):
        parts = {f"attention.self.{name}": (h, h) for name in ("query", "key", "value")}
        parts |= {"attention.output.dense": (h, h), "intermediate.dense": (f, h), "output.dense": (h, f)}
        for name, shape in parts.items():
            shapes[f"bleurt.encoder.layer.{layer}.{name}.weight"] = shape
            shapes[f"bleurt.encoder.layer.{layer}.{name}.bias"] = shape[:1]
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"bleurt.encoder.layer.{layer}.{name}.weight"] = (h,)
            shapes[f"bleurt.encoder.layer.{layer}.{name}.bias"] = (h,)
    generator = torch.Generator().manual_seed(5)
    return {name: torch.randn(shape, generator=generator) * 0.4 for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "BLEURT-tiny"
    folder.mkdir()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(TEXT[i:] + TEXT[:i]) for i in range(len(TEXT))]),
        model_prefix=str(folder / "spm"),
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        pad_piece="[PAD]",
        unk_piece="[UNK]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        minloglevel=2,
    )
    vocabulary = spm.SentencePieceProcessor(model_file=str(folder / "spm.model")).get_piece_size()
    weights = random_weights(vocabulary)
    weights["bleurt.embeddings.position_ids"] = torch.arange(40)[None]  # a buffer that older checkpoints carry
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({**SETTINGS, "vocab_size": vocabulary}))
    return folder


def copy(checkpoint: Path, folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    for path in checkpoint.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, **changes}))
    return folder


def bert(weights: dict[str, torch.Tensor], ids: list[int], segments: list[int]) -> float:
    """BERT with factorised embeddings and a linear unit on tanh(dense(first position)), one pair without padding."""

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ weights[name + ".weight"].T + weights[name + ".bias"]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], weights[name + ".weight"], weights[name + ".bias"], eps=1e-12)

    embed = "bleurt.embeddings."
    x = weights[embed + "word_embeddings.weight"][ids] + weights[embed + "token_type_embeddings.weight"][segments]
    x = norm(x + weights[embed + "position_embeddings.weight"][: len(ids)], embed + "LayerNorm")
    x = linear(x, "bleurt.encoder.embedding_projection")
    for layer in range(2):
        at = f"bleurt.encoder.layer.{layer}."
        q, k, v = (
            linear(x, at + f"attention.self.{n}").view(-1, 4, 4).transpose(0, 1) for n in ("query", "key", "value")
        )
        context = (torch.softmax(q @ k.transpose(1, 2) / math.sqrt(4), dim=-1) @ v).transpose(0, 1).reshape(-1, 16)
        x = norm(x + linear(context, at + "attention.output.dense"), at + "attention.output.LayerNorm")
        inner = F.gelu(linear(x, at + "intermediate.dense"))
        x = norm(x + linear(inner, at + "output.dense"), at + "output.LayerNorm")
    return float(linear(torch.tanh(linear(x[0], "bleurt.pooler.dense")), "classifier"))


def test_scores_are_those_of_the_model_written_out(checkpoint: Path) -> None:
    scorer = load_bleurt(str(checkpoint))
    pieces = spm.SentencePieceProcessor(model_file=str(checkpoint / "spm.model"))
    weights = random_weights(pieces.get_piece_size())
    expected = []
    for reference, hypothesis in zip(REFERENCES, HYPOTHESES, strict=True):
        first, second = pieces.encode(reference), pieces.encode(hypothesis)
        ids = [2, *first, 3, *second, 3]
        expected.append(bert(weights, ids, [0] * (len(first) + 2) + [1] * (len(second) + 1)))
    assert scorer(HYPOTHESES, REFERENCES) == pytest.approx(expected, abs=1e-5)
    assert len({round(score, 3) for score in expected}) == 4


def test_a_sentences_score_does_not_depend_on_its_neighbours(checkpoint: Path) -> None:
    scorer = load_bleurt(str(checkpoint))
    together = scorer(HYPOTHESES * 20, REFERENCES * 20)
    alone = [scorer([h], [r])[0] for h, r in zip(HYPOTHESES, REFERENCES, strict=True)]
    assert together == pytest.approx(alone * 20, abs=1e-5)


def test_a_pair_that_is_too_long_is_cut_as_the_authors_do(checkpoint: Path, caplog: pytest.LogCaptureFixture) -> None:
    scorer = load_bleurt(str(checkpoint))
    long = " ".join(TEXT * 5)
    kept = scorer.pieces.encode("Wind")
    ids, own = scorer._pair(scorer.pieces.encode(long), list(kept))
    assert len(ids) == 40
    assert ids[own:-1] == kept  # the short one stays whole
    assert ids[1 : own - 1] == scorer.pieces.encode(long)[: 37 - len(kept)]
    assert len(scorer([long], [long])) == 1
    assert "1 of 1 pairs are longer than 37 tokens and are cut" in caplog.text


def test_the_corpus_score_is_the_mean_with_the_shared_bootstrap(checkpoint: Path) -> None:
    statistics = bleurt_statistics(HYPOTHESES * 10, REFERENCES * 10, str(checkpoint))
    assert isinstance(statistics, Statistics)
    scores = 100 * np.array(load_bleurt(str(checkpoint))(HYPOTHESES * 10, REFERENCES * 10))
    score = bootstrap(statistics, draw(40))
    assert score.value == pytest.approx(scores.mean())
    picked = np.random.default_rng(12345).choice(40, size=(1000, 40), replace=True)
    assert (score.low, score.high) == pytest.approx(tuple(np.sort(scores[picked].mean(axis=1))[[25, 974]]))
    assert score.signature.startswith("nrefs:1|bs:1000|seed:12345|model:BLEURT-tiny@sha256:")
    assert score.signature.endswith("|scale:100")


def test_evaluate_and_slt_score_give_it_when_a_checkpoint_is_named(checkpoint: Path, tmp_path: Path) -> None:
    records = [
        Record(str(i), "test", "model", HYPOTHESES[i % 4], REFERENCES[i % 4], (), None, None, False) for i in range(40)
    ]
    config = EvaluateConfig(beam=1, length_penalty=1.0, max_tokens=9, batch=1, bleurt=str(checkpoint))
    ordered = sorted(records, key=lambda record: record.id)
    evaluated = score_folder(records, config)["test"]["model"]["bleurt"]
    for name, lines in (("hyp", [r.hypothesis for r in ordered]), ("ref", [r.reference for r in ordered])):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    hyp, ref = tmp_path / "hyp", tmp_path / "ref"
    scored = score_files(hyp, [ref], ref, config=IntervalConfig(), bleurt=str(checkpoint))
    assert scored["scores"]["bleurt"] == evaluated
    assert evaluated["value"] is not None
    assert scored["baseline"]["tests"]["bleurt"]["p_value"] < 0.05


def test_a_pickled_checkpoint_is_read_without_running_it(checkpoint: Path, tmp_path: Path) -> None:
    folder = copy(checkpoint, tmp_path / "bin")
    (folder / "model.safetensors").unlink()
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    torch.save(random_weights(vocabulary), folder / "pytorch_model.bin")
    assert load_bleurt(str(folder))(HYPOTHESES, REFERENCES) == pytest.approx(
        load_bleurt(str(checkpoint))(HYPOTHESES, REFERENCES)
    )

    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "owned"),)

    torch.save({"classifier.weight": Malicious()}, folder / "pytorch_model.bin")
    load_bleurt.cache_clear()
    with pytest.raises(StoreError, match=r"pytorch_model\.bin: unreadable weights"):
        load_bleurt(str(folder))
    assert not (tmp_path / "owned").exists()


def test_what_is_no_such_checkpoint_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        load_bleurt(str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"no BLEURT-20 checkpoint \(model type `bert`"):
        load_bleurt(str(copy(checkpoint, tmp_path / "a", model_type="bert")))
    with pytest.raises(ConfigError, match="embedding size None"):
        load_bleurt(str(copy(checkpoint, tmp_path / "b", embedding_size=None)))
    with pytest.raises(StoreError, match=r"weights do not fit .*, the first: rembert"):
        load_bleurt(str(copy(checkpoint, tmp_path / "c", num_hidden_layers=3)))
    folder = copy(checkpoint, tmp_path / "d")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:200])
    with pytest.raises(StoreError, match=r"model\.safetensors: unreadable weights"):
        load_bleurt(str(folder))
    folder = copy(checkpoint, tmp_path / "e")
    (folder / "spm.model").unlink()
    with pytest.raises(DataError, match=r"spm\.model: no such file"):
        load_bleurt(str(folder))
    (folder / "spm.model").write_bytes(b"no model")
    with pytest.raises(StoreError, match="no SentencePiece model"):
        load_bleurt(str(folder))


@pytest.mark.skipif("SLT_BLEURT" not in os.environ, reason="SLT_BLEURT names no BLEURT-20 checkpoint")
def test_the_published_scores() -> None:
    """The two scores on the model card of lucadiliello/BLEURT-20."""
    references = ["a bird chirps by the window", "this is a random sentence"]
    hypotheses = ["a bird chirps by the window", "this looks like a random sentence"]
    scores = load_bleurt(os.environ["SLT_BLEURT"])(hypotheses, references)
    assert scores == pytest.approx([0.9990496635437012, 0.7930182218551636], abs=1e-4)
