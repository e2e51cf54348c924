"""German words for the signs: the most usual wording of each first, as in ``slt.demo.words`` the English ones."""

# ruff: noqa: SIM905 (a list of words is easier to read as text)

from typing import NamedTuple

from slt.demo.grammar import COUNTRIES, Place
from slt.demo.inflection import Noun, noun
from slt.demo.lexicon import MONTHS, WEEKDAYS


class Verb(NamedTuple):
    """A verb in the present: third person singular and plural, the prefix that it parts with, and whether `sich`."""

    singular: str
    plural: str
    prefix: str = ""
    reflexive: bool = False


class Kind(NamedTuple):
    """How a phenomenon is worded; every list starts with the most usual form."""

    nouns: tuple[Noun, ...]
    happens: Verb
    """what the noun does (Regen fällt)"""
    verb: tuple[str, str] | None = None
    """after 'es', and infinitive (regnet, regnen)"""
    adjectives: tuple[str, ...] = ()
    """after 'es ist'"""
    strong: tuple[str, ...] = ("kräftig", "stark")
    weak: tuple[str, ...] = ("leicht", "schwach")


FALL, OCCUR = Verb("fällt", "fallen"), Verb("tritt", "treten", "auf")
FORM, RULE = Verb("bildet", "bilden", reflexive=True), Verb("überwiegt", "überwiegen")
THREATEN, DESCEND = Verb("droht", "drohen"), Verb("geht", "gehen", "nieder")

KINDS: dict[str, Kind] = {
    "RAIN": Kind((noun("Regen", "m"), noun("Niederschlag", "m")), FALL, ("regnet", "regnen"), ("regnerisch",)),
    "SUN": Kind((noun("Sonnenschein", "m"), noun("Sonne", "f")), RULE, None, ("sonnig",)),
    "SNOW": Kind((noun("Schnee", "m"), noun("Schneefall", "m")), FALL, ("schneit", "schneien"), ("winterlich",)),
    "CLOUD": Kind((noun("Wolken", "p"), noun("Bewölkung", "f")), Verb("zieht", "ziehen", "auf"), None,
                  ("bewölkt", "wolkig"), ("dicht", "stark"), ("dünn", "locker")),
    "SHOWER": Kind((noun("Schauer", "p"), noun("Regenschauer", "p")), DESCEND),
    "FOG": Kind((noun("Nebel", "m"),), FORM, None, ("neblig",), ("dicht", "zäh"), ("dünn", "flach")),
    "THUNDERSTORM": Kind((noun("Gewitter", "p"), noun("Donner", "m")), OCCUR, ("gewittert", "gewittern"),
                         ("gewittrig",), ("heftig", "schwer")),
    "FROST": Kind((noun("Frost", "m"), noun("Bodenfrost", "m")), OCCUR, None, ("frostig",), ("streng", "stark")),
    "CLEAR": Kind((noun("Himmel", "m", "klar"),), RULE, None, ("klar",)),
    "DRIZZLE": Kind((noun("Nieselregen", "m"), noun("Sprühregen", "m")), FALL, ("nieselt", "nieseln")),
    "STORM": Kind((noun("Sturm", "m"), noun("Stürme", "p")), OCCUR, None, ("stürmisch",), ("schwer", "heftig")),
    "ICE": Kind((noun("Eis", "n"), noun("Eisflächen", "p")), FORM, None, ("vereist",), ("dick", "fest"),
                ("dünn", "schwach")),
    "HAIL": Kind((noun("Hagel", "m"),), FALL, ("hagelt", "hageln")),
    "GUST": Kind((noun("Böen", "p"), noun("Windböen", "p")), OCCUR, None, ("böig",), ("schwer", "heftig")),
    "MIST": Kind((noun("Dunst", "m"),), FORM, None, ("dunstig",), ("dicht", "zäh"), ("dünn", "leicht")),
    "SLEET": Kind((noun("Schneeregen", "m"), noun("Schnee", "m", "nass")), FALL),
    "BREEZE": Kind((noun("Brisen", "p"), noun("Wind", "m", "sanft")), Verb("weht", "wehen"), None, ("luftig",)),
    "DOWNPOUR": Kind((noun("Wolkenbrüche", "p"), noun("Platzregen", "m")), DESCEND, ("gießt", "gießen")),
    "BLACK-ICE": Kind((noun("Glatteis", "n"), noun("Straßen", "p", "glatt")), THREATEN, None, ("glatt",)),
    "BLIZZARD": Kind((noun("Schneestürme", "p"), noun("Schneetreiben", "n")), Verb("tobt", "toben")),
    "HEAT": Kind((noun("Hitze", "f"),), Verb("herrscht", "herrschen")),
    "HAZE": Kind((noun("Schleierwolken", "p"),), Verb("zieht", "ziehen", "auf"), None, ("diesig",)),
    "DEW": Kind((noun("Tau", "m"),), FORM),
    "FLOOD": Kind((noun("Überschwemmungen", "p"), noun("Hochwasser", "n")), THREATEN),
    "RAINBOW": Kind((noun("Regenbögen", "p"),), Verb("erscheint", "erscheinen")),
    "LIGHTNING": Kind((noun("Blitze", "p"),), Verb("zuckt", "zucken")),
    "POLLEN": Kind((noun("Pollen", "p"),), Verb("fliegt", "fliegen")),
    "THAW": Kind((noun("Tauwetter", "n"), noun("Schnee", "m", "schmelzend")), Verb("setzt", "setzen", "ein"),
                 ("taut", "tauen")),
    "SMOG": Kind((noun("Smog", "m"),), FORM),
    "AVALANCHE": Kind((noun("Lawinen", "p"),), Verb("geht", "gehen", "ab")),
    "TORNADO": Kind((noun("Tornados", "p"),), OCCUR),
}  # fmt: skip

