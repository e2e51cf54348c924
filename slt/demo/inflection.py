"""German noun phrases in the three cases that reports need: gender, strong and mixed adjectives, articles."""

from typing import Literal, NamedTuple

Gender = Literal["m", "f", "n", "p"]  # p: plural of any gender
GENDERS = "mfnp"
STRONG = {"nom": ("er", "e", "es", "e"), "acc": ("en", "e", "es", "e"), "dat": ("em", "er", "em", "en")}
MIXED = {"nom": ("er", "e", "es", "en"), "acc": ("en", "e", "es", "en"), "dat": ("en", "en", "en", "en")}
"""after `kein`; rows in the order of GENDERS"""
KEIN = {"nom": ("kein", "keine", "kein", "keine"), "acc": ("keinen", "keine", "kein", "keine"),
        "dat": ("keinem", "keiner", "keinem", "keinen")}  # fmt: skip
ARTICLE = ("der", "die", "das", "die")


class Phrase(NamedTuple):
    """A noun phrase in nominative, accusative and dative."""

    nom: str
    acc: str
    dat: str
    plural: bool = False

    def followed_by(self, text: str) -> "Phrase":
        """The phrase with the same words after it in every case; nothing is added for an empty text."""
        return in_cases(*(f"{form} {text}" for form in self[:3]), plural=self.plural) if text else self

    def preceded_by(self, text: str) -> "Phrase":
        """The phrase with the same words before it in every case, such as an adverb."""
        return in_cases(*(f"{text} {form}" for form in self[:3]), plural=self.plural) if text else self


def in_cases(*forms: str, plural: bool = False) -> Phrase:
    """A phrase of its three forms: nominative, accusative, dative."""
    nom, acc, dat = forms
    return Phrase(nom, acc, dat, plural)


class Noun(NamedTuple):
    """A noun without article; ``adjective`` belongs to it always (`klar` to a clear sky)."""

    text: str
    gender: Gender
    dative: str
    adjective: str = ""

    @property
    def plural(self) -> bool:
        return self.gender == "p"


def noun(text: str, gender: Gender, adjective: str = "") -> Noun:
    """A noun whose dative plural ends in -n, as all do that end in -e, -er or -el; loans in -s stay as they are."""
    dative = text + "n" if gender == "p" and text.endswith(("e", "er", "el")) else text
    return Noun(text, gender, dative, adjective)


def phrase(head: Noun, *adjectives: str, none: bool = False) -> Phrase:
    """The noun with its adjectives, strongly inflected, or with ``none`` after `kein`."""
    row = GENDERS.index(head.gender)
    inflected = [*adjectives, *([head.adjective] if head.adjective else [])]
    cases = {}
    for case in STRONG:
        ending = (MIXED if none else STRONG)[case][row]
        words = [*([KEIN[case][row]] if none else []), *(adjective + ending for adjective in inflected)]
        cases[case] = " ".join([*words, head.dative if case == "dat" else head.text])
    return Phrase(**cases, plural=head.plural)


def definite(head: Noun) -> str:
    """The noun with its definite article, nominative; its own adjective then ends in -e, in the plural in -en."""
    adjective = head.adjective + ("en" if head.plural else "e") if head.adjective else ""
    return " ".join(filter(None, (ARTICLE[GENDERS.index(head.gender)], adjective, head.text)))


def both(one: Phrase, other: Phrase, joint: str) -> Phrase:
    """Two phrases as one, plural."""
    return in_cases(*(f"{first}{joint}{second}" for first, second in zip(one[:3], other[:3], strict=True)), plural=True)


def same(text: str, plural: bool = False) -> Phrase:
    """A phrase that no case changes."""
    return Phrase(text, text, text, plural)
