"""The experiments around the paper's table: axes of parameters, the systems that run at every point of them.

An experiment is a grid of variants of one dataset's parameters. Nothing here runs anything: :func:`trials` says what
DVC has to run, :mod:`slt.experiments_run` runs it.
"""

import itertools
import re
import typing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from slt import paths
from slt.config.base import PARAMS, lookup
from slt.config.data import PRECOMPUTED, FeaturesConfig
from slt.config.train import Sign2semConfig
from slt.errors import ConfigError
from slt.experiments_text import TEXTS, Text

Params = dict[str, Any]
ALL = "all"
LEARNING_CURVE = (8, 4, 2)  # these parts of the train clips, then all of them
SHARES = ("100%", "30%", "10%", "3%", "1%")
CEILING = "ceiling"


@dataclass(frozen=True)
class Setting:
    """One value of an axis: how tables call it, the parameters below the dataset's section that it sets."""

    label: str
    values: dict[str, Any]
    teacher: str | None = None
    """for the axis of teachers, which is no parameter but an entry of `run`"""


@dataclass(frozen=True)
class Axis:
    """What is varied: ``default`` gives the values as a user would write them, the reference first."""

    name: str
    default: Callable[[Params, str], Sequence[str]]
    read: Callable[[str, Params, str], Setting]
    """ConfigError for a value that is none of this axis"""
    ordered: bool = False
    """whether its points may be joined by a line"""


@dataclass(frozen=True)
class Experiment:
    """A grid of axes; ``against`` says what a row is compared with: the first variant, or the first system."""

    name: str
    text: Text
    axes: tuple[Axis, ...] = ()
    systems: tuple[str, ...] = ()
    ceiling: bool = False
    against: Literal["variant", "system"] = "variant"

    def describe(self) -> str:
        """For a terminal: name, axes, what it shows."""
        axes = ", ".join(axis.name for axis in self.axes) or "none (reads finished rows)"
        return f"{self.name}\n  {self.text.shows}\n  axes: {axes}"


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

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that DVC is asked for; what they need is run with them, the other rows are not."""
        ceilings = [f"ceiling@{self.dataset}-{self.teacher}-{self.decoder}"] if self.ceiling else []
        return (*ceilings, *(f"evaluate@{row}" for row in self.rows.values()))

    @property
    def command(self) -> list[str]:
        """The command as a user would type it."""
        overrides = [part for override in self.overrides for part in ("-S", override)]
        return ["dvc", "exp", "run", "--temp", "-n", self.name, *overrides, *self.stages]


def trials(experiment: Experiment, params: Params, dataset: str, choice: Choice) -> list[Trial]:
    """What DVC has to run, seed by seed, the variant that others are compared with first.

    Raises ConfigError for a dataset, axis, value, system, teacher or decoder that is not there.
    """
    _check_dataset(params, dataset)
    teacher, decoder = _pair(params, dataset, choice)
    systems = _systems(experiment, params, dataset, choice)
    unknown = set(choice.values) - {axis.name for axis in experiment.axes}
    if unknown:
        names = ", ".join(axis.name for axis in experiment.axes)
        raise ConfigError(f"experiment {experiment.name} has no axis `{min(unknown)}`; its axes: {names}")
    settings = []
    for axis in experiment.axes:
        wanted = choice.values.get(axis.name) or tuple(axis.default(params, dataset))
        settings.append([axis.read(value, params, dataset) for value in wanted])
    own_seed = lookup(params, f"{dataset}.sign2sem.seed")
    named = [dataset, experiment.name, *([choice.label] if choice.label else [])]
    planned = []
    for seed in choice.seeds or (own_seed,):
        for point in itertools.product(*settings):
            labels = {axis.name: setting.label for axis, setting in zip(experiment.axes, point, strict=True)}
            values = {key: value for setting in point for key, value in setting.values.items()}
            used = next((setting.teacher for setting in point if setting.teacher), teacher)
            if choice.seeds:
                values |= {"sign2sem.seed": seed, "sem2text.seed": seed}
            rows, added = _rows(params, dataset, systems, used, decoder, seed)
            planned.append(
                Trial(
                    name=_name(*named, *labels.values(), f"seed{seed}"),
                    dataset=dataset,
                    labels=labels,
                    seed=seed,
                    teacher=used,
                    decoder=decoder,
                    overrides=(
                        *choice.overrides,
                        *_run_overrides(params, dataset, used, decoder),
                        *added,
                        *_set(params, dataset, values),
                    ),
                    rows=rows,
                    ceiling=experiment.ceiling,
                )
            )
    for name, count in Counter(trial.name for trial in planned).items():
        if count > 1:
            raise ConfigError(f"experiment {experiment.name}: two variants are called `{name}`; name each value once")
    return planned


def _check_dataset(params: Params, dataset: str) -> None:
    """Raise ConfigError when the dataset has no section."""
    if dataset not in params or dataset == "run":
        known = ", ".join(name for name in params if name != "run")
        raise ConfigError(f"{PARAMS}: no dataset `{dataset}`; there are: {known}")


def _pair(params: Params, dataset: str, choice: Choice) -> tuple[str, str]:
    """Teacher and decoder: the chosen ones, else those of the dataset's first line in run.sem2text, else the first."""
    listed = [entry for entry in lookup(params, "run.sem2text").values() if entry["dataset"] == dataset]

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
    # a dataset may lack some of the experiment's own, as the small samples do
    return choice.systems or tuple(system for system in experiment.systems if system in known)


