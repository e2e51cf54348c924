"""The experiment ``sem-map``: predicted against true SEMs of every finished row of a dataset, aligned or not.

Nothing is trained: test SEMs are those that the evaluation kept, train and dev are encoded with the row's model, since
alignments may be fitted on these alone.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from slt import paths
from slt.clips import load_clips
from slt.config.base import PARAMS, section
from slt.config.run import read_run
from slt.config.train import ParallelConfig, Sign2semConfig, SystemConfig
from slt.decoding import encode_clips
from slt.errors import ConfigError, DataError
from slt.evaluations import SEM_SPLIT, Sems, read_evaluation
from slt.experiments import SEM_MAP, Params, check_dataset
from slt.experiments_content import result_path
from slt.feature_set import FeatureSet
from slt.finetune import predicts_sem
from slt.model_folder import load_model
from slt.plots import MAP_LEAST, sem_plane
from slt.sem_alignment import ALIGNMENTS, fit, map_figures, recall_test
from slt.stage import device_name, progress
from slt.store import write_json
from slt.targets import Targets

BATCH = 64
MAPPED = ("as predicted", "rotation (train)")
"""the alignments that are drawn"""
log = logging.getLogger("slt.experiments")


def run_sem_map(params: Params, dataset: str, commit: str, label: str | None = None) -> None:
    """Figures and planes of each row that predicts SEMs, kept in the experiment's file; rows that do not are named.

    A ``label`` keeps the maps of another checkout apart, such as a branch made of one variant of another experiment.

    Raises ConfigError for a dataset that is not there or has no row, DataError when a row is not evaluated yet or none
    of them predicts SEMs.
    """
    sem_map_reads(params, dataset)
    rows = {name: row for name, row in read_run(params).rows.items() if row.dataset == dataset}
    parallel = section(ParallelConfig, params, f"{dataset}.parallel")
    positions = section(Sign2semConfig, params, f"{dataset}.sign2sem").encoder.positions
    features = FeatureSet.open(paths.features_dir(dataset))
    path = result_path(SEM_MAP, dataset, label)
    content: dict[str, Any] = {"experiment": SEM_MAP, "dataset": dataset, "label": label, "commit": commit}
    content |= {"rows": {}, "without": []}
    for name, row in progress(rows.items(), SEM_MAP, len(rows), "row"):
        evaluation = read_evaluation(paths.evaluation_dir(name))
        sems = evaluation.sems
        if sems is None:
            content["without"].append(name)
            continue
        targets = Targets.open(paths.targets_dir(dataset, row.teacher))
        model = load_model(paths.finetune_dir(name), device_name())
        records = evaluation.select(SEM_SPLIT, "model")
        aligned = {MAPPED[0]: sems}
        clips = {}
        for split in ("train", "dev"):
            known = load_clips(dataset, split, features, targets, positions, parallel)
            clips[split] = len(known.clips)
            predicted = encode_clips(model, known.features, BATCH)
            for kind in ALIGNMENTS:
                moved = fit(kind, predicted, known.sems)(sems.predicted)
                aligned[f"{kind} ({split})"] = Sems(sems.ids, moved, sems.true)
        content["rows"][name] = {
            "system": row.system,
            "teacher": row.teacher,
            "seed": row.seed,
            "size": int(sems.true.shape[1]),
            "clips": {**clips, SEM_SPLIT: len(sems.ids)},
            "alignments": {
                alignment: {
                    **map_figures(records, each),
                    "recall_test": None
                    if each is sems
                    else recall_test(records, each, records, sems, evaluation.scores["interval"]),
                }
                for alignment, each in aligned.items()
            },
            "planes": {alignment: _plane(aligned[alignment]) for alignment in MAPPED},
        }
        log.info("%s: %d test clips, %d alignments", name, len(sems.ids), len(aligned) - 1)
    if not content["rows"]:
        raise DataError(f"no row of {dataset} in run.rows predicts SEMs; add one whose system reads or learns them")
    write_json(path, content)


def sem_map_reads(params: Params, dataset: str) -> list[Path]:
    """What :func:`run_sem_map` would read; ConfigError for a dataset that is not there or has no row."""
    check_dataset(params, dataset)
    rows = {name: row for name, row in read_run(params).rows.items() if row.dataset == dataset}
    if not rows:
        raise ConfigError(f"{PARAMS}: no row of run.rows is of {dataset}; add one and run `dvc repro`")
    read = [paths.corpus_dir(dataset) / "manifest.parquet", paths.features_dir(dataset)]
    for name, row in rows.items():
        read.append(paths.evaluation_dir(name))
        if predicts_sem(section(SystemConfig, params, f"{dataset}.systems.{row.system}")):
            read += [paths.targets_dir(dataset, row.teacher), paths.finetune_dir(name)]
    return list(dict.fromkeys(read))


def _plane(sems: Sems) -> dict[str, list[list[float]]] | None:
    if len(sems.ids) < MAP_LEAST:
        return None
    predicted, true = (np.round(side.astype(np.float64), 2).tolist() for side in sem_plane(sems))
    return {"predicted": predicted, "true": true}
