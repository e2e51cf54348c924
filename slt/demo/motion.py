"""From signs to poses: what hands, face and head do in every frame, with co-articulation and a signer's habits.

Lengths are in units of 1/112 of the frame's side; x grows from the body's axis towards the signing hand's side, y
downwards from the upper edge. Angles are radians, 0 pointing up, growing towards the signing hand's own side.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slt.demo.lexicon import LEXICON, Sign, Token

# thumb, index, middle, ring, little finger (0 folded to 1 stretched); spread; fingertips closed to a ring
SHAPES = {
    "fist": (0.0, 0, 0, 0, 0, 0.0, 0),
    "flat": (0.1, 1, 1, 1, 1, 0.02, 0),
    "five": (1.0, 1, 1, 1, 1, 1.0, 0),
    "index": (0.0, 1, 0, 0, 0, 0.2, 0),
    "vee": (0.0, 1, 1, 0, 0, 1.1, 0),
    "three": (0.0, 1, 1, 1, 0, 0.9, 0),
    "four": (0.0, 1, 1, 1, 1, 0.8, 0),
    "thumb": (1.2, 0, 0, 0, 0, 0.0, 0),
    "ell": (1.1, 1, 0, 0, 0, 0.2, 0),
    "why": (1.1, 0, 0, 0, 1, 0.9, 0),
    "horns": (0.0, 1, 0, 0, 1, 0.7, 0),
    "ring": (0.0, 0, 0, 0, 0, 0.0, 1),
    "claw": (0.7, 0.5, 0.5, 0.5, 0.5, 1.3, 0),
    "pinky": (0.0, 0, 0, 0, 1, 0.4, 0),
}
PLACES = {
    "high": (29, 25), "brow": (10, 13), "ear": (22, 27), "cheek": (17, 36), "chin": (5, 45), "shoulder": (22, 54),
    "contra": (-18, 58), "chest": (7, 65), "centre": (8, 83), "side": (33, 66), "low": (26, 93),
}  # fmt: skip
TURNS = {"up": 0.0, "in": -math.pi / 2, "down": math.pi, "out": math.pi / 2}
# width, opening and curve (up at the corners) of the mouth, units; cheeks 0 to 1; brow height and slant, units
MOUTHS = {"closed": (3.6, 0, 0), "open": (3.4, 4, 0), "round": (1.6, 2.4, 0), "smile": (5, 0.6, 2.4)}
BROWS = {"level": (0, 0), "raised": (-2.6, 0), "furrowed": (1.2, 1.8)}
REST = (25.0, 108.0)

FRAME_SECONDS = {"hold": 0.36, "tap": 0.38, "up": 0.38, "down": 0.38, "in": 0.38, "out": 0.38, "twist": 0.42,
                 "arc": 0.42, "wave": 0.45, "circle": 0.45, "zigzag": 0.48}  # fmt: skip


@dataclass(frozen=True)
class Signer:
    """A person: body, colours (RGB) and habits."""

    name: str
    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    shirt: tuple[int, int, int]
    background: tuple[int, int, int]
    haircut: str
    head: float = 1.0
    shoulders: float = 1.0
    hand: float = 1.0
    speed: float = 1.0
    reach: float = 1.0
    left_handed: bool = False


SIGNERS = (
    Signer("anna", (236, 196, 170), (96, 58, 30), (40, 62, 110), (196, 204, 210), "long", speed=1.0),
    Signer("ben", (150, 100, 70), (24, 20, 18), (214, 214, 206), (96, 120, 140), "short", 1.03, 1.14, 1.06, 0.92, 1.08),
    Signer("clara", (250, 214, 188), (206, 170, 96), (110, 34, 44), (226, 220, 206), "bun", 0.97, 0.92, 0.95, 1.12),
    Signer(
        "david", (206, 160, 124), (58, 52, 50), (44, 84, 60), (170, 176, 160), "short", 1.0, 1.08, 1.04, 0.86, 1.0, True
    ),
    Signer("elif", (222, 178, 140), (60, 40, 72), (70, 70, 78), (206, 190, 196), "scarf", 0.98, 0.96, 0.97, 1.06, 0.94),
    Signer("farid", (178, 128, 92), (34, 28, 26), (150, 106, 44), (140, 156, 176), "bald", 1.02, 1.1, 1.03, 0.97, 1.05),
    Signer("grace", (118, 78, 56), (20, 16, 20), (92, 60, 120), (190, 200, 180), "bun", 0.99, 1.0, 1.0, 1.02, 1.03),
)  # fmt: skip
UNSEEN = SIGNERS[-1]  # in test only


@dataclass
class Motion:
    """A clip's poses, one row a frame.

    ``hands`` (frames, 2, 10): x, y, angle and the seven values of the shape, signing hand first;
    ``face`` (frames, 6): mouth width, opening, curve, cheeks, brow height, brow slant;
    ``shake`` (frames,): sideways turn of the head; ``camera`` (frames, 2): offset of the view.
    """

    signer: Signer
    hands: np.ndarray
    face: np.ndarray
    shake: np.ndarray
    camera: np.ndarray
    zoom: float

    def __len__(self) -> int:
        return len(self.hands)

    def lasting(self, frames: int) -> "Motion":
        """The same motion, faster or slower, in exactly so many frames."""
        before, after = np.linspace(0.0, 1.0, len(self)), np.linspace(0.0, 1.0, frames)

        def stretched(poses: np.ndarray) -> np.ndarray:
            columns = [np.interp(after, before, column) for column in poses.reshape(len(poses), -1).T]
            return np.stack(columns, axis=-1).reshape(frames, *poses.shape[1:])

        return dataclasses.replace(
            self,
            hands=stretched(self.hands),
            face=stretched(self.face),
            shake=stretched(self.shake),
            camera=stretched(self.camera),
        )


def plan(
    tokens: Sequence[Token],
    signer: Signer,
    fps: int,
    rng: np.random.Generator,
    lexicon: Mapping[str, Sign] = LEXICON,
) -> Motion:
    """The poses of a report; the number of random draws does not depend on negation or intensity.

    Each sign takes 4 to 7 frames at 12 frames a second; between signs hands travel 1 or 2 frames.
    """
    at_rest = np.stack([_hand(REST, 2.6, "fist"), _hand((-REST[0], REST[1]), -2.6, "fist")])
    neutral = np.array([*MOUTHS["closed"], 0.0, 0.0, 0.0])
    hands, faces, shake = [at_rest[None]], [neutral[None]], [np.zeros(1)]
    tempo = signer.speed * rng.uniform(0.92, 1.08)
    for token in tokens:
        noise = rng.normal(size=5)
        phase = rng.uniform()
        sign = lexicon[token.sign]
        frames = _frames(sign, tempo * math.exp(0.08 * noise[4]), fps)
        signed = _sign(sign, token.intensity, frames, signer, noise, at_rest)
        face = np.repeat(_face(sign, token)[None], frames, axis=0)
        link = _transition(hands[-1][-1], signed[0], fps)
        hands += [link, signed]
        faces += [_between(faces[-1][-1], face[0], len(link)), face]
        turns = 2 * np.pi * (np.arange(len(link) + frames) / fps * 3.2 + phase)
        shake.append(np.sin(turns) * 4.5 if token.negated else np.zeros(len(turns)))
    link = _transition(hands[-1][-1], at_rest, fps)
    hands += [link, at_rest[None]]
    faces += [_between(faces[-1][-1], neutral, len(link)), neutral[None]]
    shake.append(np.zeros(len(link) + 1))
    poses = np.concatenate(hands)
    drift = np.cumsum(rng.normal(0.0, 0.12, (len(poses), 2)), axis=0)
    camera = rng.uniform(-2.5, 2.5, 2) + np.clip(drift, -1.5, 1.5)
    return Motion(signer, poses, np.concatenate(faces), np.concatenate(shake), camera, float(rng.uniform(0.96, 1.04)))


def _frames(sign: Sign, tempo: float, fps: int) -> int:
    seconds = (FRAME_SECONDS[sign.move] + 0.1 * (sign.repeats - 1)) / tempo
    return max(round(fps / 3), min(round(fps * 7 / 12), round(seconds * fps)))


def _hand(place: tuple[float, float], angle: float, shape: str) -> np.ndarray:
    return np.array([*place, angle, *SHAPES[shape]], dtype=float)


def _face(sign: Sign, token: Token) -> np.ndarray:
    mouth, cheeks, brows = MOUTHS[sign.mouth], 0.0, BROWS[sign.brows]
    if token.intensity > 0:  # puffed cheeks, brows together
        mouth, cheeks, brows = (1.4, 0.8, 0), 1.0, BROWS["furrowed"]
    elif token.intensity < 0:  # pressed lips, brows up
        mouth, brows = (6, 0, -1.6), BROWS["raised"]
    return np.array([*mouth, cheeks, *brows])


def _sign(
    sign: Sign, intensity: int, frames: int, signer: Signer, noise: np.ndarray, at_rest: np.ndarray
) -> np.ndarray:
    """Poses of both hands during one sign, (frames, 2, 10); ``noise``: 5 standard normal draws."""
    size = 11.0 * signer.reach * {-1: 0.6, 0: 1.0, 1: 1.45}[intensity] * math.exp(0.1 * noise[2])
    x, y = PLACES[sign.place]
    x, y = x * (0.6 + 0.4 * signer.reach) + 1.1 * noise[0], y + 1.1 * noise[1]
    if sign.hands != "one":
        x = max(x, 13.0)
    when = (np.arange(frames) + 0.5) / frames
    poses = np.empty((frames, 2, 10))
    first, last = np.array(SHAPES[sign.shape]), np.array(SHAPES[sign.end_shape])
    angle = TURNS[sign.turn] + 0.07 * noise[3]
    for hand, start in ((0, 0.0), (1, 0.5 if sign.hands == "alt" else 0.0)):
        moves = np.array([_path(sign.move, sign.repeats, (u + start) % 1.0) for u in when])
        poses[:, hand, 0] = x + size * moves[:, 0]
        poses[:, hand, 1] = y + size * moves[:, 1]
        poses[:, hand, 2] = angle + moves[:, 2]
        poses[:, hand, 3:] = first + when[:, None] ** 2 * (last - first)
    poses[:, 1, 0] *= -1
    poses[:, 1, 2] *= -1
    if sign.hands == "one":
        poses[:, 1] = at_rest[1]
    elif sign.hands == "base":
        poses[:, 1] = _hand((-9.0 + noise[0], y + 12 + noise[1]), 1.5, "flat")
    return poses


def _path(move: str, repeats: int, u: float) -> tuple[float, float, float]:
    """Offset in x and y (amplitude 1) and turn (radians) at the time ``u`` in [0, 1) of a movement."""
    v = (u * repeats) % 1.0
    turn = 2 * math.pi * v
    match move:
        case "up":
            return 0.0, 1 - 2 * v, 0.0
        case "down":
            return 0.0, 2 * v - 1, 0.0
        case "in":
            return 1 - 2 * v, 0.0, 0.0
        case "out":
            return 2 * v - 1, 0.0, 0.0
        case "circle":
            return 0.9 * math.cos(turn), 0.9 * math.sin(turn), 0.0
        case "zigzag":
            return 0.8 * math.sin(3 * math.pi * u), 2 * u - 1, 0.0
        case "wave":
            return math.sin(2 * math.pi * (repeats + 0.5) * u), 0.0, 0.0
        case "arc":
            return -math.cos(math.pi * v), -1.1 * math.sin(math.pi * v) + 0.5, 0.0
        case "tap":
            return 0.0, 0.55 * math.cos(turn), 0.0
        case "twist":
            return 0.0, 0.0, 0.9 * math.sin(turn)
        case _:  # hold
            return 0.0, 0.0, 0.0


def _transition(start: np.ndarray, end: np.ndarray, fps: int) -> np.ndarray:
    """Hands on their way between two signs: 1 frame at 12 frames a second, 2 when they have far to go."""
    distance = float(np.abs(start[:, :2] - end[:, :2]).max())
    return _between(start, end, max(1, round((1 if distance < 24 else 2) * fps / 12)))


def _between(start: np.ndarray, end: np.ndarray, frames: int) -> np.ndarray:
    share = np.arange(1, frames + 1) / (frames + 1)
    share = share * share * (3 - 2 * share)  # hands speed up and slow down
    return start + share.reshape(-1, *[1] * start.ndim) * (end - start)
