"""The lexicon: what the avatar does for each sign, as nine parameters of which any one may tell two signs apart.

An invented sign language: some signs are iconic (rain falls, the sun opens), the others arbitrary, as in natural
ones. Two values of the face are left to grammar alone, so that no sign collides with a marked form of another:
puffed cheeks (strong) and pressed lips (weak); a head shake negates.
"""

# ruff: noqa: SIM905 (a list of words is easier to read as text)

import itertools
from dataclasses import dataclass, fields

SHAPES = ("fist flat five index vee three four thumb ell why horns ring claw pinky").split()
PLACES = "high brow ear cheek chin shoulder contra chest centre side low".split()
MOVES = "hold up down in out circle zigzag wave tap arc twist".split()
HANDS = "one two alt base".split()
MOUTHS = "closed open round smile".split()
BROWS = "level raised furrowed".split()


@dataclass(frozen=True)
class Sign:
    """The nine parameters of a sign; ``gloss`` is its name."""

    gloss: str
    shape: str
    end_shape: str
    """differs from ``shape`` where the hand opens or closes during the sign"""
    turn: str
    """where the fingers point: up, down, in (to the other side), out"""
    place: str
    move: str
    repeats: int
    hands: str
    """one; two in mirror image; alt: two, half a movement apart; base: the other hand is a flat base"""
    mouth: str
    brows: str

    @property
    def parameters(self) -> tuple[str | int, ...]:
        """The nine values in the order of the fields, without the gloss."""
        return tuple(getattr(self, field.name) for field in fields(self) if field.name != "gloss")


