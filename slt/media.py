"""Media files as the corpus stage sees them: what identifies them, what their headers say; no frame is decoded."""

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from slt.errors import DataError
from slt.store import file_sha256, fingerprint

NAMED = 20  # clips that a count names


@dataclass(frozen=True)
class Header:
    """What a video's container declares: length in seconds and frames per second; None where it does not."""

    seconds: float | None
    rate: float | None


def read_header(path: Path) -> Header:
    """The header of a video file; DataError names a file that does not open or has no video stream."""
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.video:
                raise DataError(f"{path}: no video stream in it; replace the file")
            stream = container.streams.video[0]
            rate = float(stream.average_rate) if stream.average_rate else None
            return Header(declared_seconds(container, stream), rate)
    except av.FFmpegError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}): damaged or cut short; replace it") from error


def declared_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """Length of the video stream as its header states it, seconds; None where a container only estimates it."""
    name = container.format.name
    if name == "avi":
        return stream.frames / float(stream.average_rate) if stream.frames and stream.average_rate else None
    if "mp4" in name and stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if "matroska" in name and "DURATION" in stream.metadata:
        found = re.fullmatch(r"(\d{1,6}):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata["DURATION"].strip("\0 "))
        return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else None
    return None


def parse_seconds(cell: object) -> float | None:
    """An annotated time as a number, None for an empty cell; ValueError for anything that is no time."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    seconds = float(cell)  # type: ignore[arg-type]
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError("no time")
    return seconds


@dataclass
class Intervals:
    """Checks annotated intervals against the headers of their videos; every video is opened once."""

    clamped: list[str] = field(default_factory=list)
    """clips whose end was past the end of the video"""
    unknown: Counter[Path] = field(default_factory=Counter)
    """videos whose header declares no length, and how many clips they have"""
    headers: dict[Path, Header | DataError] = field(default_factory=dict)

    def header(self, video: Path) -> Header:
        """The video's header; DataError ``unreadable video: …`` for every clip of one that has none."""
        if video not in self.headers:
            try:
                self.headers[video] = read_header(video)
            except DataError as error:
                self.headers[video] = DataError(f"unreadable video: {error}")  # the report counts by what is before `:`
        header = self.headers[video]
        if isinstance(header, DataError):
            raise header
        return header

    def fit(self, name: str, video: Path, start: float | None, end: float | None) -> tuple[float | None, float | None]:
        """The interval as the video has it, seconds: an end past the video's is clamped to it.

        Raises DataError with the reason to drop the clip: reversed or without length, past the end of the video,
        shorter than one frame, or a video whose header cannot be read.
        """
        header, first = self.header(video), start or 0.0
        if end is not None and end < first:
            raise DataError(f"reversed times: {first:g} to {end:g} s")
        if end is not None and end == first:
            raise DataError(f"zero length: at {first:g} s")
        if header.seconds is None:
            self.unknown[video] += 1
        elif first >= header.seconds:
            raise DataError(f"starts past the end of its video: at {first:g} s of {header.seconds:g} s")
        past = end is not None and header.seconds is not None and end > header.seconds
        last = header.seconds if end is None or past else end
        if header.rate and last is not None and (last - first) * header.rate < 1 - 1e-6:
            raise DataError(f"shorter than one frame: {last - first:.3g} s at {header.rate:g} frames per second")
        if past:
            self.clamped.append(name)
        return start, last if past else end

    def notes(self) -> dict[str, Any]:
        """Counts for the data report; the first clips by name."""
        return {
            "ends_clamped_to_video": {"clips": len(self.clamped), "first": self.clamped[:NAMED]},
            "videos_without_declared_length": {
                "videos": len(self.unknown),
                "clips": self.unknown.total(),
                "first": sorted(path.name for path in self.unknown)[:NAMED],
            },
        }


def identify(path: Path, hash_media: bool) -> str:
    """What the manifest says of a media file's content: ``sha256:…``, or ``stat:<bytes>:<mtime>``.

    A folder of images is known by the names, sizes and times (or the contents) of its files.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())
        return f"folder:{fingerprint([(file.name, identify(file, hash_media)) for file in files])}"
    if hash_media:
        return f"sha256:{file_sha256(path)}"
    stat = path.stat()
    return f"stat:{stat.st_size}:{stat.st_mtime_ns}"
