"""Frame shards: what they hold, what is dropped, what a re-run takes up, and what a killed one leaves."""

import time
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from test_video import pictures, write_video

from slt import frames as frames_module
from slt.config.data import FramesConfig
from slt.errors import ConfigError, DataError, StoreError
from slt.frames import ShardTask, make_frames, make_shard
from slt.manifest import Clip, write_manifest
from slt.store import iter_rows, read_json, read_metadata, read_table, write_json
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


def test_a_row_group_stays_below_what_arrow_can_count_and_a_clip_above_it_is_dropped(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, clips_per_shard=8)
    make_frames(config, manifest, Path("whole"), NONE)
    whole = {row["id"]: row["frames"] for row in iter_rows(Path("whole/frames-00000.parquet"))}
    sizes = {name: sum(map(len, encoded)) for name, encoded in whole.items()}
    (longest,) = (name for name, size in sizes.items() if size == max(sizes.values()))
    monkeypatch.setattr(frames_module, "LARGEST_GROUP", max(sizes.values()) - 1)
    monkeypatch.setenv("SLT_WORK", "other")
    index = make_frames(config, manifest, Path("parts"), {**NONE, "test": 1})
    parts = pq.ParquetFile("parts/frames-00000.parquet").metadata
    assert parts.num_row_groups > 1 and parts.num_rows == 7
    assert {row["id"]: row["frames"] for row in iter_rows(Path("parts/frames-00000.parquet"))} == {
        name: encoded for name, encoded in whole.items() if name != longest
    }
    (dropped,) = index["dropped"]
    assert dropped["id"] == longest and "cut it into sentences, or raise frames.stride" in dropped["reason"]


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


