"""What a stage says when the machine is at fault: one line with the number and what to change, exit code 2."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training import Regression, config

from slt import resources
from slt.errors import DataError
from slt.training import train

STAGE = """
import resource
from slt.stage import run
def main():
    "A stage."
{body}
run("frames", [], main)
"""


def stage(tmp_path: Path, *body: str) -> subprocess.CompletedProcess[str]:
    script = STAGE.format(body="\n".join(f"    {line}" for line in body))
    root = str(Path(__file__).parent.parent.parent)
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{script}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )


def one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert all(word in line for word in (*words, "run the same command again")), line


def test_out_of_file_handles(tmp_path: Path) -> None:
    done = stage(
        tmp_path,
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
        "held = [open('/dev/null') for _ in range(100)]",
    )
    one_line(done, "Errno 24", "ulimit -n", "SLT_WORKERS")


def test_out_of_host_memory(tmp_path: Path) -> None:
    done = stage(tmp_path, "import numpy", "numpy.ones(2**50)")
    one_line(done, "out of memory", "PiB", "micro_batch")


def test_out_of_host_memory_inside_torch(tmp_path: Path) -> None:
    done = stage(tmp_path, "import torch", "torch.ones(2**50)")
    one_line(done, "out of memory", "bytes", "micro_batch")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    done = stage(tmp_path, "open('/sys/kernel/slt', 'w')")
    one_line(done, "/sys/kernel/slt", "SLT_WORK")


def test_a_full_device_names_the_room_that_is_left(tmp_path: Path) -> None:
    done = stage(tmp_path, "file = open('/dev/full', 'w')", "file.write('x')", "file.flush()")
    one_line(done, "Errno 28", "MB free", "SLT_WORK")


def test_any_other_error_keeps_its_traceback(tmp_path: Path) -> None:
    done = stage(tmp_path, "{}['missing']")
    assert done.returncode == 1 and "Traceback" in done.stderr
    assert resources.explain(ValueError("4")) is None


class TooBig(Regression):
    def losses(self, batch: dict[str, Any]) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def test_out_of_gpu_memory_names_the_micro_batch_and_what_to_lower(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"micro-batch of \d+ items, \d+ frames.*lower training.micro_batch \(now 6\)"):
        train(TooBig(), config(), 0, tmp_path / "work")
    assert not (tmp_path / "work" / "checkpoint.pt").exists()


def test_a_python_without_the_packages_is_one_line_that_names_the_environment() -> None:
    """`.venv/bin/dvc repro` with nothing activated starts whichever python comes first."""
    root = Path(__file__).parent.parent.parent
    bare = [sys.executable, "-S", "-m", "stages.targets", "--dataset", "demo", "--teacher", "minilm"]
    done = subprocess.run(bare, cwd=root, capture_output=True, text=True)
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 1 and sys.executable in line
    assert re.search(r"has no package `\w+`: activate the environment", line)
