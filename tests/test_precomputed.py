"""Features that a corpus brings: pickles that do harm are refused, damage is named, gloss is never hidden."""

import collections
import gzip
import os
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import timm
import torch
from test_models import TEXTS, tiny
from test_video import pictures

from slt.config.data import CorpusConfig, FeaturesConfig, FramesConfig
from slt.corpora import Reading, phoenix14t_pami0, read_corpus, report
from slt.corpora.phoenix14t_pami0 import describe
from slt.decoding import Search
from slt.errors import ConfigError, DataError
from slt.feature_set import FeatureSet
from slt.frames import make_frames
from slt.manifest import SPLITS, Clip, read_features_source, write_manifest
from slt.model_folder import save_neighbours
from slt.pickles import read_pickle
from slt.precomputed import make_precomputed
from slt.reports import Notes, gloss_mark
from slt.store import read_json
from slt.tokenizer import train_tokenizer
from slt.translate import ClipTranslator

NONE = {"train": 0, "dev": 0, "test": 0}
FRAMES = FramesConfig(size=16, fit="stretch", stride=1, quality=95, clips_per_shard=4)
PAMI0 = FeaturesConfig("precomputed", "pami0", "avg", 1, "float32", gloss_free=False)
DIM = 20


def sign(length: int, seed: int = 0, dim: int = DIM) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((length, dim)).astype(np.float32))


def record(split: str, i: int, **changes: Any) -> dict[str, Any]:
    """A record as neccam/slt's files hold it: the stop is there, and further keys that we do not read."""
    known = {
        "name": f"{split}/01April_2010_Thursday_heute-{split}{i}",
        "signer": "Signer04",
        "gloss": "MORGEN REGEN ",
        "text": "morgen regnet es .",
        "sign": sign(3 + i, i + 100 * SPLITS.index(split)),
        "num_frames": 3 + i,
    }
    return {**known, **changes}


