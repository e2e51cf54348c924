"""Draws poses: an upper body with a face and large hands, anti-aliased, in about a millisecond a frame."""

import itertools
import math

import cv2
import numpy as np

from slt.demo.motion import Motion, Signer

UNITS = 112.0  # of length along the side of a frame; see slt.demo.motion
OVERSAMPLING = 2
GRAIN = 2.5  # standard deviation of the camera's noise, grey levels
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
Colour = tuple[int, int, int]


def render(
    motion: Motion, width: int, rng: np.random.Generator, height: int | None = None, noise: float = GRAIN
) -> np.ndarray:
    """The frames of a clip, (frames, height, width, 3) RGB uint8; light camera noise is drawn from ``rng``.

    ``width`` and ``height`` are pixels; without ``height`` frames are square. A taller frame shows more above the head
    and, mostly, below the chest.
    """
    height = width if height is None else height
    grain = rng.normal(0.0, noise, (height + 32, width + 32, 1)).astype(np.int8)
    shifts = rng.integers(0, 32, (len(motion), 2))
    light = np.float32(rng.uniform(0.94, 1.06))
    pen = _Pen(width, height, motion)
    backdrop = _backdrop(motion.signer, width * OVERSAMPLING, height * OVERSAMPLING)
    frames = np.empty((len(motion), height, width, 3), dtype=np.uint8)
    # Python's floats: the same numbers, and arithmetic on one at a time is several times as fast as on numpy's
    cameras, faces, shakes, hands = (a.tolist() for a in (motion.camera, motion.face, motion.shake, motion.hands))
    for index in range(len(motion)):
        pen.start(backdrop, cameras[index])
        _body(pen, motion.signer)
        _head(pen, motion.signer, faces[index], shakes[index])
        for hand in (1, 0):
            _arm_and_hand(pen, motion.signer, hands[index][hand], -1 if hand else 1)
        small = cv2.resize(pen.image, (width, height), interpolation=cv2.INTER_AREA)
        dy, dx = shifts[index]
        noisy = small * light
        noisy += grain[dy : dy + height, dx : dx + width]
        np.clip(noisy, 0, 255, out=noisy)
        frames[index] = noisy.astype(np.uint8)
    return frames


class _Pen:
    """Draws in units on an oversampled image, mirrored for a left-handed signer, seen through a moving camera."""

    def __init__(self, width: int, height: int, motion: Motion) -> None:
        self.scale = width * OVERSAMPLING / UNITS * motion.zoom
        self.side = -1.0 if motion.signer.left_handed else 1.0
        self.middle = width * OVERSAMPLING / 2
        further = UNITS * height / width - UNITS
        self.top = 0.25 * further
        self.bottom = UNITS + 0.75 * further

    def start(self, backdrop: np.ndarray, camera: list[float]) -> None:
        self.image = backdrop.copy()
        self.x = self.middle + camera[0] * self.scale
        self.y = (camera[1] + self.top) * self.scale

    def point(self, x: float, y: float) -> tuple[int, int]:
        unit = 1 << _SHIFT
        return round((self.x + self.side * x * self.scale) * unit), round((self.y + y * self.scale) * unit)

    def line(self, start: tuple[float, float], end: tuple[float, float], width: float, colour: Colour) -> None:
        thickness = max(1, round(width * self.scale))
        cv2.line(self.image, self.point(*start), self.point(*end), colour, thickness, cv2.LINE_AA, _SHIFT)

    def disc(self, x: float, y: float, rx: float, ry: float, colour: Colour, width: float = 0.0) -> None:
        """A filled ellipse, or with ``width`` its outline."""
        unit = self.scale * (1 << _SHIFT)
        thickness = max(1, round(width * self.scale)) if width else -1
        axes = (max(1, round(rx * unit)), max(1, round(ry * unit)))
        cv2.ellipse(self.image, self.point(x, y), axes, 0, 0, 360, colour, thickness, cv2.LINE_AA, _SHIFT)

    def area(self, points: list[tuple[float, float]], colour: Colour) -> None:
        cv2.fillPoly(self.image, [np.array([self.point(*point) for point in points])], colour, cv2.LINE_AA, _SHIFT)

    def curve(self, points: list[tuple[float, float]], width: float, colour: Colour) -> None:
        for start, end in itertools.pairwise(points):
            self.line(start, end, width, colour)


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(value * factor)) for value in colour)
    return red, green, blue


def _backdrop(signer: Signer, width: int, height: int) -> np.ndarray:
    fall = np.linspace(1.06, 0.86, height)[:, None, None]
    plain = np.ones((height, width, 3)) * np.array(signer.background) * fall
    return np.clip(plain, 0, 255).astype(np.uint8)


def _body(pen: _Pen, signer: Signer) -> None:
    wide = 21.0 * signer.shoulders
    dark = _shade(signer.skin, 0.82)
    pen.area([(-5, 36), (5, 36), (6, 52), (-6, 52)], dark)
    hem = pen.bottom + 13  # out of sight wherever the camera moves
    outline = [(-wide, 52), (-8, 47.5), (8, 47.5), (wide, 52), (wide - 3, hem), (3 - wide, hem)]
    pen.area(outline, signer.shirt)
    pen.area([(-6, 47), (6, 47), (0, 54)], dark)


