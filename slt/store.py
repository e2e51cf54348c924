"""Checksummed Parquet shards, written once and read verified, and the atomic publishing of a stage's output.

Parquet readers ignore page checksums by default and then hand over a flipped bit in silence, so every write
here stores them and every read verifies them.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from slt import launch
from slt.errors import DataError, StoreError
from slt.paths import work_root

ROW_GROUP_BYTES = 64 * 2**20  # a list<binary> row group over 2 GiB can be written and then not be read
PUBLISHED = ".published"


def write_table(path: Path, table: pa.Table, metadata: dict[str, Any] | None = None) -> None:
    """Write a Parquet file with page checksums, beside its final name, then rename it into place.

    ``metadata`` (parameters, provenance) is stored as JSON under the key ``slt`` of the file's own metadata.
    """
    rows = max(1, table.num_rows)
    per_row = max(1, table.nbytes // rows)
    with writing(path, table.schema, metadata) as writer:
        writer.write_table(table, row_group_size=max(1, ROW_GROUP_BYTES // per_row))


@contextmanager
def writing(path: Path, schema: pa.Schema, metadata: dict[str, Any] | None = None) -> Iterator[pq.ParquetWriter]:
    """A writer of a file as :func:`write_table` makes it, for tables that come one after the other: a row group each.

    The file is put into place only if the block succeeds.
    """
    if metadata is not None:
        schema = schema.with_metadata({**(schema.metadata or {}), "slt": canonical(metadata)})
    options = {"compression": "none", "write_page_checksum": True, "use_dictionary": False}
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, **options) as writer:
        yield writer


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a whole Parquet file, checksums verified.

    Raises DataError when the file is missing and StoreError when it is truncated or corrupt.
    """
    with _reading(path) as file:
        return file.read(columns=columns)


def iter_rows(path: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a Parquet file as dictionaries, one row group in memory at a time, checksums verified."""
    for table in iter_tables(path, columns):
        yield from table.to_pylist()


def iter_tables(path: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The row groups of a Parquet file, one in memory at a time, checksums verified."""
    with _reading(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=columns, use_threads=False)  # threads halve its speed


def count_row_groups(path: Path) -> int:
    """Row groups of a Parquet file: of one by :func:`writing`, the tables that it was given."""
    with _reading(path) as file:
        return int(file.num_row_groups)


def read_columns(path: Path) -> list[str]:
    """Names of a Parquet file's columns."""
    with _reading(path) as file:
        return list(file.schema_arrow.names)


def read_row_group(path: Path, group: int) -> pa.Table:
    """One row group of a Parquet file, checksums verified."""
    with _reading(path) as file:
        return file.read_row_group(group, use_threads=False)


def read_metadata(path: Path) -> dict[str, Any]:
    """The JSON metadata that :func:`write_table` stored with the file, or an empty dictionary."""
    with _reading(path) as file:
        stored = (file.schema_arrow.metadata or {}).get(b"slt")
    try:
        return json.loads(stored) if stored else {}
    except (ValueError, RecursionError) as error:  # page checksums do not cover it
        raise StoreError(
            f"{path}: unreadable metadata ({error}); delete it and run `dvc repro` to rebuild it"
        ) from error


@contextmanager
def _reading(path: Path) -> Iterator[pq.ParquetFile]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; run the stage that makes it (`dvc repro`) first")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # a damaged footer can hold any bytes
        raise StoreError(f"{path}: unreadable shard ({error}); delete it and run `dvc repro` to rebuild it") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that replaces it, synced to disk, only if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # on a shared file system processes of two machines may have the same number
    temporary = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file that a stage wrote; DataError when it is missing, StoreError when it is no JSON."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; run the stage that makes it (`dvc repro`) first")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also of bytes that are no text, and of a number of 5,000 digits
        raise StoreError(f"{path}: not valid JSON ({error}); delete it and run `dvc repro`") from error


