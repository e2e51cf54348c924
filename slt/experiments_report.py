"""``docs/experiments.md`` and its plots, from the kept results in ``docs/experiments/*.json`` alone."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from slt.errors import DataError, StoreError
from slt.experiments import CEILING, EXPERIMENTS, SEM_MAP, Experiment
from slt.experiments_axes import ALL
from slt.experiments_content import FOLDER, SHUFFLED, result_path
from slt.metrics import no_score
from slt.plots import MARKERS, colour, draw_plane, error_arms, save_figure, stacked_panels
from slt.reports import Notes, gloss_mark, markdown_table, score_cell, signed_difference
from slt.store import read_json, replacing
from slt.wer import WER

REPORT = Path("docs/experiments.md")
LABELS_FIT = 80
"""letters that have room side by side below a plot, beside the longest legend"""
SLANTED: dict[str, Any] = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"}


@dataclass(frozen=True)
class Line:
    """One row of a table: a system (or the ceiling) of one variant, over its seeds."""

    labels: tuple[str, ...]
    system: str
    results: tuple[dict[str, Any], ...]

    def score(self, split: str, metric: str) -> dict[str, Any]:
        """A bootstrap interval of one seed, or mean and standard deviation of several."""
        scores = [result["scores"].get(split, {}).get(metric) for result in self.results]
        return self._of(scores, f"{metric} on {split}")

    def shuffled(self) -> dict[str, Any]:
        """Test BLEU of a ceiling that is given other sentences' SEMs; no score where the results do not hold it."""
        found = [result.get("controls", {}).get("test", {}).get(SHUFFLED, {}).get("bleu") for result in self.results]
        return self._of(found, "control")

    def _of(self, scores: Sequence[dict[str, Any] | None], what: str) -> dict[str, Any]:
        found = [score for score in scores if score and score["value"] is not None]
        if not found:
            return no_score(f"no {what}")
        return dict(found[0]) if len(self.results) == 1 else _over_seeds([score["value"] for score in found])

    def difference(self) -> tuple[str, str]:
        """Cells of the paired difference in test BLEU and of its p-value; empty for what others are compared with."""
        tests = [result["comparison"]["bleu"] for result in self.results if result["comparison"]]
        if not tests:
            return "", ""
        if len(tests) == 1:
            return signed_difference(tests[0]), f"{tests[0]['p_value']:.3f}"
        spread = _over_seeds([test["difference"] for test in tests])
        return f"{spread['value']:+.2f} ± {spread['half_width']:.2f}", ""

    def paired(self, kind: str) -> str:
        """Cell of a further paired difference, ``second`` (in BLEU) or ``recall_at_1`` (in points); empty: none."""
        found = [test for result in self.results if (test := (result["comparison"] or {}).get(kind))]
        tests = [test["bleu"] if kind == "second" else test for test in found]
        if not tests:
            return ""
        if len(tests) == 1:
            return signed_difference(tests[0])
        spread = _over_seeds([test["difference"] for test in tests])
        return f"{spread['value']:+.2f} ± {spread['half_width']:.2f}"

    def retrieval(self, key: str) -> float | None:
        """Mean over seeds of a figure of retrieval by predicted SEM; None for a system that predicts none."""
        found = [result["retrieval"][key] for result in self.results if result["retrieval"]]
        return mean(found) if found else None

    def recall(self) -> dict[str, Any]:
        """Recall@1 in percent: of one seed with Wilson's 95 % interval, of several with their standard deviation."""
        from scipy.stats import binomtest

        found = [result["retrieval"] for result in self.results if result["retrieval"]]
        if not found:
            return no_score("predicts no SEM")
        values = [100 * result["recall_at_1"] for result in found]
        if len(values) > 1:
            return _over_seeds(values)
        sentences = found[0]["n"]
        interval = binomtest(round(sentences * values[0] / 100), sentences).proportion_ci(method="wilson")
        return {"value": values[0], "low": 100 * interval.low, "high": 100 * interval.high}


def _over_seeds(values: Sequence[float]) -> dict[str, Any]:
    half = stdev(values) if len(values) > 1 else 0.0
    return {"value": mean(values), "half_width": half, "low": mean(values) - half, "high": mean(values) + half}


