"""All evaluations of a run as tables: the only computing here is the paired tests, from the kept hypotheses.

Markdown is rendered from the same content that goes into the JSON file, so the two cannot disagree.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from slt import paths
from slt.bootstrap import draw, paired_test
from slt.config.run import RunConfig
from slt.errors import ConfigError, DataError
from slt.evaluations import SPLITS, Evaluation, Record, read_evaluation, same_clips
from slt.metrics import BLEU_13A, BLEU_MULTI, CHRF2, NAMES, SacrebleuMetric, Statistics, no_score
from slt.reports import dataset_markdown
from slt.store import replacing, write_json
from slt.wer import WER

COMPARED = (BLEU_13A, BLEU_MULTI, CHRF2)
BLIND = ("shuffled_sem", "shuffled_features", "constant")
"""controls that know nothing of the clip"""
CEILINGS = "ceiling"  # the key of the ceilings in summary.json, beside the rows


@dataclass(frozen=True)
class DatasetResults:
    """What was evaluated on one dataset; ``comparisons`` by row, then metric, for rows that have a baseline."""

    dataset: str
    rows: dict[str, Evaluation]
    ceilings: dict[str, Evaluation]
    comparisons: dict[str, dict[str, Any]] = field(default_factory=dict)

    def all(self) -> list[Evaluation]:
        return [*self.rows.values(), *self.ceilings.values()]


def collect(run: RunConfig) -> list[DatasetResults]:
    """Read the evaluations that ``run`` names, in its order, and test each row against its baseline.

    Raises DataError when a folder is missing, holds another system than its name says, or when two systems of a
    dataset were scored on different clips, against different references or with other interval settings.
    """
    if CEILINGS in run.rows:
        raise ConfigError(f"a row must not be called `{CEILINGS}`: summary.json keeps the ceilings there; rename it")
    results = []
    for dataset in run.datasets:
        rows = {
            name: read_evaluation(paths.evaluation_dir(name)) for name, r in run.rows.items() if r.dataset == dataset
        }
        ceilings = {
            name: read_evaluation(paths.ceiling_dir(t.dataset, t.teacher, t.decoder))
            for name, t in run.sem2text.items()
            if t.dataset == dataset
        }
        for name, row in rows.items():
            if row.info.row != name or row.info.dataset != dataset:
                raise DataError(
                    f"{paths.evaluation_dir(name)}: holds row `{row.info.row}` of {row.info.dataset}; run `dvc repro`"
                )
        check_comparable([*rows.values(), *ceilings.values()])
        baselines = {name: run.rows[name].baseline for name in rows}
        results.append(DatasetResults(dataset, rows, ceilings, compare(rows, baselines)))
    return results


def check_comparable(evaluations: Sequence[Evaluation]) -> None:
    """Raise DataError, naming both, when two systems differ in clips, references or interval settings."""
    for other in evaluations[1:]:
        first = evaluations[0]
        if first.scores["interval"] != other.scores["interval"]:
            raise DataError(
                f"{first.name} and {other.name} have different interval settings"
                f" ({first.scores['interval']}, {other.scores['interval']}); run `dvc repro`"
            )
        for split in SPLITS:
            same_clips(own_records(first, split), own_records(other, split), first.name, other.name, split)


def own_records(evaluation: Evaluation, split: str) -> list[Record]:
    """Records of the system itself on a split, for a ceiling those of ``oracle_sem``."""
    return evaluation.select(split, main_condition(evaluation))


def main_condition(evaluation: Evaluation) -> str:
    """The condition that stands for the evaluation: the system itself, or a ceiling's ``oracle_sem``."""
    return "model" if evaluation.info.row is not None else "oracle_sem"


def compare(rows: dict[str, Evaluation], baselines: dict[str, str | None]) -> dict[str, dict[str, Any]]:
    """Paired tests on the test split: row → ``baseline`` and, per metric, ``Comparison.as_dict()``."""
    kept: dict[tuple[str, str], Statistics] = {}

    def statistics(name: str, metric: Any) -> Statistics:
        if (name, metric.name) not in kept:
            records = own_records(rows[name], "test")
            references = [r.all_references() if metric is BLEU_MULTI else [r.reference] for r in records]
            kept[name, metric.name] = metric.statistics([r.hypothesis for r in records], references)
        return kept[name, metric.name]

    comparisons: dict[str, dict[str, Any]] = {}
    for name, baseline in baselines.items():
        if baseline is None:
            continue
        if not own_records(rows[name], "test"):
            raise DataError(f"{name}: no hypothesis for the test split, so it cannot be compared with {baseline}")
        comparisons[name] = {"baseline": baseline}
        several = any(len(record.all_references()) > 1 for record in own_records(rows[name], "test"))
        for metric in COMPARED:
            if metric is BLEU_MULTI and not several:
                continue
            system = statistics(name, metric)
            drawn = draw(system.n, **rows[name].scores["interval"])
            comparisons[name][metric.name] = paired_test(system, statistics(baseline, metric), drawn).as_dict()
    return comparisons


def statistics_of(records: Sequence[Record], metric: SacrebleuMetric) -> Statistics:
    """What the metric counts in each hypothesis against its first reference."""
    return metric.statistics([r.hypothesis for r in records], [[r.reference] for r in records])


