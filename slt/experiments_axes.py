"""The axes of experiments: what can be varied, the values that are tried, and the parameters that each one sets."""

import re
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from slt import paths
from slt.config.base import PARAMS, lookup
from slt.config.data import PRECOMPUTED, FeaturesConfig
from slt.config.train import Sign2semConfig
from slt.errors import ConfigError

Params = dict[str, Any]
ALL = "all"
LEARNING_CURVE = (8, 4, 2)
SHARES = ("100%", "30%", "10%", "3%", "1%")


@dataclass(frozen=True)
class Setting:
    """One value of an axis: how tables call it, the parameters below the dataset's section that it sets."""

    label: str
    values: dict[str, Any]
    teacher: str | None = None
    """for the axis of teachers, which is no parameter but an entry of `run`; likewise ``decoder``"""
    decoder: str | None = None
    corpus: str | None = None
    """for the axis of corpora: the dataset that is trained on"""


@dataclass(frozen=True)
class Axis:
    """What is varied: ``default`` gives the values as a user would write them, the reference first."""

    name: str
    default: Callable[[Params, str, str], Sequence[str]]
    """from the parameters, the dataset and its teacher"""
    read: Callable[[str, Params, str, str], Setting]
    """from a value, the parameters, the dataset and its teacher; ConfigError for a value that is none of this axis"""
    values: str = ""
    """the default values in words, for a terminal"""
    ordered: bool = False
    """whether its points may be joined by a line"""
    heading: str = ""
    """of its column, where the name does not say what the values are"""
    alone: Callable[[Params, str, str], str] | None = None
    """what to do where the dataset has one value by default, which leaves nothing to compare"""


def _own_first(own: str, others: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([own, *others]))


