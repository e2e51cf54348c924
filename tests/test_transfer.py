"""A model of one corpus on another's clips: whose clips, whose sentences, whose space, and what must be the same."""

import copy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from test_models import IDS

from slt import paths
from slt.config.base import parse, read_params
from slt.config.data import FeaturesConfig, FramesConfig
from slt.decoding import Search, encode_clips, translate
from slt.errors import DataError
from slt.experiments import Trial
from slt.experiments_transfer import transfer_folders, transferred
from slt.experiments_unseen import check_unseen, check_workspace
from slt.manifest import SPLITS, Clip, read_manifest, write_manifest
from slt.model_folder import load_model
from slt.models.sign_encoder import random_transformer
from slt.models.text_decoder import sltr
from slt.models.translator import SignTranslator, SignTranslatorConfig
from slt.precomputed import make_precomputed
from slt.sem_space import SemSpace
from slt.store import read_json, write_json, write_table
from slt.targets import Targets
from slt.teacher import pack_vectors
from slt.tokenizer import load_tokenizer, train_tokenizer

ROOT = Path(__file__).parent.parent
DIM, SIZE = 12, 8
FEATURES = FeaturesConfig("precomputed", "ours", "avg", 1, "float32", gloss_free=True)
WORDS = ["rain", "snow", "wind", "fog", "sun", "frost", "ice", "hail"]
TEACHER = {"model": "t", "sha256": "0", "size": SIZE, "prompt": "", "normalize": False, "center": True, "truncated": 0}


def corpus(root: Path, name: str, seed: int) -> None:
    draw = np.random.default_rng(seed)
    clips = []
    for split, count in zip(SPLITS, (8, 4, 6), strict=True):
        for i in range(count):
            file = root / "npy" / f"{name}-{split}-{i}.npy"
            file.parent.mkdir(exist_ok=True)
            np.save(file, draw.standard_normal((5 + i, DIM)).astype(np.float32))
            text = f"{draw.choice(WORDS)} and {draw.choice(WORDS)} in {name}" if i else "rain everywhere"
            clips.append(Clip(f"{name}-{split}-{i}", split, "en", "mis", "", text, signer="s", features=str(file)))
    manifest = root / paths.corpus_dir(name) / "manifest.parquet"
    write_manifest(manifest, clips, {"gloss_free": True})
    make_precomputed(FEATURES, manifest, root / paths.features_dir(name))
    vectors = draw.standard_normal((len(clips), SIZE)).astype(np.float32) + seed
    folder = root / paths.targets_dir(name, "t")
    write_table(folder / "targets.parquet", pa.table({"id": [c.id for c in clips], "sem": pack_vectors(vectors)}))
    write_json(folder / "targets.json", TEACHER)
    write_json(folder / "sem_space.json", SemSpace.fit(vectors[:8], False, True).to_json())


def finetuned(root: Path, params: dict[str, Any]) -> None:
    """An untrained row of corpus `a`, as the finetune stage leaves one."""
    torch.manual_seed(0)
    tokens = train_tokenizer(WORDS * 3, 300)
    frames = asdict(parse(FramesConfig, params["b"]["frames"], "b.frames"))
    features = read_json(root / paths.features_dir("a") / "features.json")["backbone"]
    model = SignTranslator(
        SignTranslatorConfig(
            feature_dim=DIM,
            sem_dim=SIZE,
            encoder=random_transformer(1, 16, 2, 32, 0.0, 64),
            decoder=sltr(1, 16, 2, 32, 0.0, 300, 32, IDS),
            tokens=2,
            sem_space=read_json(root / paths.targets_dir("a", "t") / "sem_space.json"),
            pipeline={"frames": frames, "features": features},
        )
    )
    folder = root / paths.finetune_dir("row")
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    write_json(folder / "training.json", {"steps": 3, "plateaued": True})
    (folder / "curves.csv").write_text("step,series,value\n1,dev_bleu,0.5\n")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLT_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("SLT_DEVICE", "cpu")
    for seed, name in enumerate("ab"):
        corpus(tmp_path, name, seed)
    finetuned(tmp_path, params())
    return tmp_path


def params() -> dict[str, Any]:
    demo = copy.deepcopy(read_params(ROOT / "params.yaml")["demo"])
    demo["evaluate"].update(resamples=50, confidence=0.9, max_tokens=8, beam=2)
    return {"a": demo, "b": copy.deepcopy(demo)}


TRIAL = Trial("b-transfer-a", "b", {"corpus": "a"}, 1, "t", "sltr", (), {"sign2semtext": "row"}, False, "a")


