"""Damage a valid file of every format in many ways, and count what its reader makes of each.

``python benchmarks/mutants.py --mutants 1000 --seed 1 --write``: each reader of `tests/faults/readers.py` in a process
of its own. Half of the mutants keep their header. Prints the counts as a Markdown table; ``--write`` puts it into
docs/reliability.md. Exits with 1 when a mutant gave anything but the right content or one clear error.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "faults")]

from mutation import ALLOWED, FAILURES, Mutation, Reader, Watched, mutate  # noqa: E402
from readers import READERS  # noqa: E402

from slt.stage import progress  # noqa: E402

DOCS = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- mutants: begin -->", "<!-- mutants: end -->"


def count(watched: Watched, reader: Reader, mutants: int, seed: int, keep: Path | None) -> Counter[str]:
    """Outcomes of that many mutants; those that fail are described on stderr, and kept in a folder if one is given."""
    found: Counter[str] = Counter()
    told: set[str] = set()
    source = random.Random(f"{seed} {reader.name}")
    valid = watched.valid(reader)
    for number in progress(range(mutants), reader.name, mutants, "mutant"):
        mutations = [Mutation.draw(source) for _ in range(source.choice((1, 1, 2, 3)))]
        mutant = mutate(valid, mutations, keep_header=number % 2 == 1)
        if mutant == valid:
            continue
        outcome = watched.outcome(reader, mutant)
        found[outcome.kind] += 1
        if outcome.kind in FAILURES and outcome.detail[:60] not in told:
            told.add(outcome.detail[:60])
            sys.stderr.write(f"{reader.name}: mutant {number}: {outcome.kind}: {outcome.detail[:400]}\n")
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{number}-{Path(reader.file).name}").write_bytes(mutant)
    return found


def table(counts: dict[str, Counter[str]]) -> list[str]:
    outcomes = (*ALLOWED, *FAILURES)
    rows = [["reader", "mutants", *outcomes], ["---", *["---:"] * (1 + len(outcomes))]]
    for name, found in counts.items():
        rows.append([name, *(f"{n:,}" if n else "0" for n in (found.total(), *(found[kind] for kind in outcomes)))])
    total = sum(counts.values(), Counter[str]())
    rows.append(["**all**", *(f"{n:,}" for n in (total.total(), *(total[kind] for kind in outcomes)))])
    return [f"| {' | '.join(row)} |" for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=1000, help="of each reader (default 1000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reader", action="append", help="only readers whose name holds this; may be repeated")
    parser.add_argument("--keep", type=Path, help="folder for the mutants that fail")
    parser.add_argument("--write", action="store_true", help=f"put the table into {DOCS.relative_to(ROOT)}")
    arguments = parser.parse_args()
    chosen = [r for r in READERS if not arguments.reader or any(part in r.name for part in arguments.reader)]
    if arguments.write and len(chosen) < len(READERS):
        parser.error("--write needs all readers")
    with tempfile.TemporaryDirectory() as folder, Watched(Path(folder)) as watched:
        counts = {r.name: count(watched, r, arguments.mutants, arguments.seed, arguments.keep) for r in chosen}
    command = f"`python benchmarks/mutants.py --mutants {arguments.mutants} --seed {arguments.seed}`"
    lines = [f"{command}:", "", *table(counts)]
    sys.stdout.write("\n".join(lines) + "\n")
    if arguments.write:
        before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        DOCS.write_text("\n".join([before + BEGIN, *lines, END + after]), encoding="utf-8")
    sys.exit(any(found[kind] for found in counts.values() for kind in FAILURES))


if __name__ == "__main__":
    main()
