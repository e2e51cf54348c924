"""Frames decoded by processes, as beside a GPU, are those decoded by threads; a bad image or a lost process is told."""

import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from slt import frame_decoding
from slt.errors import DataError, StoreError
from slt.frame_decoding import BATCHES, PART, Decoder, by_processes, by_threads

SIZE = 48
SHARD = Path("frames-00000.parquet")


def images(count: int) -> list[np.ndarray]:
    """JPEG images of noise, which are as large as such images get."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)
    return [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].ravel() for image in pixels]


@contextmanager
def decoding(kind: str) -> Iterator[Decoder]:
    with by_threads(SIZE, np.empty) if kind == "threads" else by_processes(SIZE, 2 * PART) as decode:
        yield decode


def in_time(work: Callable[[], object]) -> None:
    """Fail where this waits for ever: for memory that no one gives back."""
    done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            work()
            done.put(None)
        except BaseException as error:
            done.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        error = done.get(timeout=120)
    except queue.Empty:
        pytest.fail("still waiting after two minutes")
    if error:
        raise error


@pytest.fixture(autouse=True)
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLT_WORKERS", "2")


def test_processes_give_the_pixels_that_opencv_gives_batch_after_batch() -> None:
    encoded = images(2 * PART)
    expected = np.stack([cv2.imdecode(image, cv2.IMREAD_COLOR_RGB) for image in encoded])
    with by_processes(SIZE, len(encoded)) as decode:
        for turn in range(BATCHES + 2):  # each slot more than once, with other frames
            order = np.roll(np.arange(len(encoded)), turn)[: len(encoded) - turn]
            batch = decode([encoded[i] for i in order], SHARD)
            assert np.array_equal(batch.result(), expected[order])
            batch.release()


def test_as_many_batches_as_said_can_be_out_at_once() -> None:
    def decode_all() -> None:
        encoded = images(BATCHES)
        with by_processes(SIZE, PART) as decode:
            batches = [decode([image] * PART, SHARD) for image in encoded]
            for image, batch in zip(encoded, batches, strict=True):
                assert (batch.result() == cv2.imdecode(image, cv2.IMREAD_COLOR_RGB)).all()

    in_time(decode_all)


@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.parametrize("damage", ["nothing", "text", "another size"])
def test_what_is_no_image_of_that_size_names_the_shard(kind: str, damage: str) -> None:
    bad = {
        "nothing": np.empty(0, np.uint8),
        "text": np.frombuffer(b"no image", np.uint8),
        "another size": cv2.imencode(".jpg", np.zeros((SIZE, SIZE // 2, 3), np.uint8))[1].ravel(),
    }[damage]
    encoded = images(PART + 2)
    encoded[-1] = bad
    with decoding(kind) as decode, pytest.raises(StoreError, match=r"frames-00000\.parquet: a frame is no JPEG of 48"):
        decode(encoded, SHARD).result()


def test_more_bytes_than_any_image_of_that_size_has_name_the_shard() -> None:
    with by_processes(SIZE, PART) as decode, pytest.raises(StoreError, match="a frame is no JPEG of 48 x 48"):
        decode([np.zeros(10**6, np.uint8)], SHARD)


def test_a_killed_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_decoding, "_decode_shared", kill)
    with pytest.raises(DataError, match="a worker process was killed"), by_processes(SIZE, PART) as decode:
        decode(images(2), SHARD).result()


def kill(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
