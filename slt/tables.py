"""All evaluations of a run as tables: the only computing here is the paired tests, from the kept hypotheses.

Markdown is rendered from the same content that goes into the JSON file, so the two cannot disagree.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slt import paths
from slt.bootstrap import draw, paired_test
from slt.config.run import RunConfig
from slt.diagnostics import bucket_names
from slt.errors import ConfigError, DataError
from slt.evaluations import CONDITIONS, SPLITS, Evaluation, Record, read_evaluation, same_clips
from slt.metrics import BLEU_13A, BLEU_MULTI, CHRF2, NAMES, Statistics, no_score
from slt.store import replacing, write_json

COMPARED = (BLEU_13A, BLEU_MULTI, CHRF2)
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
            same_clips(_own(first, split), _own(other, split), first.name, other.name, split)


def _own(evaluation: Evaluation, split: str) -> list[Record]:
    """Records of the system itself, for a ceiling those of ``oracle_sem``."""
    return evaluation.select(split, main_condition(evaluation))


def main_condition(evaluation: Evaluation) -> str:
    """The condition that stands for the evaluation: the system itself, or a ceiling's ``oracle_sem``."""
    return "model" if evaluation.info.row is not None else "oracle_sem"


def compare(rows: dict[str, Evaluation], baselines: dict[str, str | None]) -> dict[str, dict[str, Any]]:
    """Paired tests on the test split: row → ``baseline`` and, per metric, ``Comparison.as_dict()``."""
    kept: dict[tuple[str, str], Statistics] = {}

    def statistics(name: str, metric: Any) -> Statistics:
        if (name, metric.name) not in kept:
            records = _own(rows[name], "test")
            references = [r.all_references() if metric is BLEU_MULTI else [r.reference] for r in records]
            kept[name, metric.name] = metric.statistics([r.hypothesis for r in records], references)
        return kept[name, metric.name]

    comparisons: dict[str, dict[str, Any]] = {}
    for name, baseline in baselines.items():
        if baseline is None:
            continue
        if not _own(rows[name], "test"):
            raise DataError(f"{name}: no hypothesis for the test split, so it cannot be compared with {baseline}")
        comparisons[name] = {"baseline": baseline}
        several = any(len(record.all_references()) > 1 for record in _own(rows[name], "test"))
        for metric in COMPARED:
            if metric is BLEU_MULTI and not several:
                continue
            system = statistics(name, metric)
            drawn = draw(system.n, **rows[name].scores["interval"])
            comparisons[name][metric.name] = paired_test(system, statistics(baseline, metric), drawn).as_dict()
    return comparisons


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

    rows = {name: {**entry(row), "comparison": result.comparisons.get(name)} for name, row in result.rows.items()}
    everything = result.all()
    return {
        "dataset": result.dataset,
        "interval": everything[0].scores["interval"] if everything else None,
        "clips": {split: len(_own(everything[0], split)) if everything else 0 for split in SPLITS},
        "rows": rows,
        "ceilings": {name: entry(ceiling) for name, ceiling in result.ceilings.items()},
        "signatures": signatures(everything),
    }


def signatures(evaluations: Iterable[Evaluation]) -> dict[str, str]:
    """Each metric's signature, of the test scores; DataError when two systems were scored by different ones."""
    found: dict[str, str] = {}
    for evaluation in evaluations:
        scores = [score_of(evaluation, "test", main_condition(evaluation), metric) for metric in NAMES]
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


# Markdown, from the content of <dataset>.json