def _one_of(axis: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise ConfigError(f"axis {axis}: no value `{value}`; there are: {', '.join(known)}")
    return value


def whole_number(axis: str, value: str) -> int:
    if not re.fullmatch("[1-9][0-9]*", value):
        raise ConfigError(f"{axis}: expected a whole number above zero, found `{value}`")
    return int(value)


def text_axis() -> Axis:
    texts = {"wikipedia": False, "wikipedia+corpus": True}

    def read(value: str, params: Params, dataset: str, teacher: str) -> Setting:
        return Setting(value, {"sem2text.train_text": texts[_one_of("text", value, list(texts))]})

    return Axis("text", lambda *_: list(texts), read, ", ".join(texts))


def clips_axis(parts: Sequence[int] = ()) -> Axis:
    """The number of train clips: these parts of them, then all."""

    def default(params: Params, dataset: str, teacher: str) -> list[str]:
        if not parts:
            return [ALL]
        from slt.manifest import read_manifest

        manifest = paths.corpus_dir(dataset) / "manifest.parquet"
        if not manifest.is_file():
            raise ConfigError(
                f"{manifest}: not there, so the number of train clips is not known; run `dvc repro corpus@{dataset}`,"
                f" or name the points: --values 100,200,{ALL}"
            )
        count = len(read_manifest(manifest, "train"))
        return [*(str(count // part) for part in parts if count // part), ALL]

    def read(value: str, params: Params, dataset: str, teacher: str) -> Setting:
        return Setting(value, {"parallel.train_clips": None if value == ALL else whole_number("clips", value)})

    words = [f"1/{part}" for part in parts]
    return Axis("clips", default, read, ", ".join([*words, f"{ALL} of the train clips"]), ordered=True)


def backbone_axis() -> Axis:
    def own(params: Params, dataset: str) -> str:
        return str(lookup(params, f"{dataset}.features.backbone"))

    def default(params: Params, dataset: str, teacher: str) -> list[str]:
        if own(params, dataset) == PRECOMPUTED:
            raise ConfigError(f"{dataset}.features: precomputed; pooling and resolution are no choice of ours there")
        return [own(params, dataset)]

    def read(value: str, params: Params, dataset: str, teacher: str) -> Setting:
        backbone, _, weights = value.partition("@")
        if weights:
            return Setting(backbone, {"features.backbone": backbone, "features.weights": weights})
        if backbone != own(params, dataset):
            raise ConfigError(f"axis backbone: write `{backbone}@<weights>`, as in {backbone}@hub:timm/{backbone}@main")
        return Setting(backbone, {})

    return Axis("backbone", default, read, "the dataset's own")


def pool_axis() -> Axis:
    pools = typing.get_args(typing.get_type_hints(FeaturesConfig)["pool"])
    tried = ("avg", "max", "gem", "avg+max")

    def default(params: Params, dataset: str, teacher: str) -> list[str]:
        return _own_first(lookup(params, f"{dataset}.features.pool"), tried)

    def read(value: str, params: Params, dataset: str, teacher: str) -> Setting:
        return Setting(value, {"features.pool": _one_of("pool", value, pools)})

    return Axis("pool", default, read, ", ".join(tried))


def size_axis() -> Axis:
    def default(params: Params, dataset: str, teacher: str) -> list[str]:
        own = lookup(params, f"{dataset}.frames.size")
        return [str(own), str(own // 2)]

    def read(value: str, params: Params, dataset: str, teacher: str) -> Setting:
        return Setting(value, {"frames.size": whole_number("size", value)})

    return Axis("size", default, read, "the dataset's own, half of it")


def _share(value: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)%", value)
    if match is None or not 0 < float(match[1]) <= 100:
        raise ConfigError(f"axis share: expected a percentage such as 10%, found `{value}`")
    return round(float(match[1]) / 100, 6)


def share_axis() -> Axis:
    def read(value: str, params: Params, dataset: str, teacher: str) -> Setting:
        # absent means all: then nothing is overridden, and what is there already is not trained again
        own, share = lookup(params, f"{dataset}.sem2text").get("monolingual", 1.0), _share(value)
        return Setting(value, {} if share == own else {"sem2text.monolingual": share})

    return Axis("share", lambda *_: SHARES, read, ", ".join(SHARES), ordered=True)


def teacher_axis() -> Axis:
    def read(value: str, params: Params, dataset: str, teacher: str) -> Setting:
        return Setting(_one_of("teacher", value, list(lookup(params, f"{dataset}.teachers"))), {}, teacher=value)

    return _entries_axis("teacher", read)


def decoder_axis() -> Axis:
    def read(value: str, params: Params, dataset: str, teacher: str) -> Setting:
        return Setting(_one_of("decoder", value, list(lookup(params, f"{dataset}.decoders"))), {}, decoder=value)

    return _entries_axis("decoder", read)


def _entries_axis(name: str, read: Callable[[str, Params, str, str], Setting]) -> Axis:
    """Over the entries of the dataset's section of that kind."""

    def default(params: Params, dataset: str, teacher: str) -> list[str]:
        return list(lookup(params, f"{dataset}.{name}s"))

    def alone(params: Params, dataset: str, teacher: str) -> str:
        return f"add a second entry to {dataset}.{name}s in {PARAMS}"

    return Axis(name, default, read, f"all of the dataset's {name}s", alone=alone)


def loss_axis() -> Axis:
    losses = typing.get_args(typing.get_type_hints(Sign2semConfig)["loss"])

    def default(params: Params, dataset: str, teacher: str) -> list[str]:
        return _own_first(lookup(params, f"{dataset}.sign2sem.loss"), losses)

    def read(value: str, params: Params, dataset: str, teacher: str) -> Setting:
        return Setting(value, {"sign2sem.loss": _one_of("loss", value, losses)})

    return Axis("loss", default, read, ", ".join(losses))


def teacher_share_axis() -> Axis:
    """The share of the monolingual text that a teacher of our own and sem2text have, both the same sentences."""

    def read(value: str, params: Params, dataset: str, teacher: str) -> Setting:
        share, entry = _share(value), lookup(params, f"{dataset}.teachers.{teacher}")
        if not isinstance(entry, dict) or not entry.get("trained"):
            raise ConfigError(f"{dataset}.teachers.{teacher} is not trained here: it has no section `trained`")
        values: dict[str, Any] = {}
        if share != lookup(params, f"{dataset}.sem2text").get("monolingual", 1.0):
            values["sem2text.monolingual"] = share
        if share != entry["trained"]["share"]:
            values[f"teachers.{teacher}.trained.share"] = share
            values[f"teachers.{teacher}.model"] = f"{entry['model']}-{value.removesuffix('%').replace('.', '_')}"
        return Setting(value, values)

    return Axis("share", lambda *_: SHARES, read, ", ".join(SHARES), ordered=True)


def languages_axis() -> Axis:
    """Training on all languages of a dataset, then on each alone; the evaluation stays that of all."""

    def known(params: Params, dataset: str) -> list[str]:
        source = lookup(params, f"{dataset}.wikipedia.source")
        if not isinstance(source, dict):
            raise ConfigError(
                f"{dataset}: its text is in one language; take a dataset of several, such as demo_both (adapter"
                " `union`, one wikipedia.source of each language)"
            )
        return list(source)

    def read(value: str, params: Params, dataset: str, teacher: str) -> Setting:
        languages = None if value == ALL else [_one_of("languages", value, known(params, dataset))]
        return Setting(value, {} if languages is None else {"parallel.languages": languages})

    def default(params: Params, dataset: str, teacher: str) -> list[str]:
        return [ALL, *known(params, dataset)]

    return Axis("languages", default, read, f"{ALL}, then each alone", heading="trained on")


SEEN_BY_THE_ENCODER = ("frames.size", "frames.fit", "frames.stride", "features")
"""what two datasets have to share for one's sign encoder to read the other's clips"""


def corpus_axis() -> Axis:
    """The dataset that is trained on; the experiment's own dataset is tested on."""

    def fits(params: Params, dataset: str, other: str, teachers: Sequence[str]) -> str | None:
        """What keeps the one's model from the other's clips; None: nothing."""
        keys = [*SEEN_BY_THE_ENCODER, *(f"teachers.{name}" for name in teachers)]
        for key in keys:
            sides = [_found(params, f"{name}.{key}") for name in (dataset, other)]
            if sides[0] != sides[1]:
                return key
        return None

    def others(params: Params, dataset: str, teacher: str) -> list[str]:
        own = _parts(lookup(params, f"{dataset}.corpus"))
        return [
            name
            for name in params
            if name not in ("run", dataset)
            and fits(params, dataset, name, [teacher]) is None
            # a union's model has seen what the corpus is made of, if not its test clips
            and not any(part in own for part in _parts(lookup(params, f"{name}.corpus")))
        ]

    def with_teacher(params: Params, dataset: str, taken: Callable[[str], bool]) -> str:
        """Which of the dataset's other teachers would do."""
        would = [name for name in lookup(params, f"{dataset}.teachers") if taken(name)]
        return f" or take another teacher: --teacher {would[0]}" if would else ""

    def default(params: Params, dataset: str, teacher: str) -> list[str]:
        return [dataset, *others(params, dataset, teacher)]

    def alone(params: Params, dataset: str, teacher: str) -> str:
        return (
            f"no other corpus in {PARAMS} has its {', '.join(SEEN_BY_THE_ENCODER)} and teachers.{teacher}; give one the"
            f" same{with_teacher(params, dataset, lambda name: bool(others(params, dataset, name)))}"
        )

    def read(value: str, params: Params, dataset: str, teacher: str) -> Setting:
        _one_of("corpus", value, [name for name in params if name != "run"])
        differs = fits(params, dataset, value, [teacher])
        if differs is not None:
            raise ConfigError(
                f"axis corpus: `{value}` and `{dataset}` differ in `{differs}`: a model of the one cannot read, or be"
                " held against, the other; make them equal (-S)"
                + with_teacher(params, dataset, lambda name: fits(params, dataset, value, [name]) is None)
            )
        return Setting(value, {}, corpus=value)

    words = "the dataset, then every other with its frames, features and teacher"
    return Axis("corpus", default, read, words, heading="trained on", alone=alone)


def _parts(corpus: dict[str, Any]) -> list[tuple[str, Any]]:
    """What tells a `corpus` section apart from others, its adapter and options; of a union, that of each part."""
    if corpus["adapter"] == "union":
        return [part for section in corpus["options"]["parts"].values() for part in _parts(section)]
    return [(corpus["adapter"], corpus.get("options"))]


def _found(params: Params, key: str) -> Any:
    try:
        return lookup(params, key)
    except ConfigError:
        return None
