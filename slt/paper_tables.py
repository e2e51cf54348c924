"""The tables in the paper's shape, with what is published beside what was run.

A dataset section counts as a published corpus only under that corpus' name, read by one of its adapters, with as many
test clips as the corpus has and without a warning of its adapter: a rehearsal, a sample, a release with gaps, features
of another artefact are never compared. Of its rows only those count whose decoder is one of the paper's and
whose teacher is the paper's model, not the gloss-dependent yardstick. Nothing is asserted: ``agrees`` means that the
published value lies in our interval, ``differs`` that it does not, ``not run: …`` says why there is nothing to compare.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from slt.bootstrap import draw, paired_test
from slt.evaluations import SPLITS, Evaluation
from slt.metrics import BLEU_13A, CHRF2, SacrebleuMetric, Statistics
from slt.paper_reports import paper_markdown
from slt.published import METRICS, UNKNOWN, Claim, Figure, Grid, Published, read_published
from slt.store import replacing, write_json
from slt.tables import DatasetResults, main_condition, own_records, score_of, statistics_of

Cell = tuple[str, str, str]  # system, decoder, teacher
SEM2TEXT = "sem2text"
PAIRED: dict[str, SacrebleuMetric] = {"bleu": BLEU_13A, "chrf": CHRF2}
AGREES, DIFFERS = "agrees", "differs"
FROM_GLOSSES = "sign2gloss2text"
YARDSTICK = "sign2glosstext"
"""ours, gloss-dependent; no source says that a system of the paper is the same, so it is shown and never compared"""
NO_ENTRY_CAN_SAY = {
    FROM_GLOSSES: "it writes text from recognised glosses, and no entry can say that; the nearest is the"
    f" gloss-dependent {YARDSTICK}, a row of its own that is not set beside it"
}
TEXT_ONLY = "text_only is true, and no row is trained without videos: set it to false"


def paper_content(
    dataset: str, result: DatasetResults | None, params: dict[str, Any], published: Published
) -> dict[str, Any]:
    """All of ``paper_<dataset>.json``; ``result`` is None for a published corpus that was not run.

    ``table`` and ``sem2text`` hold a row for each of ours and, for a published corpus, for each of the paper's that was
    not run; ``figures``, ``claims``, ``statements`` and ``prior`` what is published of the corpus.
    """
    grid = published.grid.get(dataset)
    rows = list(result.rows.values()) if result else []
    ceilings = list(result.ceilings.values()) if result else []
    everything = [*rows, *ceilings]
    refusal = not_the_corpus(dataset, grid, params, everything) if grid else None
    absence = _Absence(dataset, grid, params, refusal)
    counted: tuple[list[Evaluation], list[Evaluation]] = ([], [])
    if grid and refusal is None:
        ours = [e for e in everything if _of_the_paper(e, grid, params)]
        counted = [e for e in ours if e.info.system], [e for e in ours if not e.info.system]
    content: dict[str, Any] = {
        "dataset": dataset,
        "title": grid.title if grid else dataset,
        "interval": everything[0].scores["interval"] if everything else None,
        "table": _table(_cells(grid), rows, counted[0], absence),
        "sem2text": _table(_sem2text_cells(grid), ceilings, counted[1], absence),
    }
    if grid is None:
        names = ", ".join(published.grid)
        return {**content, "not_compared": f"published figures are of {names}, which `{dataset}` is not"}
    return {
        **content,
        "not_compared": refusal,
        "figures": [_figure(figure, [*counted[0], *counted[1]], absence) for figure in published.of(dataset, "paper")],
        "claims": [_claim(claim, *counted, absence) for claim in published.of(dataset, "claims")],
        "statements": [dataclasses.asdict(entry) for entry in published.of(dataset, "statements")],
        "prior": [dataclasses.asdict(entry) for entry in published.of(dataset, "prior")],
        "sources": {name: dataclasses.asdict(source) for name, source in published.sources.items()},
    }


def not_the_corpus(dataset: str, grid: Grid, params: dict[str, Any], evaluations: Sequence[Evaluation]) -> str | None:
    """Why evaluations under a published corpus' name are not of that corpus; None when they are, or there are none."""
    if not evaluations:
        return None
    adapter = params[dataset]["corpus"]["adapter"]
    if adapter not in grid.adapters:
        return f"the section `{dataset}` is read by the adapter `{adapter}`, so it is not {grid.title}"
    found, (fewest, most) = len(own_records(evaluations[0], "test")), grid.clips
    if not fewest <= found <= most:
        expected = str(fewest) if fewest == most else f"{fewest} to {most}"
        return f"{found} test clips, where {grid.title} has {expected}: a part of the corpus is not compared"
    warnings = [evaluation.info.provenance.get("corpus_warning") for evaluation in evaluations]
    return next(filter(None, warnings), None)