def test_a_clip_of_another_length_than_annotated_is_counted_and_warned_of(
    manifest: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_frames(CONFIG, manifest, Path("out"), NONE)
    assert "another length" not in caplog.text
    write_video(Path("data/raw/small/3.mp4"), pictures(6))
    index = make_frames(replace(CONFIG, quality=94), manifest, Path("out"), NONE)
    (line,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert line == (
        f"{manifest}: 1 clips have another length than annotated: `clip3`: 6 frames kept, 8 annotated, stride 1; check "
        "that their files are whole and the annotation is theirs (frames.json counts them)"
    )
    assert index["other_length"] == {
        "clips": 1,
        "first": [{"split": "train", "id": "clip3", "reason": "6 frames kept, 8 annotated, stride 1"}],
    }


def test_the_warning_of_other_lengths_names_three_clips(manifest: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(5):
        write_video(Path(f"data/raw/small/{i}.mp4"), pictures(3))
    make_frames(CONFIG, manifest, Path("out"), NONE)
    (line,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert "5 clips have another length" in line and "`clip2`: 3 frames kept, 7 annotated, stride 1 …; check" in line
    assert "clip3" not in line


@pytest.mark.parametrize(("seconds", "counted"), [(0.24, False), (0.28, False), (0.36, True)])
def test_a_clip_cut_short_of_its_annotated_seconds_is_counted(tmp_path: Path, seconds: float, counted: bool) -> None:
    write_video(tmp_path / "a.mp4", pictures(6))  # at 25 frames a second
    clip = Clip("a", "train", "en", "ase", str(tmp_path / "a.mp4"), "text", seconds=seconds)
    record = make_shard(ShardTask(tmp_path / "frames-00000.parquet", (clip,), CONFIG, {}))
    reason = f"6 frames kept, {seconds:.2f} s annotated, 25 frames/s, stride 1"
    assert record.other_length == ((("train", "a", reason),) if counted else ())


def test_a_clip_that_does_not_decode_fails_the_stage_by_name(manifest: Path) -> None:
    Path("data/raw/small/5.mp4").write_bytes(b"no video")
    message = (
        r"1 dev clips do not decode, more than corpus\.max_dropped\.dev = 0: `clip5`: .*5\.mp4.*; replace the files, or"
    )
    with pytest.raises(DataError, match=message):
        make_frames(CONFIG, manifest, Path("out"), {"train": 9, "dev": 0, "test": 0})
    assert not Path("out").exists()
    index = make_frames(CONFIG, manifest, Path("out"), {"train": 0, "dev": 1, "test": 0})
    assert [(clip["split"], clip["id"]) for clip in index["dropped"]] == [("dev", "clip5")]
    assert "5.mp4" in index["dropped"][0]["reason"]
    assert index["clips"] == 7 and index["clips_per_split"]["dev"] == 1


def test_what_the_corpus_stage_dropped_counts_towards_the_limit(manifest: Path) -> None:
    Path("data/raw/small/5.mp4").write_bytes(b"no video")
    report = {"splits": {split: {"dropped": int(split == "dev")} for split in NONE}}
    write_json(manifest.with_name("report.json"), report)
    message = (
        r"1 dev clips do not decode and the corpus stage dropped 1, more than corpus\.max_dropped\.dev = 1: `clip5`"
    )
    with pytest.raises(DataError, match=message):
        make_frames(CONFIG, manifest, Path("out"), {**NONE, "dev": 1})
    assert not Path("out").exists()
    assert make_frames(CONFIG, manifest, Path("out"), {**NONE, "dev": 2})["clips"] == 7


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


@pytest.fixture(scope="module", params=["closed.mp4", "open.mp4", "closed.mkv", "closed.avi", "closed.ts"])
def long_video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen seconds, a keyframe about every half second, in containers that seek differently."""
    options = {"open.mp4": {"x264-params": "open-gop=1"}}.get(request.param, {})
    path = tmp_path_factory.mktemp("long") / request.param
    b_frames = 0 if request.param.endswith("avi") else 2
    return write_video(path, pictures(400, 64, 96, seed=3), b_frames=b_frames, **options)


def cut(video: Path, windows: list[tuple[float | None, float | None]]) -> list[Clip]:
    return [
        Clip(f"clip{i:02d}", "train", "en", "ase", str(video), f"text {i}", start=start, end=end)
        for i, (start, end) in enumerate(windows)
    ]


def shard(
    clips: list[Clip], path: Path, config: FramesConfig = CONFIG
) -> tuple[dict[str, list[bytes]], dict[str, str]]:
    """Frames by clip as the shard holds them, in its order, and the reasons of the dropped ones."""
    record = make_shard(ShardTask(path, tuple(clips), config, {}))
    return {row["id"]: row["frames"] for row in iter_rows(path)}, {name: reason for _, name, reason in record.dropped}


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are opened from now on."""
    files: list[str] = []
    original = av.open
    monkeypatch.setattr(av, "open", lambda file, *rest, **more: files.append(file) or original(file, *rest, **more))
    return files


@pytest.mark.parametrize(("stride", "gap"), [(1, 12.0), (3, 12.0), (2, 1.0)])
def test_clips_of_one_video_are_decoded_together_and_hold_the_bytes_of_each_alone(
    long_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stride: int, gap: float
) -> None:
    monkeypatch.setattr("slt.video.SKIPPED_GAP", gap)
    config = replace(CONFIG, stride=stride)
    generator = np.random.default_rng(stride)
    starts, lengths = generator.uniform(0, 15, 12).round(2), generator.uniform(0.05, 1.5, 12).round(2)
    windows = [(float(start), float(start + length)) for start, length in zip(starts, lengths, strict=True)]
    windows += [(5.0, 5.04), (5.0, 6.0), (5.0, 6.0), (None, 0.5), (15.0, None), (14.2, 20.0), (5.02, 5.06)]
    clips = cut(long_video, windows)
    alone = {clip.id: list(frames_module.encoded_frames(long_video, config, clip.start, clip.end)) for clip in clips}
    files = opened(monkeypatch)
    together, dropped = shard(clips, tmp_path / "frames-00000.parquet", config)
    assert list(together) == [clip.id for clip in clips] and not dropped
    assert together == alone
    assert len(files) == 1 if gap > 2 else 1 < len(files) < len(clips)


def test_a_video_is_opened_once_per_shard(long_video: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = cut(long_video, [(i / 2, i / 2 + 0.4) for i in range(8)])
    write_manifest(checkout / "manifest.parquet", clips)
    files = opened(monkeypatch)
    index = make_frames(replace(CONFIG, clips_per_shard=4), checkout / "manifest.parquet", checkout / "out", NONE)
    assert [entry["clips"] for entry in index["shards"]] == [4, 4] and len(files) == 2


def test_a_clip_without_frames_is_dropped_and_its_neighbours_are_kept(long_video: Path, tmp_path: Path) -> None:
    together, dropped = shard(cut(long_video, [(1.0, 2.0), (30.0, 31.0), (3.0, 3.4)]), tmp_path / "frames.parquet")
    assert {name: len(encoded) for name, encoded in together.items()} == {"clip00": 25, "clip02": 10}
    assert list(dropped) == ["clip01"] and "no frame between 30.0 and 31.0 s" in dropped["clip01"]


def test_damage_drops_the_clips_that_it_touches_and_no_others(tmp_path: Path) -> None:
    video = write_video(tmp_path / "damaged.mp4", pictures(400, 64, 96, seed=3))
    content = bytearray(video.read_bytes())
    with av.open(str(video)) as container:
        hurt = next(p for p in container.demux(video=0) if p.pts is not None and float(p.pts * p.time_base) > 8)
        content[hurt.pos + 5 : hurt.pos + hurt.size] = bytes(hurt.size - 5)
    video.write_bytes(content)
    clips = cut(video, [(i + 0.0, i + 1.0) for i in range(16)])
    together, dropped = shard(clips, tmp_path / "frames.parquet")
    alone = {}
    for clip in clips:
        try:
            alone[clip.id] = list(frames_module.encoded_frames(video, CONFIG, clip.start, clip.end))
        except DataError as error:
            assert dropped[clip.id] == str(error)
    assert together == alone and 0 < len(dropped) < 5


def test_clips_of_a_folder_of_images_are_named(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "images0001.png"), pictures(1, 64, 64)[0])
    together, dropped = shard(cut(tmp_path, [(0.0, 1.0), (1.0, 2.0)]), tmp_path / "frames.parquet")
    assert not together and all("no presentation time" in reason for reason in dropped.values())


def test_workers_do_not_import_torch() -> None:
    import subprocess
    import sys

    code = "import sys, stages.frames; sys.exit(any(name in sys.modules for name in ('torch', 'timm', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0
