"""What it costs to cut the clips of one long video: all of them from one decode, against a seek and a decode for each.

    python benchmarks/cut_clips.py [--minutes N] [--clips N] [--rounds N]

Clips in a row with gaps of a second, as sentences follow one another; keyframes at x264's default interval and at one a
second. Both ways give the same bytes, which is checked. One core.
"""

# ruff: noqa: T201  (what it prints is its result)

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from any folder, installed or not

from slt.config.data import FramesConfig
from slt.frames import encoded_clips, encoded_frames
from slt.manifest import Clip

FRAMES = FramesConfig(size=224, fit="stretch", stride=1, quality=95, clips_per_shard=100)
RATE = 25


class Counted:
    """A PyAV container that counts the frames it decodes."""

    frames = 0

    def __init__(self, container: Any) -> None:
        self.container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self.container, name)

    def __enter__(self) -> "Counted":
        return self

    def __exit__(self, *error: Any) -> None:
        self.container.close()

    def demux(self, stream: Any) -> Iterator[Any]:
        for packet in self.container.demux(stream):
            decoded = packet.decode()
            Counted.frames += len(decoded)
            yield mock.Mock(
                is_corrupt=packet.is_corrupt, pts=packet.pts, duration=packet.duration, decode=lambda d=decoded: d
            )


def write_video(path: Path, seconds: int, keyframes: int) -> Path:
    """A figure whose hands move over noise, 640 x 360."""
    background = np.random.default_rng(1).integers(150, 220, (360, 640, 3)).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "g": str(keyframes)})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for t in range(seconds * RATE):
            picture = background.copy()
            cv2.ellipse(picture, (320, 300), (90, 140), 0, 0, 360, (60, 80, 140), -1)
            for side in (-1, 1):
                hand = (int(320 + side * (60 + 50 * np.sin(t / 7))), int(220 + 70 * np.sin(t / 9 + side)))
                cv2.circle(picture, hand, 22, (190, 150, 120), -1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def one_by_one(clips: list[Clip]) -> list[list[bytes]]:
    return [list(encoded_frames(Path(clip.video), FRAMES, clip.start, clip.end)) for clip in clips]


def together(clips: list[Clip]) -> list[list[bytes]]:
    return [encoded for _, encoded in encoded_clips(clips, FRAMES) if isinstance(encoded, list)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    seconds = int(arguments.minutes * 60)
    period = seconds / arguments.clips
    with tempfile.TemporaryDirectory() as folder:
        for keyframes in (250, RATE):
            video = write_video(Path(folder) / f"{keyframes}.mp4", seconds, keyframes)
            starts = [round(i * period, 2) for i in range(arguments.clips)]
            clips = [
                Clip(f"clip{i:03d}", "train", "en", "mis", str(video), "text", start=at, end=round(at + period - 1, 2))
                for i, at in enumerate(starts)
            ]
            print(f"{len(clips)} clips of {period - 1:g} s from {seconds} s, a keyframe every {keyframes} frames")
            ways = {"together": together, "one by one": one_by_one}
            results, decoded = [], {}
            for name, way in ways.items():
                Counted.frames = 0
                with mock.patch("slt.video.av.open", lambda file, opened=av.open: Counted(opened(file))):
                    results.append(way(clips))
                decoded[name] = Counted.frames
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(arguments.rounds):  # in turns, since a shared machine's speed changes
                for name, way in ways.items():
                    started = time.perf_counter()
                    way(clips)
                    times[name].append(time.perf_counter() - started)
            kept = sum(map(len, results[0]))
            for name, count in decoded.items():
                seconds_taken = statistics.median(times[name])
                print(f"  {name:10s}  {count:6d} frames decoded for {kept}: {count / kept:.2f}  {seconds_taken:6.2f} s")
            assert results[0] == results[1], "the two ways differ"
            ratios = [b / a for a, b in zip(times["together"], times["one by one"], strict=True)]
            print(f"  time, one by one / together, median of {len(ratios)}: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
