"""How meanings are sampled: patterns of clauses, filled with items whose frequency falls with their rank."""

import itertools
import random
from collections.abc import Sequence
from typing import TypeVar

from slt.demo.grammar import (
    ADVICE,
    CARDINAL,
    COURSES,
    DANGERS,
    DAYS,
    DIRECTIONS,
    GRADED,
    KINDS,
    MANNERS,
    PART_ORDER,
    PARTS,
    PLACES,
    PRECIPITATION,
    QUALITIES,
    SYSTEMS,
    TIMED_DAYS,
    Advice,
    Clause,
    Course,
    Meaning,
    Measure,
    Place,
    Predicate,
    Quality,
    Season,
    System,
    Temperature,
    Turning,
    Warning,
    Weather,
    Wind,
    rank_weights,
)
from slt.demo.lexicon import MONTHS

T = TypeVar("T")
MIN_SIGNS, MAX_SIGNS = 4, 14


class MeaningSampler:
    """Samples meanings; ``rng`` decides everything, ``zipf`` is the exponent of all rank frequencies."""

    def __init__(self, rng: random.Random, zipf: float) -> None:
        self.rng = rng
        self.zipf = zipf

    def pick(self, items: Sequence[T]) -> T:
        """One item, its probability falling with its rank."""
        return self.rng.choices(items, cum_weights=rank_weights(len(items), self.zipf))[0]

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
        makers = (self._temperature, self._wind, self._quality, self._absent)
        rarer = (self._measure, self._warning, self._advice)
        return self.rng.choices((*makers, *rarer), (32, 20, 14, 10, 8, 8, 8))[0]()

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
    return any(one == other for one, other in itertools.pairwise(signs))
