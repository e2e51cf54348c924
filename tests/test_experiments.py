"""Every experiment is commands that params.yaml accepts, and its report follows from the kept files alone."""

import copy
import json
import math
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_tables import CONFIG, fake_run

from slt import paths
from slt.cli import main
from slt.config.base import read_params
from slt.errors import ConfigError, DataError, StoreError
from slt.evaluations import read_evaluation, write_evaluation
from slt.experiments import CEILING, EXPERIMENTS, SEM_MAP, Choice, Trial, experiment_named, read_values, trials
from slt.experiments_axes import SEEN_BY_THE_ENCODER
from slt.experiments_content import Result, add_result, read_results, result_path
from slt.experiments_report import Line, figure_of, sem_map_figure, write_report
from slt.experiments_run import _same_stages, overridden
from slt.metrics import no_score
from slt.scoring import score_folder
from slt.store import read_json, write_json
from slt.wer import WER

ROOT = Path(__file__).parent.parent
PARAMS = read_params(ROOT / "params.yaml")
DATASETS = [name for name in PARAMS if name != "run"]
TRAINED = [name for name in EXPERIMENTS if name != SEM_MAP]
POINTS = {"learning-curve": {"clips": ("20", "40", "all")}}
"""the learning curve's own points depend on a manifest"""
VARIED = {
    "reconstruction": {"sem2text.train_text"},
    "learning-curve": {"parallel.train_clips"},
    "features": {"features.pool", "frames.size"},
    "glosses": set(),
    "loss": {"sign2sem.loss"},
    "monolingual": {"sem2text.monolingual"},
    "teachers": set(),
    "decoders": set(),
    "transfer": set(),
    "low-resource": {"sem2text.monolingual", "teachers.tsdae.model", "teachers.tsdae.trained.share"},
    "languages": {"parallel.languages"},
}
ONLY = {
    "languages": ["demo_both"],
    "low-resource": ["demo_de"],
    "glosses": [name for name in DATASETS if "sign2glosstext" in PARAMS[name]["systems"]],
    "teachers": [name for name in DATASETS if len(PARAMS[name]["teachers"]) > 1],
    "decoders": [name for name in DATASETS if len(PARAMS[name]["decoders"]) > 1],
}
"""experiments that ask something of their dataset: text in several languages, a teacher that is trained here, …"""
CASES = [(name, dataset) for name in TRAINED for dataset in ONLY.get(name, DATASETS)]


def planned(name: str, dataset: str = "demo", params: dict[str, Any] = PARAMS, **chosen: Any) -> list[Trial]:
    return trials(EXPERIMENTS[name], params, dataset, Choice(**{"values": POINTS.get(name, {}), **chosen}))


def differences(one: Any, two: Any, key: str = "") -> set[str]:
    """The dotted keys that differ between two parameter files."""
    if isinstance(one, dict) and isinstance(two, dict):
        keys = [*one, *(name for name in two if name not in one)]
        return set().union(*(differences(one.get(k), two.get(k), f"{key}.{k}" if key else k) for k in keys))
    return set() if one == two else {key}


@pytest.mark.parametrize(("name", "dataset"), CASES)
def test_dvc_accepts_the_overrides_and_they_change_what_they_say(name: str, dataset: str, tmp_path: Path) -> None:
    # DVC takes seconds for the whole file; a dataset that is not in `run` has to come with empty mappings there
    nothing = {"datasets": [], "targets": {}, "sem2text": {}, "rows": {}}
    alone = {"run": PARAMS["run"] if dataset == "demo" else nothing, dataset: PARAMS[dataset]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(alone, sort_keys=False))
    # the other corpora of a transfer are other sections
    found = planned(name, dataset, alone, **({"values": {"corpus": (dataset,)}} if name == "transfer" else {}))
    variants = [overridden(trial.overrides, tmp_path / "params.yaml") for trial in found]
    changed = [{key for key in differences(alone, params) if not key.startswith("run.")} for params in variants]
    assert set().union(*changed) == {f"{dataset}.{key}" for key in VARIED[name]}
    assert [params for i, params in enumerate(variants) if params in variants[:i]] == [] or name == "teachers"
    for trial, params in zip(found, variants, strict=True):
        assert set(alone["run"]["rows"]) <= set(params["run"]["rows"])  # DVC breaks a mapping that it empties
        for system, row in trial.rows.items():
            assert params["run"]["rows"][row]["system"] == system
            assert params["run"]["rows"][row]["teacher"] == trial.teacher
        assert trial.stages and dataset in params["run"]["datasets"]


