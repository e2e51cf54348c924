"""The tables in the paper's shape: what is compared, what is not, and why."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_tables import CONFIG, fake_records, fake_run

from slt.evaluations import Evaluation, Info, check_records
from slt.metrics import Score
from slt.paper_reports import paper_markdown
from slt.paper_tables import paper_content, write_paper_tables
from slt.published import Figure, Published, read_published
from slt.scoring import score_folder
from slt.tables import DatasetResults, collect

ROOT = Path(__file__).parent.parent
ROWS = {  # (system, decoder, teacher): skill of the fake system
    ("sign2text", "sltr", "multi"): 0.5,
    ("sign2sem2text", "sltr", "multi"): 0.55,
    ("sign2semtext", "sltr", "multi"): 0.8,
    ("sign2semtext", "mbart", "multi"): 0.8,
    ("sign2semtext_frames", "sltr", "multi"): 0.7,
}
CEILINGS = {("sltr", "multi"): 0.9, ("mbart", "multi"): 0.97}


def evaluation(dataset: str, skill: float, decoder: str, teacher: str, system: str | None) -> Evaluation:
    records = fake_records(skill, conditions=False)
    name = f"{dataset}-{system}-{decoder}-{teacher}" if system else f"{dataset}-{teacher}-{decoder}"
    if system is None:
        records = [dataclasses.replace(record, condition="oracle_sem") for record in records]
    info = Info(
        dataset=dataset,
        teacher=teacher,
        decoder=decoder,
        provenance={"gloss_free": True},
        training={"steps": 1, "plateaued": True},
        row=name if system else None,
        system=system,
        seed=1 if system else None,
    )
    return Evaluation(name, info, check_records(records, name), score_folder(records, CONFIG), [], None)


@pytest.fixture(scope="module")
def result() -> DatasetResults:
    rows = [evaluation("phoenix14t", skill, d, t, s) for (s, d, t), skill in ROWS.items()]
    ceilings = [evaluation("phoenix14t", skill, d, t, None) for (d, t), skill in CEILINGS.items()]
    return DatasetResults("phoenix14t", {e.name: e for e in rows}, {e.name: e for e in ceilings})


def params(dataset: str = "phoenix14t", adapter: str = "phoenix14t") -> dict[str, Any]:
    section = {
        "corpus": {"adapter": adapter},
        "systems": dict.fromkeys(["sign2text", "sign2sem2text", "sign2semtext", "sign2semtext_frames"]),
        "decoders": dict.fromkeys(["sltr", "mbart"]),
        "teachers": {
            "multi": {"model": "hub:sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2@86741b4e3f5c"},
            "e5": {"model": "raw:models/multilingual-e5-small-de-en"},
        },
    }
    return {"run": {"datasets": [dataset]}, dataset: section}


@pytest.fixture(scope="module")
def published() -> Published:
    """What is shipped, but for a corpus of as many clips as the fake evaluations have."""
    shipped = read_published()
    grid = {name: dataclasses.replace(grid, clips=(60, 60)) for name, grid in shipped.grid.items()}
    return dataclasses.replace(shipped, grid=grid)


def cells(content: dict[str, Any], part: str = "table") -> dict[tuple[str, str, str | None], dict[str, Any]]:
    return {(row["system"], row["decoder"], row["teacher"]): row for row in content[part]}


def test_every_row_of_the_paper_is_there_or_says_why_not(result: DatasetResults, published: Published) -> None:
    found = cells(paper_content("phoenix14t", result, params(), published))
    why = {key: row["not_run"] for key, row in found.items() if row["not_run"]}
    glosses = why["sign2gloss2text", "sltr", None]
    assert glosses.startswith("not run: phoenix14t.systems has no `sign2gloss2text`: it writes text from recognised")
    assert "the nearest is the gloss-dependent sign2glosstext" in glosses
    assert why["sign2semtext", "mbart", "mono"].startswith(
        "not run: no source names the model that the paper's teacher"
    )
    assert why["sign2sem2text", "mbart", "multi"] == "not run: run.rows has no such entry"
    assert why["sign2text", "mbart", None] == "not run: run.rows has no such entry"
    assert len(why) == 2 + 1 + 4 + 1
    row = found["sign2semtext", "sltr", "multi"]
    assert (row["row"], row["in_paper"]) == ("phoenix14t-sign2semtext-sltr-multi", True)
    assert row["scores"]["dev"]["bleu"]["value"] != row["scores"]["test"]["bleu"]["value"]
    assert row["scores"]["test"]["bleurt"]["value"] is None
    assert not found["sign2semtext_frames", "sltr", "multi"]["in_paper"]
    ceilings = cells(paper_content("phoenix14t", result, params(), published), "sem2text")
    assert ceilings["sem2text", "mbart", "multi"]["scores"]["test"]["bleu"]["value"] > 80
    assert "`mono`" in ceilings["sem2text", "sltr", "mono"]["not_run"]


def test_a_named_teacher_that_params_lack_is_said_of_how2sign(published: Published) -> None:
    found = cells(paper_content("how2sign", None, params("how2sign", "how2sign"), published))
    assert found["sign2semtext", "sltr", "mono"]["not_run"] == "not run: how2sign.teachers has no `mono`"
    assert ("sign2gloss2text", "sltr", None) not in found


def test_a_corpus_that_is_not_at_hand_is_not_run(published: Published) -> None:
    content = paper_content("phoenix14t", None, params("demo", "demo"), published)
    verdicts = {row["not_run"] for part in ("table", "sem2text") for row in content[part]}
    verdicts |= {entry["verdict"] for part in ("figures", "claims") for entry in content[part]}
    assert verdicts == {"not run: `phoenix14t` is not in run.datasets (the corpus has to be had from its publisher)"}


def with_figure(published: Published, **changes: Any) -> Published:
    figure = {"corpus": "phoenix14t", "metric": "bleu", "source": "summary", "gloss": "gloss-free"} | changes
    return dataclasses.replace(published, paper=(Figure(**figure),))


def test_agrees_means_that_the_published_value_lies_in_our_interval(
    result: DatasetResults, published: Published
) -> None:
    cell = {"system": "sign2semtext", "decoder": "mbart", "teacher": "multi", "split": "test"}
    ours = Score(**result.rows["phoenix14t-sign2semtext-mbart-multi"].scores["test"]["model"]["bleu"])
    cases = [(ours.low, "agrees"), (ours.high, "agrees"), (ours.low - 0.01, "differs"), (ours.high + 0.01, "differs")]
    for value, verdict in cases:
        content = paper_content("phoenix14t", result, params(), with_figure(published, value=value, **cell))
        (figure,) = content["figures"]
        assert [(own["row"], own["split"]) for own in figure["ours"]] == [
            ("phoenix14t-sign2semtext-mbart-multi", "test")
        ]
        assert figure["verdict"] == verdict
    for low, high, verdict in ((0.0, ours.low, "agrees"), (ours.high + 0.01, 100.0, "differs")):
        content = paper_content("phoenix14t", result, params(), with_figure(published, low=low, high=high, **cell))
        assert content["figures"][0]["verdict"] == verdict


def test_a_figure_of_an_unknown_cell_is_set_beside_all_that_it_may_be_of(
    result: DatasetResults, published: Published
) -> None:
    value = result.rows["phoenix14t-sign2semtext-sltr-multi"].scores["test"]["model"]["bleu"]["high"]
    content = paper_content("phoenix14t", result, params(), with_figure(published, system="sign2semtext", value=value))
    (figure,) = content["figures"]
    assert len(figure["ours"]) == 4
    assert {own["split"] for own in figure["ours"]} == {"dev", "test"}
    agreeing = [own["verdict"] for own in figure["ours"]].count("agrees")
    assert figure["verdict"] == ("agrees" if agreeing == 4 else f"agrees with {agreeing} of the 4 that it may be of")
    content = paper_content("phoenix14t", result, params(), with_figure(published, value=10.41))
    assert content["figures"][0]["verdict"] == "not run: no source says which system it is"
    content = paper_content("phoenix14t", result, params(), with_figure(published, system="sem2text", low=30, high=31))
    assert [own["row"] for own in content["figures"][0]["ours"][::2]] == list(result.ceilings)
    assert content["figures"][0]["verdict"] == "differs"


def test_claims_are_tested_on_rows_that_differ_in_nothing_else(result: DatasetResults, published: Published) -> None:
    claims = paper_content("phoenix14t", result, params(), published)["claims"]
    found = {(c["factor"], c["metric"], c["expect"]): c for c in claims}
    multitask = found["system", "bleu", "greater"]
    (test,) = multitask["ours"]
    assert (test["left"], test["right"]) == (
        "phoenix14t-sign2semtext-sltr-multi",
        "phoenix14t-sign2sem2text-sltr-multi",
    )
    assert test["low"] > 0
    assert multitask["verdict"] == "agrees"
    assert found["system", "bleu", "range"]["verdict"] == "differs"  # the fake systems lie far more than 4 BLEU apart
    assert found["decoder", "bleu", "greater"]["ours"][0]["left"] == "phoenix14t-multi-mbart"
    assert found["decoder", "bleu", "greater"]["verdict"] == "agrees"
    assert "`mono`" in found["teacher", "bleu", "same"]["verdict"]
    assert found["system", "bleurt", "greater"]["verdict"] == "not run: there is no paired test of BLEURT"


@pytest.mark.parametrize(
    ("adapter", "clips", "why"),
    [
        ("phoenix14t", None, "60 test clips, where PHOENIX-2014T has 642"),
        ("rehearsal", (60, 60), "the section `phoenix14t` is read by the adapter `rehearsal`"),
    ],
)
def test_what_is_not_the_corpus_is_never_compared(
    result: DatasetResults, adapter: str, clips: tuple[int, int] | None, why: str
) -> None:
    shipped = read_published()
    if clips:
        grid = {**shipped.grid, "phoenix14t": dataclasses.replace(shipped.grid["phoenix14t"], clips=clips)}
        shipped = dataclasses.replace(shipped, grid=grid)
    content = paper_content("phoenix14t", result, params(adapter=adapter), shipped)
    assert why in content["not_compared"]
    assert not any(entry["ours"] for part in ("figures", "claims") for entry in content[part])
    assert all(why in entry["verdict"] for entry in content["figures"])
    assert not any(row["in_paper"] and row["row"] for row in content["table"])
    assert {row["row"] for row in content["table"] if row["row"]} == set(
        result.rows
    )  # what was run is shown all the same
    assert why in paper_markdown(content)


def test_a_rehearsal_with_all_clips_under_the_corpus_name_is_never_compared(
    result: DatasetResults, published: Published
) -> None:
    def drawn(evaluation: Evaluation) -> Evaluation:
        provenance = {**evaluation.info.provenance, "corpus_warning": "a rehearsal: drawn, not filmed"}
        return dataclasses.replace(evaluation, info=dataclasses.replace(evaluation.info, provenance=provenance))

    rehearsal = DatasetResults(
        "phoenix14t",
        {name: drawn(row) for name, row in result.rows.items()},
        {name: drawn(ceiling) for name, ceiling in result.ceilings.items()},
    )
    content = paper_content("phoenix14t", rehearsal, params(), published)
    assert content["not_compared"] == "a rehearsal: drawn, not filmed"
    assert not any(entry["ours"] for part in ("figures", "claims") for entry in content[part])


def test_the_released_features_of_the_corpus_are_compared(result: DatasetResults, published: Published) -> None:
    content = paper_content("phoenix14t", result, params(adapter="phoenix14t_pami0"), published)
    assert content["not_compared"] is None
    assert any(entry["ours"] for entry in content["figures"])


def test_a_decoder_or_teacher_that_the_paper_does_not_have_is_shown_and_not_compared(published: Published) -> None:
    others = [
        evaluation("phoenix14t", 0.6, "whisper", "multi", None),
        evaluation("phoenix14t", 0.7, "sltr", "e5", None),
        evaluation("phoenix14t", 0.6, "sltr", "multi", None),
    ]
    rows = [evaluation("phoenix14t", 0.6, "sltr", "e5", system) for system in ("sign2text", "sign2semtext")]
    both = DatasetResults("phoenix14t", {row.name: row for row in rows}, {other.name: other for other in others})

    content = paper_content("phoenix14t", both, params(), published)
    assert {beside["row"] for entry in content["figures"] for beside in entry["ours"]} == {"phoenix14t-multi-sltr"}
    assert {row["row"]: row["in_paper"] for row in content["table"] if row["row"]} == {
        "phoenix14t-sign2text-sltr-e5": True,  # which has no use for its teacher
        "phoenix14t-sign2semtext-sltr-e5": False,
    }

    renamed = params()
    renamed["phoenix14t"]["teachers"]["multi"] = {"model": "hub:sentence-transformers/LaBSE@1"}
    content = paper_content("phoenix14t", both, renamed, published)
    assert not any(entry["ours"] for entry in content["figures"])


@pytest.mark.parametrize("name", ["phoenix14t_rehearsal", "how2sign_sample", "demo"])
def test_a_section_of_another_name_has_its_own_rows_and_nothing_published(
    result: DatasetResults, published: Published, name: str
) -> None:
    other = DatasetResults(name, result.rows, result.ceilings)
    content = paper_content(name, other, params(name, "phoenix14t"), published)
    assert {row["row"] for row in content["table"]} == set(result.rows)
    assert not {"figures", "claims", "prior"} & set(content)
    assert f"which `{name}` is not" in paper_markdown(content)


def test_the_report_shows_every_published_figure_and_every_score(result: DatasetResults, published: Published) -> None:
    content = paper_content("phoenix14t", result, params(), published)
    report = paper_markdown(content)
    lines = report.splitlines()
    for figure in (*published.of("phoenix14t", "paper"), *published.of("phoenix14t", "prior")):
        shown = f"{figure.value:.2f}" if figure.value is not None else f"{figure.low:g} to {figure.high:g}"
        assert any((figure.label or figure.system) in line and shown in line for line in lines), figure
    for row in (*result.rows.values(), *result.ceilings.values()):
        condition = "model" if row.info.row else "oracle_sem"
        for split in ("dev", "test"):
            score = row.scores[split][condition]["bleu"]
            shown = f"{score['value']:.2f} ± {score['half_width']:.2f}"
            assert any(row.name in line and shown in line for line in lines)
    assert "no BLEURT checkpoint given" in report
    blocks = [block.splitlines() for block in report.split("\n\n") if block.startswith("|")]
    assert all(len({len(line) for line in block}) == 1 for block in blocks), "columns must be aligned"
    assert "test gloss WER" not in report


def with_provenance(result: DatasetResults, **changes: Any) -> DatasetResults:
    """The same with other provenance of all rows, whose ceilings have no features."""

    def changed(row: Evaluation) -> Evaluation:
        provenance = {**row.info.provenance, **changes}
        return dataclasses.replace(row, info=dataclasses.replace(row.info, provenance=provenance))

    return dataclasses.replace(result, rows={name: changed(row) for name, row in result.rows.items()})


def test_the_tables_name_features_that_are_not_the_official_ones(result: DatasetResults, published: Published) -> None:
    files = [{"split": s, "artefact": "official"} for s in ("train", "dev", "test")]
    seen = {"gloss_free": False, "backbone": "precomputed", "weights": "pami0"}
    for artefact, named in (("official", False), ("the mirror of someone", True)):
        files[1]["artefact"] = artefact
        source = {"gloss_free": False, "files": files}
        content = paper_content("phoenix14t", with_provenance(result, **seen, source=source), params(), published)
        assert ("]: its features are of dev: the mirror of someone" in paper_markdown(content)) == named
        assert ("its features are of" in paper_markdown(content)) == named


def test_a_row_whose_features_saw_gloss_says_so_beside_a_gloss_free_figure(
    result: DatasetResults, published: Published
) -> None:
    seen = with_provenance(result, gloss_free=False, backbone="precomputed", weights="pami0")
    report = paper_markdown(paper_content("phoenix14t", seen, params(), published))
    (line,) = [line for line in report.splitlines() if "24.00" in line and "gloss-free" in line]
    (number,) = [line[2:].split("]")[0] for line in report.splitlines() if "its features come from pami0" in line]
    assert [line.count(f"[^{number}], {split}: ") for split in ("dev", "test")] == [2, 2]  # all four that are ours
    free = paper_markdown(paper_content("phoenix14t", result, params(), published))
    assert "-sltr-multi, test: " in free


def test_the_gloss_dependent_yardstick_is_shown_and_marked_and_never_compared(published: Published) -> None:
    row = evaluation("phoenix14t", 0.6, "sltr", "multi", "sign2glosstext")
    alone = with_provenance(DatasetResults("phoenix14t", {row.name: row}, {}), gloss_supervision=True)
    figure = with_figure(published, value=10.0, system="sign2glosstext")
    content = paper_content("phoenix14t", alone, params(), figure)
    assert cells(content)["sign2glosstext", "sltr", "multi"]["in_paper"] is False
    assert cells(content)["sign2gloss2text", "sltr", None]["row"] is None
    assert not content["figures"][0]["ours"]
    report = paper_markdown(content)
    assert "gloss-dependent: its own training reads the glosses" in report and "no row of the paper" in report


def test_systems_are_not_run_without_videos_and_their_ceilings_are(
    result: DatasetResults, published: Published
) -> None:
    without = params()
    without["phoenix14t"]["corpus"]["options"] = {"text_only": True}
    ceilings = DatasetResults("phoenix14t", {}, result.ceilings)
    content = paper_content("phoenix14t", ceilings, without, published)
    why = "not run: phoenix14t.corpus.options.text_only is true, and no row is trained without videos: set it to false"
    assert {row["not_run"] for row in content["table"]} == {why}
    assert cells(content, "sem2text")["sem2text", "sltr", "multi"]["row"] == "phoenix14t-multi-sltr"
    found = {figure["system"]: figure["verdict"] for figure in content["figures"]}
    assert found == {"sign2semtext": why, "sem2text": "differs"}


def test_gloss_error_rates_of_cleaned_glosses_are_said_not_to_be_comparable(
    result: DatasetResults, published: Published
) -> None:
    report = paper_markdown(paper_content("phoenix14t", result, params(), published))
    (number,) = [line[2:].split("]")[0] for line in report.splitlines() if "cleans first" in line]
    assert f"| gloss WER[^{number}] |" in report


def test_a_row_with_glosses_brings_its_own_column(result: DatasetResults, published: Published) -> None:
    name = "phoenix14t-sign2text-sltr-multi"
    row = result.rows[name]
    wer = Score("wer", 41.5, 41.4, 40.0, 43.0, 1.5, 60, "sclite").as_dict()
    scores = {**row.scores, "test": {"model": {**row.scores["test"]["model"], "wer": wer}}}
    rows = {**result.rows, name: dataclasses.replace(row, scores=scores)}
    report = paper_markdown(paper_content("phoenix14t", dataclasses.replace(result, rows=rows), params(), published))
    assert "test gloss WER" in report
    assert any(name in line and "41.50 ± 1.50" in line for line in report.splitlines())


def test_the_stage_writes_a_table_for_each_dataset_and_each_published_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = fake_run(tmp_path)
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text())
    for folder in (Path("one"), Path("two")):
        write_paper_tables(collect(run), {**shipped, "run": {"datasets": list(run.datasets)}}, folder)
    names = {f"paper_{name}.{suffix}" for name in ("demo", "phoenix14t", "how2sign") for suffix in ("json", "md")}
    assert {path.name for path in Path("one").iterdir()} == names
    for name in names:
        assert (Path("one") / name).read_bytes() == (Path("two") / name).read_bytes()
    content = json.loads(Path("one/paper_demo.json").read_text())
    assert {row["row"] for row in content["table"]} == set(run.rows)