def _run_overrides(params: Params, dataset: str, teacher: str, decoder: str) -> Iterator[str]:
    # entries are only added: when DVC takes the last one out of a mapping it leaves YAML that nothing can read
    run = params["run"]
    if dataset not in run["datasets"]:
        yield f"run.datasets=[{','.join([*run['datasets'], dataset])}]"
    pair = f"dataset: {dataset}, teacher: {teacher}"
    if f"{dataset}-{teacher}" not in run["targets"]:
        yield f"+run.targets.{dataset}-{teacher}={{{pair}}}"
    if f"{dataset}-{teacher}-{decoder}" not in run["sem2text"]:
        yield f"+run.sem2text.{dataset}-{teacher}-{decoder}={{{pair}, decoder: {decoder}}}"


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
    return str(value)


def _name(*parts: str) -> str:
    return "-".join(re.sub(r"[^A-Za-z0-9]+", "-", part).strip("-") for part in parts)


# --- axes ---


def _own_first(own: str, others: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([own, *others]))


def _one_of(axis: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise ConfigError(f"axis {axis}: no value `{value}`; there are: {', '.join(known)}")
    return value


def _number(axis: str, value: str) -> int:
    if not re.fullmatch("[1-9][0-9]*", value):
        raise ConfigError(f"{axis}: expected a whole number above zero, found `{value}`")
    return int(value)


def _text_axis() -> Axis:
    texts = {"wikipedia": False, "wikipedia+corpus": True}

    def read(value: str, params: Params, dataset: str) -> Setting:
        return Setting(value, {"sem2text.train_text": texts[_one_of("text", value, list(texts))]})

    return Axis("text", lambda params, dataset: list(texts), read)


def _clips_axis() -> Axis:
    def default(params: Params, dataset: str) -> list[str]:
        from slt.manifest import read_manifest

        manifest = paths.corpus_dir(dataset) / "manifest.parquet"
        if not manifest.is_file():
            raise ConfigError(
                f"{manifest}: not there, so the number of train clips is not known; run `dvc repro corpus@{dataset}`,"
                f" or name the points: --values 100,200,{ALL}"
            )
        count = len(read_manifest(manifest, "train"))
        return [*(str(count // part) for part in LEARNING_CURVE if count // part), ALL]

    def read(value: str, params: Params, dataset: str) -> Setting:
        return Setting(value, {"parallel.train_clips": None if value == ALL else _number("clips", value)})

    return Axis("clips", default, read, ordered=True)


def _backbone_axis() -> Axis:
    def own(params: Params, dataset: str) -> str:
        return str(lookup(params, f"{dataset}.features.backbone"))

    def default(params: Params, dataset: str) -> list[str]:
        if own(params, dataset) == PRECOMPUTED:
            raise ConfigError(f"{dataset}.features: precomputed; pooling and resolution are no choice of ours there")
        return [own(params, dataset)]

    def read(value: str, params: Params, dataset: str) -> Setting:
        backbone, _, weights = value.partition("@")
        if weights:
            return Setting(backbone, {"features.backbone": backbone, "features.weights": weights})
        if backbone != own(params, dataset):
            raise ConfigError(f"axis backbone: write `{backbone}@<weights>`, as in {backbone}@hub:timm/{backbone}@main")
        return Setting(backbone, {})

    return Axis("backbone", default, read)


def _pool_axis() -> Axis:
    pools = typing.get_args(typing.get_type_hints(FeaturesConfig)["pool"])

    def default(params: Params, dataset: str) -> list[str]:
        return _own_first(lookup(params, f"{dataset}.features.pool"), ("avg", "max", "gem", "avg+max"))

    return Axis("pool", default, lambda value, *_: Setting(value, {"features.pool": _one_of("pool", value, pools)}))


def _size_axis() -> Axis:
    def default(params: Params, dataset: str) -> list[str]:
        own = lookup(params, f"{dataset}.frames.size")
        return [str(own), str(own // 2)]

    return Axis("size", default, lambda value, *_: Setting(value, {"frames.size": _number("size", value)}))


def _share_axis() -> Axis:
    def read(value: str, params: Params, dataset: str) -> Setting:
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)%", value)
        if match is None or not 0 < float(match[1]) <= 100:
            raise ConfigError(f"axis share: expected a percentage such as 10%, found `{value}`")
        # absent means all: then nothing is overridden, and what is there already is not trained again
        own = lookup(params, f"{dataset}.sem2text").get("monolingual", 1.0)
        share = round(float(match[1]) / 100, 6)
        return Setting(value, {} if share == own else {"sem2text.monolingual": share})

    return Axis("share", lambda *_: SHARES, read, ordered=True)


def _teacher_axis() -> Axis:
    def read(value: str, params: Params, dataset: str) -> Setting:
        return Setting(_one_of("teacher", value, list(lookup(params, f"{dataset}.teachers"))), {}, teacher=value)

    return Axis("teacher", lambda params, dataset: list(lookup(params, f"{dataset}.teachers")), read)


def _loss_axis() -> Axis:
    losses = typing.get_args(typing.get_type_hints(Sign2semConfig)["loss"])

    def default(params: Params, dataset: str) -> list[str]:
        return _own_first(lookup(params, f"{dataset}.sign2sem.loss"), losses)

    return Axis("loss", default, lambda value, *_: Setting(value, {"sign2sem.loss": _one_of("loss", value, losses)}))


SEM_MAP = "sem-map"
PAPER_SYSTEMS = ("sign2text", "sign2sem2text", "sign2semtext")
SEM_SYSTEMS = ("sign2sem2text", "sign2semtext")
EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment("reconstruction", TEXTS["reconstruction"], (_text_axis(),), ceiling=True),
        Experiment("learning-curve", TEXTS["learning-curve"], (_clips_axis(),), PAPER_SYSTEMS, against="system"),
        Experiment(SEM_MAP, TEXTS[SEM_MAP]),
        Experiment(
            "features", TEXTS["features"], (_backbone_axis(), _size_axis(), _pool_axis()), ("sign2text", "sign2semtext")
        ),
        Experiment("loss", TEXTS["loss"], (_loss_axis(),), SEM_SYSTEMS),
        Experiment("monolingual", TEXTS["monolingual"], (_share_axis(),), ("sign2semtext",), ceiling=True),
        Experiment("teachers", TEXTS["teachers"], (_teacher_axis(),), SEM_SYSTEMS, ceiling=True),
    )
}


def experiment_named(name: str) -> Experiment:
    """The experiment of that name; ConfigError lists those that there are."""
    if name not in EXPERIMENTS:
        raise ConfigError(f"no experiment `{name}`; there are: {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]


def read_numbers(option: str, given: str | None) -> tuple[int, ...]:
    """``1,2,3`` as numbers; empty for None."""
    return tuple(_number(option, value) for value in given.split(",")) if given else ()


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
