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
    one_line(done, "out of memory", "PiB", "lower SLT_WORKERS")


def test_out_of_host_memory_inside_torch(tmp_path: Path) -> None:
    done = stage(tmp_path, "import torch", "torch.ones(2**50)")
    one_line(done, "out of memory", "bytes", "lower SLT_WORKERS")


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


NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
]


@pytest.mark.parametrize("error", NO_MEMORY)
@pytest.mark.parametrize(
    ("stage", "helps"),
    [
        ("features", "features.batch"),
        ("targets", "SLT_DEVICE=cpu"),
        ("wikipedia", "SLT_DEVICE=cpu"),
        ("finetune", "training.micro_batch"),
        ("ceiling", "evaluate.batch"),
        ("evaluate", "evaluate.batch"),
    ],
)
def test_out_of_gpu_memory_names_what_helps_in_that_stage(error: RuntimeError, stage: str, helps: str) -> None:
    line = resources.explain(error, stage)
    assert line is not None and str(error).splitlines()[0] in line and "\n" not in line
    others = {"features.batch", "training.micro_batch", "evaluate.batch", "SLT_DEVICE=cpu"} - {helps}
    assert helps in line and not any(name in line for name in others)


class TooBig(Regression):
    """Memory does not suffice for one of the things that a step or a validation does."""

    def __init__(self, where: str, error: RuntimeError) -> None:
        super().__init__()
        self.where, self.error = where, error

    def fail(self, where: str) -> None:
        if where == self.where:
            raise self.error

    def batch(self, items: list[int], epoch: int) -> dict[str, Any]:
        phase = self

        class Copied(torch.Tensor):
            def to(self, *args: Any, **kwargs: Any) -> Any:
                phase.fail("copy")
                return super().to(*args, **kwargs)

        batch = super().batch(items, epoch)
        return {**batch, "x": batch["x"].as_subclass(Copied)} if self.where == "copy" else batch

    def losses(self, batch: dict[str, Any]) -> Any:
        self.fail("losses")
        return super().losses(batch)

    def validate(self) -> Any:
        self.fail("validation")
        return super().validate()


@pytest.mark.parametrize("error", NO_MEMORY)
@pytest.mark.parametrize("where", ["copy", "losses"])
def test_out_of_gpu_memory_names_the_micro_batch_and_what_to_lower(
    tmp_path: Path, where: str, error: RuntimeError
) -> None:
    with pytest.raises(DataError, match=r"micro-batch of \d+ items, \d+ frames.*lower training.micro_batch \(now 6\)"):
        train(TooBig(where, error), config(), 0, tmp_path / "work")
    assert not (tmp_path / "work" / "checkpoint.pt").exists()


def test_out_of_gpu_memory_with_one_item_does_not_say_to_divide_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the one item \d+, [123] frames.*cannot be divided; take a smaller") as raised:
        train(TooBig("losses", NO_MEMORY[0]), config(micro_batch=1), 0, tmp_path / "work")
    assert "training.micro_batch" not in str(raised.value)


def test_out_of_gpu_memory_in_validation_names_what_its_batches_follow(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"step 3: .*the validation's batches; lower training.micro_batch \(now 6\)"):
        train(TooBig("validation", NO_MEMORY[0]), config(), 0, tmp_path / "work")


def test_out_of_gpu_memory_for_the_optimisers_states_is_no_matter_of_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(optimiser: torch.optim.Optimizer) -> None:
        raise NO_MEMORY[0]

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(DataError, match=r"step 0: .*optimiser's states, which do not depend on the batch") as caught:
        train(Regression(), config(), 0, tmp_path / "work")
    assert "micro_batch" not in str(caught.value)


def test_any_other_error_of_a_step_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shape mismatch"):
        train(TooBig("losses", RuntimeError("shape mismatch")), config(), 0, tmp_path / "work")


def test_a_python_without_the_packages_is_one_line_that_names_the_environment() -> None:
    """`.venv/bin/dvc repro` with nothing activated starts whichever python comes first."""
    root = Path(__file__).parent.parent.parent
    bare = [sys.executable, "-S", "-m", "stages.targets", "--dataset", "demo", "--teacher", "minilm"]
    done = subprocess.run(bare, cwd=root, capture_output=True, text=True)
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 1 and sys.executable in line
    assert re.search(r"has no package `\w+`: activate the environment", line)
