"""Mean and spread over seeds: ``python analyses/seeds.py metrics/demo.json docs/demo-seeds.md``.

Reads the table of a run (`make seeds`) whose rows are named `<dataset>-<system>` and `<dataset>-<system>-seed<N>`.
"""

import argparse
import re
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from slt.store import read_json


def _line(system: str, values: list[float], form: str) -> str:
    cells = [f"{value:{form}}" for value in [*values, mean(values)]]
    return f"| {system} | " + " | ".join(cells) + f" | {stdev(values):.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    systems: dict[str, dict[str, dict[str, Any]]] = {}
    for name, row in read_json(arguments.table)["rows"].items():
        systems.setdefault(re.sub(r"-seed\d+$", "", name), {})[str(row["seed"])] = row
    once = [system for system, rows in systems.items() if len(rows) == 1]
    systems = {system: rows for system, rows in systems.items() if len(rows) > 1}
    seeds = sorted({seed for rows in systems.values() for seed in rows})
    short = [system for system, rows in systems.items() if set(rows) != set(seeds)]
    if not systems or short:
        parser.error(f"{arguments.table}: seeds are missing ({', '.join(short) or 'no row has two'}); run `make seeds`")
    lines = [
        "# The demo over seeds",
        "",
        f"Made by `make seeds`: phase 3 repeated with seeds {', '.join(seeds)} (initial weights of what is new,",
        "sample order, dropout, augmentation); sign2sem and sem2text are trained once. Test BLEU (13a, one reference).",
        "",
        "| system | " + " | ".join(f"seed {seed}" for seed in seeds) + " | mean | standard deviation |",
        "|---|" + "---:|" * (len(seeds) + 2),
    ]
    for system, rows in systems.items():
        lines.append(_line(system, [rows[seed]["scores"]["test"]["model"]["bleu"]["value"] for seed in seeds], ".2f"))
    rises = {
        system: [rows[seed]["training"]["last_quarter"]["difference"] for seed in seeds]
        for system, rows in systems.items()
    }
    every = [rise for values in rises.values() for rise in values]
    told = sum(row["training"]["last_quarter"]["low"] > 0 for rows in systems.values() for row in rows.values())
    lines += [
        "",
        "What the last quarter of the steps added to the best dev BLEU (each run's interval stands in its table):",
        "",
        *lines[-len(systems) - 2 : -len(systems)],
        *(_line(system, values, "+.2f") for system, values in rises.items()),
        "",
        f"Over all {len(every)} runs {mean(every):+.2f} ± {stdev(every) / len(every) ** 0.5:.2f} (standard error);"
        f" {told} rose by more than chance.",
    ]
    if once:
        lines += ["", f"Run with one seed only: {', '.join(once)}."]
    arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
