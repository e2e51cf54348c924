"""The report of one dataset in Markdown, rendered from the content of ``<dataset>.json`` alone."""

from collections.abc import Iterable, Sequence
from typing import Any

from slt.config.data import PRECOMPUTED
from slt.diagnostics import bucket_names
from slt.evaluations import CONDITIONS
from slt.metrics import NAMES, no_score
from slt.wer import WER


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
        " differences are paired. ± is half the interval's width, n a number of clips. p is sacrebleu's, of one tail:"
        " read a difference as one when its interval leaves out 0.",
        "",
    ]
    entries = [*rows.values(), *ceilings.values()]
    for warning in dict.fromkeys(entry["provenance"].get("corpus_warning") for entry in entries):
        lines += [f"**{warning[0].upper()}{warning[1:].rstrip('.')}.**", ""] if warning else []
    if rows:
        lines += [
            "## Systems",
            "",
            *_systems(rows, notes),
            *_comparisons(rows),
            *_between_systems(content["between_systems"]),
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


def score_cell(score: dict[str, Any], notes: Notes | None = None) -> str:
    """``value ± half width`` of a score as in ``scores.json``; a dash, with the reason as a note, for null."""
    if score["value"] is None:
        return "–" + (notes.mark(score["reason"]) if notes else "")
    return f"{score['value']:.2f} ± {score['half_width']:.2f}"


def signed_difference(test: dict[str, Any]) -> str:
    """``difference [low, high]`` of a paired test, with its signs."""
    return f"{test['difference']:+.2f} [{test['low']:+.2f}, {test['high']:+.2f}]"


def _systems(rows: dict[str, Any], notes: Notes) -> list[str]:
    header = ["row", "dev BLEU", "test BLEU", "BLEU, all references", "BLEU, raw tokens", "chrF", "BLEURT"]
    wer = {name: _get(entry, "test", "model", WER.name) for name, entry in rows.items()}
    recognised = any(score["value"] is not None for score in wer.values())
    if recognised:
        header.append("gloss WER")
    table = []
    for name, entry in rows.items():
        test = [_get(entry, "test", "model", metric) for metric in NAMES]
        bleu, multi, raw, chrf, bleurt = test
        cells = [name + gloss_mark(entry, notes), score_cell(_get(entry, "dev", "model", "bleu")), score_cell(bleu)]
        cells += [score_cell(multi, notes), score_cell(raw), score_cell(chrf), score_cell(bleurt, notes)]
        cells += [score_cell(wer[name], notes)] if recognised else []
        bleu_test = (entry["comparison"] or {}).get("bleu")
        table.append(
            [
                *cells,
                signed_difference(bleu_test) if bleu_test else "",
                f"{bleu_test['p_value']:.3f}" if bleu_test else "",
            ]
        )
    return markdown_table([*header, "Δ BLEU to baseline", "p"], table)


def gloss_mark(entry: dict[str, Any], notes: Notes) -> str:
    """The notes on a row whose training or features saw gloss, or may have; nothing for a row that is free of it."""
    gloss_free = entry["provenance"]["gloss_free"]
    supervised = ""
    if entry["provenance"].get("gloss_supervision"):
        supervised = notes.mark("gloss-dependent: its own training reads the glosses of the corpus (CTC)")
    if gloss_free is True:
        return supervised
    backbone = entry["provenance"].get("backbone", "the backbone")
    if backbone == PRECOMPUTED:
        backbone = entry["provenance"]["weights"]
    if gloss_free is False:
        return supervised + notes.mark(f"not gloss-free: its features come from {backbone}, whose training saw gloss")
    return supervised + notes.mark(f"whether the training of {backbone} saw gloss is not known")


def _source_mark(source: dict[str, Any] | None, notes: Notes) -> str:
    if source is None:
        return ""
    return notes.mark(
        f"starts from the decoder of {source['pretrained']}, weights sha256 {source['weights_sha256'][:12]}"
    )


TITLES = {"bleu": "BLEU", "bleu_multi": "BLEU, all references", "chrf": "chrF"}


def _comparisons(rows: dict[str, Any]) -> list[str]:
    table = [
        [name, entry["comparison"]["baseline"], TITLES[metric], signed_difference(test), f"{test['p_value']:.3f}"]
        for name, entry in rows.items()
        for metric, test in (entry["comparison"] or {}).items()
        if metric != "baseline"
    ]
    if not table:
        return []
    lines = ["Test differences to the baseline, paired bootstrap:", ""]
    return [*lines, *markdown_table(["row", "baseline", "metric", "difference", "p"], table, 3)]


def _between_systems(tests: list[dict[str, Any]]) -> list[str]:
    table = [
        [entry["row"], entry["other"], TITLES[metric], signed_difference(test), f"{test['p_value']:.3f}"]
        for entry in tests
        for metric, test in entry.items()
        if metric in TITLES
    ]
    if not table:
        return []
    lines = ["Between systems of the same teacher, decoder and seed, test, paired bootstrap:", ""]
    return [*lines, *markdown_table(["row", "other", "metric", "difference", "p"], table, 3)]


def _training(entries: dict[str, Any], notes: Notes) -> list[str]:
    table = []
    words = {True: "yes", False: "no", None: "unknown"}
    for name, entry in entries.items():
        training, provenance = entry["training"], entry["provenance"]
        rise = training.get("last_quarter")
        added = signed_difference(rise) if rise else ""
        if training["plateaued"] is False:
            added += notes.mark(
                "dev BLEU still rose in the last quarter of the steps, by more than chance: more may change this row"
                if rise
                else "too few validations to tell whether dev BLEU still rose at the end"
            )
        seed = "" if entry["seed"] is None else str(entry["seed"])
        decoder = entry["decoder"] + _source_mark(provenance.get("decoder_source"), notes)
        model = [entry["system"] or "sem2text", entry["teacher"], decoder, str(provenance.get("backbone", ""))]
        steps = [str(training["steps"]), str(training.get("best_step", ""))]
        gloss_free = words[provenance["gloss_free"]]
        if provenance.get("gloss_supervision") and provenance["gloss_free"]:
            gloss_free = "features only"
        table.append([name, *model, gloss_free, seed, *steps, added])
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
        "last quarter",
    ]
    lines = ["What was trained, and what the last quarter of its steps added to its best dev BLEU:", ""]
    return [*lines, *markdown_table(header, table, 6)]


