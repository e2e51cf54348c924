"""Running an experiment: each trial as a DVC experiment of its own, found again by name, read back from its revision.

A trial runs in a temporary checkout of HEAD (``dvc exp run --temp``), so that the workspace, its lock and its metrics
stay as they are; DVC's cache makes whatever trials share free. A result names the commit that it was made at, therefore
code and parameters must be committed.
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from slt import paths
from slt.config.base import PARAMS, lookup, read_params
from slt.config.schema import check
from slt.errors import ConfigError, DataError
from slt.evaluations import Evaluation, read_evaluation
from slt.experiments import CEILING, Choice, Experiment, Trial
from slt.experiments_axes import Params
from slt.experiments_content import Result, add_result, read_results, result_path
from slt.stage import configure_logging, progress
from slt.store import read_json, write_json
from slt.workers import process_pool

PIPELINE = ("slt", "stages", "dvc.yaml", str(PARAMS))
"""what a result follows from, besides the raw data"""
log = logging.getLogger("slt.experiments")


def overridden(overrides: Sequence[str], path: Path = PARAMS) -> Params:
    """The parameters as overrides leave them, by DVC's own code; ConfigError when they do not apply or fit."""
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides  # what `dvc exp run -S` calls

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / PARAMS.name
        copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        try:
            apply_overrides(copy, list(overrides))
        except DvcException as error:
            raise ConfigError(f"{path}: the overrides {', '.join(overrides)} do not apply: {error}") from error
        params = yaml.safe_load(copy.read_text(encoding="utf-8"))
    check(params)
    return dict(params)


def head() -> str:
    """The commit of HEAD; ConfigError when what results follow from is not committed."""
    dirty = _git("status", "--porcelain", "--", *PIPELINE)
    if dirty:
        raise ConfigError(
            f"an experiment's result names its commit, but these are not committed: {', '.join(dirty.splitlines())};"
            " commit them first"
        )
    return _git("rev-parse", "HEAD")


def run_experiment(experiment: Experiment, trials: Sequence[Trial], choice: Choice, invocation: str) -> None:
    """Run what is not there yet and keep every result as soon as it is there; ``invocation`` is the user's command.

    Raises ConfigError when code or parameters are not committed or a variant's parameters are not sound (before
    anything runs), and DataError when a trial fails: the same command then goes on with that trial.
    """
    head()
    dataset = trials[0].dataset
    expected = {trial.name: overridden(trial.overrides) for trial in trials}
    path = result_path(experiment.name, dataset, choice.label)
    content = read_results(experiment.name, dataset, choice)
    if invocation not in content["invocations"]:
        content["invocations"].append(invocation)
    baselines: dict[int, Result] = {}
    for trial in progress(trials, experiment.name, len(trials), "variant"):
        revision = find(trial, expected[trial.name])
        if revision is None:
            _forget(trial)
            log.info("running %s", trial.name)
            _make_teacher(trial, expected[trial.name])
            _dvc(trial)
            revision = find(trial, expected[trial.name])
            if revision is None:
                raise DataError(f"{trial.name}: dvc exp run ended well but left no such experiment; see `dvc exp show`")
        else:
            log.info("%s is there already (%.10s)", trial.name, revision)
        result = Result(
            trial,
            revision,
            _git("rev-parse", f"{revision}^"),
            fetch(trial, revision, expected[trial.name]),
            _teacher_sha256(trial, revision),
        )
        first = baselines.setdefault(trial.seed, result)
        add_result(content, experiment, result, first)
        write_json(path, content)


def _make_teacher(trial: Trial, params: Params) -> None:
    """Train the trial's teacher where its entry says how, unless it lies there: stages take teachers as they are."""
    if lookup(params, f"{trial.corpus}.teachers.{trial.teacher}").get("trained") is not None:
        _read_corpus(trial.corpus, params)
        # in a process of its own: what it holds of the text until it ends would keep DVC's stages out
        with process_pool(1) as pool:
            pool.submit(_train_teacher, params, trial.corpus, trial.teacher).result()


def _read_corpus(dataset: str, params: Params) -> None:
    """The corpus of the workspace, if it is the trial's: a teacher's text is what no held-out clip of it says."""
    there = (paths.corpus_dir(dataset) / "manifest.parquet").is_file()
    if not there and read_params()[dataset]["corpus"] == params[dataset]["corpus"]:
        # what it has to say of a failure it says itself, and the teacher then misses the manifest
        subprocess.run([sys.executable, "-m", "stages.corpus", "--dataset", dataset], check=False)


def _train_teacher(params: Params, dataset: str, teacher: str) -> None:
    from slt.tsdae import make_teacher

    configure_logging()
    make_teacher(params, dataset, teacher)