# gloss shape[>end shape] turn place move[repeats] hands mouth brows
_SIGNS = """
RAIN         five      down high   down2   two  closed level
SHOWER       claw      down high   down2   two  closed level
DRIZZLE      five      down high   down2   two  round  level
DOWNPOUR     five      down high   down2   alt  closed level
HAIL         fist      down high   down2   two  closed level
SNOW         five      down high   zigzag  two  closed level
SLEET        claw      down high   zigzag  two  closed level
BLIZZARD     five      down high   zigzag  alt  open   furrowed
THUNDERSTORM fist      up   high   zigzag  alt  open   furrowed
LIGHTNING    index     up   high   zigzag  one  open   raised
STORM        flat      in   high   circle2 alt  open   furrowed
TORNADO      index     down high   circle2 one  open   furrowed
WIND         flat      in   high   wave    two  round  level
GUST         flat      in   high   wave2   two  round  level
BREEZE       four      in   high   wave    two  round  level
SUN          fist>five up   high   hold    one  smile  level
CLEAR        flat      up   high   arc     two  smile  level
RAINBOW      four      up   high   arc     one  smile  raised
CLOUD        claw      in   high   circle  two  closed level
FOG          five      in   cheek  circle  two  closed level
MIST         five      in   cheek  wave    two  closed level
HAZE         four      in   cheek  circle  two  closed level
DEW          ring      down low    wave2   one  closed level
FROST        claw      up   chest  tap2    two  closed level
ICE          claw      down low    wave    two  closed level
BLACK-ICE    flat      down low    wave    two  open   furrowed
THAW         claw>flat down low    down    two  closed level
FLOOD        flat      down low    up      two  open   furrowed
AVALANCHE    flat      down chest  zigzag  two  open   furrowed
POLLEN       ring>five up   cheek  hold    one  closed level
SMOG         fist      in   cheek  circle  two  closed furrowed

WARM         claw      up   chin   up      one  closed level
HOT          claw      up   chin   up      one  open   level
MILD         flat      up   chin   up      one  closed level
COOL         flat      up   chest  wave2   two  closed level
COLD         fist      up   chest  wave2   two  closed level
FREEZING     fist      up   chest  wave2   two  open   furrowed
DRY          index     in   chin   in      one  closed level
WET          five>fist in   chin   down    one  closed level
HUMID        five>fist in   chest  down    two  closed level
WINDY        four      in   side   wave2   two  round  level
CALM         flat      down chest  out     two  closed level
BRIGHT       fist>five up   chest  up      two  smile  level
DULL         five>fist down brow   down    two  closed furrowed
CHANGEABLE   ell       up   chest  twist2  two  closed level
PLEASANT     thumb     up   chest  circle  one  smile  level

HEAT         fist>five down high   down    one  open   raised
SCATTERED    claw      down side   tap2    alt  closed level
SHORT        vee       in   chest  tap     two  closed level
LONG         index     in   chest  out     two  closed level
SOMETIMES    index     up   side   arc2    one  closed level
POSSIBLE     why       up   side   twist2  one  closed raised
LIKELY       thumb     up   side   up      one  closed raised
AGAIN        vee       in   side   arc     one  closed level
UNUSUAL      horns     up   brow   out     one  open   raised

BECOME       ell       up   side   twist   two  closed level
STAY         why       down side   hold    two  closed level
STOP         flat      up   chest  hold    two  closed level
COME         index     up   side   in      two  closed level
MOVE-AWAY    index     up   side   out     two  closed level
INCREASE     flat      down side   up      one  closed level
DECREASE     flat      down side   down    one  closed level
SPREAD       fist>five down chest  out     two  closed level
RETURN       vee       in   side   in      one  closed level
INFLUENCE    five      down chest  circle  two  closed level
WARN         flat      up   chest  tap2    base open   furrowed
THEN         ell       in   side   arc     one  closed level

HIGH         index     up   ear    up      one  closed level
LOW          index     down ear    down    one  closed level
FRONT        four      up   chest  in      two  closed level
AIR          five      up   ear    wave    two  round  level

TEMPERATURE  index     up   centre up      base closed level
MAXIMUM      flat      in   brow   up      one  closed raised
MINIMUM      flat      in   low    down    one  closed furrowed
MINUS        index     in   side   in      one  closed level
UNTIL        index     in   centre out     two  closed level
ABOVE        flat      in   centre up      base closed level
METRE        pinky     up   side   out     one  closed level
CENTIMETRE   ring      up   side   out     one  closed level
MILLIMETRE   ring      up   side   tap     one  closed level
KILOMETRE    pinky     up   side   arc     one  closed level
PERCENT      ring      in   side   arc     one  closed level

UMBRELLA     fist      up   brow   up      base closed level
COAT         thumb     in   shoulder down  two  closed level
SUNCREAM     flat      up   cheek  circle2 two  closed level
DRIVE        fist      up   chest  circle  alt  closed level
HAT          flat      in   brow   tap2    one  closed level
DRINK        why       in   chin   twist   one  closed level
CAREFUL      vee       in   centre tap2    base closed furrowed
TAKE         five>fist in   side   in      one  closed level

TODAY        flat      down centre tap     two  closed level
TONIGHT      flat      down centre arc     two  closed level
TOMORROW     thumb     up   cheek  out     one  closed level
OVERMORROW   vee       up   cheek  out     one  closed level
NOW          why       down centre tap     two  closed level
SOON         ring      in   cheek  out     one  closed level
LATER        ell       in   cheek  twist   one  closed level
WEEKEND      flat      up   cheek  circle  one  closed level
NEXT-WEEK    index     in   centre arc     base closed level
MORNING      flat      up   contra up      one  closed level
NOON         flat      up   contra hold    one  closed raised
AFTERNOON    flat      up   contra down    one  closed level
EVENING      flat      down contra arc     one  closed level
NIGHT        fist      down contra arc     one  closed level
DAWN         ring      up   contra up      one  closed level
DUSK         ring      up   contra down    one  closed level
MIDNIGHT     index     up   contra hold    one  closed level

NORTH        flat      up   side   up      one  closed level
SOUTH        flat      down side   down2   one  closed level
WEST         flat      in   side   in      one  closed level
EAST         flat      in   side   out     one  closed level
CENTRE       five      down centre circle  one  closed level
EVERYWHERE   flat      down centre circle2 two  closed level
COAST        flat      in   low    wave    one  closed level
SEA          five      in   low    wave2   two  closed level
LAKE         flat      down low    circle  one  closed level
RIVER        index     down low    zigzag  one  closed level
ISLAND       pinky     down low    circle  one  closed level
MOUNTAIN     fist      up   centre up      alt  closed level
HILL         flat      down centre arc     alt  closed level
VALLEY       flat      in   centre down    two  closed level
FOREST       five      up   ear    twist2  base closed level
CITY         flat      up   chest  tap2    two  closed level
ROAD         flat      in   centre out     two  closed level
INLAND       index     down centre tap     base closed level
BORDER       flat      in   centre in      base closed level

SCOTLAND     four      in   shoulder zigzag  one closed level
WALES        three     in   chin   wave    one  closed level
IRELAND      vee>ring  up   brow   circle  one  closed level
ENGLAND      index     in   chin   wave    one  closed level
LONDON       index     up   ear    circle2 one  closed level
CORNWALL     claw      in   contra twist   one  closed level
DEVON        vee       down contra tap     one  closed level
KENT         why       up   contra tap     one  closed level
YORKSHIRE    why       up   shoulder wave  one  closed level
HIGHLANDS    horns     up   brow   up      two  closed level
MIDLANDS     three     up   chest  circle  two  closed level
DUBLIN       index     up   chin   arc     one  closed level
BELFAST      ring      up   cheek  twist2  one  closed level
CARDIFF      claw      up   contra wave    one  closed level
GLASGOW      pinky     up   shoulder circle one closed level
EDINBURGH    four      up   shoulder up    one  closed level
MANCHESTER   three     in   shoulder tap2  one  closed level
LIVERPOOL    ell       up   shoulder wave  one  closed level
BRISTOL      thumb     in   contra tap2    one  closed level
ABERDEEN     thumb     up   brow   out     one  closed level
ORKNEY       ring      up   brow   tap2    one  closed level
SHETLAND     pinky     up   brow   tap2    one  closed level
"""

