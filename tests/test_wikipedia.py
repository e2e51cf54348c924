"""Monolingual text: what is read from a dump and what is not, held-out sentences, damage, caching and resuming."""

import bz2
import hashlib
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import slt.wikipedia
from slt.config.data import WikipediaConfig
from slt.errors import ConfigError, DataError
from slt.manifest import Clip, write_manifest
from slt.store import iter_tables, read_json, read_table
from slt.wikipedia import (
    Digests,
    WikipediaText,
    embed_sentences,
    extract_sentences,
    match_key,
)
from slt.wikitext import HOLE, judge

REAL = Path(__file__).parents[2] / "shared" / "data" / "wiki"
CONFIG = WikipediaConfig("dump.xml.bz2", 10_000, min_words=3, max_words=20, lowercase=False, dev_sentences=2)

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" version="0.10" xml:lang="de">
  <siteinfo><sitename>Wikipedia</sitename><namespaces>
    <namespace key="0" case="first-letter" />
    <namespace key="1" case="first-letter">Diskussion</namespace>
    <namespace key="6" case="first-letter">Datei</namespace>
    <namespace key="14" case="first-letter">Kategorie</namespace>
  </namespaces></siteinfo>
"""


def page(title: str, text: str, ns: int = 0, extra: str = "") -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return (
        f"  <page>\n    <title>{title}</title>\n    <ns>{ns}</ns>\n    <id>1</id>\n{extra}"
        f"    <revision>\n      <id>2</id>\n"
        f"      <contributor><username>X</username><id>3</id></contributor>\n      <model>wikitext</model>\n"
        f'      <text xml:space="preserve">{text}</text>\n    </revision>\n  </page>\n'
    )


ARTICLE = """{{Infobox Weather|name=Rain {{nested|1}}}}
'''Rain''' is [[water|liquid water]] that falls from [[cloud]]s.<ref>Smith, ''Rain''. Press.</ref> It's &ndash;
mostly &ndash; really ''[[wikt:wet|wet]]''.
[[Datei:Rain.jpg|thumb|A caption with a [[link]] is no sentence of the article.]]
[[File:Other.jpg|Another caption that must not be kept.]]

