"""English words for the signs: the most usual wording of each first, as ``Say`` prefers the first."""

# ruff: noqa: SIM905 (a list of words is easier to read as text)

from typing import NamedTuple

from slt.demo.lexicon import MONTHS, WEEKDAYS


class Noun(NamedTuple):
    """A noun phrase without article; ``verbs`` fit it as a subject ('rain falls')."""

    text: str
    plural: bool = False


class Kind(NamedTuple):
    """How a phenomenon is worded; every list starts with the most usual form."""

    nouns: tuple[Noun, ...]
    verb: str | None = None
    """base form after 'it' (it will rain)"""
    adjectives: tuple[str, ...] = ()
    """after 'it is'"""
    happens: tuple[str, ...] = ("occur",)
    """base forms after the noun (rain falls)"""
    strong: tuple[str, ...] = ("heavy", "intense")
    weak: tuple[str, ...] = ("light", "slight")


def _nouns(*texts: str) -> tuple[Noun, ...]:
    """Nouns; a trailing + marks a plural."""
    return tuple(Noun(text.rstrip("+"), text.endswith("+")) for text in texts)


KINDS: dict[str, Kind] = {
    "RAIN": Kind(_nouns("rain", "rainfall"), "rain", ("rainy",), ("fall",)),
    "SUN": Kind(_nouns("sunshine", "sun"), None, ("sunny",), ("dominate",)),
    "SNOW": Kind(_nouns("snow", "snowfall"), "snow", ("snowy",), ("fall",)),
    "CLOUD": Kind(_nouns("clouds+", "cloud"), None, ("cloudy", "overcast"), ("gather",),
                  ("thick", "dense"), ("thin", "light")),
    "SHOWER": Kind(_nouns("showers+",), None, ("showery",), ("fall",)),
    "FOG": Kind(_nouns("fog",), None, ("foggy",), ("form",), ("thick", "dense"), ("thin", "shallow")),
    "THUNDERSTORM": Kind(_nouns("thunderstorms+", "thunder"), None, ("thundery",),
                         ("occur",), ("severe", "violent"), ("weak", "minor")),
    "FROST": Kind(_nouns("frost",), None, ("frosty",), ("form",), ("hard", "sharp"), ("slight", "light")),
    "CLEAR": Kind(_nouns("clear skies+"), None, ("clear",), ("dominate",)),
    "DRIZZLE": Kind(_nouns("drizzle", "fine rain"), "drizzle", (), ("fall",)),
    "STORM": Kind(_nouns("storms+", "stormy weather"), None, ("stormy",), ("occur",), ("severe", "violent"),
                  ("weak", "minor")),
    "ICE": Kind(_nouns("ice", "icy patches+"), None, ("icy",), ("form",), ("thick", "heavy"), ("thin", "slight")),
    "HAIL": Kind(_nouns("hail",), "hail", (), ("fall",)),
    "GUST": Kind(_nouns("gusts+", "gusty winds+"), None, ("gusty",), ("occur",), ("severe", "violent"),
                 ("weak", "minor")),
    "MIST": Kind(_nouns("mist",), None, ("misty",), ("form",), ("thick", "dense"), ("thin", "shallow")),
    "SLEET": Kind(_nouns("sleet", "wet snow"), None, (), ("fall",)),
    "BREEZE": Kind(_nouns("breezes+", "gentle winds+"), None, ("breezy",), ("blow",)),
    "DOWNPOUR": Kind(_nouns("downpours+", "torrential rain"), "pour with rain", (), ("fall",)),
    "BLACK-ICE": Kind(_nouns("black ice", "slippery roads+"), None, ("slippery",), ("occur",)),
    "BLIZZARD": Kind(_nouns("blizzards+", "snowstorms+"), None, (), ("occur",)),
    "HEAT": Kind(_nouns("heat",), None, (), ("dominate",)),
    "HAZE": Kind(_nouns("haze",), None, ("hazy",), ("form",)),
    "DEW": Kind(_nouns("dew",), None, (), ("form",)),
    "FLOOD": Kind(_nouns("floods+", "flooding"), None, (), ("occur",)),
    "RAINBOW": Kind(_nouns("rainbows+",), None, (), ("appear",)),
    "LIGHTNING": Kind(_nouns("lightning",), None, (), ("occur",)),
    "POLLEN": Kind(_nouns("pollen",), None, (), ("fly",)),
    "THAW": Kind(_nouns("thawing weather", "melting snow"), "thaw", (), ("begin",)),
    "SMOG": Kind(_nouns("smog",), None, (), ("form",)),
    "AVALANCHE": Kind(_nouns("avalanches+",), None, (), ("occur",)),
    "TORNADO": Kind(_nouns("tornadoes+",), None, (), ("occur",)),
}  # fmt: skip

