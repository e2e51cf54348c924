"""The whole of params.yaml against the dataclasses, so that a misspelt key is found before hours of work, not after."""

from typing import Any

from slt.config.base import PARAMS, parse, section
from slt.config.data import CorpusConfig, FeaturesConfig, FramesConfig, TeacherConfig, WikipediaConfig
from slt.config.evaluate import EvaluateConfig
from slt.config.run import read_run
from slt.config.train import (
    DecoderConfig,
    FinetuneConfig,
    ParallelConfig,
    Sem2textConfig,
    Sign2semConfig,
    SystemConfig,
    TrainedTeacherConfig,
    TrainingConfig,
    decoder_class,
    decoder_section,
    decoder_training,
)
from slt.corpora import check_options
from slt.errors import ConfigError

SECTIONS: dict[str, type] = {
    "corpus": CorpusConfig,
    "frames": FramesConfig,
    "features": FeaturesConfig,
    "wikipedia": WikipediaConfig,
    "parallel": ParallelConfig,
    "sign2sem": Sign2semConfig,
    "sem2text": Sem2textConfig,
    "finetune": FinetuneConfig,
    "evaluate": EvaluateConfig,
}
NAMED_SECTIONS: dict[str, type] = {"teachers": TeacherConfig, "decoders": DecoderConfig, "systems": SystemConfig}


def check(params: dict[str, Any]) -> None:
    """Check every section of the parameters; ConfigError names the first key that is missing, unknown or mistyped."""
    for dataset, sections in params.items():
        if dataset == "run":
            continue
        if not isinstance(sections, dict):
            raise ConfigError(f"{PARAMS}: {dataset}: expected a dataset section (a mapping), found {sections!r}")
        expected = {**SECTIONS, **NAMED_SECTIONS}
        for name in sections:
            if name not in expected:
                raise ConfigError(f"{PARAMS}: unknown section `{dataset}.{name}`; known: {', '.join(expected)}")
        for name, cls in SECTIONS.items():
            section(cls, params, f"{dataset}.{name}")
        check_options(section(CorpusConfig, params, f"{dataset}.corpus"), f"{dataset}.corpus")
        for name, cls in NAMED_SECTIONS.items():
            if not isinstance(sections.get(name), dict):
                raise ConfigError(f"{PARAMS}: missing section `{dataset}.{name}`")
            for entry, value in sections[name].items():
                parse(decoder_class(value) if cls is DecoderConfig else cls, value, f"{dataset}.{name}.{entry}")
        for entry, value in sections["teachers"].items():
            if value.get("trained") is not None:
                parse(TrainedTeacherConfig, value["trained"], f"{dataset}.teachers.{entry}.trained")
        for entry in sections["decoders"]:
            key = f"{dataset}.decoders.{entry}"
            for phase in ("sem2text", "finetune"):  # both take what the entry sets itself
                training = section(TrainingConfig, params, f"{dataset}.{phase}.training")
                decoder_training(training, decoder_section(params, key), key)
    read_run(params)
