"""The run at size: which stages it is told to end with, and the memory of a stage with all its processes."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import at_size  # noqa: E402


@pytest.mark.parametrize("stage", list(at_size.NEEDED))
def test_a_run_can_end_with_any_stage_and_has_what_that_one_needs(stage: str) -> None:
    groups = at_size.until(at_size.plan("demo", "minilm", "sltr"), stage)
    names = [command[0] for group in groups for command in group]
    whole = [command[0] for group in at_size.plan("demo", "minilm", "sltr") for command in group]
    assert set(names[names.index(stage) :]) == {stage} and names.count(stage) == whole.count(stage)
    needed = list(at_size.NEEDED[stage])
    while needed:
        assert needed[-1] in names
        needed.extend(at_size.NEEDED[needed.pop()])


def test_a_mistyped_stage_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks/at_size.py", tmp_path, "--until", "finetunes"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and all(stage in done.stderr for stage in at_size.NEEDED)


HOLDS = """
import subprocess, sys
held = bytearray(b"x" * 60_000_000)
code = "held = bytearray(b'x' * 40_000_000); print('held', flush=True); input()"
subprocess.run([sys.executable, "-c", code])
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")
def test_memory_is_that_of_a_process_and_those_that_it_started() -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLDS], **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "held\n"
        assert len(at_size.descendants(process.pid)) == 2
        assert 95 < at_size.proportional_mb(process.pid) < 150
        process.communicate("\n")
    assert at_size.proportional_mb(process.pid) == 0