QUALITIES: dict[str, tuple[tuple[str, str], ...]] = {  # plain form and comparative
    "DRY": (("dry", "drier"),),
    "WARM": (("warm", "warmer"),),
    "COLD": (("cold", "colder"), ("chilly", "chillier")),
    "MILD": (("mild", "milder"),),
    "COOL": (("cool", "cooler"), ("fresh", "fresher")),
    "WINDY": (("windy", "windier"),),
    "WET": (("wet", "wetter"), ("damp", "damper")),
    "HOT": (("hot", "hotter"),),
    "BRIGHT": (("bright", "brighter"), ("fine", "finer")),
    "CHANGEABLE": (("changeable", "more changeable"), ("unsettled", "more unsettled")),
    "HUMID": (("humid", "more humid"), ("muggy", "muggier")),
    "DULL": (("dull", "duller"), ("grey", "greyer")),
    "FREEZING": (("freezing", "more freezing"),),
    "CALM": (("calm", "calmer"),),
    "PLEASANT": (("pleasant", "more pleasant"),),
}

# adverbials, and the noun phrases that may stand as a subject ('the north sees rain')
PLACES: dict[str, tuple[tuple[str, ...], tuple[Noun, ...]]] = {
    "CENTRE": (("in the centre", "in central areas", "in central parts"), _nouns("the centre", "central areas+")),
    "COAST": (("on the coast", "along the coast", "in coastal areas"), _nouns("the coast", "coastal areas+")),
    "MOUNTAIN": (
        ("in the mountains", "on high ground"),
        _nouns(
            "the mountains+",
        ),
    ),
    "VALLEY": (
        ("in the valleys", "in low-lying areas"),
        _nouns(
            "the valleys+",
        ),
    ),
    "HILL": (
        ("on the hills", "in hilly areas"),
        _nouns(
            "the hills+",
        ),
    ),
    "INLAND": (
        ("inland", "away from the coast"),
        _nouns(
            "inland areas+",
        ),
    ),
    "EVERYWHERE": (("everywhere", "across the country", "in all areas"), _nouns("the whole country", "all areas+")),
    "ISLAND": (
        ("on the islands", "around the islands"),
        _nouns(
            "the islands+",
        ),
    ),
    "SEA": (("at sea", "over the sea", "on the water"), ()),
    "CITY": (
        ("in the cities", "in towns and cities"),
        _nouns(
            "the cities+",
        ),
    ),
    "LAKE": (
        ("around the lakes", "on the lakes"),
        _nouns(
            "the lakes+",
        ),
    ),
    "FOREST": (
        ("in the forests", "in the woods"),
        _nouns(
            "the forests+",
        ),
    ),
    "RIVER": (
        ("along the rivers", "by the rivers"),
        _nouns(
            "the rivers+",
        ),
    ),
    "ROAD": (
        ("on the roads", "on many roads"),
        _nouns(
            "the roads+",
        ),
    ),
    "BORDER": (
        ("near the border", "along the border"),
        _nouns(
            "the border",
        ),
    ),
    "HIGHLANDS": (
        ("in the Highlands", "across the Highlands"),
        _nouns(
            "the Highlands+",
        ),
    ),
    "MIDLANDS": (
        ("in the Midlands", "across the Midlands"),
        _nouns(
            "the Midlands+",
        ),
    ),
}
NAMED = (
    "SCOTLAND WALES IRELAND ENGLAND LONDON CORNWALL DEVON KENT YORKSHIRE DUBLIN BELFAST CARDIFF GLASGOW EDINBURGH "
    "MANCHESTER LIVERPOOL BRISTOL ABERDEEN ORKNEY SHETLAND"
).split()

