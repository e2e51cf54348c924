"""Videos and folders of images as square RGB frames, decoded front to back, damage reported and never concealed."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from slt.errors import DataError
from slt.images import check_size, read_images
from slt.media import declared_seconds

SEEK_MARGIN = 2.0  # seconds before `start`: a container's index may lead to a keyframe shown after it
SKIPPED_GAP = SEEK_MARGIN + 10.0  # seconds between clips; a seek goes back by the margin and up to a keyframe interval

Fit = Literal["stretch", "pad"]
Window = tuple[float | None, float | None]
"""start and end in seconds of presentation time, half-open; None: from the beginning, to the end"""


def read_frames(
    path: Path,
    *,
    size: int,
    fit: Fit,
    start: float | None = None,
    end: float | None = None,
    stride: int = 1,
    bgr: bool = False,
) -> Iterator[np.ndarray]:
    """Frames of a video file, or of a folder of PNG or JPEG images in numeric order of name.

    Yields uint8 arrays (size, size, 3), RGB (BGR for OpenCV's encoders with ``bgr``), resized by swscale (bicubic)
    in one step: stretched to the square, or with the aspect kept and padded with black. ``start`` and ``end``, in
    seconds of presentation time, select the frames shown in [start, end); of these every ``stride``-th is kept.
    A rotation in the file's metadata is applied.

    Raises DataError naming the file when it is missing, has no video stream, cannot be decoded, is damaged or cut
    short (a container without a declared duration, MPEG-TS, hides the latter), is an image of another size than those
    before it, or yields no frame.
    """
    if path.is_dir() and (start is not None or end is not None):
        raise DataError(f"{path}: a folder of images has no presentation time; leave out start and end")
    fitter = _Fitter(size, fit, bgr)
    index = -1
    if path.is_dir():
        for index, pixels in enumerate(read_images(path)):
            if index % stride == 0:
                yield fitter.image(pixels)
    else:
        for index, (frame, _) in enumerate(_video_frames(path, [(start, end)])):
            if index % stride == 0:
                check_size(path, frame.width, frame.height)
                yield fitter(frame)
    if index < 0:
        window = "" if start is None and end is None else f" between {start} and {end} s"
        raise DataError(f"{path}: no frame{window}; leave the clip out or correct its annotation")


def read_clips(
    path: Path, windows: Sequence[Window], *, size: int, fit: Fit, stride: int = 1, bgr: bool = False
) -> Iterator[tuple[int, np.ndarray]]:
    """Frames of several clips of one video file, which is decoded front to back and each frame once.

    Yields (index into ``windows``, frame) in order of presentation; clips may overlap. The frames of each clip, their
    selection and the errors are those of :func:`read_frames`, but damage anywhere ends all of them, and a window
    without a frame yields nothing. Gaps of more than ``SKIPPED_GAP`` seconds are sought over, not decoded.
    """
    fitter = _Fitter(size, fit, bgr)
    seen = [-1] * len(windows)
    for stretch in _stretches(windows):
        for frame, inside in _video_frames(path, [windows[i] for i in stretch]):
            kept = []
            for i in (stretch[j] for j in inside):
                seen[i] += 1
                if seen[i] % stride == 0:
                    kept.append(i)
            if kept:
                check_size(path, frame.width, frame.height)
                picture = fitter(frame)
                yield from ((i, picture) for i in kept)


def _stretches(windows: Sequence[Window]) -> list[list[int]]:
    """Indices of windows grouped so that each group is decoded in one go, in order of their starts."""
    stretches: list[list[int]] = []
    reached = -math.inf
    for i in sorted(range(len(windows)), key=lambda i: windows[i][0] or 0.0):
        start, end = windows[i]
        if not stretches or (start or 0.0) > reached + SKIPPED_GAP:
            stretches.append([])
        stretches[-1].append(i)
        reached = max(reached, math.inf if end is None else end)
    return stretches


class _Fitter:
    """Resizes frames with one swscale context, kept from frame to frame."""

    def __init__(self, size: int, fit: Fit, bgr: bool) -> None:
        self.size, self.fit, self.bgr = size, fit, bgr
        self.reformatter = VideoReformatter()
        self.source = VideoFrame()  # of the images before, kept: the system clears memory of this size each time
        self.source_pixels = np.empty((0, 0, 3), np.uint8)

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        fitted = self._fitted(frame.width, frame.height)
        (pixels,) = _planes(self._resized(frame, *fitted, "bgr24" if self.bgr else "rgb24"), 3)
        if frame.rotation % 360:
            pixels = np.rot90(pixels, round(frame.rotation / 90))  # both turn anti-clockwise
        return self._squared(pixels)

    def image(self, pixels: np.ndarray) -> np.ndarray:
        """As for a frame of video, of an image (height, width, 3), BGR."""
        height, width = pixels.shape[:2]
        fitted = self._fitted(width, height)
        if fitted == (width, height):
            return self._squared(pixels if self.bgr else pixels[..., ::-1])
        if self.source_pixels.shape != pixels.shape:
            self.source = VideoFrame(width, height, "bgr24")
            (self.source_pixels,) = _planes(self.source, 3)
        self.source_pixels[:] = pixels
        # plane by plane: the same colours, but swscale takes two to three times as long to interleave them itself
        green, blue, red = _planes(self._resized(self.source, *fitted, "gbrp"), 1)
        return self._squared(cv2.merge([blue, green, red] if self.bgr else [red, green, blue]))

    def _fitted(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the picture inside the square."""
        if self.fit == "stretch" or width == height:
            return self.size, self.size
        longest = max(width, height)
        return max(1, round(self.size * width / longest)), max(1, round(self.size * height / longest))

    def _resized(self, frame: VideoFrame, width: int, height: int, pixel_format: str) -> VideoFrame:
        return self.reformatter.reformat(
            frame, width=width, height=height, format=pixel_format, interpolation=Interpolation.BICUBIC, threads=1
        )

    def _squared(self, pixels: np.ndarray) -> np.ndarray:
        if pixels.shape[:2] == (self.size, self.size):
            return np.ascontiguousarray(pixels)
        square = np.zeros((self.size, self.size, 3), np.uint8)
        top, left = (self.size - pixels.shape[0]) // 2, (self.size - pixels.shape[1]) // 2
        square[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        return square


def _planes(frame: VideoFrame, colours: int) -> list[np.ndarray]:
    """The memory of a frame's planes, not a copy of it, each (height, width, colours); their rows may be padded."""
    shape = (frame.height, frame.width, colours)
    return [
        np.ndarray(shape, np.uint8, plane, strides=(plane.line_size, colours, 1))  # type: ignore[arg-type]
        for plane in frame.planes
    ]


def _video_frames(path: Path, windows: Sequence[Window]) -> Iterator[tuple[VideoFrame, list[int]]]:
    if not path.is_file():
        raise DataError(f"{path}: no such video; put it there, or correct the annotation or SLT_RAW")
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.video:
                raise DataError(f"{path}: no video stream in it; replace the file")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise DataError(
                    f"{path}: of a codec that FFmpeg does not know: damaged, or to be converted; replace it"
                )
            check_size(path, stream.codec_context.width, stream.codec_context.height)
            stream.thread_type = "NONE"  # small clips decode fastest on one thread, and clips run side by side
            origin = (container.start_time or 0) / av.time_base
            start = min(start or 0.0 for start, _ in windows)
            if start > SEEK_MARGIN:
                container.seek(int((origin + start - SEEK_MARGIN) * av.time_base), backward=True)
            yield from _decode(path, container, stream, origin, windows)
    except av.FFmpegError as error:
        raise DataError(
            f"{path}: cannot be decoded ({error.strerror}): damaged or cut short; replace the file"
        ) from error


def _decode(
    path: Path,
    container: av.container.InputContainer,
    stream: VideoStream,
    origin: float,
    windows: Sequence[Window],
) -> Iterator[tuple[VideoFrame, list[int]]]:
    """Frames inside any window and the windows' indices, in order of presentation; every packet read is checked."""
    tick = float(stream.time_base or 0)
    edges = [  # annotated times are decimals, the file's are ticks
        (-math.inf if start is None else start - tick / 2, math.inf if end is None else end - tick / 2)
        for start, end in windows
    ]
    last = max(end for _, end in edges)
    whole = [0] if edges == [(-math.inf, math.inf)] else None  # most clips: no frame to be looked up
    packets, ticks = 0, 0  # and integers, since fractions would take as long as the resize
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise DataError(f"{path}: a packet after {ticks * tick - origin:.2f} s is damaged or cut short; replace it")
        if (pts := packet.pts) is not None:
            packets += 1
            if (shown := pts + (packet.duration or 0)) > ticks:
                ticks = shown
        for frame in packet.decode():
            seconds = (frame.pts or 0) * tick - origin
            if seconds >= last:
                return
            inside = whole or [i for i, (first, end) in enumerate(edges) if first <= seconds < end]
            if not inside:
                continue
            if frame.is_corrupt:
                raise DataError(f"{path}: the frame at {seconds:.2f} s is damaged; replace the file")
            yield frame, inside
    reached = ticks * tick - origin
    declared = declared_seconds(container, stream)
    rate = float(stream.average_rate or 25)
    if container.format.name == "avi" and any(start is None for start, _ in windows):
        reached = packets / rate  # its timestamps count frames, from the file's size when it was cut
    if declared is not None and reached < declared - 1.5 / rate:  # the last frame's duration may be unknown
        raise DataError(f"{path}: ends after {reached:.2f} s of {declared:.2f} s: it was cut short; replace the file")
