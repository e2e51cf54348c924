"""Monolingual sentences: clean and filter the text of a source, embed what is kept, and read it back.

Sources are streamed, and so is what is kept of them, but for 16 bytes a sentence by which a repeated one is found
wherever it stands. Cleaning runs in ``SLT_WORKERS`` processes (default: one per core) over batches of fixed content,
taken up in order, so that the result is the same for any number of workers.
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
from collections import Counter, deque
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
    count_row_groups,
    file_sha256,
    fingerprint,
    keep,
    publish,
    read_json,
    read_metadata,
    read_row_group,
    read_table,
    work_folder,
    write_json,
    write_table,
    writing,
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
RECENT = 100_000
"""digests in a Python set, which takes six times as much of each as an array"""
SENTENCES = "sentences.parquet"
SCHEMA = pa.schema([("text", pa.string()), ("split", pa.string()), ("language", pa.string())])
REPORT = "report.json"  # of an extraction: written last, so that its being there tells that the whole is
log = logging.getLogger("slt.wikipedia")


@dataclass(frozen=True)
class Extraction:
    """Cached result of reading the sources, in ``folder``: ``sentences.parquet`` and ``report.json``.

    The table has text, split and language; a row group holds the sentences of a shard.
    """

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
    reports: dict[str, dict[str, Any]] = {}
    kept: dict[str, Iterator[str]] = {}
    for language, source in sources.items():
        reports[language] = {"source_sha256": hashes[language], "language": language}
        documents = progress(read_documents(files[language]), f"reading {Path(source).name}", unit=" articles")
        cleaned = _clean_all(iter(documents), config, language)
        kept[language] = _select(cleaned, config, heldout, source, reports[language])
    with writing(folder / SENTENCES, SCHEMA) as table:
        rows = _rows(kept, config.dev_sentences)
        while part := list(itertools.islice(rows, SENTENCES_PER_SHARD)):
            columns = zip(*part, strict=True)
            table.write_table(pa.table(list(map(list, columns)), schema=SCHEMA))
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


def _rows(kept: dict[str, Iterator[str]], dev: int) -> Iterator[tuple[str, str, str]]:
    """Rows text, split, language: train sentences as they come, then the last ``dev`` of each language by turns.

    By turns, so that the first few of them stand for all languages alike.
    """
    last: dict[str, deque[str]] = {language: deque() for language in kept}
    for language, texts in kept.items():
        for text in texts:
            last[language].append(text)
            if len(last[language]) > dev:
                yield last[language].popleft(), "train", language
    for turn in zip(*last.values(), strict=True):
        for text, language in zip(turn, kept, strict=True):
            yield text, "dev", language


def _forget_old(extractions: Path) -> None:
    """Remove a dataset's complete extractions, but for the last used; what another process is making stays."""
    reports = sorted(extractions.glob(f"*/{REPORT}"), key=lambda path: path.stat().st_mtime_ns)
    for report in reports[:-KEPT_EXTRACTIONS]:
        shutil.rmtree(report.parent)


