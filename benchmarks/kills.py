"""Kill `dvc repro` in every stage's real work, over and over, and compare what comes out with an undisturbed run.

``python benchmarks/kills.py --kills 100 --seed 1``: two clones of this checkout with miniature parameters. One is
reproduced in peace. In the other `dvc repro` is killed by SIGKILL, in turn the whole process group and DVC alone (in
frames the group alone): in each kind of stage at seeded random moments of its work (after so many shards or steps of
this attempt, as the run log counts them, or, where a stage has few such units, some time after it has taken its work
folder), and once in each kind at the moment when its output is published and `dvc.lock` does not know it yet. Then it
is left to end.

Two things must hold, else the exit code is 1: every output has the hash that it has in peace; and shards and steps made
in all attempts together exceed those made in peace by at most one shard, or one interval between checkpoints, a kill.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from test_pipeline import make_clone  # noqa: E402

DEADLINE = 1800.0
EVERY = 20  # steps between two checkpoints
TRAINING = {"max_steps": 240, "warmup_steps": 5, "validate_every": EVERY}
CHANGES = {
    "corpus.options.train_clips": 200,  # so that frames, a few milliseconds a shard, are not done before a kill arrives
    "frames.clips_per_shard": 1,
    **{
        f"{phase}.training.{key}": value
        for phase in ("sign2sem", "sem2text", "finetune")
        for key, value in TRAINING.items()
    },
}
BY_COUNT = ("frames", "features", "sign2sem", "sem2text", "finetune")
"""kinds of stages that are killed after so many shards or steps of an attempt"""


class Repro:
    """One `dvc repro` in a clone, and what its output says."""

    def __init__(self, clone: Path) -> None:
        self.clone, self.log = clone, clone.parent / f"{clone.name}.log"
        self.log.touch()
        self.offset = self.log.stat().st_size
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {key: value for key, value in os.environ.items() if key not in ("SLT_RAW", "SLT_WORK")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dvc", "repro"],
                cwd=clone,
                env={**environment, "PATH": path, "HF_HUB_OFFLINE": "1", "SLT_WORKERS": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stages(self) -> list[str]:
        """The stages that this process has started, in their order."""
        text = self.log.read_bytes()[self.offset :].decode(errors="replace")
        return [part.partition("'")[0] for part in text.split("Running stage '")[1:]]

    def ended(self) -> bool:
        return self.process.poll() is not None

    def kill(self, alone: bool) -> None:
        """SIGKILL; then wait until nothing of it is left, since an orphan may write a checkpoint before it goes."""
        if alone:
            self.process.kill()
        else:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        until = time.monotonic() + 60
        while any(runs_in(process, self.clone) for process in psutil.process_iter()) and time.monotonic() < until:
            time.sleep(0.2)


def runs_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def kind(stage: str) -> str:
    return stage.partition("@")[0]


def executed(clone: Path) -> Counter[str]:
    """Shards, steps and evaluations made so far, by kind of stage, as the run logs of all attempts count them."""
    logs = (clone / "data/work").glob("*/run-log.jsonl")
    return Counter({log.parent.name: len(log.read_text(encoding="utf-8").splitlines()) for log in logs})


def outputs(clone: Path) -> dict[str, str]:
    """Hash of every output, as DVC recorded it."""
    stages = yaml.safe_load((clone / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def first_output(clone: Path, stage: str) -> Path:
    """The folder that a stage publishes, read from the lock of a clone that has run it."""
    return Path(yaml.safe_load((clone / "dvc.lock").read_text())["stages"][stage]["outs"][0]["path"])


def in_peace(clone: Path) -> dict[str, float]:
    """Run it all; the stages in their order, with the seconds of each one's work, imports apart."""
    repro = Repro(clone)
    if repro.process.wait(DEADLINE):
        sys.exit(repro.log.read_text()[-3000:])
    times = (clone / "data/work/stage-times.jsonl").read_text().splitlines()
    work = {entry["stage"].rstrip("@"): entry["seconds"] for entry in map(json.loads, times)}
    return {stage: work[stage] for stage in repro.stages()}


def plan(stages: list[str], kills: int, only: list[str], draw: random.Random) -> dict[str, int]:
    """Kills inside the work of each stage, in the order in which DVC runs them; a kind's are spread over its rows."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for stage in stages:
        if not only or kind(stage) in only:
            kinds[kind(stage)].append(stage)
    each = max(1, round(kills / len(kinds)) - 1)  # one more falls at publishing
    aims = Counter(draw.choice(names) for names in kinds.values() for _ in range(each))
    return {stage: aims[stage] for names in kinds.values() for stage in names}


def is_working(clone: Path, stage: str) -> bool:
    """Whether a process holds a work folder of this kind of stage, which it takes when its imports are done."""
    folders = [folder for folder in (clone / "data/work").glob(f"{kind(stage)}*/**/") if folder.is_dir()]
    inodes = {str(folder.stat().st_ino) for folder in folders}
    locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    return any(fields[1] == "FLOCK" and fields[5].rpartition(":")[2] in inodes for fields in map(str.split, locks))


def is_locked(clone: Path, stage: str) -> bool:
    """Whether DVC knows the stage's output, so that it will not run again."""
    lock = clone / "dvc.lock"
    return lock.is_file() and stage in yaml.safe_load(lock.read_text())["stages"]


