"""The `run:` section: what is built, and the check that every row's upstream is listed there, too."""

from dataclasses import dataclass

from slt.config.base import PARAMS, section
from slt.errors import ConfigError


@dataclass(frozen=True)
class TargetsRun:
    """A (dataset, teacher) pair: one wikipedia, one targets and one sign2sem stage."""

    dataset: str
    """one of ``run.datasets``"""
    teacher: str
    """an entry of the dataset's ``teachers``"""


@dataclass(frozen=True)
class Sem2textRun:
    """A (dataset, teacher, decoder) triple: one sem2text stage."""

    dataset: str
    """one of ``run.datasets``"""
    teacher: str
    """an entry of the dataset's ``teachers``; the pair must stand in ``run.targets``"""
    decoder: str
    """an entry of the dataset's ``decoders``"""


@dataclass(frozen=True)
class Row:
    """A row of the results table: one finetune and one evaluate stage."""

    dataset: str
    """one of ``run.datasets``"""
    system: str
    """an entry of the dataset's ``systems``: what the decoder reads, which losses train it, and how it starts"""
    teacher: str
    """an entry of the dataset's ``teachers``; its sign2sem gives the encoder's sizes and, by ``start``, its weights"""
    decoder: str
    """an entry of the dataset's ``decoders``; with the teacher it names the entry of ``run.sem2text`` whose model gives
    the decoder and its vocabulary"""
    seed: int
    """of finetune (untrained weights, order of clips, augmentation, dropout) and of evaluate's control that gives each
    clip another's features; sign2sem and sem2text have seeds of their own"""
    baseline: str | None
    """the row that this one is compared with, on the same draws"""


@dataclass(frozen=True)
class RunConfig:
    """What is built of all that the dataset sections describe."""

    datasets: tuple[str, ...]
    """dataset sections of params.yaml: one corpus, one frames and one features stage each"""
    targets: dict[str, TargetsRun]
    """by the name ``<dataset>-<teacher>``"""
    sem2text: dict[str, Sem2textRun]
    """by the name ``<dataset>-<teacher>-<decoder>``"""
    rows: dict[str, Row]
    """by a name of your choice, under which the tables show the row"""


def read_run(params: dict[str, object]) -> RunConfig:
    """The `run:` section, checked against itself and the dataset sections.

    Raises ConfigError that names the line to add when a row's upstream is not built.
    """
    run = section(RunConfig, params, "run")

    def need(key: str, of: str) -> None:
        value: object = params
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                raise ConfigError(f"{PARAMS}: {of} names `{key}`, which is not there; add a section `{key}:`")
            value = value[part]

    for dataset in run.datasets:
        need(dataset, "run.datasets")
    pairs, triples = set(), set()
    for name, pair in run.targets.items():
        _expect_name("targets", name, f"{pair.dataset}-{pair.teacher}")
        need(f"{pair.dataset}.teachers.{pair.teacher}", f"run.targets.{name}")
        if pair.dataset not in run.datasets:
            raise ConfigError(f"{PARAMS}: run.targets.{name} needs the dataset; add `{pair.dataset}` to run.datasets")
        pairs.add((pair.dataset, pair.teacher))
    for name, triple in run.sem2text.items():
        _expect_name("sem2text", name, f"{triple.dataset}-{triple.teacher}-{triple.decoder}")
        need(f"{triple.dataset}.decoders.{triple.decoder}", f"run.sem2text.{name}")
        if (triple.dataset, triple.teacher) not in pairs:
            raise ConfigError(
                f"{PARAMS}: run.sem2text.{name} needs its targets; add to run.targets the line "
                f"`{triple.dataset}-{triple.teacher}: {{dataset: {triple.dataset}, teacher: {triple.teacher}}}`"
            )
        triples.add((triple.dataset, triple.teacher, triple.decoder))
    for name, row in run.rows.items():
        need(f"{row.dataset}.systems.{row.system}", f"run.rows.{name}")
        if (row.dataset, row.teacher, row.decoder) not in triples:
            raise ConfigError(
                f"{PARAMS}: run.rows.{name} needs its sem2text; add to run.sem2text the line "
                f"`{row.dataset}-{row.teacher}-{row.decoder}: {{dataset: {row.dataset}, "
                f"teacher: {row.teacher}, decoder: {row.decoder}}}`"
            )
        if row.baseline is not None and row.baseline not in run.rows:
            raise ConfigError(f"{PARAMS}: run.rows.{name}.baseline: no row `{row.baseline}` in run.rows")
        if row.baseline is not None and run.rows[row.baseline].dataset != row.dataset:
            raise ConfigError(f"{PARAMS}: run.rows.{name}.baseline: `{row.baseline}` is of another dataset")
    return run


def _expect_name(kind: str, name: str, expected: str) -> None:
    if name != expected:  # stages and tables find their inputs by these names
        raise ConfigError(f"{PARAMS}: run.{kind}.{name}: rename this entry to `{expected}`, after what it holds")


def row_config(params: dict[str, object], name: str) -> Row:
    """The row of that name; ConfigError lists the known ones."""
    rows = read_run(params).rows
    if name not in rows:
        raise ConfigError(f"{PARAMS}: no row `{name}` in run.rows, which has: {', '.join(rows)}")
    return rows[name]
