"""What the outcome store of a case holds: every file that counts is named here, and the naming is one write.

A run that is killed leaves files that nobody names: they count for nothing, and the next run removes them. So the
labels and outcomes of one run are there together or not at all.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta

from pydantic import AwareDatetime

from tasks.records import Record


class Span(Record):
    """From the first to the last of some moments, both among them."""

    first: AwareDatetime
    last: AwareDatetime

    def meets(self, other: "Span") -> bool:
        return self.first <= other.last and other.first <= self.last

    def with_(self, other: "Span | None") -> "Span":
        return self if other is None else Span(first=min(self.first, other.first), last=max(self.last, other.last))


class LabelFile(Record):
    """Labels that one run took; never changed."""

    name: str
    rows: int
    labelled: Span
    events: Span | None
    """Of the event times they name; None where they name none."""


class Part(Record):
    """Outcomes of one day of answers, with the labels known by `as_of`."""

    name: str
    rows: int
    as_of: AwareDatetime


class Day(Record):
    """The outcomes of what was answered on one day (UTC)."""

    day: date
    parts: tuple[Part, ...]
    late: tuple[str, ...] = ()
    """Files of labels that came after the parts were written."""
    events: Span | None
    timeless: int = 0
    """Rows that say no event time."""


class State(Record):
    """All of it."""

    serial: int
    """Of the run that wrote it; its files carry it in their names."""
    as_of: AwareDatetime
    labels: tuple[LabelFile, ...] = ()
    days: tuple[Day, ...] = ()
    logged: Mapping[date, int] = {}
    """How many rows the log had of each day when it was read, those left out among them."""

    def on(self, first: date, last: date) -> tuple[Day, ...]:
        """The days from `first` to `last`, both among them."""
        return tuple(day for day in self.days if first <= day.day <= last)

    def rows_read(self, day: date) -> int:
        """How many rows of a day of the log were read."""
        kept = self.day(day)
        return self.logged.get(day, sum(part.rows for part in kept.parts) if kept else 0)

    def day(self, day: date) -> Day | None:
        return next((kept for kept in self.days if kept.day == day), None)

    def with_days(self, changed: dict[date, Day]) -> tuple[Day, ...]:
        """All days, the changed ones in their new form."""
        kept = {day.day: day for day in self.days} | changed
        return tuple(kept[day] for day in sorted(kept))

    @property
    def files(self) -> frozenset[str]:
        """The names of all files that count."""
        parts = {part.name for day in self.days for part in day.parts}
        late = {name for day in self.days for name in day.late}
        return frozenset({file.name for file in self.labels} | parts | late)


def around(days: Sequence[Day], by: timedelta) -> Span:
    """From `by` before the first answer of some days (at least one) to `by` after the last."""
    first, last = min(day.day for day in days), max(day.day for day in days) + timedelta(days=1)
    return Span(first=datetime.combine(first, time(), UTC) - by, last=datetime.combine(last, time(), UTC) + by)


def span(first: datetime | None, last: datetime | None) -> Span | None:
    """The span, if there is one."""
    return None if first is None or last is None else Span(first=first, last=last)
