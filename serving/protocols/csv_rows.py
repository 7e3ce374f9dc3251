"""CSV as the contract reads it: typed by its columns, an empty field is a missing value."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

from configs.case import Case, ColumnType, Role
from serving.column import shown
from serving.errors import BadRequest
from serving.protocols.rows import must_be_few
from serving.records import Asked

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DIGITS = re.compile(r"[+-]?[0-9]{1,18}")
_TRUTH = {"true": True, "false": False}


def read_csv(body: bytes, case: Case, max_rows: int) -> Asked:
    """The rows of a CSV with a header row. Raises BadRequest or TooLarge.

    What cannot be read as its column's type is left as text, for the contract to refuse.
    """
    header, rows = _lines(body, max_rows)
    if header and not header[0]:  # the index that pandas writes unless told not to
        header, rows = header[1:], [row[1:] for row in rows]
    if not header or len(set(header)) != len(header) or not all(header):
        raise BadRequest(f"The header row is {shown(','.join(header))}, expected the name of each column, once.")
    cells = zip(*rows, strict=True) if rows else [()] * len(header)
    columns: dict[str, Sequence[Any]] = {
        name: _typed(name, values, case) for name, values in zip(header, cells, strict=True)
    }
    return Asked(columns=columns, count=len(rows))


def _lines(body: bytes, max_rows: int) -> tuple[list[str], list[list[str]]]:
    rows: list[list[str]] = []
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        header = next(lines, [])
        for row in filter(None, lines):
            if len(row) != len(header):
                raise BadRequest(f"Line {lines.line_num} has {len(row)} fields, expected {len(header)} as the header.")
            rows.append(row)
            must_be_few(len(rows), max_rows)
    except UnicodeDecodeError:
        raise BadRequest("The body is not text in UTF-8.") from None
    except csv.Error as error:
        raise BadRequest(f"The body is not CSV: {error}.") from None
    return header, rows


def _typed(name: str, values: tuple[str, ...], case: Case) -> list[Any]:
    column = case.contract.columns.get(name)
    read = _READ.get(column.type) if column is not None and column.role is Role.feature else None
    return [None if not value else read(value) if read else value for value in values]


def _number(text: str) -> float | str:
    return float(text) if _NUMBER.fullmatch(text.strip()) else text


def _whole(text: str) -> float | str:
    return int(text) if _DIGITS.fullmatch(text.strip()) else _number(text)


def _truth(text: str) -> bool | str:
    return _TRUTH.get(text.strip().lower(), text)


_READ: dict[ColumnType, Callable[[str], float | str]] = {
    ColumnType.number: _number,
    ColumnType.integer: _whole,
    ColumnType.boolean: _truth,
}