DIGITS = "ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE".split()
TENS = "TEN TWENTY THIRTY FORTY FIFTY SIXTY SEVENTY EIGHTY NINETY".split()
WEEKDAYS = "MONDAY TUESDAY WEDNESDAY THURSDAY FRIDAY SATURDAY SUNDAY".split()
MONTHS = "JANUARY FEBRUARY MARCH APRIL MAY JUNE JULY AUGUST SEPTEMBER OCTOBER NOVEMBER DECEMBER".split()
_COUNTING = "index vee three four five thumb ell why horns ring claw pinky".split()


def _rows() -> list[str]:
    rows = [row for row in _SIGNS.splitlines() if row.strip()]
    for gloss, shape in zip(DIGITS, ["ring", *_COUNTING], strict=False):
        rows.append(f"{gloss} {shape} up side hold one closed level")
    for gloss, shape in zip(TENS, _COUNTING, strict=False):  # ten is the one's hand shape, twisted; and so on
        rows.append(f"{gloss} {shape} up side twist one closed level")
    rows.append("HUNDRED fist up side twist one closed level")
    for gloss, shape in zip(WEEKDAYS, _COUNTING, strict=False):
        rows.append(f"{gloss} {shape} up cheek circle one closed level")
    for gloss, shape in zip(MONTHS, _COUNTING, strict=True):
        rows.append(f"{gloss} {shape} in chest tap base closed level")
    return rows


def _sign(row: str) -> Sign:
    gloss, shapes, turn, place, move, hands, mouth, brows = row.split()
    shape, _, end = shapes.partition(">")
    repeats = int(move[-1]) if move[-1].isdigit() else 1
    return Sign(gloss, shape, end or shape, turn, place, move.rstrip("2"), repeats, hands, mouth, brows)


LEXICON: dict[str, Sign] = {sign.gloss: sign for sign in map(_sign, _rows())}


@dataclass(frozen=True)
class Token:
    """One sign of a report with its simultaneous non-manual marking: negation, and intensity -1, 0 or 1."""

    sign: str
    negated: bool = False
    intensity: int = 0

    @property
    def gloss(self) -> str:
        """The gloss as annotated: marks stand as glosses of their own after the sign that they accompany."""
        marks = (["NEG"] if self.negated else []) + {-1: ["WEAK"], 0: [], 1: ["STRONG"]}[self.intensity]
        return " ".join([self.sign, *marks])


def minimal_pairs() -> dict[str, list[tuple[str, str]]]:
    """Pairs of glosses that differ in exactly one parameter, by the name of that parameter."""
    names = [field.name for field in fields(Sign) if field.name != "gloss"]
    pairs: dict[str, list[tuple[str, str]]] = {name: [] for name in names}
    for one, other in itertools.combinations(LEXICON.values(), 2):
        # a hand that keeps its shape has one shape, not two: shape and end shape then differ together
        shapes = (one.shape, one.end_shape), (other.shape, other.end_shape)
        still = all(first == second for first, second in shapes)
        differing = [name for name, a, b in zip(names, one.parameters, other.parameters, strict=True) if a != b]
        if still and differing == ["shape", "end_shape"]:
            differing = ["shape"]
        if len(differing) == 1:
            pairs[differing[0]].append((one.gloss, other.gloss))
    return {name: found for name, found in pairs.items() if found}
