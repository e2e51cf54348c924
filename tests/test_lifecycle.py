"""How stages end early: pre-emption, Ctrl-C, a killed parent, a second writer. Real processes, real signals."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parent.parent

TRAINING = """
import sys, time
from pathlib import Path
sys.path.insert(0, "tests")
from test_training import Regression, config
from slt import lifecycle
from slt.store import work_folder
from slt.training import train

lifecycle.handle_signals()

class Slow(Regression):
    def losses(self, batch):
        print("step", flush=True)
        time.sleep(0.02)
        return super().losses(batch)

work = work_folder("training", "key")
run = train(Slow(), config(max_steps=60, validate_every=20), 0, work)
print("done", run.step, len(run.curves), flush=True)
"""

ORPHAN = """
import os, sys, time
from slt import lifecycle
lifecycle.POLL_SECONDS = 0.1
print(os.getpid(), flush=True)
time.sleep(IMPORTS)
lifecycle.handle_signals()
lifecycle.die_with_parent()
time.sleep(60)
"""


def start(code: str, work: Path, **options: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "SLT_WORK": str(work), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["pytest", "slt.training", "torch._dynamo"])  # the last by an optimiser, when it is made


class Training:
    """TRAINING in a process of its own, forked from one that has imported torch; used like a ``subprocess.Popen``."""

    def __init__(self, work: Path, seconds: float = 0.02) -> None:
        """``seconds`` are those that a micro-batch sleeps."""
        (out, theirs_out), (err, theirs_err) = os.pipe(), os.pipe()
        self.stdout, self._stderr = open(out), open(err)  # noqa: SIM115
        code = TRAINING.replace("0.02", str(seconds))
        given = [Connection(fd, readable=False) for fd in (theirs_out, theirs_err)]
        self._process = FORKING.Process(target=_trained, args=(code, str(work), *given), daemon=True)
        self._process.start()
        for connection in given:
            connection.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("training", timeout)
        return self.returncode

    def communicate(self, timeout: float = 60) -> tuple[str, str]:
        with self.stdout, self._stderr:  # a few lines each, so neither pipe is ever full
            self.wait(timeout)
            return self.stdout.read(), self._stderr.read()


def _trained(code: str, work: str, out: Connection, err: Connection) -> None:
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    os.environ["SLT_WORK"] = work
    os.chdir(ROOT)
    torch.set_num_threads(1)
    exec(compile(code, "training", "exec"), {"__name__": "__main__"})


def wait_for_steps(process: subprocess.Popen[str] | Training, count: int) -> None:
    assert process.stdout is not None
    for _ in range(count):
        assert process.stdout.readline() == "step\n"


def result(work: Path) -> tuple[bytes, dict[str, Any]]:
    """The best weights, byte for byte, and the last state; its pickle may share equal strings in another way."""
    (folder,) = (path for path in (work / "training").iterdir() if path.is_dir())
    assert sorted(path.name for path in folder.iterdir()) == ["best.pt", "checkpoint.pt"]
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    tensors = [*state["model"].values(), *(x for s in state["optimiser"]["state"].values() for x in s.values())]
    state["model"] = state["optimiser"]["state"] = b"".join(tensor.numpy().tobytes() for tensor in tensors)
    state["curves"] = [tuple(point) for point in state["curves"]]
    return (folder / "best.pt").read_bytes(), state


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[bytes, dict[str, Any]], int]:
    """What an undisturbed training leaves, and how many micro-batches it took."""
    work = tmp_path_factory.mktemp("whole")
    out, err = Training(work).communicate(timeout=120)
    assert "done 60" in out, err
    return result(work), out.count("step\n")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_training_stopped_in_mid_interval_goes_on_to_the_same_weights(
    tmp_path: Path, uninterrupted: tuple[tuple[bytes, dict[str, Any]], int], number: signal.Signals, code: int
) -> None:
    reference, steps = uninterrupted
    process = Training(tmp_path)
    wait_for_steps(process, 65)  # micro-batches: past the first validation, before the second
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    done = 65 + out.count("step\n")
    assert done < steps
    out, err = Training(tmp_path).communicate(timeout=120)
    assert "done 60" in out, err
    assert result(tmp_path) == reference
    repeated = done + out.count("step\n") - steps
    # a signal that can be heard loses nothing; SIGKILL at most the steps since the last checkpoint (20 of 60)
    assert repeated == 0 if number != signal.SIGKILL else repeated <= steps // 3


def test_a_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    process = Training(tmp_path, seconds=30)
    wait_for_steps(process, 1)
    process.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)  # asked, it would finish its step first
    process.terminate()
    assert process.wait(timeout=5) == 143
    process.communicate()


def test_a_process_of_a_launcher_dies_with_the_dvc_that_started_the_launcher() -> None:
    dvc = subprocess.Popen(["sleep", "60"])
    code = "import os\nos.environ['SLT_STARTER'] = " + repr(str(dvc.pid)) + ORPHAN.replace("IMPORTS", "0")
    process = start(code, ROOT / "unused")
    assert process.stdout is not None and process.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    dvc.kill()
    dvc.wait()
    assert process.wait(timeout=10) == 143
    process.communicate()


@pytest.mark.parametrize("imports", [0, 3])
def test_a_stage_dies_with_the_dvc_that_started_it_even_while_it_imports(imports: int) -> None:
    code = ORPHAN.replace("IMPORTS", str(imports))
    parent_code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {code!r}]); time.sleep(60)"
    parent = start(parent_code, ROOT / "unused")
    assert parent.stdout is not None
    orphan = int(parent.stdout.readline())
    assert Path(f"/proc/{orphan}").exists()
    parent.kill()
    deadline = time.monotonic() + 10
    while _alive(orphan) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(orphan)
    parent.communicate()


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_second_writer_is_refused_and_told_who_holds_the_work(tmp_path: Path) -> None:
    first = Training(tmp_path, seconds=30)
    wait_for_steps(first, 1)
    second = Training(tmp_path)
    _, err = second.communicate(timeout=60)
    assert second.returncode != 0
    assert "is making the same output of training" in err
    assert f"process {first.pid} " in err
    first.kill()
    first.communicate()
    third = Training(tmp_path)  # a killed holder holds nothing
    wait_for_steps(third, 3)
    third.kill()
    third.communicate()


def test_a_stopped_stage_exits_with_the_signals_code_and_says_that_it_goes_on(tmp_path: Path) -> None:
    code = (
        "import time\nfrom slt.stage import run\n"
        "def main(row):\n    print('step', flush=True)\n    time.sleep(60)\n"
        "import sys\nsys.argv = ['stage', '--row', 'r']\nrun('finetune', ['row'], main)"
    )
    process = start(code, tmp_path)
    wait_for_steps(process, 1)
    process.terminate()
    _, err = process.communicate(timeout=10)
    assert process.returncode == 143
    assert "finetune@r: stopped by SIGTERM; the same command goes on from here" in err
    assert not list(tmp_path.glob("stage-times.jsonl")), json.dumps([str(p) for p in tmp_path.iterdir()])
