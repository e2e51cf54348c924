"""Where monolingual text comes from: a MediaWiki dump, Parquet files of articles, or plain sentences, all streamed."""

import bz2
import gzip
import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from slt.errors import ConfigError, DataError

KNOWN = re.compile(r"\.(xml|txt|tsv)(\.bz2|\.gz)?$|\.parquet$")
ARTICLES_AT_ONCE = 256  # read from a Parquet row group


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
        except (EOFError, OSError, zlib.error, ET.ParseError, UnicodeDecodeError, pa.ArrowException) as error:
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


def _open(file: Path) -> IO[bytes]:
    opener: Any = {".bz2": bz2.open, ".gz": gzip.open}.get(file.suffix, open)
    return opener(file, "rb")  # type: ignore[no-any-return]


def _line_documents(file: Path) -> Iterator[Document]:
    with _open(file) as stream:
        for number, line in enumerate(stream, 1):
            # the Leipzig corpora put a number and a tab before each sentence
            yield Document("sentence", f"line {number}", re.sub(r"^\d+\t", "", line.decode("utf-8").strip()))


def _numbered_lines(file: Path) -> Iterator[Document]:
    with _open(file) as stream:
        for number, line in enumerate(stream, 1):
            text = line.decode("utf-8").strip()
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
        for batch in parquet.iter_batches(ARTICLES_AT_ONCE, columns=["text"]):
            for text in batch.column("text").to_pylist():
                yield Document("plain", file.name, text or "")


def _page_documents(file: Path) -> Iterator[Document]:
    """Articles of a MediaWiki export: pages of namespace 0 that are wikitext and no redirect."""
    media: set[str] = set()
    with _open(file) as stream:
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


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
