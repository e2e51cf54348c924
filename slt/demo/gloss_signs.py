"""Invents a sign for every gloss of an annotation, so that a corpus can be rehearsed before its videos are there."""

import random
from collections.abc import Iterable

from slt.demo.lexicon import BROWS, HANDS, MOUTHS, MOVES, PLACES, SHAPES, Sign, Token
from slt.demo.motion import SIGNERS, TURNS, Signer

NEGATED = "neg-"
"""the prefix by which PHOENIX-2014T marks a sign with a negating head shake"""
UNREPEATED = ("hold", "zigzag")  # movements that look the same however often they are repeated

BODIES = (
    *SIGNERS,
    Signer("henri", (240, 204, 182), (168, 168, 166), (62, 48, 44), (214, 210, 202), "short", 1.05, 1.1, 1.08, 0.95),
    Signer("ines", (196, 146, 108), (72, 34, 26), (26, 96, 104), (182, 190, 204), "long", 0.98, 0.94, 0.96, 1.04, 0.97),
)
"""as many as PHOENIX-2014T has signers"""


def tokens(glosses: Iterable[str]) -> list[Token]:
    """What is signed for a gloss line: ``neg-X`` is the sign X with a head shake, any other gloss a sign of its own."""
    signed = []
    for gloss in glosses:
        base = gloss.removeprefix(NEGATED)
        signed.append(Token(base, negated=True) if base and base != gloss else Token(gloss))
    return signed


def invent(glosses: Iterable[str]) -> tuple[dict[str, Sign], int]:
    """A sign for each distinct gloss, no two alike in what the hands do, and how many were drawn again for that.

    The sign depends on the gloss alone, unless an alphabetically earlier gloss has drawn the same hands.
    """
    signs: dict[str, Sign] = {}
    taken: set[tuple[str | int, ...]] = set()
    again = 0
    for gloss in sorted(set(glosses)):
        attempt = 0
        while (hands := _hands(sign := _draw(gloss, attempt))) in taken:
            attempt += 1
        again += attempt > 0
        taken.add(hands)
        signs[gloss] = sign
    return signs, again


def cast(speakers: Iterable[str]) -> dict[str, Signer]:
    """A body for each distinct speaker, in alphabetical order; beyond nine speakers bodies are shared."""
    return {speaker: BODIES[index % len(BODIES)] for index, speaker in enumerate(sorted(set(speakers)))}


def _hands(sign: Sign) -> tuple[str | int, ...]:
    return (sign.shape, sign.end_shape, sign.turn, sign.place, sign.move, sign.repeats, sign.hands)


def _draw(gloss: str, attempt: int) -> Sign:
    rng = random.Random(f"{attempt} {gloss}")
    shape, move = rng.choice(SHAPES), rng.choice(MOVES)
    return Sign(
        gloss,
        shape,
        end_shape=rng.choice(SHAPES) if rng.random() < 0.25 else shape,
        turn=rng.choice(list(TURNS)),
        place=rng.choice(PLACES),
        move=move,
        repeats=1 if move in UNREPEATED else rng.choice((1, 2)),
        hands=rng.choice(HANDS),
        mouth=rng.choice(MOUTHS),
        brows=rng.choice(BROWS),
    )