def write(path: Path, content: Any, protocol: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb") as file:
        pickle.dump(content, file, protocol=protocol)


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The three files under the publisher's names below SLT_RAW: 4 train, 2 dev, 1 test clip."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLT_RAW", str(tmp_path / "raw"))
    monkeypatch.setenv("SLT_DEVICE", "cpu")
    monkeypatch.setenv("SLT_WORKERS", "1")
    monkeypatch.delenv("SLT_WORK", raising=False)
    for split, count in zip(SPLITS, (4, 2, 1), strict=True):
        write(tmp_path / "raw" / f"phoenix14t.pami0.{split}", [record(split, i) for i in range(count)])
    return tmp_path / "raw"


def section(**options: Any) -> CorpusConfig:
    files = {split: [f"raw:phoenix14t.pami0.{split}"] for split in SPLITS}
    return CorpusConfig("phoenix14t_pami0", "de", "gsg", dict.fromkeys(SPLITS, 9), {"files": files, **options})


def read(**options: Any) -> Reading:
    """The corpus where the corpus stage publishes it."""
    return read_corpus(section(**options), "phoenix14t", Path("data/phoenix14t/corpus"))


@pytest.fixture
def manifest(raw: Path) -> Path:
    reading = read()
    path = Path("data/phoenix14t/corpus/manifest.parquet")
    write_manifest(path, reading.clips, reading.features)
    return path


class Touch:
    """What an attacker writes: a call that unpickling makes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    whole = sign(6)
    content = {
        "f32": whole,
        "f16": whole.half(),
        "int": torch.arange(4),
        "view": whole[2:4],
        "turned": whole.t(),
        "empty": torch.empty(0),
        "plain": [1, 2.5, None, True, "ä", b"b", ("t",), collections.OrderedDict(a=1)],
    }
    for protocol in (4, 5):
        write(tmp_path / "x", content, protocol)
        found = read_pickle(tmp_path / "x")
        for key in ("f32", "f16", "int", "view", "turned", "empty"):
            assert np.array_equal(found[key], content[key].numpy()), key
        assert found["plain"] == content["plain"]


def test_a_pickle_that_runs_code_is_refused_and_does_not_run_it(tmp_path: Path) -> None:
    marker = tmp_path / "touched"
    write(tmp_path / "x", [record("train", 0, gloss=Touch(marker))])
    with pytest.raises(DataError, match=r"x: refused: this pickle wants `posix\.system`"):
        read_pickle(tmp_path / "x")
    assert not marker.exists()
    with gzip.open(tmp_path / "x") as file:
        pickle.load(file)
    assert marker.exists()  # or this test would prove nothing


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("subprocess", "Popen"),
        ("torch", "load"),
        ("torch.storage", "torch.load"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("collections", "OrderedDict.__init__"),
        ("slt.pickles", "gzip.open"),
        ("numpy", "load"),
    ],
)
def test_no_other_function_can_be_named(tmp_path: Path, module: str, name: str) -> None:
    def string(text: str) -> bytes:
        return pickle.SHORT_BINUNICODE + bytes([len(text)]) + text.encode()

    code = pickle.PROTO + b"\x04" + string(module) + string(name) + pickle.STACK_GLOBAL + pickle.STOP
    (tmp_path / "x").write_bytes(gzip.compress(code))
    with pytest.raises(DataError, match=f"refused: this pickle wants `{module}.{name}`"):
        read_pickle(tmp_path / "x")


class Crafted:
    """A call of one of the two known functions with arguments of the attacker's choice."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_a_crafted_tensor_is_an_error_not_memory_read(tmp_path: Path) -> None:
    marker = tmp_path / "touched"
    storage = torch.storage.TypedStorage(
        wrap_storage=torch.zeros(4).untyped_storage(), dtype=torch.float32, _internal=True
    )
    rebuild = torch._utils._rebuild_tensor_v2
    inner = pickle.dumps(Touch(marker), protocol=2)  # what torch writes
    for crafted in (
        Crafted(rebuild, storage, 0, (5,), (1,), False, None),
        Crafted(rebuild, storage, 3, (2,), (1,), False, None),
        Crafted(rebuild, storage, 0, (2,), (-1,), False, None),
        Crafted(rebuild, storage, 0, (10**12,), (0,), False, None),
        Crafted(rebuild, "no storage", 0, (1,), (1,), False, None),
        Crafted(rebuild, Crafted(torch.storage._load_from_bytes, inner), 0, (1,), (1,), False, None),
        Crafted(rebuild),
    ):
        write(tmp_path / "x", crafted)
        with pytest.raises(DataError, match="x: not a readable gzip-compressed pickle"):
            read_pickle(tmp_path / "x")
    assert not marker.exists()


def test_damage_is_named(raw: Path) -> None:
    path = raw / "phoenix14t.pami0.train"
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:-4], content[:10], b"", b"no gzip", content[:-1] + b"\xff"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"phoenix14t\.pami0\.train: not a readable gzip.*get the file again"):
            read()
    for plain in (pickle.dumps([1])[:-1], b"", b"garbage"):
        path.write_bytes(gzip.compress(plain))
        with pytest.raises(DataError, match="damaged or cut short"):
            read()
    path.write_bytes(content + gzip.compress(b"more"))
    with pytest.raises(DataError, match="something follows the pickle"):
        read()
    path.unlink()
    with pytest.raises(DataError, match=r"phoenix14t\.pami0\.train: no such file of train features.*issue 38"):
        read()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "holds a dict, expected a list of records"),
        ([], "expected a list of records"),
        ([{"name": "train/a", "text": "b"}], "record 0 lacks signer, gloss, sign"),
        (["x"], "record 0 lacks name"),
        ([record("train", 0, text=3)], "record 0: text is of another type"),
        ([record("train", 0, sign=[[1.0]])], "record 0: sign is of another type"),
        ([record("test", 0)], "expected `train/<name>`"),
        ([record("train", 0, name="train/../../x")], "expected `train/<name>`: it leads out"),
        ([record("train", 0, name="train/..")], r"`\.\.` leads out of the folder"),
        ([record("train", 0, name="train/")], "expected `train/<name>`"),
        ([record("train", 0, name="/etc/passwd")], "expected `train/<name>`"),
        ([record("train", 0, name="train/a\\b")], "leads out of the folder"),
        (
            [record("train", 0, sign=sign(3) * float("nan"))],
            r"heute-train0`: features of shape \(3, 20\), expected fin",
        ),
        ([record("train", 0, sign=sign(3) * 1e6)], "expected finite numbers"),
        ([record("train", 0, sign=torch.ones(5))], r"features of shape \(5,\)"),
    ],
)
def test_records_that_do_not_fit_are_named(raw: Path, content: Any, message: str) -> None:
    write(raw / "phoenix14t.pami0.train", content)
    with pytest.raises(DataError, match=message):
        read()


def test_the_corpus_reads_text_gloss_and_features(raw: Path) -> None:
    reading = read()
    clip = reading.clips[1]
    assert (clip.id, clip.split, clip.video) == ("01April_2010_Thursday_heute-train1", "train", "")
    assert (clip.text, clip.gloss, clip.signer, clip.frames) == ("morgen regnet es .", "MORGEN REGEN", "Signer04", 4)
    assert clip.features == f"data/phoenix14t/corpus/raw/features/train/{clip.id}.npy"
    array = np.load(clip.features)
    assert array.dtype == np.float16 and np.array_equal(array, sign(4, 1).numpy().astype(np.float16))
    read(precision="float32")
    assert np.array_equal(np.load(clip.features), sign(4, 1).numpy())
    assert report(reading, section())["splits"]["train"]["frames"] == 3 + 4 + 5 + 6


