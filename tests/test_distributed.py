"""Training by several processes: the result of one, stopped and resumed as one, one message. Real processes on gloo."""

import json
import logging
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import distributed_stage as stages
import pytest
import torch

from slt import launch
from slt.batching import epoch_steps
from slt.errors import ConfigError
from slt.ranks import joined

ROOT = Path(__file__).parent.parent
TOLERANCE = {"rtol": 1e-4, "atol": 1e-6}
"""of weights, optimiser state and running statistics, after 12 steps"""

FORKS = multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module", autouse=True)
def _forks() -> None:
    """All processes are forked from one that has imported torch: it takes seconds, and there are some thirty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}")
        patch.setenv("OMP_NUM_THREADS", "1")
        FORKS.set_forkserver_preload(["distributed_stage"])
        forkserver.ensure_running()


class Processes:
    """A stage in several processes, as a launcher would start them."""

    def __init__(self, world: int, work: Path, phase: Callable[[], Any] = stages.Phase) -> None:
        self.folder = work.parent / f"{work.name}-{time.monotonic_ns()}"
        self.folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.all = [
            FORKS.Process(
                target=stages.start, args=(phase, variables(work, rank, world, port), self.folder / str(rank))
            )
            for rank in range(world)
        ]
        for process in self.all:
            process.start()

    def printed(self, rank: int) -> str:
        path = self.folder / f"{rank}.out"
        return path.read_text() if path.exists() else ""

    def wait_for(self, rank: int, micro_batches: int) -> None:
        deadline = time.monotonic() + 60
        while self.printed(rank).count("micro-batch\n") < micro_batches:
            assert self.all[rank].is_alive() and time.monotonic() < deadline
            time.sleep(0.005)

    def send(self, rank: int, number: signal.Signals) -> None:
        pid = self.all[rank].pid
        assert pid is not None
        os.kill(pid, number)

    def end(self) -> tuple[list[int | None], list[str]]:
        """Exit codes, and the lines that all of them logged."""
        for process in self.all:
            process.join(60)
            process.kill()
            process.join()
        lines = [line for path in sorted(self.folder.glob("*.err")) for line in path.read_text().splitlines() if line]
        return [process.exitcode for process in self.all], lines


def variables(work: Path, rank: int, world: int, port: int) -> dict[str, str]:
    own = {"SLT_WORK": str(work), "SLT_DEVICE": "cpu", "GLOO_SOCKET_IFNAME": "lo"}
    launcher = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {**own, **{name: str(value) for name, value in launcher.items() if world > 1}}


def state(work: Path) -> dict[str, Any]:
    (folder,) = (path for path in (work / "training").iterdir() if path.is_dir())
    assert sorted(path.name for path in folder.iterdir()) == ["best.pt", "checkpoint.pt"]
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def step(work: Path) -> int:
    return torch.load(work / "training/key/checkpoint.pt", weights_only=True)["step"]


def logged_steps(work: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (work / "training/run-log.jsonl").read_text().splitlines()]


def assert_agree(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours["step"] == theirs["step"] and ours["best_step"] == theirs["best_step"]
    torch.testing.assert_close(ours["model"], theirs["model"], **TOLERANCE)
    torch.testing.assert_close(ours["optimiser"]["state"], theirs["optimiser"]["state"], **TOLERANCE)
    points = [[tuple(point[:2]) for point in part["curves"]] for part in (ours, theirs)]
    assert points[0] == points[1]
    values = [[point[2] for point in part["curves"]] for part in (ours, theirs)]
    assert values[0] == pytest.approx(values[1], rel=1e-4)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process, started without a launcher, ends with."""
    work = tmp_path_factory.mktemp("alone")
    codes, lines = Processes(1, work).end()
    assert codes == [0], lines
    return state(work)


