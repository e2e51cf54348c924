"""The monolingual text as a MediaWiki export: articles in wikitext, redirects, templates and talk pages."""

import bz2
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from slt.demo import german_words, words
from slt.demo.grammar import KINDS
from slt.store import replacing

_HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.mediawiki.org/xml/export-0.10/ \
http://www.mediawiki.org/xml/export-0.10.xsd" version="0.10" xml:lang="{language}">
  <siteinfo>
    <sitename>{site}</sitename>
    <dbname>demowiki</dbname>
    <base>https://demo.invalid/wiki/{main}</base>
    <generator>slt.demo.dump</generator>
    <case>first-letter</case>
    <namespaces>
      <namespace key="-1" case="first-letter">{special}</namespace>
      <namespace key="0" case="first-letter" />
      <namespace key="1" case="first-letter">{talk}</namespace>
      <namespace key="10" case="first-letter">{template}</namespace>
      <namespace key="14" case="first-letter">{category}</namespace>
    </namespaces>
  </siteinfo>
"""
_INFOBOX = """{{%s
| number = %d
| source = [[%s|demo]]
| note = {{small|%s}}
}}"""


@dataclass(frozen=True)
class Wiki:
    """What a wiki of a language calls its namespaces, sections and pages; none of it is article text."""

    language: str
    site: str
    main: str
    special: str
    talk: str
    template: str
    category: str
    report: str
    reports: str
    short: str
    """of a report, for redirects"""
    generated: str
    sections: tuple[str, ...]
    see_also: str
    subject: str
    """in brackets after an article's title"""
    footnote: str
    months: dict[str, str]
    kinds: tuple[str, ...]
    """titles of articles"""
    in_template: str
    on_talk: str
    in_category: str
    on_purpose: str


ENGLISH = Wiki(
    language="en",
    site="Demo weather wiki",
    main="Main_Page",
    special="Special",
    talk="Talk",
    template="Template",
    category="Category",
    report="Weather report",
    reports="Weather reports",
    short="Report",
    generated="generated text",
    sections=("Outlook", "Overview", "Detail", "Regions", "Following days", "Records", "Night and morning"),
    see_also="See also",
    subject="weather",
    footnote="Report of",
    months=words.MONTH_NAMES,
    kinds=tuple(kind.capitalize() for kind in KINDS),
    in_template="Sentences in a template are not article text.",
    on_talk="This remark about the article is not article text, so a reader drops it.",
    in_category="Every page of this category is about the weather of some day.",
    on_purpose="the paragraph above came first on purpose",
)
GERMAN = Wiki(
    language="de",
    site="Demo-Wetterwiki",
    main="Hauptseite",
    special="Spezial",
    talk="Diskussion",
    template="Vorlage",
    category="Kategorie",
    report="Wetterbericht",
    reports="Wetterberichte",
    short="Bericht",
    generated="erzeugter Text",
    sections=(
        "Aussichten",
        "Überblick",
        "Einzelheiten",
        "Regionen",
        "Die nächsten Tage",
        "Rekorde",
        "Nacht und Morgen",
    ),
    see_also="Siehe auch",
    subject="Wetter",
    footnote="Bericht vom",
    months=german_words.MONTH_NAMES,
    kinds=tuple(german_words.KINDS[kind].nouns[0].text for kind in KINDS),
    in_template="Sätze in einer Vorlage sind kein Text des Artikels.",
    on_talk="Diese Bemerkung über den Artikel ist kein Text des Artikels, also liest sie niemand.",
    in_category="Jede Seite dieser Kategorie handelt vom Wetter eines Tages.",
    on_purpose="der Absatz darüber steht mit Absicht zuerst",
)
WIKIS = {wiki.language: wiki for wiki in (ENGLISH, GERMAN)}


def write_dump(path: Path, sentences: list[str], seed: int, language: str = "en") -> None:
    """Write all sentences, in order, as the articles of a bzip2-compressed MediaWiki export-0.10 file.

    Every sentence stands unbroken in a paragraph, so that a reader which drops markup finds it exactly as it is.
    """
    rng, wiki = random.Random(f"{seed}/dump"), WIKIS[language]
    pages = (_page(number, *page) for number, page in enumerate(_pages(sentences, rng, wiki), start=1))
    with replacing(path) as temporary, bz2.open(temporary, "wt", encoding="utf-8", newline="\n") as file:
        file.writelines([_HEAD.format(**vars(wiki)), *pages, "</mediawiki>\n"])


