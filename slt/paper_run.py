"""The paper's tables by one command: the published grid and a dataset's section of the parameters, as one DVC run.

The run is in the workspace, so that its models and ``metrics/`` land there. A cell of the grid that the section cannot
fill is named with what to add, never left out in silence. A section without videos (``text_only``) gives the table of
sem2text alone.
"""

import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from slt.config.base import PARAMS, lookup, section
from slt.config.data import CorpusConfig
from slt.config.run import Row, Sem2textRun, TargetsRun
from slt.config.schema import check
from slt.errors import ConfigError, DataError
from slt.experiments_run import own_environment
from slt.paper_tables import FROM_GLOSSES, NO_ENTRY_CAN_SAY, SEM2TEXT, TEXT_ONLY, YARDSTICK
from slt.paths import raw_root, resolve
from slt.published import UNKNOWN, Grid, read_published

Cell = tuple[str, str, str | None]  # system, decoder, teacher; None: the system has no use for one
BASELINE = "sign2text"
"""what every other system is compared with, under the same decoder"""
MEDIA = ("clips", "videos", "features")
"""an adapter's options that name what is not read under ``text_only``"""
log = logging.getLogger("slt.paper_run")


@dataclass(frozen=True)
class Only:
    """The part of the grid that the user wants; empty: all of it."""

    systems: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    decoders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What the run builds of the paper's tables, and why the rest is missing."""

    dataset: str
    title: str
    targets: dict[str, TargetsRun]
    sem2text: dict[str, Sem2textRun]
    rows: dict[str, Row]
    missing: dict[Cell, str]

    @property
    def overrides(self) -> Iterator[str]:
        """For ``dvc exp run -S``: they take the place of all that ``run`` holds."""
        yield f"run.datasets=[{self.dataset}]"
        for kind in ("targets", "sem2text", "rows"):
            yield f"~run.{kind}"
            for name, entry in getattr(self, kind).items():
                values = ((key, "null" if value is None else value) for key, value in asdict(entry).items())
                yield f"+run.{kind}.{name}={{{', '.join(f'{key}: {value}' for key, value in values)}}}"
            if not getattr(self, kind):
                yield f"+run.{kind}={{}}"

    @property
    def command(self) -> list[str]:
        """The command as a user would type it; without rows it names the stage that needs no frame, nor do its own."""
        stages = [] if self.rows else ["tables"]
        return ["dvc", "exp", "run", *(part for override in self.overrides for part in ("-S", override)), *stages]

    def not_run(self) -> list[str]:
        """The missing cells, a line for each reason."""
        by_reason: dict[str, list[str]] = {}
        for cell, reason in self.missing.items():
            by_reason.setdefault(reason, []).append(_name(*cell))
        return [f"{reason} (cells: {', '.join(cells)})" for reason, cells in by_reason.items()]


def plan_paper(params: dict[str, Any], dataset: str, only: Only | None = None) -> Plan:
    """The cells of the dataset's published tables as entries of ``run``, and the gloss-dependent yardstick.

    A system without SEM gets the first teacher that is there: its stages name one, it learns nothing from it. The
    yardstick is planned where the corpus has glosses and the section the system; it is no cell of the paper.

    Raises ConfigError when nothing is published of the dataset, its section is not sound or does not read the corpus,
    ``only`` names what the tables do not have, or no row can be run, without videos no sem2text.
    """
    published = read_published().grid
    if dataset not in published:
        raise ConfigError(
            f"no published table of `{dataset}`; there are: {', '.join(published)}. Rows of any other dataset are lines"
            f" under run.rows in {PARAMS}"
        )
    grid = published[dataset]
    lookup(params, dataset)
    check(params)
    corpus = section(CorpusConfig, params, f"{dataset}.corpus")
    _check_corpus(corpus, dataset, grid)
    wanted = _wanted(grid, only or Only(), params[dataset])
    why = _Why(dataset, grid, params[dataset], text_only=bool(corpus.options.get("text_only")))
    teachers = [teacher for teacher in wanted.teachers if why.teacher(teacher) is None]
    plan = Plan(dataset, grid.title, {}, {}, {}, {})
    for cell in _cells(grid, wanted):
        system, decoder, teacher = cell
        reason = why.cell(cell)
        if reason is None and not teachers:
            reason = f"{dataset}.teachers has none of {', '.join(wanted.teachers)}, and each row's stages name one"
        if reason is not None:
            plan.missing[cell] = reason
            continue
        used = teacher or teachers[0]
        plan.targets[f"{dataset}-{used}"] = TargetsRun(dataset, used)
        plan.sem2text[f"{dataset}-{used}-{decoder}"] = Sem2textRun(dataset, used, decoder)
        if system != SEM2TEXT:
            seed = lookup(params, f"{dataset}.sign2sem.seed")
            plan.rows[f"{dataset}-{_name(*cell)}"] = Row(dataset, system, used, decoder, seed, baseline=None)
    if not plan.rows and not (why.text_only and plan.sem2text):
        raise ConfigError(
            f"no row of the paper's table of {grid.title} can be run: {'; '.join(dict.fromkeys(plan.missing.values()))}"
        )
    for name, row in plan.rows.items():
        baseline = f"{dataset}-{_name(BASELINE, row.decoder, None)}"
        if baseline in plan.rows and baseline != name:
            plan.rows[name] = replace(row, baseline=baseline)
    return plan


