"""What the experiment ``transfer`` rests on: no clip that is tested was trained on, under whatever name."""

from collections.abc import Iterable, Sequence

from slt import paths
from slt.config.base import read_params
from slt.corpora import ClipsOfParts
from slt.errors import DataError
from slt.evaluations import SPLITS
from slt.experiments import Params, Trial
from slt.manifest import Clip, read_manifest


def check_unseen(trial: Trial, clips: Iterable[Clip], train: Iterable[Clip]) -> None:
    """Raise DataError when a dev or test clip of ``clips``, the tested corpus', shows what one of ``train`` shows."""
    known = ClipsOfParts()
    for clip in train:
        known.add(clip)
    tested = (clip for clip in clips if clip.split in SPLITS)
    seen = [(clip, found[1]) for clip in tested if (found := known.find(clip))]
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
