"""Everything on disk against what DVC recorded when it was made: each file of each output, by its hash."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slt.errors import DataError
from slt.stage import progress

LOCK = Path("dvc.lock")
CACHE = Path(".dvc/cache/files/md5")
CHUNK = 1 << 20


@dataclass(frozen=True)
class Fault:
    """A file, or an output, that is not what its stage made; ``stage`` is its name in dvc.lock."""

    path: Path
    problem: str
    stage: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; rebuild with `dvc repro --force --single-item {self.stage}`"


@dataclass(frozen=True)
class Verified:
    """What was looked at: faults, files and bytes read, outputs that are not on disk at all or have no listing."""

    faults: list[Fault]
    files: int
    bytes: int
    absent: list[str]
    unlisted: list[str]
    """folders on disk where DVC has no cache, as in a fresh clone: nothing says what should be in them"""


def verify(below: Iterable[Path] = ()) -> Verified:
    """Read every file of every output in ``dvc.lock`` that lies at or below one of the paths (all, when none is given).

    Found: a changed, missing or foreign file. With hard links the cache holds the same bytes as the output, so the
    listing is taken from the cache and checked against its own name first. Raises DataError without a ``dvc.lock``,
    and for a path that holds no output.
    """
    outputs = list(_outputs(list(below)))
    faults: list[Fault] = []
    absent: list[str] = []
    unlisted: list[str] = []
    expected: list[tuple[Path, str, str]] = []
    for stage, path, recorded in outputs:
        if not path.exists():
            absent.append(str(path))
        elif not recorded.endswith(".dir"):
            expected.append((path, recorded, stage))
        elif not CACHE.is_dir():
            unlisted.append(str(path))
        elif (listing := _listing(recorded)) is None:
            faults.append(Fault(path, "its listing is missing from the DVC cache, or damaged", stage))
        else:
            expected += [(path / name, md5, stage) for name, md5 in listing.items()]
            known = {path / name for name in listing}
            foreign = sorted(file for file in path.rglob("*") if file.is_file() and file not in known)
            faults += [Fault(file, "no stage made this file", stage) for file in foreign]
    size = 0
    for file, md5, stage in progress(expected, "verifying", len(expected), "file"):
        if not file.is_file():
            faults.append(Fault(file, "missing", stage))
            continue
        size += file.stat().st_size
        if _md5(file) != md5:
            faults.append(Fault(file, "its bytes are not those that the stage wrote", stage))
    return Verified(faults, len(expected), size, absent, unlisted)


def _outputs(below: list[Path]) -> Iterator[tuple[str, Path, str]]:
    """Stage, path and recorded hash of the outputs that are asked for."""
    if not LOCK.is_file():
        raise DataError(f"{LOCK}: no such file; run `dvc repro` first, from the root of the checkout")
    stages: dict[str, Any] = yaml.safe_load(LOCK.read_text(encoding="utf-8"))["stages"]
    wanted = [path.resolve() for path in below]
    found: set[Path] = set()
    for stage, entry in stages.items():
        for out in entry.get("outs", []):
            path = Path(out["path"])
            matching = [root for root in wanted if path.resolve().is_relative_to(root)]
            found.update(matching)
            if matching or not wanted:
                yield stage, path, out["md5"]
    for given, root in zip(below, wanted, strict=True):
        if root not in found:
            raise DataError(f"{given}: no output of a stage lies there; give `data`, or a folder such as `data/demo`")


def _listing(recorded: str) -> dict[str, str] | None:
    """Files of a folder and their md5, from the listing that DVC keeps; None when that is missing or damaged."""
    path = CACHE / recorded[:2] / recorded[2:]
    if not path.is_file():
        return None
    content = path.read_bytes()
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != recorded.removesuffix(".dir"):
        return None
    return {entry["relpath"]: entry["md5"] for entry in json.loads(content)}


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
