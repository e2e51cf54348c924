"""A whole run of one dataset at size, without DVC: seconds, rates, steps, GPU use and memory of each stage.

    python benchmarks/at_size.py DIR [--dataset phoenix14t_rehearsal] [--set KEY=VALUE ...] [--out FILE.json]

Needs what the stages need and no more, so that it also runs on a GPU machine that has torch, transformers and timm
but no DVC (docs/rehearsal.md). Everything is written below DIR; the same command again repeats no finished stage.
Stages of which none needs another run at the same time, but for frames, features and the first row's training, which
have the machine to themselves; ``--together`` starts every stage as soon as it can, for the table in the shortest time.

Memory is the highest sum of the proportional set sizes (PSS) of a stage's processes, so that what they share counts
once (`memory_pss_mb`; `memory_mb` in older results is the largest process alone).
"""

# ruff: noqa: T201  (what it prints is its result)

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import runpy
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from any folder, installed or not

from side_by_side import machine

from slt.config.base import lookup
from slt.store import read_json

ROOT = Path(__file__).resolve().parents[1]
STARTED = time.time()
SYSTEMS = ("sign2text", "sign2sem2text", "sign2semtext", "sign2semtext_frames")
ON_A_GPU: dict[str, Any] = {
    "frames.size": 224,
    "frames.stride": 1,
    "features.batch": 256,
    "features.precision": "bfloat16",
    "wikipedia.max_sentences": 10000,
    "sign2sem.training": {
        "precision": "bfloat16",
        "micro_batch": 8192,
        "accumulate": 1,
        "max_steps": 1500,
        "validate_every": 500,
    },
    "sem2text.training": {
        "precision": "bfloat16",
        "micro_batch": 1024,
        "accumulate": 4,
        "max_steps": 2000,
        "validate_every": 500,
    },
    "finetune.training": {
        "precision": "bfloat16",
        "micro_batch": 8192,
        "accumulate": 1,
        "max_steps": 2000,
        "validate_every": 500,
        "warmup_steps": 200,
    },
    "evaluate.batch": 512,
}
"""what a GPU does in minutes: every frame at the paper's size, where the section for two cores takes every third at
half of it, and more steps"""


def parameters(dataset: str, teacher: str, decoder: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The checkout's params.yaml with this dataset's four systems to be built, and the changes in its section."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    pair = {"dataset": dataset, "teacher": teacher}
    rows = {}
    for system in SYSTEMS:
        baseline = None if system == SYSTEMS[0] else row_name(SYSTEMS[0])
        rows[row_name(system)] = {**pair, "decoder": decoder, "system": system, "seed": 1, "baseline": baseline}
    params["run"] = {
        "datasets": [dataset],
        "targets": {f"{dataset}-{teacher}": pair},
        "sem2text": {f"{dataset}-{teacher}-{decoder}": {**pair, "decoder": decoder}},
        "rows": rows,
    }
    for key, value in changes.items():
        parent, _, last = f"{dataset}.{key}".rpartition(".")
        section, old = lookup(params, parent), lookup(params, f"{dataset}.{key}")
        section[last] = {**old, **value} if isinstance(old, dict) else value
    return params


def row_name(system: str) -> str:
    return f"size-{system.replace('_', '-')}"


NEEDED = {
    "corpus": (),
    "frames": ("corpus",),
    "features": ("frames",),
    "targets": ("corpus",),
    "wikipedia": ("corpus",),
    "sign2sem": ("features", "targets"),
    "sem2text": ("targets", "wikipedia"),
    "ceiling": ("sem2text",),
    "finetune": ("sign2sem", "sem2text"),
    "evaluate": ("finetune",),
    "tables": ("ceiling", "evaluate"),
}
"""what has to be there before a stage can start; of stages that have a row each, that of the same row"""


TRAINING = ("sign2sem", "sem2text", "finetune")
INTERVAL = 0.2
"""seconds between two looks at memory"""


def plan(dataset: str, teacher: str, decoder: str) -> list[list[list[str]]]:
    """The stages' commands, in groups that run at the same time unless all that can run do."""
    pair = ["--dataset", dataset, "--teacher", teacher]
    triple = [*pair, "--decoder", decoder]
    first, *others = map(row_name, SYSTEMS)
    return [
        [["corpus", "--dataset", dataset]],
        [["frames", "--dataset", dataset]],
        [["features", "--dataset", dataset]],
        [["targets", *pair], ["wikipedia", *pair]],
        [["sign2sem", *pair], ["sem2text", *triple]],
        [["finetune", "--row", first]],
        [["finetune", "--row", row] for row in others],
        [["ceiling", *triple], *(["evaluate", "--row", row] for row in (first, *others))],
        [["tables"]],
    ]


def until(groups: list[list[list[str]]], stage: str) -> list[list[list[str]]]:
    """The groups up to the last one with this stage, and of that one this stage alone."""
    last = max(i for i, group in enumerate(groups) if any(command[0] == stage for command in group))
    return [*groups[:last], [command for command in groups[last] if command[0] == stage]]


def descendants(pid: int) -> list[int]:
    """This process and all those below it, as ``/proc`` has them; none where there is no ``/proc``."""
    below: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            below.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
    found = [pid]
    for process in found:  # grows as it is walked through
        found.extend(below.get(process, []))
    return found if below else []


def proportional_mb(pid: int) -> float:
    """The proportional set sizes of a process and all those below it, added up, in MB."""
    kilobytes = 0
    for process in descendants(pid):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError, PermissionError):  # it has ended
            continue
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes / 1024


