"""The tables in the paper's shape in Markdown, rendered from the content of ``paper_<dataset>.json`` alone."""

from typing import Any

from slt.evaluations import SPLITS
from slt.metrics import no_score
from slt.published import METRICS, UNKNOWN
from slt.reports import Notes, gloss_mark, markdown_table, score_cell, signed_difference

ALWAYS = ("bleu", "chrf", "bleurt")  # the paper's metrics; a column of another one is there when something has it
UNCLEANED = (
    "published gloss WER of PHOENIX-2014T is of glosses that the corpus' own evaluation cleans first"
    " (clean_phoenix_2014_trans), ours of glosses as they are annotated: the two are not comparable"
)


def paper_markdown(content: dict[str, Any]) -> str:
    """The report of one dataset in the paper's shape."""
    notes = Notes()
    lines = [f"# {content['title']} in the paper's shape", ""]
    if content["interval"] is not None:
        interval = content["interval"]
        lines += [
            f"± is half of the {100 * interval['confidence']:g}% interval of {interval['resamples']} bootstrap"
            f" resamples (seed {interval['seed']}).",
            "",
        ]
    if content["not_compared"]:
        lines += [f"Not compared with anything published: {content['not_compared']}.", ""]
    lines += ["## Systems", "", *_scores(content, "table", notes)]
    lines += ["## sem2text alone: text from true SEMs", "", *_scores(content, "sem2text", notes)]
    if "figures" in content:
        lines += _figures(content, notes)
        lines += _claims(content, notes)
        lines += _prior(content, notes)
    return "\n".join([*lines, *notes.lines()]).rstrip() + "\n"


def _scores(content: dict[str, Any], part: str, notes: Notes) -> list[str]:
    rows = content[part]
    if not rows:
        return ["Nothing of this kind was run.", ""]

    def score(row: dict[str, Any], split: str, metric: str) -> dict[str, Any]:
        why = row["not_run"] or f"no {metric} on {split}"
        return row.get("scores", {}).get(split, {}).get(metric) or no_score(why)

    def has(metric: str) -> bool:
        return any(score(row, split, metric)["value"] is not None for row in rows for split in SPLITS)

    metrics = [metric for metric in METRICS if metric in ALWAYS or has(metric)]
    columns = [(split, metric) for metric in metrics for split in SPLITS]
    compared = "figures" in content
    header = ["system", "decoder", "teacher", "row"]
    header += [f"{split} {_metric(metric, notes) if compared else METRICS[metric]}" for split, metric in columns]
    table = []
    for row in rows:
        name = _verdict(row["not_run"], notes) if row["not_run"] else row["row"] + _marks(row, notes)
        if not row["in_paper"] and compared:
            name += notes.mark("no row of the paper")
        cells = ["" if row["not_run"] else score_cell(score(row, *column), notes) for column in columns]
        table.append([row["system"], row["decoder"], row["teacher"] or "–", name, *cells])
    return markdown_table(header, table, words=4)


def _metric(metric: str, notes: Notes) -> str:
    return METRICS[metric] + (notes.mark(UNCLEANED) if metric == "wer" else "")


def _marks(row: dict[str, Any], notes: Notes) -> str:
    """The notes on a row of ours: what saw gloss, and features that are not those that the corpus' authors gave."""
    files = (row["provenance"].get("source") or {}).get("files", [])
    others = [f"{file['split']}: {file['artefact']}" for file in files if file["artefact"] != "official"]
    return gloss_mark(row, notes) + (notes.mark(f"its features are of {'; '.join(others)}") if others else "")


def _verdict(verdict: str, notes: Notes) -> str:
    short, found, why = verdict.partition(": ")
    return short + notes.mark(why) if found else verdict


def _published(entry: dict[str, Any]) -> str:
    if entry["value"] is not None:
        return f"{entry['value']:.2f}"
    return f"{entry['low']:g} to {entry['high']:g}"


def _source(name: str, content: dict[str, Any], notes: Notes) -> str:
    source = content["sources"][name]
    return source["reading"] + notes.mark(source["title"])


def _figures(content: dict[str, Any], notes: Notes) -> list[str]:
    table = []
    rows = {row["row"]: row for part in ("table", "sem2text") for row in content[part] if row["row"]}
    for entry in content["figures"]:
        ours = [
            f"{own['row']}{_marks(rows[own['row']], notes)}, {own['split']}: {own['value']:.2f}"
            f" [{own['low']:.2f}, {own['high']:.2f}] {own['verdict']}"
            for own in entry["ours"]
        ]
        cells = [entry["system"], entry["decoder"], entry["teacher"], entry["split"], _metric(entry["metric"], notes)]
        cells += [_published(entry), entry["role"], entry["gloss"], _source(entry["source"], content, notes)]
        table.append([*cells, "<br>".join(ours) or "–", _verdict(entry["verdict"], notes)])
    header = ["system", "decoder", "teacher", "split", "metric", "published", "which cell", "gloss", "source", "ours"]
    lines = [
        "## Published figures of the paper",
        "",
        "`agrees`: the published value lies in our interval. A figure of which the source does not tell decoder,"
        " teacher or split is set beside every row and split that it may be of.",
        "",
    ]
    return [*lines, *markdown_table([*header, "verdict"], table, words=11)]


def _claims(content: dict[str, Any], notes: Notes) -> list[str]:
    table = []
    for entry in content["claims"]:
        expected = {"greater": "greater", "same": "no difference"}.get(entry["expect"], "")
        expected = expected or f"greater by {entry['low']:g} to {entry['high']:g}"
        ours = [f"{own['left']} − {own['right']}: {signed_difference(own)} {own['verdict']}" for own in entry["ours"]]
        what = f"{entry['left']} − {entry['right']}" + (", sem2text alone" if entry["among"] == "sem2text" else "")
        cells = [what, METRICS[entry["metric"]], expected, _source(entry["source"], content, notes)]
        table.append([*cells, "<br>".join(ours) or "–", _verdict(entry["verdict"], notes)])
    lines = ["## What the paper says of differences", ""]
    lines += markdown_table(["difference", "metric", "published", "source", "ours, test", "verdict"], table, words=6)
    for entry in content["statements"]:
        lines.append(f"- Not to be compared: {entry['text']} ({_source(entry['source'], content, notes)}).")
    return [*lines, ""]


def _prior(content: dict[str, Any], notes: Notes) -> list[str]:
    systems: dict[tuple[str, ...], dict[str, float]] = {}
    for entry in content["prior"]:
        split = "test" if entry["split"] == UNKNOWN else entry["split"]
        key = (entry["label"], split, entry["gloss"], _source(entry["source"], content, notes))
        systems.setdefault(key, {})[entry["metric"]] = entry["value"]
    metrics = [metric for metric in METRICS if any(metric in values for values in systems.values())]
    table = [
        [*key, *(f"{values[metric]:.2f}" if metric in values else "–" for metric in metrics)]
        for key, values in systems.items()
    ]
    header = ["system", "split", "gloss", "source", *(_metric(metric, notes) for metric in metrics)]
    return ["## Prior work, not run here", "", *markdown_table(header, table, words=4)]
