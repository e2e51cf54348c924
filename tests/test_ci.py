"""The workflow names what exists: make targets, pinned actions, files."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
STEPS: list[dict[str, Any]] = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
COMMANDS = "\n".join(step["run"] for step in STEPS if "run" in step)
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([\w-]+):", MAKEFILE, re.M))


def test_the_make_targets_exist_and_cover_suite_reproduction_and_agreement() -> None:
    named = set(re.findall(r"\bmake (?:--[\w-]+ )*([\w-]+)", COMMANDS))
    assert {"env", "lint", "test", "test-cluster", "repro", "report", "check"} <= named <= TARGETS
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M)
    assert phony is not None
    assert named <= set(phony[1].split())


def test_actions_are_pinned_by_their_major_version() -> None:
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[\w-]+@v\d+", action), action


def test_a_job_may_do_no_more_than_it_needs() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not any("permissions" in WORKFLOW["jobs"][job] for job in ("test", "cluster"))
    assert set(WORKFLOW["jobs"]["demo"]["permissions"]) == {"contents", "pull-requests"}
    assert "${{" not in COMMANDS  # what a stranger can write (a branch's name) must not become part of a script


def test_the_report_is_of_the_fresh_run() -> None:
    """After a failed reproduction metrics/ still holds the committed tables: they must not be shown as new."""
    for step in WORKFLOW["jobs"]["demo"]["steps"]:
        assert not re.search(r"always|cancelled|failure", str(step.get("if", "")))
    order = [str(step.get("run")) for step in WORKFLOW["jobs"]["demo"]["steps"]]
    assert order.index("make repro") < next(i for i, run in enumerate(order) if " report " in run)
    assert order[-1] == "make check"


@pytest.mark.parametrize("recipe", ["check", "report"])
def test_what_the_recipes_read_is_committed(recipe: str) -> None:
    body = MAKEFILE.split(f"\n{recipe}: env\n")[1].split("\n\n")[0]
    files = re.findall(r"metrics/[\w.]+", body)
    assert files
    for name in files:
        assert (ROOT / name).is_file()