QUALITIES: dict[str, tuple[tuple[str, str], ...]] = {  # plain form and comparative
    "DRY": (("trocken", "trockener"),),
    "WARM": (("warm", "wärmer"),),
    "COLD": (("kalt", "kälter"),),
    "MILD": (("mild", "milder"),),
    "COOL": (("kühl", "kühler"), ("frisch", "frischer")),
    "WINDY": (("windig", "windiger"),),
    "WET": (("nass", "nasser"), ("feucht", "feuchter")),
    "HOT": (("heiß", "heißer"),),
    "BRIGHT": (("heiter", "heiterer"), ("freundlich", "freundlicher")),
    "CHANGEABLE": (("wechselhaft", "wechselhafter"), ("unbeständig", "unbeständiger")),
    "HUMID": (("schwül", "schwüler"),),
    "DULL": (("trüb", "trüber"), ("grau", "grauer")),
    "FREEZING": (("eisig", "eisiger"),),
    "CALM": (("ruhig", "ruhiger"),),
    "PLEASANT": (("angenehm", "angenehmer"),),
}

SUBJECT = tuple[str, bool]  # a noun phrase with its article, nominative, and whether it is plural
PLACES: dict[str, tuple[tuple[str, ...], tuple[SUBJECT, ...]]] = {
    "CENTRE": (("in der Mitte", "in den mittleren Gebieten"), (("die Mitte", False), ("mittlere Gebiete", True))),
    "COAST": (("an der Küste", "entlang der Küste", "in Küstennähe"), (("die Küste", False),)),
    "MOUNTAIN": (("in den Bergen", "im Bergland", "im Gebirge"), (("die Berge", True),)),
    "VALLEY": (("in den Tälern", "in tiefen Lagen"), (("die Täler", True),)),
    "HILL": (("auf den Hügeln", "im Hügelland"), (("das Hügelland", False),)),
    "INLAND": (("im Landesinneren", "im Binnenland"), (("das Binnenland", False),)),
    "EVERYWHERE": (("überall", "im ganzen Land", "in allen Gebieten"), (("das ganze Land", False),)),
    "ISLAND": (("auf den Inseln", "rund um die Inseln"), (("die Inseln", True),)),
    "SEA": (("auf See", "auf dem Meer", "über dem Meer"), ()),
    "CITY": (("in den Städten", "in Städten und Gemeinden"), (("die Städte", True),)),
    "LAKE": (("an den Seen", "rund um die Seen"), (("die Seen", True),)),
    "FOREST": (("in den Wäldern", "im Wald"), (("die Wälder", True),)),
    "RIVER": (("an den Flüssen", "entlang der Flüsse"), (("die Flüsse", True),)),
    "ROAD": (("auf den Straßen", "auf vielen Straßen"), (("die Straßen", True),)),
    "BORDER": (("an der Grenze", "in Grenznähe"), (("das Grenzgebiet", False),)),
    "HIGHLANDS": (("in den Highlands", "im schottischen Hochland"), (("die Highlands", True),)),
    "MIDLANDS": (("in den Midlands", "in Mittelengland"), (("die Midlands", True),)),
    "ORKNEY": (("auf Orkney", "rund um Orkney"), (("Orkney", False),)),
    "SHETLAND": (("auf Shetland", "rund um Shetland"), (("Shetland", False),)),
}
COUNTRY_NAMES = {"SCOTLAND": "Schottland", "WALES": "Wales", "IRELAND": "Irland", "ENGLAND": "England"}
DIRECTION_NAMES: dict[Place, str] = {
    ("NORTH",): "Nord", ("SOUTH",): "Süd", ("WEST",): "West", ("EAST",): "Ost", ("NORTH", "WEST"): "Nordwest",
    ("NORTH", "EAST"): "Nordost", ("SOUTH", "WEST"): "Südwest", ("SOUTH", "EAST"): "Südost",
}  # fmt: skip

