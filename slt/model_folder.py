"""A trained model on disk: weights, configuration, tokenizer, how it was trained, and its nearest neighbours' SEMs."""

import csv
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slt.arrays import read_npy
from slt.errors import DataError
from slt.models.translator import SignTranslator
from slt.sem_metrics import cosines
from slt.store import read_json, replacing, write_json
from slt.training import Run, last_quarter, plateaued


def save_model(folder: Path, model: SignTranslator, run: Run, select: str, notes: dict[str, Any]) -> None:
    """Write ``config.json``, ``model.safetensors``, ``training.json`` and ``curves.csv`` to a new folder.

    One that lies there, of a run that was interrupted, is removed: its files may be links to those of an output.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.cpu().save_pretrained(folder)
    rise = last_quarter(run, f"dev_{select}")
    summary = {
        "steps": run.step,
        "best_step": run.best_step,
        f"best_dev_{select}": round(run.best, 4),
        "stopped_early": run.stopped_early,
        "plateaued": plateaued(run, f"dev_{select}"),
        "last_quarter": rise.as_dict() if rise else None,
        **notes,
        "environment": environment(),
    }
    write_json(folder / "training.json", summary)
    with replacing(folder / "curves.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "series", "value"])
        writer.writerows((step, series, f"{value:.6g}") for step, series, value in run.curves)


def environment() -> dict[str, Any]:
    """What training bits depend on besides code and data: they differ between thread counts and CPU types."""
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def load_model(folder: Path, device: str = "cpu") -> SignTranslator:
    """The model of a folder, in evaluation mode on a device; DataError when a file is missing."""
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: no {name}, so no model; run `dvc repro`, or give another --model folder")
    return SignTranslator.from_pretrained(folder).eval().to(device)  # type: ignore[arg-type]


def load_training(folder: Path) -> tuple[dict[str, Any], list[tuple[int, str, float]]]:
    """``training.json`` and the points of ``curves.csv`` of a model folder."""
    with (folder / "curves.csv").open(newline="", encoding="utf-8") as file:
        points = [(int(row["step"]), row["series"], float(row["value"])) for row in csv.DictReader(file)]
    return read_json(folder / "training.json"), points


@dataclass(frozen=True)
class Neighbours:
    """The training sentences and their SEMs (n, S) in model space, to show what a predicted SEM lies near."""

    sentences: list[str]
    sems: np.ndarray

    def nearest(self, sem: np.ndarray, count: int) -> list[tuple[str, float]]:
        """The ``count`` training sentences of highest cosine to a SEM (S,), best first."""
        similarity = cosines(self.sems, sem[None])[:, 0]
        best = np.argsort(-similarity, kind="stable")[:count]
        return [(self.sentences[i], float(similarity[i])) for i in best]


def save_neighbours(folder: Path, sentences: list[str], sems: np.ndarray) -> None:
    """Write each distinct training sentence with its SEM beside the model."""
    first = {sentence: i for i, sentence in reversed(list(enumerate(sentences)))}
    kept = sorted(first)
    write_json(folder / "train_sentences.json", kept)
    with replacing(folder / "train_sems.npy") as temporary, temporary.open("wb") as file:
        np.save(file, sems[[first[sentence] for sentence in kept]].astype(np.float16), allow_pickle=False)


def load_neighbours(folder: Path) -> Neighbours:
    """The neighbours saved with a model; DataError when they are missing."""
    sentences = read_json(folder / "train_sentences.json")
    path = folder / "train_sems.npy"
    if not path.is_file():
        raise DataError(f"{path}: no such file; the model folder is incomplete, run `dvc repro`")
    return Neighbours(sentences, read_npy(path).astype(np.float32))