class Gpu:
    """What nvidia-smi says of the first GPU, five times a second; nothing where there is none."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float, float]] = []
        query = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
        try:
            self.process = subprocess.Popen([*query, "-lms", "200"], stdout=subprocess.PIPE, text=True)
        except FileNotFoundError:
            return
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            try:
                busy, used = map(float, line.split(","))
            except ValueError:  # "[N/A]"
                continue
            self.seen.append((time.time(), busy, used))

    def during(self, begun: float, ended: float) -> dict[str, float]:
        """Mean utilisation over the time and over its middle 80 %, without what starts and ends; highest memory, MB."""
        tenth = (ended - begun) / 10
        seen = [(at, busy, used) for at, busy, used in self.seen if begun <= at <= ended]
        middle = [busy for at, busy, _ in seen if begun + tenth <= at <= ended - tenth]
        if not middle:
            return {}
        return {
            "gpu_busy_percent": round(statistics.mean(busy for _, busy, _ in seen), 1),
            "gpu_busy_percent_middle": round(statistics.mean(middle), 1),
            "gpu_memory_mb": max(used for _, _, used in seen),
        }


def run_stage(command: list[str], folder: Path, gpu: Gpu) -> dict[str, Any]:
    """One stage in a process of its own: its seconds, peak memory, and the steps it trained."""
    label = "@".join(filter(None, [command[0], "-".join(command[2::2])]))
    steps = folder / "stages" / f"{label}.steps.json"
    done = folder / "stages" / f"{label}.json"
    steps.parent.mkdir(exist_ok=True)
    if done.is_file():
        return read_json(done)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    begun = time.time()
    with (folder / f"{label}.log").open("w", encoding="utf-8") as log:
        arguments = [sys.executable, __file__, "--stage", str(steps), *command]
        process = subprocess.Popen(arguments, cwd=folder, env=environment, stdout=log, stderr=log)
        memory = 0.0
        while process.poll() is None:
            memory = max(memory, proportional_mb(process.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(INTERVAL)
    ended = time.time()
    found = {
        "stage": label,
        "begun": round(begun - STARTED, 1),  # of two that ran at the same time, begun and seconds tell
        "seconds": round(ended - begun, 1),
        "memory_pss_mb": round(memory),
    }
    if process.returncode:
        print((folder / f"{label}.log").read_text(encoding="utf-8")[-3000:])
        return {**found, "failed": process.returncode}
    found |= gpu.during(begun, ended) | (read_json(steps) if steps.is_file() else {})
    if command[0] in ("frames", "features"):
        index = read_json(folder / "data" / command[2] / command[0] / f"{command[0]}.json")
        frames = sum(shard["frames"] for shard in index["shards"])
        found |= {"frames": frames, "frames_a_second": round(frames / (ended - begun))}
        found |= {"clips": index["clips"], "clips_a_second": round(index["clips"] / (ended - begun), 1)}
    done.write_text(json.dumps(found), encoding="utf-8")
    return found


def run_group(group: list[list[str]], folder: Path, gpu: Gpu) -> Iterator[dict[str, Any]]:
    """Run these stages at once, each as soon as what it needs of them has succeeded; figures as they are done."""
    started: list[tuple[list[str], Future[dict[str, Any]]]] = []

    def run(command: list[str], before: list[Future[dict[str, Any]]]) -> dict[str, Any]:
        if any("failed" in future.result() for future in before):
            return {"stage": " ".join(command), "failed": "what it needs"}
        return run_stage(command, folder, gpu)

    with ThreadPoolExecutor(len(group)) as pool:
        for command in group:
            before = [
                future
                for other, future in started
                if other[0] in NEEDED[command[0]] and ("--row" not in other or command[1:] in (other[1:], []))
            ]
            started.append((command, pool.submit(run, command, before)))
        for future in as_completed(future for _, future in started):
            yield future.result()


def stage_here(steps: Path, command: list[str]) -> None:
    """Run a stage in this process; of training note when each step began, in which epoch, and of how many items."""
    seen = list[tuple[float, int, int]]()
    if command[0] in TRAINING:  # the others need no torch, or load it for themselves
        note_steps(seen)
    sys.argv = command
    try:
        runpy.run_module(f"stages.{command[0]}", run_name="__main__")
    finally:
        if len(seen) > 1:
            gaps = [after - before for (before, *_), (after, *_) in itertools.pairwise(seen)]
            firsts = [at for (_, before, _), (at, epoch, _) in itertools.pairwise(seen) if epoch != before]
            epochs = [after - before for before, after in itertools.pairwise(firsts)]
            figures = {"steps": len(seen), "step_ms": round(1000 * statistics.median(gaps), 2)}
            # of steps alone: validations are a few long gaps, which the median leaves out
            items = statistics.mean(count for _, _, count in seen)
            what = "sentences" if command[0] == "sem2text" else "clips"
            figures[f"{what}_a_second"] = round(items / statistics.median(gaps), 1)
            if epochs:
                figures["epoch_seconds"] = round(statistics.median(epochs), 2)
            steps.write_text(json.dumps(figures))


def note_steps(seen: list[tuple[float, int, int]]) -> None:
    """From now on each training step adds when it began, its epoch and its number of items."""
    import slt.training

    whole = slt.training._step

    def timed(*arguments: Any) -> None:
        batches = next(argument for argument in arguments if isinstance(argument, slt.training._StepBatches))
        seen.append((time.perf_counter(), batches.epoch, sum(map(len, batches.items))))
        whole(*arguments)

    slt.training._step = timed


def main() -> None:
    if sys.argv[1:2] == ["--stage"]:
        stage_here(Path(sys.argv[2]), sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where all outputs go")
    parser.add_argument("--dataset", default="phoenix14t_rehearsal")
    parser.add_argument("--teacher", default="e5")
    parser.add_argument("--decoder", default="sltr")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="in the dataset's section")
    parser.add_argument("--as-written", action="store_true", help="the section as it is, without what suits a GPU")
    parser.add_argument("--until", choices=list(NEEDED), help="the last stage to run")
    parser.add_argument("--together", action="store_true", help="start every stage as soon as what it needs is there")
    parser.add_argument("--out", type=Path, help="keep the figures as JSON, with the machine's description")
    arguments = parser.parse_args()
    changes = {} if arguments.as_written else dict(ON_A_GPU)
    changes.update({key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in arguments.set)})
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    names = (arguments.dataset, arguments.teacher, arguments.decoder)
    written = yaml.safe_dump(parameters(*names, changes), sort_keys=False, allow_unicode=True)
    params = folder / "params.yaml"
    if params.is_file() and params.read_text(encoding="utf-8") != written:
        sys.exit(f"{params}: of a run with other parameters; remove {folder}, or take another folder")
    params.write_text(written, encoding="utf-8")

    groups = plan(*names)
    if arguments.until:
        groups = until(groups, arguments.until)
    if arguments.together:
        groups = [[command for group in groups for command in group]]
    gpu, results = Gpu(), list[dict[str, Any]]()
    for group in groups:
        for result in run_group(group, folder, gpu):
            print(json.dumps(result), flush=True)
            results.append(result)
            if arguments.out:  # after each stage: rented time may end in the middle
                changed = {"dataset": arguments.dataset, "together": arguments.together, "changes": changes}
                text = json.dumps({"machine": machine(), **changed, "stages": results}, indent=1, ensure_ascii=False)
                arguments.out.write_text(text + "\n", encoding="utf-8")
        if any("failed" in result for result in results):
            sys.exit(1)


if __name__ == "__main__":
    main()
