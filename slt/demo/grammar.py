"""What the reports mean: structured meanings and their one sign sequence each.

A meaning knows no language: ``slt.demo.sampling`` draws it, ``slt.demo.english`` and ``.german`` word it in many ways.
Signing order: day, then for each clause time of day, places, and the predicate with numbers and manner after it.
"""

# ruff: noqa: SIM905 (a list of words is easier to read as text)

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from slt.demo.lexicon import DIGITS, TENS, WEEKDAYS, Token

Place = tuple[str, ...]  # one sign, a compound direction, or a country and a side of it

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


Predicate = Weather | Turning | Quality | Temperature | Wind | Course | System | Measure | Warning | Season | Advice


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
def rank_weights(count: int, exponent: float) -> tuple[float, ...]:
    """Cumulative weights of ``count`` items whose frequency falls with their rank as (rank + 2) ** -exponent."""
    # Mandelbrot's offset: without it the first item alone would take a fifth of the mass
    return tuple(accumulate((rank + 2.0) ** -exponent for rank in range(count)))
