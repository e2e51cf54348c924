"""The monolingual text as a MediaWiki export, so that the one Wikipedia reader is what reads it."""

import bz2
import random
from pathlib import Path
from xml.sax.saxutils import escape

from slt.store import replacing

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" version="0.10" xml:lang="en">
  <siteinfo>
    <sitename>Demo weather reports</sitename>
    <dbname>demowiki</dbname>
    <case>first-letter</case>
    <namespaces>
      <namespace key="0" case="first-letter" />
      <namespace key="1" case="first-letter">Talk</namespace>
      <namespace key="6" case="first-letter">File</namespace>
      <namespace key="14" case="first-letter">Category</namespace>
    </namespaces>
  </siteinfo>
"""
PAGE = """  <page>
    <title>{title}</title>
    <ns>{namespace}</ns>
    <id>{number}</id>{redirect}
    <revision>
      <id>{number}</id>
      <timestamp>2020-01-01T00:00:00Z</timestamp>
      <text xml:space="preserve">{text}</text>
    </revision>
  </page>
"""


def write_dump(path: Path, sentences: list[str], seed: int) -> None:
    """Write sentences as articles of 20 to 40 in ``.xml.bz2``, with markup, redirects and a talk page among them."""
    rng = random.Random(f"{seed} dump")
    pages, start = [], 0
    while start < len(sentences):
        count = rng.randint(20, 40)
        title = f"Weather report {len(pages) + 1}"
        text = _article(rng, title, sentences[start : start + count])
        pages.append(PAGE.format(title=title, namespace=0, number=len(pages) + 1, redirect="", text=escape(text)))
        start += count
        if rng.random() < 0.05:
            redirect = f'\n    <redirect title="{title}" />'
            text = f"#REDIRECT [[{title}]]"
            name = f"Report {len(pages) + 1}"
            pages.append(PAGE.format(title=name, namespace=0, number=len(pages) + 1, redirect=redirect, text=text))
        if rng.random() < 0.05:
            text = "This talk page is no article. Nothing that it says may be read."
            name = f"Talk:{title}"
            pages.append(PAGE.format(title=name, namespace=1, number=len(pages) + 1, redirect="", text=text))
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(bz2.compress((HEAD + "".join(pages) + "</mediawiki>\n").encode("utf-8")))


def _article(rng: random.Random, title: str, sentences: list[str]) -> str:
    paragraphs = ["{{Infobox report|name=" + title + "}}"]
    for start in range(0, len(sentences), 8):
        if start:
            paragraphs.append(f"== Outlook {start // 8} ==")
        paragraphs.append(" ".join(_marked(rng, sentence) for sentence in sentences[start : start + 8]))
    return "\n\n".join([*paragraphs, "[[Category:Weather reports]]"])


def _marked(rng: random.Random, sentence: str) -> str:
    """The sentence, now and then with a link, bold face or a reference, all of which a reader takes away again."""
    words = sentence.split(" ")
    place = rng.randrange(len(words) - 1)
    kind = rng.random()
    if kind < 0.1:
        words[place] = f"[[{words[place].strip(',').capitalize()}|{words[place]}]]"
    elif kind < 0.15:
        words[place] = f"'''{words[place]}'''"
    elif kind < 0.2:
        words[-1] += "<ref>A weather station.</ref>"
    return " ".join(words)
