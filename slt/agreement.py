"""Does a fresh run agree with the reference run in git? They agree when each score lies in the other's interval.

Training bits depend on the CPU type and the number of threads, so a fresh run is held to the reference's intervals
and not to its digits. ``make check`` calls this on the table that a run has just written.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from slt.errors import DataError, SltError
from slt.paths import STAGE_TIMES, work_root
from slt.reports import markdown_table, score_cell
from slt.stage import configure_logging, log
from slt.store import read_json

Compared = tuple[str, dict[str, Any], dict[str, Any], str]
PARTS = {"rows": "model", "ceilings": "oracle_sem"}  # and the condition that stands for the system


def committed(path: Path, revision: str = "HEAD") -> dict[str, Any]:
    """The JSON file as it is in git at a revision; DataError when it is not there."""
    command = ["git", "show", f"{revision}:./{path.as_posix()}"]
    found = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if found.returncode:
        raise DataError(f"{path}: not to be had from git at {revision} ({found.stderr.strip()})")
    return json.loads(found.stdout)


def compare_runs(reference: dict[str, Any], fresh: dict[str, Any]) -> list[Compared]:
    """Of each row and ceiling: name, test BLEU of both runs, and ``agrees`` or what is wrong."""
    compared = []
    for part, condition in PARTS.items():
        for name in dict.fromkeys([*reference[part], *fresh[part]]):
            one, two = (_bleu(content[part].get(name), condition) for content in (reference, fresh))
            if one["value"] is None or two["value"] is None:
                verdict = "only in the fresh run" if one["value"] is None else "only in the reference"
            elif one["low"] <= two["value"] <= one["high"] and two["low"] <= one["value"] <= two["high"]:
                verdict = "agrees"
            else:
                verdict = "differs"
            compared.append((name, one, two, verdict))
    if not compared:
        raise DataError("neither run has a row or a ceiling: there is nothing to compare")
    return compared


def _bleu(entry: dict[str, Any] | None, condition: str) -> dict[str, Any]:
    scores = entry["scores"].get("test", {}).get(condition) if entry else None
    return scores["bleu"] if scores else {"value": None}


def main(argv: list[str] | None = None) -> None:
    """Print the comparison as a table; exit code 1 when a row differs or stands on one side only."""
    parser = argparse.ArgumentParser(prog="python -m slt.agreement", description=__doc__)
    parser.add_argument("table", type=Path, nargs="?", default=Path("metrics/demo.json"))
    parser.add_argument("--revision", default="HEAD", help="where in git the reference lies (default HEAD)")
    arguments = parser.parse_args(argv)
    configure_logging()
    try:
        reference, fresh = committed(arguments.table, arguments.revision), read_json(arguments.table)
        # a run may give the reference's very bytes, but not without a stage
        if fresh == reference and not (work_root() / STAGE_TIMES).is_file():
            raise DataError(
                f"{arguments.table}: as it came from git, and no stage has run here; run `make repro` first"
            )
        compared = compare_runs(reference, fresh)
    except SltError as error:
        log.error("%s", error)
        sys.exit(2)
    rows = [[name, score_cell(one), score_cell(two), verdict] for name, one, two, verdict in compared]
    header = ["test BLEU", f"reference ({arguments.revision})", "this run", ""]
    sys.stdout.write("\n".join(markdown_table(header, rows)))
    wrong = [name for name, *_, verdict in compared if verdict != "agrees"]
    if wrong:
        log.error("%s: %d of %d do not agree: %s", arguments.table, len(wrong), len(compared), ", ".join(wrong))
        sys.exit(1)


if __name__ == "__main__":
    main()