def canonical(value: Any) -> str:
    """One JSON text per value: keys sorted, no white space."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def fingerprint(*values: Any) -> str:
    """sha256 of JSON-able values; equal values in equal order give equal fingerprints."""
    return hashlib.sha256(canonical(list(values)).encode("utf-8")).hexdigest()


def code_sha256(stage: str) -> str:
    """sha256 of the source of a stage's script (its ``__file__``) and of every slt module imported by now.

    For the key of unfinished work: what an older version of the code left is not taken up. A stage imports what it
    uses before it works, so equal code gives equal hashes.
    """
    loaded = {name: module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "slt"}
    return fingerprint(
        file_sha256(Path(stage)), [[name, file_sha256(Path(file))] for name, file in sorted(loaded.items()) if file]
    )


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes; DataError when there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run the stage that makes it (`dvc repro`) first") from error


_held: dict[int, int] = {}  # inode -> open directory: the system frees the lock when this process ends, however it ends


def work_folder(stage: str, key: str) -> Path:
    """The folder for one stage's unfinished work on one key (a :func:`fingerprint`), held by this process alone.

    Made when missing; published work of other keys is removed, since by now DVC knows its outputs. Raises StoreError,
    naming the process where the system tells, when another one holds it. Of processes that train together the leading
    one holds it for all.
    """
    folder = work_root() / stage / key[:24]
    if not launch.leads():
        return folder
    for marker in work_root().glob(f"*/*{PUBLISHED}"):
        if marker.with_suffix("") != folder:
            _forget(marker)
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        inode = os.fstat(directory).st_ino
        if inode in _held:
            os.close(directory)
            return folder
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(directory)
            raise StoreError(
                f"{folder}: {_holder(folder)} is making the same output of {stage}; wait for it, or end it"
            ) from error
        if folder.exists() and folder.stat().st_ino == inode:
            _held[inode] = directory
            return folder
        os.close(directory)  # removed between the two calls


def _holder(folder: Path) -> str:
    """The process that has locked a folder, as /proc/locks tells it."""
    try:
        inode = str(folder.stat().st_ino)
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == inode:
                return f"process {fields[4]}"
    except (OSError, IndexError):  # not Linux
        pass
    return "another process"


def discard(work: Path) -> None:
    """Remove unfinished work that cannot be taken up; nothing happens when there is none."""
    shutil.rmtree(work, ignore_errors=True)


def publish(work: Path, out: Path, part: str = "") -> None:
    """Make ``out`` hold exactly the files of ``work`` or of its folder ``part``, by hard link.

    The new folder is completed under another name first, so that ``out`` is never half-written. Linking, not
    renaming: DVC deletes an output that it does not know before it runs the stage again, so a stage that is killed
    after publishing and before `dvc.lock` is written must find its work. It stays until the next stage begins.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    complete = out.with_name(f".{out.name}.{os.getpid()}.new")
    shutil.rmtree(complete, ignore_errors=True)
    shutil.copytree(work / part, complete, copy_function=_link_or_copy, ignore=shutil.ignore_patterns(".*.tmp"))
    _marker(work).touch()
    if out.exists():
        shutil.rmtree(out)
    os.replace(complete, out)


def _marker(work: Path) -> Path:
    """The empty file beside a work folder that says that its output was published."""
    return work.with_name(work.name + PUBLISHED)


def _forget(marker: Path) -> None:
    """Remove published work, unless a process still holds it or another one is removing it."""
    work = marker.with_suffix("")
    try:
        directory = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        marker.unlink(missing_ok=True)
        return
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        shutil.rmtree(work, ignore_errors=True)
        marker.unlink(missing_ok=True)
    finally:
        os.close(directory)


def keep(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``, or a copy on another file system: it stays when that is removed."""
    with replacing(target) as temporary:
        _link_or_copy(str(source), str(temporary))


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def folder_sha256(folder: Path) -> str:
    """sha256 over the names and contents of all files below a folder; DataError when there is no such folder."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; run the stage that makes it (`dvc repro`) first")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return fingerprint([(path.relative_to(folder).as_posix(), file_sha256(path)) for path in files])
