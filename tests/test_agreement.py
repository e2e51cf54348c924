"""``make check``: a fresh run agrees with the one in git when each lies in the other's interval."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from slt.agreement import compare_runs, main
from slt.errors import DataError

ROOT = Path(__file__).parent.parent
REFERENCE = json.loads((ROOT / "metrics" / "demo.json").read_text())
ROW, CEILING = "demo-sign2semtext", "demo-minilm-sltr"


def moved(by: float, part: str = "rows", name: str = ROW, condition: str = "model") -> dict[str, Any]:
    """The reference run with one test BLEU moved by that many of its half-widths, interval and all."""
    content = copy.deepcopy(REFERENCE)
    bleu = content[part][name]["scores"]["test"][condition]["bleu"]
    step = by * bleu["half_width"]
    for key in ("value", "low", "high"):
        bleu[key] += step
    return content


def verdicts(fresh: dict[str, Any]) -> dict[str, str]:
    return {name: verdict for name, *_, verdict in compare_runs(REFERENCE, fresh)}


def test_a_run_agrees_with_itself_row_by_row() -> None:
    found = verdicts(REFERENCE)
    assert set(found) == {*REFERENCE["rows"], *REFERENCE["ceilings"]}
    assert set(found.values()) == {"agrees"}


@pytest.mark.parametrize(("by", "verdict"), [(0.8, "agrees"), (-0.8, "agrees"), (1.3, "differs"), (-1.3, "differs")])
def test_a_row_may_move_within_the_interval_and_no_further(by: float, verdict: str) -> None:
    found = verdicts(moved(by))
    assert found.pop(ROW) == verdict
    assert set(found.values()) == {"agrees"}
    assert verdicts(moved(by, "ceilings", CEILING, "oracle_sem"))[CEILING] == verdict


def test_each_must_lie_in_the_others_interval() -> None:
    """A fresh run of wide intervals holds the reference in its own, and lies outside of the reference's."""
    fresh = moved(1.3)
    bleu = fresh["rows"][ROW]["scores"]["test"]["model"]["bleu"]
    bleu["low"] -= 10
    assert verdicts(fresh)[ROW] == "differs"
    swapped = {name: verdict for name, *_, verdict in compare_runs(fresh, REFERENCE)}
    assert swapped[ROW] == "differs"


def test_a_row_on_one_side_only_is_no_agreement() -> None:
    fresh = copy.deepcopy(REFERENCE)
    fresh["rows"]["new"] = fresh["rows"].pop(ROW)
    found = verdicts(fresh)
    assert (found["new"], found[ROW]) == ("only in the fresh run", "only in the reference")
    with pytest.raises(DataError, match="nothing to compare"):
        compare_runs({"rows": {}, "ceilings": {}}, {"rows": {}, "ceilings": {}})


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("metrics").mkdir()
    table = Path("metrics/demo.json")
    table.write_text(json.dumps(REFERENCE))
    identity = ["-c", "user.email=test@example.org", "-c", "user.name=test"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "reference"]):
        subprocess.run(["git", *command], check=True)
    return table


def test_the_command_holds_the_working_tree_against_git(
    repository: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    repository.write_text(json.dumps(moved(0.5)))
    main([str(repository)])
    assert capsys.readouterr().out.count("agrees") == len(REFERENCE["rows"]) + len(REFERENCE["ceilings"])
    repository.write_text(json.dumps(moved(3)))
    with pytest.raises(SystemExit) as stopped:
        main([str(repository)])
    assert stopped.value.code == 1
    shown = capsys.readouterr().out
    assert [line.split("|")[-2].strip() for line in shown.splitlines() if f"| {ROW} " in line] == ["differs"]
    assert f"1 of {shown.count('agrees') + 1} do not agree: {ROW}" in caplog.text


def test_what_is_not_in_git_is_said(repository: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = repository.with_name("other.json")
    other.write_text(repository.read_text())
    for arguments in ([str(other)], [str(repository), "--revision", "v9"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
    assert caplog.text.count("not to be had from git at") == 2


def test_the_committed_table_is_not_held_against_itself(
    repository: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fresh clone holds the reference run's table; that it agrees with itself says nothing."""
    with pytest.raises(SystemExit) as stopped:
        main([str(repository)])
    assert stopped.value.code == 2
    assert "no stage has run here; run `make repro` first" in caplog.text
    Path("data/work").mkdir(parents=True)
    Path("data/work/stage-times.jsonl").write_text('{"stage": "tables", "seconds": 1}\n')
    main([str(repository)])  # a run may well give the reference's very bytes
    assert "agrees" in capsys.readouterr().out
