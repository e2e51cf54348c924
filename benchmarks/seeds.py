"""Mean and spread over seeds: ``python benchmarks/seeds.py metrics/demo.json docs/demo-seeds.md``.

Reads the table of a run (`make seeds`) whose rows are named `<dataset>-<system>` and `<dataset>-<system>-seed<N>`.
"""

import argparse
import re
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from slt.store import read_json


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
        values = [rows[seed]["scores"]["test"]["model"]["bleu"]["value"] for seed in seeds]
        cells = [f"{value:.2f}" for value in values]
        lines.append(f"| {system} | " + " | ".join(cells) + f" | {mean(values):.2f} | {stdev(values):.2f} |")
    if once:
        lines += ["", f"Run with one seed only: {', '.join(once)}."]
    arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
