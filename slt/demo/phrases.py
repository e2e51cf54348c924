"""Pieces of English phrases: places as adverbials and as subjects, articles and verb endings."""

from slt.demo import words
from slt.demo.grammar import COUNTRIES, Place
from slt.demo.words import Noun


def adverbials(place: Place) -> tuple[str, ...]:
    """Adverbials of place, most usual first."""
    head = place[0]
    if head in COUNTRIES and len(place) == 2:
        side, country = words.DIRECTION_NAMES[place[1:]], head.capitalize()
        return f"in {side}ern {country}", f"in the {side} of {country}", f"across {side}ern {country}"
    if place in words.DIRECTION_NAMES:
        side = words.DIRECTION_NAMES[place]
        return f"in the {side}", f"across the {side}", f"in {side}ern areas", f"in {side}ern parts"
    if head in words.NAMED:
        name = head.capitalize()
        prepositions = ("in", "across", "over") if head in COUNTRIES else ("in", "around")
        return tuple(f"{preposition} {name}" for preposition in prepositions)
    return words.PLACES[head][0]


def subjects(place: Place) -> tuple[Noun, ...]:
    """Noun phrases for a place as a subject, most usual first; some places have none."""
    head = place[0]
    if head in COUNTRIES and len(place) == 2:
        side, country = words.DIRECTION_NAMES[place[1:]], head.capitalize()
        return Noun(f"{side}ern {country}"), Noun(f"the {side} of {country}")
    if place in words.DIRECTION_NAMES:
        side = words.DIRECTION_NAMES[place]
        return Noun(f"the {side}"), Noun(f"{side}ern areas", True)
    return (Noun(head.capitalize()),) if head in words.NAMED else words.PLACES[head][1]


def article(following: str) -> str:
    return "an" if following[0] in "aeiou" else "a"


def third(base: str) -> str:
    """Third person singular of a verb phrase: the first word takes the ending."""
    verb, *rest = base.split()
    ending = "ies" if verb.endswith("y") and verb[-2] not in "aeiou" else "es" if verb.endswith(("s", "sh")) else "s"
    stem = verb[:-1] if ending == "ies" else verb
    return " ".join([stem + ending, *rest])
