"""Monolingual sentences: read a Wikipedia dump (or plain sentences), clean, filter, embed, and read them back.

A MediaWiki dump is streamed: the memory it takes does not grow with its size. Cleaning runs in ``SLT_WORKERS``
processes (default: one per core) over batches of fixed content, taken up in order, so that the result is the
same for any number of workers.
"""

import bz2
import dataclasses
import gzip
import hashlib
import importlib.metadata
import itertools
import json
import logging
import multiprocessing
import os
import re
import threading
import unicodedata
import xml.etree.ElementTree as ET
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from slt import wikitext
from slt.config.data import WikipediaConfig
from slt.errors import ConfigError, DataError, StoreError
from slt.manifest import read_manifest
from slt.paths import resolve
from slt.stage import progress
from slt.store import (
    file_sha256,
    fingerprint,
    publish,
    read_json,
    read_metadata,
    read_table,
    work_folder,
    write_json,
    write_table,
)
from slt.teacher import Teacher, pack_vectors, unpack_vectors
from slt.wikitext import LIST, clean_wikitext, judge, split_sentences

SENTENCES_PER_SHARD = 50_000
BATCH_CHARACTERS = 200_000
"""text per task of a cleaning process: about a quarter of a second"""
log = logging.getLogger("slt.wikipedia")


class Document(NamedTuple):
    """A piece of source text and how to read it."""

    form: Literal["wikitext", "plain", "sentence"]
    title: str
    text: str
    media: tuple[str, ...] = ()
    """lower-case names of the wiki's file and category namespaces"""


@dataclass(frozen=True)
class Extraction:
    """Cached result of reading a source: ``sentences.parquet`` (text, split) and ``report.json`` in ``folder``."""

    folder: Path
    key: str


def extract_sentences(config: WikipediaConfig, manifest: Path) -> Extraction:
    """Read the source once and keep clean sentences that are neither repeated nor held out in the corpus.

    The result lies in the work root under a key of source, parameters, held-out texts and this code, so that a
    second teacher finds it there. Raises DataError when the source is missing, damaged, or gives too little, and
    ConfigError for a source of unknown kind.
    """
    source = resolve(config.source)
    files = _source_files(source)
    clips = read_manifest(manifest)
    languages = sorted({clip.language for clip in clips})
    if len(languages) > 1:
        raise DataError(f"{manifest}: texts in {', '.join(languages)}; one dataset section holds one language")
    heldout = {match_key(text) for clip in clips if clip.split != "train" for text in (clip.text, *clip.references)} - {
        ""
    }
    log.info("fingerprinting %s", source)
    hashes = [(file.name, file_sha256(file)) for file in files]
    versions = [importlib.metadata.version(name) for name in ("mwparserfromhell", "sentencex")]
    code = [file_sha256(Path(module)) for module in (__file__, wikitext.__file__)]
    key = fingerprint(hashes, dataclasses.asdict(config), languages, sorted(heldout), code, versions)
    folder = work_folder("wikipedia-text", key)
    if (folder / "report.json").is_file():  # written last
        log.info("%s: already read; sentences taken from %s", source, folder)
        return Extraction(folder, key)
    texts, report = _select(_clean_all(_documents(source, files), config, languages[0]), config, heldout, source)
    train = len(texts) - config.dev_sentences
    splits = ["train"] * train + ["dev"] * config.dev_sentences
    report |= {"train": train, "dev": config.dev_sentences, "source_sha256": dict(hashes), "language": languages[0]}
    write_table(folder / "sentences.parquet", pa.table({"text": texts, "split": splits}))
    write_json(folder / "report.json", report)
    log.info("%s: %d sentences kept of %d", source, len(texts), report["candidates"])
    return Extraction(folder, key)


