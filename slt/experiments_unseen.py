"""What the experiment ``transfer`` rests on: no clip that is tested was trained on, under whatever name."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from slt import paths
from slt.config.base import read_params
from slt.errors import DataError
from slt.evaluations import SPLITS
from slt.experiments import Params, Trial
from slt.manifest import Clip, read_manifest


def check_unseen(trial: Trial, clips: Iterable[Clip], train: Iterable[Clip]) -> None:
    """Raise DataError when a dev or test clip of ``clips``, the tested corpus', shows what one of ``train`` shows."""
    known: dict[tuple[str, ...], list[Clip]] = defaultdict(list)
    for clip in train:
        for file in _files(clip):
            known[file].append(clip)
    seen = [
        (clip, other)
        for clip in clips
        if clip.split in SPLITS
        and (other := next((one for file in _files(clip) for one in known[file] if _overlap(clip, one)), None))
    ]
    if seen:
        clip, other = seen[0]
        raise DataError(
            f"{trial.name}: {len(seen)} dev and test clips of {trial.dataset} are train clips of {trial.corpus}, the"
            f" first `{clip.id}`, there `{other.id}`: its model has seen them. Take them out of one of the two, or name"
            f" other corpora: --values {trial.dataset},…"
        )


def check_workspace(trials: Sequence[Trial], params: Params) -> None:
    """As :func:`check_unseen`, before anything is trained, where the workspace has both manifests of a trial."""
    ours: Params | None = None
    for trial in trials:
        names = (trial.dataset, trial.corpus)
        pair = [paths.corpus_dir(name) / "manifest.parquet" for name in names]
        if trial.transfers and all(manifest.is_file() for manifest in pair):
            ours = ours or read_params()
            # with overrides, the manifests that lie here are others than the trial's
            if all(ours.get(name, {}).get("corpus") == params[name]["corpus"] for name in names):
                check_unseen(trial, read_manifest(pair[0]), read_manifest(pair[1], "train"))


def _files(clip: Clip) -> list[tuple[str, ...]]:
    """What a clip's media are known by: their paths and, where the manifest has it, their content."""
    files = [file for file in (clip.video, clip.features) if file]
    contents = (clip.fingerprint or "").split()
    known: list[tuple[str, ...]] = [("path", str(paths.resolve(file).resolve())) for file in files]
    for file, content in zip(files, contents, strict=False):
        # two files of one size and time are one file only if they are also called the same
        known.append((content, "" if content.startswith("sha256:") else PurePosixPath(file).name))
    return known


def _overlap(one: Clip, two: Clip) -> bool:
    """Whether two clips of one file share half of the shorter at least; without times a clip is the whole file."""
    (start, end), (begin, stop) = (_times(clip) for clip in (one, two))
    return min(end, stop) - max(start, begin) >= min(end - start, stop - begin) / 2


def _times(clip: Clip) -> tuple[float, float]:
    return clip.start or 0.0, float("inf") if clip.end is None else clip.end
