"""`slt verify` finds what changed on disk after a stage wrote it; the recorded hashes are DVC's own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slt.cli import main
from slt.errors import DataError
from slt.verify import verify

DVC_YAML = """
stages:
  make:
    cmd: mkdir -p data/out/sub && printf one > data/out/a && printf two > data/out/sub/b
    outs: [data/out]
  table:
    cmd: printf 3 > data/table.json
    outs: [data/table.json]
"""


def dvc(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    before = Path.cwd()
    os.chdir(root)
    try:
        dvc("init", "--no-scm", "-q")
        (root / "dvc.yaml").write_text(DVC_YAML)
        dvc("repro", "-q")
    finally:
        os.chdir(before)
    return root


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    shutil.copytree(made, root)
    monkeypatch.chdir(root)
    return root


def test_what_dvc_has_just_made_is_whole(project: Path) -> None:
    result = verify()
    assert (result.faults, result.files, result.bytes, result.absent) == ([], 3, 7, [])


def test_a_flipped_bit_a_truncation_a_missing_and_a_foreign_file_are_named(project: Path) -> None:
    (project / "data/out/a").write_bytes(b"onf")
    (project / "data/table.json").write_bytes(b"")
    (project / "data/out/sub/b").unlink()
    (project / "data/out/sub/c").write_bytes(b"two")
    found = {str(fault.path): (fault.problem, fault.stage) for fault in verify().faults}
    assert found == {
        "data/out/a": ("its bytes are not those that the stage wrote", "make"),
        "data/table.json": ("its bytes are not those that the stage wrote", "table"),
        "data/out/sub/b": ("missing", "make"),
        "data/out/sub/c": ("no stage made this file", "make"),
    }


def test_the_command_that_it_names_rebuilds(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "data/out/a").write_bytes(b"onf")
    (fault,) = verify().faults
    command = str(fault).split("`")[1].split()
    assert command[0] == "dvc"
    dvc(*command[1:])
    assert verify().faults == []


def test_an_output_that_is_not_there_is_told_apart_from_a_damaged_one(project: Path) -> None:
    shutil.rmtree(project / "data/out")
    result = verify()
    assert (result.faults, result.absent) == ([], ["data/out"])


def test_a_damaged_listing_is_a_fault(project: Path) -> None:
    (listing,) = (project / ".dvc/cache/files/md5").glob("*/*.dir")
    listing.chmod(0o644)
    listing.write_bytes(listing.read_bytes().replace(b'"a"', b'"z"'))
    (fault,) = verify([Path("data/out")]).faults
    assert "listing" in fault.problem


def test_only_what_is_asked_for_is_read_and_nothing_there_is_an_error(project: Path) -> None:
    (project / "data/out/a").write_bytes(b"onf")
    assert verify([Path("data/table.json")]).faults == []
    with pytest.raises(DataError, match="no output of a stage lies there"):
        verify([Path("elsewhere")])


def test_the_command_ends_with_an_error_when_something_is_wrong(project: Path) -> None:
    main(["verify"])
    (project / "data/out/a").write_bytes(b"onf")
    with pytest.raises(SystemExit) as stopped:
        main(["verify", "data"])
    assert stopped.value.code == 2


def test_a_fresh_clone_has_no_listing_of_what_git_brought(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.rmtree(project / ".dvc/cache")
    result = verify()
    assert (result.faults, result.unlisted) == ([], ["data/out"])
    main(["verify"])
    assert "data/out: not compared: it is here from git" in caplog.text
