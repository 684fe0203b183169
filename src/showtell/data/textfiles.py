"""Text, JSON and tables read so that whatever is wrong in them is told by file, line and column."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from showtell.errors import DataError

_DELIMITERS = (",", "\t", "|", ";")
_SNIFFED = 65_536  # bytes at each end of a file that are enough to recognise it
_LONGEST_FIELD = 2**24  # characters; the csv module's own limit of 131,072 is less than some generated captions
_SWALLOWED = re.compile(r"\n\"?[^\n\"]{1,200}\.(?:jpe?g|png|webp|gif|bmp|tiff?)\"?[,\t|;#]", re.IGNORECASE)


def read_text(path: Path) -> str:
    """A file's text, a byte-order mark left out. Raises `DataError` naming the line that is not UTF-8."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the name and its permissions") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8 "
            "(for example `iconv -f latin1 -t utf-8`)"
        ) from error


def read_json(path: Path) -> Any:
    """A file's JSON value. Raises `DataError` with line and column where it is none."""
    return parse_json(path, read_text(path))


def parse_json(path: Path, text: str, *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The JSON value of a file's text, each object made by `pairs` if given. Raises `DataError` as `read_json`."""
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}:{error.lineno}: column {error.colno} is not JSON ({error.msg}); the file may be cut short"
        ) from error
    except RecursionError as error:
        raise DataError(f"{path}: JSON nested too deeply, expected lists of records") from error
    except ValueError as error:  # Python's own limit
        raise DataError(
            f"{path}: holds a number that cannot be read (more than 4,300 digits); is it a text?"
        ) from error


def ends_of(path: Path) -> str:
    """The first and last 64 KiB of a file as text, to recognise it by; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(_SNIFFED)
            if file.seek(0, io.SEEK_END) <= 2 * _SNIFFED:
                file.seek(len(head))
            else:
                file.seek(-_SNIFFED, io.SEEK_END)
            return (head + file.read()).decode("utf-8-sig", errors="replace")
    except OSError:
        return ""


def header_of(path: Path, *required: tuple[str, ...]) -> tuple[str, list[str]] | None:
    """Delimiter and column names of a table with one column of each `required` group; None if it is no such table."""
    first = ends_of(path).split("\n", 1)[0]
    for delimiter in _DELIMITERS:
        names = _column_names(first, delimiter)
        if all(any(name in names for name in group) for group in required):
            return delimiter, names
    return None


def columns_of(path: Path) -> list[str]:
    """The column names that a table seems to have, for telling what was found."""
    first = ends_of(path).split("\n", 1)[0]
    return max((_column_names(first, delimiter) for delimiter in _DELIMITERS), key=len)


def _column_names(line: str, delimiter: str) -> list[str]:
    cells = next(csv.reader([line.strip("\r\n")], delimiter=delimiter), [])
    return [cell.strip().lower() for cell in cells]


def table_rows(path: Path, delimiter: str, columns: int, *, last_is_text: bool) -> Iterator[tuple[int, list[str], str]]:
    """Rows after the header as (line number, `columns` cells, ""), or (line number, [], what is wrong with the row).

    With `last_is_text`, surplus cells belong to the last column: it holds captions whose commas nobody quoted.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    rows = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
    line = 1
    try:
        for number, cells in enumerate(rows):
            start, line = line, rows.line_num + 1
            if number == 0 or not any(cell.strip() for cell in cells):
                continue
            if rows.line_num > start and any(_SWALLOWED.search(cell) for cell in cells):
                yield start, [], f"a quote is opened and not closed, up to line {rows.line_num} is read as one caption"
            elif len(cells) == columns:
                yield start, cells, ""
            elif len(cells) > columns and last_is_text:
                yield start, [*cells[: columns - 1], delimiter.join(cells[columns - 1 :])], ""
            else:
                yield start, [], f"{len(cells)} columns, expected {columns}"
    except csv.Error as error:
        raise DataError(f"{path}:{line}: not a readable table ({error}); check the quotes on that line") from error
