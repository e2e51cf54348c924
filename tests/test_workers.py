"""Worker processes end with the work, and a lost one is an error with a way on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from slt.errors import ConfigError, DataError
from slt.frame_decoding import by_threads
from slt.workers import process_pool, worker_count

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("given", ["none", "0", "-1", "1.5"])
def test_a_wrong_number_of_workers_is_named(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLT_WORKERS", given)
    with pytest.raises(ConfigError, match=f"SLT_WORKERS is `{given}`"):
        worker_count()


def test_as_many_workers_as_cores_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLT_WORKERS", "")
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 8})  # as a batch system gives them
    assert worker_count() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert worker_count() == 64
    monkeypatch.setenv("SLT_WORKERS", "7")
    assert worker_count() == 7


def test_threads_decode_frames_on_the_cores_that_they_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 8})
    _, image = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))
    with by_threads(16, np.empty) as decode:
        assert len(decode([image] * 64, Path("shard")).parts) == 3


def test_a_killed_worker_is_one_clear_error() -> None:
    with pytest.raises(DataError, match=r"a worker process was killed.*SLT_WORKERS lower"), process_pool(1) as pool:
        pool.submit(os._exit, 9).result()


SCRIPT = """
import os, time
from slt.workers import process_pool
if __name__ == "__main__":
    with process_pool(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(60)
"""


def test_no_worker_outlives_its_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()
