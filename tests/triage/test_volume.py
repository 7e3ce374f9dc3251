"""Rows since a moment, counted once although windows overlap."""

from datetime import timedelta

from tasks.triage.volume import rows_since
from tasks.verdicts import Figure
from tests.triage.conftest import NOW

DAY = timedelta(days=1)


def window(start: int, end: int, rows: int) -> Figure:
    """A window from so many days before now to so many."""
    return Figure(
        case="bikes",
        kind="volume",
        metric="rows",
        start=NOW - start * DAY,
        end=NOW - end * DAY,
        version="1",
        value=rows,
        rows=rows,
    )


def test_windows_that_follow_one_another_add_up() -> None:
    assert rows_since([window(14, 7, 100), window(7, 0, 50)], NOW - 14 * DAY) == 150


def test_rows_of_windows_that_overlap_are_counted_once() -> None:
    hourly = [window(7, 0, 50), window(8, 1, 48), window(14, 7, 100)]
    assert rows_since(hourly, NOW - 30 * DAY) == 150


def test_a_window_that_began_before_does_not_count() -> None:
    assert rows_since([window(14, 7, 100), window(7, 0, 50)], NOW - 13 * DAY) == 50
    assert rows_since([], NOW) == 0
