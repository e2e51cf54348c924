"""German word order: the verb second or last, what parts from it at the end, indefinite subjects late."""

from typing import NamedTuple

from slt.demo.german_words import Verb
from slt.demo.inflection import Phrase
from slt.demo.wording import join


class Core(NamedTuple):
    """A clause without time and place, in the pieces that German word order moves about."""

    subject: str
    """or what else may stand first, such as 'mit Regen'"""
    verb: str
    """finite"""
    middle: str = ""
    """adverbs, after time and place"""
    rest: str = ""
    """objects and complements, after those"""
    end: str = ""
    """infinitive or participle"""
    prefix: str = ""
    """of the verb: 'ab' of 'zieht … ab'"""
    reflexive: bool = False
    late: bool = False
    """whether the subject, indefinite, stands after time and place when it is not first"""


def core(subject: Phrase | str, verb: Verb, plural: bool | None = None, **pieces: str | bool) -> Core:
    """A clause whose verb agrees with its subject."""
    many = plural if plural is not None else isinstance(subject, Phrase) and subject.plural
    name = subject.nom if isinstance(subject, Phrase) else subject
    return Core(
        name,
        verb.plural if many else verb.singular,
        prefix=verb.prefix,
        reflexive=verb.reflexive,
        **pieces,  # type: ignore[arg-type]
    )


def main_clause(core: Core, time: str, place: str, first: str) -> str:
    """The clause with its verb second; ``first`` is `subject`, `time` or `place`, or the very words that stand first.

    With ``first`` empty the verb stands first, as it does after a subordinate clause.
    """
    if first in ("time", "place") and not {"time": time, "place": place}[first]:
        first = "subject"
    front = {"subject": core.subject, "time": time, "place": place}.get(first, first)
    subject = "" if first == "subject" else core.subject
    return join(
        front,
        core.verb,
        # a pronoun stands before `sich`, a noun after it
        "sich" if core.reflexive else "",
        "" if core.late else subject,
        "" if first == "time" else time,
        "" if first == "place" else place,
        core.middle,
        subject if core.late else "",
        core.rest,
        core.end,
        core.prefix,
    )


def subordinate_clause(core: Core, time: str, place: str) -> str:
    """The clause with its verb last, joined to its prefix."""
    sich = "sich" if core.reflexive else ""
    early, late = ("", core.subject) if core.late else (core.subject, "")
    return join(sich, early, time, place, core.middle, late, core.rest, core.end, core.prefix + core.verb)
