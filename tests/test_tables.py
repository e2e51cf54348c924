"""Evaluation folders, and the tables and plots made of them."""

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from slt import paths
from slt.bootstrap import draw, paired_test
from slt.config.evaluate import EvaluateConfig
from slt.config.run import Row, RunConfig, Sem2textRun
from slt.diagnostics import FUNCTION_WORDS
from slt.errors import DataError, StoreError
from slt.evaluations import (
    Info,
    Point,
    Record,
    Sems,
    check_clips,
    corpus_warning,
    read_evaluation,
    same_clips,
    write_evaluation,
)
from slt.manifest import Clip
from slt.metrics import BLEU_13A
from slt.plots import bleu_by_length, bleu_length_figure, write_plots
from slt.reports import dataset_markdown
from slt.scoring import score_folder
from slt.store import write_json
from slt.tables import between_systems, collect, dataset_content, write_tables

CONFIG = EvaluateConfig(beam=4, length_penalty=1.0, max_tokens=30, batch=8, resamples=200)
TEXT = "the rain will come from north and south tonight with strong wind over hills not sun tomorrow snow falls"
WORDS = TEXT.split()
ROWS = {"a-text": (0.6, None), "b-pipeline": (0.5, "a-text"), "c-multitask": (0.8, "a-text")}


def fake_records(skill: float, n: int = 60, several: bool = False, conditions: bool = True) -> list[Record]:
    """A system that keeps each word with probability ``skill``, on the same clips for every skill."""
    corpus, noise = random.Random(7), random.Random(skill)
    records = []
    for split in ("dev", "test"):
        for i in range(n):
            reference = " ".join(corpus.choices(WORDS, k=corpus.randint(3, 20))) + " ."
            common = {
                "id": f"{split}-{i:03d}",
                "split": split,
                "reference": reference,
                "references": (reference.replace("rain", "snow"),) if several and i % 2 else (),
                "signer": f"s{i % 4}",
                "signer_in_train": i % 4 != 3,
                "reference_in_train": i % 10 == 0,
            }
            kept = {"model": skill, "shuffled_sem": 0.1, "constant": 0.0, "oracle_sem": min(1.0, skill + 0.1)}
            for condition, share in kept.items():
                if condition == "model" or (conditions and split == "test"):
                    words = [word if noise.random() < share else noise.choice(WORDS) for word in reference.split()]
                    records.append(Record(condition=condition, hypothesis=" ".join(words), **common))
    return records


def fake_sems(records: list[Record], skill: float, seed: int = 3) -> Sems:
    ids = tuple(sorted({record.id for record in records if record.split == "test"}))
    random_ = np.random.default_rng(seed)
    true = random_.normal(size=(len(ids), 16))
    return Sems(ids, skill * true + (1 - skill) * random_.normal(size=true.shape), true)


def fake_run(root: Path, several: bool = False) -> RunConfig:
    """Three rows and a ceiling as evaluation folders below ``root``, which must be the current directory."""
    provenance = {"gloss_free": True, "backbone": "efficientnet", "weights": "sha256:0"}
    for number, (name, (skill, baseline)) in enumerate(ROWS.items()):
        records = fake_records(skill, several=several)
        sems = fake_sems(records, skill) if number else None
        rise = {"difference": 0.5 * number - 0.4, "low": 0.5 * number - 0.9, "high": 0.5 * number + 0.1}
        training = {"steps": 600, "best_step": 500, "plateaued": number != 2, "last_quarter": rise}
        info = Info(
            dataset="demo",
            teacher="minilm",
            decoder="sltr",
            provenance={**provenance, "gloss_free": number != 1},
            training=training,
            row=name,
            system=name[2:],
            seed=1,
            baseline=baseline,
        )
        curves = [Point(step, "dev_bleu", skill * 40 * (1 - 0.99**step)) for step in range(50, 601, 50)]
        scores = score_folder(records, CONFIG, sems, language="en")
        write_evaluation(root / paths.evaluation_dir(name), records, info, scores, curves, sems)
    records = [
        dataclasses.replace(record, condition="oracle_sem")
        for record in fake_records(0.9, several=several, conditions=False)
    ]
    info = Info("demo", "minilm", "sltr", {"gloss_free": True}, {"steps": 1500, "plateaued": True})
    ceiling = root / paths.ceiling_dir("demo", "minilm", "sltr")
    write_evaluation(ceiling, records, info, score_folder(records, CONFIG), [])
    rows = {name: Row("demo", name[2:], "minilm", "sltr", 1, baseline) for name, (_, baseline) in ROWS.items()}
    return RunConfig(("demo",), {}, {"demo-minilm-sltr": Sem2textRun("demo", "minilm", "sltr")}, rows)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    monkeypatch.chdir(tmp_path)
    return fake_run(tmp_path)


