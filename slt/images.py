"""A clip as a folder of images: which files are its frames, in which order, and their pixels."""

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from slt.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_SIDE = 16384  # pixels; a damaged header can claim any size, and a decoder would allocate it
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8"
FRAME_HEADERS, NO_FRAME_HEADERS = 0xFFC, (0xFFC4, 0xFFC8, 0xFFCC)  # of JPEG's markers: those that hold a size


def list_images(folder: Path) -> list[os.DirEntry[str]]:
    """The PNG and JPEG files of a folder in numeric order of their names (``images9.png`` before ``images10.png``).

    One pass over the folder; hidden files, such as the ``._`` twins that an unpacker on a Mac leaves, are no frames.
    Raises DataError when there is no such folder.
    """
    try:
        with os.scandir(folder) as entries:
            images = [e for e in entries if e.name.lower().endswith(SUFFIXES) and not e.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{folder}: no such folder of images; unpack it there, or set SLT_RAW") from error
    return sorted(images, key=lambda entry: _numeric(entry.name))


def _numeric(name: str) -> tuple[list[str | int], str]:
    parts = re.split(r"([0-9]+)", name)  # text and number take turns, so that two names always compare
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def read_images(folder: Path) -> Iterator[np.ndarray]:
    """The frames of a folder, uint8 (height, width, 3), BGR, in the order of :func:`list_images`.

    Raises DataError naming the first image that is empty, damaged, cut short, too large, or of another size than
    the images before it.
    """
    first: tuple[int, ...] | None = None
    for entry in list_images(folder):
        pixels = _decode(entry.path)
        if first is not None and pixels.shape != first:
            raise DataError(
                f"{entry.path}: {pixels.shape[1]} x {pixels.shape[0]} pixels, the images before it have "
                f"{first[1]} x {first[0]}: it belongs to another clip or is damaged; unpack the folder again"
            )
        first = pixels.shape
        yield pixels


def _decode(file: str) -> np.ndarray:
    with open(file, "rb", buffering=0) as opened:  # Path.read_bytes takes more than twice as long
        encoded = opened.read()
    if encoded and not encoded.startswith((PNG_SIGNATURE, JPEG_SIGNATURE)):
        raise DataError(f"{file}: neither PNG nor JPEG, whatever its name says; replace the file")
    check_size(file, *(_claimed_size(encoded) or (1, 1)))  # before anything is allocated
    try:
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR) if encoded else None
    except cv2.error:  # a header that claims an absurd size
        pixels = None
    if pixels is None:
        what = "empty" if not encoded else "cannot be decoded as an image: damaged or cut short"
        raise DataError(f"{file}: {what}; replace the file")
    check_size(file, pixels.shape[1], pixels.shape[0])
    return pixels.astype(np.uint8, copy=False)


def _claimed_size(encoded: bytes) -> tuple[int, int] | None:
    """Width and height as the header of a PNG or JPEG image has them; None where it ends before."""
    if encoded.startswith(PNG_SIGNATURE):
        return struct.unpack(">II", encoded[16:24]) if len(encoded) >= 24 else None  # type: ignore[return-value]
    at = 2
    while at + 9 <= len(encoded):
        marker, length = struct.unpack(">HH", encoded[at : at + 4])
        if marker >> 4 == FRAME_HEADERS and marker not in NO_FRAME_HEADERS:
            height, width = struct.unpack(">HH", encoded[at + 5 : at + 9])
            return width, height
        at += 1 if marker == 0xFFFF or marker >> 8 != 0xFF else 2 + length  # fill bytes may stand before a marker
    return None


def check_size(path: Path | str, width: int, height: int) -> None:
    """Raise DataError for a picture of no or more than ``MAX_SIDE`` pixels a side."""
    if not 0 < width <= MAX_SIDE or not 0 < height <= MAX_SIDE:
        raise DataError(f"{path}: claims {width} x {height} pixels, beyond 1 to {MAX_SIDE} a side: damaged; replace it")
