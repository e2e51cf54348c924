"""A wrong parameter is one error that names its key and what to do."""

import ast
import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from slt.config.base import lookup, read_params, section
from slt.config.run import read_run, row_config
from slt.config.schema import check
from slt.config.train import FinetuneConfig, Sem2textConfig, decoder_section, decoder_training
from slt.errors import ConfigError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def params() -> dict[str, Any]:
    return copy.deepcopy(read_params(ROOT / "params.yaml"))


def put(params: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    (lookup(params, ".".join(path)) if path else params)[last] = value


def test_the_committed_parameters_are_sound(params: dict[str, Any]) -> None:
    check(params)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("demo.features.bacth", 64, r"unknown key `demo\.features\.bacth`; did you mean `batch`"),
        ("demo.features.batch", "64", r"demo\.features\.batch: expected int, found '64'"),
        ("demo.features.batch", True, r"demo\.features\.batch: expected int"),
        ("demo.finetune.training.lr", "3e-4", r"demo\.finetune\.training\.lr: expected a number.*write 1\.0e-3"),
        ("demo.sign2sem.loss", "mae", r"demo\.sign2sem\.loss: expected one of 'mse', 'cosine', 'siamese'"),
        ("demo.systems.sign2text.memory", "gloss", r"demo\.systems\.sign2text\.memory"),
        ("demo.systems.sign2glosstext.gloss_weight", -1.0, r"sign2glosstext: gloss_weight must not be negative"),
        ("demo.frames.quality", 101, r"demo\.frames: quality must be 1 to 100"),
        ("demo.teachers.minilm", None, r"demo\.teachers\.minilm: expected a mapping"),
        ("demo.corpus.max_dropped", {"train": 0}, r"demo\.corpus: max_dropped needs"),
        ("demo.sem2text.monolingual", 0.0, r"demo\.sem2text: monolingual must be above 0 and at most 1"),
        ("demo.weights", {}, r"unknown section `demo\.weights`"),
        ("typo", 3, r"typo: expected a dataset section"),
        ("demo.corpus.adapter", "demmo", r"demo\.corpus\.adapter: no adapter `demmo`; there are: demo, how2sign"),
        ("demo.corpus.options.clips", 5, r"unknown key `demo\.corpus\.options\.clips`"),
        ("how2sign.corpus.options.extention", ".mp4", r"options\.extention`; did you mean `extension`"),
        ("run.datasets", "demo", r"run\.datasets"),
        ("run.rows.demo-sign2text.seed", 1.5, r"run\.rows\.demo-sign2text\.seed: expected int"),
        ("run.rows.demo-sign2text.teacher", "e5", r"add to run\.sem2text the line `demo-e5-sltr: \{dataset: demo, tea"),
        ("run.rows.demo-sign2text.system", "sign2gloss", r"demo\.systems\.sign2gloss"),
        ("run.rows.demo-sign2semtext.baseline", "nothing", r"no row `nothing` in run\.rows"),
        ("run.targets", {}, r"add to run\.targets the line `demo-minilm: \{dataset: demo, teacher: minilm\}`"),
        ("run.sem2text", {"x": {"dataset": "demo", "teacher": "minilm", "decoder": "sltr"}}, r"rename this entry to"),
    ],
)
def test_a_wrong_parameter_is_named(params: dict[str, Any], key: str, value: Any, message: str) -> None:
    put(params, key, value)
    with pytest.raises(ConfigError, match=message):
        check(params)


def test_a_missing_key_is_named(params: dict[str, Any]) -> None:
    del params["demo"]["sign2sem"]["encoder"]["heads"]
    with pytest.raises(ConfigError, match=r"missing key `demo\.sign2sem\.encoder\.heads` \(int\)"):
        check(params)


def test_a_decoders_own_training_holds_for_both_phases_and_the_rest_is_the_datasets(params: dict[str, Any]) -> None:
    datasets = {"sem2text": Sem2textConfig, "finetune": FinetuneConfig}
    for phase, cls in datasets.items():
        training = section(cls, params, f"phoenix14t.{phase}").training
        own = [decoder_section(params, f"phoenix14t.decoders.{name}") for name in ("sltr", "mbart")]
        assert decoder_training(training, own[0], "phoenix14t.decoders.sltr") == training
        lowered = decoder_training(training, own[1], "phoenix14t.decoders.mbart")
        assert lowered == dataclasses.replace(training, lr=3.0e-5) != training


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"learning_rate": 1.0}, r"unknown key `demo\.decoders\.sltr\.training\.learning_rate`"),
        ({"lr": "fast"}, r"demo\.decoders\.sltr\.training\.lr: expected a number"),
        ({"max_steps": 60}, r"demo\.decoders\.sltr\.training: warmup_steps must be smaller than max_steps"),
    ],
)
def test_a_wrong_training_of_a_decoder_is_found_before_it_trains(
    params: dict[str, Any], value: dict[str, Any], message: str
) -> None:
    params["demo"]["decoders"]["sltr"]["training"] = value
    with pytest.raises(ConfigError, match=message):
        check(params)


def test_every_key_is_described_at_its_field() -> None:
    """As the head of params.yaml promises: by a string literal below the field."""
    fields, undescribed = set(), set()
    for path in (ROOT / "slt/config").glob("*.py"):
        classes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
        for cls in classes:
            for node, below in zip(cls.body, [*cls.body[1:], None], strict=True):
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    fields.add(f"{cls.name}.{node.target.id}")
                    text = below.value if isinstance(below, ast.Expr) else None
                    if not (isinstance(text, ast.Constant) and isinstance(text.value, str) and text.value):
                        undescribed.add(f"{cls.name}.{node.target.id}")
    assert {"FramesConfig.size", "Row.seed", "EvaluateConfig.beam"} <= fields
    assert not undescribed


def test_an_unknown_row_lists_the_known_ones(params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"no row `sign2txt` in run\.rows, which has: demo-sign2text"):
        row_config(params, "sign2txt")


def test_whole_numbers_are_fine_where_numbers_are_asked_for(params: dict[str, Any]) -> None:
    put(params, "demo.finetune.training.clip_norm", 1)
    check(params)


@pytest.mark.parametrize("text", ["", "- a", "a: [1", "\x00"])
def test_a_file_that_is_no_mapping_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"params\.yaml"):
        read_params(tmp_path / "params.yaml")


def test_params_hold_no_yaml_anchors(params: dict[str, Any]) -> None:
    import yaml

    tokens = yaml.scan((ROOT / "params.yaml").read_text())
    assert not [token for token in tokens if isinstance(token, (yaml.AnchorToken, yaml.AliasToken))]
    assert "<<:" not in (ROOT / "params.yaml").read_text()


def test_every_row_is_reachable(params: dict[str, Any]) -> None:
    assert len(read_run(params).rows) >= 4
