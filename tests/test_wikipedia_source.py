"""Monolingual text from other sources than a dump: Parquet files of articles, plain and numbered sentences."""

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import slt.wikipedia
from slt.config.data import WikipediaConfig
from slt.errors import ConfigError, DataError
from slt.manifest import Clip, write_manifest
from slt.store import read_json, read_table
from slt.wikipedia import extract_sentences
from slt.wikipedia_source import read_documents

CONFIG = WikipediaConfig("s.txt", 10_000, min_words=3, max_words=20, lowercase=False, dev_sentences=2)


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLT_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("SLT_WORKERS", "1")
    monkeypatch.chdir(tmp_path)
    write_corpus("Nobody says this.")


def write_corpus(test: str) -> None:
    texts = {"train": "Hello.", "dev": "Hello.", "test": test}
    write_manifest(Path("manifest.parquet"), [Clip(s, s, "de", "gsg", "v.mp4", text) for s, text in texts.items()])


def sentences(count: int, start: int = 0) -> str:
    names = ("".join(chr(ord("a") + int(digit)) for digit in str(n)) for n in range(start, start + count))
    return "\n".join(f"Sentence {name} tells of the weather." for name in names)


def extract(config: WikipediaConfig) -> tuple[list[str], dict[str, Any]]:
    extraction = extract_sentences(config, Path("manifest.parquet"), "demo")
    texts = read_table(extraction.folder / "sentences.parquet").column("text").to_pylist()
    return texts, read_json(extraction.folder / "report.json")