def match_key(text: str) -> str:
    """A sentence reduced to its words, lower-case: equal for two that differ in case, spacing or punctuation only."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFC", text).casefold()))


def _select(
    cleaned: Iterable[list[str]], config: WikipediaConfig, heldout: set[str], source: Path
) -> tuple[list[str], dict[str, Any]]:
    """Kept sentences and the report, from each document's outcomes: a sentence, or ``LIST + reason`` of a drop."""
    kept: list[str] = []
    seen: set[bytes] = set()  # digests: a third of the memory that millions of sentences would take
    dropped: Counter[str] = Counter()
    documents = candidates = 0
    for outcomes in progress(cleaned, f"reading {source.name}", unit=" articles"):
        documents += 1
        candidates += len(outcomes)
        for outcome in outcomes:
            if outcome.startswith(LIST):
                dropped[outcome[1:]] += 1
                continue
            digest = hashlib.blake2b(outcome.encode(), digest_size=16).digest()
            if match_key(outcome) in heldout:
                dropped["overlap_with_heldout"] += 1
            elif digest in seen:
                dropped["duplicate"] += 1
            elif len(kept) == config.max_sentences:
                dropped["over_max_sentences"] += 1  # of the last article read
            else:
                seen.add(digest)
                kept.append(outcome)
        if len(kept) == config.max_sentences:
            break
    if not documents:
        raise DataError(
            f"{source}: no article in it (pages of namespace 0 that are no redirects); "
            "take a dump named `…-pages-articles.xml.bz2`"
        )
    counts = {"overlap_with_heldout": 0, **dropped}
    if len(kept) <= config.dev_sentences:
        raise DataError(
            f"{source}: {len(kept)} sentences kept of {candidates}, not more than dev_sentences = "
            f"{config.dev_sentences}; dropped: {json.dumps(counts, sort_keys=True)}. "
            "Take a larger source, or loosen min_words and max_words"
        )
    report = {"documents": documents, "candidates": candidates, "kept": len(kept), "dropped": counts}
    return kept, report | {"stopped_at_max_sentences": len(kept) == config.max_sentences, "source": config.source}


# --- sources ---


def _source_files(source: Path) -> list[Path]:
    if source.is_dir():
        files = sorted(source.glob("*.parquet"))
        if not files:
            raise DataError(f"{source}: a folder without *.parquet files; let wikipedia.source name the dump itself")
        return files
    if not source.is_file():
        raise DataError(
            f"{source}: no such file, but `wikipedia.source` names it; put a dump there (such as "
            "https://dumps.wikimedia.org/dewiki/latest/dewiki-latest-pages-articles.xml.bz2), or set SLT_RAW"
        )
    if not re.search(r"\.(xml(\.bz2|\.gz)?|txt(\.bz2|\.gz)?|parquet)$", source.name):
        raise ConfigError(
            f"wikipedia.source: {source}: unknown kind of file; known are .xml.bz2 (a MediaWiki dump), "
            ".txt or .txt.gz (one sentence a line) and .parquet (a column `text`)"
        )
    return [source]


def _documents(source: Path, files: list[Path]) -> Iterator[Document]:
    """Documents of a source in its order; DataError names a file that is truncated or not what its name says."""
    count = 0
    for file in files:
        try:
            if file.suffix == ".parquet":
                documents = _parquet_documents(file)
            else:
                documents = _page_documents(file) if ".xml" in file.suffixes[-2:] else _line_documents(file)
            for document in documents:
                count += 1
                yield document
        except (EOFError, OSError, zlib.error, ET.ParseError, UnicodeDecodeError, pa.ArrowException) as error:
            raise DataError(
                f"{file}: truncated, or not what its name says: {error} (after {count} articles or lines); "
                "fetch it again and compare its checksum with the publisher's"
            ) from error


def _open(file: Path) -> IO[bytes]:
    opener: Any = {".bz2": bz2.open, ".gz": gzip.open}.get(file.suffix, open)
    return opener(file, "rb")  # type: ignore[no-any-return]


def _line_documents(file: Path) -> Iterator[Document]:
    with _open(file) as stream:
        for number, line in enumerate(stream, 1):
            # the Leipzig corpora put a number and a tab before each sentence
            yield Document("sentence", f"line {number}", re.sub(r"^\d+\t", "", line.decode("utf-8").strip()))


def _parquet_documents(file: Path) -> Iterator[Document]:
    with pq.ParquetFile(file) as parquet:
        if "text" not in parquet.schema_arrow.names:
            raise DataError(f"{file}: no column `text`, only {', '.join(parquet.schema_arrow.names)}; convert it first")
        for batch in parquet.iter_batches(256, columns=["text"]):
            yield from (Document("plain", file.name, text) for text in batch.column("text").to_pylist() if text)


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


# --- cleaning ---


def _clean_all(documents: Iterator[Document], config: WikipediaConfig, language: str) -> Iterator[list[str]]:
    """Outcomes per document, in order, cleaned by ``SLT_WORKERS`` processes (in this one, if the source is small)."""
    batches = _batches(documents)
    workers = int(os.environ.get("SLT_WORKERS") or os.cpu_count() or 1)
    head = list(itertools.islice(batches, 4))
    if workers <= 1 or len(head) < 4:  # starting processes takes longer
        for batch in itertools.chain(head, batches):
            yield from clean_documents(batch, config, language)
        return
    # spawn: forking a process that runs threads (pyarrow's) may lock up
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_die_with_parent)
    pending: deque[Future[list[list[str]]]] = deque()
    try:
        for batch in itertools.chain(head, batches):
            pending.append(pool.submit(clean_documents, batch, config, language))
            if len(pending) > 3 * workers:  # bounded: the reader is faster than the cleaners
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text) + 100
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)  # a killed stage would else leave its cleaners waiting for ever

    threading.Thread(target=watch, daemon=True).start()