def test_gaps_are_dropped_and_a_clip_in_two_splits_is_refused(raw: Path) -> None:
    odd = [record("dev", 0), record("dev", 0), record("dev", 1, text=" "), record("dev", 2, sign=torch.empty(0))]
    write(raw / "phoenix14t.pami0.dev", odd)
    names = [each["name"].removeprefix("dev/") for each in odd]
    reasons = ["duplicate id", "empty text", "no features"]
    assert read().dropped == [("dev", name, reason) for name, reason in zip(names[1:], reasons, strict=True)]
    write(raw / "phoenix14t.pami0.test", [record("test", 0, name=f"test/{names[0]}")])
    with pytest.raises(DataError, match="stands in both dev and test"):
        read()


def test_several_files_are_joined_frame_by_frame(raw: Path) -> None:
    other = [record("train", i, sign=sign(3 + i, 9 + i, dim=5)) for i in (3, 1, 0, 2)]
    write(raw / "hands.train", other)
    files = {split: [f"raw:phoenix14t.pami0.{split}"] for split in SPLITS}
    files["train"] = [*files["train"], "raw:hands.train"]
    joined = np.load(read(files=files).clips[1].features or "")
    expected = np.concatenate([sign(4, 1).numpy(), sign(4, 10, dim=5).numpy()], axis=1).astype(np.float16)
    assert np.array_equal(joined, expected)
    for change, message in [
        (other[:3], "does not hold the same clips"),
        ([{**each, "text": "anders"} for each in other], "text does not agree"),
        ([{**each, "sign": sign(99)} for each in other], "sign does not agree"),
    ]:
        write(raw / "hands.train", change)
        with pytest.raises(DataError, match=f"hands.train: .*{message}"):
            read(files=files)
    with pytest.raises(ConfigError, match="files needs the keys"):
        read(files={"train": ["x"]})