def _ceilings(ceilings: dict[str, Any]) -> list[str]:
    wanted = [("dev", "oracle_sem", "bleu"), ("test", "oracle_sem", "bleu"), ("test", "oracle_sem", "chrf")]
    wanted.append(("test", "shuffled_sem", "bleu"))
    header = ["sem2text", "dev BLEU", "test BLEU", "test chrF", "test BLEU, shuffled SEMs"]
    rows = [[name, *(score_cell(_get(entry, *which)) for which in wanted)] for name, entry in ceilings.items()]
    return markdown_table(header, rows)


def _controls(rows: dict[str, Any]) -> list[str]:
    header = ["test BLEU", *(condition.replace("_", " ") for condition in CONDITIONS)]
    table = [
        [name, *(score_cell(_get(entry, "test", condition, "bleu")) for condition in CONDITIONS)]
        for name, entry in rows.items()
    ]
    above = [
        [name, condition.replace("_", " "), signed_difference(test), f"{test['p_value']:.3f}"]
        for name, entry in rows.items()
        for condition, test in entry["controls"].items()
    ]
    lines = markdown_table(header, table)
    if above:
        lines += ["What a row gains by its clips, test BLEU over controls that do not see them, paired bootstrap:", ""]
        lines += markdown_table(["row", "control", "difference", "p"], above, 2)
    return lines


def _diagnostics(entries: dict[str, Any], notes: Notes) -> list[str]:
    entries = {name: e["diagnostics"]["test"] for name, e in entries.items() if "test" in e["diagnostics"]}
    if not entries:
        return []
    first = next(iter(entries.values()))

    def parts(which: str, keys: Sequence[str], label: str) -> list[str]:
        kept = [key for key in keys if first[which][key]["n"]]
        header = ["BLEU by " + label, *(f"{key} (n={first[which][key]['n']})" for key in kept)]
        table = [[name, *(score_cell(entry[which][key]["bleu"]) for key in kept)] for name, entry in entries.items()]
        return markdown_table(header, table)

    lines = parts("bleu_by_length", bucket_names(), "words in the reference")
    lines += parts("sentences", ("seen", "unseen"), "sentence in train")
    lines += parts("signers", ("seen", "unseen", "unknown"), "signer in train")
    lines += _languages(entries, notes)
    header = ["output", "BLEU, content words", "length ratio", "empty", "distinct", "distinct references"]
    table = []
    for name, entry in entries.items():
        output, ratio = entry["output"], entry["output"]["length_ratio"]
        shares = [f"{output[key]:.1%}" for key in ("empty", "distinct", "distinct_references")]
        content = score_cell(entry["bleu_content"], notes)
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


def _languages(entries: dict[str, Any], notes: Notes) -> list[str]:
    """The scores of each language's clips; nothing where the corpus has one."""
    table = []
    for name, entry in entries.items():
        for language, part in entry.get("languages", {}).items():
            scores = [score_cell(part[key], notes) for key in ("bleu", "chrf", "bleu_content")]
            recall = part["retrieval"].get("recall_at_1")
            table.append([name, language, str(part["n"]), *scores, "–" if recall is None else f"{recall:.1%}"])
    header = ["by language", "language", "n", "BLEU", "chrF", "BLEU, content words", "recall@1"]
    return markdown_table(header, table, 2) if table else []
