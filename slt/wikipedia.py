"""Monolingual sentences: clean and filter the text of a source, embed what is kept, and read it back.

Sources are streamed: the memory they take does not grow with their size. What is kept of them is held until it is
written, some 0.7 KB a sentence, so that a repeated one is found wherever it stands. Cleaning runs in ``SLT_WORKERS``
processes (default: one per core) over batches of fixed content, taken up in order, so that the result is the
same for any number of workers.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import itertools
import json
import logging
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slt import cluster, wikipedia_source, wikitext
from slt import teacher as teacher_module
from slt.config.data import TeacherConfig, WikipediaConfig
from slt.errors import ConfigError, DataError, StoreError
from slt.manifest import read_manifest
from slt.paths import resolve
from slt.run_log import executed
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
from slt.teacher import Teacher, loaded, pack_vectors, unpack_vectors
from slt.wikipedia_source import Document, read_documents, source_files
from slt.wikitext import LIST, clean_wikitext, judge, split_sentences
from slt.workers import in_parallel, worker_count

SENTENCES_PER_SHARD = 50_000
BATCH_CHARACTERS = 200_000
"""text per task of a cleaning process: about a quarter of a second"""
KEPT_EXTRACTIONS = 2
"""per dataset in the work root, so that going back to the parameters before reads nothing again"""
REPORT = "report.json"  # of an extraction: written last, so that its being there tells that the whole is
log = logging.getLogger("slt.wikipedia")


@dataclass(frozen=True)
class Extraction:
    """Cached result of reading a source: ``sentences.parquet`` (text, split) and ``report.json`` in ``folder``."""

    folder: Path
    key: str


def extract_sentences(config: WikipediaConfig, manifest: Path, dataset: str) -> Extraction:
    """Read each source once and keep clean sentences that are neither repeated nor held out in the corpus.

    The result lies in the work root under the dataset and a key of source, parameters, held-out texts and this code, so
    that a second teacher finds it there; only the last used few stay. Raises DataError when the source is missing,
    damaged, or gives too little, and ConfigError for a source of unknown kind.
    """
    clips = read_manifest(manifest)
    sources = _sources(config, sorted({clip.language for clip in clips}), dataset)
    files = {language: source_files(resolve(source)) for language, source in sources.items()}
    heldout = {match_key(text) for clip in clips if clip.split != "train" for text in (clip.text, *clip.references)} - {
        ""
    }
    log.info("fingerprinting %s", ", ".join(sources.values()))
    hashes = {language: {file.name: file_sha256(file) for file in files[language]} for language in sources}
    versions = [importlib.metadata.version(name) for name in ("mwparserfromhell", "sentencex")]
    code = [file_sha256(Path(module)) for module in (__file__, wikipedia_source.__file__, wikitext.__file__)]
    key = fingerprint(hashes, dataclasses.asdict(config), sorted(heldout), code, versions)
    folder = work_folder(f"wikipedia-text/{dataset}", key)
    if (folder / REPORT).is_file():
        log.info("%s: already read; sentences taken from %s", ", ".join(sources.values()), folder)
        (folder / REPORT).touch()  # last used
        return Extraction(folder, key)
    kept: dict[str, list[str]] = {}
    reports: dict[str, dict[str, Any]] = {}
    for language, source in sources.items():
        cleaned = _clean_all(read_documents(files[language]), config, language)
        texts, report = _select(cleaned, config, heldout, source)
        report |= {"train": len(texts) - config.dev_sentences, "dev": config.dev_sentences}
        kept[language] = texts
        reports[language] = report | {"source_sha256": hashes[language], "language": language}
        log.info("%s: %d sentences kept of %d", source, len(texts), report["candidates"])
    write_table(folder / "sentences.parquet", _sentence_table(kept, config.dev_sentences))
    whole = next(iter(reports.values())) if len(reports) == 1 else {"languages": reports}
    write_json(folder / REPORT, whole)
    _forget_old(folder.parent)
    return Extraction(folder, key)


def _sources(config: WikipediaConfig, languages: list[str], dataset: str) -> dict[str, str]:
    """Language of the corpus' text → its source; ConfigError when one has none, or a source is of no language of it."""
    given = config.source
    if isinstance(given, str):
        if len(languages) == 1:
            return {languages[0]: given}
        raise ConfigError(
            f"{dataset}.wikipedia.source: one source, but the corpus' text is in {' and '.join(languages)}; name one "
            f"of each: {{{', '.join(f'{language}: …' for language in languages)}}}"
        )
    if set(given) != set(languages):
        raise ConfigError(
            f"{dataset}.wikipedia.source: sources of {', '.join(sorted(given))}, but the corpus' text is in "
            f"{' and '.join(languages)}; name one of each"
        )
    return {language: given[language] for language in languages}


def _sentence_table(kept: dict[str, list[str]], dev: int) -> pa.Table:
    """Columns text, split, language: train sentences, then ``dev`` held-out ones of each language by turns.

    By turns, so that the first few of them stand for all languages alike.
    """
    rows = [(text, "train", language) for language, texts in kept.items() for text in texts[: len(texts) - dev]]
    last = [[(text, "dev", language) for text in texts[len(texts) - dev :]] for language, texts in kept.items()]
    rows += [row for turn in zip(*last, strict=True) for row in turn]
    columns = zip(*rows, strict=True)
    return pa.table(dict(zip(("text", "split", "language"), map(list, columns), strict=True)))