def match_key(text: str) -> str:
    """A sentence reduced to its words, lower-case: equal for two that differ in case, spacing or punctuation only."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFC", text).casefold()))


def _select(
    cleaned: Iterable[list[list[str]]], config: WikipediaConfig, heldout: set[str], source: str, report: dict[str, Any]
) -> Iterator[str]:
    """Kept sentences of batches of documents' outcomes: each a sentence, or ``LIST + reason`` of a drop.

    What was counted is added to ``report`` after the last one. DataError when there are not more than dev needs.
    """
    seen = Digests()
    dropped: Counter[str] = Counter()
    documents = candidates = kept = 0
    for batch in cleaned:
        digests = [[_digest(outcome) for outcome in outcomes] for outcomes in batch]
        known = seen.among(set(itertools.chain.from_iterable(digests)))
        new: set[bytes] = set()
        for outcomes, their_digests in zip(batch, digests, strict=True):
            documents += 1
            candidates += len(outcomes)
            for outcome, digest in zip(outcomes, their_digests, strict=True):
                if outcome.startswith(LIST):
                    dropped[outcome[1:]] += 1
                elif match_key(outcome) in heldout:
                    dropped["overlap_with_heldout"] += 1
                elif digest in known or digest in new:
                    dropped["duplicate"] += 1
                elif kept == config.max_sentences:
                    dropped["over_max_sentences"] += 1  # of the last article read
                else:
                    new.add(digest)
                    kept += 1
                    yield outcome
            if kept == config.max_sentences:
                break
        if kept == config.max_sentences:
            break
        seen.add(new)
    if not documents:
        raise DataError(
            f"{source}: no article in it (pages of namespace 0 that are no redirects); "
            "take a dump named `…-pages-articles.xml.bz2`"
        )
    counts = {"overlap_with_heldout": 0, **dropped}
    if kept <= config.dev_sentences:
        raise DataError(
            f"{source}: {kept} sentences kept of {candidates}, not more than dev_sentences = "
            f"{config.dev_sentences}; dropped: {json.dumps(counts, sort_keys=True)}. "
            "Take a larger source, or loosen min_words and max_words"
        )
    report |= {"documents": documents, "candidates": candidates, "kept": kept, "dropped": counts, "source": source}
    report |= {"train": kept - config.dev_sentences, "dev": config.dev_sentences}
    report |= {"stopped_at_max_sentences": kept == config.max_sentences}
    log.info("%s: %d sentences kept of %d", source, kept, candidates)


def _digest(outcome: str) -> bytes:
    return hashlib.blake2b(outcome.encode(), digest_size=16).digest()


class Digests:
    """A set of 16-byte digests: the latest in a Python set, all others as 16 bytes each in sorted arrays.

    An array is merged with the one before it unless that is twice as long, so that there are few of them.
    """

    def __init__(self) -> None:
        self._recent: set[bytes] = set()
        self._older: list[np.ndarray] = []

    def add(self, digests: set[bytes]) -> None:
        self._recent |= digests
        if len(self._recent) < RECENT:
            return
        merged = np.sort(np.frombuffer(b"".join(self._recent), dtype="S16"))
        while self._older and len(self._older[-1]) < 2 * len(merged):
            merged = np.sort(np.concatenate((self._older.pop(), merged)), kind="stable")  # which finds what is sorted
        self._older.append(merged)
        self._recent = set()

    def among(self, digests: set[bytes]) -> set[bytes]:
        """Those of ``digests`` that are in the set."""
        found = self._recent & digests
        asked = sorted(digests - found)  # neighbours are looked for side by side
        array = np.frombuffer(b"".join(asked), dtype="S16")
        for older in self._older:
            places = np.minimum(np.searchsorted(older, array), len(older) - 1)
            found.update(asked[i] for i in np.flatnonzero(older[places] == array))
        return found


# --- cleaning ---


def _clean_all(documents: Iterator[Document], config: WikipediaConfig, language: str) -> Iterator[list[list[str]]]:
    """Batches of outcomes per document, in order, cleaned by ``SLT_WORKERS`` workers (here, if the source is small)."""
    batches = _batches(documents)
    workers = worker_count()
    head = list(itertools.islice(batches, 4))
    clean = functools.partial(clean_documents, config=config, language=language)
    everything = itertools.chain(head, batches)
    serial = workers <= 1 or len(head) < 4  # starting processes takes longer
    yield from map(clean, everything) if serial else in_parallel(clean, everything, workers)


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
    report = read_json(extraction.folder / REPORT)
    source = work / f".{SENTENCES}.tmp"  # not published
    keep(extraction.folder / SENTENCES, source)  # another process may forget the extraction during hours of embedding
    count = count_row_groups(source)
    tasks = [ShardTask(work / f"sentences-{i:05d}.parquet", source, i, count) for i in range(count)]
    made = _on_cluster(tasks, teacher) if cluster.address() else (make_shard(task, teacher) for task in tasks)
    shards = []
    truncated = 0
    for record in made:
        truncated += record.pop("truncated")
        shards.append(record)
    write_json(work / "index.json", {**teacher.provenance(), "truncated": truncated, "shards": shards})
    write_json(work / REPORT, report)
    source.unlink()
    publish(work, out)


@dataclass(frozen=True)
class ShardTask:
    """One shard to make: where, of which row group of the sentences' file, and of how many."""

    path: Path
    source: Path
    group: int
    count: int


def make_shard(task: ShardTask, teacher: Teacher) -> dict[str, Any]:
    """Embed one shard's sentences, unless it lies there complete; its record: file, train, dev, truncated."""
    part = read_row_group(task.source, task.group)
    if not _finished(task.path, part):
        before = teacher.truncated
        vectors = teacher.encode(part.column("text").to_pylist(), f"embedding {task.group + 1}/{task.count}")
        cut = teacher.truncated - before
        made = part.append_column("sem", pack_vectors(vectors))
        write_table(task.path, made, {**teacher.provenance(), "truncated": cut})
        executed(task.path.parent, "shard", task.path.name)
    counts = Counter(part.column("split").to_pylist())
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
            matrix[row : row + table.num_rows] = unpack_vectors(table.column("sem"), self.size)
            row += table.num_rows
        return matrix

    def _tables(self, split: str, columns: list[str]) -> Iterator[pa.Table]:
        for shard in self.shards:
            if shard[split]:
                table = read_table(self.folder / shard["file"], [*columns, "split"])
                yield table.filter(pc.equal(table.column("split"), split))
