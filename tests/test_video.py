"""Frames are PyAV's own, to the bit; a damaged, cut or empty file is an error that names it."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from PIL import Image

from slt.errors import DataError
from slt.video import read_frames

RATE = 25


def pictures(count: int, height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    """Moving noise on a grey that grows, (count, height, width, 3)."""
    generator = np.random.default_rng(seed)
    frames = np.empty((count, height, width, 3), np.uint8)
    patch = generator.integers(0, 255, (40, 40, 3))
    for i in range(count):
        frames[i] = 40 + 3 * i % 160
        left = (i * 5) % (width - 40)
        frames[i, 20:60, left : left + 40] = patch
    return frames


def write_video(path: Path, frames: np.ndarray, b_frames: int = 2, rotation: int = 0, **options: str) -> Path:
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=RATE, options={"threads": "1", "g": "12", "bf": str(b_frames)})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_images(folder: Path, frames: np.ndarray) -> None:
    for i, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"images{i + 1:04d}.png"), frame[..., ::-1])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", pictures(50))


def pyav(path: Path, width: int, height: int) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [
            frame.reformat(width, height, "rgb24", interpolation=Interpolation.BICUBIC).to_ndarray()
            for frame in container.decode(video=0)
        ]


def read(path: Path, size: int = 64, fit: str = "stretch", **options: object) -> list[np.ndarray]:
    return list(read_frames(path, size=size, fit=fit, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [64, 45])  # swscale pads the rows of the second
def test_frames_are_pyavs_own(clip: Path, size: int) -> None:
    frames = read(clip, size)
    assert len(frames) == 50 and frames[0].shape == (size, size, 3) and frames[0].dtype == np.uint8
    assert all(np.array_equal(a, b) for a, b in zip(frames, pyav(clip, size, size), strict=True))


def test_colours_come_out_in_the_order_asked_for(tmp_path: Path) -> None:
    red = np.zeros((3, 64, 64, 3), np.uint8)
    red[..., 0] = 255
    path = write_video(tmp_path / "red.mp4", red)
    assert read(path)[0][32, 32].argmax() == 0
    assert read(path, bgr=True)[0][32, 32].argmax() == 2


def test_padding_keeps_the_aspect_and_is_black(clip: Path) -> None:
    frames = read(clip, fit="pad")
    assert all(np.array_equal(a[8:56], b) for a, b in zip(frames, pyav(clip, 64, 48), strict=True))
    assert not frames[0][:8].any() and not frames[0][56:].any()


def test_start_end_and_stride_select_by_presentation_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "long.mp4", pictures(200))
    whole = pyav(path, 64, 64)
    windows = [(0.4, 0.8, 1), (5.0, 6.0, 1), (3.32, 3.36, 1), (6.2, None, 1), (None, 1.0, 3), (0.3, 7.0, 4)]
    for start, end, stride in windows:
        first = 0 if start is None else round(np.ceil(start * RATE - 1e-9))
        last = len(whole) if end is None else round(np.ceil(end * RATE - 1e-9))
        frames = read(path, start=start, end=end, stride=stride)
        expected = whole[first:last:stride]
        assert len(frames) == len(expected), (start, end, stride)
        assert all(np.array_equal(a, b) for a, b in zip(frames, expected, strict=True)), (start, end, stride)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_applied_as_opencv_does(tmp_path: Path, degrees: int) -> None:
    marked = np.zeros((3, 64, 96, 3), np.uint8)
    marked[:, :20, :30] = 255
    path = write_video(tmp_path / "turned.mp4", marked, rotation=degrees)
    reference = cv2.VideoCapture(str(path)).read()[1]
    ours = read(path, size=96, fit="pad")[0]
    cut = ours[:, 16:80] if degrees != 180 else ours[16:80]
    assert cut.shape == reference.shape
    assert np.abs(cut.astype(int) - reference).max() < 12


def test_a_folder_of_images_reads_the_same_way(tmp_path: Path) -> None:
    frames = pictures(12, 64, 64)
    write_images(tmp_path, frames)
    (tmp_path / "notes.txt").write_text("no image")
    assert all(np.array_equal(a, b) for a, b in zip(read(tmp_path), frames, strict=True))
    assert len(read(tmp_path, stride=5)) == 3
    with pytest.raises(DataError, match="no presentation time"):
        read(tmp_path, start=1.0)


@pytest.mark.parametrize(("size", "fit"), [(64, "stretch"), (45, "stretch"), (45, "pad"), (200, "stretch")])
def test_resized_images_are_pyavs_own(tmp_path: Path, size: int, fit: str) -> None:
    frames = pictures(3, 120, 160)
    write_images(tmp_path, frames)
    height = round(size * 120 / 160) if fit == "pad" else size
    top = (size - height) // 2
    for ours, frame in zip(read(tmp_path, size, fit), frames, strict=True):
        whole = av.VideoFrame.from_ndarray(frame, format="rgb24")
        expected = whole.reformat(size, height, "rgb24", interpolation=Interpolation.BICUBIC).to_ndarray().astype(int)
        # by planes swscale takes other instructions, so a level may be rounded the other way
        assert np.abs(ours[top : top + height] - expected).max() <= 1
        assert not ours[:top].any() and not ours[top + height :].any()


def test_resized_images_keep_their_colours_in_the_order_asked_for(tmp_path: Path) -> None:
    write_images(tmp_path, np.full((1, 96, 80, 3), (250, 120, 30), np.uint8))
    for bgr, colours in ((False, (250, 120, 30)), (True, (30, 120, 250))):
        (frame,) = read(tmp_path, 64, bgr=bgr)
        assert frame.shape == (64, 64, 3) and np.abs(frame.astype(int) - colours).max() <= 1


def test_large_images_are_shrunk_without_aliasing(tmp_path: Path) -> None:
    photo = cv2.resize(pictures(1)[0], (640, 360), interpolation=cv2.INTER_CUBIC)
    write_images(tmp_path, photo[None])
    reference = np.asarray(Image.fromarray(photo).resize((64, 64), Image.Resampling.BICUBIC)).astype(int)
    error = np.mean((read(tmp_path, 64)[0] - reference) ** 2)
    assert 10 * np.log10(255**2 / error) > 50  # dB; OpenCV's averages over areas reach 40, its bicubic points 25


def test_images_are_read_in_numeric_order_without_hidden_twins(tmp_path: Path) -> None:
    frames = pictures(12, 64, 64)
    for i, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"images{i + 1}.png"), frame[..., ::-1])
        (tmp_path / f"._images{i + 1}.png").write_bytes(b"what a Mac adds")
    assert all(np.array_equal(a, b) for a, b in zip(read(tmp_path), frames, strict=True))


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    for i, side in enumerate((64, 64, 80, 64)):
        cv2.imwrite(str(tmp_path / f"images{i + 1:04d}.png"), np.zeros((64, side, 3), np.uint8))
    with pytest.raises(DataError, match=r"images0003\.png: 80 x 64 pixels, the images before it have 64 x 64"):
        read(tmp_path)


def test_an_image_that_claims_an_absurd_size_is_not_allocated(tmp_path: Path) -> None:
    content = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    (tmp_path / "images0001.png").write_bytes(content[:16] + (60_000).to_bytes(4, "big") * 2 + content[24:])
    with pytest.raises(DataError, match=r"images0001\.png: claims 60000 x 60000 pixels"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no image at all"])
def test_a_damaged_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images0001.png").write_bytes(content)
    with pytest.raises(DataError, match=r"images0001\.png"):
        read(tmp_path)


def test_a_folder_without_images_has_no_frame(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no frame"):
        read(tmp_path)


def test_missing_and_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.mp4: no such video"):
        read(tmp_path / "gone.mp4")
    for content in (b"", b"\0" * 5000, b"<html>not found</html>"):
        (tmp_path / "odd.mp4").write_bytes(content)
        with pytest.raises(DataError, match=r"odd\.mp4"):
            read(tmp_path / "odd.mp4")


def test_a_file_without_video_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(DataError, match=r"sound\.wav: no video stream"):
        read(path)


def test_a_file_with_no_frame_is_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "empty.mp4", pictures(0))
    with pytest.raises(DataError, match=r"empty\.mp4"):
        read(path)


def test_a_window_with_no_frame_is_named(clip: Path) -> None:
    with pytest.raises(DataError, match=r"clip\.mp4: no frame between 7\.0 and 8\.0 s"):
        read(clip, start=7.0, end=8.0)


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.avi"])
@pytest.mark.parametrize("part", [0.95, 0.6, 0.3])
def test_a_file_cut_short_is_named(tmp_path: Path, name: str, part: float) -> None:
    options = {"movflags": "faststart"} if name.endswith("mp4") else {}
    path = write_video(tmp_path / name, pictures(50), b_frames=0 if name.endswith("avi") else 2, **options)
    assert len(read(path)) == 50
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(DataError, match=name):
        read(path)


def test_flipped_bits_in_the_pictures_are_found(clip: Path, tmp_path: Path) -> None:
    content = clip.read_bytes()
    start, whole = content.find(b"mdat"), read(clip)
    path, caught = tmp_path / "flipped.mp4", 0
    # past the encoder's own settings, which stand as text at the start of the data
    for at in np.random.default_rng(1).integers(start + 800, content.find(b"moov") - 8, 30):
        damaged = bytearray(content)
        damaged[at] ^= 0x10
        path.write_bytes(damaged)
        try:
            frames = read(path)
        except DataError as error:
            caught += str(path) in str(error)
            continue
        assert len(frames) == len(whole)
    assert caught >= 15  # a flip that leaves a valid stream cannot be seen: video carries no checksum


def test_an_absurd_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: Path) -> None:
    monkeypatch.setattr("slt.images.MAX_SIDE", 100)
    with pytest.raises(DataError, match=r"clip\.mp4: claims 160 x 120 pixels"):
        read(clip)
