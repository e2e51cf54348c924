"""Kill `dvc repro` at random times, over and over, and compare what comes out with an undisturbed run.

``python benchmarks/kills.py --kills 20 --seed 1``: two clones of this checkout with the miniature parameters of
`tests/test_pipeline.py`. One is reproduced in peace; in the other `dvc repro` is killed by SIGKILL, in turn the whole
process group and DVC alone, at seeded random times, then left to end. Every output must have the same hash in both.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from test_pipeline import make_clone  # noqa: E402

DEADLINE = 3600.0


def start(clone: Path) -> subprocess.Popen[bytes]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {key: value for key, value in os.environ.items() if key not in ("SLT_RAW", "SLT_WORK")}
    with (clone.parent / f"{clone.name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"],
            cwd=clone,
            env={**environment, "PATH": path, "HF_HUB_OFFLINE": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def outputs(clone: Path) -> dict[str, str]:
    """Hash of every output, as DVC recorded it."""
    stages = yaml.safe_load((clone / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def running_stage(clone: Path) -> str:
    """The stage that was started last, as DVC's output names it."""
    text = (clone.parent / f"{clone.name}.log").read_text()
    return text.rpartition("Running stage '")[2].partition("'")[0] or "(none yet)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=25.0, help="seconds that an attempt may live (default 25)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peace, war = (make_clone(Path(folder) / name) for name in ("peace", "war"))
        begun = time.monotonic()
        if start(peace).wait(DEADLINE) != 0:
            sys.exit((peace.parent / "peace.log").read_text()[-3000:])
        undisturbed = time.monotonic() - begun

        draw = random.Random(arguments.seed)
        hit: Counter[str] = Counter()
        begun = time.monotonic()
        for number in range(arguments.kills):
            process = start(war)
            try:
                process.wait(draw.uniform(1.0, arguments.longest))
            except subprocess.TimeoutExpired:
                alone = number % 2 == 1
                hit[f"{running_stage(war)} ({'DVC alone' if alone else 'process group'})"] += 1
                if alone:
                    process.kill()
                else:
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        while (code := start(war).wait(DEADLINE)) != 0:  # an orphan may live for a second more and hold its folder
            if time.monotonic() - begun > DEADLINE:
                sys.exit(f"exit code {code}\n" + (war.parent / "war.log").read_text()[-3000:])
            time.sleep(2)
        disturbed = time.monotonic() - begun

        first, second = outputs(peace), outputs(war)
        different = sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))
        sys.stdout.write(f"undisturbed {undisturbed:.0f} s, with {hit.total()} kills {disturbed:.0f} s\n")
        for stage, count in sorted(hit.items()):
            sys.stdout.write(f"  {count} in {stage}\n")
        sys.stdout.write(f"{len(first)} outputs, {len(different)} different {different}\n")
        sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
