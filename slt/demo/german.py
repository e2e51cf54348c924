"""One meaning in many German wordings; where the words of a clause go is :mod:`slt.demo.german_clauses`' affair."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from slt.demo import german_words as words
from slt.demo.german_clauses import Core, core, main_clause, subordinate_clause
from slt.demo.german_words import Verb
from slt.demo.grammar import (
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
)
from slt.demo.inflection import Phrase, both, definite, in_cases, phrase, same
from slt.demo.wording import Wording, join

IS, BECOMES, BE_THERE = Verb("ist", "sind"), Verb("wird", "werden"), Verb("gibt", "geben")
EXPECT, LIE = Verb("erwartet", "erwarten"), Verb("liegt", "liegen")
VERY = ("sehr", "richtig")
A_LITTLE = ("etwas", "leicht")


class Parts(NamedTuple):
    """The wordings of a predicate, each list with the most usual first."""

    finite: Sequence[Core]
    nominal: Sequence[Phrase] = ()
    """noun phrases ('starker Regen'), for headlines and after 'mit'"""
    seen: Sequence[Phrase] = ()
    """noun phrases that a place can get ('der Norden bekommt …')"""
    imperative: Sequence[str] = ()


class German(Wording):
    """Words meanings in German."""

    def _report(self, meaning: Meaning) -> str:
        return getattr(self, f"_{meaning.pattern}")(meaning)

    # Patterns

    def _single(self, meaning: Meaning) -> str:
        clause = meaning.clauses[0]
        return self._clause(clause, self._time(meaning.day, clause.part))

    def _addition(self, meaning: Meaning) -> str:
        clause, added = meaning.clauses
        first = self._clause(clause, self._time(meaning.day, clause.part), finite=self.prefer(2))
        parts = self._parts(added.predicate)
        if parts.imperative:
            return f"{first}, {self.pick(('also', 'bitte'))} {self.pick(parts.imperative)}"
        if parts.nominal and self.prefer():
            noun = self.pick(parts.nominal)
            joint = self.pick((" mit ", ", dazu ", " und "))
            return f"{first}{joint}{noun.dat if joint == ' mit ' else noun.nom}"
        front = self.pick(("subject", "dazu"))
        joint = ", " if front == "dazu" else self.pick((" und ", ", und "))
        return f"{first}{joint}{main_clause(self.pick(parts.finite), '', '', front)}"

    def _contrast(self, meaning: Meaning) -> str:
        first, second = self.pick((meaning.clauses, meaning.clauses[::-1]))
        day = self._time(meaning.day, None)
        form = self.pick(("während", "und", "aber", "front", "headline", "dagegen"))
        if form == "front":
            fronted = self._subordinate(first, day)
            return f"während {fronted}, {self._clause(second, '', front='')}"
        if form == "headline":
            one, other = (self._clause(clause, "", finite=False) for clause in (first, second))
            return f"{join(day, one)}, {other}"
        one = self._clause(first, day)
        if form == "während":
            return f"{one}, während {self._subordinate(second, '')}"
        if form == "dagegen":  # the place first, so that it is what is set against
            opposite = f"{self._place(second.places)} dagegen"
            return f"{one}, {self._clause(replace(second, places=()), '', front=opposite)}"
        joint = self.pick((" und ", ", und ")) if form == "und" else ", aber "
        return f"{one}{joint}{self._clause(second, '', front='place')}"

    def _sequence(self, meaning: Meaning) -> str:
        first, second = meaning.clauses
        if first.part is None:
            one = self._clause(first, self._time(meaning.day, None))
            if not self.prefer(2) and (following := self._parts(second.predicate).nominal):
                return f"{one}, {self.pick(('gefolgt von', 'danach mit'))} {self.pick(following).dat}"
            front = self.pick(("dann", "danach", "anschließend"))
            return f"{one}{self.pick((', ', ' und '))}{self._clause(second, '', front=front)}"
        later = self._time(None, second.part)
        finite = self.prefer(2)
        one = self._clause(first, self._time(meaning.day, first.part), finite=finite)
        joint = self.pick((", ", " und ", ", und "))
        return f"{one}{joint}{self._clause(second, later, finite=finite, front='time')}"

    # Clauses

    def _clause(self, clause: Clause, time: str, finite: bool = True, front: str | None = None) -> str:
        """A main clause, or the headline that stands for one, without capital or full stop.

        ``front`` is what stands first, as :func:`main_clause` takes it; None: one of the usual orders.
        """
        parts = self._parts(clause.predicate)
        if not finite and parts.nominal:
            place = self._place(clause.places)
            return join(*self.pick(((time, place), (place, time))), self.pick(parts.nominal).nom)
        chosen, place = self._core(clause, parts)
        first = self.pick(("time", "subject", "place")) if front is None else front
        return main_clause(chosen, time, place, first)

    def _subordinate(self, clause: Clause, time: str) -> str:
        chosen, place = self._core(clause, self._parts(clause.predicate))
        return subordinate_clause(chosen, time, place)

    def _core(self, clause: Clause, parts: Parts) -> tuple[Core, str]:
        """One wording of the predicate, and the place that has to stand beside it, unless it is the subject."""
        actors = words.subjects(clause.places[0]) if parts.seen and len(clause.places) == 1 else ()
        if actors and not self.prefer():
            subject, plural = self.pick(actors)
            verb = self.pick((Verb("bekommt", "bekommen"), EXPECT))
            return core(subject, verb, plural, rest=self.pick(parts.seen).acc), ""
        return self.pick(parts.finite), self._place(clause.places)

    def _time(self, day: str | None, part: str | None) -> str:
        if not day:
            return self.pick(words.PARTS[part]) if part else ""
        if not part:
            return self.pick(words.DAYS[day])
        if part in words.PART_NAMES and self.prefer():
            name = words.PART_NAMES[part]
            if day in words.WEEKDAY_NAMES:
                return f"am {words.WEEKDAY_NAMES[day]}{name.lower()}"
            if len(words.DAYS[day]) == 1:  # morgen Nachmittag, heute Abend
                return f"{words.DAYS[day][0]} {name}"
        return join(self.pick(words.DAYS[day]), self.pick(words.PARTS[part]))

    def _place(self, places: tuple[Place, ...]) -> str:
        return " und ".join(self.pick(words.adverbials(place)) for place in places)

    # Predicates

    def _parts(self, predicate: Predicate) -> Parts:
        return getattr(self, f"_say_{type(predicate).__name__.lower()}")(predicate)

    def _expected(self, what: Phrase, middle: str = "") -> list[Core]:
        """What can be said of anything that is to come."""
        return [
            core("es", BE_THERE, middle=middle, rest=what.acc),
            core("wir", EXPECT, True, middle=middle, rest=what.acc),
            core(f"mit {what.dat}", IS, middle=middle, end="zu rechnen", late=True),
            core(what, BECOMES, middle=middle, end="erwartet", late=True),
        ]

    def _say_weather(self, weather: Weather) -> Parts:
        kind = words.KINDS[weather.kind]
        noun = self.pick(kind.nouns)
        if weather.negated:
            return self._absence(kind, phrase(noun, none=True), phrase(noun))
        degree = {1: kind.strong, -1: kind.weak}.get(weather.intensity)
        grade = self.pick(degree) if degree else ""
        adjectives, adverb = [grade] if grade else [], ""
        if weather.manner in ("POSSIBLE", "LIKELY"):
            return self._uncertain(weather.manner, kind, phrase(noun, *adjectives), bool(degree))
        if weather.manner:
            manners, adverbs = words.MANNERS[weather.manner]
            if self.prefer():
                adjectives.insert(0, self.pick(manners))
            else:
                adverb = self.pick(adverbs)
        what = phrase(noun, *adjectives)
        if weather.second:
            other = phrase(self.pick(words.KINDS[weather.second].nouns))
            what = both(what, other, self.pick((" und ", " sowie ")))
        finite = [core(what, kind.happens, middle=adverb, late=True), *self._expected(what, adverb)]
        simple = not weather.second and not (weather.manner and not adverb)
        if kind.adjectives and simple:
            very = {1: VERY, -1: A_LITTLE}.get(weather.intensity)
            how = join(self.pick(very) if very else "", self.pick(kind.adjectives))
            finite.insert(0, core("es", self.pick((BECOMES, IS)), middle=adverb, rest=how))
        if kind.verb and simple:
            hard = {1: ("stark", "kräftig"), -1: ("leicht", "ein wenig")}.get(weather.intensity)
            how = self.pick(hard) if hard else ""
            now, infinitive = kind.verb
            finite.insert(0, core("es", BECOMES, middle=join(adverb, how), end=infinitive))
            finite.insert(0, core("es", Verb(now, now), middle=join(adverb, how)))
        nominal = what.preceded_by(adverb)
        return Parts(finite, [nominal], [nominal])

    def _absence(self, kind: words.Kind, none: Phrase, plain: Phrase) -> Parts:
        finite = [
            core("es", BE_THERE, rest=none.acc),
            core("wir", EXPECT, True, rest=none.acc),
            core(f"mit {plain.dat}", IS, rest="nicht", end="zu rechnen", late=True),
            core(none, BECOMES, end="erwartet", late=True),
            core("es", Verb("bleibt", "bleiben"), rest=f"frei von {plain.dat}"),
        ]
        if kind.adjectives:
            finite.insert(1, core("es", self.pick((BECOMES, IS)), rest=f"nicht {self.pick(kind.adjectives)}"))
        if kind.verb:
            finite.insert(0, core("es", Verb(*kind.verb), rest="nicht"))
        return Parts(finite, [none], [none])

    def _uncertain(self, manner: str, kind: words.Kind, what: Phrase, graded: bool) -> Parts:
        if manner == "POSSIBLE":
            perhaps, can = "vielleicht", Verb("kann", "können")
            finite = [core(what, IS, rest="möglich", late=True)]
            finite.append(core("es", can, rest=what.acc, end="geben"))
            finite.append(core(what, IS, rest="nicht auszuschließen", late=True))
        else:
            perhaps, can = "wahrscheinlich", BECOMES
            finite = [core(what, IS, rest="wahrscheinlich", late=True)]
            finite.append(core("es", can, middle="wohl", rest=what.acc, end="geben"))
        finite.append(core("es", BE_THERE, middle=perhaps, rest=what.acc))
        if kind.verb and not graded:
            middle = "" if manner == "POSSIBLE" else self.pick(("wahrscheinlich", "wohl"))
            finite.insert(0, core("es", can, middle=middle, end=kind.verb[1]))
        return Parts(finite, [what.preceded_by(perhaps)])

    def _say_turning(self, turning: Turning) -> Parts:
        first, second = (phrase(self.pick(words.KINDS[kind].nouns)) for kind in (turning.kind, turning.into))
        over = core(first, Verb("geht", "gehen", "über"), rest=f"in {second.acc}")
        becomes = core(f"aus {first.dat}", BECOMES, second.plural, rest=second.nom, late=True)
        change = same(f"Übergang von {first.dat} zu {second.dat}")
        return Parts([over, becomes], [change], [Phrase(change.nom, f"einen {change.nom}", change.nom)])

    def _say_quality(self, quality: Quality) -> Parts:
        plain, more = self.pick(words.QUALITIES[quality.quality])
        subject = self.pick(("es", "das Wetter"))
        if quality.mode == "BECOME":
            if quality.negated:
                return Parts([core(subject, BECOMES, rest=f"nicht {more}")], [_weather(more, none=True)])
            much = {1: ("viel", "deutlich"), -1: ("etwas", "ein wenig")}.get(quality.intensity)
            grade = self.pick(much) if much else ""
            weather = _weather(more).preceded_by(grade)
            expected = core("wir", EXPECT, True, rest=weather.acc)
            return Parts([core(subject, BECOMES, rest=join(grade, more)), expected], [weather], [weather])
        if quality.mode == "STAY":
            weather = _weather(plain).preceded_by("weiterhin")
            still = core(subject, IS, middle="weiterhin", rest=plain)
            return Parts([core(subject, Verb("bleibt", "bleiben"), rest=plain), still], [weather])
        if quality.negated:
            return Parts([core(subject, IS, rest=f"nicht {plain}")], [_weather(plain, none=True)])
        very = {1: VERY, -1: A_LITTLE}.get(quality.intensity)
        grade = self.pick(very) if very else ""
        weather = _weather(plain).preceded_by(grade)
        expected = core("wir", EXPECT, True, rest=weather.acc)
        return Parts([core(subject, IS, rest=join(grade, plain)), expected], [weather], [weather])

    def _say_temperature(self, temperature: Temperature) -> Parts:
        low, high = temperature.low, temperature.high
        if high is None:
            below = low < 0 and not self.prefer()
            figure = f"{words.number(-low)} Grad unter null" if below else f"{words.number(low)} Grad"
        else:
            figure = f"{words.number(low, before_noun=False)} bis {words.number(high)} Grad"
        subject, plural = self.pick((("die Temperaturen", True), ("die Temperatur", False), ("das Thermometer", False)))
        if temperature.kind == "MAXIMUM":
            verb = self.pick((Verb("steigt", "steigen"), Verb("klettert", "klettern")))
            tops = ("Höchstwerte", "Höchsttemperaturen", "Maximalwerte")
            other = core("es", BECOMES, rest=f"bis zu {figure} warm")
        elif temperature.kind == "MINIMUM":
            verb = self.pick((Verb("sinkt", "sinken"), Verb("fällt", "fallen")))
            tops = ("Tiefstwerte", "Tiefsttemperaturen", "Minimalwerte")
            other = core("es", Verb("kühlt", "kühlen", "ab"), rest=f"auf {figure}")
        else:
            values = [_values("Temperaturen", f"{of} {figure}") for of in ("von", "um")]
            lies = core("die Temperaturen", LIE, True, rest=f"bei {figure}")
            shows = core("das Thermometer", Verb("zeigt", "zeigen"), rest=figure)
            return Parts([lies, core("es", IS, True, rest=figure), shows], values, values[:1])
        nominal = [_values(top, f"von {figure}") for top in tops]
        return Parts([core(subject, verb, plural, rest=f"auf {figure}"), other], nominal, nominal[:2])

    def _say_wind(self, wind: Wind) -> Parts:
        grade = self.pick({1: ("stark", "kräftig"), -1: ("schwach", "leicht"), 0: ("",)}[wind.intensity])
        side = words.DIRECTION_NAMES.get(wind.direction, "")
        adjectives = [grade] if grade else []
        plain = phrase(words.noun("Wind", "m"), *adjectives)
        nominal = [plain.followed_by(f"aus {side}en" if side else "")]
        if side:
            nominal.insert(0, phrase(words.noun(f"{side}wind", "m"), *adjectives))
        origin = f"aus {side}en" if side else ""
        blow = Verb("weht", "wehen")
        finite = [core("der Wind", blow, middle=grade, rest=origin), core(plain, blow, late=True, rest=origin)]
        chosen = nominal[-1]
        finite += [core("es", BE_THERE, rest=nominal[0].acc), core("wir", EXPECT, True, rest=chosen.acc)]
        return Parts(finite, nominal, nominal)

    def _say_course(self, course: Course) -> Parts:
        noun = self.pick(words.KINDS[course.kind].nouns)
        verb, object_ = self.pick(words.COURSES[course.course])
        origin = f"von {words.DIRECTION_NAMES[course.direction]}en her" if course.direction else ""
        what = phrase(noun)
        bare = course.course in ("COME", "SPREAD") or not self.prefer()
        name = what.nom if bare else definite(noun)
        finite = [core(name, verb, noun.plural, middle=origin, rest=object_, late=bare)]
        if course.course == "STOP":
            return Parts(finite, [phrase(noun, none=True).followed_by("mehr")])
        if course.course in ("DECREASE", "INCREASE"):
            return Parts(finite, [what.preceded_by("immer weniger" if course.course == "DECREASE" else "immer mehr")])
        if course.course == "COME":
            finite.append(core(what, IS, middle=origin, rest="im Anmarsch", late=True))
        return Parts(finite)

    def _say_system(self, system: System) -> Parts:
        name, dative = self.pick(words.SYSTEMS[system.system])
        origin = f"aus {words.DIRECTION_NAMES[system.direction]}en" if system.direction else ""
        if system.course == "INFLUENCE":
            rule = (Verb("bestimmt", ""), Verb("beherrscht", ""), Verb("beeinflusst", ""))
            influence = same(f"unter dem Einfluss von {dative}")
            return Parts([core(name, self.pick(rule), rest="das Wetter")], [influence])
        verb, _ = self.pick(words.COURSES[system.course][:2])
        finite = [core(name, verb, middle=origin, late=True)]
        if system.course == "COME":
            finite.append(core(name, Verb("nähert", "nähern", reflexive=True), middle=origin, late=True))
        return Parts(finite)

    def _say_measure(self, measure: Measure) -> Parts:
        noun = words.KINDS[measure.kind].nouns[0]
        what, value = phrase(noun), words.number(measure.value)
        if measure.unit == "PERCENT":
            risk = f"Wahrscheinlichkeit für {what.acc}"
            percent = f"{value} Prozent"
            of = in_cases(*(f"{one} {risk} von {percent}" for one in ("eine", "eine", "einer")))
            likely = core(what, IS, rest=f"zu {percent} wahrscheinlich", late=True)
            return Parts([core(f"die {risk}", LIE, rest=f"bei {percent}"), likely], [of])
        if measure.unit == "KILOMETRE":
            hour = self.pick(("pro Stunde", "in der Stunde"))
            reach = self.pick((Verb("erreicht", "erreichen"), Verb("hat", "haben")))
            return Parts(
                [core(what, reach, rest=f"{value} Kilometer {hour}")],
                [what.followed_by(f"von {value} Kilometern {hour}")],
            )
        if measure.unit == "METRE":
            above = what.followed_by(f"{self.pick(('oberhalb von', 'über'))} {value} Metern")
            there = core("es", BE_THERE, rest=above.acc)
            return Parts([there, core(above, BECOMES, end="erwartet", late=True)], [above], [above])
        unit = "Zentimeter" if measure.unit == "CENTIMETRE" else "Millimeter"
        many = measure.value != 1
        one = value if many else "einen"
        amount = Phrase(
            f"{value} {unit} {noun.text}",
            f"{one} {unit} {noun.text}",
            f"{value if many else 'einem'} {unit}{'n' if many else ''} {noun.text}",
            many,
        )
        fall = core(amount, Verb("fällt", "fallen"), late=True)
        return Parts([fall, core("wir", EXPECT, True, rest=amount.acc)], [amount], [amount])

    def _say_warning(self, warning: Warning) -> Parts:
        danger = phrase(self.pick(words.KINDS[warning.kind].nouns)).dat
        finite = [
            core(f"vor {danger}", BECOMES, end="gewarnt", late=True),
            core("es", BE_THERE, rest=f"eine Warnung vor {danger}"),
            core("Meteorologen", Verb("warnt", "warnen"), True, rest=f"vor {danger}"),
        ]
        nominal = [
            in_cases(*(f"{one} Warnung vor {danger}" for one in ("eine", "eine", "einer"))),
            in_cases(*(f"{the} Gefahr von {danger}" for the in ("die", "die", "der"))),
        ]
        return Parts(finite, nominal)

    def _say_season(self, season: Season) -> Parts:
        plain = words.QUALITIES[season.quality][0][0]
        unusual = self.pick(("ungewöhnlich", "außergewöhnlich"))
        month = f"für {self.pick(('', 'den '))}{words.MONTH_NAMES[season.month]}"
        finite = [core(subject, IS, rest=f"{unusual} {plain} {month}") for subject in ("es", "das Wetter")]
        return Parts(finite, [_weather(plain).preceded_by(unusual).followed_by(month)])

    def _say_advice(self, advice: Advice) -> Parts:
        return Parts((), imperative=words.ADVICE[advice.signs[0]])


def _weather(adjective: str, none: bool = False) -> Phrase:
    return phrase(words.noun("Wetter", "n"), adjective, none=none)


def _values(name: str, figure: str) -> Phrase:
    return phrase(words.noun(name, "p")).followed_by(figure)
