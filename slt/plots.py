"""Pictures of the results, and the CSV files behind them for DVC's own plots.

Colours are Okabe and Ito's, to be told apart by colour-blind readers; each row also has its own marker. PNG files
carry no software version or date, so that equal results give equal bytes.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slt.diagnostics import bucket_names
from slt.evaluations import Sems, csv_text
from slt.sem_metrics import unit
from slt.store import replacing
from slt.tables import DatasetResults, score_of

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # one more than colours, so that pairs repeat only after 56 rows
MAP_CLIPS = 100  # more pairs than this hide each other
MAP_LEAST = 8  # fewer make no map
BUCKET_LEAST = 10  # of fewer clips a bootstrap redraws the same few, and its interval is far too narrow: none is shown
DEV_BLEU = "dev_bleu"


def write_plots(results: Sequence[DatasetResults], folder: Path) -> None:
    """Write all plots; those without data (a dataset without rows, no predicted SEMs) are left out.

    The folder is this function's own: pictures of an earlier run that has more of them are removed.
    ``training.csv`` and ``bleu_by_length.csv`` are always there, because ``dvc.yaml`` names them.
    """
    _write_csv(folder / "training.csv", ["dataset", "row", "step", DEV_BLEU], training_curves(results))
    header = ["dataset", "row", "words", "n", "bleu", "low", "high"]
    _write_csv(folder / "bleu_by_length.csv", header, bleu_by_length(results))
    for stale in [*folder.glob("*.png")]:
        stale.unlink()
    shown = [result for result in results if result.rows]
    if shown:
        save_figure(bleu_intervals(shown), folder / "bleu_intervals.png")
        save_figure(bleu_length_figure(shown), folder / "bleu_by_length.png")
    trained = [result for result in shown if any(True for _ in training_curves([result]))]
    if trained:
        save_figure(training_figure(trained), folder / "training.png")
    for result in shown:
        mapped = next((row for row in result.rows.values() if row.sems is not None), None)
        if mapped is not None and mapped.sems is not None and len(mapped.sems.ids) >= MAP_LEAST:
            save_figure(sem_map(mapped.name, mapped.sems), folder / f"sem_map_{result.dataset}.png")


def training_curves(results: Iterable[DatasetResults]) -> Iterable[tuple[str, str, int, float]]:
    """dataset, row, step, dev BLEU, as the training validated it."""
    for result in results:
        for name, row in result.rows.items():
            for point in row.curves:
                if point.series == DEV_BLEU:
                    yield result.dataset, name, point.step, float(f"{point.value:.6g}")


def bleu_by_length(results: Iterable[DatasetResults]) -> Iterable[tuple[Any, ...]]:
    """dataset, row, bucket, clips, test BLEU and its interval; a bucket without clips is left out.

    Of fewer than BUCKET_LEAST clips the interval is empty.
    """
    for result in results:
        for name, row in result.rows.items():
            buckets = row.scores["diagnostics"].get("test", {}).get("bleu_by_length", {})
            for words in bucket_names():
                bleu = buckets.get(words, {}).get("bleu", {"value": None})
                if bleu["value"] is not None:
                    value, *interval = (f"{bleu[key]:.2f}" for key in ("value", "low", "high"))
                    if bleu["n"] < BUCKET_LEAST:
                        interval = ["", ""]
                    yield result.dataset, name, words, bleu["n"], value, *interval


def bleu_intervals(results: Sequence[DatasetResults]) -> Any:
    """Test and dev BLEU of each row with its interval, a panel per dataset; ceilings as vertical lines."""
    heights = [len(result.rows) + 1.2 for result in results]
    figure, panels = stacked_panels(len(results), 8.0, sum(0.45 * height + 0.75 for height in heights), heights)
    for panel, result in zip(panels, results, strict=True):
        names = list(result.rows)
        for split, offset, style in (
            ("test", 0.0, {"fmt": "o", "markersize": 7, "capsize": 3}),
            ("dev", 0.24, {"fmt": "o", "markersize": 5, "capsize": 3, "markerfacecolor": "white", "alpha": 0.75}),
        ):
            panel.errorbar([], [], xerr=[], color="0.25", label=split, **style)  # for the legend: of no row's colour
            for i, name in enumerate(names):
                score = score_of(result.rows[name], split, "model", "bleu")
                if score["value"] is not None:
                    arms = error_arms(*(np.array([score[key]]) for key in ("value", "low", "high")))
                    panel.errorbar([score["value"]], [i + offset], xerr=arms, color=colour(i), **style)
        for i, (name, ceiling) in enumerate(result.ceilings.items()):
            value = score_of(ceiling, "test", "oracle_sem", "bleu")["value"]
            if value is not None:
                line = ("--", ":", "-.")[i % 3]
                panel.axvline(value, color="0.35", linestyle=line, linewidth=1.2, label=f"ceiling {name}")
        panel.set_yticks(range(len(names)), names)
        panel.set_ylim(len(names) - 0.4, -0.6)
        panel.set_xlim(left=0)
        panel.set_xlabel("BLEU")
        panel.set_title(result.dataset, loc="left", fontsize=11)
        panel.grid(axis="x", color="0.9")
        panel.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
    return figure


def bleu_length_figure(results: Sequence[DatasetResults]) -> Any:
    """Test BLEU by length of the reference, a panel per dataset, rows side by side with their intervals, if any."""
    figure, panels = stacked_panels(len(results), 8.0, 3.4 * len(results))
    for panel, result in zip(panels, results, strict=True):
        points = list(bleu_by_length([result]))
        counts = {words: n for _, _, words, n, *_ in points}
        buckets = [words for words in bucket_names() if words in counts]
        names = list(result.rows)
        for i, name in enumerate(names):
            own = [point for point in points if point[1] == name]
            x = [buckets.index(point[2]) + (i - (len(names) - 1) / 2) * 0.7 / max(len(names), 4) for point in own]
            value, low, high = (np.array([float(point[k] or "nan") for point in own]) for k in (4, 5, 6))
            style = {"fmt": MARKERS[i % len(MARKERS)], "markersize": 5, "capsize": 2, "linewidth": 1.2}
            panel.errorbar(x, value, yerr=error_arms(value, low, high), color=colour(i), label=name, **style)
        panel.set_xticks(range(len(buckets)), [f"{words}\nn={counts[words]}" for words in buckets])
        panel.set_ylim(bottom=0)
        panel.set_xlabel("words in the reference")
        panel.set_ylabel("test BLEU")
        panel.set_title(result.dataset, loc="left", fontsize=11)
        panel.grid(axis="y", color="0.9")
        panel.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
    return figure


def training_figure(results: Sequence[DatasetResults]) -> Any:
    """Dev BLEU over optimiser steps, a line per row, a panel per dataset."""
    figure, panels = stacked_panels(len(results), 8.0, 3.4 * len(results))
    for panel, result in zip(panels, results, strict=True):
        for i, (name, row) in enumerate(result.rows.items()):
            points = [(point.step, point.value) for point in row.curves if point.series == DEV_BLEU]
            if points:
                steps, values = zip(*points, strict=True)
                style = {"marker": MARKERS[i % len(MARKERS)], "markersize": 4, "linewidth": 1.5}
                panel.plot(steps, values, color=colour(i), label=name, **style)
        panel.set_ylim(bottom=0)
        panel.set_xlabel("optimiser step")
        panel.set_ylabel("dev BLEU (greedy)")
        panel.set_title(result.dataset, loc="left", fontsize=11)
        panel.grid(color="0.9")
        panel.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
    return figure


def sem_map(name: str, sems: Sems) -> Any:
    """Predicted and true SEMs of up to 100 test clips in one plane (t-SNE of unit vectors), pairs joined.

    Short lines mean that a clip lands by its own sentence; one predicted heap far from the true ones means collapse.
    """
    predicted, true = sem_plane(sems)
    figure, (panel,) = stacked_panels(1, 6.5, 6.0)
    draw_plane(panel, predicted, true)
    panel.set_title(f"{name}: {len(true)} test clips, t-SNE", loc="left", fontsize=11)
    return figure


def sem_plane(sems: Sems) -> tuple[np.ndarray, np.ndarray]:
    """Where up to 100 predicted SEMs and their true ones lie in one plane, both clips × 2 (t-SNE of unit vectors)."""
    from sklearn.manifold import TSNE

    # evenly over the ids, because neighbouring ids often come from one broadcast
    chosen = np.unique(np.linspace(0, len(sems.ids) - 1, min(MAP_CLIPS, len(sems.ids))).round().astype(int))
    count = len(chosen)
    both = unit(np.concatenate([sems.predicted[chosen], sems.true[chosen]]).astype(np.float64))
    perplexity = min(30.0, (len(both) - 1) / 3)
    plane = TSNE(init="pca", random_state=0, perplexity=perplexity).fit_transform(both)
    return plane[:count], plane[count:]


def draw_plane(panel: Any, predicted: np.ndarray, true: np.ndarray) -> None:
    """Draw both sides of :func:`sem_plane`, pairs joined."""
    for a, b in zip(predicted, true, strict=True):
        panel.plot([a[0], b[0]], [a[1], b[1]], color="0.75", linewidth=0.8, zorder=1)
    panel.scatter(*true.T, s=30, facecolors="white", edgecolors=COLOURS[0], linewidths=1.3, label="true SEM", zorder=2)
    panel.scatter(*predicted.T, s=26, color=COLOURS[1], marker="^", label="predicted SEM", zorder=3)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, frameon=False, fontsize=9)


def error_arms(value: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Arms of error bars, 2 × points; none where a bootstrap interval does not reach the value itself, or is NaN."""
    return np.maximum([value - low, high - value], 0)


def colour(i: int) -> str:
    """The i-th colour, starting again after the last."""
    return COLOURS[i % len(COLOURS)]


def stacked_panels(
    count: int, width: float, height: float, ratios: Sequence[float] | None = None, columns: int = 1
) -> tuple[Any, list[Any]]:
    """A figure of ``count`` panels below each other, or row by row in columns, and its panels; sizes in inches."""
    from matplotlib.figure import Figure  # without pyplot: then PNGs are drawn by Agg, and no display is asked for

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(-(-count // columns), columns, squeeze=False, gridspec_kw={"height_ratios": ratios})
    panels = list(axes.flat)
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    for spare in panels[count:]:
        spare.remove()
    return figure, panels[:count]


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as PNG, atomically, without a software version or date."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130, metadata={"Software": None})


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(csv_text(header, rows), encoding="utf-8")
