"""The experiments around the paper's table: axes of parameters, the systems that run at every point of them.

An experiment is a grid of variants of one dataset's parameters. Nothing here runs anything: :func:`trials` says what
DVC has to run, :mod:`slt.experiments_run` runs it.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from slt.config.base import PARAMS, lookup
from slt.errors import ConfigError
from slt.experiments_axes import (
    LEARNING_CURVE,
    Axis,
    Params,
    backbone_axis,
    clips_axis,
    corpus_axis,
    decoder_axis,
    languages_axis,
    loss_axis,
    pool_axis,
    share_axis,
    size_axis,
    teacher_axis,
    teacher_share_axis,
    text_axis,
    whole_number,
)
from slt.experiments_text import TEXTS, Text

CEILING = "ceiling"


@dataclass(frozen=True)
class Experiment:
    """A grid of axes; ``against`` says what a row is compared with: the first variant, or the first system."""

    name: str
    text: Text
    axes: tuple[Axis, ...] = ()
    systems: tuple[str, ...] = ()
    ceiling: bool = False
    against: Literal["variant", "system"] = "variant"
    plots: Literal["test BLEU", "recall@1"] = "test BLEU"
    own_teacher: bool = False
    """whether it is about a teacher that is trained here, so that the dataset's first such entry is its default"""
    needs: str = ""
    """what it asks of a dataset, for a terminal"""
    defining: tuple[str, ...] = ()
    """those of ``systems`` without which the table would not be what its title says"""

    def describe(self) -> str:
        """For a terminal: name, what it shows, axes with their default values, what it asks of a dataset."""
        axes = "; ".join(f"{axis.name} (default: {axis.values})" for axis in self.axes) or "none (reads finished rows)"
        needs = f"\n  needs: {self.needs}" if self.needs else ""
        return f"{self.name}\n  {self.text.shows}\n  axes: {axes}{needs}"