@pytest.mark.parametrize("world", [2, 3])
def test_the_number_of_processes_does_not_change_the_result(tmp_path: Path, alone: dict[str, Any], world: int) -> None:
    processes = Processes(world, tmp_path)
    codes, lines = processes.end()
    assert codes == [0] * world, lines
    ours = state(tmp_path)
    assert_agree(ours, alone)
    assert torch.equal(ours["model"]["unused"], torch.ones(4, 4)), "a parameter without gradient has decayed"
    # the leading process alone speaks, counts steps and takes the time
    assert ["done 12" in processes.printed(rank) for rank in range(world)] == [True] + [False] * (world - 1)
    assert sum("step 4: score" in line for line in lines) == 1
    assert logged_steps(tmp_path) == list(range(1, 13))
    assert len((tmp_path / "stage-times.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("phase", "micro_batches"), [(stages.OneItemEach, [1] * 6 + [2] * 7), (stages.LongItems, [3, 3, 3, 4])]
)
def test_a_step_may_have_more_micro_batches_than_processes_or_fewer(
    tmp_path: Path, phase: type[stages.Phase], micro_batches: list[int]
) -> None:
    steps = epoch_steps(phase().lengths(0), phase.settings.micro_batch, phase.settings.accumulate, 0, 0)
    assert sorted(map(len, steps)) == micro_batches
    for world in (1, 3):
        codes, lines = Processes(world, tmp_path / str(world), phase).end()
        assert codes == [0] * world, lines
    assert_agree(state(tmp_path / "3"), state(tmp_path / "1"))


def test_phase_3_with_all_its_losses_does_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    for world in (1, 2):
        codes, lines = Processes(world, tmp_path / str(world), stages.finetuned).end()
        assert codes == [0] * world, lines
    ours, theirs = (state(tmp_path / str(world)) for world in (2, 1))
    # whose gradient is zero but for rounding, and what averages the layer below it
    without = r"encoder\.project\.bias|encoder\.norm\.running_mean|.*(key|k_proj)\.bias"
    apart = {name for name in ours["model"] if re.fullmatch(without, name)}
    assert len(apart) == 5 and any(name.startswith("encoder.norm.") for name in ours["model"])
    for name in ours["model"].keys() - apart:
        torch.testing.assert_close(ours["model"][name], theirs["model"][name], rtol=0, atol=5e-6, msg=name)
    losses, others = ({tuple(p[:2]): p[2] for p in part["curves"] if "train_loss" in p[1]} for part in (ours, theirs))
    assert {name for _, name in losses} == {"train_loss_text", "train_loss_sem", "train_loss_gloss"}
    assert losses == pytest.approx(others, rel=1e-6)


def test_two_micro_batches_on_two_processes_give_the_same_bits(tmp_path: Path) -> None:
    for world in (1, 2):
        codes, lines = Processes(world, tmp_path / str(world), stages.TwoMicroBatches).end()
        assert codes == [0] * world, lines
    ours, theirs = (state(tmp_path / str(world))["model"] for world in (1, 2))
    running = {name for name in ours if "running" in name}  # torch keeps them in float64 until they are stored
    assert running and all(torch.equal(ours[name], theirs[name]) for name in set(ours) - running)


def test_a_signal_to_one_stops_all_after_the_same_step_and_one_goes_on(tmp_path: Path, alone: dict[str, Any]) -> None:
    pair = Processes(2, tmp_path, stages.Slow)
    pair.wait_for(1, 5)  # one in each step
    pair.send(1, signal.SIGTERM)
    codes, lines = pair.end()
    assert codes == [143, 143], lines
    assert sum("stopped by SIGTERM" in line for line in lines) == 1
    assert 4 < step(tmp_path) < 12 and step(tmp_path) % 4, "not between validations"
    codes, lines = Processes(1, tmp_path).end()
    assert codes == [0], lines
    assert_agree(state(tmp_path), alone)
    assert logged_steps(tmp_path) == list(range(1, 13)), "a step was lost"


def test_two_go_on_where_one_was_stopped(tmp_path: Path, alone: dict[str, Any]) -> None:
    single = Processes(1, tmp_path, stages.Slow)
    single.wait_for(0, 12)
    single.send(0, signal.SIGINT)
    assert single.end()[0] == [130]
    assert 1 < step(tmp_path) < 12
    codes, lines = Processes(2, tmp_path).end()
    assert codes == [0, 0], lines
    assert_agree(state(tmp_path), alone)


@pytest.mark.parametrize("killed", [0, 1])
def test_when_one_is_killed_the_other_says_so_in_one_line(tmp_path: Path, killed: int) -> None:
    pair = Processes(2, tmp_path, stages.Slow)
    pair.wait_for(killed, 3)
    pair.send(killed, signal.SIGKILL)
    codes, lines = pair.end()
    assert codes[killed] == -signal.SIGKILL and codes[1 - killed] == 2
    said = [line for line in lines if "ERROR" in line]
    assert len(said) == 1 and f"process {1 - killed} of 2 (from 0) has lost another one" in said[0]
    assert "Traceback" not in "".join(lines)


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        (stages.DamagedForOne, r"clip 7 is damaged"),
        (stages.DamagedForAll, r"step \d+: the gradient is not finite"),
        (stages.OneMicroBatch, r"2 processes for the 1 micro-batches of a step"),
        (stages.OtherData, r"do not train the same thing"),
        (stages.Drifting, r"step 4: the processes hold different weights"),
    ],
)
def test_an_error_is_said_once(tmp_path: Path, phase: type[stages.Phase], message: str) -> None:
    codes, lines = Processes(2, tmp_path, phase).end()
    assert codes == [2, 2], lines
    said = [line for line in lines if "ERROR" in line]
    assert len(said) == 1 and re.search(message, said[0]), lines
    assert "Traceback" not in "".join(lines)


