"""Where monolingual text comes from: a MediaWiki dump, Parquet files of articles, or plain sentences, all streamed."""

import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple
from xml.parsers import expat

import pyarrow as pa
import pyarrow.parquet as pq

from slt.errors import ConfigError, DataError
from slt.unpacking import Unpacked, parquet_batches

KNOWN = re.compile(r"\.(xml|txt|tsv)(\.bz2|\.gz)?$|\.parquet$")
DAMAGED = (EOFError, OSError, zlib.error)  # what a packed file raises
PROLOGUE = 4096  # bytes, more than any export has before its first element
MAX_PAGE = 64 * 2**20
"""bytes of XML from one page's end to the next's: a wiki's longest text has 2 MiB, 12 if all of it is escaped"""
MAX_LINE = 2**20
"""bytes of a line, which is a sentence: the Leipzig corpora have none of more than 255 characters"""


class Document(NamedTuple):
    """A piece of source text and how to read it."""

    form: Literal["wikitext", "plain", "sentence"]
    title: str
    text: str
    media: tuple[str, ...] = ()
    """lower-case names of the wiki's file and category namespaces"""


def source_files(source: Path) -> list[Path]:
    """The files of a source: itself, or the Parquet files of a folder, by name.

    Raises DataError when there is none and ConfigError for a kind of file that cannot be read.
    """
    if source.is_dir():
        files = sorted(source.glob("*.parquet"))
        if not files:
            raise DataError(
                f"{source}: a folder without *.parquet files; let wikipedia.source name the dump itself, or the folder "
                "that holds the Parquet files of one language"
            )
        return files
    if not source.is_file():
        raise DataError(
            f"{source}: no such file, but `wikipedia.source` names it; put a dump there (such as "
            "https://dumps.wikimedia.org/dewiki/latest/dewiki-latest-pages-articles.xml.bz2), or set SLT_RAW"
        )
    if not KNOWN.search(source.name):
        raise ConfigError(
            f"wikipedia.source: {source}: unknown kind of file; known are .xml.bz2 (a MediaWiki dump), .parquet "
            "(a column `text`, one article a row), .txt (one sentence a line) and .tsv (number and sentence); "
            "all but .parquet also packed, .gz or .bz2"
        )
    return [source]


def read_documents(files: list[Path]) -> Iterator[Document]:
    """Documents in the order of the source; DataError names a file that is truncated or not what its name says."""
    count = 0
    for file in files:
        try:
            for document in _reader(file)(file):
                count += 1
                yield document
        except (*DAMAGED, ET.ParseError, expat.ExpatError, UnicodeDecodeError, pa.ArrowException) as error:
            raise DataError(
                f"{file}: truncated, or not what its name says: {error} (after {count} articles or lines); "
                "fetch it again and compare its checksum with the publisher's"
            ) from error


def _reader(file: Path) -> Any:
    suffixes = file.suffixes[-2:]
    if file.suffix == ".parquet":
        return _parquet_documents
    if ".xml" in suffixes:
        return _page_documents
    return _numbered_lines if ".tsv" in suffixes else _line_documents


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Lines without white space at their ends, numbered from 1."""
    with Unpacked(file, file.suffix) as stream:
        number = 0
        while True:
            number += 1
            stream.allow(MAX_LINE, f"line {number}")
            line = stream.readline()
            if not line:
                return
            yield number, line.decode("utf-8").strip()


def _line_documents(file: Path) -> Iterator[Document]:
    for number, line in _lines(file):
        # the Leipzig corpora put a number and a tab before each sentence
        yield Document("sentence", f"line {number}", re.sub(r"^\d+\t", "", line))


def _numbered_lines(file: Path) -> Iterator[Document]:
    for number, text in _lines(file):
        match = re.fullmatch(r"\d+\t([^\t]*)", text)
        if text and match is None:
            raise DataError(
                f"{file}: line {number}: expected a number, a tab and a sentence, found {text[:60]!r}; "
                "for one sentence a line name the file .txt"
            )
        yield Document("sentence", f"line {number}", match[1] if match else "")


def _parquet_documents(file: Path) -> Iterator[Document]:
    # not buffered ahead: the whole column would then stay in memory
    with pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True) as parquet:
        schema = parquet.schema_arrow
        if "text" not in schema.names:
            raise DataError(f"{file}: no column `text`, only {', '.join(schema.names)}; convert it first")
        kind = schema.field("text").type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise DataError(f"{file}: the column `text` holds {kind}, not text; convert it first")
        for batch in parquet_batches(file, parquet, ["text"]):
            for text in batch.column("text").to_pylist():
                yield Document("plain", file.name, text or "")


def _page_documents(file: Path) -> Iterator[Document]:
    """Articles of a MediaWiki export: pages of namespace 0 that are wikitext and no redirect."""
    media: set[str] = set()
    _refuse_doctype(file)
    with Unpacked(file, file.suffix) as stream:
        stream.allow(MAX_PAGE, "a page")
        events = ET.iterparse(stream, events=("start", "end"))
        _, root = next(events)
        if _local(root) != "mediawiki":
            raise DataError(f"{file}: XML of <{_local(root)}>, no MediaWiki export; take a `…-pages-articles` dump")
        for event, element in events:
            if event == "start":
                continue
            if _local(element) == "namespace" and element.get("key") in ("6", "14"):
                media.add((element.text or "").lower())
            elif _local(element) == "page":
                # the namespace varies with the export's version, so elements are found by local name
                parts = {_local(part): part.text or "" for part in element.iter()}  # the last revision's, if several
                if parts.get("ns") == "0" and "redirect" not in parts and parts.get("model", "wikitext") == "wikitext":
                    yield Document("wikitext", parts.get("title", ""), parts.get("text", ""), tuple(sorted(media)))
                root.clear()  # else the whole dump stays in memory
                stream.allow(MAX_PAGE, "a page")


def _refuse_doctype(file: Path) -> None:
    """Raise DataError for a document type, which no export has and in which entities can be declared that explode."""

    def refuse(*_: object) -> None:
        raise DataError(
            f"{file}: declares a document type, the limit is none: its entities could fill any memory; no "
            "MediaWiki export does, so get the dump from its publisher"
        )

    found: list[str] = []
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = lambda name, _: found.append(name)
    with Unpacked(file, file.suffix) as stream:
        stream.allow(MAX_PAGE, "a beginning without an element")
        while not found and (chunk := stream.read(PROLOGUE)):
            parser.Parse(chunk)


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