def against_controls(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """Paired tests of a row's test BLEU against its own controls: condition → ``Comparison.as_dict()``.

    A system that does no better with a clip's own features than with another clip's has not learnt to read them.
    """
    own = own_records(evaluation, "test")
    reading = statistics_of(own, BLEU_13A)
    drawn = draw(reading.n, **evaluation.scores["interval"])
    tests: dict[str, dict[str, Any]] = {}
    for condition in BLIND:
        records = evaluation.select("test", condition)
        if records:
            same_clips(own, records, evaluation.name, f"its control {condition}", "test")
            tests[condition] = paired_test(reading, statistics_of(records, BLEU_13A), drawn).as_dict()
    return tests


def between_systems(result: DatasetResults) -> list[dict[str, Any]]:
    """Paired tests on test of the rows that share teacher, decoder and seed, but for those against a baseline.

    So the pipeline is set against multitask training where both have sign2text as their baseline. Each entry holds the
    two rows, ``row`` that stands later in `run.rows` and ``other``, and per metric ``Comparison.as_dict()``.
    """

    def shared(row: Evaluation) -> tuple[str, str, int | None]:
        return row.info.teacher, row.info.decoder, row.info.seed

    def baseline(name: str) -> str | None:
        return result.comparisons.get(name, {}).get("baseline")

    tests: list[dict[str, Any]] = []
    for (other, first), (name, row) in combinations(result.rows.items(), 2):
        if shared(first) != shared(row) or baseline(name) == other or baseline(other) == name:
            continue
        ours, theirs = own_records(row, "test"), own_records(first, "test")
        drawn = draw(len(ours), **row.scores["interval"])
        test = {
            metric.name: paired_test(statistics_of(ours, metric), statistics_of(theirs, metric), drawn).as_dict()
            for metric in (BLEU_13A, CHRF2)
        }
        tests.append({"row": name, "other": other, **test})
    return tests


def score_of(evaluation: Evaluation, split: str, condition: str, metric: str) -> dict[str, Any]:
    """A score as in ``scores.json``; null with a reason when that condition was not evaluated."""
    scores = evaluation.scores.get(split, {}).get(condition)
    return no_score(f"no {condition} on {split}") if scores is None else scores[metric]


def summary(results: Iterable[DatasetResults]) -> dict[str, Any]:
    """Headline figures for ``dvc exp show``: per row BLEU, chrF, difference in BLEU and p; BLEU of the ceilings."""
    content: dict[str, Any] = {}
    ceilings: dict[str, Any] = {}
    for result in results:
        for name, row in result.rows.items():
            figures = {metric: score_of(row, "test", "model", metric)["value"] for metric in ("bleu", "chrf")}
            wer = score_of(row, "test", "model", WER.name)["value"]
            if wer is not None:
                figures[WER.name] = wer
            if name in result.comparisons:
                bleu = result.comparisons[name]["bleu"]
                figures.update(diff=bleu["difference"], p=bleu["p_value"])
            content[name] = {key: None if value is None else round(value, 2) for key, value in figures.items()}
            if "p" in content[name]:
                content[name]["p"] = round(figures["p"], 3)  # the smallest p of 1,000 resamples is 0.001
        for name, ceiling in result.ceilings.items():
            value = score_of(ceiling, "test", "oracle_sem", "bleu")["value"]
            ceilings[name] = None if value is None else round(value, 2)
    return {**content, CEILINGS: ceilings}


def dataset_content(result: DatasetResults) -> dict[str, Any]:
    """All of ``<dataset>.json``: every score of every row and ceiling, comparisons, training, provenance."""

    def entry(evaluation: Evaluation) -> dict[str, Any]:
        info = evaluation.info
        return {
            "system": info.system,
            "teacher": info.teacher,
            "decoder": info.decoder,
            "seed": info.seed,
            "provenance": info.provenance,
            "training": info.training,
            "hypotheses_sha256": info.hypotheses_sha256,
            "scores": {split: evaluation.scores[split] for split in SPLITS if split in evaluation.scores},
            "diagnostics": evaluation.scores["diagnostics"],
        }

    rows = {
        name: {**entry(row), "comparison": result.comparisons.get(name), "controls": against_controls(row)}
        for name, row in result.rows.items()
    }
    everything = result.all()
    return {
        "dataset": result.dataset,
        "interval": everything[0].scores["interval"] if everything else None,
        "clips": {split: len(own_records(everything[0], split)) if everything else 0 for split in SPLITS},
        "rows": rows,
        "between_systems": between_systems(result),
        "ceilings": {name: entry(ceiling) for name, ceiling in result.ceilings.items()},
        "signatures": signatures(everything),
    }


def signatures(evaluations: Iterable[Evaluation]) -> dict[str, str]:
    """Each metric's signature, of the test scores; DataError when two systems were scored by different ones."""
    found: dict[str, str] = {}
    for evaluation in evaluations:
        scores = [score_of(evaluation, "test", main_condition(evaluation), metric) for metric in (*NAMES, WER.name)]
        scores.append(evaluation.scores["diagnostics"].get("test", {}).get("bleu_content", {}))
        for score in scores:
            if score.get("value") is None:
                continue
            metric, signature = score["metric"], score["signature"]
            if found.setdefault(metric, signature) != signature:
                raise DataError(
                    f"{evaluation.name}: {metric} was computed as {signature}, other systems' as {found[metric]};"
                    " evaluate all of them with one version of sacrebleu (`dvc repro -f`)"
                )
    return found


def write_tables(results: Sequence[DatasetResults], folder: Path) -> None:
    """Write ``summary.json`` and, per dataset, ``<dataset>.json`` and ``<dataset>.md`` into ``folder``."""
    write_json(folder / "summary.json", summary(results))
    for result in results:
        content = dataset_content(result)
        write_json(folder / f"{result.dataset}.json", content)
        with replacing(folder / f"{result.dataset}.md") as temporary:
            temporary.write_text(dataset_markdown(content), encoding="utf-8")