def test_what_params_hold_already_is_not_trained_again() -> None:
    first, *others = planned("loss")
    assert first.overrides == ()
    assert first.stages == ("evaluate@demo-sign2sem2text", "evaluate@demo-sign2semtext")
    assert all(len(trial.overrides) == 1 for trial in others)
    assert planned("monolingual")[0].overrides == ()


def test_a_seed_is_that_of_all_three_phases_and_its_rows_are_its_own() -> None:
    trial = planned("loss", seeds=(1, 2), values={"loss": ("cosine",)})[1]
    params = overridden(trial.overrides, ROOT / "params.yaml")
    assert (trial.seed, params["demo"]["sign2sem"]["seed"], params["demo"]["sem2text"]["seed"]) == (2, 2, 2)
    assert all(params["run"]["rows"][row]["seed"] == 2 for row in trial.rows.values())
    assert not set(trial.rows.values()) & set(PARAMS["run"]["rows"])


def test_the_reconstruction_needs_no_video() -> None:
    assert [trial.stages for trial in planned("reconstruction", "phoenix14t")] == [
        ("ceiling@phoenix14t-multi-sltr",)
    ] * 2


def test_every_teacher_of_the_dataset_has_the_same_rows() -> None:
    params = copy.deepcopy(PARAMS)
    minilm = params["demo"]["teachers"]["minilm"]
    params["demo"]["teachers"] = {"minilm": minilm, "other": {**minilm, "center": False}}
    first, second = planned("teachers", params=params)
    assert (first.teacher, second.teacher) == ("minilm", "other")
    assert list(first.rows) == list(second.rows) and "ceiling@demo-other-sltr" in second.stages
    assert "+run.targets.demo-other={dataset: demo, teacher: other}" in second.overrides


def test_transfer_trains_on_one_corpus_and_tests_on_the_other(tmp_path: Path) -> None:
    alone = {name: PARAMS[name] for name in ("run", "demo", "demo_de")}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(alone, sort_keys=False))
    own, other = planned("transfer", "demo_de", alone, teacher="minilm", seeds=(2,))
    assert (own.corpus, other.corpus, other.dataset) == ("demo_de", "demo", "demo_de")
    assert not own.transfers and all(stage.startswith("evaluate@demo-de-") for stage in own.stages)
    assert other.stages[:2] == ("features@demo_de", "targets@demo_de-minilm")
    assert len(other.stages) == 4 and all(stage.startswith("evaluate@demo-sign2") for stage in other.stages[2:])
    params = overridden(other.overrides, tmp_path / "params.yaml")
    assert params["run"]["datasets"] == ["demo", "demo_de"]
    assert {"demo-minilm", "demo_de-minilm"} <= set(params["run"]["targets"])
    assert (params["demo"]["sign2sem"]["seed"], params["demo_de"]["sign2sem"]["seed"]) == (2, 1)


@pytest.mark.parametrize("key", [*SEEN_BY_THE_ENCODER[:3], "features.pool", "teachers.minilm.normalize"])
def test_corpora_that_a_model_cannot_both_read_are_not_held_against_each_other(key: str) -> None:
    params = copy.deepcopy(PARAMS)
    *path, last = f"demo.{key}".split(".")
    section = params
    for part in path:
        section = section[part]
    section[last] = "other"
    named = key.removesuffix(".pool").removesuffix(".normalize")
    with pytest.raises(ConfigError, match=f"`demo` and `demo_de` differ in `{named}`"):
        planned("transfer", "demo_de", params, teacher="minilm", values={"corpus": ("demo_de", "demo")})
    with pytest.raises(ConfigError, match="demo_de has one corpus alone"):
        planned("transfer", "demo_de", params, teacher="minilm")


def test_the_default_corpora_of_a_transfer_have_the_chosen_teacher() -> None:
    corpora = [trial.corpus for trial in planned("transfer", "how2sign", teacher="multi")]
    assert corpora == ["how2sign", "phoenix14t"]
    with pytest.raises(ConfigError, match=r"how2sign has one corpus alone .*teachers\.mono; .*: --teacher multi"):
        planned("transfer", "how2sign")
    with pytest.raises(ConfigError, match=r"differ in `teachers\.mono`: .*: --teacher multi"):
        planned("transfer", "how2sign", values={"corpus": ("how2sign", "phoenix14t")})