def test_a_stage_starts_itself_through_torchrun_and_a_signal_to_it_leaves_the_checkpoint(tmp_path: Path) -> None:
    stage = subprocess.Popen(
        [sys.executable, "-m", "distributed_stage"],
        cwd=ROOT,
        env={
            **os.environ,
            **variables(tmp_path, 0, 1, 0),
            "SLT_LAUNCH": "torchrun --standalone --nproc-per-node 2",
            "PATH": os.defpath,  # torchrun is the environment's
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
            "OMP_NUM_THREADS": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert stage.stdout is not None
    for _ in range(8):
        assert stage.stdout.readline() == "micro-batch\n"
    processes = [json.loads(line)["process"] for line in (tmp_path / "training/run-log.jsonl").read_text().splitlines()]
    assert stage.pid not in processes, "the stage trains alone"
    stage.send_signal(signal.SIGTERM)
    _, err = stage.communicate(timeout=60)
    assert stage.returncode != 0
    assert err.count("the same command goes on from here") == 1, err
    assert 1 < step(tmp_path) < 12


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str], dict[str, str]]]:
    """What would have taken the place of this process, which no launcher has started."""
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    calls = list[tuple[str, list[str], dict[str, str]]]()
    monkeypatch.setattr(os, "execve", lambda *call: calls.append(call))
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "stages.finetune", "--row", "a row"])
    return calls


def test_a_launcher_is_given_the_stages_own_command(
    executed: list[tuple[str, list[str], dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLT_LAUNCH", "torchrun --standalone --rdzv-conf 'join_timeout=9'")
    monkeypatch.setenv("PATH", "")
    launch.through_launcher()
    ((program, command, environment),) = executed
    assert program == str(Path(sys.executable).with_name("torchrun"))
    assert command[1:] == ["--standalone", "--rdzv-conf", "join_timeout=9", "-m", "stages.finetune", "--row", "a row"]
    assert "SLT_LAUNCH" not in environment, "its processes would start it again"


@pytest.mark.parametrize(
    "variables", [{}, {"SLT_LAUNCH": ""}, {"SLT_LAUNCH": "torchrun", "RANK": "0", "WORLD_SIZE": "1"}]
)
def test_a_stage_without_a_launcher_or_already_in_one_starts_none(
    executed: list[tuple[str, list[str], dict[str, str]]], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    monkeypatch.delenv("SLT_LAUNCH", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    launch.through_launcher()
    assert executed == []


def test_a_launcher_that_cannot_be_started_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    moved = tmp_path / "torchrun"  # an environment that was moved leaves such scripts
    moved.write_text("#!/gone/bin/python\n")
    moved.chmod(0o755)
    for given, message in (
        ("torchun --standalone", r"nor PATH has a program `torchun`"),
        ("torchrun 'a", r"which no shell can read \(No closing quotation\)"),
        (str(moved), r"torchrun cannot be started \(.*No such file"),
    ):
        monkeypatch.setenv("SLT_LAUNCH", given)
        with pytest.raises(ConfigError, match=f"SLT_LAUNCH is `{given}`.*{message}.*torchrun --standalone"):
            launch.through_launcher()


@pytest.fixture
def follows() -> Iterator[None]:
    """For a test in which this process is not the leading one: it logs errors alone then, which others must not."""
    loggers = [logging.getLogger(name) for name in (None, "slt")]
    before = [logger.level for logger in loggers]
    yield
    launch.join(0, 1)
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.mark.usefixtures("follows")
def test_more_processes_than_gpus_are_named_with_the_number_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in {"RANK": "2", "WORLD_SIZE": "3", "LOCAL_RANK": "2", "CUDA_VISIBLE_DEVICES": "0,1"}.items():
        monkeypatch.setenv(name, value)
    for device, message in (
        ("", r"LOCAL_RANK is 2, but this process sees 2 GPUs \(CUDA_VISIBLE_DEVICES is 0,1\).*--nproc-per-node 2"),
        ("cuda:1", r"SLT_DEVICE is `cuda:1`, one GPU for several processes"),
    ):
        monkeypatch.setenv("SLT_DEVICE", device)
        with pytest.raises(ConfigError, match=message), joined():
            pass


def test_half_of_a_launchers_variables_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ConfigError, match="WORLD_SIZE is 2, but RANK is not set"), joined():
        pass
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ConfigError, match="WORLD_SIZE is `two`"), joined():
        pass