@dataclass(frozen=True)
class Choice:
    """What the user chose; empty or None: the experiment's own."""

    seeds: tuple[int, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    systems: tuple[str, ...] = ()
    teacher: str | None = None
    decoder: str | None = None
    overrides: tuple[str, ...] = ()
    """of all variants, in DVC's form; the parameters that :func:`trials` is given have them already"""
    label: str | None = None
    """keeps results apart that differ in teacher, decoder or overrides: part of every name"""


@dataclass(frozen=True)
class Trial:
    """One ``dvc exp run``: a variant with one seed."""

    name: str
    dataset: str
    labels: dict[str, str]
    seed: int
    teacher: str
    decoder: str
    overrides: tuple[str, ...]
    rows: dict[str, str]
    """system → row of `run.rows`"""
    ceiling: bool
    corpus: str
    """the dataset that is trained on; another than ``dataset`` where what is learnt on one is tested on the other"""

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that DVC is asked for; what they need is run with them, the other rows are not."""
        ceilings = [f"ceiling@{self.dataset}-{self.teacher}-{self.decoder}"] if self.ceiling else []
        tested = [f"features@{self.dataset}", f"targets@{self.dataset}-{self.teacher}"] if self.transfers else []
        return (*ceilings, *tested, *(f"evaluate@{row}" for row in self.rows.values()))

    @property
    def transfers(self) -> bool:
        """Whether it is trained on another corpus than it is tested on."""
        return self.corpus != self.dataset

    @property
    def command(self) -> list[str]:
        """The command as a user would type it."""
        overrides = [part for override in self.overrides for part in ("-S", override)]
        return ["dvc", "exp", "run", "--temp", "-n", self.name, *overrides, *self.stages]


def trials(experiment: Experiment, params: Params, dataset: str, choice: Choice) -> list[Trial]:
    """What DVC has to run, seed by seed, the variant that others are compared with first.

    Raises ConfigError for a dataset, axis, value, system, teacher or decoder that is not there, and where the dataset
    has too few of them for a comparison.
    """
    check_dataset(params, dataset)
    teacher, decoder = _pair(experiment, params, dataset, choice)
    systems = _systems(experiment, params, dataset, choice)
    unknown = set(choice.values) - {axis.name for axis in experiment.axes}
    if unknown:
        names = ", ".join(axis.name for axis in experiment.axes)
        raise ConfigError(f"experiment {experiment.name} has no axis `{min(unknown)}`; its axes: {names}")
    settings = []
    for axis in experiment.axes:
        wanted = choice.values.get(axis.name) or tuple(axis.default(params, dataset, teacher))
        if len(wanted) == 1 and axis.name not in choice.values and axis.alone is not None:
            raise ConfigError(
                f"experiment {experiment.name}: {dataset} has one {axis.name} alone (`{wanted[0]}`), which leaves"
                f" nothing to compare: {axis.alone(params, dataset, teacher)}"
            )
        settings.append([axis.read(value, params, dataset, teacher) for value in wanted])
    own_seed = lookup(params, f"{dataset}.sign2sem.seed")
    named = [dataset, experiment.name, *([choice.label] if choice.label else [])]
    planned = []
    for seed in choice.seeds or (own_seed,):
        for point in itertools.product(*settings):
            labels = {axis.name: setting.label for axis, setting in zip(experiment.axes, point, strict=True)}
            values = {key: value for setting in point for key, value in setting.values.items()}
            used = next((setting.teacher for setting in point if setting.teacher), teacher)
            writes = next((setting.decoder for setting in point if setting.decoder), decoder)
            corpus = next((setting.corpus for setting in point if setting.corpus), dataset)
            if choice.seeds:
                values |= {"sign2sem.seed": seed, "sem2text.seed": seed}
            rows, added = _rows(params, corpus, systems, used, writes, seed)
            planned.append(
                Trial(
                    name=_name(*named, *labels.values(), f"seed{seed}"),
                    dataset=dataset,
                    labels=labels,
                    seed=seed,
                    teacher=used,
                    decoder=writes,
                    overrides=(
                        *choice.overrides,
                        *_run_overrides(params, corpus, dataset, used, writes),
                        *added,
                        *_set(params, corpus, values),
                    ),
                    rows=rows,
                    ceiling=experiment.ceiling,
                    corpus=corpus,
                )
            )
    for name, count in Counter(trial.name for trial in planned).items():
        if count > 1:
            raise ConfigError(f"experiment {experiment.name}: two variants are called `{name}`; name each value once")
    return planned


def check_dataset(params: Params, dataset: str) -> None:
    """Raise ConfigError when the dataset has no section."""
    if dataset not in params or dataset == "run":
        known = ", ".join(name for name in params if name != "run")
        raise ConfigError(f"{PARAMS}: no dataset `{dataset}`; there are: {known}")


def _pair(experiment: Experiment, params: Params, dataset: str, choice: Choice) -> tuple[str, str]:
    """Teacher and decoder: the chosen ones, else those of the dataset's first line in run.sem2text, else the first."""
    listed = [entry for entry in lookup(params, "run.sem2text").values() if entry["dataset"] == dataset]
    if experiment.own_teacher and choice.teacher is None:
        teachers = lookup(params, f"{dataset}.teachers").items()
        own = next((name for name, entry in teachers if isinstance(entry, dict) and entry.get("trained")), None)
        if own is None:
            raise ConfigError(
                f"experiment {experiment.name}: {dataset}.teachers has no entry with a section `trained`; add one, as "
                "demo_de has"
            )
        choice = replace(choice, teacher=own)

    def one(kind: str, chosen: str | None) -> str:
        entries = list(lookup(params, f"{dataset}.{kind}s"))
        name = chosen or (listed[0][kind] if listed else entries[0])
        lookup(params, f"{dataset}.{kind}s.{name}")
        return str(name)

    return one("teacher", choice.teacher), one("decoder", choice.decoder)


def _systems(experiment: Experiment, params: Params, dataset: str, choice: Choice) -> tuple[str, ...]:
    known = lookup(params, f"{dataset}.systems")
    for system in choice.systems:
        lookup(params, f"{dataset}.systems.{system}")
    if choice.systems:
        return choice.systems
    # a dataset may lack some of the experiment's own, as the small samples do
    found = tuple(system for system in experiment.systems if system in known)
    missing = [system for system in experiment.defining or experiment.systems if system not in known]
    if missing and (experiment.defining or not (found or experiment.ceiling)):
        raise ConfigError(
            f"experiment {experiment.name} is about {' and '.join(f'`{system}`' for system in missing)}, which"
            f" {dataset} lacks: add {dataset}.systems.{missing[0]} in {PARAMS}, as demo has it, or name others"
            " (--systems)"
        )
    return found


def _run_overrides(params: Params, corpus: str, dataset: str, teacher: str, decoder: str) -> Iterator[str]:
    # entries are only added: when DVC takes the last one out of a mapping it leaves YAML that nothing can read
    run, both = params["run"], list(dict.fromkeys([corpus, dataset]))
    missing = [name for name in both if name not in run["datasets"]]
    if missing:
        yield f"run.datasets=[{','.join([*run['datasets'], *missing])}]"
    for name in both:
        if f"{name}-{teacher}" not in run["targets"]:
            yield f"+run.targets.{name}-{teacher}={{dataset: {name}, teacher: {teacher}}}"
    if f"{corpus}-{teacher}-{decoder}" not in run["sem2text"]:
        entry = f"dataset: {corpus}, teacher: {teacher}, decoder: {decoder}"
        yield f"+run.sem2text.{corpus}-{teacher}-{decoder}={{{entry}}}"


def _rows(
    params: Params, dataset: str, systems: Sequence[str], teacher: str, decoder: str, seed: int
) -> tuple[dict[str, str], list[str]]:
    """The row of each system, and the overrides that add those which `run.rows` lacks."""
    rows, added = {}, []
    for system in systems:
        row = {"dataset": dataset, "system": system, "teacher": teacher, "decoder": decoder, "seed": seed}
        listed = lookup(params, "run.rows").items()
        # a listed row keeps its name, since DVC finds what it has computed by the command
        name = next((name for name, other in listed if {**other, "baseline": None} == {**row, "baseline": None}), None)
        if name is None:
            name = _name(dataset, system, teacher, decoder, f"seed{seed}")
            fields = ", ".join(f"{key}: {value}" for key, value in row.items())
            added.append(f"+run.rows.{name}={{{fields}, baseline: null}}")
        rows[system] = name
    return rows, added


def _set(params: Params, dataset: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Overrides for the values that are not the dataset's own already."""
    for key, value in values.items():
        section: Any = params[dataset]
        *path, last = key.split(".")
        for part in path:
            section = section[part]
        if last not in section:
            yield f"+{dataset}.{key}={_yaml(value)}"
        elif section[last] != value:
            yield f"{dataset}.{key}={_yaml(value)}"


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{','.join(value)}]" if isinstance(value, list) else str(value)


def _name(*parts: str) -> str:
    return "-".join(re.sub(r"[^A-Za-z0-9]+", "-", part).strip("-") for part in parts)


SEM_MAP = "sem-map"
PAPER_SYSTEMS = ("sign2text", "sign2sem2text", "sign2semtext")
GLOSS_SYSTEMS = ("sign2text", "sign2glosstext", "sign2semtext")
SEM_SYSTEMS = ("sign2sem2text", "sign2semtext")
EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment("reconstruction", TEXTS["reconstruction"], (text_axis(),), ceiling=True),
        Experiment(
            "learning-curve",
            TEXTS["learning-curve"],
            (clips_axis(LEARNING_CURVE),),
            PAPER_SYSTEMS,
            against="system",
            needs="its manifest (`dvc repro corpus@DATASET`), or --values",
            defining=("sign2text",),
        ),
        Experiment(
            "glosses",
            TEXTS["glosses"],
            (clips_axis(),),
            GLOSS_SYSTEMS,
            against="system",
            needs="glosses in the corpus, and the system `sign2glosstext`",
            defining=("sign2text", "sign2glosstext"),
        ),
        Experiment(SEM_MAP, TEXTS[SEM_MAP], needs="finished rows that predict SEMs (`dvc repro`)"),
        Experiment(
            "features",
            TEXTS["features"],
            (backbone_axis(), size_axis(), pool_axis()),
            ("sign2text", "sign2semtext"),
            needs="videos: features that are computed here",
        ),
        Experiment("loss", TEXTS["loss"], (loss_axis(),), SEM_SYSTEMS),
        Experiment("monolingual", TEXTS["monolingual"], (share_axis(),), ("sign2semtext",), ceiling=True),
        Experiment(
            "teachers",
            TEXTS["teachers"],
            (teacher_axis(),),
            SEM_SYSTEMS,
            ceiling=True,
            needs="two entries in the dataset's teachers, as demo_de has",
        ),
        Experiment(
            "decoders",
            TEXTS["decoders"],
            (decoder_axis(),),
            ceiling=True,
            needs="two entries in the dataset's decoders, as phoenix14t has",
        ),
        Experiment(
            "transfer",
            TEXTS["transfer"],
            (corpus_axis(),),
            SEM_SYSTEMS,
            plots="recall@1",
            needs="a second dataset with the same frames, features and teacher, whose train split holds none of the"
            " clips tested; a multilingual teacher where the languages differ",
        ),
        Experiment(
            "low-resource",
            TEXTS["low-resource"],
            (teacher_share_axis(),),
            ("sign2semtext",),
            ceiling=True,
            own_teacher=True,
            needs="a teacher with a section `trained`, as demo_de has",
        ),
        Experiment(
            "languages",
            TEXTS["languages"],
            (languages_axis(),),
            SEM_SYSTEMS,
            ceiling=True,
            needs="a dataset of several languages, as demo_both, and a multilingual teacher",
        ),
    )
}


def experiment_named(name: str) -> Experiment:
    """The experiment of that name; ConfigError lists those that there are."""
    if name not in EXPERIMENTS:
        raise ConfigError(f"no experiment `{name}`; there are: {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]


def read_numbers(option: str, given: str | None) -> tuple[int, ...]:
    """``1,2,3`` as numbers; empty for None."""
    return tuple(whole_number(option, value) for value in given.split(",")) if given else ()


def read_values(experiment: Experiment, given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """``--values`` as axis → values: ``V,V``, or with several axes ``AXIS=V,V`` for each that is to be thinned."""
    values: dict[str, tuple[str, ...]] = {}
    for entry in given:
        name, found, listed = entry.partition("=")
        if not found:
            if len(experiment.axes) != 1:
                names = ", ".join(axis.name for axis in experiment.axes) or "none"
                raise ConfigError(f"--values {entry}: say of which axis, as in AXIS={entry} (axes: {names})")
            name, listed = experiment.axes[0].name, entry
        values[name] = tuple(value for value in listed.split(",") if value)
        if not values[name]:
            raise ConfigError(f"--values {entry}: no value; write for example `AXIS=V,V`")
    return values