def wait_for(moment: object, repro: Repro) -> bool:
    """Whether ``moment()`` came before the process ended."""
    assert callable(moment)
    until = time.monotonic() + DEADLINE
    while not repro.ended() and time.monotonic() < until:
        if moment():
            return True
        time.sleep(0.003)
    return False


@dataclass(frozen=True)
class Aim:
    """Where a kill is to fall."""

    stage: str
    publishing: Path | None
    """the output whose appearance is waited for, or None for a moment inside the work"""
    most: int
    """shards or steps of the attempt after which it may fall"""
    seconds: float
    """that the undisturbed stage worked after its imports"""


def attempt(war: Path, order: list[str], aim: Aim, alone: bool, draw: random.Random) -> tuple[str, str]:
    """One `dvc repro` and its kill; the stage that it fell in, and whether that was the one aimed at."""
    repro, stage = Repro(war), aim.stage

    def current() -> str | None:
        return next(iter(repro.stages()[-1:]), None)

    def there() -> bool:
        now = current()
        return now is not None and order.index(now) >= order.index(stage)  # what is finished is passed over

    wait_for(there, repro)
    before = executed(war)[kind(stage)]
    if aim.publishing is not None:
        output = war / aim.publishing
        wait_for(lambda: output.exists() or current() != stage, repro)
    elif kind(stage) in BY_COUNT:
        count = draw.randint(1, aim.most)
        wait_for(lambda: executed(war)[kind(stage)] >= before + count or current() != stage, repro)
        time.sleep(draw.uniform(0, 0.1))
    else:
        if kind(stage) == "tables":  # which has no work folder; with its imports it takes longer than this
            longest = aim.seconds
        else:
            wait_for(lambda: is_working(war, stage) or current() != stage, repro)
            # what was made before is not made again; targets take their folder when the teacher is already there
            longest = 0.3 if kind(stage) == "targets" else 0.5 * aim.seconds
        end = time.monotonic() + draw.uniform(0, longest)
        wait_for(lambda: time.monotonic() > end or current() != stage, repro)
    if repro.ended():
        return "none", "ended before the kill"
    now = current() or "none"
    repro.kill(alone)
    if now != stage:
        return now, f"fell in {now}"
    if aim.publishing is not None:
        return now, "hit" if not is_locked(war, stage) else "after dvc.lock was written"
    return now, "hit"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[], metavar="STAGE", help="kinds of stages to be killed in")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peace, war = (make_clone(Path(folder) / name, CHANGES) for name in ("peace", "war"))
        seconds = in_peace(peace)
        say(f"undisturbed: {len(seconds)} stages")

        draw, fell = random.Random(arguments.seed), defaultdict[str, Counter[str]](Counter)
        begun, kills, units, left_over = time.monotonic(), Counter[str](), executed(peace), 0
        planned = plan(list(seconds), arguments.kills, arguments.only, draw)
        for stage, inside in planned.items():
            rows = [name for name in seconds if kind(name) == kind(stage)]
            left = inside + left_over + (stage == rows[0])
            while left and not is_locked(war, stage):  # a stage may end before its last kill: the next one gets it
                publishing = left == 1 and stage == rows[0]
                # a stage of which DVC alone is killed works on until it notices: frames would be done
                alone = kills.total() % 2 == 1 and not publishing and kind(stage) != "frames"
                aim = Aim(
                    stage,
                    first_output(peace, stage) if publishing else None,
                    # so that work is left for all of its kills
                    max(1, units[kind(stage)] // len(rows) // (inside + 3)),
                    seconds[stage],
                )
                now, where = attempt(war, list(seconds), aim, alone, draw)
                how = "at publishing" if publishing else "DVC alone" if alone else "process group"
                kills[kind(now)] += 1
                fell[kind(stage)][f"{how}: {where}"] += 1
                left -= 1
                say(f"{kills.total()}: {stage}, {how}: {where}")
            left_over = left
        last = Repro(war)
        if last.process.wait(DEADLINE) != 0:
            sys.exit(last.log.read_text()[-3000:])
        say(f"with kills: {time.monotonic() - begun:.0f} s")

        wrong = report(fell, kills, executed(peace), executed(war))
        first, second = outputs(peace), outputs(war)
        different = sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))
        say(f"{len(first)} outputs, {len(different)} different {different}")
        sys.exit(1 if different or wrong else 0)


def report(fell: dict[str, Counter[str]], kills: Counter[str], peace: Counter[str], war: Counter[str]) -> bool:
    """Print a table of stages; whether any of them made more than it may have."""
    wrong = False
    ways = ("process group", "DVC alone", "at publishing")
    say(
        "| stage | " + " | ".join(f"kills, {way}" for way in ways) + " | missed | made in peace | made more | allowed |"
    )
    say("|---" * 8 + "|")
    for stage, places in fell.items():
        hits = [places[f"{way}: hit"] for way in ways]
        interval = EVERY if stage in ("sign2sem", "sem2text", "finetune") else 1
        more, allowed = war[stage] - peace[stage], interval * kills[stage]
        wrong |= not 0 <= more <= allowed
        made = [str(number) for number in (peace[stage], more, allowed)] if peace[stage] else ["–", "–", "–"]
        say("| " + " | ".join([stage, *map(str, hits), str(places.total() - sum(hits)), *made]) + " |")
    return wrong


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