def _of_the_paper(evaluation: Evaluation, grid: Grid, params: dict[str, Any]) -> bool:
    """Whether decoder and teacher are the paper's, by name and, where a source names the teacher's model, by that."""
    info = evaluation.info
    if info.decoder not in grid.decoders or info.system == YARDSTICK:
        return False
    if info.system in grid.without_sem:  # its teacher has no part in it
        return True
    model, section = grid.teachers.get(info.teacher), params[info.dataset]["teachers"]
    return model == UNKNOWN or (model is not None and model in section[info.teacher]["model"])


@dataclasses.dataclass(frozen=True)
class _Absence:
    """Says why something of the paper was not run, by what the parameters hold."""

    dataset: str
    grid: Grid | None
    params: dict[str, Any]
    refusal: str | None

    def reason(self, system: str = UNKNOWN, decoder: str = UNKNOWN, teacher: str = UNKNOWN) -> str | None:
        """What is missing for a row of these; None when params name all of it."""
        if self.dataset not in self.params["run"]["datasets"]:
            return f"`{self.dataset}` is not in run.datasets (the corpus has to be had from its publisher)"
        if self.refusal is not None:
            return self.refusal
        section = self.params[self.dataset]
        if section["corpus"].get("options", {}).get("text_only") and system not in (SEM2TEXT, UNKNOWN):
            return f"{self.dataset}.corpus.options.{TEXT_ONLY}"
        for kind, name in (("systems", system), ("decoders", decoder), ("teachers", teacher)):
            if name not in (*section[kind], UNKNOWN, SEM2TEXT):
                if kind == "teachers" and self.grid and self.grid.teachers.get(teacher) == UNKNOWN:
                    return f"no source names the model that the paper's teacher `{teacher}` is for {self.grid.title}"
                nearest = f": {NO_ENTRY_CAN_SAY[name]}" if name in NO_ENTRY_CAN_SAY else ""
                return f"{self.dataset}.{kind} has no `{name}`{nearest}"
        return None


def _cells(grid: Grid | None) -> Iterator[Cell]:
    if grid is None:
        return
    for system in (*grid.without_sem, *grid.with_sem):
        for decoder in grid.decoders:
            for teacher in grid.teachers if system in grid.with_sem else (UNKNOWN,):
                yield system, decoder, teacher


def _sem2text_cells(grid: Grid | None) -> Iterator[Cell]:
    if grid is None:
        return
    for decoder in grid.decoders:
        for teacher in grid.teachers:
            yield SEM2TEXT, decoder, teacher


def _table(
    cells: Iterable[Cell], own: Sequence[Evaluation], counted: Sequence[Evaluation], absence: _Absence
) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = []
    for system, decoder, teacher in cells:
        found = [evaluation for evaluation in counted if _fits(evaluation, system, decoder, teacher)]
        table += [{**_row(evaluation), "in_paper": True} for evaluation in found]
        if not found:
            where = "run.sem2text" if system == SEM2TEXT else "run.rows"
            why = absence.reason(system, decoder, teacher) or f"{where} has no such entry"
            table.append(
                {
                    "system": system,
                    "decoder": decoder,
                    "teacher": None if teacher == UNKNOWN else teacher,
                    "row": None,
                    "in_paper": True,
                    "not_run": f"not run: {why}",
                }
            )
    named = {entry["row"] for entry in table}
    return table + [{**_row(evaluation), "in_paper": False} for evaluation in own if evaluation.name not in named]


def _row(evaluation: Evaluation) -> dict[str, Any]:
    info, condition = evaluation.info, main_condition(evaluation)
    return {
        "system": info.system or SEM2TEXT,
        "decoder": info.decoder,
        "teacher": info.teacher,
        "row": evaluation.name,
        "seed": info.seed,
        "provenance": info.provenance,
        "not_run": None,
        "scores": {
            split: {metric: scores[metric] for metric in METRICS if metric in scores}
            for split in SPLITS
            if (scores := evaluation.scores.get(split, {}).get(condition))
        },
    }