WEEKDAY_NAMES = dict(zip(WEEKDAYS, "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag".split(), strict=True))
DAYS: dict[str, tuple[str, ...]] = {
    "TOMORROW": ("morgen",),
    "TODAY": ("heute",),
    "TONIGHT": ("heute Nacht",),
    **{sign: (f"am {day}",) for sign, day in WEEKDAY_NAMES.items()},
    "WEEKEND": ("am Wochenende", "übers Wochenende", "am Samstag und Sonntag"),
    "NOW": ("im Moment", "derzeit", "jetzt", "zurzeit"),
    "OVERMORROW": ("übermorgen", "in zwei Tagen"),
    "SOON": ("bald", "demnächst", "in Kürze"),
    "LATER": ("später", "im weiteren Verlauf"),
    "NEXT-WEEK": ("nächste Woche", "in der kommenden Woche"),
}
PARTS: dict[str, tuple[str, ...]] = {
    "MORNING": ("am Vormittag", "vormittags"),
    "NIGHT": ("in der Nacht", "nachts"),
    "AFTERNOON": ("am Nachmittag", "nachmittags"),
    "EVENING": ("am Abend", "abends"),
    "NOON": ("am Mittag", "mittags"),
    "DAWN": ("in der Morgendämmerung", "bei Sonnenaufgang"),
    "DUSK": ("in der Abenddämmerung", "bei Sonnenuntergang"),
    "MIDNIGHT": ("um Mitternacht", "gegen Mitternacht"),
}
PART_NAMES = {"MORNING": "Vormittag", "AFTERNOON": "Nachmittag", "EVENING": "Abend", "NOON": "Mittag"}
# a manner is an adjective before the noun or an adverb
MANNERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "SCATTERED": (("vereinzelt", "örtlich"), ("hier und da", "stellenweise")),
    "SOMETIMES": (("gelegentlich",), ("zeitweise", "ab und zu", "dann und wann")),
    "LONG": (("anhaltend", "langwierig"), ("lange Zeit", "stundenlang")),
    "SHORT": (("kurz", "kurzlebig"), ("für kurze Zeit", "kurzzeitig")),
    "AGAIN": (("erneut",), ("noch einmal", "wieder")),
}
COURSES: dict[str, tuple[tuple[Verb, str], ...]] = {  # and what stands before the prefix
    "STOP": ((Verb("hört", "hören", "auf"), ""), (Verb("endet", "enden"), ""), (Verb("geht", "gehen"), "zu Ende")),
    "DECREASE": ((Verb("lässt", "lassen", "nach"), ""), (Verb("wird", "werden"), "schwächer")),
    "INCREASE": ((Verb("nimmt", "nehmen", "zu"), ""), (Verb("wird", "werden"), "stärker")),
    "COME": ((Verb("kommt", "kommen"), ""), (Verb("zieht", "ziehen", "heran"), ""),
             (Verb("trifft", "treffen", "ein"), "")),
    "SPREAD": ((Verb("breitet", "breiten", "aus", True), ""), (Verb("dehnt", "dehnen", "aus", True), "")),
    "RETURN": ((Verb("kehrt", "kehren", "zurück"), ""), (Verb("kommt", "kommen", "zurück"), "")),
    "MOVE-AWAY": ((Verb("zieht", "ziehen", "ab"), ""), (Verb("verschwindet", "verschwinden"), "")),
    "STAY": ((Verb("bleibt", "bleiben"), ""), (Verb("hält", "halten", "", True), "")),
}  # fmt: skip
SYSTEMS: dict[Place, tuple[tuple[str, str], ...]] = {  # nominative and dative
    ("HIGH",): (("ein Hoch", "einem Hoch"), ("ein Hochdruckgebiet", "einem Hochdruckgebiet")),
    ("LOW",): (("ein Tief", "einem Tief"), ("ein Tiefdruckgebiet", "einem Tiefdruckgebiet")),
    ("COLD", "FRONT"): (("eine Kaltfront", "einer Kaltfront"),),
    ("WARM", "FRONT"): (("eine Warmfront", "einer Warmfront"),),
    ("AIR", "COLD"): (("kalte Luft", "kalter Luft"), ("Kaltluft", "Kaltluft")),
    ("AIR", "WARM"): (("warme Luft", "warmer Luft"), ("Warmluft", "Warmluft")),
    ("AIR", "DRY"): (("trockene Luft", "trockener Luft"),),
    ("AIR", "HUMID"): (("feuchte Luft", "feuchter Luft"),),
    ("AIR", "MILD"): (("milde Luft", "milder Luft"),),
}
ADVICE: dict[str, tuple[str, ...]] = {
    "UMBRELLA": ("nehmen Sie einen Schirm mit", "denken Sie an den Schirm", "vergessen Sie den Schirm nicht"),
    "DRIVE": ("fahren Sie vorsichtig", "seien Sie auf der Straße vorsichtig", "passen Sie beim Fahren auf"),
    "COAT": ("nehmen Sie einen Mantel mit", "denken Sie an den Mantel", "vergessen Sie den Mantel nicht"),
    "SUNCREAM": ("benutzen Sie Sonnencreme", "denken Sie an Sonnencreme", "schützen Sie Ihre Haut"),
    "HAT": ("tragen Sie einen Hut", "denken Sie an den Hut", "vergessen Sie den Hut nicht"),
    "DRINK": ("trinken Sie genug Wasser", "denken Sie ans Trinken", "trinken Sie viel"),
}
MONTH_NAMES = dict(
    zip(
        MONTHS,
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split(),
        strict=True,
    )
)
SMALL = (
    "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn "
    "achtzehn neunzehn"
).split()
TEN_NAMES = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()


