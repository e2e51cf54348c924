"""What the README tells a reader to type exists, and the figures that it shows are those of the reference run."""

import itertools
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

import slt
from slt.cli import main
from slt.config.base import lookup, read_params
from slt.config.schema import check

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.S)
COMMANDS = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line.split("#")[0].strip()]
EXPERIMENTS = [command for command in COMMANDS if command.startswith("slt experiment") and "--dataset" in command]
EXPERIMENTS += re.findall(r"`(slt experiment [^`]*--dataset[^`]*)`", (ROOT / "docs/languages.md").read_text())
EXPERIMENT_TARGETS = re.findall(r"^([\w-]+): env\n(?:\t.*\n)*?\t.*(?:exp run|\(call )", MAKEFILE, re.M)
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


def test_every_module_has_its_place_on_the_map() -> None:
    named = set(re.findall(r"[\w/]+", slt.__doc__ or ""))
    there = {path.stem for path in (ROOT / "slt").glob("*.py")} | {
        f"{path.parent.name}/" for path in (ROOT / "slt").glob("*/__init__.py")
    }
    assert there - {"__init__"} <= named


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", MAKEFILE, re.M))
    named = {command.split()[1] for command in COMMANDS if command.startswith("make ")}
    assert {"repro", "test"} <= named <= targets


@pytest.mark.parametrize("target", EXPERIMENT_TARGETS)
def test_the_parameters_of_a_make_target_are_well_formed(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `dvc exp run` would set them: warm-ups longer than trainings, keys that are gone, rows without upstream."""
    done = subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True, text=True)
    lines = done.stdout.replace("\\\n", " ").splitlines()
    commands = [next(line for line in lines if "dvc exp run" in line or "slt experiment" in line)]
    if "slt experiment" in commands[0]:  # which says itself what DVC would run
        monkeypatch.chdir(ROOT)
        main([*shlex.split(commands[0])[1:], "--dry"])
        commands = [line for line in capsys.readouterr().out.splitlines() if "dvc exp run" in line]
    assert commands
    for command in commands:
        params = tmp_path / "params.yaml"
        shutil.copy(ROOT / "params.yaml", params)
        words = shlex.split(command)
        apply_overrides(params, [value for option, value in itertools.pairwise(words) if option == "-S"])
        check(read_params(params))


@pytest.mark.parametrize("key", re.findall(r"-S ([\w.]+)=", README))
def test_overridden_parameters_exist(key: str) -> None:
    lookup(PARAMS, key)


@pytest.mark.parametrize("verb", sorted({c.split()[1] for c in COMMANDS if c.startswith("slt ")}))
def test_slt_commands_exist(verb: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--help"])
    assert stopped.value.code == 0


@pytest.mark.parametrize("command", EXPERIMENTS)
def test_experiments_can_be_planned_as_they_are_written(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    main([*shlex.split(command)[1:], "--dry"])
    assert "dvc exp run --temp" in capsys.readouterr().out


@pytest.mark.parametrize("stage", re.findall(r"python -m stages\.(\w+)", README))
def test_stages_exist(stage: str) -> None:
    assert (ROOT / "stages" / f"{stage}.py").is_file()


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_stage_table_names_the_stages_of_the_pipeline() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", README, re.M)
    assert listed == list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])


def test_the_table_shows_the_reference_run() -> None:
    content = json.loads((ROOT / "metrics" / "demo.json").read_text())
    shown = README.split("## The demo's table")[1].split("##")[0]
    assert content["rows"]
    for name, row in content["rows"].items():
        bleu, chrf = (row["scores"]["test"]["model"][metric] for metric in ("bleu", "chrf"))
        expected = f"{bleu['value']:.1f} ± {bleu['half_width']:.1f} | {chrf['value']:.1f} ± {chrf['half_width']:.1f}"
        assert any(f"| {name} |" in line and expected in line for line in shown.splitlines()), f"{name}: {expected}"


def test_the_add_a_row_example_is_a_row() -> None:
    from slt.config.run import read_run

    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    rows = {**PARAMS["run"]["rows"], **yaml.safe_load(block)}
    assert len(read_run({**PARAMS, "run": {**PARAMS["run"], "rows": rows}}).rows) == len(PARAMS["run"]["rows"]) + 1
