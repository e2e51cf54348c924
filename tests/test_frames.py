"""Frame shards: what they hold, what is dropped, what a re-run takes up, and what a killed one leaves."""

import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_video import pictures, write_video

from slt import frames as frames_module
from slt.config.data import FramesConfig
from slt.errors import ConfigError, DataError, StoreError
from slt.frames import make_frames
from slt.manifest import Clip, write_manifest
from slt.store import iter_rows, read_json, read_metadata, read_table
from slt.video import read_frames

CONFIG = FramesConfig(size=48, fit="stretch", stride=1, quality=95, clips_per_shard=3)
NONE = {"train": 0, "dev": 0, "test": 0}


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("SLT_RAW", "SLT_WORK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLT_WORKERS", "1")
    return tmp_path


@pytest.fixture
def manifest(checkout: Path) -> Path:
    """Eight clips of 5 to 12 frames below SLT_RAW's default: 5 train, 2 dev, 1 test."""
    folder = checkout / "data" / "raw" / "small"
    folder.mkdir(parents=True)
    clips = []
    for i, split in enumerate(["train"] * 5 + ["dev"] * 2 + ["test"]):
        write_video(folder / f"{i}.mp4", pictures(5 + i, 64, 96, seed=i))
        clips.append(Clip(f"clip{i}", split, "en", "ase", f"raw:small/{i}.mp4", f"text {i}", frames=5 + i))
    path = checkout / "data" / "small" / "corpus" / "manifest.parquet"
    write_manifest(path, clips)
    return path


def test_shards_hold_every_clip_in_manifest_order(manifest: Path) -> None:
    out = Path("data/small/frames")
    index = make_frames(CONFIG, manifest, out, NONE)
    assert index == read_json(out / "frames.json")
    assert [(shard["clips"], shard["frames"]) for shard in index["shards"]] == [(3, 18), (3, 27), (2, 23)]
    assert (index["clips"], index["frames"]) == (8, sum(range(5, 13)))
    assert index["clips_per_split"] == {"train": 5, "dev": 2, "test": 1} and index["dropped"] == []
    rows = [row for shard in index["shards"] for row in iter_rows(out / shard["file"])]
    assert [row["id"] for row in rows] == read_table(manifest)["id"].to_pylist()
    for row in rows:
        video = Path(f"data/raw/small/{row['id'].removeprefix('clip')}.mp4")
        originals = list(read_frames(video, size=48, fit="stretch"))
        assert row["n"] == len(row["frames"]) == len(originals)
        for encoded, original in zip(row["frames"], originals, strict=True):
            stored = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
            assert np.abs(stored.astype(int) - original).mean() < 6  # JPEG, and its colours in the right order
    metadata = read_metadata(out / "frames-00000.parquet")
    assert metadata["params"]["size"] == 48 and metadata["manifest"] == index["manifest"]
    assert sorted(path.stem for path in out.iterdir()) == ["frames", "frames-00000", "frames-00001", "frames-00002"]