def write_report(folder: Path = FOLDER, report: Path = REPORT) -> list[Path]:
    """Write the report and a plot beside each result file; the files that it was made of.

    Raises DataError when there is no result yet, StoreError for a file that is none.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise DataError(f"{folder}: no result yet; run `slt experiment NAME --dataset DATASET` first")
    contents = []
    for path in files:
        content = read_json(path)
        if not isinstance(content, dict) or content.get("experiment") not in EXPERIMENTS:
            raise StoreError(f"{path}: not the results of an experiment; move it away")
        contents.append(content)
    order = list(EXPERIMENTS)
    contents.sort(key=lambda content: (order.index(content["experiment"]), content["dataset"]))
    drawn = set()
    for content in contents:
        figure = sem_map_figure(content) if content["experiment"] == SEM_MAP else figure_of(content)
        if figure is not None:
            path = folder / _plot_name(content)
            save_figure(figure, path)
            drawn.add(path.name)
    with replacing(report) as temporary:
        temporary.write_text(markdown(contents, drawn), encoding="utf-8")
    return files


def _plot_name(content: dict[str, Any]) -> str:
    return result_path(content["experiment"], content["dataset"], content["label"]).with_suffix(".png").name


def markdown(contents: Sequence[dict[str, Any]], drawn: set[str]) -> str:
    """The whole report; ``drawn`` names the plots that lie beside the results."""
    notes = Notes()
    lines = [
        "# Experiments",
        "",
        "Made by `slt experiment` from the files in `docs/experiments`; change those, not this. BLEU is sacrebleu's"
        " (13a, one reference). With one seed, ± is half of a bootstrap interval, and a difference has the interval of"
        " the paired bootstrap; with several, both are means over seeds ± one standard deviation, differences paired by"
        " seed. p is sacrebleu's, of one tail: a difference is called one only if its interval leaves out 0."
        " Δ recall@1 is in points, paired in the same way. Compare rows within a table: tables were made at"
        " different commits, some on another type of CPU than `metrics/`.",
        "",
    ]
    for content in contents:
        experiment = EXPERIMENTS[content["experiment"]]
        of = ", ".join(filter(None, (content["dataset"], content["label"])))
        lines += [f"## {experiment.text.title} ({of})", "", experiment.text.shows, ""]
        lines += _sem_map_table(content) if experiment.name == SEM_MAP else _table(content, notes)
        if _plot_name(content) in drawn:
            lines += [f"![{experiment.name} on {content['dataset']}]({FOLDER.name}/{_plot_name(content)})", ""]
        lines += [f"Not shown: {experiment.text.limits}", "", *_made_by(content), ""]
    return "\n".join([*lines, *notes.lines()]).rstrip() + "\n"


def lines_of(content: dict[str, Any]) -> list[Line]:
    """The rows of the table: variants in the order of their first seed, in each its systems, seeds gathered."""
    gathered: dict[tuple[tuple[str, ...], str], list[dict[str, Any]]] = {}
    for run in in_order(content):
        labels = tuple(run["labels"][axis] for axis in content["axes"])
        for system, result in run["results"].items():
            gathered.setdefault((labels, system), []).append(result)
            for language, part in result.get("languages", {}).items():
                comparison = result["comparison"] and result["comparison"]["languages"][language]
                own = {**result, **part, "comparison": comparison, "controls": {}}
                gathered.setdefault((labels, f"{system}, tested on {language}"), []).append(own)
    return [Line(labels, system, tuple(results)) for (labels, system), results in gathered.items()]


def in_order(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Runs by seed, then along an ordered axis, else in the order in which they were made; files hold them by name."""
    axes = EXPERIMENTS[content["experiment"]].axes
    ordered = len(axes) == 1 and axes[0].ordered

    def place(run: dict[str, Any]) -> float:
        if not ordered:
            return float(run["position"])
        label = run["labels"][axes[0].name]
        return math.inf if label == ALL else float(label.rstrip("%"))

    return sorted(content["runs"].values(), key=lambda run: (run["seed"], place(run)))


def _headings(content: dict[str, Any]) -> list[str]:
    """What the reader is told that each axis of the kept result is."""
    headings = {axis.name: axis.heading or axis.name for axis in EXPERIMENTS[content["experiment"]].axes}
    return [headings.get(axis, axis) for axis in content["axes"]]