DAYS: dict[str, tuple[str, ...]] = {
    "TOMORROW": ("tomorrow",),
    "TODAY": ("today",),
    "TONIGHT": ("tonight",),
    **{day: (f"on {day.capitalize()}",) for day in WEEKDAYS},
    "WEEKEND": ("at the weekend", "over the weekend", "on Saturday and Sunday"),
    "NOW": ("at the moment", "currently", "now", "right now"),
    "OVERMORROW": ("the day after tomorrow", "in two days"),
    "SOON": ("soon", "shortly", "before long"),
    "LATER": ("later", "later on"),
    "NEXT-WEEK": ("next week", "in the coming week"),
}
PARTS: dict[str, tuple[str, ...]] = {
    "MORNING": ("in the morning", "during the morning"),
    "NIGHT": ("at night", "overnight", "during the night"),
    "AFTERNOON": ("in the afternoon", "during the afternoon"),
    "EVENING": ("in the evening", "during the evening"),
    "NOON": ("at noon", "around midday"),
    "DAWN": ("at dawn", "at sunrise"),
    "DUSK": ("at dusk", "at sunset"),
    "MIDNIGHT": ("at midnight", "around midnight"),
}
# a manner is an adjective before the noun or an adverbial at the end of the clause
MANNERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "SCATTERED": (("scattered", "isolated"), ("here and there", "in places")),
    "SOMETIMES": (("occasional",), ("at times", "now and then", "from time to time")),
    "LONG": (("persistent", "prolonged"), ("for a long time", "for hours")),
    "SHORT": (("brief", "short-lived"), ("for a short time", "for a while")),
    "AGAIN": (("renewed",), ("again", "once more")),
}
COURSES: dict[str, tuple[tuple[str, str], ...]] = {  # after 'will', and third person singular
    "STOP": (("stop", "stops"), ("end", "ends"), ("come to an end", "comes to an end")),
    "DECREASE": (("ease", "eases"), ("weaken", "weakens"), ("become less", "becomes less")),
    "INCREASE": (("increase", "increases"), ("intensify", "intensifies"), ("become more", "becomes more")),
    "COME": (("arrive", "arrives"), ("move in", "moves in"), ("set in", "sets in")),
    "SPREAD": (("spread", "spreads"), ("extend", "extends")),
    "RETURN": (("return", "returns"), ("come back", "comes back")),
    "MOVE-AWAY": (("move away", "moves away"), ("clear", "clears")),
    "STAY": (("stay", "stays"), ("remain", "remains")),
}
SYSTEMS: dict[tuple[str, ...], tuple[Noun, ...]] = {
    ("HIGH",): _nouns("high pressure", "a high", "an area of high pressure"),
    ("LOW",): _nouns("low pressure", "a low", "an area of low pressure"),
    ("COLD", "FRONT"): _nouns(
        "a cold front",
    ),
    ("WARM", "FRONT"): _nouns(
        "a warm front",
    ),
    ("AIR", "COLD"): _nouns("cold air", "a cold air mass"),
    ("AIR", "WARM"): _nouns("warm air", "a warm air mass"),
    ("AIR", "DRY"): _nouns("dry air", "a dry air mass"),
    ("AIR", "HUMID"): _nouns("humid air", "a humid air mass"),
    ("AIR", "MILD"): _nouns("mild air", "a mild air mass"),
}
ADVICE: dict[str, tuple[str, ...]] = {
    "UMBRELLA": ("take an umbrella", "you will need an umbrella", "do not forget your umbrella"),
    "DRIVE": ("drive carefully", "drivers should take care", "be careful on the road"),
    "COAT": ("take a coat", "you will need a coat", "do not forget your coat"),
    "SUNCREAM": ("use sun cream", "you will need sun cream", "protect your skin"),
    "HAT": ("wear a hat", "you will need a hat", "do not forget your hat"),
    "DRINK": ("drink enough water", "remember to drink", "you should drink plenty"),
}
MONTH_NAMES = {month: month.capitalize() for month in MONTHS}
SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TEN_NAMES = "twenty thirty forty fifty sixty seventy eighty ninety".split()
DIRECTION_NAMES = {
    ("NORTH",): "north", ("SOUTH",): "south", ("WEST",): "west", ("EAST",): "east", ("NORTH", "WEST"): "north-west",
    ("NORTH", "EAST"): "north-east", ("SOUTH", "WEST"): "south-west", ("SOUTH", "EAST"): "south-east",
}  # fmt: skip


def number(value: int) -> str:
    """An English numeral in words, -99 to 900."""
    if value < 0:
        return f"minus {number(-value)}"
    if value >= 100:
        return f"{SMALL[value // 100]} hundred"
    if value < 20:
        return SMALL[value]
    tens, units = divmod(value, 10)
    return TEN_NAMES[tens - 2] + (f"-{SMALL[units]}" if units else "")
