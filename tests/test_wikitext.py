"""Running text of an article: what stays of its markup, where sentences end, which are kept."""

import pytest

from slt.config.data import WikipediaConfig
from slt.wikitext import HOLE, clean_wikitext, judge, split_sentences

CONFIG = WikipediaConfig("dump.xml.bz2", 10_000, min_words=3, max_words=20, lowercase=False, dev_sentences=2)


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("Two words.", "too_short"),
        ("One two three four five six seven eight nine ten " * 3 + "end.", "too_long"),
        ("This is the beginning of a list:", "no_sentence_end"),
        ("This is {{left}} of markup.", "markup_left"),
        ("See https://example.org for more.", "markup_left"),
        ("The values 1.5, 2.5, 3.5, 4.5 and 5.5.", "few_letters"),
        ("This one (as it began.", "unbalanced_brackets"),
        (f"The road is {HOLE} long.", "lost_template_or_formula"),
    ],
)
def test_reasons_for_dropping(sentence: str, reason: str) -> None:
    assert judge(sentence, CONFIG)[1:] == reason


@pytest.mark.parametrize("sentence", ['He said "it rains."', "Does it rain?", "It snowed (a lot).", "es regnet heut ."])
def test_whole_sentences_are_kept_as_they_are(sentence: str) -> None:
    assert judge(sentence, CONFIG) == sentence


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("A [[:Kategorie:Bird|bird]] sings.", "A bird sings."),
        ("A {{lang|fr|''mot''}} is here.", "A mot is here."),
        ("Wide 5{{nbsp}}km and 3&nbsp;m.", "Wide 5 km and 3 m."),
        ("Pope [[Benedikt&nbsp;XII.]], the last.", "Pope Benedikt XII., the last."),
        ("H<sub>2</sub>O <small>is</small> <nowiki>[wet]</nowiki>.", "H2O is [wet]."),
        ("A {{x|{{y|[[Datei:Z.jpg]]}}}} B.", f"A {HOLE} B."),
        ("One (see {{x}}) two ( , ) three.", "One two three."),
        ("A hard-wrapped\nline goes on.", "A hard-wrapped line goes on."),
        ("[[Archivo:Z.jpg|thumb|left|Not text.]]Text.", "Text."),
    ],
)
def test_wikitext_becomes_text(wikitext: str, text: str) -> None:
    assert clean_wikitext(wikitext, ["datei", "kategorie"]) == [text]


@pytest.mark.parametrize(
    "sentences",
    [
        ["Dr. Müller und Prof. Dr. Meier kamen in Nr. 5 an.", "Warum?"],
        ["Es regnet z. B. im Norden, d. h. an der Küste, bzw. u. a. auf Sylt.", "Im Süden nicht."],
        ["Er lebte ca. 50 v. Chr. in Rom.", "Am 3. Oktober starb er."],
        ["Friedrich II. von Preußen siegte.", "Zum 200. Geburtstag kam sein Sohn."],
        ["Es war im 18. Jh. üblich.", "Danach nicht mehr."],
        ["Das kostet 1.000,50 Euro.", "„Ist das viel?“, fragte er."],
    ],
)
def test_german_abbreviations_and_ordinals_end_no_sentence(sentences: list[str]) -> None:
    assert split_sentences(" ".join(sentences), "de") == sentences


def test_sentences_are_split_in_english_and_german() -> None:
    english = ["Dr. Smith lives in the U.S. since 1990.", "Mr. Jones does not.", "Why?"]
    german = ["Am 3. Oktober regnet es z. B. im Norden.", "Im 20. Jahrhundert war es kälter.", "Warum?"]
    assert split_sentences(" ".join(english), "en") == english
    assert split_sentences(" ".join(german), "de") == german