def test_known_artefacts_are_told_apart(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (train, *_) = files = read().notes["files"]
    assert [file["split"] for file in files] == list(SPLITS)
    assert train["artefact"].startswith("unknown") and len(train["sha256"]) == 64
    monkeypatch.setitem(phoenix14t_pami0.OFFICIAL, "train", (train["bytes"], train["sha256"][:12]))
    assert describe(raw / train["file"], "train")["artefact"] == "official"
    monkeypatch.setitem(phoenix14t_pami0.OFFICIAL, "train", (train["bytes"], "0" * 12))
    assert describe(raw / train["file"], "train")["artefact"].startswith("unknown")
    with (raw / "mirror").open("wb") as file:
        file.truncate(1_449_330_684)  # a hole; only its size counts
    monkeypatch.setattr(phoenix14t_pami0, "file_sha256", lambda path: "1" * 64)
    assert "lavinal712/slt" in describe(raw / "mirror", "train")["artefact"]


def test_features_that_are_not_the_official_ones_are_warned_of_and_named_in_the_data_report(
    raw: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def warnings() -> list[str]:
        return [entry.message for entry in caplog.records if entry.levelname == "WARNING"]

    files = read().notes["files"]
    for file in files:
        monkeypatch.setitem(phoenix14t_pami0.OFFICIAL, file["split"], (file["bytes"], file["sha256"][:12]))
    caplog.clear()
    assert "warning" not in read().notes and not warnings()
    write(raw / "phoenix14t.pami0.dev", [record("dev", 0), record("dev", 1, text="anders .")])
    size = (raw / "phoenix14t.pami0.dev").stat().st_size
    monkeypatch.setitem(phoenix14t_pami0.MIRROR, size, "the mirror of someone")
    why = "not PHOENIX-2014T as its authors give its features: phoenix14t.pami0.dev is the mirror of someone"
    assert read().notes["warning"] == why  # which tables take for a reason not to compare
    assert warnings() == [f"phoenix14t.corpus: {why}; github.com/neccam/nslt issue 38 says where its files are"]


def test_equal_features_under_other_names_in_train_and_test_are_refused(raw: Path) -> None:
    write(raw / "phoenix14t.pami0.test", [record("test", 0, sign=sign(5, 2))])
    message = r"pami0\.test: clip `\S+-test0` of test has the same features as clip `\S+-train2` of train: scores would"
    with pytest.raises(DataError, match=message):
        read()


def test_shards_hold_the_features_in_the_backbones_layout(manifest: Path) -> None:
    frames = make_frames(FRAMES, manifest, Path("frames"), NONE)
    assert (frames["clips"], frames["precomputed"], frames["shards"]) == (0, 7, [])
    assert read_json(Path("frames/frames.json")) == frames
    index = make_precomputed(PAMI0, manifest, Path("features"))
    assert (index["clips"], index["frames"], index["dim"]) == (7, 3 + 4 + 5 + 6 + 3 + 4 + 3, DIM)
    found = FeatureSet.open(Path("features"))
    assert found.dim == DIM and found.ids[0].endswith("train0")
    clip = "01April_2010_Thursday_heute-train2"
    assert np.array_equal(found.get(clip), sign(5, 2).numpy().astype(np.float16))
    assert found.provenance["backbone"] == "precomputed" and found.provenance["weights"] == "pami0"
    assert found.provenance["gloss_free"] is False and found.provenance["source"] == read_features_source(manifest)
    again = make_precomputed(PAMI0, manifest, Path("again"))
    assert again == index


def test_the_source_hash_follows_the_features(manifest: Path) -> None:
    before = make_precomputed(PAMI0, manifest, Path("features"))["backbone"]["weights_sha256"]
    path = Path("data/phoenix14t/corpus/raw/features/dev/01April_2010_Thursday_heute-dev0.npy")
    np.save(path, np.load(path) + np.float16(1))
    assert make_precomputed(PAMI0, manifest, Path("features"))["backbone"]["weights_sha256"] != before


def test_many_shards_are_one_set(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = FeatureSet.open(Path("features")) if make_precomputed(PAMI0, manifest, Path("features")) else None
    monkeypatch.setattr("slt.precomputed.SHARD_BYTES", 8 * DIM * 2)
    index = make_precomputed(PAMI0, manifest, Path("cut"))
    assert [shard["frames"] for shard in index["shards"]] == [12, 9, 7]
    cut = FeatureSet.open(Path("cut"))
    assert whole is not None and cut.ids == whole.ids
    assert all(np.array_equal(cut.get(name), whole.get(name)) for name in cut.ids)


def test_features_of_another_length_than_their_record_says_are_counted_and_named(
    raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read().notes["other_length"] == {"clips": 0, "first": []}
    assert "another number" not in caplog.text
    content = [record("train", i) for i in range(4)]
    content[1]["num_frames"] = 9
    content[2]["num_frames"] = "many"  # no number: nothing to hold the features against
    del content[3]["num_frames"]
    write(raw / "phoenix14t.pami0.train", content)
    reading = read()
    named = "01April_2010_Thursday_heute-train1: 4 rows of features, num_frames says 9"
    assert reading.notes["other_length"] == {"clips": 1, "first": [named]}
    assert f"phoenix14t: 1 clips have another number of features than frames: {named}; check that" in caplog.text
    assert len(reading.clips) == 7


def test_features_that_saw_gloss_cannot_be_called_gloss_free(manifest: Path) -> None:
    claimed = FeaturesConfig("precomputed", "pami0", "avg", 1, "float32", gloss_free=True)
    with pytest.raises(ConfigError, match=r"gloss_free is true, but the training of these features saw gloss"):
        make_precomputed(claimed, manifest, Path("features"))
    assert not Path("features").exists()


def test_a_table_names_the_features_that_saw_gloss(manifest: Path) -> None:
    provenance = make_precomputed(PAMI0, manifest, Path("features"))["backbone"]
    notes = Notes()
    assert gloss_mark({"provenance": provenance}, notes)
    assert "not gloss-free: its features come from pami0, whose training saw gloss" in "\n".join(notes.lines())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file of features"),
        (np.ones((3, DIM + 1), np.float32), "21 features per frame, expected 20"),
        (np.ones(DIM, np.float32), r"float32 \(20,\), expected floats"),
        (np.ones((1, 3, DIM), np.float32), r"float32 \(1, 3, 20\), expected floats"),
        (np.ones((0, DIM), np.float32), r"\(0, 20\), expected floats"),
        (np.ones((3, DIM), np.int64), "int64"),
        (np.full((3, DIM), np.nan), "no number or beyond float16"),
        (np.full((3, DIM), 1e6), "no number or beyond float16"),
        (np.array([[Touch(Path("touched"))]]), "not a readable .npy"),
        (b"", "not a readable .npy"),
        (b"\x93NUMPY\x01\x00v\x00{'descr'", "not a readable .npy"),
        (b"PK\x03\x04 no archive", "not a readable .npy"),
        (
            b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999, 20), }".ljust(127)
            + b"\n",
            "not a readable .npy",
        ),
    ],
)
def test_a_clip_whose_features_do_not_fit_is_named(manifest: Path, content: Any, message: str) -> None:
    path = Path("data/phoenix14t/corpus/raw/features/dev/01April_2010_Thursday_heute-dev1.npy")
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(DataError, match=message) as caught:
        make_precomputed(PAMI0, manifest, Path("features"))
    assert "`01April_2010_Thursday_heute-dev1`" in str(caught.value) and path.name in str(caught.value)
    assert not Path("touched").exists() and not Path("features").exists()


