"""How far perfect recognition would get: the true glosses of a clip, as a bag, mapped to its SEM by ridge regression.

``python analyses/gloss_oracle.py --dataset demo --teacher minilm``, after `dvc repro`: fitted on train, shown on dev
and test. What it finds and a trained sign encoder does not is lost in seeing, not in wording.
"""

import argparse
import sys
from collections import Counter

import numpy as np

from slt import paths
from slt.manifest import Clip, read_manifest
from slt.sem_metrics import sem_figures
from slt.targets import Targets

RIDGE = 1.0


def bags(clips: list[Clip], column: dict[str, int]) -> np.ndarray:
    """Counts of each known gloss (n, glosses + 1), the last column constant."""
    counts = np.zeros((len(clips), len(column) + 1))
    counts[:, -1] = 1
    for row, clip in enumerate(clips):
        for gloss, count in Counter((clip.gloss or "").split()).items():
            if gloss in column:
                counts[row, column[gloss]] = count
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--teacher", default="minilm")
    arguments = parser.parse_args()
    manifest = paths.corpus_dir(arguments.dataset) / "manifest.parquet"
    targets = Targets.open(paths.targets_dir(arguments.dataset, arguments.teacher))
    train = read_manifest(manifest, "train")
    column = {gloss: i for i, gloss in enumerate(sorted({g for clip in train for g in (clip.gloss or "").split()}))}
    if not column:
        parser.error(f"{manifest}: no train clip has a gloss")
    x = bags(train, column)
    weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ targets.matrix([clip.id for clip in train]))
    for split in ("dev", "test"):
        clips = read_manifest(manifest, split)
        figures = sem_figures(bags(clips, column) @ weights, targets.matrix([clip.id for clip in clips]))
        shown = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
        sys.stdout.write(f"{split}: {len(clips)} clips, {shown}\n")


if __name__ == "__main__":
    main()