@pytest.mark.parametrize(("dataset", "expected"), [("demo", ["demo", "demo_de"]), ("demo_both", None)])
def test_a_union_that_holds_the_corpus_is_none_that_it_never_saw(dataset: str, expected: list[str] | None) -> None:
    if expected:
        assert [trial.corpus for trial in planned("transfer", dataset)] == expected
    else:
        with pytest.raises(ConfigError, match="has one corpus alone"):
            planned("transfer", dataset)


def test_an_experiment_without_what_it_is_about_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"about `sign2glosstext`, which how2sign lacks: add how2sign\.systems\.sign2gl"
    ):
        planned("glosses", "how2sign")
    assert len(planned("glosses", "how2sign", systems=("sign2text", "sign2semtext"))) == 1  # asked for by name
    params = copy.deepcopy(PARAMS)
    del params["demo"]["systems"]["sign2semtext"], params["demo"]["systems"]["sign2sem2text"]
    with pytest.raises(ConfigError, match=r"loss is about `sign2sem2text` and `sign2semtext`, which demo lacks"):
        planned("loss", params=params)


@pytest.mark.parametrize(
    ("name", "dataset", "key"),
    [("teachers", "phoenix14t", "phoenix14t.teachers"), ("decoders", "demo", "demo.decoders")],
)
def test_a_comparison_of_one_thing_names_the_key_to_add_to(name: str, dataset: str, key: str) -> None:
    with pytest.raises(ConfigError, match=f"nothing to compare: add a second entry to {key}"):
        planned(name, dataset)


def test_the_list_says_default_values_and_what_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["experiment", "--list"])
    text = capsys.readouterr().out
    assert "axes: share (default: 100%, 30%, 10%, 3%, 1%)" in text and "and a multilingual teacher" in text
    assert all(axis.values for experiment in EXPERIMENTS.values() for axis in experiment.axes)