def number(value: int, before_noun: bool = True) -> str:
    """A German numeral in words, -99 to 900; ``before_noun``: `ein` Grad, not `eins`."""
    if value < 0:
        return f"minus {number(-value, before_noun)}"
    if value >= 100:
        return f"{'ein' if value // 100 == 1 else SMALL[value // 100]}hundert"
    if value == 1 and before_noun:
        return "ein"
    if value < 20:
        return SMALL[value]
    tens, units = divmod(value, 10)
    return (f"{'ein' if units == 1 else SMALL[units]}und" if units else "") + TEN_NAMES[tens - 2]


def adverbials(place: Place) -> tuple[str, ...]:
    """Adverbials of place, most usual first."""
    head = place[0]
    if head in COUNTRIES and len(place) == 2:
        side, country = DIRECTION_NAMES[place[1:]], COUNTRY_NAMES[head]
        owner = f"von {country}" if country.endswith("s") else f"{country}s"
        return f"im {side}en {owner}", f"im {_adjective(side)}en {country}", f"in {side}{country.lower()}"
    if place in DIRECTION_NAMES:
        side = DIRECTION_NAMES[place]
        return f"im {side}en", f"in {_adjective(side)}en Gebieten", f"in den {_adjective(side)}en Landesteilen"
    if head in PLACES:
        return PLACES[head][0]
    name = COUNTRY_NAMES.get(head, head.capitalize())
    return (f"in {name}", f"in ganz {name}") if head in COUNTRIES else (f"in {name}", f"rund um {name}")


def subjects(place: Place) -> tuple[SUBJECT, ...]:
    """Noun phrases for a place as a subject, most usual first; some places have none."""
    head = place[0]
    if head in COUNTRIES and len(place) == 2:
        side, country = DIRECTION_NAMES[place[1:]], COUNTRY_NAMES[head]
        owner = f"von {country}" if country.endswith("s") else f"{country}s"
        return (f"der {side}en {owner}", False), (f"das {_adjective(side)}e {country}", False)
    if place in DIRECTION_NAMES:
        side = DIRECTION_NAMES[place]
        return (f"der {side}en", False), (f"die {_adjective(side)}en Gebiete", True)
    if head in PLACES:
        return PLACES[head][1]
    return ((COUNTRY_NAMES.get(head, head.capitalize()), False),)


def _adjective(side: str) -> str:
    """The stem of the adjective: Nord, nördlich; Südost, südöstlich."""
    return side.lower().replace("nord", "nörd" if side == "Nord" else "nord").replace("ost", "öst") + "lich"