def test_a_folder_reads_back_as_written(run: RunConfig) -> None:
    evaluation = read_evaluation(paths.evaluation_dir("c-multitask"))
    assert sorted(evaluation.records, key=str) == sorted(fake_records(0.8), key=str)
    assert (evaluation.name, evaluation.info.baseline) == ("c-multitask", "a-text")
    assert evaluation.curves[0] == Point(50, "dev_bleu", evaluation.curves[0].value)
    assert evaluation.sems is not None
    assert np.array_equal(evaluation.sems.true, fake_sems(fake_records(0.8), 0.8).true.astype(np.float32))
    assert read_evaluation(paths.evaluation_dir("a-text")).sems is None
    ceiling = read_evaluation(paths.ceiling_dir("demo", "minilm", "sltr"))
    assert (ceiling.name, ceiling.info.row) == ("demo-minilm-sltr", None)


def test_a_line_separator_in_a_hypothesis_survives(tmp_path: Path) -> None:
    record = dataclasses.replace(fake_records(0.5)[0], hypothesis="a\u2028b\x85c\nd")
    info = Info("demo", "minilm", "sltr", {"gloss_free": True}, {"steps": 1, "plateaued": True}, row="x")
    write_evaluation(tmp_path, [record], info, {}, [])
    assert read_evaluation(tmp_path).records == [record]


def test_hypotheses_changed_after_scoring_are_refused(run: RunConfig) -> None:
    path = paths.evaluation_dir("a-text") / "hypotheses.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("rain", "sun", 1), encoding="utf-8")
    with pytest.raises(StoreError, match=r"a-text/hypotheses\.jsonl: changed since it was scored"):
        collect(run)


def test_an_unevaluated_row_is_named(run: RunConfig) -> None:
    rows = {**run.rows, "d-new": dataclasses.replace(run.rows["a-text"])}
    with pytest.raises(DataError, match=r"rows/d-new/info\.json: no such file"):
        collect(dataclasses.replace(run, rows=rows))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda records: records[1:], r"dev: .*lacks 1 of them: dev-000"),
        (lambda records: [*records, records[0]], "dev: clip dev-000 has two `model` hypotheses"),
        (
            lambda records: [dataclasses.replace(r, id="dev-001") if r.id == "test-001" else r for r in records],
            "clip dev-001 is in dev and in test",
        ),
        (lambda records: [dataclasses.replace(records[0], reference="other"), *records[1:]], "'other'"),
        (lambda records: [dataclasses.replace(records[0], split="train"), *records[1:]], "split `train`"),
        (lambda records: [], "no hypothesis"),
    ],
)
def test_clips_that_do_not_match_the_manifest_are_refused(change, message: str) -> None:
    records = fake_records(0.5)
    clips = [
        Clip(r.id, r.split, "en", "mis", "v.mp4", r.reference, references=r.references)
        for r in records
        if r.condition == "model"
    ]
    check_clips(records, clips, "a-text")
    with pytest.raises(DataError, match=message) as error:
        check_clips(change(records), clips, "a-text")
    assert "a-text" in str(error.value)


def test_a_control_that_misses_a_clip_is_refused(tmp_path: Path) -> None:
    records = [r for r in fake_records(0.5) if (r.condition, r.id) != ("constant", "test-007")]
    with pytest.raises(DataError, match=r"row \(constant\) lacks 1 of them: test-007"):
        score_folder_of(records, "row", tmp_path)


def score_folder_of(records: list[Record], row: str, folder: Path, resamples: int = 200) -> None:
    info = Info("demo", "minilm", "sltr", {"gloss_free": True}, {"steps": 1, "plateaued": True}, row=row)
    config = dataclasses.replace(CONFIG, resamples=resamples)
    scores = score_folder(records, config) if len({r.condition for r in records}) == 1 else {}
    write_evaluation(folder, records, info, scores, [])


def test_rows_on_different_clips_or_settings_are_not_compared(run: RunConfig) -> None:
    folder = paths.evaluation_dir("b-pipeline")
    records = fake_records(0.5, conditions=False)
    for path in folder.iterdir():
        path.unlink()
    score_folder_of([r for r in records if r.id != "test-003"], "b-pipeline", folder)
    with pytest.raises(DataError, match=r"test: a-text and b-pipeline .* b-pipeline lacks 1 of them: test-003"):
        collect(run)
    score_folder_of([dataclasses.replace(r, reference=r.reference + "x") for r in records], "b-pipeline", folder)
    with pytest.raises(DataError, match="a-text and b-pipeline have different references for clip"):
        collect(run)
    score_folder_of(records, "b-pipeline", folder, resamples=300)
    with pytest.raises(DataError, match="a-text and b-pipeline have different interval settings"):
        collect(run)
    score_folder_of(records, "another", folder)
    with pytest.raises(DataError, match="holds row `another`"):
        collect(run)


