"""Evaluation folders, and the tables and plots made of them."""

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest

from slt import paths
from slt.config.evaluate import EvaluateConfig
from slt.config.run import Row, RunConfig, Sem2textRun
from slt.errors import DataError, StoreError
from slt.evaluations import Info, Point, Record, Sems, check_clips, read_evaluation, same_clips, write_evaluation
from slt.manifest import Clip
from slt.plots import write_plots
from slt.scoring import score_folder
from slt.tables import collect, write_tables

CONFIG = EvaluateConfig(beam=4, length_penalty=1.0, max_tokens=30, batch=8, resamples=200)
WORDS = "the rain will come from north and south tonight with strong wind over hills not sun tomorrow snow falls".split()
ROWS = {"a-text": (0.6, None), "b-pipeline": (0.5, "a-text"), "c-multitask": (0.8, "a-text")}


def fake_records(skill: float, n: int = 60, several: bool = False, conditions: bool = True) -> list[Record]:
    """A system that keeps each word with probability ``skill``, on the same clips for every skill."""
    corpus, noise = random.Random(7), random.Random(skill)
    records = []
    for split in ("dev", "test"):
        for i in range(n):
            reference = " ".join(corpus.choices(WORDS, k=corpus.randint(3, 20))) + " ."
            common = {
                "id": f"{split}-{i:03d}",
                "split": split,
                "reference": reference,
                "references": (reference.replace("rain", "snow"),) if several and i % 2 else (),
                "signer": f"s{i % 4}",
                "signer_in_train": i % 4 != 3,
                "reference_in_train": i % 10 == 0,
            }
            kept = {"model": skill, "shuffled_sem": 0.1, "constant": 0.0, "oracle_sem": min(1.0, skill + 0.1)}
            for condition, share in kept.items():
                if condition == "model" or (conditions and split == "test"):
                    words = [word if noise.random() < share else noise.choice(WORDS) for word in reference.split()]
                    records.append(Record(condition=condition, hypothesis=" ".join(words), **common))
    return records


def fake_sems(records: list[Record], skill: float, seed: int = 3) -> Sems:
    ids = tuple(sorted({record.id for record in records if record.split == "test"}))
    random_ = np.random.default_rng(seed)
    true = random_.normal(size=(len(ids), 16))
    return Sems(ids, skill * true + (1 - skill) * random_.normal(size=true.shape), true)


def fake_run(root: Path, several: bool = False) -> RunConfig:
    """Three rows and a ceiling as evaluation folders below ``root``, which must be the current directory."""
    provenance = {"gloss_free": True, "backbone": "efficientnet", "weights": "sha256:0"}
    for number, (name, (skill, baseline)) in enumerate(ROWS.items()):
        records = fake_records(skill, several=several)
        sems = fake_sems(records, skill) if number else None
        training = {"steps": 600, "best_step": 500, "plateaued": number != 2}
        info = Info(
            dataset="demo",
            teacher="minilm",
            decoder="sltr",
            provenance={**provenance, "gloss_free": number != 1},
            training=training,
            row=name,
            system=name[2:],
            seed=1,
            baseline=baseline,
        )
        curves = [Point(step, "dev_bleu", skill * 40 * (1 - 0.99**step)) for step in range(50, 601, 50)]
        scores = score_folder(records, CONFIG, sems, language="en")
        write_evaluation(root / paths.evaluation_dir(name), records, info, scores, curves, sems)
    records = [
        dataclasses.replace(record, condition="oracle_sem")
        for record in fake_records(0.9, several=several, conditions=False)
    ]
    info = Info("demo", "minilm", "sltr", {"gloss_free": True}, {"steps": 1500, "plateaued": True})
    ceiling = root / paths.ceiling_dir("demo", "minilm", "sltr")
    write_evaluation(ceiling, records, info, score_folder(records, CONFIG), [])
    rows = {
        name: Row("demo", name[2:], "minilm", "sltr", 1, baseline) for name, (_, baseline) in ROWS.items()
    }
    return RunConfig(("demo",), {}, {"demo-minilm-sltr": Sem2textRun("demo", "minilm", "sltr")}, rows)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    monkeypatch.chdir(tmp_path)
    return fake_run(tmp_path)
