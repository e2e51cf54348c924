"""What every benchmark shares: both sides of a ratio in turns in one process, printed and kept with the machine."""

# ruff: noqa: T201  (what it prints is its result)

import csv
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

FIELDS = ("benchmark", "unit", "ours", "bare", "ratio", "lowest", "highest", "rounds", "machine")


def machine() -> str:
    """Processor, cores, GPU, and the versions that speed depends on."""
    import torch

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{model or platform.processor()}, {os.cpu_count()} cores, {gpu}, torch {torch.__version__}"


def computes_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16: AVX-512's or AMX's."""
    return Path("/proc/cpuinfo").is_file() and "_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")


def in_turns(sides: dict[str, Callable[[], int]], rounds: int) -> dict[str, list[float]]:
    """Items per second of each side, round by round, after one round to warm up.

    In turns, since a shared machine's speed changes from minute to minute.
    """
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, side in sides.items():
            started = time.perf_counter()
            items = side()
            if turn:
                rates[name].append(items / (time.perf_counter() - started))
    return rates


@dataclass
class Sheet:
    """The results of one run, one row per ratio or other figure."""

    rows: list[dict[str, object]] = field(default_factory=list)

    def add(self, benchmark: str, sides: dict[str, Callable[[], int]], rounds: int, unit: str) -> None:
        """Measure; print a line per side and the ratios of the first, ours, to each of the others."""
        print(benchmark)
        rates = in_turns(sides, rounds)
        for name, values in rates.items():
            print(f"  {name:56s} {statistics.median(values):12,.1f} {unit}")
        ours, *others = rates
        for other in others:
            ratios = sorted(a / b for a, b in zip(rates[ours], rates[other], strict=True))
            middle = statistics.median(ratios)
            print(f"  ratio to {other}, median of {len(ratios)}: {middle:.3f}  ({ratios[0]:.3f} to {ratios[-1]:.3f})")
            figures = {
                "ours": f"{statistics.median(rates[ours]):.4g}",
                "bare": f"{statistics.median(rates[other]):.4g}",
                "ratio": f"{middle:.3f}",
                "lowest": f"{ratios[0]:.3f}",
                "highest": f"{ratios[-1]:.3f}",
            }
            self.rows.append({"benchmark": f"{benchmark}: {ours} / {other}", "unit": unit, **figures, "rounds": rounds})
        sys.stdout.flush()

    def note(self, benchmark: str, value: float, unit: str) -> None:
        """Print and keep a figure that is no rate: a share of padding, peak memory, a score."""
        print(f"{benchmark}: {value:.4g} {unit}", flush=True)
        self.rows.append({"benchmark": benchmark, "unit": unit, "ours": f"{value:.4g}"})

    def save(self, path: Path) -> None:
        """Write the rows as CSV, each with the machine's description."""
        described = machine()
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, FIELDS, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows({**row, "machine": described} for row in self.rows)