def test_same_clips_names_both_systems() -> None:
    records = fake_records(0.5, conditions=False)
    with pytest.raises(DataError, match="ours and theirs do not hold the same clips; ours lacks 2 of them: dev-0"):
        same_clips(records[2:], records, "ours", "theirs", "dev")


def test_sems_of_other_clips_are_refused(tmp_path: Path) -> None:
    records = fake_records(0.5, conditions=False)
    sems = fake_sems(records, 0.5)
    info = Info("demo", "minilm", "sltr", {"gloss_free": True}, {"steps": 1, "plateaued": True}, row="x")
    other = Sems((*sems.ids[1:], "dev-000"), sems.predicted, sems.true)
    with pytest.raises(DataError, match=r"lacks 1 of them: test-000"):
        write_evaluation(tmp_path, records, info, {}, [], other)
    with pytest.raises(DataError, match="test-002 is not finite"):
        Sems(sems.ids, np.where(np.arange(60)[:, None] == 2, np.nan, sems.predicted), sems.true)


def test_summary_holds_headline_figures_only(run: RunConfig) -> None:
    write_tables(collect(run), Path("metrics"))
    summary = json.loads(Path("metrics/summary.json").read_text())
    assert set(summary) == {*ROWS, "ceiling"}
    assert set(summary["a-text"]) == {"bleu", "chrf"}
    assert set(summary["b-pipeline"]) == {"bleu", "chrf", "diff", "p"}
    content = json.loads(Path("metrics/demo.json").read_text())["rows"]["b-pipeline"]
    assert summary["b-pipeline"]["bleu"] == round(content["scores"]["test"]["model"]["bleu"]["value"], 2)
    difference = summary["b-pipeline"]["bleu"] - summary["a-text"]["bleu"]
    assert summary["b-pipeline"]["diff"] == pytest.approx(difference, abs=0.011)
    assert summary["ceiling"]["demo-minilm-sltr"] > summary["a-text"]["bleu"]


def test_the_report_says_what_a_reader_must_know(run: RunConfig) -> None:
    write_tables(collect(run), Path("metrics"))
    report = Path("metrics/demo.md").read_text(encoding="utf-8")
    rows = {name: next(line for line in report.splitlines() if line.startswith(f"| {name}")) for name in ROWS}
    score = read_evaluation(paths.evaluation_dir("a-text")).scores["test"]["model"]["bleu"]
    assert f"{score['value']:.2f} ± {score['half_width']:.2f}" in rows["a-text"]
    assert "–[^1]" in rows["a-text"]  # neither several references nor a BLEURT checkpoint
    assert "[^1]: one reference per clip" in report
    assert "no BLEURT checkpoint given" in report
    assert "[^" in rows["b-pipeline"].split("|")[1]
    assert "not gloss-free: its features come from efficientnet" in report
    assert "[^" not in rows["c-multitask"].split("|")[1]
    trained = next(block for block in report.split("\n\n") if "last quarter |" in block).splitlines()
    assert [line.rstrip(" |").endswith("+0.10 [-0.40, +0.60]") for line in trained if "b-pipeline" in line] == [True]
    assert ["+0.60 [+0.10, +1.10][^" in line for line in trained if "c-multitask" in line] == [True]
    assert "dev BLEU still rose in the last quarter of the steps, by more than chance" in report
    for signature in ("tok:13a", "tok:none", "nc:6", "bs:200|seed:12345"):
        assert signature in report
    for line in report.splitlines():
        assert line == line.rstrip()
    blocks = [block.splitlines() for block in report.split("\n\n") if block.startswith("|")]
    assert len(blocks) >= 9
    assert all(len({len(line) for line in block}) == 1 for block in blocks), "columns must be aligned"


