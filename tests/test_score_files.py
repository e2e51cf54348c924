"""``slt score``: the figures of sacrebleu's own command line on anyone's files, and plain words for bad ones."""

import csv
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from test_metrics import corrupted, sentences
from test_tables import fake_records

from slt.cli import main
from slt.config.evaluate import EvaluateConfig, IntervalConfig
from slt.errors import DataError
from slt.evaluations import Info, write_evaluation
from slt.score_files import Selection, read_texts, report, score_files
from slt.scoring import score_folder

SHARED = Path(__file__).parents[2] / "shared" / "data"
CONFIG = IntervalConfig()
TRICKY = {
    3: "Wind\u2028aus West .",  # a line separator for str.splitlines, none for sacrebleu
    4: "Wind\u2028",
    5: "Regen \r",
    6: "Regen\rim Norden .",
    7: "10\u00a0Grad \u00a0\u3000",
    8: "a\x0bb\x0cc\x1cd\x85e .",
    9: "",
    10: " \t ",
    11: "  nachts   schneit's (nicht) &quot;&amp; ",
}


def write(path: Path, lines: list[str], end: str = "\n") -> Path:
    path.write_bytes(("\n".join(lines) + end).encode("utf-8"))
    return path


def sacrebleu(*arguments: object) -> list[dict]:
    command = [sys.executable, "-m", "sacrebleu", *map(str, arguments), "-ci", "-w", "6"]
    printed = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return printed if isinstance(printed, list) else [printed]