def _fits(evaluation: Evaluation, system: str, decoder: str, teacher: str) -> bool:
    info = evaluation.info
    pairs = ((info.system or SEM2TEXT, system), (info.decoder, decoder), (info.teacher, teacher))
    return all(wanted in (own, UNKNOWN) for own, wanted in pairs)


def _figure(figure: Figure, evaluations: Sequence[Evaluation], absence: _Absence) -> dict[str, Any]:
    """A figure of the paper beside every row and split that it may be of."""
    low, high = figure.bounds()
    beside = []
    for evaluation in () if figure.system == UNKNOWN else evaluations:
        if not _fits(evaluation, figure.system, figure.decoder, figure.teacher):
            continue
        for split in SPLITS if figure.split == UNKNOWN else (figure.split,):
            score = score_of(evaluation, split, main_condition(evaluation), figure.metric)
            if score["value"] is not None:
                verdict = AGREES if score["low"] <= high and low <= score["high"] else DIFFERS
                kept = {key: score[key] for key in ("value", "low", "high", "half_width")}
                beside.append({"row": evaluation.name, "split": split, **kept, "verdict": verdict})
    why = absence.reason(figure.system, figure.decoder, figure.teacher)
    if why is None:
        why = "no source says which system it is" if figure.system == UNKNOWN else "no such row in `run`"
    return {**dataclasses.asdict(figure), "ours": beside, "verdict": _overall(beside, why)}


def _overall(beside: Sequence[dict[str, Any]], why: str) -> str:
    verdicts = [entry["verdict"] for entry in beside]
    if not verdicts:
        return f"not run: {why}"
    if len(set(verdicts)) == 1:
        return str(verdicts[0])
    return f"{AGREES} with {verdicts.count(AGREES)} of the {len(verdicts)} that it may be of"


def _claim(
    claim: Claim, rows: Sequence[Evaluation], ceilings: Sequence[Evaluation], absence: _Absence
) -> dict[str, Any]:
    """A claim beside every pair of ours that differs in nothing but its factor, tested on the test split."""
    among = ceilings if claim.among == SEM2TEXT else rows
    tests = [
        {"left": left.name, "right": right.name, **_test(claim, left, right)}
        for left in among
        for right in among
        if _differ_in(claim, left, right) and claim.metric in PAIRED
    ]
    sides = [absence.reason(**{claim.factor: side}) for side in (claim.left, claim.right)]
    if claim.metric not in PAIRED:
        sides.append(f"there is no paired test of {METRICS[claim.metric]}")
    why = next(filter(None, sides), f"no two rows that differ in nothing but {claim.left} and {claim.right}")
    return {**dataclasses.asdict(claim), "ours": tests, "verdict": _overall(tests, why)}


def _differ_in(claim: Claim, left: Evaluation, right: Evaluation) -> bool:
    def identity(evaluation: Evaluation) -> dict[str, Any]:
        info = evaluation.info
        return {"system": info.system, "decoder": info.decoder, "teacher": info.teacher, "seed": info.seed}

    one, two = identity(left), identity(right)
    return one.pop(claim.factor) == claim.left and two.pop(claim.factor) == claim.right and one == two


def _test(claim: Claim, left: Evaluation, right: Evaluation) -> dict[str, Any]:
    def statistics(evaluation: Evaluation) -> Statistics:
        return statistics_of(own_records(evaluation, "test"), PAIRED[claim.metric])

    system = statistics(left)
    test = paired_test(system, statistics(right), draw(system.n, **left.scores["interval"]))
    agrees = {
        "greater": test.low > 0,
        "same": test.low <= 0 <= test.high,
        "range": claim.low is not None and claim.high is not None and test.low <= claim.high and claim.low <= test.high,
    }[claim.expect]
    return {**test.as_dict(), "verdict": AGREES if agrees else DIFFERS}


def write_paper_tables(results: Sequence[DatasetResults], params: dict[str, Any], folder: Path) -> None:
    """Write ``paper_<dataset>.json`` and ``.md`` for every dataset of the run and every published corpus."""
    published = read_published()
    by_name = {result.dataset: result for result in results}
    for dataset in dict.fromkeys([*by_name, *published.grid]):
        content = paper_content(dataset, by_name.get(dataset), params, published)
        write_json(folder / f"paper_{dataset}.json", content)
        with replacing(folder / f"paper_{dataset}.md") as temporary:
            temporary.write_text(paper_markdown(content), encoding="utf-8")
