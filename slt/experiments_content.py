"""The figures of an experiment as kept in ``docs/experiments/<dataset>-<name>.json``: one entry per trial.

An entry holds all that the report prints, and what it takes to make it again: command, overrides, seed, commit.
"""

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slt.errors import ConfigError, DataError, StoreError
from slt.evaluations import SEM_SPLIT, SPLITS, Evaluation
from slt.experiments import Choice, Experiment, Trial
from slt.sem_alignment import recall_test
from slt.store import read_json
from slt.tables import check_comparable, compare, main_condition
from slt.wer import WER

FOLDER = Path("docs/experiments")
METRICS = ("bleu", "chrf")
"""of text; of a system with a gloss head also WER"""
SHUFFLED = "shuffled_sem"
GLOSS_MARKS = ("gloss_free", "gloss_supervision", "backbone", "weights")
"""of the provenance: what :func:`slt.reports.gloss_mark` reads"""


@dataclass(frozen=True)
class Result:
    """A finished trial: ``revision`` is DVC's commit of it, ``commit`` the one that it was made at."""

    trial: Trial
    revision: str
    commit: str
    evaluations: dict[str, Evaluation]
    teacher_sha256: str | None = None
    """of the weights that the targets were made with, where the revision's targets say so"""


def result_path(experiment: str, dataset: str, label: str | None = None) -> Path:
    """The file of an experiment's results; ConfigError for a label that is no plain word, since it names the file."""
    if label is not None and not re.fullmatch(r"[A-Za-z0-9]+", label):
        raise ConfigError(f"--label {label}: letters and digits only")
    return FOLDER / f"{'-'.join(filter(None, (dataset, experiment, label)))}.json"


def read_results(experiment: str, dataset: str, choice: Choice) -> dict[str, Any]:
    """What an experiment's file holds; an empty frame when there is none yet.

    Raises StoreError for another file, and ConfigError when its results were made with another teacher, decoder or
    overrides of all variants: a table of both would compare more than its axes say.
    """
    path = result_path(experiment, dataset, choice.label)
    setting = {"teacher": choice.teacher, "decoder": choice.decoder, "overrides": list(choice.overrides)}
    if not path.is_file():
        head = {"experiment": experiment, "dataset": dataset, "label": choice.label}
        return {**head, "setting": setting, "invocations": [], "runs": {}}
    content = read_json(path)
    if not isinstance(content, dict) or (content.get("experiment"), content.get("dataset")) != (experiment, dataset):
        raise StoreError(f"{path}: not the results of {experiment} on {dataset}; move it away")
    if content["setting"] != setting:
        raise ConfigError(
            f"{path}: made with {content['setting']}, now asked for with {setting}; give these a name of their own"
            " (--label), or delete the file"
        )
    return content


def add_result(content: dict[str, Any], experiment: Experiment, result: Result, first: Result) -> None:
    """Add a trial's figures; ``first`` is the trial of the same seed that others are compared with.

    Raises DataError when two trials were scored on different clips, references or interval settings.
    """
    interval = next(iter(result.evaluations.values())).scores["interval"]
    if content.setdefault("interval", interval) != interval:
        raise DataError(
            f"{result.trial.name}: other interval settings than the results before it; remove"
            f" {result_path(content['experiment'], content['dataset'], content['label'])} and run the experiment again"
        )
    content["axes"] = list(result.trial.labels)
    trial, runs = result.trial, content["runs"]
    runs[trial.name] = {
        "position": runs[trial.name]["position"] if trial.name in runs else len(runs),
        "labels": trial.labels,
        "seed": trial.seed,
        "teacher": trial.teacher,
        **({"teacher_sha256": result.teacher_sha256} if result.teacher_sha256 else {}),
        "decoder": trial.decoder,
        "command": shlex.join(trial.command),
        "overrides": list(trial.overrides),
        "commit": result.commit,
        "revision": result.revision,
        "results": {
            name: {**figures(evaluation), "comparison": _comparison(experiment, result, name, first)}
            for name, evaluation in result.evaluations.items()
        },
    }