def test_plain_sentences_one_a_line() -> None:
    lines = ["1\tThe first of all lines. It has two sentences.", "Nothing ends it", *sentences(5).splitlines()]
    Path("s.txt").write_text("\n".join(lines) + "\n")
    with gzip.open("s.txt.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(lines))
    texts, report = extract(replace(CONFIG, source="s.txt"))
    assert texts == ["The first of all lines. It has two sentences.", *lines[2:]]
    assert report["dropped"]["no_sentence_end"] == 1
    assert extract(replace(CONFIG, source="s.txt.gz"))[0] == texts


def test_numbered_sentences_as_tsv() -> None:
    lines = [f"{n}\t{line}" for n, line in enumerate(sentences(6).splitlines(), 1)]
    Path("s.tsv").write_text("\n".join([*lines, "", lines[0]]) + "\n")
    texts, report = extract(replace(CONFIG, source="s.tsv"))
    assert texts == sentences(6).splitlines()
    assert report["dropped"] == {"overlap_with_heldout": 0, "duplicate": 1, "too_short": 1}
    with gzip.open("s.tsv.gz", "wb") as file:
        file.write(Path("s.tsv").read_bytes())
    assert extract(replace(CONFIG, source="s.tsv.gz"))[0] == texts


@pytest.mark.parametrize("line", ["It rains here today.", "7\tIt rains.\thttp://x.y", "seven\tIt rains here."])
def test_a_tsv_of_other_columns_is_named_with_its_line(line: str) -> None:
    Path("s.tsv").write_text("1\tIt snows here today.\n" + line + "\n")
    with pytest.raises(DataError, match=r"s\.tsv: line 2: expected a number, a tab and a sentence, found '"):
        extract(replace(CONFIG, source="s.tsv"))


def test_held_out_sentences_are_removed_from_every_kind_of_source() -> None:
    lines = ["The sea is rough today.", *sentences(5).splitlines()]
    write_corpus("the sea is rough today .")
    Path("s.txt").write_text("\n".join(lines))
    Path("s.tsv").write_text("\n".join(f"{n}\t{line}" for n, line in enumerate(lines)))
    pq.write_table(pa.table({"text": [" ".join(lines)]}), "s.parquet")
    for name in ("s.txt", "s.tsv", "s.parquet"):
        texts, report = extract(replace(CONFIG, source=name, lowercase=True))
        assert report["dropped"]["overlap_with_heldout"] == 1 and len(texts) == 5


def test_parquet_in_the_layout_of_hugging_face_wikipedia() -> None:
    article = "Title line\n\nIt rains in spring. It snows in winter.\n\n" + sentences(3)
    table = pa.table({"id": ["1", "2"], "title": ["A", "B"], "text": [article, sentences(3, 5)]})
    Path("wiki").mkdir()
    pq.write_table(table.slice(0, 1), "wiki/train-00000.parquet")
    pq.write_table(table.slice(1, 1), "wiki/train-00001.parquet")
    texts, report = extract(replace(CONFIG, source="wiki"))
    assert texts[:2] == ["It rains in spring.", "It snows in winter."] and len(texts) == 8
    assert len(report["source_sha256"]) == 2
    assert len(extract(replace(CONFIG, source="wiki/train-00000.parquet"))[0]) == 5
    pq.write_table(table.drop_columns("text"), "other.parquet")
    with pytest.raises(DataError, match="no column `text`, only id, title"):
        extract(replace(CONFIG, source="other.parquet"))
    pq.write_table(pa.table({"text": [[1], [2]]}), "other.parquet")
    with pytest.raises(DataError, match=r"other\.parquet: the column `text` holds list<.*>, not text"):
        extract(replace(CONFIG, source="other.parquet"))


def test_articles_without_text_are_read_as_empty() -> None:
    pq.write_table(pa.table({"text": [None, "", sentences(4)]}), "s.parquet")
    texts, report = extract(replace(CONFIG, source="s.parquet"))
    assert len(texts) == 4 and report["documents"] == 3


@pytest.mark.parametrize("damage", ["cut", "flipped", "text"])
def test_a_damaged_parquet_file_of_a_folder_is_named(damage: str) -> None:
    Path("wiki").mkdir()
    for number in range(2):
        table = pa.table({"text": [sentences(30, 30 * number)] * 4})
        path = f"wiki/train-{number}.parquet"
        pq.write_table(table, path, compression="none", write_page_checksum=True, use_dictionary=False)
    content = bytearray(Path("wiki/train-1.parquet").read_bytes())
    middle = len(content) // 2
    if damage == "flipped":
        content[middle] ^= 1
    Path("wiki/train-1.parquet").write_bytes({"cut": content[:middle], "text": b"It rains."}.get(damage, content))
    with pytest.raises(DataError, match=r"wiki/train-1\.parquet: truncated, or not what its name says.*after 4 art"):
        extract(replace(CONFIG, source="wiki"))


def test_reading_stops_before_a_file_that_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slt.wikipedia, "BATCH_CHARACTERS", 100)
    Path("wiki").mkdir()
    pq.write_table(pa.table({"text": [sentences(10, 10 * n) for n in range(6)]}), "wiki/train-0.parquet")
    Path("wiki/train-1.parquet").write_bytes(b"not read")
    texts, report = extract(replace(CONFIG, source="wiki", max_sentences=20))
    assert len(texts) == 20 and report["stopped_at_max_sentences"]


def test_a_parquet_file_is_never_whole_in_memory() -> None:
    with pq.ParquetWriter("s.parquet", pa.schema([("text", pa.string())]), compression="none") as writer:
        for group in range(40):
            rows = [f"Row {group} {number}. " + "x" * 20_000 for number in range(50)]
            writer.write_table(pa.table({"text": rows}))
    assert Path("s.parquet").stat().st_size > 40e6
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() for _ in read_documents([Path("s.parquet")]))
    assert most - before < 15e6


@pytest.mark.parametrize("name", ["wiki.csv", "wiki.json", "wiki.xml.zst", "wiki.parquet.gz"])
def test_an_unknown_kind_of_file_lists_the_known_ones(name: str) -> None:
    Path(name).touch()
    with pytest.raises(ConfigError, match=rf"{name}: unknown kind of file; known are .*\.parquet.*\.tsv"):
        extract(replace(CONFIG, source=name))


def test_a_folder_without_parquet_files_is_named() -> None:
    Path("wiki").mkdir()
    with pytest.raises(DataError, match=r"wiki: a folder without \*\.parquet files"):
        extract(replace(CONFIG, source="wiki"))