def assert_sacrebleus(ours: dict, printed: dict) -> None:
    """The point score to the last digit that the tool can print, interval and mean to two digits."""
    assert f"{ours['value']:.6f}" == f"{printed['score']:.6f}"
    assert f"{ours['half_width']:.2f}" == f"{printed['confidence_var']:.2f}"
    assert f"{ours['mean']:.2f}" == f"{printed['confidence_mean']:.2f}"
    assert ours["half_width"] == pytest.approx(printed["confidence_var"], abs=2e-4)  # float32 there
    assert ours["signature"] == printed["signature"]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A system, a baseline and three reference files of plain lines, among them lines that readers disagree about."""
    folder = tmp_path_factory.mktemp("plain")
    streams = [sentences(160, seed) for seed in (1, 2, 3)]
    hypotheses, baseline = corrupted(streams[0], 0.7, 4), corrupted(streams[0], 0.6, 5)
    for line, text in TRICKY.items():
        hypotheses[line] = text
        streams[1][line] = (text or "x") + "\u2028" + streams[1][line] + "\u2028\r"
    named = {"hyp": hypotheses, "base": baseline, "a": streams[0], "b": streams[1], "c": streams[2]}
    paths = {name: write(folder / f"{name}.txt", lines) for name, lines in named.items()}
    write(paths["c"], streams[2], end="")  # the last line of a file need not end
    return paths


@pytest.mark.parametrize("references", [("a",), ("b",), ("a", "b"), ("b", "c", "a")])
def test_figures_are_those_of_the_command_line(generated: dict[str, Path], references: tuple[str, ...]) -> None:
    refs = [generated[name] for name in references]
    scores = score_files(generated["hyp"], refs, config=CONFIG)["scores"]
    bleu, chrf = sacrebleu(*refs, "-i", generated["hyp"], "-m", "bleu", "chrf")
    (raw,) = sacrebleu(*refs, "-i", generated["hyp"], "-m", "bleu", "--tokenize", "none", "--force")
    assert_sacrebleus(scores["bleu"], bleu)
    assert_sacrebleus(scores["chrf"], chrf)
    assert_sacrebleus(scores["bleu_raw"], raw)


def test_resamples_and_seed_are_those_of_the_command_line(
    generated: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    (bleu,) = sacrebleu(generated["a"], "-i", generated["hyp"], "-m", "bleu", "--confidence-n", "400")
    ours = score_files(generated["hyp"], [generated["a"]], config=IntervalConfig(resamples=400, seed=7))
    assert_sacrebleus(ours["scores"]["bleu"], bleu)
    assert "bs:400|seed:7" in ours["scores"]["bleu"]["signature"]


def test_the_paired_p_value_is_that_of_the_command_line(generated: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "sacrebleu", generated["a"], "-i", generated["base"], generated["hyp"]]
    command += ["-m", "bleu", "chrf", "--paired-bs", "-w", "4", "--format", "text"]
    output = subprocess.run(list(map(str, command)), capture_output=True, check=True, text=True).stdout
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if "│" in line]
    (below,) = [below for row, below in pairwise(cells) if row[0] == str(generated["hyp"])]
    tests = score_files(generated["hyp"], [generated["a"]], generated["base"], config=CONFIG)["baseline"]["tests"]
    for metric, printed in zip(("bleu", "chrf"), below[1:], strict=True):
        assert f"(p = {tests[metric]['p_value']:.4f})" == printed.rstrip("*")
        assert tests[metric]["difference"] > 0


@pytest.mark.skipif(not (SHARED / "phoenix14t").is_dir(), reason="needs the shared PHOENIX-2014T annotation")
def test_figures_on_phoenix_text_are_those_of_the_command_line(tmp_path: Path) -> None:
    with (SHARED / "phoenix14t" / "PHOENIX-2014-T.test.corpus.csv").open(encoding="utf-8") as file:
        references = [row["translation"] + " ." for row in csv.DictReader(file, delimiter="|", quoting=csv.QUOTE_NONE)]
    hypotheses = references[5:] + references[:5]
    hypotheses[::3] = references[::3]
    check_text(tmp_path, hypotheses, references)


@pytest.mark.skipif(not (SHARED / "how2sign").is_dir(), reason="needs the shared How2Sign annotation")
def test_figures_on_how2sign_text_are_those_of_the_command_line(tmp_path: Path) -> None:
    with (SHARED / "how2sign" / "how2sign_realigned_test.csv").open(encoding="utf-8", newline="") as file:
        references = [row["SENTENCE"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    references = [text for text in references if text.strip()]
    hypotheses = [text.lower() if i % 2 else references[i - 1] for i, text in enumerate(references)]
    check_text(tmp_path, hypotheses, references)


def check_text(folder: Path, hypotheses: list[str], references: list[str]) -> None:
    assert len(references) > 600
    hyp, ref = write(folder / "hyp", hypotheses), write(folder / "ref", references)
    scores = score_files(hyp, [ref], config=CONFIG)["scores"]
    for ours, printed in zip(
        (scores["bleu"], scores["chrf"]), sacrebleu(ref, "-i", hyp, "-m", "bleu", "chrf"), strict=True
    ):
        assert_sacrebleus(ours, printed)


def jsonl(path: Path, rows: list[dict]) -> Path:
    return write(path, [json.dumps(row, ensure_ascii=False) for row in rows])


def test_jsonl_is_matched_by_id_in_the_order_of_the_references(tmp_path: Path, generated: dict[str, Path]) -> None:
    plain = {name: generated[name].read_bytes().decode().split("\n") for name in ("hyp", "base", "a")}
    ids = [f"clip-{i}" for i in range(160)]
    rows = {
        name: [{"id": i, "text": text} for i, text in zip(ids, lines, strict=False)] for name, lines in plain.items()
    }
    hyp = jsonl(tmp_path / "h.jsonl", [{"id": r["id"], "hypothesis": r["text"]} for r in rows["hyp"]][::-1])
    base = jsonl(
        tmp_path / "b.jsonl", [{"id": r["id"], "hypothesis": r["text"]} for r in rows["base"][40:] + rows["base"][:40]]
    )
    ref = jsonl(tmp_path / "r.jsonl", [{"id": r["id"], "reference": r["text"]} for r in rows["a"]])
    by_id = score_files(hyp, [ref], base, config=CONFIG)
    by_line = score_files(generated["hyp"], [generated["a"]], generated["base"], config=CONFIG)
    assert by_id["scores"] == by_line["scores"]
    assert by_id["baseline"]["tests"] == by_line["baseline"]["tests"]
    assert by_id["diagnostics"] == by_line["diagnostics"]


def test_the_evaluate_stages_own_file_scores_as_in_its_scores_json(tmp_path: Path) -> None:
    info = Info("demo", "minilm", "sltr", {"gloss_free": True}, {"steps": 1, "plateaued": True}, row="x")
    config = EvaluateConfig(beam=1, length_penalty=1.0, max_tokens=9, batch=1)
    for name, skill in (("x", 0.7), ("y", 0.5)):
        records = fake_records(skill, several=True)
        write_evaluation(tmp_path / name, records, info, score_folder(records, config, language="en"), [])
    scores = json.loads((tmp_path / "x" / "scores.json").read_text())
    path, other = (tmp_path / name / "hypotheses.jsonl" for name in ("x", "y"))
    ours = score_files(path, baseline=other, config=CONFIG, language="en")
    for metric in ("bleu", "bleu_raw", "chrf"):
        assert ours["scores"][metric] == scores["test"]["model"][metric]
    for part in ("bleu_by_length", "bleu_content", "output"):
        assert ours["diagnostics"][part] == scores["diagnostics"]["test"][part]
    assert ours["baseline"]["tests"]["bleu"]["difference"] > 0
    multi = score_files(path, config=CONFIG, all_references=True)["scores"]["bleu"]
    assert multi["value"] == scores["test"]["model"]["bleu_multi"]["value"]
    dev = score_files(path, config=CONFIG, selection=Selection("dev"))["scores"]["bleu"]
    assert dev == scores["dev"]["model"]["bleu"]
    control = score_files(path, config=CONFIG, selection=Selection(condition="constant"))["scores"]["bleu"]
    assert control == scores["test"]["constant"]["bleu"]
    with pytest.raises(
        DataError, match=r"no line of split test, condition oracle; it holds .*condition constant, model"
    ):
        score_files(path, config=CONFIG, selection=Selection(condition="oracle"))


GOOD = b'{"id": "a", "hypothesis": "x y"}\n{"id": "b", "hypothesis": "z"}\n'
REF = b'{"id": "a", "reference": "x y"}\n{"id": "b", "reference": "z"}\n'


@pytest.mark.parametrize(
    ("name", "hyp", "ref", "message"),
    [
        ("f", b"a\nb\n", b"a\nb\nc\n", r"hyp has 2 lines, .*ref has 3"),
        ("f", b"", b"a\n", r"hyp: empty"),
        ("f", b"a\n", b"", r"ref: empty"),
        ("f", b"a\nb\nc\n", b"a\n \t\xe2\x80\xa8\nc\n", r"ref: line 2 is a blank reference"),
        ("f", b"a\nb\n\xff\n", b"a\nb\nc\n", r"hyp: line 3 is not UTF-8"),
        ("jsonl", b"", REF, r"hyp\.jsonl: empty"),
        ("jsonl", GOOD + b'{"id": "c", \n', REF, r"hyp\.jsonl: line 3 is no JSON \(.* at column 13\)"),
        ("jsonl", GOOD + b'{"id": "c"}\n', REF, r"hyp\.jsonl: line 3 \(id c\) has no text under `hypothesis`"),
        ("jsonl", GOOD + b'["c"]\n', REF, r"hyp\.jsonl: line 3 has no id"),
        ("jsonl", GOOD + b'{"hypothesis": "z"}\n', REF, r"hyp\.jsonl: line 3 has no id"),
        ("jsonl", GOOD + b'{"id": "a", "hypothesis": "z"}\n', REF, r"hyp\.jsonl: line 3: id a stands twice"),
        (
            "jsonl",
            GOOD + b'{"id": "c", "hypothesis": "z"}\n',
            REF,
            r"ref\.jsonl lacks id c, which .*hyp\.jsonl has \(1",
        ),
        ("jsonl", GOOD, REF + b'{"id": "d", "reference": "z"}\n', r"hyp\.jsonl lacks id d, which .*ref\.jsonl has"),
        ("jsonl", GOOD, REF.replace(b'"z"', b'" "'), r"ref\.jsonl: id b is a blank reference"),
    ],
)
def test_bad_input_is_refused_in_plain_words(tmp_path: Path, name: str, hyp: bytes, ref: bytes, message: str) -> None:
    suffix = f".{name}" if name == "jsonl" else ""
    paths = [tmp_path / f"{stem}{suffix}" for stem in ("hyp", "ref")]
    for path, content in zip(paths, (hyp, ref), strict=True):
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        score_files(paths[0], [paths[1]], config=CONFIG)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    plain, ids = write(tmp_path / "plain", ["x", "y"]), tmp_path / "ids.jsonl"
    ids.write_bytes(GOOD)
    with pytest.raises(DataError, match="no such file"):
        score_files(tmp_path / "none", [plain], config=CONFIG)
    with pytest.raises(DataError, match=r"plain has plain lines and .*r\.jsonl has ids"):
        (tmp_path / "r.jsonl").write_bytes(REF)
        score_files(plain, [tmp_path / "r.jsonl"], config=CONFIG)
    with pytest.raises(DataError, match="plain: plain lines hold no reference; name the reference file"):
        score_files(plain, config=CONFIG)
    with pytest.raises(DataError, match="id a has no `reference`"):
        score_files(ids, config=CONFIG)
    with pytest.raises(DataError, match=r"short has 1 lines"):
        score_files(plain, [plain], write(tmp_path / "short", ["x"]), config=CONFIG)
    both = [{"id": i, "hypothesis": "x y", "reference": "x y"} for i in "ab"]
    one = jsonl(tmp_path / "one.jsonl", both)
    two = jsonl(tmp_path / "two.jsonl", [both[0], {**both[1], "reference": "other"}])
    with pytest.raises(DataError, match="different references for id b"):
        score_files(one, baseline=two, config=CONFIG)


def test_the_command_prints_a_table_or_json(generated: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["score", "--hyp", str(generated["hyp"]), "--ref", str(generated["a"])]
    main([*arguments, "--baseline", str(generated["base"]), "--language", "de", "--json", "--resamples", "200"])
    content = json.loads(capsys.readouterr().out)
    assert content["interval"] == {"resamples": 200, "seed": 12345, "confidence": 0.95}
    assert content["diagnostics"]["output"]["empty"] == round(2 / 160, 6)
    assert content["diagnostics"]["bleu_content"]["value"] > 0
    assert content["scores"]["bleurt"]["value"] is None
    assert "no BLEURT checkpoint" in content["scores"]["bleurt"]["reason"]
    main([*arguments, "--baseline", str(generated["base"])])
    shown = capsys.readouterr().out
    score = score_files(generated["hyp"], [generated["a"]], config=CONFIG)["scores"]["bleu"]
    assert f"{score['value']:.2f} ± {score['half_width']:.2f}" in shown
    assert score["signature"] in shown
    assert "no BLEURT checkpoint" in shown
    assert report(content).splitlines()[0].startswith("160 sentences; ± is half of the 95% interval of 200")


def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "x", ["a"])
    for options, message in (
        (["--hyp", str(path)], "name the reference file with --ref"),
        (["--hyp", str(path), "--ref", str(path), "--resamples", "10"], "10 resamples are too few"),
        (["--hyp", str(path), "--ref", str(path), "--confidence", "95"], "between 0 and 1"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["score", *options])
        assert stopped.value.code == 2
        assert message in caplog.text


def test_json_lines_under_another_name_are_not_scored_as_text(tmp_path: Path) -> None:
    path = write(tmp_path / "ours.json", ['{"id": "a", "hypothesis": "x"}', '{"id": "b", "hypothesis": "y"}'])
    with pytest.raises(DataError, match=r"ours\.json: its lines are JSON.*rename it to end in \.jsonl"):
        read_texts(path, "hypothesis", Selection())


def test_a_byte_order_mark_is_no_part_of_json_and_told_of_in_plain_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = tmp_path / "ours.jsonl"
    lines.write_bytes(b'\xef\xbb\xbf{"id": "a", "hypothesis": "x"}\n')
    assert read_texts(lines, "hypothesis", Selection()).texts == ("x",)
    assert "byte order mark" not in caplog.text
    plain = tmp_path / "ours.txt"
    plain.write_bytes(b"\xef\xbb\xbfx\ny\n")
    assert read_texts(plain, "hypothesis", Selection()).texts == ("\ufeffx", "y"), "as sacrebleu reads it"
    assert "ours.txt: begins with a byte order mark" in caplog.text


def test_a_seed_below_zero_is_refused_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "ours.txt", ["x"])
    with pytest.raises(SystemExit) as stopped:
        main(["score", "--hyp", str(path), "--ref", str(path), "--seed", "-1"])
    assert stopped.value.code == 2
    assert "seed -1: no seed is below 0" in caplog.text
