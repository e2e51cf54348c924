"""A disk that fills up at any write call: nothing half-written is published, one clear line, the next run is whole."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CC = shutil.which("cc")
pytestmark = pytest.mark.skipif(CC is None or sys.platform != "linux", reason="needs Linux and a C compiler")


def test_full_at_every_write_call_of_a_stage(tmp_path: Path) -> None:
    shim = tmp_path / "full_disk.so"
    assert CC is not None
    subprocess.run([CC, "-shared", "-fPIC", "-O1", "-o", shim, HERE / "full_disk.c", "-ldl"], check=True)
    tests = os.pathsep.join([str(HERE.parent.parent), str(HERE.parent)])
    done = subprocess.run(
        [sys.executable, HERE / "full_disk.py", tmp_path],
        env={**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": tests, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    stages = [json.loads(line) for line in done.stdout.splitlines()]
    assert [stage["stage"] for stage in stages] == ["frames", "features", "targets", "trained", "evaluation"]
    for stage in stages:
        assert stage["wrong"] == [], stage
        assert {"write", "fsync", "rename"} <= stage["kinds"].keys() and sum(stage["kinds"].values()) >= 10, stage