def _table(content: dict[str, Any], notes: Notes) -> list[str]:
    lines = lines_of(content)
    retrieves = any(line.retrieval("recall_at_1") is not None for line in lines)
    header = [*_headings(content), "system", "seeds"]
    header += ["dev BLEU", "test BLEU", "test chrF", "Δ test BLEU", "p"]
    tests = [result["comparison"] or {} for line in lines for result in line.results]
    second = next((test["second"]["baseline"] for test in tests if "second" in test), None)
    header += [f"Δ to {second}"] if second else []
    controlled = any(line.shuffled()["value"] is not None for line in lines)
    header += ["test BLEU, shuffled SEMs"] if controlled else []
    compared = any(line.paired("recall_at_1") for line in lines)
    recognises = any(line.score("test", WER.name)["value"] is not None for line in lines)
    header += ["gloss WER"] if recognises else []
    header += ["recall@1", *(["Δ recall@1"] if compared else []), "cosine"] if retrieves else []
    table = []
    for line in lines:
        scores = [score_cell(line.score(*key), notes) for key in (("dev", "bleu"), ("test", "bleu"), ("test", "chrf"))]
        cells = [*line.labels, _system(line, notes), str(len(line.results)), *scores, *line.difference()]
        cells += [line.paired("second")] if second else []
        if controlled:
            control = line.shuffled()
            cells.append("" if control["value"] is None else score_cell(control))
        if recognises:
            wer = line.score("test", WER.name)
            cells.append("" if wer["value"] is None else score_cell(wer, notes))
        if retrieves:
            recall, cosine = line.retrieval("recall_at_1"), line.retrieval("mean_cosine")
            cells.append("" if recall is None else f"{recall:.1%}")
            cells += [line.paired("recall_at_1")] if compared else []
            cells.append("" if cosine is None else f"{cosine:.3f}")
        table.append([*cells, _steps(line, notes)])
    return markdown_table([*header, "steps"], table, words=len(content["axes"]) + 1)


def _system(line: Line, notes: Notes) -> str:
    name = line.system.replace(CEILING, "ceiling: true SEMs", 1) if line.system.startswith(CEILING) else line.system
    # results from before this was kept: a system that learns glosses says so in its name
    learns = {"gloss_supervision": "gloss" in line.system}
    marks = [gloss_mark({"provenance": {**learns, **result}}, notes) for result in line.results]
    return name + "".join(dict.fromkeys(marks))


def _steps(line: Line, notes: Notes) -> str:
    steps = sorted({result["training"]["steps"] for result in line.results})
    rising = not all(result["training"]["plateaued"] for result in line.results)
    mark = notes.mark("the dev score still rose in the last quarter of the steps: more may change it") if rising else ""
    return "–".join(str(step) for step in dict.fromkeys([steps[0], steps[-1]])) + mark


def _sem_map_table(content: dict[str, Any]) -> list[str]:
    header = ["row", "alignment", "recall@1", "Δ recall@1", "recall@5", "median rank", "sentences", "cosine"]
    header.append("cosine, others")
    table = []
    for name, row in content["rows"].items():
        for alignment, f in row["alignments"].items():
            ranks = [
                f"{f['recall_at_1']:.1%}",
                signed_difference(f["recall_test"]) if f["recall_test"] else "",
                f"{f['recall_at_5']:.1%}",
                f"{f['median_rank']:g}",
                str(f["candidates"]),
            ]
            cosines = [f"{f['mean_cosine']:.3f}", f"{f['mean_cosine_other']:.3f}"]
            table.append([name, alignment, *ranks, *cosines, f"{f['modality_gap']:.3f}"])
    clips = next(iter(content["rows"].values()))["clips"]
    size = next(iter(content["rows"].values()))["size"]
    lines = markdown_table([*header, "modality gap"], table, words=2)
    lines += [
        f"SEMs have {size} dimensions; alignments are fitted on {clips['train']} train or {clips['dev']} dev clips"
        f" and judged on {clips['test']} test clips.",
        "",
    ]
    if content["without"]:
        lines += [f"Without SEMs, so not mapped: {', '.join(content['without'])}.", ""]
    return lines