def test_bytes_do_not_depend_on_the_number_of_workers(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = make_frames(CONFIG, manifest, Path("one"), NONE)
    monkeypatch.setenv("SLT_WORKERS", "2")
    assert make_frames(CONFIG, manifest, Path("two"), NONE) == one


@pytest.mark.parametrize("value", ["two", "0", "-1"])
def test_an_odd_number_of_workers_is_a_config_error(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SLT_WORKERS", value)
    with pytest.raises(ConfigError, match=f"SLT_WORKERS is `{value}`"):
        make_frames(CONFIG, manifest, Path("out"), NONE)


def test_stride_keeps_every_nth_frame(manifest: Path) -> None:
    index = make_frames(replace(CONFIG, stride=3), manifest, Path("out"), NONE)
    assert index["frames"] == sum(-(-n // 3) for n in range(5, 13))
    assert index["other_length"]["clips"] == 0


def test_a_clip_of_another_length_than_annotated_is_counted(manifest: Path) -> None:
    write_video(Path("data/raw/small/3.mp4"), pictures(6))
    index = make_frames(CONFIG, manifest, Path("out"), NONE)
    assert index["other_length"] == {
        "clips": 1,
        "first": [{"split": "train", "id": "clip3", "reason": "6 frames kept, 8 annotated, stride 1"}],
    }


def test_a_clip_that_does_not_decode_fails_the_stage_by_name(manifest: Path) -> None:
    Path("data/raw/small/5.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"1 dev clips do not decode.*`clip5`: .*5\.mp4"):
        make_frames(CONFIG, manifest, Path("out"), {"train": 9, "dev": 0, "test": 0})
    assert not Path("out").exists()
    index = make_frames(CONFIG, manifest, Path("out"), {"train": 0, "dev": 1, "test": 0})
    assert [(clip["split"], clip["id"]) for clip in index["dropped"]] == [("dev", "clip5")]
    assert "5.mp4" in index["dropped"][0]["reason"]
    assert index["clips"] == 7 and index["clips_per_split"]["dev"] == 1


def test_a_repaired_clip_is_read_again(manifest: Path) -> None:
    good = Path("data/raw/small/5.mp4").read_bytes()
    Path("data/raw/small/5.mp4").write_bytes(good[:300])
    with pytest.raises(DataError):
        make_frames(CONFIG, manifest, Path("out"), NONE)
    Path("data/raw/small/5.mp4").write_bytes(good)
    assert make_frames(CONFIG, manifest, Path("out"), NONE)["clips"] == 8


def interrupted(manifest: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> list[Path]:
    """Shards in the work folder after a run that died at its ``after + 1``-th shard."""
    whole, done = frames_module.make_shard, []

    def die(task: frames_module.ShardTask) -> frames_module.ShardRecord:
        if len(done) == after:
            raise KeyboardInterrupt
        done.append(task.path)
        return whole(task)

    with monkeypatch.context() as patch:
        patch.setattr(frames_module, "make_shard", die)
        with pytest.raises(KeyboardInterrupt):
            make_frames(CONFIG, manifest, Path("out"), NONE)
    return done


def test_a_rerun_takes_up_complete_shards(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = make_frames(CONFIG, manifest, Path("expected"), NONE)
    done = interrupted(manifest, monkeypatch, after=2)
    assert [path.name for path in done] == ["frames-00000.parquet", "frames-00001.parquet"]
    inodes = [path.stat().st_ino for path in done]
    (done[0].parent / ".frames-00002.parquet.1.tmp").write_bytes(b"half")  # of a worker that was killed
    assert make_frames(CONFIG, manifest, Path("out"), NONE) == expected
    assert [(Path("out") / path.name).stat().st_ino for path in done] == inodes
    assert len(list(Path("out").iterdir())) == 4


def test_a_damaged_shard_of_an_earlier_run_is_made_again(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = make_frames(CONFIG, manifest, Path("expected"), NONE)
    done = interrupted(manifest, monkeypatch, after=2)
    content = bytearray(done[0].read_bytes())
    content[len(content) // 2] ^= 1
    done[0].write_bytes(content)
    done[1].write_bytes(done[1].read_bytes()[:2000])
    assert make_frames(CONFIG, manifest, Path("out"), NONE) == expected


def test_other_parameters_find_nothing_stale(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(manifest, monkeypatch, after=2)
    index = make_frames(replace(CONFIG, quality=40), manifest, Path("out"), NONE)
    assert all(read_metadata(Path("out") / shard["file"])["params"]["quality"] == 40 for shard in index["shards"])


def test_row_groups_are_bounded(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(frames_module, "GROUP_BYTES", 1)
    make_frames(CONFIG, manifest, Path("out"), NONE)
    assert pq.ParquetFile("out/frames-00000.parquet").num_row_groups == 3
    assert len(list(iter_rows(Path("out/frames-00000.parquet")))) == 3


def test_a_flipped_bit_is_a_store_error_that_names_the_shard(manifest: Path) -> None:
    make_frames(CONFIG, manifest, Path("out"), NONE)
    shard = Path("out/frames-00001.parquet")
    content, rows, found = shard.read_bytes(), list(iter_rows(shard)), 0
    for at in np.linspace(4, len(content) - 1, 150).astype(int):
        damaged = bytearray(content)
        damaged[at] ^= 1 << (at % 8)
        shard.unlink()
        shard.write_bytes(damaged)
        try:  # a flip in a page's statistics or in the writer's name changes nothing that is read
            assert list(iter_rows(shard)) == rows
        except StoreError as error:
            assert "frames-00001.parquet" in str(error)
            found += 1
    assert found > 120


def test_a_worker_that_is_killed_is_a_clear_error(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLT_WORKERS", "2")
    monkeypatch.setattr(frames_module, "make_shard", die_in_worker)
    with pytest.raises(DataError, match="SLT_WORKERS"):
        make_frames(CONFIG, manifest, Path("out"), NONE)


def die_in_worker(task: frames_module.ShardTask) -> None:
    import os
    import signal

    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)


def test_workers_do_not_import_torch() -> None:
    import subprocess
    import sys

    code = "import sys, stages.frames; sys.exit(any(name in sys.modules for name in ('torch', 'timm', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0
