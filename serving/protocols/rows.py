"""Rows before they are looked at: not too many, and objects where objects are expected."""

from typing import Any

from serving.column import shown
from serving.errors import BadRequest, TooLarge


def must_be_few(rows: int, max_rows: int) -> None:
    """Raises TooLarge."""
    if rows > max_rows:
        raise TooLarge(f"The request has {rows} rows, expected at most {max_rows}; send them in several requests.")


def must_be_objects(rows: list[Any], max_rows: int) -> None:
    """Raises TooLarge, or BadRequest for a row that is no object of columns."""
    must_be_few(len(rows), max_rows)
    for nth, row in enumerate(rows):
        if type(row) is not dict:
            raise BadRequest(f"Row {nth} is {shown(row)}, expected an object with a value for each column.")