def _forget_old(extractions: Path) -> None:
    """Remove a dataset's complete extractions, but for the last used; what another process is making stays."""
    reports = sorted(extractions.glob(f"*/{REPORT}"), key=lambda path: path.stat().st_mtime_ns)
    for report in reports[:-KEPT_EXTRACTIONS]:
        shutil.rmtree(report.parent)


def match_key(text: str) -> str:
    """A sentence reduced to its words, lower-case: equal for two that differ in case, spacing or punctuation only."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFC", text).casefold()))


def _select(
    cleaned: Iterable[list[str]], config: WikipediaConfig, heldout: set[str], source: str
) -> tuple[list[str], dict[str, Any]]:
    """Kept sentences and the report, from each document's outcomes: a sentence, or ``LIST + reason`` of a drop."""
    kept: list[str] = []
    seen: set[bytes] = set()  # digests: a third of the memory that millions of sentences would take
    dropped: Counter[str] = Counter()
    documents = candidates = 0
    for outcomes in progress(cleaned, f"reading {Path(source).name}", unit=" articles"):
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
    return kept, report | {"stopped_at_max_sentences": len(kept) == config.max_sentences, "source": source}


# --- cleaning ---


def _clean_all(documents: Iterator[Document], config: WikipediaConfig, language: str) -> Iterator[list[str]]:
    """Outcomes per document, in order, cleaned by ``SLT_WORKERS`` workers (in this process, if the source is small)."""
    batches = _batches(documents)
    workers = worker_count()
    head = list(itertools.islice(batches, 4))
    clean = functools.partial(clean_documents, config=config, language=language)
    everything = itertools.chain(head, batches)
    serial = workers <= 1 or len(head) < 4  # starting processes takes longer
    for outcomes in map(clean, everything) if serial else in_parallel(clean, everything, workers):
        yield from outcomes


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
    code = [file_sha256(Path(name)) for name in (__file__, str(teacher_module.__file__))]
    work = work_folder("wikipedia", fingerprint(extraction.key, code, teacher.provenance()))
    # both at once: another process may forget the extraction during hours of embedding
    table, report = read_table(extraction.folder / "sentences.parquet"), read_json(extraction.folder / REPORT)
    starts = range(0, table.num_rows, SENTENCES_PER_SHARD)
    tasks = []
    for i, start in enumerate(starts):
        part = table.slice(start, SENTENCES_PER_SHARD)
        tasks.append(ShardTask(work / f"sentences-{i:05d}.parquet", part, f"{i + 1}/{len(starts)}"))
    made = _on_cluster(tasks, teacher) if cluster.address() else (make_shard(task, teacher) for task in tasks)
    shards = []
    truncated = 0
    for record in made:
        truncated += record.pop("truncated")
        shards.append(record)
    write_json(work / "index.json", {**teacher.provenance(), "truncated": truncated, "shards": shards})
    write_json(work / REPORT, report)
    publish(work, out)


@dataclass(frozen=True)
class ShardTask:
    """One shard to make: where, of which sentences (text, split, language), and its number of how many."""

    path: Path
    part: pa.Table
    number: str

    def __reduce__(self) -> tuple[Any, ...]:
        sink = pa.BufferOutputStream()  # a pickled slice would hold the whole table
        with pa.ipc.new_stream(sink, self.part.schema) as stream:
            stream.write_table(self.part)
        return _task, (self.path, sink.getvalue().to_pybytes(), self.number)


def _task(path: Path, part: bytes, number: str) -> ShardTask:
    return ShardTask(path, pa.ipc.open_stream(part).read_all(), number)


def make_shard(task: ShardTask, teacher: Teacher) -> dict[str, Any]:
    """Embed one shard's sentences, unless it lies there complete; its record: file, train, dev, truncated."""
    if not _finished(task.path, task.part):
        before = teacher.truncated
        vectors = teacher.encode(task.part.column("text").to_pylist(), f"embedding {task.number}")
        sems = pa.array(pack_vectors(vectors), type=pa.binary(4 * teacher.size))
        cut = teacher.truncated - before
        write_table(task.path, task.part.append_column("sem", sems), {**teacher.provenance(), "truncated": cut})
        executed(task.path.parent, "shard", task.path.name)
    counts = Counter(task.part.column("split").to_pylist())
    truncated = read_metadata(task.path)["truncated"]
    return {"file": task.path.name, "train": counts["train"], "dev": counts["dev"], "truncated": truncated}


def _on_cluster(tasks: list[ShardTask], teacher: Teacher) -> Iterable[dict[str, Any]]:
    """Records of all shards, made by workers that load the teacher once and have this process' threads."""
    import torch

    threads = torch.get_num_threads()
    make = functools.partial(_make_shard, config=teacher.config, where=teacher.where, threads=threads)
    records = cluster.cluster_map(make, tasks, *cluster.computing(threads), stay=True)
    return progress(records, "embedding", len(tasks), "shard")


def _make_shard(task: ShardTask, config: TeacherConfig, where: str, threads: int) -> dict[str, Any]:
    return make_shard(task, loaded(config, where, threads))


def _finished(path: Path, part: pa.Table) -> bool:
    if not path.is_file():
        return False
    try:
        return bool(read_table(path, part.column_names).equals(part))
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

    def languages(self, split: str) -> list[str]:
        """The language of each sentence of the split, in the order of :meth:`texts`."""
        return [name for table in self._tables(split, ["language"]) for name in table.column("language").to_pylist()]

    def sentences(self, split: str) -> tuple[list[str], np.ndarray, list[str]]:
        """Texts, raw vectors (n, size) and languages of a split."""
        return self.texts(split), self.sems(split), self.languages(split)

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