def run_paper(plan: Plan, params: dict[str, Any]) -> None:
    """Run the plan in the workspace; what is there already is kept.

    Raises DataError when the corpus or the monolingual text is not where the parameters say (before anything runs), or
    when a stage fails: the same command then goes on from there.
    """
    _check_inputs(params[plan.dataset], plan)
    done = subprocess.run([sys.executable, "-m", *plan.command], env=own_environment(), check=False)
    if done.returncode:
        raise DataError(
            f"{plan.dataset}: `dvc exp run` failed (exit {done.returncode}, its words are above); mend it and give the"
            " same command again: it goes on from where it stopped"
        )


def _check_inputs(dataset_section: Mapping[str, Any], plan: Plan) -> None:
    """Raise DataError for the first file or folder of the corpus, or source of monolingual text, that is not there."""
    from slt.wikipedia_source import source_files

    options = dataset_section["corpus"]["options"]
    unread = MEDIA if options.get("text_only") else ()
    for spec in _paths({name: option for name, option in options.items() if name not in unread}):
        path, root = resolve(spec), raw_root()
        if path.exists():
            continue
        release = root / spec.removeprefix("raw:").split("/")[0]
        if spec.startswith("raw:") and not release.exists():
            raise DataError(
                f"{release}: no such folder; link the release of {plan.title} there (ln -s FOLDER {release}), or set"
                f" SLT_RAW to the folder that holds `{release.name}`"
            )
        raise DataError(
            f"{path}: no such file or folder, but {plan.dataset}.corpus.options names it; put it there or correct"
            " the option"
        )
    source = dataset_section["wikipedia"]["source"]
    for spec in source.values() if isinstance(source, dict) else [source]:
        source_files(resolve(spec))  # a stage that runs hours later would say the same


def _paths(options: Any) -> Iterator[str]:
    """What an adapter's options name on disk; the options are the adapter's own, so by their form."""
    if isinstance(options, str):
        if options.startswith("raw:") or "/" in options:
            yield options
    elif isinstance(options, (dict, list)):
        for value in options.values() if isinstance(options, dict) else options:
            yield from _paths(value)


def _check_corpus(corpus: CorpusConfig, dataset: str, grid: Grid) -> None:
    """Raise ConfigError for a section whose rows could not be set beside what is published."""
    if corpus.adapter not in grid.adapters:
        raise ConfigError(
            f"{PARAMS}: {dataset}.corpus.adapter is `{corpus.adapter}`, so what it reads is not {grid.title}; take "
            f"{' or '.join(grid.adapters)}"
        )


def _wanted(grid: Grid, only: Only, dataset_section: Mapping[str, Any]) -> Only:
    """The chosen part of the grid in the grid's own order; ConfigError for a name that it does not have.

    The yardstick comes last: where it is asked for, or the section has it and nothing in particular is asked for.
    """
    has_glosses = FROM_GLOSSES in grid.without_sem
    asked = YARDSTICK in (only.systems or dataset_section["systems"])
    known = {
        "systems": (*grid.without_sem, *grid.with_sem, *([YARDSTICK] if has_glosses and asked else [])),
        "teachers": tuple(grid.teachers),
        "decoders": grid.decoders,
    }
    chosen = {}
    for kind, names in known.items():
        given = getattr(only, kind)
        for name in given:
            if name not in names:
                raise ConfigError(
                    f"--{kind}: the paper's table of {grid.title} has no `{name}`; it has: {', '.join(names)}"
                )
        chosen[kind] = tuple(name for name in names if name in given or not given)
    return Only(**chosen)


def _cells(grid: Grid, wanted: Only) -> Iterator[Cell]:
    """The rows of both tables, those of the systems and those of sem2text alone."""
    with_sem = [system for system in wanted.systems if system in grid.with_sem]
    for system in (*wanted.systems, *([SEM2TEXT] if with_sem else [])):
        for decoder in wanted.decoders:
            for teacher in (None,) if system in (*grid.without_sem, YARDSTICK) else wanted.teachers:
                yield system, decoder, teacher


@dataclass(frozen=True)
class _Why:
    """Says what of the paper a dataset's section lacks, and what to add."""

    dataset: str
    grid: Grid
    section: Mapping[str, Any]
    text_only: bool

    def cell(self, cell: Cell) -> str | None:
        """The first reason why a cell cannot be run; None when it can."""
        system, decoder, teacher = cell
        if self.text_only and system != SEM2TEXT:
            return f"{self.dataset}.corpus.options.{TEXT_ONLY}"
        if system not in (*self.section["systems"], SEM2TEXT):
            add = NO_ENTRY_CAN_SAY.get(system, "add it")
            return f"{self.dataset}.systems has no `{system}`: {add}"
        if decoder not in self.section["decoders"]:
            return f"{self.dataset}.decoders has no `{decoder}`: add it"
        return self.teacher(teacher) if teacher is not None else None

    def teacher(self, teacher: str) -> str | None:
        """Why the paper's teacher of that name is not there; None when it is."""
        model, entries = self.grid.teachers[teacher], self.section["teachers"]
        if teacher not in entries:
            add = "a model of your choice (no source names the paper's)" if model == UNKNOWN else f"the model {model}"
            return f"{self.dataset}.teachers has no `{teacher}`: add it with {add}"
        if model != UNKNOWN and model not in entries[teacher]["model"]:
            return f"{self.dataset}.teachers.{teacher} is not the paper's {model}: the tables would not count it"
        return None


def _name(system: str, decoder: str, teacher: str | None) -> str:
    return "-".join(part for part in (system, teacher, decoder) if part)


def read_names(given: str | None) -> tuple[str, ...]:
    """``A,B`` as names; empty for None."""
    return tuple(name for name in given.split(",") if name) if given else ()
