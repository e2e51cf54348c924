"""One command for the paper's tables: what it plans, what it names as missing, what it refuses before anything runs."""

import copy
import itertools
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from slt.cli import main
from slt.config.base import read_params
from slt.config.run import Sem2textRun
from slt.config.schema import check
from slt.errors import ConfigError, DataError
from slt.experiments_run import overridden
from slt.paper_run import Only, Plan, plan_paper, run_paper
from slt.paper_tables import SEM2TEXT, YARDSTICK, paper_content
from slt.published import read_published

ROOT = Path(__file__).parent.parent
PARAMS = read_params(ROOT / "params.yaml")
DECODERS = ("sltr", "mbart")
SEM_SYSTEMS = ("sign2sem2text", "sign2semtext")
TEACHERS = {"phoenix14t": ("multi",), "how2sign": ("mono", "multi")}
MISSING = {
    "phoenix14t": {
        *itertools.product(["sign2gloss2text"], DECODERS, [None]),
        *itertools.product([*SEM_SYSTEMS, SEM2TEXT], DECODERS, ["mono"]),
    },
    "how2sign": set(),
}
YARDSTICKS = {"phoenix14t": {(YARDSTICK, decoder, None) for decoder in DECODERS}, "how2sign": set()}
MONO = {"model": "hub:someone/german@1234567", "size": 384, "prompt": None, "normalize": True, "center": True}