def find(trial: Trial, expected: Params) -> str | None:
    """The revision of a finished experiment of this name with these parameters and the pipeline of HEAD, if any."""
    for line in _git(
        "for-each-ref", "--sort=-creatordate", "--format=%(refname) %(objectname)", "refs/exps"
    ).splitlines():
        name, revision = line.split()
        parts = name.split("/")  # refs/exps/<two digits>/<the rest of the commit>/<name>
        if len(parts) != 5 or parts[4] != trial.name:
            continue
        found = yaml.safe_load(_git("show", f"{revision}:{PARAMS}"))
        if found == expected and _same_stages(parts[2] + parts[3]):
            return revision
    return None


def _same_stages(commit: str) -> bool:
    """Whether the stages of ``commit`` are those of HEAD, in what DVC runs and in the code that it runs.

    Code that no stage uses, such as that of the report, may differ: what is kept of a run is then read from it again.
    """
    ours, theirs = _stages("HEAD"), _stages(commit)
    code = {dep for stage in ours.values() for dep in stage.get("do", stage)["deps"] if dep.endswith(".py")}
    # a teacher of our own is no stage's: it is made before them
    return ours == theirs and not _git("diff", "--name-only", commit, "HEAD", "--", "slt/tsdae.py", *sorted(code))


def _stages(commit: str) -> dict[str, Any]:
    stages = yaml.safe_load(_git("show", f"{commit}:dvc.yaml"))["stages"]
    for stage in stages.values():
        stage.get("do", stage).pop("desc", None)
    return dict(stages)


def fetch(trial: Trial, revision: str, params: Params) -> dict[str, Evaluation]:
    """The evaluations of a finished trial by system, and its ceiling; from DVC's cache or remote.

    Of a trial that was trained on another corpus than the tested one, they are made here, from its models.
    """
    from dvc.api import DVCFileSystem

    files = DVCFileSystem(".", rev=revision)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        if trial.transfers:
            from slt.experiments_transfer import transfer_folders, transferred  # torch takes seconds to import

            for folder in transfer_folders(trial):
                _get(files, trial, revision, folder, root)
            return transferred(trial, params, root)
        folders = {system: paths.evaluation_dir(row) for system, row in trial.rows.items()}
        if trial.ceiling:
            folders[CEILING] = paths.ceiling_dir(trial.dataset, trial.teacher, trial.decoder)
        return {name: read_evaluation(_get(files, trial, revision, folder, root)) for name, folder in folders.items()}


def _teacher_sha256(trial: Trial, revision: str) -> str | None:
    """The hash of the teacher's weights as the trial's targets name it; None where they are not kept any more."""
    from dvc.api import DVCFileSystem

    path = paths.targets_dir(trial.corpus, trial.teacher) / "targets.json"
    with tempfile.TemporaryDirectory() as temporary:
        try:
            found = read_json(_get(DVCFileSystem(".", rev=revision), trial, revision, path, Path(temporary)))
        except DataError:
            log.warning("%s: %s is not in DVC's cache, so its teacher's hash is not kept", trial.name, path)
            return None
    return str(found["sha256"])


def _get(files: Any, trial: Trial, revision: str, path: Path, root: Path) -> Path:
    """A copy of an output below ``root``, under its own path."""
    from dvc.exceptions import DvcException

    (root / path).parent.mkdir(parents=True, exist_ok=True)
    try:
        files.get(path.as_posix(), str(root / path), recursive=True)
    except (DvcException, OSError) as error:
        raise DataError(
            f"{trial.name}: {path} of revision {revision[:10]} is not in DVC's cache ({error});"
            f" `dvc exp remove {trial.name}` and run the experiment again"
        ) from error
    return root / path


def _forget(trial: Trial) -> None:
    """Remove an experiment of HEAD that has this name and other parameters: DVC would refuse to write over it."""
    commit = head()
    if _git("for-each-ref", f"refs/exps/{commit[:2]}/{commit[2:]}/{trial.name}"):
        log.info("%s: made with other parameters; it is run again", trial.name)
        subprocess.run([sys.executable, "-m", "dvc", "exp", "remove", "-q", trial.name], check=True)


def own_environment() -> dict[str, str]:
    """The environment for a DVC whose stages' `python` is this one, whether or not it was activated."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path}


def _dvc(trial: Trial) -> None:
    raw, work = paths.raw_root().resolve(), paths.work_root().resolve()
    environment = {
        **own_environment(),
        # ignored folders do not travel into the temporary checkout; with one work root, a trial that was stopped
        # inside a training goes on from its checkpoint
        "SLT_RAW": str(raw),
        "SLT_WORK": str(work),
    }
    done = subprocess.run([sys.executable, "-m", *trial.command], env=environment, check=False)
    if done.returncode:
        raise DataError(
            f"{trial.name}: `dvc exp run` failed (exit {done.returncode}, its words are above); mend it and give the"
            " same command again: finished variants are kept"
        )


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"git {json.dumps(arguments)}: {done.stderr.strip()}; experiments need a git checkout")
    return done.stdout.strip()