def test_a_pretrained_decoder_is_named_with_its_weights(run: RunConfig) -> None:
    path = paths.evaluation_dir("c-multitask") / "info.json"
    info = json.loads(path.read_text())
    info["provenance"]["decoder_source"] = {"pretrained": "hub:some/mbart@0123", "weights_sha256": "ab" * 32}
    path.write_text(json.dumps(info))
    write_tables(collect(run), Path("metrics"))
    report = Path("metrics/demo.md").read_text(encoding="utf-8")
    note = next(line for line in report.splitlines() if "starts from the decoder of hub:some/mbart@0123" in line)
    assert "weights sha256 abababababab" in note
    mark = note.split(":")[0]
    marked = [line for line in report.splitlines() if f"sltr{mark}" in line]
    assert len(marked) == 1 and marked[0].startswith("| c-multitask")


def test_a_row_is_tested_against_its_own_controls(run: RunConfig) -> None:
    (result,) = collect(run)
    content = dataset_content(result)
    controls = content["rows"]["c-multitask"]["controls"]
    assert list(controls) == ["shuffled_sem", "constant"], "only what was evaluated, and never the oracle"
    records = result.rows["c-multitask"].select("test", "model"), result.rows["c-multitask"].select("test", "constant")
    system, baseline = (
        BLEU_13A.statistics([r.hypothesis for r in part], [[r.reference] for r in part]) for part in records
    )
    drawn = draw(60, CONFIG.resamples, CONFIG.seed, CONFIG.confidence)
    assert controls["constant"] == paired_test(system, baseline, drawn).as_dict()
    difference, p = controls["constant"]["difference"], controls["constant"]["p_value"]
    assert difference > 5 and p < 0.05
    row = next(
        line for line in dataset_markdown(content).splitlines() if "c-multitask" in line and "| constant" in line
    )
    assert f"{difference:+.2f} [" in row and f"{p:.3f}" in row


@pytest.mark.parametrize(
    ("notes", "kept"), [({"warning": "drawn, not filmed"}, {"corpus_warning": "drawn, not filmed"}), ({}, {})]
)
def test_a_data_reports_warning_goes_with_the_evaluation(
    tmp_path: Path, notes: dict[str, str], kept: dict[str, str]
) -> None:
    write_json(tmp_path / "report.json", {"splits": {}, "notes": notes})
    assert corpus_warning(tmp_path) == kept


def test_systems_with_the_same_baseline_are_tested_against_each_other(run: RunConfig) -> None:
    (result,) = collect(run)
    content = dataset_content(result)
    (test,) = content["between_systems"]
    assert (test["row"], test["other"]) == ("c-multitask", "b-pipeline"), "a-text is the baseline of both"
    one, other = (
        BLEU_13A.statistics([r.hypothesis for r in records], [[r.reference] for r in records])
        for records in (result.rows[name].select("test", "model") for name in ("c-multitask", "b-pipeline"))
    )
    drawn = draw(60, CONFIG.resamples, CONFIG.seed, CONFIG.confidence)
    assert test["bleu"] == paired_test(one, other, drawn).as_dict()
    table = dataset_markdown(content).partition("Between systems of the same")[2].partition("What was trained")[0]
    assert f"| {test['bleu']['difference']:+.2f} [" in table and "chrF" in table

    info = dataclasses.replace(result.rows["c-multitask"].info, seed=7)
    rows = {**result.rows, "c-multitask": dataclasses.replace(result.rows["c-multitask"], info=info)}
    assert between_systems(dataclasses.replace(result, rows=rows)) == [], "another seed is no other system"


def test_several_references_have_their_own_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (result,) = collect(fake_run(tmp_path, several=True))
    assert set(result.comparisons["b-pipeline"]) == {"baseline", "bleu", "bleu_multi", "chrf"}


def test_tables_and_plots_are_the_same_bytes_again(run: RunConfig) -> None:
    for folder in (Path("one"), Path("two")):
        results = collect(run)
        write_tables(results, folder)
        write_plots(results, folder / "plots")
    files = sorted(path.relative_to("one") for path in Path("one").rglob("*") if path.is_file())
    plots = {path.name for path in files if path.parent.name == "plots"}
    pictures = {"training.png", "bleu_by_length.png", "bleu_intervals.png", "sem_map_demo.png"}
    assert plots == pictures | {"training.csv", "bleu_by_length.csv"}
    for path in files:
        assert (Path("one") / path).read_bytes() == (Path("two") / path).read_bytes(), path


def test_a_removed_row_leaves_tables_and_plots(run: RunConfig) -> None:
    write_plots(collect(run), Path("metrics/plots"))
    rows = {name: row for name, row in run.rows.items() if name == "a-text"}  # its folder has no SEMs
    results = collect(dataclasses.replace(run, rows=rows))
    write_tables(results, Path("metrics"))
    write_plots(results, Path("metrics/plots"))
    assert set(json.loads(Path("metrics/summary.json").read_text())) == {"a-text", "ceiling"}
    assert "b-pipeline" not in Path("metrics/plots/training.csv").read_text()
    assert not Path("metrics/plots/sem_map_demo.png").exists()