def alone(dataset: str) -> dict[str, Any]:
    """One section and nothing to run: DVC takes a second for the whole file."""
    nothing: dict[str, Any] = {"datasets": [], "targets": {}, "sem2text": {}, "rows": {}}
    return copy.deepcopy({"run": nothing, dataset: PARAMS[dataset]})


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLT_RAW", raising=False)
    return tmp_path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would have been run; they end well."""
    commands: list[list[str]] = []

    def start(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("slt.paper_run.subprocess.run", start)
    return commands


def cells(plan: Plan) -> set[tuple[str, str, str | None]]:
    without = (*read_published().grid[plan.dataset].without_sem, YARDSTICK)
    rows = {(row.system, row.decoder, None if row.system in without else row.teacher) for row in plan.rows.values()}
    return rows | {(SEM2TEXT, run.decoder, run.teacher) for run in plan.sem2text.values()}


@pytest.mark.parametrize("dataset", TEACHERS)
def test_what_is_planned_is_the_published_table_less_what_is_named(dataset: str) -> None:
    plan = plan_paper(PARAMS, dataset)
    tables = paper_content(dataset, None, PARAMS, read_published())
    published = {(row["system"], row["decoder"], row["teacher"]) for row in tables["table"] + tables["sem2text"]}
    assert set(plan.missing) == MISSING[dataset]
    assert cells(plan) == published - MISSING[dataset] | YARDSTICKS[dataset]
    expected = {f"{dataset}-sign2text-{decoder}" for decoder in DECODERS}
    expected |= {f"{dataset}-{YARDSTICK}-{decoder}" for _, decoder, _ in YARDSTICKS[dataset]}
    for names in itertools.product(SEM_SYSTEMS, TEACHERS[dataset], DECODERS):
        expected.add("-".join([dataset, *names]))
    assert set(plan.rows) == expected


@pytest.mark.parametrize("dataset", TEACHERS)
def test_dvc_leaves_parameters_that_are_sound_and_hold_nothing_else(dataset: str, workspace: Path) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(alone(dataset), sort_keys=False))
    plan = plan_paper(read_params(), dataset)
    params = overridden(tuple(plan.overrides))
    check(params)
    assert params[dataset] == PARAMS[dataset]
    run = params["run"]
    assert run["datasets"] == [dataset]
    assert set(run["targets"]) == {f"{dataset}-{teacher}" for teacher in TEACHERS[dataset]}
    assert set(run["sem2text"]) == {f"{dataset}-{t}-{d}" for t in TEACHERS[dataset] for d in DECODERS}
    assert set(run["rows"]) == set(plan.rows)
    for row in run["rows"].values():
        assert row["seed"] == PARAMS[dataset]["sign2sem"]["seed"]
        yardstick = f"{dataset}-sign2text-{row['decoder']}"
        assert row["baseline"] == (None if row["system"] == "sign2text" else yardstick)
        assert row["teacher"] in TEACHERS[dataset]


def test_dry_prints_one_command_and_runs_none(
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    started: list[list[str]],
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SLT_RAW", "/nowhere")  # the corpus need not be there
    main(["paper", "--dataset", "phoenix14t", "--dry"])
    (line,) = capsys.readouterr().out.splitlines()
    words = shlex.split(line)
    plan = plan_paper(PARAMS, "phoenix14t")
    assert words[:3] == ["dvc", "exp", "run"] and "--temp" not in words
    assert set(words[3::2]) == {"-S"}
    assert words[4::2] == list(plan.overrides)
    assert not started
    system, teacher = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "phoenix14t.systems has no `sign2gloss2text`" in system and f"gloss-dependent {YARDSTICK}" in system
    assert "phoenix14t.teachers has no `mono`: add it with a model of your choice" in teacher
    assert all(f"sign2semtext-mono-{decoder}" in teacher for decoder in DECODERS)
    assert f"{SEM2TEXT}-mono-sltr" in teacher


def test_a_teacher_that_the_user_names_fills_its_cells() -> None:
    params = alone("phoenix14t")
    params["phoenix14t"]["teachers"]["mono"] = MONO
    plan = plan_paper(params, "phoenix14t")
    assert {system for system, _, _ in plan.missing} == {"sign2gloss2text"}
    assert "phoenix14t-sign2semtext-mono-mbart" in plan.rows
    assert set(plan.targets) == {"phoenix14t-mono", "phoenix14t-multi"}


def test_a_choice_narrows_the_table_and_what_was_not_asked_for_is_not_missing() -> None:
    plan = plan_paper(PARAMS, "how2sign", Only(systems=("sign2semtext",), teachers=("multi",), decoders=("sltr",)))
    assert list(plan.rows) == ["how2sign-sign2semtext-multi-sltr"] and not plan.missing
    assert plan.rows["how2sign-sign2semtext-multi-sltr"].baseline is None
    assert list(plan.targets) == ["how2sign-multi"] and list(plan.sem2text) == ["how2sign-multi-sltr"]
    alike = plan_paper(PARAMS, "how2sign", Only(systems=("sign2text",), teachers=("multi", "mono")))
    assert {row.teacher for row in alike.rows.values()} == {"mono"}  # in the table's order, whatever the user's
    assert set(alike.sem2text) == {"how2sign-mono-sltr", "how2sign-mono-mbart"}


def test_the_gloss_dependent_yardstick_is_a_row_where_the_section_has_it() -> None:
    plan = plan_paper(PARAMS, "phoenix14t")
    row = plan.rows["phoenix14t-sign2glosstext-sltr"]
    assert (row.system, row.baseline) == (YARDSTICK, "phoenix14t-sign2text-sltr")
    alike = plan_paper(PARAMS, "phoenix14t", Only(systems=(YARDSTICK,), decoders=("sltr",)))
    assert list(alike.rows) == ["phoenix14t-sign2glosstext-sltr"] and not alike.missing
    assert not any(
        row.system == YARDSTICK for row in plan_paper(PARAMS, "phoenix14t", Only(("sign2text",))).rows.values()
    )
    params = alone("phoenix14t")
    del params["phoenix14t"]["systems"][YARDSTICK]
    plan = plan_paper(params, "phoenix14t")
    systems = [row.system for row in plan.rows.values()] + [system for system, _, _ in plan.missing]
    assert YARDSTICK not in systems  # no cell of the paper, so nothing is missing
    with pytest.raises(ConfigError, match=f"can be run: phoenix14t.systems has no `{YARDSTICK}`: add it"):
        plan_paper(params, "phoenix14t", Only(systems=(YARDSTICK,)))


@pytest.mark.parametrize("dataset", TEACHERS)
def test_without_videos_the_ceilings_are_planned_and_every_system_is_named(dataset: str, workspace: Path) -> None:
    params = alone(dataset)
    params[dataset]["corpus"]["options"]["text_only"] = True
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    plan = plan_paper(params, dataset)
    assert not plan.rows
    assert set(plan.sem2text) == {f"{dataset}-{t}-{d}" for t in TEACHERS[dataset] for d in DECODERS}
    assert set(plan.targets) == {f"{dataset}-{teacher}" for teacher in TEACHERS[dataset]}
    whole = plan_paper(PARAMS, dataset)
    assert set(plan.missing) == (cells(whole) | set(whole.missing)) - cells(plan)
    (line,) = [line for line in plan.not_run() if "text_only is true, and no row is trained without videos" in line]
    assert all(f"sign2semtext-{teacher}-mbart" in line for teacher in TEACHERS[dataset])
    assert plan.command[-1] == "tables"  # DVC makes what the tables need: no frames, no features
    run = overridden(tuple(plan.overrides))["run"]
    assert run["rows"] == {} and set(run["sem2text"]) == set(plan.sem2text)
    with pytest.raises(ConfigError, match=r"can be run: \S+text_only is true, and no row is trained without videos"):
        plan_paper(params, dataset, Only(systems=("sign2text",)))


def test_without_videos_no_video_has_to_be_there(workspace: Path, started: list[list[str]]) -> None:
    params = alone("how2sign")
    options = params["how2sign"]["corpus"]["options"]
    options["text_only"] = True
    params["how2sign"]["wikipedia"]["source"] = str(workspace / "text.txt")
    (workspace / "text.txt").touch()
    plan = plan_paper(params, "how2sign")
    with pytest.raises(DataError, match=r"data/raw/how2sign: no such folder"):
        run_paper(plan, params)
    Path("data/raw/how2sign").mkdir(parents=True)
    for name in options["annotation"].values():
        Path("data/raw", name.removeprefix("raw:")).touch()
    run_paper(plan, params)
    assert started


@pytest.mark.parametrize(
    ("kind", "entry", "changed", "reason"),
    [
        ("systems", "sign2semtext", None, "phoenix14t.systems has no `sign2semtext`: add it"),
        ("decoders", "mbart", None, "phoenix14t.decoders has no `mbart`: add it"),
        ("teachers", "multi", MONO, "is not the paper's paraphrase-multilingual-MiniLM-L12-v2: the tables would not"),
    ],
)
def test_what_the_section_lacks_is_named(kind: str, entry: str, changed: dict[str, Any] | None, reason: str) -> None:
    params = alone("phoenix14t")
    params["phoenix14t"]["teachers"]["mono"] = MONO
    entries = params["phoenix14t"][kind]
    if changed is None:
        del entries[entry]
    else:
        entries[entry] = changed
    plan = plan_paper(params, "phoenix14t")
    (line,) = [line for line in plan.not_run() if reason in line]
    assert f"sign2semtext-multi-{'mbart' if kind == 'decoders' else 'sltr'}" in line
    assert not any(entry in (run.teacher, run.decoder) for run in plan.sem2text.values())
    assert not any(entry in (row.system, row.teacher, row.decoder) for row in plan.rows.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo"], "no published table of `demo`; there are: phoenix14t, how2sign"),
        (
            ["phoenix14t", "--teachers", "e5"],
            "--teachers: the paper's table of PHOENIX-2014T has no `e5`; it has: mono,",
        ),
        (["phoenix14t", "--decoders", "sltr,t5"], "--decoders: the paper's table of PHOENIX-2014T has no `t5`"),
        (["how2sign", "--systems", "sign2gloss2text"], "--systems: the paper's table of How2Sign has no `sign2gloss2"),
        (
            ["phoenix14t", "--systems", "sign2gloss2text"],
            "no row of the paper's table of PHOENIX-2014T can be run: phoe",
        ),
        (["phoenix14t", "--teachers", "mono"], "phoenix14t.teachers has no `mono`: add it with a model of your choice"),
    ],
)
def test_a_wrong_choice_is_one_clear_line(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    started: list[list[str]],
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as stopped:
        main(["paper", "--dataset", *arguments])
    assert stopped.value.code == 2
    (record,) = caplog.records
    assert message in record.message and "\n" not in record.message
    assert not started


def test_a_section_that_reads_another_corpus_is_refused() -> None:
    params = alone("phoenix14t")
    options = {"manifest": "clips.tsv", "media": "videos", "layout": "own"}
    params["phoenix14t"]["corpus"] |= {"adapter": "own", "options": options}
    message = "adapter is `own`, so what it reads is not PHOENIX-2014T; take phoenix14t or phoenix14t_pami0"
    with pytest.raises(ConfigError, match=message):
        plan_paper(params, "phoenix14t")


@pytest.mark.parametrize("more", [[], ["--dry"]])
def test_unsound_parameters_are_found_before_anything_runs(
    more: list[str],
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[list[str]],
) -> None:
    params = alone("phoenix14t")
    monkeypatch.setattr("slt.paper_run._check_inputs", lambda *_: None)
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    with monkeypatch.context() as patched, pytest.raises(SystemExit):  # what is planned has no upstream
        patched.setattr("slt.paper_run.Sem2textRun", lambda dataset, teacher, _: Sem2textRun(dataset, teacher, "t5"))
        main(["paper", "--dataset", "phoenix14t", *more])
    params["phoenix14t"]["teachers"] = None
    with pytest.raises(ConfigError, match=r"missing section `phoenix14t.teachers`"):
        plan_paper(params, "phoenix14t")
    assert not started and not capsys.readouterr().out


def test_the_corpus_and_the_text_have_to_be_there(
    workspace: Path, started: list[list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(alone("phoenix14t"), sort_keys=False))
    with pytest.raises(SystemExit):
        main(["paper", "--dataset", "phoenix14t"])
    (line,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert line.startswith("data/raw/phoenix14t: no such folder; link the release of PHOENIX-2014T there")
    assert "or set SLT_RAW" in line
    plan, params = plan_paper(read_params(), "phoenix14t"), read_params()
    Path("data/raw/phoenix14t").mkdir(parents=True)
    with pytest.raises(DataError, match=r"dewiki-latest-pages-articles.xml.bz2: no such file, but `wikipedia.source`"):
        run_paper(plan, params)
    assert not started
    Path("data/raw/wiki").mkdir()
    Path("data/raw/wiki/dewiki-latest-pages-articles.xml.bz2").touch()
    main(["paper", "--dataset", "phoenix14t"])
    (command,) = started
    assert command[1:] == ["-m", *plan.command]


def test_each_file_and_folder_that_the_options_name_has_to_be_there(workspace: Path, started: list[list[str]]) -> None:
    params = alone("how2sign")
    options = params["how2sign"]["corpus"]["options"]
    options["annotation"]["dev"] = "elsewhere/dev.csv"  # below the checkout, not SLT_RAW
    plan = plan_paper(params, "how2sign")
    with pytest.raises(DataError, match=r"data/raw/how2sign: no such folder; link the release of How2Sign"):
        run_paper(plan, params)
    for folder in options["clips"].values():
        Path("data/raw", folder.removeprefix("raw:")).mkdir(parents=True)
    for split in ("train", "test"):
        Path("data/raw", options["annotation"][split].removeprefix("raw:")).touch()
    with pytest.raises(DataError, match=r"^elsewhere/dev.csv: no such file or folder, but how2sign.corpus.options"):
        run_paper(plan, params)
    assert not started


def test_a_failed_run_says_how_it_goes_on(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = alone("phoenix14t")
    params["phoenix14t"]["corpus"]["options"]["root"] = str(workspace)
    params["phoenix14t"]["wikipedia"]["source"] = str(workspace / "text.txt")
    (workspace / "text.txt").touch()
    failed: subprocess.CompletedProcess[str] = subprocess.CompletedProcess(["dvc"], 255)
    monkeypatch.setattr("slt.paper_run.subprocess.run", lambda *_, **__: failed)
    with pytest.raises(DataError, match=r"failed .exit 255.*give the same command again: it goes on from where it"):
        run_paper(plan_paper(params, "phoenix14t"), params)