def _pages(sentences: list[str], rng: random.Random, wiki: Wiki) -> Iterator[tuple[str, int, str, str | None]]:
    """Title, namespace, wikitext and redirect target of each page; talk pages and redirects must not be read."""
    yield f"{wiki.template}:{wiki.report}", 10, f"<noinclude>{wiki.in_template}</noinclude>", None
    start, number = 0, 0
    while start < len(sentences):
        number += 1
        end = start + rng.randint(20, 40)
        title = f"{wiki.report} {number}"
        yield title, 0, _article(number, sentences[start:end], rng, wiki), None
        if rng.random() < 0.08:
            yield f"{wiki.short} {number}", 0, f"#REDIRECT [[{title}]]", title
        if rng.random() < 0.05:
            yield f"{wiki.talk}:{title}", 1, wiki.on_talk, None
        start = end
    yield f"{wiki.category}:{wiki.reports}", 14, wiki.in_category, None


def _article(number: int, sentences: list[str], rng: random.Random, wiki: Wiki) -> str:
    blocks = [_INFOBOX % (wiki.report, number, wiki.site, wiki.generated)]
    start = 0
    while start < len(sentences):
        if start:
            blocks.append(f"== {rng.choice(wiki.sections)} ==")
        for _ in range(rng.randint(1, 3)):
            end = start + rng.randint(3, 6)
            paragraph = " ".join(_marked_up(sentence, rng, wiki) for sentence in sentences[start:end])
            if paragraph:
                blocks.append(paragraph)
            start = end
    if rng.random() < 0.3:
        blocks.insert(2, f"<!-- {wiki.on_purpose} -->")
    blocks.append(f"== {wiki.see_also} ==\n" + "\n".join(f"* [[{kind}]]" for kind in rng.sample(wiki.kinds, 2)))
    blocks.append(f"{{{{Reflist}}}}\n[[{wiki.category}:{wiki.reports}]]")
    return "\n\n".join(blocks)


def _marked_up(sentence: str, rng: random.Random, wiki: Wiki) -> str:
    """The sentence with a link, bold face or a footnote in it, sometimes."""
    form = rng.random()
    if form >= 0.45:
        return sentence
    pieces = sentence.rstrip(".").split(" ")
    index = rng.randrange(1, len(pieces))
    word = pieces[index].rstrip(",")
    comma = pieces[index][len(word) :]
    if form < 0.15:
        pieces[index] = f"[[{word.capitalize()} ({wiki.subject})|{word}]]{comma}"
    elif form < 0.25:
        pieces[index] = f"[[{word}]]{comma}"
    elif form < 0.35:
        pieces[index] = f"'''{word}'''{comma}"
    elif form < 0.4:
        pieces[index] = f"''{word}''{comma}"
    else:
        return " ".join(pieces) + f".<ref>{wiki.footnote} {wiki.months[rng.choice(list(wiki.months))]}</ref>"
    return " ".join(pieces) + "."


def _page(number: int, title: str, namespace: int, text: str, redirect: str | None) -> str:
    digest = int.from_bytes(hashlib.sha1(text.encode("utf-8"), usedforsecurity=False).digest(), "big")
    lines = [
        "  <page>",
        f"    <title>{escape(title)}</title>",
        f"    <ns>{namespace}</ns>",
        f"    <id>{number}</id>",
        *([f"    <redirect title={quoteattr(redirect)} />"] if redirect else []),
        "    <revision>",
        f"      <id>{number + 100000}</id>",
        "      <timestamp>2024-01-01T00:00:00Z</timestamp>",
        "      <contributor>",
        "        <username>Demo</username>",
        "        <id>1</id>",
        "      </contributor>",
        "      <model>wikitext</model>",
        "      <format>text/x-wiki</format>",
        f'      <text bytes="{len(text.encode("utf-8"))}" xml:space="preserve">{escape(text)}</text>',
        f"      <sha1>{_base36(digest)}</sha1>",
        "    </revision>",
        "  </page>",
    ]
    return "\n".join(lines) + "\n"


def _base36(value: int) -> str:
    digits = ""
    while value:
        value, rest = divmod(value, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return digits.rjust(31, "0")