def test_the_models_words_and_sems_for_the_other_corpus_clips(root: Path) -> None:
    assert all((root / path).exists() for path in transfer_folders(TRIAL))
    found = transferred(TRIAL, params(), root)["sign2semtext"]
    clips = [clip for clip in read_manifest(root / paths.corpus_dir("b") / "manifest.parquet") if clip.split == "test"]
    records = found.select("test", "model")
    assert [(r.id, r.reference) for r in records] == [(clip.id, clip.text) for clip in clips]
    folder = root / paths.finetune_dir("row")
    model = load_model(folder)
    arrays = [np.load(str(clip.features)).astype(np.float16) for clip in clips]
    alone = translate(model, load_tokenizer(folder), Search(2, 1.0, 8, 50), clips=arrays)
    assert [r.hypothesis for r in records] == [one.sentences[0] for one in alone]
    assert found.sems is not None and found.sems.ids == tuple(clip.id for clip in clips)
    np.testing.assert_allclose(found.sems.predicted, encode_clips(model, arrays, 50), atol=1e-6)
    spaces = {name: Targets.open(root / paths.targets_dir(name, "t")) for name in "ab"}
    raw = spaces["b"].raw([clip.id for clip in clips])
    np.testing.assert_allclose(found.sems.true, spaces["a"].space.apply(raw), atol=1e-6)
    assert not np.allclose(found.sems.true, spaces["b"].space.apply(raw), atol=0.1)
    # what was seen in training is told by the corpus that was trained on
    assert [r.reference_in_train for r in records] == [True, *[False] * 5]
    assert found.info.provenance["gloss_supervision"] is False
    assert found.info.provenance["trained_on"] == "a" and found.info.training["steps"] == 3
    assert "recall_at_1" in found.scores["diagnostics"]["test"]["retrieval"]
    assert len(found.select("dev", "model")) == 4


def change_train(root: Path, **fields: Any) -> None:
    """A train clip of `a` that is something else, under the name it has."""
    path = root / paths.corpus_dir("a") / "manifest.parquet"
    clips = [replace(clip, **fields) if clip.id == "a-train-3" else clip for clip in read_manifest(path)]
    write_manifest(path, clips, {"gloss_free": True})


def test_a_tested_clip_that_the_other_corpus_trained_on_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_train(root, features=str(root / "npy" / "b-test-2.npy"))
    message = "1 dev and test clips of b are train clips of a, the first `b-test-2`, there `a-train-3`"
    with pytest.raises(DataError, match=message):
        transferred(TRIAL, params(), root)
    # before anything is trained, where the workspace has both corpora
    monkeypatch.chdir(root)
    (root / "params.yaml").write_text(yaml.safe_dump(params()))
    with pytest.raises(DataError, match=message):
        check_workspace([TRIAL], params())
    changed = params()
    changed["a"]["corpus"]["options"]["seed"] = 7  # not the corpus that lies here
    check_workspace([TRIAL], changed)


@pytest.mark.parametrize(
    ("tested", "trained", "same"),
    [
        ({"video": "raw:x/v.mp4"}, {"video": "raw:x/v.mp4"}, True),
        ({"video": "raw:x/v.mp4"}, {"video": "raw:y/v.mp4"}, False),
        ({"fingerprint": "sha256:1"}, {"video": "copy.mp4", "fingerprint": "sha256:1"}, True),
        # as two files of one archive that gave all its files one time
        ({"fingerprint": "stat:1:2"}, {"video": "copies/v.mp4", "fingerprint": "stat:1:2"}, False),
        ({"start": 1.0, "end": 3.0}, {"start": 1.0, "end": 3.0}, True),
        ({"start": 1.0, "end": 3.0}, {"start": 1.1, "end": 3.2}, True),
        ({"start": 1.0, "end": 3.0}, {}, True),
        ({"start": 1.0}, {"start": 0.5}, True),
        ({"start": 1.0, "end": 3.0}, {"start": 2.98, "end": 6.0}, False),
        ({"split": "train"}, {}, False),
    ],
)
def test_a_clip_is_known_by_its_stretch_of_video_or_its_content(
    tested: dict[str, Any], trained: dict[str, Any], same: bool
) -> None:
    plain = Clip("x", "test", "en", "mis", "v.mp4", "a text")
    pair = [replace(plain, **tested)], [replace(plain, id="y", split="train", **trained)]
    if same:
        with pytest.raises(DataError, match="the first `x`, there `y`"):
            check_unseen(TRIAL, *pair)
    else:
        check_unseen(TRIAL, *pair)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("frames", "frames of b and of a differ in `size`"),
        ("features", "features of b and of a differ in `weights`"),
        ("teacher", "teacher of b and of a differ in `sha256`"),
    ],
)
def test_what_was_not_made_alike_is_refused(what: str, message: str, root: Path) -> None:
    changed = params()
    if what == "frames":
        changed["b"]["frames"]["size"] = 64
    elif what == "features":
        path = root / paths.features_dir("b") / "features.json"
        index = read_json(path)
        write_json(path, {**index, "backbone": {**index["backbone"], "weights": "theirs"}})
    else:
        write_json(root / paths.targets_dir("b", "t") / "targets.json", {**TEACHER, "sha256": "1"})
    with pytest.raises(DataError, match=message):
        transferred(TRIAL, changed, root)