def test_a_file_cut_short_is_named(manifest: Path) -> None:
    path = Path("data/phoenix14t/corpus/raw/features/dev/01April_2010_Thursday_heute-dev1.npy")
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"heute-dev1\.npy: not a readable"):
        make_precomputed(PAMI0, manifest, Path("features"))


def test_features_and_backbone_have_to_agree(manifest: Path) -> None:
    from slt.features import make_features

    make_frames(FRAMES, manifest, Path("frames"), NONE)
    with pytest.raises(ConfigError, match=r"7 clips have no video but bring features; set features\.backbone to preco"):
        make_features(FeaturesConfig("x", "y", "avg", 1, "float32", True), 16, Path("frames"), Path("features"))
    write_manifest(manifest, [Clip("a", "train", "de", "gsg", "a.mp4", "text")])
    with pytest.raises(DataError, match=r"clip `a` brings no features; set features\.backbone to a timm model"):
        make_precomputed(PAMI0, manifest, Path("features"))
    write_manifest(manifest, [Clip("a", "train", "de", "gsg", "", "text")])
    with pytest.raises(DataError, match="clip `a` has neither video nor features"):
        make_frames(FRAMES, manifest, Path("frames"), NONE)


def save_translator(folder: Path, features: dict[str, Any], dim: int) -> None:
    """A finetuned model's folder, untrained."""
    model = tiny()
    if dim != model.config.feature_dim:
        from slt.models.translator import SignTranslator

        model.config.feature_dim = dim
        model = SignTranslator(model.config).eval()
    model.config.pipeline = {"frames": FRAMES.__dict__, "features": features}
    model.save_pretrained(folder)
    train_tokenizer(TEXTS, 300).save_pretrained(folder)
    save_neighbours(folder, TEXTS, np.ones((len(TEXTS), model.config.sem_dim), np.float32))


def test_a_model_of_precomputed_features_translates_npy_files(manifest: Path) -> None:
    provenance = make_precomputed(PAMI0, manifest, Path("features"))["backbone"]
    save_translator(Path("model"), provenance, DIM)
    translator = ClipTranslator(Path("model"))
    clip = Path("data/phoenix14t/corpus/raw/features/test/01April_2010_Thursday_heute-test0.npy")
    search = Search(beam=2, length_penalty=1.0, max_tokens=8, batch=2)
    (result,) = translator([clip], search)
    assert result.frames == 3 and isinstance(result.sentences[0], str)
    np.save("other.npy", np.ones((4, 7), np.float32))
    with pytest.raises(DataError, match=r"other\.npy: 7 features per frame, expected 20"):
        translator([Path("other.npy")], search)
    with pytest.raises(DataError, match=r"clip\.mp4: .*trained on precomputed features \(pami0\).*give a \.npy"):
        translator([Path("clip.mp4")], search)


def test_translate_takes_a_folder_of_images(raw: Path) -> None:
    torch.manual_seed(0)
    torch.save(timm.create_model("test_efficientnet.r160_in1k").state_dict(), "tiny.pth")
    from slt.backbone import Backbone

    config = FeaturesConfig("test_efficientnet.r160_in1k", "tiny.pth", "avg", 4, "float32", True)
    backbone = Backbone.load(config, FRAMES.size)
    save_translator(Path("model"), backbone.provenance, backbone.dim)
    Path("clip").mkdir()
    for i, frame in enumerate(pictures(12, 64, 72)):
        cv2.imwrite(f"clip/images{i + 1}.png", frame[..., ::-1])
    translator = ClipTranslator(Path("model"))
    (result,) = translator([Path("clip")], Search(beam=2, length_penalty=1.0, max_tokens=8, batch=2))
    assert result.frames == 12
    with pytest.raises(DataError, match=r"x\.npy: this model computes its features itself"):
        translator([Path("x.npy")], Search(beam=2, length_penalty=1.0, max_tokens=8, batch=2))


def test_reading_the_module_imports_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, slt.pickles, slt.precomputed, slt.corpora.phoenix14t_pami0; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0