def figures(evaluation: Evaluation) -> dict[str, Any]:
    """What is kept of an evaluation: scores with intervals, retrieval by predicted SEM, how its training ended.

    Of a ceiling also the control whose SEMs are those of other sentences: what its decoder scores without reading them.
    """
    condition = main_condition(evaluation)
    retrieval = evaluation.scores["diagnostics"].get("test", {}).get("retrieval", {})
    languages = _of_languages(evaluation)
    info, provenance = evaluation.info, evaluation.info.provenance
    controls = {
        split: {SHUFFLED: {"bleu": evaluation.scores[split][SHUFFLED]["bleu"]}}
        for split in SPLITS
        if info.row is None and SHUFFLED in evaluation.scores.get(split, {})
    }
    source = provenance.get("decoder_source")
    return {
        "clips": {split: len(evaluation.select(split, condition)) for split in SPLITS},
        "scores": {
            split: {
                metric: score
                for metric, score in evaluation.scores[split][condition].items()
                if metric in METRICS or (metric == WER.name and score["value"] is not None)
            }
            for split in SPLITS
            if condition in evaluation.scores.get(split, {})
        },
        "retrieval": retrieval if "candidates" in retrieval else None,
        "training": {key: info.training[key] for key in ("steps", "plateaued")},
        **{key: provenance[key] for key in GLOSS_MARKS if key in provenance},
        "hypotheses_sha256": info.hypotheses_sha256,
        **({"controls": controls} if controls else {}),
        **({"decoder_sha256": source["weights_sha256"]} if source else {}),
        **({"languages": languages} if languages else {}),
    }


def _of_languages(evaluation: Evaluation) -> dict[str, Any]:
    """Language → scores and retrieval of its clips; empty where the corpus has one language."""
    found: dict[str, Any] = {}
    for split in SPLITS:
        for name, part in evaluation.scores["diagnostics"].get(split, {}).get("languages", {}).items():
            entry = found.setdefault(name, {"scores": {}, "retrieval": None})
            entry["scores"][split] = {metric: part[metric] for metric in METRICS}
            if "candidates" in part["retrieval"]:
                entry["retrieval"] = part["retrieval"]
    return found


def _comparison(experiment: Experiment, result: Result, name: str, first: Result) -> dict[str, Any] | None:
    """The paired test on test against what the experiment says; None for that itself.

    Where systems are compared, ``second`` is the test against the second of them, which a third one has beside.
    """
    extra: dict[str, Any] = {}
    if experiment.against == "system":
        others = list(result.evaluations)
        place = others.index(name)
        if place == 0:
            return None
        label, baseline = others[0], result.evaluations[others[0]]
        if place > 1:
            system, second = result.evaluations[name], result.evaluations[others[1]]
            check_comparable([system, second])
            extra["second"] = {"baseline": others[1], **_paired(system, second)}
    else:
        if result.trial.name == first.trial.name:
            return None
        label, baseline = ", ".join(first.trial.labels.values()), first.evaluations[name]
    system = result.evaluations[name]
    check_comparable([system, baseline])
    if system.sems is not None and baseline.sems is not None:
        clips, theirs = (one.select(SEM_SPLIT, "model") for one in (system, baseline))
        extra["recall_at_1"] = recall_test(clips, system.sems, theirs, baseline.sems, system.scores["interval"])
    languages = sorted({record.language for record in system.records if record.language is not None})
    parts = {language: _paired(system, baseline, language) for language in languages}
    return {"baseline": label, **_paired(system, baseline), **extra, **({"languages": parts} if parts else {})}


def _paired(system: Evaluation, baseline: Evaluation, language: str | None = None) -> dict[str, Any]:
    """Paired tests on test, of all clips or of those whose text is in one language."""
    pair = {"system": system, "baseline": baseline}
    if language is not None:
        pair = {
            name: replace(one, records=[record for record in one.records if record.language == language])
            for name, one in pair.items()
        }
    test = compare(pair, {"system": "baseline"})["system"]
    return {metric: test[metric] for metric in METRICS}
