"""The monolingual text as a MediaWiki export: articles in wikitext, redirects, templates and talk pages."""

import bz2
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from slt.demo import words
from slt.demo.grammar import KINDS
from slt.store import replacing

_HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.mediawiki.org/xml/export-0.10/ \
http://www.mediawiki.org/xml/export-0.10.xsd" version="0.10" xml:lang="en">
  <siteinfo>
    <sitename>Demo weather wiki</sitename>
    <dbname>demowiki</dbname>
    <base>https://demo.invalid/wiki/Main_Page</base>
    <generator>slt.demo.dump</generator>
    <case>first-letter</case>
    <namespaces>
      <namespace key="-1" case="first-letter">Special</namespace>
      <namespace key="0" case="first-letter" />
      <namespace key="1" case="first-letter">Talk</namespace>
      <namespace key="10" case="first-letter">Template</namespace>
      <namespace key="14" case="first-letter">Category</namespace>
    </namespaces>
  </siteinfo>
"""
_SECTIONS = ("Outlook", "Overview", "Detail", "Regions", "Following days", "Records", "Night and morning")
_INFOBOX = """{{Weather report
| number = %d
| source = [[Demo weather wiki|demo]]
| note = {{small|generated text}}
}}"""


def write_dump(path: Path, sentences: list[str], seed: int) -> None:
    """Write all sentences, in order, as the articles of a bzip2-compressed MediaWiki export-0.10 file.

    Every sentence stands unbroken in a paragraph, so that a reader which drops markup finds it exactly as it is.
    """
    rng = random.Random(f"{seed}/dump")
    pages = (_page(number, *page) for number, page in enumerate(_pages(sentences, rng), start=1))
    with replacing(path) as temporary, bz2.open(temporary, "wt", encoding="utf-8", newline="\n") as file:
        file.writelines([_HEAD, *pages, "</mediawiki>\n"])


def _pages(sentences: list[str], rng: random.Random) -> Iterator[tuple[str, int, str, str | None]]:
    """Title, namespace, wikitext and redirect target of each page; talk pages and redirects must not be read."""
    yield "Template:Weather report", 10, "<noinclude>Sentences in a template are not article text.</noinclude>", None
    start, number = 0, 0
    while start < len(sentences):
        number += 1
        end = start + rng.randint(20, 40)
        title = f"Weather report {number}"
        yield title, 0, _article(number, sentences[start:end], rng), None
        if rng.random() < 0.08:
            yield f"Report {number}", 0, f"#REDIRECT [[{title}]]", title
        if rng.random() < 0.05:
            yield f"Talk:{title}", 1, "This remark about the article is not article text, so a reader drops it.", None
        start = end
    yield "Category:Weather reports", 14, "Every page of this category is about the weather of some day.", None


def _article(number: int, sentences: list[str], rng: random.Random) -> str:
    blocks = [_INFOBOX % number]
    start = 0
    while start < len(sentences):
        if start:
            blocks.append(f"== {rng.choice(_SECTIONS)} ==")
        for _ in range(rng.randint(1, 3)):
            end = start + rng.randint(3, 6)
            paragraph = " ".join(_marked_up(sentence, rng) for sentence in sentences[start:end])
            if paragraph:
                blocks.append(paragraph)
            start = end
    if rng.random() < 0.3:
        blocks.insert(2, "<!-- the paragraph above came first on purpose -->")
    blocks.append("== See also ==\n" + "\n".join(f"* [[{kind.capitalize()}]]" for kind in rng.sample(KINDS, 2)))
    blocks.append("{{Reflist}}\n[[Category:Weather reports]]")
    return "\n\n".join(blocks)


def _marked_up(sentence: str, rng: random.Random) -> str:
    """The sentence with a link, bold face or a footnote in it, sometimes."""
    form = rng.random()
    if form >= 0.45:
        return sentence
    pieces = sentence.rstrip(".").split(" ")
    index = rng.randrange(1, len(pieces))
    word = pieces[index].rstrip(",")
    comma = pieces[index][len(word) :]
    if form < 0.15:
        pieces[index] = f"[[{word.capitalize()} (weather)|{word}]]{comma}"
    elif form < 0.25:
        pieces[index] = f"[[{word}]]{comma}"
    elif form < 0.35:
        pieces[index] = f"'''{word}'''{comma}"
    elif form < 0.4:
        pieces[index] = f"''{word}''{comma}"
    else:
        return " ".join(pieces) + f".<ref>Report of {words.MONTH_NAMES[rng.choice(list(words.MONTH_NAMES))]}</ref>"
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