def test_a_share_names_a_teacher_of_its_own_and_all_of_the_text_the_one_that_is_there() -> None:
    whole, *shares = planned("low-resource", "demo_de")
    assert whole.teacher == "tsdae" and not any("demo_de.teachers" in override for override in whole.overrides)
    models = [o for trial in shares for o in trial.overrides if o.startswith("demo_de.teachers.tsdae.model=")]
    assert models == [f"demo_de.teachers.tsdae.model=raw:teachers/demo_de-tsdae-{share}" for share in (30, 10, 3, 1)]


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [
        ("languages", {}, "demo: its text is in one language; take a dataset of several"),
        ("low-resource", {}, "demo.teachers has no entry with a section `trained`"),
        ("low-resource", {"teacher": "minilm"}, "demo.teachers.minilm is not trained here"),
        ("transfer", {"values": {"corpus": ("demmo",)}}, "axis corpus: no value `demmo`"),
        ("loss", {"values": {"loss": ("huber",)}}, "axis loss: no value `huber`; there are: mse, cosine, siamese"),
        ("loss", {"values": {"pool": ("avg",)}}, "has no axis `pool`; its axes: loss"),
        ("loss", {"values": {"loss": ("mse", "mse")}}, "two variants are called `demo-loss-mse-seed1`"),
        ("loss", {"systems": ("sign2glos",)}, "no key `demo.systems.sign2glos`"),
        ("loss", {"teacher": "labse"}, "no key `demo.teachers.labse`"),
        ("monolingual", {"values": {"share": ("0.1",)}}, "expected a percentage such as 10%, found `0.1`"),
        ("monolingual", {"values": {"share": ("0%",)}}, "expected a percentage"),
        ("learning-curve", {"values": {"clips": ("-3",)}}, "clips: expected a whole number above zero"),
        ("learning-curve", {"values": {}}, "number of train clips is not known; run `dvc repro corpus@demo`, or"),
        ("features", {"values": {"backbone": ("resnet18",)}}, "axis backbone: write `resnet18@<weights>`"),
    ],
)
def test_a_wrong_choice_is_named(
    name: str, chosen: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        planned(name, **chosen)


def test_values_name_their_axis_where_there_are_several() -> None:
    assert read_values(experiment_named("loss"), ["mse,cosine"]) == {"loss": ("mse", "cosine")}
    thinned = read_values(experiment_named("features"), ["pool=avg,gem", "size=64"])
    assert thinned == {"pool": ("avg", "gem"), "size": ("64",)}
    with pytest.raises(ConfigError, match="say of which axis, as in AXIS=avg"):
        read_values(experiment_named("features"), ["avg"])
    with pytest.raises(ConfigError, match="no experiment `los`; there are: reconstruction"):
        experiment_named("los")


def test_dry_prints_commands_that_dvc_runs_and_runs_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    main(["experiment", "loss", "--dataset", "demo", "--dry", "-S", "demo.sign2sem.training.max_steps=100"])
    lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 3 and all(line[:5] == ["dvc", "exp", "run", "--temp", "-n"] for line in lines)
    assert all("demo.sign2sem.training.max_steps=100" in line for line in lines)
    with pytest.raises(SystemExit):
        main(["experiment", "loss", "--dataset", "demo", "--dry", "-S", "demo.sign2sem.lose=mse"])


@pytest.mark.parametrize("options", [["--dataset", "nope", "--dry"], ["--values", "a,b"], ["-S", "demo.x=1"]])
def test_options_without_an_experiment_do_not_make_the_report_anew(
    options: list[str], folders: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep({"mse": "b-pipeline"})
    with pytest.raises(SystemExit):
        main(["experiment", *options])
    assert not Path("docs/experiments.md").exists() and "of which experiment?" in caplog.text


def test_a_dry_sem_map_checks_its_dataset_and_says_what_it_would_read(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    for dataset, message in (("nope", "no dataset `nope`"), ("how2sign", "no row of run.rows is of how2sign")):
        with pytest.raises(SystemExit):
            main(["experiment", SEM_MAP, "--dataset", dataset, "--dry"])
        assert message in caplog.text
    for option in (["--teacher", "e5"], ["--seeds", "1,2"], ["--systems", "sign2semtext"], ["--decoder", "sltr"]):
        with pytest.raises(SystemExit):
            main(["experiment", SEM_MAP, "--dataset", "demo", *option, "--dry"])
        assert f"it maps every row of the dataset; leave out {option[0]}" in caplog.text
    main(["experiment", SEM_MAP, "--dataset", "demo", "--dry"])
    read = capsys.readouterr().out.splitlines()
    assert "reads data/finetune/demo-sign2semtext" in read and "reads data/demo/targets/minilm" in read
    assert "reads data/evaluations/rows/demo-sign2text" in read and "reads data/finetune/demo-sign2text" not in read


# --- results ---


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    fake_run(tmp_path)
    return tmp_path


def keep(names: dict[str, str], seed: int = 1, ceiling: bool = False) -> dict[str, Any]:
    """A result file of the experiment `loss`: per variant, the fake row that plays sign2semtext."""
    path = result_path("loss", "demo")
    content = read_results("loss", "demo", Choice())
    content["invocations"] = ["slt experiment loss --dataset demo"]
    first: Result | None = None
    for variant, row in names.items():
        rows = {"sign2semtext": row}
        name = f"demo-loss-{variant}-seed{seed}"
        trial = Trial(name, "demo", {"loss": variant}, seed, "minilm", "sltr", ("demo.x=1",), rows, ceiling, "demo")
        evaluations = {"sign2semtext": read_evaluation(paths.evaluation_dir(row))}
        if ceiling:
            evaluations[CEILING] = read_evaluation(paths.ceiling_dir("demo", "minilm", "sltr"))
        result = Result(trial, "r" * 40, "c" * 40, evaluations)
        first = first or result
        add_result(content, EXPERIMENTS["loss"], result, first)
    write_json(path, content)
    return content


def test_the_table_holds_the_scores_and_the_paired_difference(folders: Path) -> None:
    content = keep({"mse": "b-pipeline", "cosine": "c-multitask"}, ceiling=True)
    runs = content["runs"]
    scores = {name: read_evaluation(paths.evaluation_dir(name)).scores for name in ("b-pipeline", "c-multitask")}
    low, high = (scores[name]["test"]["model"]["bleu"] for name in scores)
    comparison = runs["demo-loss-cosine-seed1"]["results"]["sign2semtext"]["comparison"]
    assert comparison["baseline"] == "mse"
    assert comparison["bleu"]["difference"] == pytest.approx(high["value"] - low["value"], abs=1e-5)
    assert runs["demo-loss-mse-seed1"]["results"]["sign2semtext"]["comparison"] is None
    write_report()
    text = Path("docs/experiments.md").read_text()
    for score in (low, high):
        assert f"{score['value']:.2f} ± {score['half_width']:.2f}" in text
    assert f"{comparison['bleu']['difference']:+.2f} [{comparison['bleu']['low']:+.2f}" in text
    assert EXPERIMENTS["loss"].text.limits in text and "gloss-free" in text and "ceiling: true SEMs" in text
    assert "cccccccccc" in text and "slt experiment loss --dataset demo" in text
    assert runs["demo-loss-cosine-seed1"]["command"].startswith(
        "dvc exp run --temp -n demo-loss-cosine-seed1 -S demo.x=1"
    )


def test_decoders_are_compared_on_the_same_true_sems() -> None:
    params = copy.deepcopy(PARAMS)
    params["demo"]["decoders"]["other"] = params["demo"]["decoders"]["sltr"]
    first, second = planned("decoders", params=params)
    assert [first.decoder, second.decoder] == ["sltr", "other"] == [t.labels["decoder"] for t in (first, second)]
    assert second.stages == ("ceiling@demo-minilm-other",)
    assert "+run.sem2text.demo-minilm-other={dataset: demo, teacher: minilm, decoder: other}" in second.overrides


def test_of_three_systems_the_third_is_also_held_against_the_second(folders: Path) -> None:
    names = {"sign2text": "a-text", "sign2sem2text": "b-pipeline", "sign2semtext": "c-multitask"}
    evaluations = {system: read_evaluation(paths.evaluation_dir(row)) for system, row in names.items()}
    content = read_results("learning-curve", "demo", Choice())
    trial = Trial(
        "demo-learning-curve-20-seed1", "demo", {"clips": "20"}, 1, "minilm", "sltr", (), names, False, "demo"
    )
    result = Result(trial, "r" * 40, "c" * 40, evaluations)
    add_result(content, EXPERIMENTS["learning-curve"], result, result)
    write_json(result_path("learning-curve", "demo"), content)
    found = {name: one["comparison"] for name, one in content["runs"][trial.name]["results"].items()}
    assert found["sign2text"] is None and "second" not in found["sign2sem2text"]
    second = found["sign2semtext"]["second"]
    values = {name: one.scores["test"]["model"]["bleu"]["value"] for name, one in evaluations.items()}
    assert second["baseline"] == "sign2sem2text"
    assert second["bleu"]["difference"] == pytest.approx(values["sign2semtext"] - values["sign2sem2text"], abs=1e-5)
    write_report()
    lines = Path("docs/experiments.md").read_text().splitlines()
    header = next(line for line in lines if line.startswith("| clips")).split("|")
    last = next(line for line in lines if "| sign2semtext" in line).split("|")
    shown = dict(zip([cell.strip() for cell in header], [cell.strip() for cell in last], strict=True))
    assert shown["Δ to sign2sem2text"].startswith(f"{second['bleu']['difference']:+.2f} [")
    assert shown["Δ test BLEU"].startswith(f"{found['sign2semtext']['bleu']['difference']:+.2f} [")


def test_a_system_that_recognises_glosses_has_their_error_rate_beside_its_bleu(folders: Path) -> None:
    names = {"sign2text": "a-text", "sign2glosstext": "b-pipeline", "sign2semtext": "c-multitask"}
    evaluations = {system: read_evaluation(paths.evaluation_dir(row)) for system, row in names.items()}
    rate = {"value": 41.25, "low": 39.0, "high": 43.5, "half_width": 2.25}
    evaluations["sign2glosstext"].scores["test"]["model"][WER.name] = rate
    for other in ("sign2text", "sign2semtext"):
        evaluations[other].scores["test"]["model"][WER.name] = no_score("no gloss head")
    content = read_results("glosses", "demo", Choice())
    trial = Trial("demo-glosses-all-seed1", "demo", {"clips": "all"}, 1, "minilm", "sltr", (), names, False, "demo")
    result = Result(trial, "r" * 40, "c" * 40, evaluations)
    add_result(content, EXPERIMENTS["glosses"], result, result)
    write_json(result_path("glosses", "demo"), content)
    kept = {name: one["scores"]["test"] for name, one in content["runs"][trial.name]["results"].items()}
    assert kept["sign2glosstext"][WER.name] == rate and WER.name not in kept["sign2text"]
    write_report()
    lines = Path("docs/experiments.md").read_text().splitlines()
    header, *rows = (
        [cell.strip() for cell in line.split("|")] for line in lines if line.startswith(("| clips", "| all"))
    )
    shown = {row[header.index("system")].split("[")[0]: row[header.index("gloss WER")] for row in rows}
    assert shown == {"sign2text": "", "sign2glosstext": "41.25 ± 2.25", "sign2semtext": ""}


def glosses_row() -> dict[str, Any]:
    """A kept result of `glosses`, whose second system read the glosses of its clips."""
    names = {"sign2text": "a-text", "sign2glosstext": "c-multitask"}
    evaluations = {system: read_evaluation(paths.evaluation_dir(row)) for system, row in names.items()}
    evaluations["sign2glosstext"].info.provenance["gloss_supervision"] = True
    trial = Trial("demo-glosses-all-seed1", "demo", {"clips": "all"}, 1, "minilm", "sltr", (), names, False, "demo")
    result = Result(trial, "r" * 40, "c" * 40, evaluations)
    content = read_results("glosses", "demo", Choice())
    add_result(content, EXPERIMENTS["glosses"], result, result)
    return content


@pytest.mark.parametrize("kept", [True, False])
def test_a_row_that_learnt_from_glosses_is_marked_also_among_older_results(kept: bool, folders: Path) -> None:
    content = glosses_row()
    results = content["runs"]["demo-glosses-all-seed1"]["results"]
    assert results["sign2glosstext"]["gloss_supervision"] is True
    if not kept:  # as results were before this was kept
        for result in results.values():
            result.pop("gloss_supervision", None)
    write_json(result_path("glosses", "demo"), content)
    write_report()
    lines = Path("docs/experiments.md").read_text().splitlines()
    note = next(line for line in lines if "gloss-dependent: its own training reads the glosses" in line).split(":")[0]
    assert [line for line in lines if note in line and line.startswith("|")] == [
        line for line in lines if "| sign2glosstext" in line
    ]


def test_a_ceilings_shuffled_sems_and_its_decoders_weights_are_kept(folders: Path) -> None:
    folder = paths.ceiling_dir("demo", "minilm", "sltr")
    old = read_evaluation(folder)
    records = [*old.records, *(replace(r, condition="shuffled_sem", hypothesis="rain and snow") for r in old.records)]
    info = replace(old.info, provenance={**old.info.provenance, "decoder_source": {"weights_sha256": "ab" * 32}})
    write_evaluation(folder, records, info, score_folder(records, CONFIG), [])
    content = keep({"mse": "b-pipeline"}, ceiling=True)
    results = content["runs"]["demo-loss-mse-seed1"]["results"]
    scores = read_evaluation(folder).scores
    for split in ("dev", "test"):
        kept = results[CEILING]["controls"][split]["shuffled_sem"]["bleu"]
        assert kept == scores[split]["shuffled_sem"]["bleu"]
    assert results[CEILING]["decoder_sha256"] == "ab" * 32 and "controls" not in results["sign2semtext"]
    write_report()
    lines = Path("docs/experiments.md").read_text().splitlines()
    header, *rows = (
        [cell.strip() for cell in line.split("|")] for line in lines if line.startswith(("| loss", "| mse"))
    )
    place = header.index("test BLEU, shuffled SEMs")
    shown = {row[header.index("system")].split("[")[0]: row[place] for row in rows}
    assert shown == {"ceiling: true SEMs": f"{kept['value']:.2f} ± {kept['half_width']:.2f}", "sign2semtext": ""}


def test_the_hash_of_the_teacher_stands_beside_its_name(folders: Path) -> None:
    content = read_results("loss", "demo", Choice())
    rows = {"sign2semtext": "b-pipeline"}
    trial = Trial("demo-loss-mse-seed1", "demo", {"loss": "mse"}, 1, "minilm", "sltr", (), rows, False, "demo")
    evaluations = {"sign2semtext": read_evaluation(paths.evaluation_dir("b-pipeline"))}
    result = Result(trial, "r" * 40, "c" * 40, evaluations, "cd" * 32)
    add_result(content, EXPERIMENTS["loss"], result, result)
    assert content["runs"][trial.name]["teacher_sha256"] == "cd" * 32


def test_two_variants_that_predict_sems_are_compared_in_retrieval_too(folders: Path) -> None:
    content = keep({"mse": "b-pipeline", "cosine": "c-multitask"})
    low, high = (content["runs"][f"demo-loss-{loss}-seed1"]["results"]["sign2semtext"] for loss in ("mse", "cosine"))
    test = high["comparison"]["recall_at_1"]
    share = 100 * (high["retrieval"]["recall_at_1"] - low["retrieval"]["recall_at_1"])
    assert test["difference"] == pytest.approx(share, abs=1e-3)
    write_report()
    text = Path("docs/experiments.md").read_text()
    assert "Δ recall@1" in text and f"{test['difference']:+.2f} [{test['low']:+.2f}" in text


def test_results_stay_when_no_stage_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new column of the report needs no training; other code, another command or another teacher's code does."""
    monkeypatch.chdir(tmp_path)

    def git(*arguments: str) -> str:
        settings = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        return subprocess.run(["git", *settings, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    corpus: dict[str, Any] = {"desc": "one", "cmd": "corpus", "deps": ["stages/corpus.py", "data/raw"]}
    targets: dict[str, Any] = {"desc": "two", "cmd": "targets", "deps": ["slt/targets.py"]}

    def commit() -> str:
        stages = {"corpus": corpus, "targets": {"matrix": {"x": [1]}, "do": targets}}
        Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
        git("add", "-A")
        git("commit", "-qm", "x", "--allow-empty")
        return git("rev-parse", "HEAD")

    git("init", "-q")
    for name in ("stages/corpus.py", "slt/targets.py", "slt/report.py", "slt/tsdae.py"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("1")
    before = commit()
    Path("slt/report.py").write_text("2")
    corpus["desc"] = targets["desc"] = "other words"
    commit()
    assert _same_stages(before)
    for name in ("stages/corpus.py", "slt/targets.py", "slt/tsdae.py"):
        before = commit()
        Path(name).write_text("2")
        commit()
        assert not _same_stages(before), name
    before = commit()
    targets["cmd"] = "targets again"
    commit()
    assert not _same_stages(before)


def test_the_report_is_made_of_the_kept_files_alone(folders: Path) -> None:
    keep({"mse": "b-pipeline", "cosine": "c-multitask"})
    write_report()
    report, plot = Path("docs/experiments.md"), Path("docs/experiments/demo-loss.png")
    first = report.read_bytes(), plot.read_bytes()
    report.unlink()
    plot.unlink()
    for folder in ("rows", "sem2text"):
        (paths.DATA / "evaluations" / folder).rename(folders / folder)
    write_report()
    assert (report.read_bytes(), plot.read_bytes()) == first
    content = read_json(result_path("loss", "demo"))
    content["runs"]["demo-loss-mse-seed1"]["results"]["sign2semtext"]["scores"]["test"]["bleu"]["value"] = 99.0
    write_json(result_path("loss", "demo"), content)
    write_report()
    assert "99.00 ±" in report.read_text()


def test_the_committed_report_follows_from_the_committed_results(tmp_path: Path) -> None:
    kept = sorted((ROOT / "docs/experiments").glob("*.json"))
    assert kept
    folder = tmp_path / "experiments"
    folder.mkdir()
    for path in kept:
        shutil.copy(path, folder)
    write_report(folder, tmp_path / "experiments.md")
    assert (tmp_path / "experiments.md").read_text() == (ROOT / "docs/experiments.md").read_text()
    assert {path.name for path in folder.iterdir()} == {path.name for path in (ROOT / "docs/experiments").iterdir()}


@pytest.mark.parametrize(
    ("backbones", "axis"),
    [
        (None, "backbone (tf_efficientnet_…), size, pool"),
        (("resnet50.a1_in1k", "vit_small_patch14_dinov2", "efficientnet_b0"), "backbone, size 112, pool"),
    ],
)
def test_the_labels_of_points_do_not_overprint_each_other(backbones: tuple[str, ...] | None, axis: str) -> None:
    content = read_json(ROOT / "docs/experiments/demo-features.json")
    for i, run in enumerate(content["runs"].values()):
        if backbones:
            run["labels"] |= {"backbone": backbones[i % 3], "size": "112", "pool": f"pool{i}"}
    figure = figure_of(content)
    figure.draw_without_rendering()
    (panel,) = figure.axes
    assert panel.get_xlabel() == axis
    apart = panel.get_window_extent().width / len(content["runs"])
    for label in panel.get_xticklabels():
        angle = math.radians(label.get_rotation())
        label.set_rotation(0)
        box = label.get_window_extent()
        assert box.width < apart or box.height < apart * math.sin(angle), label.get_text()


def test_maps_fit_a_page_side_by_side() -> None:
    content = read_json(ROOT / "docs/experiments/demo-sem-map.json")
    figure = sem_map_figure(content)
    width, height = figure.get_size_inches()
    assert len(figure.axes) == 6 and height < 1.5 * width
    next(iter(content["rows"].values()))["planes"]["as predicted"] = None
    assert len(sem_map_figure(content).axes) == 5


def test_seeds_are_a_mean_and_a_standard_deviation(folders: Path) -> None:
    for seed in (1, 2, 3):
        content = keep({"mse": "b-pipeline", "cosine": "c-multitask"}, seed)
    for seed, value, difference in ((1, 10.0, 1.0), (2, 12.0, 3.0), (3, 17.0, 5.0)):
        result = content["runs"][f"demo-loss-cosine-seed{seed}"]["results"]["sign2semtext"]
        result["scores"]["test"]["bleu"]["value"] = value
        result["comparison"]["bleu"]["difference"] = difference
    write_json(result_path("loss", "demo"), content)
    write_report()
    row = next(line for line in Path("docs/experiments.md").read_text().splitlines() if line.startswith("| cosine"))
    assert "13.00 ± 3.61" in row and "+3.00 ± 2.00" in row  # 13 and the root of 13, 3 and 2, by hand
    assert [cell.strip() for cell in row.split("|")][3] == "3"


def test_another_interval_setting_is_not_mixed_in(folders: Path) -> None:
    keep({"mse": "b-pipeline"})
    content = read_json(result_path("loss", "demo"))
    content["interval"]["resamples"] = 50
    write_json(result_path("loss", "demo"), content)
    with pytest.raises(DataError, match="other interval settings"):
        keep({"cosine": "c-multitask"})


def test_results_of_another_decoder_or_override_are_kept_apart(folders: Path) -> None:
    keep({"mse": "b-pipeline"})
    for other in (Choice(decoder="mbart"), Choice(overrides=("demo.x=1",))):
        with pytest.raises(ConfigError, match=r"demo-loss\.json: made with .*--label"):
            read_results("loss", "demo", other)
    assert read_results("loss", "demo", Choice(decoder="mbart", label="mbart"))["runs"] == {}
    assert planned("loss", label="mbart")[0].name == "demo-loss-mbart-mse-seed1"
    with pytest.raises(ConfigError, match="letters and digits only"):
        result_path("loss", "demo", "../x")


def test_scores_of_each_language_stand_below_those_of_all(folders: Path) -> None:
    for name in ("b-pipeline", "c-multitask"):
        in_two_languages(paths.evaluation_dir(name))
    content = keep({"mse": "b-pipeline", "cosine": "c-multitask"})
    low, high = (content["runs"][f"demo-loss-{loss}-seed1"]["results"]["sign2semtext"] for loss in ("mse", "cosine"))
    assert high["languages"].keys() == {"de", "en"} and low["comparison"] is None
    parts = [high["comparison"]["languages"][name]["bleu"]["difference"] for name in ("de", "en")]
    own = [one["languages"][name]["scores"]["test"]["bleu"]["value"] for name in ("de", "en") for one in (low, high)]
    assert parts == pytest.approx([own[1] - own[0], own[3] - own[2]], abs=1e-5)
    write_report()
    text = Path("docs/experiments.md").read_text()
    assert f"{own[1]:.2f} ±" in text and "| sign2semtext, tested on de" in text
    assert f"{parts[1]:+.2f} [" in text


def in_two_languages(folder: Path) -> None:
    """Every second clip of an evaluation becomes a German one."""
    old = read_evaluation(folder)
    records = [replace(r, language="de" if int(r.id.split("-")[1]) % 2 else "en") for r in old.records]
    scores = score_folder(records, CONFIG, old.sems)
    write_evaluation(folder, records, old.info, scores, old.curves, old.sems)


def test_a_file_that_is_no_result_is_named(folders: Path) -> None:
    with pytest.raises(DataError, match="no result yet"):
        write_report()
    path = result_path("loss", "demo")
    write_json(path, {"experiment": "teachers"})
    with pytest.raises(StoreError, match=r"demo-loss\.json: not the results of loss on demo"):
        read_results("loss", "demo", Choice())
    path.write_text(json.dumps([1]))
    with pytest.raises(StoreError, match="not the results of an experiment"):
        write_report()


def test_recall_has_wilsons_interval_and_over_seeds_their_deviation() -> None:
    def line(*recalls: float) -> Line:
        retrievals = [{"retrieval": {"recall_at_1": recall, "n": 300}} for recall in recalls]
        return Line(("demo",), "sign2sem2text", tuple(retrievals))

    z, p, n = 1.959964, 0.3, 300
    centre, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = {
        "value": 30,
        "low": 100 * (centre - half) / (1 + z**2 / n),
        "high": 100 * (centre + half) / (1 + z**2 / n),
    }
    assert line(0.3).recall() == pytest.approx(expected, abs=1e-4)
    assert line(0.2, 0.3).recall()["half_width"] == pytest.approx(10 / math.sqrt(2))
    assert Line(("demo",), "sign2text", ({"retrieval": None},)).recall()["value"] is None