{| class="wikitable"
! Head
|-
| A cell with a whole sentence in it.
|}
== A heading that ends like a sentence. ==
* A list item that ends like a sentence.
The wind blows over {{convert|5|km}} of open land.
The wind blows over the open land.{{citation needed}} <!-- A comment. -->The ''sea'' is [https://x.y rough] today.
The formula <math>x^2</math> stands in the middle here.
Der Nebel ([[IPA]]: {{IPA|x}}) liegt über dem Tal.
Im 19. Jahrhundert war es kälter als heute. <br />Too short.
Nothing ends this line

[[Kategorie:Weather]]
[[fr:Pluie]]
"""

KEPT = [
    "Rain is liquid water that falls from clouds.",
    "It's – mostly – really wet.",
    "The wind blows over the open land.",
    "The sea is rough today.",
    "Der Nebel liegt über dem Tal.",
    "Im 19. Jahrhundert war es kälter als heute.",
]


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLT_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("SLT_WORKERS", "1")
    monkeypatch.chdir(tmp_path)
    write_corpus()
    return tmp_path


def write_corpus(test: str = "Nobody says this.", references: tuple[str, ...] = (), train: str = "Hello.") -> None:
    clips = [Clip(split, split, "de", "gsg", "v.mp4", "Hello.") for split in ("train", "dev")]
    clips[0] = replace(clips[0], text=train)
    clips.append(Clip("test", "test", "de", "gsg", "v.mp4", test, references=references))
    write_manifest(Path("manifest.parquet"), clips)


def write_dump(*pages: str, name: str = "dump.xml.bz2") -> Path:
    Path(name).write_bytes(bz2.compress((HEAD + "".join(pages) + "</mediawiki>\n").encode()))
    return Path(name)


def sentences(count: int, start: int = 0) -> str:
    return "\n".join(f"Sentence {word(n)} tells of the weather." for n in range(start, start + count))


def word(n: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in str(n))


def extract(config: WikipediaConfig = CONFIG) -> tuple[list[str], dict[str, Any]]:
    extraction = extract_sentences(config, Path("manifest.parquet"), "demo")
    texts = read_table(extraction.folder / "sentences.parquet").column("text").to_pylist()
    return texts, read_json(extraction.folder / "report.json")


class FakeTeacher:
    """Gives every sentence a vector of its own without a model; stops after a number of calls, if told to."""

    size = 4

    def __init__(self, calls: int = 1_000) -> None:
        self.truncated = 0
        self.calls = calls

    def encode(self, texts: list[str], what: str) -> np.ndarray:
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        self.truncated += len(texts)
        rows = [np.frombuffer(hashlib.sha256(text.encode()).digest()[:4], dtype=np.uint8) for text in texts]
        return np.array(rows, dtype=np.float32)

    def provenance(self) -> dict[str, Any]:
        return {"model": "fake", "sha256": "0", "size": self.size, "prompt": ""}


def test_running_text_is_kept_and_nothing_else() -> None:
    write_dump(
        page("Old name", "#REDIRECT [[Rain]]. This is no sentence of its own.", extra='<redirect title="Rain" />'),
        page("Rain", ARTICLE),
        page("Diskussion:Rain", "I do not agree with this sentence at all.", ns=1),
        page("Kategorie:Rain", "A category has a describing sentence too.", ns=14),
    )
    texts, report = extract()
    assert texts == KEPT
    assert report["documents"] == 1
    dropped = {reason: count for reason, count in report["dropped"].items() if count}
    assert dropped == {"lost_template_or_formula": 2, "too_short": 1, "no_sentence_end": 1}


def test_every_candidate_is_kept_or_counted() -> None:
    rest = "(So this is it. " + "It goes on and on " * 9 + ".\n1, 2, 3, 4, 5 is it."
    write_dump(page("A", ARTICLE), page("B", ARTICLE + rest))
    texts, report = extract()
    assert report["kept"] == len(texts) == len(set(texts))
    assert report["candidates"] == report["kept"] + sum(report["dropped"].values())
    assert report["dropped"]["duplicate"] == len(KEPT)


def test_the_end_of_the_sample_is_dev() -> None:
    write_dump(page("A", sentences(12)))
    extraction = extract_sentences(CONFIG, Path("manifest.parquet"), "demo")
    table = read_table(extraction.folder / "sentences.parquet")
    assert table.column("split").to_pylist() == ["train"] * 10 + ["dev"] * 2
    assert read_json(extraction.folder / "report.json")["dev"] == 2


def test_held_out_sentences_are_removed_and_counted_whatever_their_case_and_spacing() -> None:
    write_dump(page("A", "The sea is rough today. The sky is clear now. It has rained here.\n" + sentences(9)))
    write_corpus("the sea is rough today .", ("The  sky is clear now!",), train="It has rained here.")
    texts, report = extract()
    assert report["dropped"]["overlap_with_heldout"] == 2
    assert not {"the sea is rough today", "the sky is clear now"} & {match_key(text) for text in texts}
    assert texts[0] == "It has rained here."  # train text may stand in Wikipedia


def test_max_sentences_stops_reading_and_says_so() -> None:
    write_dump(*(page(f"P{n}", sentences(10, 10 * n)) for n in range(10)))
    texts, report = extract(replace(CONFIG, max_sentences=25))
    assert len(texts) == 25 and report["documents"] == 3 and report["stopped_at_max_sentences"]
    assert report["dropped"]["over_max_sentences"] == 5
    assert report["candidates"] == 30


def test_lowercase_and_duplicates_of_it() -> None:
    write_dump(page("A", "The Sea is rough. The sea is rough.\n" + sentences(5)))
    texts, report = extract(replace(CONFIG, lowercase=True))
    assert texts[0] == "the sea is rough." and report["dropped"]["duplicate"] == 1


# --- damage ---


def test_a_truncated_dump_is_an_error_that_names_it() -> None:
    dump = write_dump(*(page(f"P{n}", sentences(200, 200 * n)) for n in range(40)))
    dump.write_bytes(dump.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"dump\.xml\.bz2: truncated.*fetch it again"):
        extract()
    dump.write_bytes(bz2.compress((HEAD + page("A", sentences(20)) + "  <page>\n    <tit").encode()))
    with pytest.raises(DataError, match=r"dump\.xml\.bz2: truncated.*after 1 articles"):
        extract()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive at all", "truncated, or not what its name says"),
        (bz2.compress(b"plain text"), "truncated, or not what its name says"),
        (bz2.compress(b""), "truncated, or not what its name says"),
        (bz2.compress(b"<html><body>404</body></html>"), "XML of <html>, no MediaWiki export"),
        (bz2.compress((HEAD + "</mediawiki>").encode()), "no article in it"),
        (bz2.compress((HEAD + page("A", "It rains here today.") + "</mediawiki>").encode()), "1 sentences kept of 1"),
    ],
)
def test_what_is_no_dump_is_named(content: bytes, message: str) -> None:
    Path("dump.xml.bz2").write_bytes(content)
    with pytest.raises(DataError, match=rf"dump\.xml\.bz2: .*{message}"):
        extract()


def test_a_missing_source_says_where_dumps_are() -> None:
    with pytest.raises(DataError, match=r"dump\.xml\.bz2: no such file.*dumps\.wikimedia\.org.*SLT_RAW"):
        extract()
    Path("dump.7z").touch()
    with pytest.raises(ConfigError, match=r"dump\.7z: unknown kind"):
        extract(replace(CONFIG, source="dump.7z"))


def test_a_failed_reading_leaves_no_result_behind() -> None:
    dump = write_dump(page("A", sentences(20)))
    whole = dump.read_bytes()
    dump.write_bytes(whole[:-20])
    with pytest.raises(DataError):
        extract()
    assert not [path for path in Path("work").rglob("*") if path.is_file()]
    dump.write_bytes(whole)
    assert len(extract()[0]) == 20


def test_an_article_that_the_parser_cannot_read_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def clean(text: str, media: Any) -> list[str]:
        if "broken" in text:
            raise RecursionError("too deep")
        return [text]

    monkeypatch.setattr(slt.wikipedia, "clean_wikitext", clean)
    write_dump(page("A", "This one is broken."), page("B", sentences(5).replace("\n", " ")))
    texts, report = extract()
    assert len(texts) == 5 and report["dropped"]["unparsable_article"] == 1


# --- repeated sentences, whatever their number ---


def test_repeated_sentences_are_those_of_a_plain_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slt.wikipedia, "RECENT", 64)
    generator = np.random.default_rng(0)
    seen, plain = Digests(), set[bytes]()
    for size in generator.integers(0, 80, 300):
        numbers = generator.integers(0, 8_000, size)
        batch = {bytes(4) + int(n).to_bytes(4, "big") + bytes(8) for n in numbers}  # zeros at the ends count as well
        assert seen.among(batch) == plain & batch
        seen.add(batch - plain)
        plain |= batch
    assert len(plain) > 4_000
    assert sum(map(len, seen._older)) > len(plain) - 64 and len(seen._older) < 10


def test_sentences_are_kept_as_if_all_were_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slt.wikipedia, "RECENT", 10)
    monkeypatch.setattr(slt.wikipedia, "SENTENCES_PER_SHARD", 7)
    monkeypatch.setattr(slt.wikipedia, "BATCH_CHARACTERS", 300)
    numbers = np.random.default_rng(0).integers(0, 150, 400).tolist()
    lines = [f"Sentence {word(n)} tells of the weather." for n in numbers]
    write_dump(*(page(f"P{at}", "\n".join(lines[at : at + 4])) for at in range(0, len(lines), 4)))
    texts, report = extract(replace(CONFIG, dev_sentences=5))
    assert texts == list(dict.fromkeys(lines)) and report["dropped"]["duplicate"] == len(lines) - len(texts)
    (table,) = Path("work").rglob("sentences.parquet")
    assert [len(group) for group in iter_tables(table)] == [7] * (len(texts) // 7) + [len(texts) % 7]


def test_extraction_holds_no_text_that_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slt.wikipedia, "RECENT", 100)
    monkeypatch.setattr(slt.wikipedia, "SENTENCES_PER_SHARD", 100)
    write_dump(page("A", "Not read."))

    def peak(count: int) -> int:
        """Bytes at the most, with sentences of 1,000 characters that come in batches of ten documents."""
        batches = ([[f"{n} {'x' * 1_000}"] for n in range(at, at + 10)] for at in range(0, count, 10))
        monkeypatch.setattr(slt.wikipedia, "_clean_all", lambda *_: batches)
        tracemalloc.start()
        extract_sentences(replace(CONFIG, max_words=count), Path("manifest.parquet"), "demo")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(500)  # imports
    few, many = peak(1_000), peak(5_000)
    assert many - few < 4_000 * 100


# --- caching, workers, embedding ---


def test_two_workers_give_what_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    write_dump(*(page(f"P{n}", sentences(30, 20 * n) + ARTICLE) for n in range(40)))
    monkeypatch.setattr(slt.wikipedia, "BATCH_CHARACTERS", 5_000)
    one = extract()
    shutil.rmtree("work")
    monkeypatch.setenv("SLT_WORKERS", "2")
    assert extract() == one
    assert len(one[0]) == 20 * 39 + 30 + len(KEPT)  # each page repeats ten sentences and the article


def test_a_second_teacher_does_not_read_the_dump_again(monkeypatch: pytest.MonkeyPatch) -> None:
    write_dump(page("A", sentences(20)))
    first = extract()
    monkeypatch.setattr(slt.wikipedia, "read_documents", lambda *_: pytest.fail("the dump was read again"))
    assert extract() == first


def test_only_the_last_used_extractions_of_a_dataset_stay(tmp_path: Path) -> None:
    write_dump(page("A", sentences(20)))
    variants = [replace(CONFIG, max_words=words) for words in (16, 17, 18)]
    first, second = (extract_sentences(config, Path("manifest.parquet"), "demo") for config in variants[:2])
    other = extract_sentences(CONFIG, Path("manifest.parquet"), "other")
    making = tmp_path / "work" / "wikipedia-text" / "demo" / "of-another-process"
    making.mkdir()
    extract_sentences(variants[0], Path("manifest.parquet"), "demo")  # used again: now the younger of the two
    third = extract_sentences(variants[2], Path("manifest.parquet"), "demo")
    assert not second.folder.exists()
    assert [folder.is_dir() for folder in (first.folder, third.folder, other.folder, making)] == [True] * 4


def test_an_extraction_may_be_forgotten_while_it_is_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slt.wikipedia, "SENTENCES_PER_SHARD", 8)
    write_dump(page("A", sentences(20)))
    extraction = extract_sentences(CONFIG, Path("manifest.parquet"), "demo")

    class Slow(FakeTeacher):
        def encode(self, texts: list[str], what: str) -> np.ndarray:
            shutil.rmtree(extraction.folder, ignore_errors=True)
            return super().encode(texts, what)

    embed_sentences(extraction, Slow(), Path("out"))
    assert read_json(Path("out/report.json"))["kept"] == 20
    assert WikipediaText.open(Path("out")).texts("train") == sentences(18).splitlines()
    assert {path.name.split("-")[0] for path in Path("out").iterdir()} == {"sentences", "index.json", "report.json"}


@pytest.mark.parametrize(
    "change",
    [
        lambda: write_dump(page("A", sentences(21))),
        lambda: write_corpus("Another held-out sentence."),
        lambda: write_corpus("Nobody says this.", ("But this.",)),
    ],
    ids=["source", "held-out text", "held-out reference"],
)
def test_a_changed_input_is_read_again(change: Callable[[], Any]) -> None:
    write_dump(page("A", sentences(20)))
    before = extract_sentences(CONFIG, Path("manifest.parquet"), "demo")
    change()
    assert extract_sentences(CONFIG, Path("manifest.parquet"), "demo").key != before.key
    assert extract_sentences(replace(CONFIG, max_words=19), Path("manifest.parquet"), "demo").key != before.key


def test_sentences_and_vectors_come_back_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slt.wikipedia, "SENTENCES_PER_SHARD", 8)
    write_dump(page("A", sentences(20)))
    embed_sentences(extract_sentences(CONFIG, Path("manifest.parquet"), "demo"), FakeTeacher(), Path("out"))
    text = WikipediaText.open(Path("out"))
    assert [shard["train"] for shard in text.shards] == [8, 8, 2] and text.shards[2]["dev"] == 2
    assert text.provenance["truncated"] == 20 and text.provenance["model"] == "fake"
    for split, count in (("train", 18), ("dev", 2)):
        assert len(text.texts(split)) == count
        np.testing.assert_array_equal(text.sems(split), FakeTeacher().encode(text.texts(split), ""))
    assert text.texts("train") + text.texts("dev") == sentences(20).splitlines()
    assert read_json(Path("out/report.json"))["kept"] == 20


def test_an_interrupted_embedding_is_taken_up_and_ends_in_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slt.wikipedia, "SENTENCES_PER_SHARD", 5)
    write_dump(page("A", sentences(20)))
    extraction = extract_sentences(CONFIG, Path("manifest.parquet"), "demo")
    embed_sentences(extraction, FakeTeacher(), Path("straight"))
    monkeypatch.setenv("SLT_WORK", "other")
    with pytest.raises(KeyboardInterrupt):
        embed_sentences(extraction, FakeTeacher(calls=2), Path("out"))
    assert not Path("out").exists()
    _, second = sorted(next(Path("other/wikipedia").glob("*/")).glob("*.parquet"))
    second.write_bytes(second.read_bytes()[:100])  # cut by a full disk, say: made again, not believed
    again = FakeTeacher()
    embed_sentences(extraction, again, Path("out"))
    assert again.calls == 1_000 - 3
    for path in Path("straight").iterdir():
        assert path.read_bytes() == (Path("out") / path.name).read_bytes()


def test_the_stage_reads_its_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    import stages.wikipedia

    write_dump(page("A", sentences(20)))
    Path("data/demo/corpus").mkdir(parents=True)
    shutil.copy("manifest.parquet", "data/demo/corpus/manifest.parquet")
    teacher = {"model": "fake", "size": 4, "prompt": None, "normalize": True, "center": False}
    wikipedia = {name: getattr(CONFIG, name) for name in WikipediaConfig.__dataclass_fields__}
    Path("params.yaml").write_text(yaml.safe_dump({"demo": {"wikipedia": wikipedia, "teachers": {"fake": teacher}}}))
    monkeypatch.setattr(stages.wikipedia.Teacher, "load", classmethod(lambda cls, config, where: FakeTeacher()))
    stages.wikipedia.main("demo", "fake")
    assert WikipediaText.open(Path("data/demo/wikipedia/fake")).sems("train").shape == (18, 4)


# --- real dumps ---


@pytest.mark.skipif(not REAL.is_dir(), reason="the real dumps are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "language", "articles", "kept"),
    [("enwiki-pages-articles-shortened.xml.bz2", "en", 106, 11_000), ("dewiki-20170701-sample.xml.bz2", "de", 20, 200)],
)
def test_real_dumps(name: str, language: str, articles: int, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLT_WORKERS", "2")
    clips = [Clip(split, split, language, "x", "v", "Hello.") for split in ("train", "dev", "test")]
    write_manifest(Path("manifest.parquet"), clips)
    texts, report = extract(replace(CONFIG, source=str(REAL / name), max_words=30, max_sentences=100_000))
    assert report["documents"] == articles and len(texts) > kept
    joined = "\n".join(texts)
    assert not [mark for mark in ("{{", "}}", "[[", "]]", "<ref", "''", "&nbsp;", "thumb|", HOLE) if mark in joined]
    assert sum(text[0].isupper() or not text[0].isalpha() for text in texts) > 0.97 * len(texts)


@pytest.mark.parametrize(
    ("sentence", "kept"),
    [
        ("Am U-Boot-Hafen (Kiel) regnet es, sagt man.", "Am U-Boot-Hafen Kiel regnet es sagt man ."),
        ("Die 12,5 km² große Stadt „lebt“!", "Die 12,5 km² große Stadt lebt ."),
    ],
)
def test_punctuation_can_be_left_out_but_for_a_final_stop_as_in_phoenix(sentence: str, kept: str) -> None:
    assert judge(sentence, CONFIG) == sentence
    assert judge(sentence, replace(CONFIG, punctuation="stop")) == kept


# --- several languages ---


def two_languages() -> WikipediaConfig:
    """A corpus of German and English text, a source of each, the English one longer."""
    clips = [
        Clip(f"{language}-{split}", split, language, "mis", "v.mp4", f"{split} {language}")
        for language in ("en", "de")
        for split in ("train", "dev", "test")
    ]
    clips[2] = replace(clips[2], text="Sentence b tells of the weather.")
    write_manifest(Path("manifest.parquet"), clips)
    write_dump(page("A", sentences(8)), name="en.xml.bz2")
    write_dump(page("A", sentences(6, 20) + " Sentence b tells of the weather."), name="de.xml.bz2")
    return replace(CONFIG, source={"de": "de.xml.bz2", "en": "en.xml.bz2"})


def test_each_language_has_its_source_and_its_share_of_what_is_held_out(work: Path) -> None:
    extraction = extract_sentences(two_languages(), Path("manifest.parquet"), "both")
    found = read_json(extraction.folder / "report.json")["languages"]
    assert {name: (report["train"], report["dev"]) for name, report in found.items()} == {"de": (4, 2), "en": (5, 2)}
    assert all(report["dropped"]["overlap_with_heldout"] == 1 for report in found.values())
    assert found["de"]["source_sha256"].keys() == {"de.xml.bz2"}
    embed_sentences(extraction, FakeTeacher(), work / "out")  # type: ignore[arg-type]
    text = WikipediaText.open(work / "out")
    assert text.languages("train") == ["de"] * 4 + ["en"] * 5
    assert text.languages("dev") == ["de", "en", "de", "en"]  # by turns: validation reads the first few
    texts, sems, languages = text.sentences("dev")
    assert texts == [sentences(1, number) for number in (24, 6, 25, 7)]
    assert len(sems) == len(languages) == 4


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("en.xml.bz2", "one source, but the corpus' text is in de and en; name one of each: {de: …, en: …}"),
        ({"en": "en.xml.bz2"}, "sources of en, but the corpus' text is in de and en"),
        ({"en": "en.xml.bz2", "fr": "de.xml.bz2"}, "sources of en, fr, but"),
    ],
)
def test_sources_that_are_not_those_of_the_corpus_are_refused(source: Any, message: str) -> None:
    config = replace(two_languages(), source=source)
    with pytest.raises(ConfigError, match=message):
        extract_sentences(config, Path("manifest.parquet"), "both")