def test_a_handful_of_clips_has_a_point_without_an_interval(run: RunConfig) -> None:
    results = collect(run)
    for row in results[0].rows.values():
        row.scores["diagnostics"]["test"]["bleu_by_length"]["8–11"]["bleu"]["n"] = 9
    for _, _, words, n, bleu, low, high in bleu_by_length(results):
        assert bleu and (low, high) == ("", "") if words == "8–11" else float(low) < float(high) and n >= 10
    (panel,) = bleu_length_figure(results).axes
    for points, _, (bars,) in panel.containers:
        assert len(points.get_xdata()) == 4
        assert sum(np.isfinite(segment).all() and len(segment) == 2 for segment in bars.get_segments()) == 3


def test_a_dataset_without_rows_has_tables_too(run: RunConfig) -> None:
    results = collect(RunConfig(("demo", "empty"), {}, run.sem2text, {}))
    write_tables(results, Path("metrics"))
    write_plots(results, Path("metrics/plots"))
    assert "## Ceilings" in Path("metrics/demo.md").read_text(encoding="utf-8")
    assert "No row" in Path("metrics/empty.md").read_text(encoding="utf-8")
    assert Path("metrics/plots/training.csv").read_text() == "dataset,row,step,dev_bleu\n"


# --- several languages ---


def test_a_language_is_kept_where_there_are_several_and_leaves_no_trace_where_there_is_one(tmp_path: Path) -> None:
    info = Info("demo", "minilm", "sltr", {"gloss_free": True}, {"steps": 1, "plateaued": True}, row="x")
    one = fake_records(0.5)[:1]
    for name, language in (("one", None), ("several", "de")):
        records = [dataclasses.replace(record, language=language) for record in one]
        write_evaluation(tmp_path / name, records, info, {}, [])
        assert read_evaluation(tmp_path / name).records == records
        written = (tmp_path / name / "hypotheses.jsonl").read_text()
        assert ('"language":"de"' in written) == (language is not None)
        assert written.count('"language"') == (language is not None)


def test_scores_of_a_language_are_sacrebleus_of_its_clips_alone() -> None:
    records = [
        dataclasses.replace(record, language="de" if int(record.id[-1]) % 3 else "en") for record in fake_records(0.7)
    ]
    sems = fake_sems(records, 0.7)
    found = score_folder(records, CONFIG, sems)["diagnostics"]["test"]["languages"]
    assert list(found) == ["de", "en"]
    for language, part in found.items():
        own = [r for r in records if (r.split, r.condition, r.language) == ("test", "model", language)]
        texts = [r.hypothesis for r in own], [[r.reference for r in own]]
        assert part["n"] == len(own) == part["retrieval"]["n"]
        assert part["bleu"]["value"] == pytest.approx(BLEU().corpus_score(*texts).score, abs=1e-5)
        assert part["chrf"]["value"] == pytest.approx(CHRF().corpus_score(*texts).score, abs=1e-5)
        assert part["retrieval"]["candidates"] == len({r.reference for r in own})
        assert (part["bleu_content"]["value"] is None) == (language not in FUNCTION_WORDS)
    assert "languages" not in score_folder(fake_records(0.7), CONFIG)["diagnostics"]["test"]


def test_the_report_holds_each_languages_scores(run: RunConfig) -> None:
    folder = paths.evaluation_dir("b-pipeline")
    old = read_evaluation(folder)
    records = [dataclasses.replace(r, language="de" if int(r.id[-1]) % 2 else "en") for r in old.records]
    write_evaluation(folder, records, old.info, score_folder(records, CONFIG, old.sems), old.curves, old.sems)
    text = dataset_markdown(dataset_content(collect(run)[0]))
    assert text.count("| by language") == 1
    row = next(line for line in text.splitlines() if line.startswith("| b-pipeline") and "| de " in line)
    assert "30" in row and "%" in row


def test_a_corpus_warning_stands_above_the_scores(run: RunConfig) -> None:
    path = paths.evaluation_dir("c-multitask") / "info.json"
    info = json.loads(path.read_text())
    info["provenance"]["corpus_warning"] = "train, dev and test hold the same clips"
    path.write_text(json.dumps(info))
    write_tables(collect(run), Path("metrics"))
    report = Path("metrics/demo.md").read_text(encoding="utf-8")
    assert "**Train, dev and test hold the same clips.**" in report.partition("## Systems")[0]
