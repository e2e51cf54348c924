"""A miniature of the whole paper in a fresh clone: every stage for real, then what re-runs when a parameter changes."""

import csv
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from slt import cli
from slt.errors import ConfigError

ROOT = Path(__file__).parent.parent
ROWS = ("demo-sign2glosstext", "demo-sign2semtext-frames")
# The gloss-dependent yardstick is not among the demo's own rows: a user adds it, as here. It starts from nothing, as
# sign2text does, so that a third row would show no more; each stage here costs ten seconds of imports.
ADDED = {"system": "sign2glosstext", "baseline": None}
MINIATURE = {
    "corpus.options.train_clips": 24,
    "corpus.options.dev_clips": 8,
    "corpus.options.test_clips": 8,
    "corpus.options.sentences": 300,
    "frames.clips_per_shard": 8,
    "frames.size": 64,
    "wikipedia.dev_sentences": 20,
    "sign2sem.training.max_steps": 6,
    "sign2sem.training.warmup_steps": 2,
    "sign2sem.training.validate_every": 3,
    "sign2sem.training.micro_batch": 512,
    "sign2sem.training.accumulate": 2,
    "sign2sem.encoder.layers": 1,
    "sem2text.training.max_steps": 6,
    "sem2text.training.warmup_steps": 2,
    "sem2text.training.validate_every": 3,
    "decoders.sltr.layers": 1,
    "decoders.sltr.vocabulary": 400,
    "decoders.sltr.max_tokens": 16,
    "finetune.training.max_steps": 6,
    "finetune.training.warmup_steps": 2,
    "finetune.training.validate_every": 3,
    "evaluate.max_tokens": 12,
    "evaluate.beam": 2,
}


