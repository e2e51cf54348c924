"""One meaning in many English wordings: synonyms, clause order, omitted function words, other constructions."""

from collections.abc import Sequence
from typing import NamedTuple

from slt.demo import words
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
from slt.demo.phrases import adverbials, article, subjects, third
from slt.demo.wording import Wording, join
from slt.demo.words import Noun

_TURNS: tuple[tuple[str, str], ...] = (("get", "gets"), ("become", "becomes"), ("turn", "turns"))


class Parts(NamedTuple):
    """The wordings of a predicate, each list with the most usual first."""

    finite: Sequence[str]
    """whole clauses ('it will rain'), to which time and place are added"""
    nominal: Sequence[str] = ()
    """noun phrases ('heavy rain'), for headlines and after 'with'"""
    seen: Sequence[str] = ()
    """noun phrases that a place can see ('the north will see ...')"""


class English(Wording):
    """Words meanings in English."""

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
        if isinstance(added.predicate, Advice):
            advice = self.pick(parts.finite)
            imperative = advice.split()[0] not in ("you", "drivers")
            return f"{first}, {self.pick(('so', 'please')) if imperative else 'so'} {advice}"
        if parts.nominal and self.prefer():
            return f"{first}{self.pick((' with ', ', with ', ' and '))}{self.pick(parts.nominal)}"
        return f"{first}{self.pick((' and ', ', and ', ', '))}{self.pick(parts.finite)}"

    def _contrast(self, meaning: Meaning) -> str:
        first, second = self.pick((meaning.clauses, meaning.clauses[::-1]))
        day = self._time(meaning.day, None)
        form = self.pick(("while", "and", "but", "front", "headline", "whereas"))
        if form == "front":
            fronted = self._clause(first, "")
            return f"{day + ', ' if day else ''}while {fronted}, {self._clause(second, '')}"
        if form == "headline":
            one, other = (self._clause(clause, "", finite=False) for clause in (first, second))
            return f"{day + ' ' if day else ''}{one}, {other}"
        joints = {"while": (" while ", ", while "), "and": (" and ", ", and ")}
        return f"{self._clause(first, day)}{self.pick(joints.get(form, (f', {form} ',)))}{self._clause(second, '')}"

    def _sequence(self, meaning: Meaning) -> str:
        first, second = meaning.clauses
        if first.part is None:
            one = self._clause(first, self._time(meaning.day, None))
            if not self.prefer(2) and (following := self._parts(second.predicate).nominal):
                return f"{one}, {self.pick(('followed by', 'and after that'))} {self.pick(following)}"
            return f"{one}{self.pick((', then ', ' and then ', ', and after that '))}{self._clause(second, '')}"
        later = self._time(None, second.part)
        if meaning.day and not self.prefer(2):  # the day in front, both times of day inside
            one = self._clause(first, self._time(None, first.part))
            return f"{self._time(meaning.day, None)} {one}, {self.pick(('then ', 'and '))}{self._clause(second, later)}"
        finite = self.prefer(2)
        one = self._clause(first, self._time(meaning.day, first.part), finite=finite)
        return f"{one}{self.pick((', then ', ' and ', ', and ', ', '))}{self._clause(second, later, finite=finite)}"

    # Clauses

    def _clause(self, clause: Clause, time: str, finite: bool = True) -> str:
        """A clause with its time and place in one of the usual orders, without capital or full stop."""
        parts = self._parts(clause.predicate)
        actors = self._subjects(clause.places) if finite and parts.seen else ()
        if actors and not self.prefer():
            subject = self.pick(actors)
            see = self.pick(("get", "see", "have"))
            sees = {"get": "gets", "see": "sees", "have": "has"}[see]
            core = f"{subject.text} {self._tense(see, sees, subject.plural, ('can expect',))} {self.pick(parts.seen)}"
            place = ""
        else:
            place = self._place(clause.places)
            core = self.pick(parts.finite if finite or not parts.nominal else parts.nominal)
        front = self.pick(("time", "none", "place", "both"))
        comma = self.pick((" ", ", "))
        if front == "time" and time:
            return join(time + comma + core, place)
        if front == "place" and place:
            return join(place + comma + core, time)
        if front == "both" and time and place:
            return f"{time} {place}{comma}{core}"
        return join(core, *self.pick(((place, time), (time, place))))

    def _time(self, day: str | None, part: str | None) -> str:
        if not day:
            return self.pick(words.PARTS[part]) if part else ""
        if not part:
            return self.pick(words.DAYS[day])
        if part in ("MORNING", "AFTERNOON", "EVENING", "NIGHT"):
            name = part.lower()
            if day == "TODAY" and part != "NIGHT" and self.prefer():
                return f"this {name}"
            if day not in ("TODAY", "OVERMORROW") and self.prefer():
                return f"{words.DAYS[day][0]} {name}"  # tomorrow morning, on Monday morning
        return join(self.pick(words.DAYS[day]), self.pick(words.PARTS[part]))

    def _place(self, places: tuple[Place, ...]) -> str:
        return " and ".join(self.pick(adverbials(place)) for place in places)

    def _subjects(self, places: tuple[Place, ...]) -> tuple[Noun, ...]:
        if len(places) == 1:
            return subjects(places[0])
        if not places or not all(map(subjects, places)):
            return ()
        return (Noun(" and ".join(subjects(place)[0].text for place in places), True),)

    # Predicates

    def _tense(self, base: str, singular: str, plural: bool, more: tuple[str, ...] = ()) -> str:
        return self.pick((f"will {base}", base if plural else singular, *more))

    def _be(self, plural: bool = False) -> str:
        return self._tense("be", "are" if plural else "is", False)

    def _parts(self, predicate: Predicate) -> Parts:
        return getattr(self, f"_say_{type(predicate).__name__.lower()}")(predicate)

    def _say_weather(self, weather: Weather) -> Parts:
        kind = words.KINDS[weather.kind]
        noun = self.pick(kind.nouns)
        if weather.negated:
            return self._absence(kind, noun)
        degree = {1: kind.strong, -1: kind.weak}.get(weather.intensity)
        phrase = join(self.pick(degree) if degree else "", noun.text)
        if weather.second:
            other = self.pick(words.KINDS[weather.second].nouns)
            phrase += self.pick((" and ", " as well as ", " along with ")) + other.text
            noun = Noun(phrase, True)
        adverb = ""
        if weather.manner in ("POSSIBLE", "LIKELY"):
            return self._uncertain(weather.manner, kind, phrase, noun.plural, bool(degree))
        if weather.manner:
            adjectives, adverbs = words.MANNERS[weather.manner]
            if self.prefer():
                phrase = f"{self.pick(adjectives)} {phrase}"
            else:
                adverb = self.pick(adverbs)
        finite = [f"there {self._be(noun.plural)} {phrase}", f"we expect {phrase}"]
        finite += [f"{phrase} {'are' if noun.plural else 'is'} {self.pick(('expected', 'forecast', 'on the way'))}"]
        finite += [f"{phrase} {self._tense(verb, third(verb), noun.plural)}" for verb in kind.happens[:1]]
        finite += [f"expect {phrase}", f"look out for {phrase}"]
        simple = not weather.second and not (weather.manner and not adverb)
        if kind.adjectives and simple:
            very = {1: ("very", "really"), -1: ("slightly", "a little")}.get(weather.intensity)
            finite.insert(0, f"it {self._be()} {join(self.pick(very) if very else '', self.pick(kind.adjectives))}")
        if kind.verb and simple:
            hard = {1: ("heavily", "hard"), -1: ("lightly", "a little")}.get(weather.intensity)
            verb = self._tense(kind.verb, third(kind.verb), False, (f"is going to {kind.verb}",))
            finite.insert(0, f"it {join(verb, self.pick(hard) if hard else '')}")
        return Parts([join(form, adverb) for form in finite], [join(phrase, adverb)], [join(phrase, adverb)])

    def _absence(self, kind: words.Kind, noun: Noun) -> Parts:
        none = f"no {noun.text}"
        finite = [f"there {self._be(noun.plural)} {none}", f"{none} {'are' if noun.plural else 'is'} expected"]
        finite += [f"we expect {none}", f"it {self._tense('stay', 'stays', False)} free of {noun.text}"]
        finite += [f"we do not expect {noun.text}", f"{noun.text} {'are' if noun.plural else 'is'} not expected"]
        if kind.adjectives:
            finite.insert(1, f"it {self.pick(('will not be', 'is not'))} {self.pick(kind.adjectives)}")
        if kind.verb:
            finite.insert(0, f"it {self.pick(('will not', 'does not', 'is not going to'))} {kind.verb}")
        return Parts(finite, [none], [none])

    def _uncertain(self, manner: str, kind: words.Kind, phrase: str, plural: bool, graded: bool) -> Parts:
        be = "are" if plural else "is"
        if manner == "POSSIBLE":
            finite = [f"{phrase} {be} possible", f"there may be {phrase}", f"we may get {phrase}"]
            finite += [f"perhaps there will be {phrase}", f"{phrase} cannot be ruled out"]
            verb = self.pick(("may", "might", "could"))
            nominal = [f"possible {phrase}", f"perhaps {phrase}"]
        else:
            finite = [f"{phrase} {be} likely", f"there will probably be {phrase}", f"we will probably get {phrase}"]
            verb = self.pick(("will probably", "is likely to"))
            nominal = [f"probably {phrase}", f"likely {phrase}"]
        if kind.verb and phrase == kind.nouns[0].text and not graded:
            finite.insert(0, f"it {verb} {kind.verb}")
        return Parts(finite, nominal)

    def _say_turning(self, turning: Turning) -> Parts:
        first, second = (self.pick(words.KINDS[kind].nouns) for kind in (turning.kind, turning.into))
        verb = self.pick((("turn to", "turns to"), ("change to", "changes to"), ("turn into", "turns into")))
        finite = f"{first.text} {self._tense(verb[0], verb[1], first.plural)} {second.text}"
        nominal = f"{first.text} {self.pick(('turning to', 'changing to', 'turning into'))} {second.text}"
        return Parts([finite], [nominal], [nominal])

    def _say_quality(self, quality: Quality) -> Parts:
        plain, more = self.pick(words.QUALITIES[quality.quality])
        if quality.mode == "BECOME":
            much = {1: ("much", "a lot"), -1: ("a little", "slightly")}.get(quality.intensity)
            grade = join(self.pick(much) if much else "", more)
            if quality.negated:
                verbs = ("will not get", "does not get", "will not become", "does not become")
                finite = [f"it {self.pick(verbs)} {more}", f"the weather {self.pick(verbs)} {more}"]
                return Parts(finite, [f"no {more} weather"])
            verb = self.pick(_TURNS)
            weather = f"{grade} weather"
            finite = [f"it {self._tense(*verb, False)} {grade}", f"the weather {self._tense(*verb, False)} {grade}"]
            return Parts([*finite, f"expect {weather}", f"we expect {weather}"], [weather], [weather])
        if quality.mode == "STAY":
            verb = self.pick(words.COURSES["STAY"][:2])
            finite = [f"it {self._tense(*verb, False)} {plain}", f"the weather {self._tense(*verb, False)} {plain}"]
            return Parts([*finite, f"it is still {plain}"], [f"continued {plain} weather"])
        if quality.negated:
            is_not = self.pick(("will not be", "is not"))
            finite = [f"it {is_not} {plain}", f"the weather {is_not} {plain}"]
            return Parts(finite, [f"not {plain}"])
        very = {1: ("very", "really"), -1: ("slightly", "a little")}.get(quality.intensity)
        grade = join(self.pick(very) if very else "", plain)
        weather = f"{grade} weather"
        finite = [f"it {self._be()} {grade}", f"the weather {self._be()} {grade}", f"we expect {weather}"]
        return Parts([*finite, f"expect {weather}"], [weather], [weather])

    def _say_temperature(self, temperature: Temperature) -> Parts:
        low, high = temperature.low, temperature.high
        figure = words.number(low) if high is None else f"{words.number(low)} to {words.number(high)}"
        if high is None and low < 0 and not self.prefer():
            figure = f"{words.number(-low)} degrees below zero"
        else:
            figure += " degree" if figure == "one" else " degrees"
        the = self.pick((("temperatures", True), ("the temperature", False), ("the thermometer", False)))
        if temperature.kind == "MAXIMUM":
            verb = self.pick((("reach", "reaches"), ("rise to", "rises to"), ("climb to", "climbs to")))
            nominal = [f"{top} {figure}" for top in ("highs of", "a maximum of", "up to", "top temperatures of")]
            other = f"we expect {self.pick(nominal)}"
        elif temperature.kind == "MINIMUM":
            verb = self.pick((("fall to", "falls to"), ("drop to", "drops to"), ("sink to", "sinks to")))
            nominal = [f"lows of {figure}", f"a minimum of {figure}", f"temperatures down to {figure}"]
            other = f"it {self._tense('cool', 'cools', False)} down to {figure}"
        else:
            verb = ("be around", "are around") if the[1] else ("show", "shows")
            the = the if the[0] != "the temperature" else ("temperatures", True)
            verb = ("be around", "are around") if the[1] else verb
            nominal = [f"temperatures of {figure}", f"temperatures around {figure}", figure]
            other = f"it {self._be()} {figure}"
            return Parts([f"{the[0]} {self._tense(*verb, False)} {figure}", other], nominal, nominal[:1])
        return Parts([f"{the[0]} {self._tense(*verb, the[1])} {figure}", other], nominal, nominal[:2])

    def _say_wind(self, wind: Wind) -> Parts:
        degree = {1: ("strong", "brisk"), -1: ("light", "weak"), 0: ("",)}[wind.intensity]
        adjective = self.pick(degree)
        origin = f"from the {words.DIRECTION_NAMES[wind.direction]}" if wind.direction else ""
        nominal = [join(adjective, "winds", origin), join(article(adjective or "wind"), adjective, "wind", origin)]
        if wind.direction:
            nominal.insert(1, join(adjective, f"{words.DIRECTION_NAMES[wind.direction]}erly winds"))
        adverb = {1: ("strongly",), -1: ("lightly", "weakly"), 0: ("",)}[wind.intensity]
        finite = [join("the wind", self._tense("blow", "blows", False), self.pick(adverb), origin)]
        finite += [f"there {self._be(True)} {nominal[0]}", f"we expect {nominal[-1]}"]
        return Parts(finite, nominal, nominal)

    def _say_course(self, course: Course) -> Parts:
        noun = self.pick(words.KINDS[course.kind].nouns)
        verb = self.pick(words.COURSES[course.course])
        origin = f"from the {words.DIRECTION_NAMES[course.direction]}" if course.direction else ""
        subject = noun.text if course.course in ("COME", "SPREAD") else self.pick((f"the {noun.text}", noun.text))
        finite = [join(subject, self._tense(*verb, noun.plural), origin)]
        nominal: dict[str, str] = {"STOP": f"an end to the {noun.text}", "DECREASE": f"less and less {noun.text}",
                                   "INCREASE": f"more and more {noun.text}"}  # fmt: skip
        if course.course in nominal and not (course.course == "DECREASE" and noun.plural):
            return Parts(finite, [nominal[course.course]])
        if course.course in ("COME", "SPREAD"):
            doing = {"COME": "coming in", "SPREAD": "spreading"}[course.course]
            finite.append(join(noun.text, "are" if noun.plural else "is", doing, origin))
        return Parts(finite)

    def _say_system(self, system: System) -> Parts:
        noun = self.pick(words.SYSTEMS[system.system])
        origin = f"from the {words.DIRECTION_NAMES[system.direction]}" if system.direction else ""
        if system.course == "INFLUENCE":
            verb = self.pick((("determine", "determines"), ("dominate", "dominates"), ("influence", "influences")))
            influence = f"under the influence of {noun.text}"
            return Parts([f"{noun.text} {self._tense(*verb, False)} the weather"], [influence])
        verb = self.pick(words.COURSES[system.course][:2])
        finite = [join(noun.text, self._tense(*verb, False), origin)]
        if system.course == "COME":
            finite.append(join(f"{noun.text} {self.pick(('reaches us', 'is coming in', 'approaches'))}", origin))
        return Parts(finite)

    def _say_measure(self, measure: Measure) -> Parts:
        noun = self.pick(words.KINDS[measure.kind].nouns)
        value = words.number(measure.value)
        if measure.unit == "PERCENT":
            risk = f"{article(value)} {value} percent chance of {noun.text}"
            finite = [f"the chance of {noun.text} {self._be()} {value} percent", f"there is {risk}"]
            return Parts(finite, [risk, f"a chance of {noun.text} of {value} percent"])
        if measure.unit == "KILOMETRE":
            verb = self.pick((("reach", "reaches"), ("go up to", "goes up to")))
            speed = f"{value} {self.pick(('kilometres per hour', 'kilometres an hour'))}"
            return Parts([f"{noun.text} {self._tense(*verb, noun.plural)} {speed}"], [f"{noun.text} of {speed}"])
        if measure.unit == "METRE":
            above = f"{noun.text} {self.pick(('above', 'higher than'))} {value} metres"
            expected = f"{noun.text} {'are' if noun.plural else 'is'} expected above {value} metres"
            return Parts([f"there {self._be(noun.plural)} {above}", expected], [above], [above])
        unit = "centimetre" if measure.unit == "CENTIMETRE" else "millimetre"
        amount = f"{value} {unit}{'s' if measure.value != 1 else ''} of {noun.text}"
        finite = [f"{amount} {self._tense('fall', 'falls', measure.value != 1)}", f"we expect {amount}"]
        return Parts(finite, [amount], [amount])

    def _say_warning(self, warning: Warning) -> Parts:
        noun = self.pick(words.KINDS[warning.kind].nouns).text
        finite = [f"there is a warning of {noun}", f"forecasters warn of {noun}", f"beware of {noun}"]
        return Parts([*finite, f"a warning of {noun} is in force"], [f"a warning of {noun}", f"the danger of {noun}"])

    def _say_season(self, season: Season) -> Parts:
        plain = words.QUALITIES[season.quality][0][0]
        grade = f"{self.pick(('unusually', 'exceptionally'))} {plain} for {words.MONTH_NAMES[season.month]}"
        return Parts([f"it {self._be()} {grade}", f"the weather {self._be()} {grade}"], [f"weather {grade}"])

    def _say_advice(self, advice: Advice) -> Parts:
        return Parts(words.ADVICE[advice.signs[0]])