class Notes:
    """Footnotes of one document; equal texts share a number."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        if text not in self.texts:
            self.texts.append(text)
        return f"[^{self.texts.index(text) + 1}]"

    def lines(self) -> list[str]:
        return [f"[^{number}]: {text}" for number, text in enumerate(self.texts, start=1)]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> list[str]:
    """Lines of a Markdown table, padded to be read as plain text: the first ``words`` columns left, figures right."""
    rows = [list(row) for row in rows]
    widths = [max(len(row[i]) for row in [list(header), *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        pairs = enumerate(zip(cells, widths, strict=True))
        return "| " + " | ".join(cell.ljust(w) if i < words else cell.rjust(w) for i, (cell, w) in pairs) + " |"

    rule = "|" + "|".join("-" * (w + 2) if i < words else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return [line(header), rule, *(line(row) for row in rows), ""]


def dataset_markdown(content: dict[str, Any]) -> str:
    """The report of one dataset as Markdown, from :func:`dataset_content`."""
    notes = Notes()
    rows, ceilings = content["rows"], content["ceilings"]
    lines = [f"# {content['dataset']}", ""]
    if content["interval"] is None:
        return "\n".join([*lines, "No row of `run.rows` and no ceiling is of this dataset.", ""])
    interval, clips = content["interval"], content["clips"]
    lines += [
        f"{clips['dev']} dev and {clips['test']} test clips. Intervals hold {100 * interval['confidence']:g}% of"
        f" {interval['resamples']} bootstrap resamples (seed {interval['seed']}), the same for every system, so that"
        " differences are paired. ± is half the interval's width, n a number of clips.",
        "",
    ]
    if rows:
        lines += [
            "## Systems",
            "",
            *_systems(rows, notes),
            *_comparisons(rows),
            *_training({**rows, **ceilings}, notes),
        ]
    if ceilings:
        lines += ["## Ceilings: text from true SEMs", "", *_ceilings(ceilings)]
    if rows:
        lines += ["## Controls", "", *_controls(rows)]
        lines += ["## Diagnostics on test", "", *_diagnostics({**rows, **ceilings}, notes)]
    lines += ["## Signatures", ""]
    lines += [f"- {metric}: `{signature}`" for metric, signature in content["signatures"].items()]
    return "\n".join([*lines, "", *notes.lines()]).rstrip() + "\n"


def _get(entry: dict[str, Any], split: str, condition: str, metric: str) -> dict[str, Any]:
    return entry["scores"].get(split, {}).get(condition, {}).get(metric) or no_score(f"no {condition} on {split}")


def _figure(score: dict[str, Any], notes: Notes | None = None, plain: bool = False) -> str:
    if score["value"] is None:
        return "–" + (notes.mark(score["reason"]) if notes else "")
    return f"{score['value']:.2f}" + ("" if plain else f" ± {score['half_width']:.2f}")


def _signed(test: dict[str, Any]) -> str:
    return f"{test['difference']:+.2f} [{test['low']:+.2f}, {test['high']:+.2f}]"


def _systems(rows: dict[str, Any], notes: Notes) -> list[str]:
    header = ["row", "dev BLEU", "test BLEU", "BLEU, all references", "BLEU, raw tokens", "chrF", "BLEURT"]
    table = []
    for name, entry in rows.items():
        test = [_get(entry, "test", "model", metric) for metric in NAMES]
        bleu, multi, raw, chrf, bleurt = test
        cells = [name + _gloss_mark(entry, notes), _figure(_get(entry, "dev", "model", "bleu")), _figure(bleu)]
        cells += [_figure(multi, notes), _figure(raw), _figure(chrf), _figure(bleurt, notes)]
        bleu_test = (entry["comparison"] or {}).get("bleu")
        table.append(
            [*cells, _signed(bleu_test) if bleu_test else "", f"{bleu_test['p_value']:.3f}" if bleu_test else ""]
        )
    return markdown_table([*header, "Δ BLEU to baseline", "p"], table)


def _gloss_mark(entry: dict[str, Any], notes: Notes) -> str:
    gloss_free = entry["provenance"]["gloss_free"]
    if gloss_free is True:
        return ""
    backbone = entry["provenance"].get("backbone", "the backbone")
    if gloss_free is False:
        return notes.mark(f"not gloss-free: its features come from {backbone}, whose training saw gloss")
    return notes.mark(f"whether the training of {backbone} saw gloss is not known")


def _source_mark(source: dict[str, Any] | None, notes: Notes) -> str:
    if source is None:
        return ""
    return notes.mark(
        f"starts from the decoder of {source['pretrained']}, weights sha256 {source['weights_sha256'][:12]}"
    )


def _comparisons(rows: dict[str, Any]) -> list[str]:
    titles = {"bleu": "BLEU", "bleu_multi": "BLEU, all references", "chrf": "chrF"}
    table = [
        [name, entry["comparison"]["baseline"], titles[metric], _signed(test), f"{test['p_value']:.3f}"]
        for name, entry in rows.items()
        for metric, test in (entry["comparison"] or {}).items()
        if metric != "baseline"
    ]
    if not table:
        return []
    lines = ["Test differences to the baseline, paired bootstrap:", ""]
    return [*lines, *markdown_table(["row", "baseline", "metric", "difference", "p"], table, 3)]


def _training(entries: dict[str, Any], notes: Notes) -> list[str]:
    table = []
    words = {True: "yes", False: "no", None: "unknown"}
    for name, entry in entries.items():
        training, provenance = entry["training"], entry["provenance"]
        plateaued = words[training["plateaued"]]
        if training["plateaued"] is False:
            plateaued += notes.mark("dev score still rising when training ended: more steps may change this row")
        seed = "" if entry["seed"] is None else str(entry["seed"])
        decoder = entry["decoder"] + _source_mark(provenance.get("decoder_source"), notes)
        model = [entry["system"] or "sem2text", entry["teacher"], decoder, str(provenance.get("backbone", ""))]
        steps = [str(training["steps"]), str(training.get("best_step", ""))]
        table.append([name, *model, words[provenance["gloss_free"]], seed, *steps, plateaued])
    header = [
        "row",
        "system",
        "teacher",
        "decoder",
        "backbone",
        "gloss-free",
        "seed",
        "steps",
        "best step",
        "plateaued",
    ]
    return ["What was trained:", "", *markdown_table(header, table, 6)]


def _ceilings(ceilings: dict[str, Any]) -> list[str]:
    wanted = [("dev", "oracle_sem", "bleu"), ("test", "oracle_sem", "bleu"), ("test", "oracle_sem", "chrf")]
    wanted.append(("test", "shuffled_sem", "bleu"))
    header = ["sem2text", "dev BLEU", "test BLEU", "test chrF", "test BLEU, shuffled SEMs"]
    rows = [[name, *(_figure(_get(entry, *which)) for which in wanted)] for name, entry in ceilings.items()]
    return markdown_table(header, rows)


def _controls(rows: dict[str, Any]) -> list[str]:
    header = ["test BLEU", *(condition.replace("_", " ") for condition in CONDITIONS)]
    table = [
        [name, *(_figure(_get(entry, "test", condition, "bleu")) for condition in CONDITIONS)]
        for name, entry in rows.items()
    ]
    return markdown_table(header, table)


def _diagnostics(entries: dict[str, Any], notes: Notes) -> list[str]:
    entries = {name: e["diagnostics"]["test"] for name, e in entries.items() if "test" in e["diagnostics"]}
    if not entries:
        return []
    first = next(iter(entries.values()))

    def parts(which: str, keys: Sequence[str], label: str) -> list[str]:
        kept = [key for key in keys if first[which][key]["n"]]
        header = ["BLEU by " + label, *(f"{key} (n={first[which][key]['n']})" for key in kept)]
        table = [[name, *(_figure(entry[which][key]["bleu"]) for key in kept)] for name, entry in entries.items()]
        return markdown_table(header, table)

    lines = parts("bleu_by_length", bucket_names(), "words in the reference")
    lines += parts("sentences", ("seen", "unseen"), "sentence in train")
    lines += parts("signers", ("seen", "unseen", "unknown"), "signer in train")
    header = ["output", "BLEU, content words", "length ratio", "empty", "distinct", "distinct references"]
    table = []
    for name, entry in entries.items():
        output, ratio = entry["output"], entry["output"]["length_ratio"]
        shares = [f"{output[key]:.1%}" for key in ("empty", "distinct", "distinct_references")]
        content = _figure(entry["bleu_content"], notes)
        table.append([name, content, "–" if ratio is None else f"{ratio:.2f}", *shares])
    lines += markdown_table(header, table)
    found = {name: entry["retrieval"] for name, entry in entries.items() if "candidates" in entry["retrieval"]}
    if found:
        header = [
            "retrieval by predicted SEM",
            "recall@1",
            "recall@5",
            "median rank",
            "sentences",
            "cosine",
            "cosine, others",
        ]
        table = []
        for name, r in found.items():
            ranks = [
                f"{r['recall_at_1']:.1%}",
                f"{r['recall_at_5']:.1%}",
                f"{r['median_rank']:g}",
                str(r["candidates"]),
            ]
            table.append([name, *ranks, f"{r['mean_cosine']:.3f}", f"{r['mean_cosine_other']:.3f}"])
        lines += markdown_table(header, table)
    return lines
