"""What is stored comes back or is refused: checksums, atomic names, publishing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest

from slt.errors import DataError, StoreError
from slt.manifest import Clip, read_manifest, write_manifest
from slt.store import (
    canonical,
    code_sha256,
    fingerprint,
    iter_rows,
    publish,
    read_json,
    read_metadata,
    read_table,
    replacing,
    work_folder,
    write_json,
    write_table,
)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    rows = [{"id": f"clip{i}", "data": generator.bytes(5000)} for i in range(40)]
    path = tmp_path / "shard-00000.parquet"
    write_table(path, pa.Table.from_pylist(rows), {"params": {"size": 3}})
    return path


def test_a_table_and_its_metadata_come_back(shard: Path) -> None:
    assert read_metadata(shard) == {"params": {"size": 3}}
    rows = read_table(shard).to_pylist()
    assert list(iter_rows(shard)) == rows and len(rows) == 40 and len(rows[0]["data"]) == 5000
    assert list(iter_rows(shard, ["id"]))[39] == {"id": "clip39"}


def test_a_flipped_bit_in_the_data_names_the_shard(shard: Path) -> None:
    content = shard.read_bytes()
    for at in np.linspace(200, 190_000, 100).astype(int):  # 200 kB of data; headers and footer at the ends
        damaged = bytearray(content)
        damaged[at] ^= 1 << (at % 8)
        shard.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"shard-00000\.parquet"):
            read_table(shard)
        with pytest.raises(StoreError, match=r"shard-00000\.parquet"):
            list(iter_rows(shard))


@pytest.mark.parametrize("kept", [0, 3, 100, 150_000, -1])
def test_a_truncated_shard_is_named(shard: Path, kept: int) -> None:
    shard.write_bytes(shard.read_bytes()[:kept])
    with pytest.raises(StoreError, match=r"shard-00000\.parquet"):
        read_table(shard)


def test_missing_files_say_what_to_run(tmp_path: Path) -> None:
    for read in (read_table, read_metadata, read_json):
        with pytest.raises(DataError, match="dvc repro"):
            read(tmp_path / "gone")


def test_damaged_json_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "index.json", {"b": 1, "a": "ä"})
    assert read_json(tmp_path / "index.json") == {"a": "ä", "b": 1}
    (tmp_path / "index.json").write_bytes(b'{"a": "\xff')
    with pytest.raises(StoreError, match=r"index\.json"):
        read_json(tmp_path / "index.json")


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_publishing_replaces_the_output_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLT_WORK", str(tmp_path / "work"))
    out = tmp_path / "out"
    out.mkdir()
    (out / "stale").write_text("of an earlier run")
    work = work_folder("stage", fingerprint("key"))
    (work / "inner").mkdir()
    (work / "inner" / "file").write_text("new")
    publish(work, out)
    assert [str(path.relative_to(out)) for path in sorted(out.rglob("*"))] == ["inner", "inner/file"]
    assert sorted(os.listdir(tmp_path)) == ["out", "work"]


def test_published_work_stays_until_the_next_stage_begins_and_not_while_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLT_WORK", str(tmp_path / "work"))
    code = """
import sys
from pathlib import Path
from slt.store import publish, work_folder
work = work_folder("frames", "first")
(work / "shard").write_text("made")
publish(work, Path(sys.argv[1]))
print("published", flush=True)
sys.stdin.read()
"""
    maker = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert maker.stdout is not None and maker.stdout.readline() == "published\n"
    shard = tmp_path / "work" / "frames" / "first" / "shard"
    work_folder("features", "second")
    assert shard.read_text() == "made"  # its maker lives
    maker.kill()
    maker.communicate()
    shutil.rmtree(tmp_path / "out")  # as DVC does with an output that it does not know
    assert (work_folder("frames", "first") / "shard").read_text() == "made"


def test_published_work_of_another_key_goes_when_a_stage_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLT_WORK", str(tmp_path / "work"))
    for name in ("published", "unfinished"):
        folder = tmp_path / "work" / "frames" / name
        folder.mkdir(parents=True)
        (folder / "shard").write_text("made")
    (tmp_path / "work" / "frames" / "published.published").touch()
    work_folder("features", "key")
    assert sorted(os.listdir(tmp_path / "work" / "frames")) == ["unfinished"]
    assert (tmp_path / "work" / "frames" / "unfinished" / "shard").is_file()


def test_fingerprints_follow_values_and_not_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert len({fingerprint(1), fingerprint("1"), fingerprint([1]), fingerprint(1, 1), fingerprint(1.5)}) == 5
    assert canonical({"b": "ä", "a": None}) == '{"a":null,"b":"ä"}'


def test_a_manifest_comes_back_sorted_by_split_and_id(tmp_path: Path) -> None:
    clips = [
        Clip("b", "test", "de", "gsg", "b.mp4", "zwei", references=("zwo",), frames=3),
        Clip("c", "train", "de", "gsg", "c.mp4", "drei", start=0.5, end=1.25, gloss="DREI", signer="1"),
        Clip("a", "test", "de", "gsg", "a.mp4", "eins", fingerprint="stat:1:2"),
    ]
    write_manifest(tmp_path / "manifest.parquet", clips)
    assert read_manifest(tmp_path / "manifest.parquet") == [clips[1], clips[2], clips[0]]
    with pytest.raises(DataError, match="no dev clip"):
        read_manifest(tmp_path / "manifest.parquet", "dev")


def test_the_codes_hash_follows_the_stage_and_what_it_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, module = tmp_path / "stage.py", ModuleType("slt.added")
    module.__file__ = str(tmp_path / "added.py")
    seen = set()
    for script, imported in (("a", "b"), ("a2", "b"), ("a", "b2")):
        stage.write_text(script)
        Path(module.__file__).write_text(imported)
        seen.add(code_sha256(str(stage)))  # not imported: changes with the stage alone
        monkeypatch.setitem(sys.modules, "slt.added", module)
        seen.add(code_sha256(str(stage)))
        assert code_sha256(str(stage)) in seen
        monkeypatch.delitem(sys.modules, "slt.added")
    assert len(seen) == 5
