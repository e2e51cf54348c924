"""Rows of an annotation file, TSV, CSV or Parquet, read strictly: a stray quote or separator is an error, never a gap.

A csv reader left to itself takes an opening quote as the start of a field of many lines and swallows the rows up to
the next quote, so here a row is one line.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Number
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from slt.errors import DataError
from slt.unpacking import parquet_batches

LINE_LIMIT = 131_072  # bytes, so that a damaged file does not become one string as large as itself
DELIMITERS = "\t,;"
PARQUET = (".parquet", ".pq")
PARQUET_STARTS = b"PAR1"
LONE_RETURN = re.compile(rb"\r(?!\n|\Z)")


@dataclass(frozen=True)
class Row:
    """One row: where it stands, for messages, and its cells by column (text, or Parquet's values)."""

    place: str
    cells: dict[str, Any]

    def text(self, column: str, numbers: bool = False) -> str:
        """A cell as text with single blanks; empty for one that is empty or not there.

        ``numbers``: a number will do too, as for an id. Raises DataError for what else Parquet can hold.
        """
        value = self.cells.get(column)
        return "" if value is None else self.as_text(value, column, numbers)

    def as_text(self, value: object, column: str, numbers: bool = False) -> str:
        """One value of a cell, itself or out of its list, as :meth:`text` gives it."""
        if not isinstance(value, str) and (not numbers or isinstance(value, bool) or not isinstance(value, Number)):
            raise DataError(
                f"{self.place}: column `{column}` holds {f'{value!r}'[:40]} ({type(value).__name__}) where text"
                f"{' or a number' if numbers else ''} is needed; write the column as text"
            )
        return " ".join(str(value).split())


@dataclass(frozen=True)
class Table:
    """All columns that the file has, and its rows with the columns that were asked for."""

    columns: list[str]
    rows: list[Row]


def read_table(path: Path, required: Sequence[str], optional: Sequence[str] = (), quotes: bool = True) -> Table:
    """The rows of an annotation file; optional columns that the file lacks are absent from them.

    Parquet by its suffix, ``.parquet`` or ``.pq``; its NaN is an empty cell, its bytes are UTF-8 text. Any other file
    is UTF-8 text (with or without BOM) whose header holds tabs, commas or semicolons. ``quotes``: fields may be quoted
    as csv quotes them; without, a quote is text like any other.

    Raises DataError for a file that is missing, unreadable, empty, not UTF-8 or without a required column, for a line
    of more than ``LINE_LIMIT`` bytes, and for one that does not have its header's number of fields.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such annotation; correct its path, or set SLT_RAW")
    if path.suffix.lower() in PARQUET:
        table = _parquet_table(path, required, optional)
    else:
        table = _text_table(path, required, optional, quotes)
    if not table.rows:
        raise DataError(f"{path}: no row in it; it needs one row per clip")
    return table


def _select(path: Path, found: Sequence[str], required: Sequence[str], optional: Sequence[str]) -> list[str]:
    """The columns to read; DataError when one is missing or stands twice."""
    missing = [f"`{name}`" for name in required if name not in found]
    if missing:
        raise DataError(
            f"{path}: no column {' and '.join(missing)}, found: {', '.join(found) or 'nothing'}; "
            "rename the column, or name it under `columns`"
        )
    wanted = [name for name in dict.fromkeys((*required, *optional)) if name in found]
    for name in wanted:
        if found.count(name) > 1:
            raise DataError(f"{path}: column `{name}` stands twice in the header; rename one of them")
    return wanted


def _text_table(path: Path, required: Sequence[str], optional: Sequence[str], quotes: bool) -> Table:
    with path.open("rb") as file:
        if file.read(len(PARQUET_STARTS)) == PARQUET_STARTS:
            raise DataError(f"{path}: a Parquet file by its content; let its name end in {' or '.join(PARQUET)}")
    lines = _lines(path)
    number, line = next(lines, (1, ""))
    if not line:
        raise DataError(f"{path}: the file is empty; it needs a header and one row per clip")
    delimiter = max(DELIMITERS, key=line.count)
    header = [name.strip() for name in _fields(f"{path}: line {number}", line, delimiter, quotes)]
    wanted = {name: header.index(name) for name in _select(path, header, required, optional)}
    rows = []
    for number, line in lines:
        place = f"{path}: line {number}"
        fields = _fields(place, line, delimiter, quotes)
        if len(fields) != len(header):
            raise DataError(
                f"{place}: {len(fields)} fields where the header has {len(header)}; quote a text that holds the "
                f"separator {delimiter!r}, and end no row early"
            )
        rows.append(Row(place, {name: fields[at] for name, at in wanted.items()}))
    return Table(header, rows)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, numbered from 1, without their ends."""
    for number, line in read_lines(path):
        if line := line.rstrip("\r\n"):
            yield number, line


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a UTF-8 file (with or without BOM), numbered from 1, with their ends; they end at ``\\n`` alone.

    Raises DataError for one that is not UTF-8 or has more than ``LINE_LIMIT`` bytes, and for a first line that holds
    the line ends of old Macs.
    """
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(LINE_LIMIT + 1):
            number += 1
            if number == 1 and LONE_RETURN.search(raw):
                raise DataError(
                    f"{path}: its lines end with a carriage return alone, as on old Macs; save it with line feeds"
                    " (Unix) or both (Windows)"
                )
            if len(raw) > LINE_LIMIT:
                raise DataError(
                    f"{path}: line {number} is longer than {LINE_LIMIT} bytes, the limit of a row; the file is damaged "
                    "or is no annotation"
                )
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}: line {number} is not UTF-8 (byte {raw[error.start]:#04x}); save the file as UTF-8"
                ) from error
            yield number, line


def _fields(place: str, line: str, delimiter: str, quotes: bool) -> list[str]:
    try:
        if quotes:
            return next(csv.reader([line], delimiter=delimiter, strict=True))
        return next(csv.reader([line], delimiter=delimiter, quoting=csv.QUOTE_NONE))
    except csv.Error as error:
        raise DataError(
            f"{place}: {error}: a quoted text does not end with its field; double the quotes inside it and keep it on "
            "one line, or set `quotes: false` where a quote is text like any other"
        ) from error


def _parquet_table(path: Path, required: Sequence[str], optional: Sequence[str]) -> Table:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            columns = file.schema_arrow.names
            batches = parquet_batches(path, file, _select(path, columns, required, optional))
            found = [cells for batch in batches for cells in batch.to_pylist()]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: unreadable Parquet file ({error}); write it again") from error
    rows = [Row(f"{path}: row {number}", cells) for number, cells in enumerate(found, 1)]
    for row in rows:
        for name, cell in row.cells.items():
            if isinstance(cell, str | bytes) and len(cell) > LINE_LIMIT:
                raise DataError(
                    f"{row.place}: column `{name}` is longer than {LINE_LIMIT}, the limit of a field; this is no "
                    "annotation"
                )
            row.cells[name] = _plain(cell, f"{row.place}: column `{name}`")
    return Table(columns, rows)


def _plain(value: Any, place: str) -> Any:
    """A value of Parquet's: NaN, pandas' empty cell, as None, and bytes, as some writers store text, decoded."""
    if isinstance(value, list):
        return [_plain(part, place) for part in value]
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{place} is not UTF-8 (byte {value[error.start]:#04x}); write the column as text"
            ) from error
    return None if value != value else value