def _head(pen: _Pen, signer: Signer, face: list[float], shake: float) -> None:
    """The head; a head shake turns it: features move further than the outline."""
    width, opening, curve, cheeks, brow, slant = face
    size = signer.head
    x, y = shake * 0.45, 26.0
    hair, skin = signer.hair, signer.skin
    if signer.haircut == "long":
        pen.disc(x, y + 3, 17 * size, 21 * size, hair)
    elif signer.haircut == "bun":
        pen.disc(x, y - 17 * size, 6, 5, hair)
        pen.disc(x, y - 3, 15.2 * size, 15 * size, hair)
    elif signer.haircut == "scarf":
        pen.disc(x, y + 2, 17 * size, 20 * size, hair)
    elif signer.haircut == "short":
        pen.disc(x, y - 4, 15 * size, 15 * size, hair)
    pen.disc(x, y + (1.5 if signer.haircut != "bald" else 0), 13.2 * size, 15.2 * size, skin)
    x += shake * 0.75
    for side in (-1, 1):
        eye = x + side * 5.4 * size
        pen.disc(eye, y - 1, 2.6, 1.9, (250, 250, 248))
        pen.disc(eye + shake * 0.1, y - 1, 1.4, 1.6, (30, 24, 24))
        inner, outer = (x + side * 2.6, y - 5.4 + brow + slant), (x + side * 8.6, y - 5.4 + brow - slant)
        pen.line(inner, outer, 1.7, _shade(hair, 0.6) if signer.haircut != "scarf" else (50, 36, 30))
        if cheeks > 0.05:
            pen.disc(x + side * 8.6, y + 7.5, 4.6 * cheeks, 4.2 * cheeks, _shade(skin, 1.12))
            pen.disc(x + side * 8.6, y + 7.5, 4.6 * cheeks, 4.2 * cheeks, _shade(skin, 0.74), 0.9)
    pen.line((x, y + 1), (x + shake * 0.15, y + 4), 1.2, _shade(skin, 0.72))
    mouth = y + 9.3
    lips = (150, 50, 52)
    if opening > 0.7:
        pen.disc(x, mouth, width, opening, (70, 16, 20))
        pen.disc(x, mouth, width, opening, lips, 1.0)
    else:
        middle, corner = mouth + curve * 0.4, mouth - curve
        pen.curve(
            [(x - width, corner), (x - width / 2, middle), (x + width / 2, middle), (x + width, corner)], 1.5, lips
        )


def _arm_and_hand(pen: _Pen, signer: Signer, hand: list[float], side: int) -> None:
    x, y, angle = hand[:3]
    shape, size = hand[3:], signer.hand
    ahead = (math.sin(angle), -math.cos(angle))
    wrist = (x - 7.5 * size * ahead[0], y - 7.5 * size * ahead[1])
    shoulder = (side * (21.0 * signer.shoulders - 4), 56.0)
    elbow = ((shoulder[0] + wrist[0]) / 2 + side * 9, max((shoulder[1] + wrist[1]) / 2 + 12, 62.0))
    edge = _shade(signer.shirt, 0.62)
    for width, colour in ((10.0, edge), (8.2, _shade(signer.shirt, 1.12))):
        pen.line(shoulder, elbow, width, colour)
        pen.line(elbow, wrist, width - 1.5, colour)
    _hand(pen, (x, y), angle, shape, size, side, signer.skin)


def _hand(
    pen: _Pen, centre: tuple[float, float], angle: float, shape: list[float], size: float, side: int, skin: Colour
) -> None:
    """A hand of about 20 units: outlined palm, fingers as far as they are stretched, thumb on the body's side."""
    dark, light = _shade(skin, 0.45), _shade(skin, 1.08)
    ahead = (math.sin(angle), -math.cos(angle))
    across = (-ahead[1] * -side, ahead[0] * -side)  # towards the thumb

    def at(forward: float, thumbward: float) -> tuple[float, float]:
        return (
            centre[0] + size * (forward * ahead[0] + thumbward * across[0]),
            centre[1] + size * (forward * ahead[1] + thumbward * across[1]),
        )

    strokes = []
    for finger in range(4):
        stretched, spread = shape[finger + 1], shape[5]
        lean = (1.5 - finger) * 0.3 * spread
        root = at(2.0, (1.5 - finger) * 2.7)
        reach = 2.4 + stretched * (11.0, 12.2, 11.4, 9.4)[finger]
        tip = at(2.0 + reach * math.cos(lean), (1.5 - finger) * 2.7 + reach * math.sin(lean))
        strokes.append((root, tip, 3.1))
    if shape[0] > 0.15:
        strokes.append((at(-2.0, 3.0), at(-2.0 + 4.5 * shape[0], 3.0 + 8.5 * shape[0]), 3.4))
    palm = (*at(-1.0, 0.0), 6.0 * size, 6.0 * size)
    for start, end, width in strokes:
        pen.line(start, end, width * size + 1.8, dark)
    pen.disc(palm[0], palm[1], palm[2] + 0.9, palm[3] + 0.9, dark)
    pen.disc(*palm, skin)
    for start, end, width in strokes:
        pen.line(start, end, width * size, light)
    if shape[6] > 0.3:  # thumb and index finger closed to a ring in front of the palm
        x, y = at(8.0, 1.0)
        pen.disc(x, y, 5.4 * size * shape[6], 5.4 * size * shape[6], dark, 4.6)
        pen.disc(x, y, 5.4 * size * shape[6], 5.4 * size * shape[6], light, 2.8)