def _made_by(content: dict[str, Any]) -> list[str]:
    if content["experiment"] == SEM_MAP:
        label = f" --label {content['label']}" if content["label"] else ""
        return [f"Made at {content['commit'][:10]}: `slt experiment {SEM_MAP} --dataset {content['dataset']}{label}`."]
    commits = sorted({run["commit"][:10] for run in content["runs"].values()})
    mixed = " (not one: compare across them with care)" if len(commits) > 1 else ""
    file = result_path(content["experiment"], content["dataset"], content["label"])
    return [
        f"Made at {', '.join(commits)}{mixed}; each variant's command, seed and overrides are in"
        f" [{file.name}]({FOLDER.name}/{file.name}).",
        "",
        "```sh",
        *content["invocations"],
        "```",
    ]


def figure_of(content: dict[str, Any]) -> Any:
    """Test BLEU (or recall@1, where BLEU says little) of each system over the variants, with intervals."""
    experiment: Experiment = EXPERIMENTS[content["experiment"]]

    def figures(line: Line) -> dict[str, Any]:
        return line.recall() if experiment.plots == "recall@1" else line.score("test", "bleu")

    lines = lines_of(content)
    points = list(dict.fromkeys(line.labels for line in lines))
    systems = list(dict.fromkeys(line.system for line in lines))
    joined = len(experiment.axes) == 1 and experiment.axes[0].ordered and len(points) > 1
    figure, (panel,) = stacked_panels(1, 8.0, 4.0)
    for i, system in enumerate(systems):
        own = [line for line in lines if line.system == system and figures(line)["value"] is not None]
        shift = 0.0 if joined else (i - (len(systems) - 1) / 2) * 0.15
        scores = [figures(line) for line in own]
        value, low, high = (np.array([score[key] for score in scores]) for key in ("value", "low", "high"))
        panel.errorbar(
            [points.index(line.labels) + shift for line in own],
            value,
            yerr=error_arms(value, low, high),
            fmt=MARKERS[i % len(MARKERS)] + ("-" if joined else ""),
            color=colour(i),
            markersize=5,
            capsize=3,
            label=system.replace(CEILING, "ceiling (true SEMs)", 1) if system.startswith(CEILING) else system,
        )
    axis, labels = _point_labels(_headings(content), points)
    if len(labels) * (2 + max(len(value) for values in labels for value in values)) <= LABELS_FIT:
        panel.set_xticks(range(len(points)), ["\n".join(values) for values in labels])
    else:
        panel.set_xticks(range(len(points)), [", ".join(values) for values in labels], **SLANTED)
    panel.set_xlim(-0.5, len(points) - 0.5)
    panel.set_ylim(bottom=0)
    panel.set_xlabel(axis + (" (evenly spaced)" if joined else ""))
    panel.set_ylabel("test recall@1 (%)" if experiment.plots == "recall@1" else "test BLEU")
    panel.set_title(Path(_plot_name(content)).stem, loc="left", fontsize=11)
    panel.grid(axis="y", color="0.9")
    panel.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
    return figure


def _point_labels(axes: Sequence[str], points: Sequence[tuple[str, ...]]) -> tuple[str, list[tuple[str, ...]]]:
    """What to write below the axis and at each point: a value that all points share, or its beginning, stands below."""
    names, columns = [], []
    for name, values in zip(axes, zip(*points, strict=True), strict=True):
        if len(points) > 1 and len(set(values)) == 1:
            names.append(f"{name} {values[0]}")
            continue
        words = zip(*(re.split("(?<=[_-])", value) for value in values), strict=False)
        shared = "".join(word[0] for word in takewhile(lambda word: len(set(word)) == 1, words) if len(points) > 1)
        names.append(f"{name} ({shared}…)" if shared else name)
        columns.append([value.removeprefix(shared) for value in values])
    return ", ".join(names), list(zip(*columns, strict=True))


def sem_map_figure(content: dict[str, Any]) -> Any:
    """The planes of every row, two side by side; None when no row has enough clips for one."""
    planes = [
        (name, alignment, plane)
        for name, row in content["rows"].items()
        for alignment, plane in row["planes"].items()
        if plane is not None
    ]
    if not planes:
        return None
    columns = min(2, len(planes))
    figure, panels = stacked_panels(len(planes), 5.0 * columns, 4.8 * -(-len(planes) // columns), columns=columns)
    for panel, (name, alignment, plane) in zip(panels, planes, strict=True):
        draw_plane(panel, np.array(plane["predicted"]), np.array(plane["true"]))
        panel.set_title(f"{name}\n{alignment}: {len(plane['true'])} test clips, t-SNE", loc="left", fontsize=11)
    return figure