def clean_documents(documents: list[Document], config: WikipediaConfig, language: str) -> list[list[str]]:
    """Per document, per candidate sentence: the sentence as it is kept, or ``LIST + reason`` when it is dropped."""
    return [_clean_document(document, config, language) for document in documents]


def _clean_document(document: Document, config: WikipediaConfig, language: str) -> list[str]:
    if document.form == "sentence":
        return [judge(document.text, config)]
    if document.form == "plain":
        paragraphs = document.text.splitlines()
    else:
        import mwparserfromhell

        try:
            paragraphs = clean_wikitext(document.text, document.media)
        except (mwparserfromhell.parser.ParserError, RecursionError) as error:
            log.warning("article `%s` is left out, the wikitext parser cannot read it: %s", document.title, error)
            return [LIST + "unparsable_article"]
    return [judge(sentence, config) for text in paragraphs for sentence in split_sentences(text, language)]


# --- embedding and reading back ---


def embed_sentences(extraction: Extraction, teacher: Teacher, out: Path) -> None:
    """Embed extracted sentences shard by shard and publish ``sentences-*.parquet``, index.json and report.json.

    Shards finished before an interruption are taken up again.
    """
    work = work_folder("wikipedia", fingerprint(extraction.key, teacher.provenance()))
    table = read_table(extraction.folder / "sentences.parquet")
    shards, truncated = [], 0
    starts = range(0, table.num_rows, SENTENCES_PER_SHARD)
    for number, start in enumerate(starts):
        path = work / f"sentences-{number:05d}.parquet"
        part = table.slice(start, SENTENCES_PER_SHARD)
        if not _finished(path, part):
            before = teacher.truncated
            vectors = teacher.encode(part.column("text").to_pylist(), f"embedding {number + 1}/{len(starts)}")
            sems = pa.array(pack_vectors(vectors), type=pa.binary(4 * teacher.size))
            cut = teacher.truncated - before
            write_table(path, part.append_column("sem", sems), {**teacher.provenance(), "truncated": cut})
        truncated += read_metadata(path)["truncated"]
        counts = Counter(part.column("split").to_pylist())
        shards.append({"file": path.name, "train": counts["train"], "dev": counts["dev"]})
    write_json(work / "index.json", {**teacher.provenance(), "truncated": truncated, "shards": shards})
    write_json(work / "report.json", read_json(extraction.folder / "report.json"))
    publish(work, out)


def _finished(path: Path, part: pa.Table) -> bool:
    if not path.is_file():
        return False
    try:
        return bool(read_table(path, ["text", "split"]).equals(part))
    except StoreError as error:
        log.warning("%s; making it again", error)
        return False


@dataclass(frozen=True)
class WikipediaText:
    """What the stage ``wikipedia`` published: sentences of a split and the teacher's raw vectors of them."""

    folder: Path
    size: int
    shards: tuple[dict[str, Any], ...]
    provenance: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "WikipediaText":
        """Read the index; DataError when the stage has not run."""
        index = read_json(folder / "index.json")
        return cls(folder, index["size"], tuple(index.pop("shards")), index)

    def texts(self, split: str) -> list[str]:
        """Sentences of ``train`` or ``dev``."""
        return [text for table in self._tables(split, ["text"]) for text in table.column("text").to_pylist()]

    def sems(self, split: str) -> np.ndarray:
        """Raw teacher vectors (n, size) float32 of the split's sentences, in the order of :meth:`texts`."""
        matrix = np.empty((sum(shard[split] for shard in self.shards), self.size), dtype=np.float32)
        row = 0
        for table in self._tables(split, ["sem"]):
            matrix[row : row + table.num_rows] = unpack_vectors(table.column("sem").to_pylist(), self.size)
            row += table.num_rows
        return matrix

    def _tables(self, split: str, columns: list[str]) -> Iterator[pa.Table]:
        for shard in self.shards:
            if shard[split]:
                table = read_table(self.folder / shard["file"], [*columns, "split"])
                yield table.filter(pc.equal(table.column("split"), split))