def put(params: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        params = params[part]
    assert last in params, key
    params[last] = value


def shell(clone: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    drop = {"SLT_RAW", "SLT_WORK"}
    inherited = {key: value for key, value in os.environ.items() if key not in drop}
    return subprocess.run(
        command,
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=1800,
        env={**inherited, "PATH": path, "HF_HUB_OFFLINE": "1", **environment},
    )


def copy_tree(folder: Path) -> None:
    """What git would hand to a stranger, uncommitted changes included."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    assert shell(folder, "git", "init", "-q").returncode == 0


def make_clone(folder: Path, changes: dict[str, Any] | None = None) -> Path:
    """A stranger's clone with miniature parameters, further ones changed at will, and none of our results."""
    copy_tree(folder)
    committed = yaml.safe_load((folder / "params.yaml").read_text())
    params = {name: committed[name] for name in ("run", "demo")}  # DVC reads the file once a stage, so a short one
    for key, value in {**MINIATURE, **(changes or {})}.items():
        put(params["demo"], key, value)
    given = params["run"]["rows"]
    given["demo-sign2glosstext"] = {**given["demo-sign2text"], **ADDED}
    given["demo-sign2semtext-frames"]["baseline"] = "demo-sign2glosstext"
    params["run"]["rows"] = {name: given[name] for name in ROWS}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (folder / "dvc.lock").unlink(missing_ok=True)
    shutil.rmtree(folder / "docs/experiments", ignore_errors=True)  # made with the committed parameters
    (folder / "docs/experiments.md").unlink(missing_ok=True)
    for command in (
        ["git", "config", "user.email", "test@example.org"],
        ["git", "config", "user.name", "test"],
        ["git", "add", "-A"],
        ["git", "commit", "-qm", "miniature"],
    ):
        assert shell(folder, *command).returncode == 0
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = make_clone(tmp_path_factory.mktemp("clone"))
    done = shell(folder, "dvc", "repro")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert shell(folder, "git", "add", "-A").returncode == 0
    assert shell(folder, "git", "commit", "-qm", "reproduced").returncode == 0
    yield folder


@pytest.fixture
def params(clone: Path) -> Iterator[Path]:
    """params.yaml of the clone, put back after the test."""
    path = clone / "params.yaml"
    before = path.read_text()
    yield path
    path.write_text(before)


def would_run(clone: Path) -> set[str]:
    dry = shell(clone, "dvc", "repro", "--dry", "--allow-missing")
    assert dry.returncode == 0, dry.stderr
    return set(re.findall(r"Running stage '([^']+)'", dry.stdout))


def test_every_stage_ran_and_the_table_has_every_row(clone: Path) -> None:
    lock = yaml.safe_load((clone / "dvc.lock").read_text())["stages"]
    kinds = {name.split("@")[0] for name in lock}
    assert kinds == set(yaml.safe_load((clone / "dvc.yaml").read_text())["stages"])
    table = (clone / "metrics" / "demo.md").read_text()
    assert all(row in table for row in ROWS)
    summary = json.loads((clone / "metrics" / "summary.json").read_text())
    assert summary["demo-sign2glosstext"]["wer"] > 0 and "wer" not in summary["demo-sign2semtext-frames"]


def test_a_second_repro_runs_nothing(clone: Path) -> None:
    assert would_run(clone) == set()
    assert "up to date" in shell(clone, "dvc", "status").stdout


def test_a_clone_without_data_says_that_nothing_changed(clone: Path, tmp_path: Path) -> None:
    assert subprocess.run(["git", "clone", "-q", str(clone), str(tmp_path / "bare")], check=False).returncode == 0
    assert not (tmp_path / "bare" / "data" / "demo").exists()
    assert would_run(tmp_path / "bare") == set()


def test_the_committed_reference_run_follows_from_the_committed_code(tmp_path: Path) -> None:
    copy_tree(tmp_path)
    assert would_run(tmp_path) == set()


def rows(*stages: str, of: tuple[str, ...] = ROWS) -> set[str]:
    return {f"{stage}@{row}" for stage in stages for row in of}


@pytest.mark.parametrize(
    ("override", "direct"),
    [
        ("demo.corpus.options.crf=30", {"corpus@demo"}),
        ("demo.frames.quality=80", {"frames@demo", "sign2sem@demo-minilm"}),  # sign2sem stores the frames' parameters
        ("demo.features.pool=max", {"features@demo"}),
        (
            "demo.teachers.minilm.center=false",
            {"targets@demo-minilm", "wikipedia@demo-minilm", "sign2sem@demo-minilm", "sem2text@demo-minilm-sltr"},
        ),
        ("demo.wikipedia.min_words=5", {"wikipedia@demo-minilm"}),
        ("demo.sign2sem.loss=cosine", {"sign2sem@demo-minilm"} | rows("finetune")),
        ("demo.sign2sem.encoder.dropout=0.3", {"sign2sem@demo-minilm"}),
        ("demo.decoders.sltr.width=128", {"sem2text@demo-minilm-sltr"} | rows("finetune")),
        ("demo.sem2text.training.lr=0.003", {"sem2text@demo-minilm-sltr"}),
        ("demo.finetune.training.max_steps=7", rows("finetune")),
        (
            "demo.systems.sign2semtext_frames.sem_weight=0.5",
            {"finetune@demo-sign2semtext-frames", "evaluate@demo-sign2semtext-frames"},
        ),
        ("+demo.sem2text.monolingual=0.5", {"sem2text@demo-minilm-sltr"}),
        ("+demo.decoders.sltr.training={lr: 0.001}", {"sem2text@demo-minilm-sltr"} | rows("finetune")),
        ("demo.evaluate.beam=3", rows("evaluate") | {"ceiling@demo-minilm-sltr"}),
        ("run.rows.demo-sign2glosstext.seed=2", rows("finetune", "evaluate", of=ROWS[:1]) | {"tables"}),
    ],
)
def test_an_override_reaches_exactly_the_stages_that_name_it(
    clone: Path, params: Path, override: str, direct: set[str]
) -> None:
    """``--dry`` lists the stages whose own parameters changed; what follows from their outputs it cannot know."""
    from dvc.utils.hydra import apply_overrides  # what `dvc exp run -S` calls

    apply_overrides(params, [override])
    assert would_run(clone) == direct


def test_changing_a_rows_weight_reruns_that_row_and_the_tables_alone(clone: Path, params: Path) -> None:
    done = shell(clone, "dvc", "exp", "run", "-S", "demo.systems.sign2semtext_frames.sem_weight=0.5")
    assert done.returncode == 0, done.stderr
    ran = set(re.findall(r"Running stage '([^']+)'", done.stdout))
    assert ran == {"finetune@demo-sign2semtext-frames", "evaluate@demo-sign2semtext-frames", "tables"}
    shown = shell(clone, "dvc", "exp", "show", "--only-changed", "--drop", "data/.*", "--md")
    assert "demo.systems.sign2semtext_frames.sem_weight" in shown.stdout
    assert "data/" not in shown.stdout


def test_an_experiment_runs_beside_the_workspace_and_is_found_again(clone: Path) -> None:
    before = shell(clone, "git", "status", "--porcelain", "--untracked-files=no").stdout
    override = "demo.finetune.training.max_steps=4"
    command = (sys.executable, "-m", "slt.cli", "experiment", "loss", "--dataset", "demo", "--values", "cosine")
    command += ("--systems", "sign2semtext_frames", "-S", override)
    for said in ("running demo-loss-cosine-seed1", "demo-loss-cosine-seed1 is there already"):
        done = shell(clone, *command)
        assert done.returncode == 0 and said in done.stderr, done.stderr
    assert shell(clone, "git", "status", "--porcelain", "--untracked-files=no").stdout == before
    run = json.loads((clone / "docs/experiments/demo-loss.json").read_text())["runs"]["demo-loss-cosine-seed1"]
    assert run["results"]["sign2semtext_frames"]["training"]["steps"] == 4
    assert run["overrides"] == [override, "demo.sign2sem.loss=cosine"]
    assert "| cosine" in (clone / "docs/experiments.md").read_text()


@pytest.fixture
def inside(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The clone as the current folder of this process, which imports torch once for several tests."""
    monkeypatch.delenv("SLT_RAW", raising=False)
    monkeypatch.setenv("SLT_WORK", str(tmp_path / "work"))
    monkeypatch.chdir(clone)
    return clone


def test_the_sem_map_reads_finished_rows(inside: Path) -> None:
    clone = inside
    cli.main(["experiment", "sem-map", "--dataset", "demo"])
    content = json.loads((clone / "docs/experiments/demo-sem-map.json").read_text())
    table = json.loads((clone / "metrics/demo.json").read_text())["rows"]
    assert sorted([*content["rows"], *content["without"]]) == sorted(ROWS)
    as_predicted = content["rows"][ROWS[1]]["alignments"]["as predicted"]
    assert as_predicted.items() >= table[ROWS[1]]["diagnostics"]["test"]["retrieval"].items()


def test_translate_reads_a_video_with_the_finetuned_model(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = next((inside / "data/demo/corpus/raw/videos").glob("test*.mp4"))
    cli.main(["translate", str(clip), "--model", f"data/finetune/{ROWS[1]}", "--json"])
    (result,) = json.loads(capsys.readouterr().out)
    assert result["frames"] > 5
    assert result["glosses"] is None
    assert len(result["n_best"]) == 4 and len(result["nearest_training_sentences"]) == 5
    scores = [entry["score"] for entry in result["n_best"]]
    assert scores == sorted(scores, reverse=True)
    hypotheses = (inside / "data/evaluations/rows" / ROWS[1] / "hypotheses.jsonl").read_text().splitlines()
    stored = [json.loads(line) for line in hypotheses]
    assert {line["condition"] for line in stored} >= {"model", "oracle_sem", "shuffled_sem", "constant"}


def read_curves(path: Path) -> dict[tuple[int, str], float]:
    with path.open(newline="") as file:
        return {(int(point["step"]), point["series"]): float(point["value"]) for point in csv.DictReader(file)}


def test_two_processes_of_torchrun_make_of_a_stage_what_one_made(clone: Path, tmp_path: Path) -> None:
    made, alone = clone / "data/demo/sign2sem/minilm", tmp_path / "alone"
    shutil.copytree(made, alone)
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    own = {"SLT_WORK": str(tmp_path / "work"), "SLT_DEVICE": "cpu", "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    try:
        done = shell(clone, *launcher, "-m", "stages.sign2sem", "--dataset", "demo", "--teacher", "minilm", **own)
        assert done.returncode == 0, done.stderr
        ours, theirs = (read_curves(folder / "curves.csv") for folder in (made, alone))
    finally:
        shutil.rmtree(made)
        shutil.copytree(alone, made)
    logged = (tmp_path / "work/sign2sem/run-log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in logged if "step" in json.loads(line)] == list(range(1, 7))
    losses = {point for point in theirs if point[1].startswith("train_")}
    assert len(losses) == 2 and ours.keys() == theirs.keys()
    assert {point: ours[point] for point in losses} == pytest.approx({point: theirs[point] for point in losses}, 1e-5)
    dev = {point for point in theirs if point[1] in ("dev_cosine", "dev_mse")}
    assert {point: ours[point] for point in dev} == pytest.approx({point: theirs[point] for point in dev}, 1e-2)


@pytest.mark.parametrize(
    ("stage", "arguments", "folder"),
    [
        ("evaluate", [ROWS[0]], f"rows/{ROWS[0]}"),
        ("ceiling", ["demo", "minilm", "sltr"], "sem2text/demo-minilm-sltr"),
    ],
)
def test_a_warning_in_the_data_report_goes_into_the_evaluation(
    inside: Path, tmp_path: Path, stage: str, arguments: list[str], folder: str
) -> None:
    report, evaluation = inside / "data/demo/corpus/report.json", inside / "data/evaluations" / folder
    content = report.read_text()
    shutil.copytree(evaluation, tmp_path / "before")
    try:
        found = json.loads(content)
        found["notes"]["warning"] = "drawn, not filmed"
        report.write_text(json.dumps(found))
        importlib.import_module(f"stages.{stage}").main(*arguments)
        assert json.loads((evaluation / "info.json").read_text())["provenance"]["corpus_warning"] == "drawn, not filmed"
    finally:
        report.write_text(content)
        shutil.rmtree(evaluation)
        shutil.copytree(tmp_path / "before", evaluation)


def test_a_row_of_an_unknown_name_is_named_with_the_next_step(inside: Path) -> None:
    with pytest.raises(ConfigError, match=r"no row `nothing` in run\.rows"):
        importlib.import_module("stages.finetune").main("nothing")


@pytest.mark.parametrize(
    ("stage", "arguments", "message"),
    [
        ("features", ["--dataset", "phoenix"], "no key `phoenix"),
        ("targets", ["--dataset", "demo", "--teacher", "labse"], "no key `demo.teachers.labse`"),
    ],
)
def test_a_wrong_name_is_one_line_not_a_traceback(clone: Path, stage: str, arguments: list[str], message: str) -> None:
    done = shell(clone, sys.executable, "-m", f"stages.{stage}", *arguments)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
