"""What the reports mean: structured meanings, their one sign sequence each, and how meanings are sampled.

A meaning knows nothing of English; ``slt.demo.english`` words it in many ways. Signing order: day, then for each clause
time of day, places, and the predicate with numbers and manner after it.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import TypeVar

from slt.demo.lexicon import DIGITS, MONTHS, TENS, WEEKDAYS, Token

T = TypeVar("T")
Place = tuple[str, ...]  # one sign, a compound direction, or a country and a side of it

MIN_SIGNS, MAX_SIGNS = 4, 14

CARDINAL = ("NORTH", "SOUTH", "WEST", "EAST")
DIRECTIONS: tuple[Place, ...] = (
    ("WEST",), ("SOUTH", "WEST"), ("NORTH",), ("NORTH", "WEST"),
    ("EAST",), ("SOUTH",), ("NORTH", "EAST"), ("SOUTH", "EAST"),
)  # fmt: skip
COUNTRIES = ("SCOTLAND", "WALES", "IRELAND", "ENGLAND")

# Most frequent first: the rank sets the frequency.
DAYS = ("TOMORROW", "TODAY", "TONIGHT", *WEEKDAYS, "WEEKEND", "NOW", "OVERMORROW", "SOON", "LATER", "NEXT-WEEK")
TIMED_DAYS = {"TOMORROW", "TODAY", "OVERMORROW", *WEEKDAYS}  # those with a morning and an evening to speak of
PARTS = ("MORNING", "NIGHT", "AFTERNOON", "EVENING", "NOON", "DAWN", "DUSK", "MIDNIGHT")
PART_ORDER = ("DAWN", "MORNING", "NOON", "AFTERNOON", "DUSK", "EVENING", "MIDNIGHT", "NIGHT")
PLACES: tuple[Place, ...] = (
    ("NORTH",), ("SOUTH",), ("WEST",), ("EAST",), ("COAST",), ("MOUNTAIN",), ("SCOTLAND",), ("NORTH", "WEST"),
    ("SOUTH", "EAST"), ("VALLEY",), ("WALES",), ("IRELAND",), ("CENTRE",), ("SOUTH", "WEST"), ("NORTH", "EAST"),
    ("ENGLAND",), ("HILL",), ("INLAND",), ("EVERYWHERE",), ("LONDON",), ("SCOTLAND", "NORTH"), ("ISLAND",),
    ("WALES", "SOUTH"), ("SEA",), ("CITY",), ("IRELAND", "WEST"), ("ENGLAND", "NORTH"), ("HIGHLANDS",), ("LAKE",),
    ("CORNWALL",), ("FOREST",), ("RIVER",), ("ENGLAND", "SOUTH"), ("MIDLANDS",), ("SCOTLAND", "WEST"), ("ROAD",),
    ("YORKSHIRE",), ("IRELAND", "EAST"), ("GLASGOW",), ("KENT",), ("DUBLIN",), ("BORDER",), ("WALES", "NORTH"),
    ("SCOTLAND", "EAST"), ("MANCHESTER",), ("ENGLAND", "EAST"), ("DEVON",), ("BELFAST",), ("CARDIFF",),
    ("IRELAND", "NORTH"), ("EDINBURGH",), ("SCOTLAND", "SOUTH"), ("ENGLAND", "WEST"), ("LIVERPOOL",), ("BRISTOL",),
    ("IRELAND", "SOUTH"), ("WALES", "WEST"), ("ABERDEEN",), ("ORKNEY",), ("WALES", "EAST"), ("SHETLAND",),
)  # fmt: skip
KINDS = (
    "RAIN SUN SNOW CLOUD SHOWER FOG THUNDERSTORM FROST CLEAR DRIZZLE STORM ICE HAIL GUST MIST SLEET BREEZE DOWNPOUR "
    "BLACK-ICE BLIZZARD HAZE DEW FLOOD RAINBOW LIGHTNING HEAT POLLEN THAW SMOG AVALANCHE TORNADO"
).split()
PRECIPITATION = ("RAIN", "SNOW", "SHOWER", "THUNDERSTORM", "DRIZZLE", "HAIL", "SLEET", "DOWNPOUR", "BLIZZARD")
GRADED = {*PRECIPITATION, "FOG", "FROST", "CLOUD", "STORM", "GUST", "MIST", "ICE"}
QUALITIES = "DRY WARM COLD MILD COOL WINDY WET HOT BRIGHT CHANGEABLE HUMID DULL FREEZING CALM PLEASANT".split()
MANNERS = "SCATTERED POSSIBLE SOMETIMES LIKELY LONG SHORT AGAIN".split()
COURSES = "STOP DECREASE COME INCREASE SPREAD RETURN MOVE-AWAY".split()
DANGERS = "STORM ICE FLOOD BLACK-ICE GUST THUNDERSTORM AVALANCHE SMOG TORNADO BLIZZARD".split()
ADVICE = (
    ("UMBRELLA", "TAKE"), ("DRIVE", "CAREFUL"), ("COAT", "TAKE"), ("SUNCREAM", "TAKE"), ("HAT", "TAKE"),
    ("DRINK", "TAKE"),
)  # fmt: skip
SYSTEMS: tuple[Place, ...] = (("LOW",), ("HIGH",), ("AIR", "COLD"), ("COLD", "FRONT"), ("AIR", "WARM"),
                              ("WARM", "FRONT"), ("AIR", "DRY"), ("AIR", "HUMID"), ("AIR", "MILD"))  # fmt: skip


def number(value: int) -> list[Token]:
    """The signs of -99 to 900: minus, then tens and units, or a count of hundreds."""
    if value < 0:
        return [Token("MINUS"), *number(-value)]
    if value >= 100:
        return [Token(DIGITS[value // 100]), Token("HUNDRED")]
    tens, units = divmod(value, 10)
    return ([Token(TENS[tens - 1])] if tens else []) + ([Token(DIGITS[units])] if units or not tens else [])


def _plain(*signs: str) -> list[Token]:
    return [Token(sign) for sign in signs]


@dataclass(frozen=True)
class Weather:
    """A phenomenon, perhaps with a second one, a manner (scattered, possible), an intensity, or a negation."""

    kind: str
    second: str | None = None
    manner: str | None = None
    intensity: int = 0
    negated: bool = False

    def tokens(self) -> list[Token]:
        rest = [sign for sign in (self.second, self.manner) if sign]
        return [Token(self.kind, self.negated, self.intensity), *_plain(*rest)]


@dataclass(frozen=True)
class Turning:
    """One phenomenon turns into another."""

    kind: str
    into: str

    def tokens(self) -> list[Token]:
        return _plain(self.kind, "BECOME", self.into)


@dataclass(frozen=True)
class Quality:
    """How it is (``mode`` None), becomes or stays: warm, dry."""

    quality: str
    mode: str | None = None
    intensity: int = 0
    negated: bool = False

    def tokens(self) -> list[Token]:
        return [*_plain(*([self.mode] if self.mode else [])), Token(self.quality, self.negated, self.intensity)]


@dataclass(frozen=True)
class Temperature:
    """Degrees: a maximum, a minimum, or plain; a range when ``high`` is given."""

    kind: str
    low: int
    high: int | None = None

    def tokens(self) -> list[Token]:
        upper = [Token("UNTIL"), *number(self.high)] if self.high is not None else []
        return [Token(self.kind), *number(self.low), *upper]


@dataclass(frozen=True)
class Wind:
    """Wind of some strength from some direction."""

    intensity: int = 0
    direction: Place = ()

    def tokens(self) -> list[Token]:
        return [Token("WIND", intensity=self.intensity), *_plain(*self.direction)]


@dataclass(frozen=True)
class Course:
    """What a phenomenon does: stop, come (from a direction), spread."""

    kind: str
    course: str
    direction: Place = ()

    def tokens(self) -> list[Token]:
        return _plain(self.kind, *self.direction, self.course)


@dataclass(frozen=True)
class System:
    """A pressure system, front or mass of air comes from a direction, stays, leaves or rules the weather."""

    system: Place
    course: str
    direction: Place = ()

    def tokens(self) -> list[Token]:
        return _plain(*self.system, *self.direction, self.course)


@dataclass(frozen=True)
class Measure:
    """A phenomenon and a number: amount, speed, chance in percent, or height above which it falls."""

    kind: str
    value: int
    unit: str

    def tokens(self) -> list[Token]:
        if self.unit == "METRE":
            return [*_plain(self.kind, "ABOVE"), *number(self.value), Token("METRE")]
        return [Token(self.kind), *number(self.value), Token(self.unit)]


@dataclass(frozen=True)
class Warning:
    """A warning of a danger."""

    kind: str

    def tokens(self) -> list[Token]:
        return _plain(self.kind, "WARN")


@dataclass(frozen=True)
class Season:
    """Unusually warm, cold ... for a month."""

    month: str
    quality: str

    def tokens(self) -> list[Token]:
        return _plain(self.month, "UNUSUAL", self.quality)


@dataclass(frozen=True)
class Advice:
    """Something the audience should do."""

    signs: Place

    def tokens(self) -> list[Token]:
        return _plain(*self.signs)


Predicate = (
    Weather | Turning | Quality | Temperature | Wind | Course | System | Measure | Warning | Season | Advice
)


@dataclass(frozen=True)
class Clause:
    """A predicate with its own time of day and places, where it has them."""

    predicate: Predicate
    part: str | None = None
    places: tuple[Place, ...] = ()

    def tokens(self) -> list[Token]:
        part = _plain(self.part) if self.part else []
        return [*part, *(Token(sign) for place in self.places for sign in place), *self.predicate.tokens()]


@dataclass(frozen=True)
class Meaning:
    """A report: one clause, or two that contrast places, follow in time, or add to each other.

    Contrasted clauses stand in the order of ``PLACES`` and sequences in that of time, so that a meaning has one form.
    """

    pattern: str
    day: str | None
    clauses: tuple[Clause, ...]

    def tokens(self) -> list[Token]:
        """The sign sequence."""
        tokens = _plain(self.day) if self.day else []
        for index, clause in enumerate(self.clauses):
            if index and self.pattern == "sequence" and clause.part is None:
                tokens.append(Token("THEN"))
            tokens += clause.tokens()
        return tokens

    @property
    def gloss(self) -> str:
        """The gloss line; two meanings are the same exactly if their gloss is."""
        return " ".join(token.gloss for token in self.tokens())


@lru_cache(maxsize=256)
def _cumulative(count: int, exponent: float) -> tuple[float, ...]:
    # Mandelbrot's offset: without it the first item alone would take a fifth of the mass
    return tuple(accumulate((rank + 2.0) ** -exponent for rank in range(count)))


class MeaningSampler:
    """Samples meanings; ``rng`` decides everything, ``zipf`` is the exponent of all rank frequencies."""

    def __init__(self, rng: random.Random, zipf: float) -> None:
        self.rng = rng
        self.zipf = zipf

    def pick(self, items: Sequence[T]) -> T:
        """One item, its probability falling with its rank."""
        return self.rng.choices(items, cum_weights=_cumulative(len(items), self.zipf))[0]

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def meaning(self) -> Meaning:
        """A meaning of 4 to 14 signs whose sign sequence can be read in one way only."""
        while True:
            pattern = self.rng.choices(("addition", "contrast", "sequence", "single"), (38, 26, 18, 18))[0]
            day = self.pick(DAYS) if self.chance(0.72) else None
            meaning = Meaning(pattern, day, getattr(self, f"_{pattern}")())
            if MIN_SIGNS <= len(meaning.tokens()) <= MAX_SIGNS and not _ambiguous(meaning):
                return meaning

    def _single(self) -> tuple[Clause, ...]:
        part = self.pick(PARTS) if self.chance(0.35) else None
        return (Clause(self._predicate(), part, self._places(0.85)),)

    def _addition(self) -> tuple[Clause, ...]:
        part = self.pick(PARTS) if self.chance(0.2) else None
        return (Clause(self._predicate(), part, self._places(0.75)), Clause(self._addendum()))

    def _contrast(self) -> tuple[Clause, ...]:
        places = sorted({self.pick(PLACES), self.pick(PLACES)}, key=PLACES.index)
        return tuple(Clause(self._predicate(), None, (place,)) for place in places)

    def _sequence(self) -> tuple[Clause, ...]:
        places = self._places(0.5)
        parts: list[str | None] = [None, None]
        if self.chance(0.75):
            parts = sorted({self.pick(PARTS), self.pick(PARTS)}, key=PART_ORDER.index)  # type: ignore[assignment]
        return tuple(Clause(self._event(), part, places if not i else ()) for i, part in enumerate(parts))

    def _places(self, probability: float) -> tuple[Place, ...]:
        if not self.chance(probability):
            return ()
        places = {self.pick(PLACES)} | ({self.pick(PLACES)} if self.chance(0.12) else set())
        return tuple(sorted(places, key=PLACES.index))

    def _predicate(self) -> Predicate:
        makers = (self._event, self._temperature, self._wind, self._system, self._measure, self._warning, self._season)
        return self.rng.choices(makers, (62, 12, 8, 7, 4, 4, 3))[0]()

    def _event(self) -> Predicate:
        makers = (self._weather, self._quality, self._course, self._turning)
        return self.rng.choices(makers, (60, 22, 13, 5))[0]()

    def _addendum(self) -> Predicate:
        makers = (self._temperature, self._wind, self._quality, self._absent, self._measure, self._warning, self._advice)
        return self.rng.choices(makers, (32, 20, 14, 10, 8, 8, 8))[0]()

    def _weather(self) -> Predicate:
        kind = self.pick(KINDS)
        form = self.rng.random()
        if form < 0.13:
            return Weather(kind, negated=True)
        if form < 0.25:
            return Weather(kind, second=self._other(KINDS, kind))
        manner = self.pick(MANNERS) if self.chance(0.3) else None
        return Weather(kind, manner=manner, intensity=self._intensity(0.35 if kind in GRADED else 0.0))

    def _absent(self) -> Predicate:
        return Weather(self.pick(KINDS), negated=True)

    def _turning(self) -> Predicate:
        kind = self.pick(PRECIPITATION)
        return Turning(kind, self._other(PRECIPITATION, kind))

    def _quality(self) -> Predicate:
        mode = self.rng.choices((None, "BECOME", "STAY"), (40, 35, 25))[0]
        form = self.rng.random()
        if form < 0.13:
            return Quality(self.pick(QUALITIES), mode if mode == "BECOME" else None, negated=True)
        return Quality(self.pick(QUALITIES), mode, self._intensity(0.0 if mode == "STAY" else 0.3))

    def _temperature(self) -> Predicate:
        kind = self.rng.choices(("MAXIMUM", "TEMPERATURE", "MINIMUM"), (45, 25, 30))[0]
        mean, spread = {"MAXIMUM": (19, 8), "TEMPERATURE": (14, 7), "MINIMUM": (4, 6)}[kind]
        low = max(-15, min(38, round(self.rng.gauss(mean, spread))))
        high = low + self.rng.randint(2, 8) if self.chance(0.2) else None
        return Temperature(kind, low, high)

    def _wind(self) -> Predicate:
        return Wind(self._intensity(0.6), self.pick(DIRECTIONS) if self.chance(0.8) else ())

    def _course(self) -> Predicate:
        course = self.pick(COURSES)
        direction = self.pick(DIRECTIONS) if course in ("COME", "SPREAD") and self.chance(0.5) else ()
        return Course(self.pick(KINDS), course, direction)

    def _system(self) -> Predicate:
        course = self.rng.choices(("COME", "INFLUENCE", "STAY", "MOVE-AWAY"), (50, 22, 14, 14))[0]
        direction = self.pick(DIRECTIONS) if course == "COME" and self.chance(0.75) else ()
        return System(self.pick(SYSTEMS), course, direction)

    def _measure(self) -> Predicate:
        form = self.rng.randrange(4)
        if form == 0:
            return Measure(self.pick(("RAIN", "SNOW", "THUNDERSTORM", "FOG")), 10 * self.rng.randint(1, 9), "PERCENT")
        if form == 1:
            return Measure("GUST", 10 * self.rng.randint(4, 9), "KILOMETRE")
        if form == 2:
            return Measure(self.pick(("SNOW", "FROST")), 100 * self.rng.randint(2, 9), "METRE")
        amount = self.rng.choice((1, 2, 3, 5, 8, 10, 15, 20, 25, 30, 40))
        return Measure("SNOW", amount, "CENTIMETRE") if self.chance(0.6) else Measure("RAIN", amount, "MILLIMETRE")

    def _warning(self) -> Predicate:
        return Warning(self.pick(DANGERS))

    def _season(self) -> Predicate:
        return Season(self.pick(MONTHS), self.pick(("WARM", "COLD", "DRY", "WET", "MILD", "HOT", "COOL")))

    def _advice(self) -> Predicate:
        return Advice(self.pick(ADVICE))

    def _intensity(self, probability: float) -> int:
        return self.rng.choice((1, -1)) if self.chance(probability) else 0

    def _other(self, items: Sequence[str], taken: str) -> str:
        return self.pick([item for item in items if item != taken])


def _ambiguous(meaning: Meaning) -> bool:
    """Whether the clauses contradict or repeat each other, or two directions meet that would read as one."""
    if len(meaning.clauses) == 1 and meaning.pattern != "single":
        return True  # two equal places or times were drawn
    if meaning.day and meaning.day not in TIMED_DAYS and any(clause.part for clause in meaning.clauses):
        return True
    signs = [token.sign for token in meaning.tokens()]
    if any(clause.places[1:] and clause.places[1][0] in CARDINAL for clause in meaning.clauses):
        return True
    if len(meaning.clauses) == 2:
        first, second = meaning.clauses
        if second.places and second.places[0][0] in CARDINAL and first.tokens()[-1].sign in CARDINAL:
            return True
        mentioned = {token.sign for token in first.predicate.tokens()} & set(KINDS + QUALITIES + ["WIND"])
        if meaning.pattern != "contrast" and mentioned & {token.sign for token in second.predicate.tokens()}:
            return True
        if isinstance(first.predicate, Temperature) and isinstance(second.predicate, Temperature):
            return meaning.pattern != "contrast"
        return first.predicate == second.predicate
    return any(one == other for one, other in zip(signs, signs[1:]))
