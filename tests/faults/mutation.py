"""Damaged copies of valid files, and what a reader makes of each: read in a process of its own, watched and timed."""

import contextlib
import gzip
import hashlib
import logging
import multiprocessing
import os
import random
import resource
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import numpy as np

from slt.errors import SltError

Kind = Literal["flip", "replace", "truncate", "insert", "duplicate"]
KINDS: tuple[Kind, ...] = ("flip", "replace", "truncate", "insert", "duplicate")
LONGEST_RUN = 64  # bytes replaced, inserted or duplicated at once
SECONDS = 10.0  # after which a reader counts as hung
MEMORY = 4 * 2**30  # bytes a reader may allocate: a length field that is believed is then an error, not a dead machine

EQUAL, DIFFERENT, REFUSED = "read equal", "read different", "clear error"
BARE, UNNAMED, HUNG, CRASHED, ACCEPTED = "bare traceback", "file not named", "hang", "crash", "damage accepted"
ALLOWED = (EQUAL, DIFFERENT, REFUSED)
FAILURES = (BARE, UNNAMED, HUNG, CRASHED, ACCEPTED)


@dataclass(frozen=True)
class Reader:
    """A reader of one format: how a valid folder is made, which file in it is damaged, and how it is read."""

    name: str
    file: str
    """relative to the folder; error messages must hold its name"""
    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    covered: Callable[[bytes], int] = lambda valid: 0
    """of a valid file: how many of its first bytes a checksum covers"""
    packed: bool = False
    """what lies inside the gzip file is damaged, and packed again: its checksum is then right"""


@dataclass(frozen=True)
class Mutation:
    """One change to a file; ``at`` and ``length`` are shares, so that it fits files of any size."""

    kind: Kind
    at: float
    length: float
    seed: int

    def apply(self, body: bytes) -> bytes:
        at = min(int(self.at * len(body)), max(0, len(body) - 1))
        count = 1 + int(self.length * (LONGEST_RUN - 1))
        fill = (b"\0" * count, b"\xff" * count, random.Random(self.seed).randbytes(count))[self.seed % 3]
        if self.kind == "flip":
            return body[:at] + bytes(byte ^ 1 << self.seed % 8 for byte in body[at : at + 1]) + body[at + 1 :]
        if self.kind == "replace":
            return body[:at] + fill[: len(body) - at] + body[at + count :]
        if self.kind == "truncate":
            return body[:at]
        return body[:at] + (fill if self.kind == "insert" else body[at : at + count]) + body[at:]

    @classmethod
    def draw(cls, source: random.Random) -> "Mutation":
        return cls(source.choice(KINDS), source.random(), source.random() ** 2, source.randrange(2**16))


def mutate(valid: bytes, mutations: list[Mutation], keep_header: bool) -> bytes:
    """The file after the mutations; with ``keep_header`` its first line, or its first 16 bytes, stays as it is."""
    header = len(valid) - len(valid.lstrip(b"\x89\x93"))  # magic bytes that are no text
    line = valid.find(b"\n", header, 400) + 1
    kept = (line if line > 8 else 16) if keep_header else 0
    body = valid[kept:]
    for mutation in mutations:
        body = mutation.apply(body)
    return valid[:kept] + body


@dataclass(frozen=True)
class Outcome:
    kind: str
    detail: str = ""


class Watched:
    """The readers in a process of their own, started again after each hang and crash; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._valid: dict[str, bytes] = {}
        self._expected: dict[str, str] = {}

    def __enter__(self) -> "Watched":
        self._start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._end()

    def _start(self) -> None:
        self._connection, theirs = multiprocessing.Pipe()
        # forked, after each hang and crash as well, from a process that has imported the readers' libraries and no more
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["slt.corpora.phoenix14t", "slt.features", "slt.targets", "slt.wikipedia"])
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()  # all libraries are imported

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.send(None)
        self._process.join(2)
        self._process.kill()
        self._process.join()

    def _ask(self, reader: Reader, expected: str) -> Outcome:
        try:
            self._connection.send((reader.name, self._place(reader), expected))
            if not self._connection.poll(SECONDS):
                return Outcome(HUNG, f"no answer in {SECONDS:g} s")
            return Outcome(*self._connection.recv())
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._process.join(5)
            return Outcome(CRASHED, f"exit code {self._process.exitcode}")

    def _place(self, reader: Reader) -> Path:
        return self.folder / "".join(filter(str.isalnum, reader.name))

    def valid(self, reader: Reader) -> bytes:
        """The bytes of a reader's valid file, which is made, and must be read, first."""
        if reader.name not in self._valid:
            folder = self._place(reader)
            folder.mkdir()
            reader.make(folder)
            content = (folder / reader.file).read_bytes()
            self._valid[reader.name] = gzip.decompress(content) if reader.packed else content
            first = self._ask(reader, "")
            if first.kind != DIFFERENT:
                raise AssertionError(f"{reader.name}: the valid file is not read: {first}")
            self._expected[reader.name] = first.detail
        return self._valid[reader.name]

    def outcome(self, reader: Reader, mutant: bytes) -> Outcome:
        """What the reader makes of a damaged file."""
        valid = self.valid(reader)
        (self._place(reader) / reader.file).write_bytes(gzip.compress(mutant, 1) if reader.packed else mutant)
        outcome = self._ask(reader, self._expected[reader.name])
        if outcome.kind in (HUNG, CRASHED):
            self._end()
            self._start()
        covered = reader.covered(valid)
        if outcome.kind == DIFFERENT and mutant[:covered] != valid[:covered]:
            return replace(outcome, kind=ACCEPTED)
        return outcome


def _serve(connection: Connection) -> None:
    """The watched process: reads a folder at every request and tells what came of it."""
    from readers import FAULTY, READERS

    logging.disable(logging.CRITICAL)
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 2)  # C libraries write their complaints there
    readers = {reader.name: reader for reader in (*READERS, FAULTY)}
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    connection.send("ready")
    while request := connection.recv():
        name, folder, expected = request
        os.environ["SLT_WORK"] = str(folder / "work")
        connection.send(_attempt(readers[name], folder, expected))


def _attempt(reader: Reader, folder: Path, expected: str) -> tuple[str, str]:
    try:
        found = digest(reader.read(folder))
        return EQUAL if found == expected else DIFFERENT, found
    except SltError as error:
        named = Path(reader.file).name in str(error)
        return REFUSED if named else UNNAMED, f"{type(error).__name__}: {error}"
    except Exception as error:  # whatever a reader lets through is what is looked for
        place = traceback.extract_tb(error.__traceback__)
        ours = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in place if "/slt/" in frame.filename]
        return BARE, f"{type(error).__name__}: {str(error)[:200]} at {' > '.join(ours)}"


def digest(value: Any) -> str:
    """Hash of what a reader gave; equal for equal values."""
    found = hashlib.sha256()

    def add(item: Any) -> None:
        if isinstance(item, np.ndarray):
            found.update(f"{item.dtype}{item.shape}".encode())
            found.update(item.tobytes())
        elif isinstance(item, dict):
            for key, held in item.items():
                found.update(repr(key).encode())
                add(held)
        elif isinstance(item, list | tuple):
            found.update(f"[{len(item)}".encode())
            for held in item:
                add(held)
        else:
            found.update(repr(item).encode("utf-8", "surrogatepass"))

    add(value)
    return found.hexdigest()
