"""The axes of the picture: which stretch of time it shows, and where a moment or a value lies; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil, floor, log10

_YEAR = timedelta(days=366)
_SHORTEST = timedelta(days=2)
_AFTER = timedelta(days=45)
"""A decision is taken so long after the data it is about; one later still belongs to another time."""
_STEPS = (
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(days=1),
    timedelta(days=7),
)
_MONTHS = (1, 2, 3, 6)


@dataclass(frozen=True)
class TimeAxis:
    """From `start` to `end` in `left` to `right` pixels."""

    start: datetime
    end: datetime
    left: float
    right: float

    def x(self, moment: datetime) -> float:
        """Where a moment lies; one outside lies on the edge."""
        share = (moment - self.start) / (self.end - self.start)
        return self.left + min(max(share, 0.0), 1.0) * (self.right - self.left)

    def shows(self, start: datetime, end: datetime) -> bool:
        """Whether some of `[start, end]` is on the axis."""
        return start <= self.end and end >= self.start

    def ticks(self, pixels: float) -> list[tuple[datetime, str]]:
        """Moments at least `pixels` apart, and what they are called."""
        a_pixel = (self.end - self.start) / (self.right - self.left)
        for step in _STEPS:
            if step / a_pixel >= pixels:
                return [(moment, _name(moment, step)) for moment in self._every(step)]
        months = next((many for many in _MONTHS if many * timedelta(days=28) / a_pixel >= pixels), 12)
        return [(moment, _month(moment)) for moment in self._months(months)]

    def _every(self, step: timedelta) -> list[datetime]:
        monday = datetime(2001, 1, 1, tzinfo=UTC)
        number = ceil((self.start - monday) / step)
        found = []
        while (moment := monday + number * step) <= self.end:
            found.append(moment)
            number += 1
        return found

    def _months(self, many: int) -> list[datetime]:
        moment = datetime(self.start.year, 1, 1, tzinfo=UTC)
        found = []
        while moment <= self.end:
            if moment >= self.start:
                found.append(moment)
            months = moment.month - 1 + many
            moment = moment.replace(year=moment.year + months // 12, month=months % 12 + 1)
        return found


def span(looked: Sequence[datetime], decided: Sequence[datetime]) -> tuple[datetime, datetime] | None:
    """The year to show: it ends with the newest data, or the newest decision about them; None if nothing happened.

    In a history that is looked at later, decisions may carry today's date: they do not stretch the axis over the years
    between.
    """
    if not (looked or decided):
        return None
    end = max(looked or decided)
    end = max([end, *(moment for moment in decided if moment <= end + _AFTER)])
    start = max(end - _YEAR, min(moment for moment in (*looked, *decided) if moment <= end))
    if end - start < _SHORTEST:
        start = end - _SHORTEST
    return start, end


@dataclass(frozen=True)
class ValueAxis:
    """From `low` to `high`, upwards from `bottom` to `top` pixels."""

    low: float
    high: float
    top: float
    bottom: float
    step: float

    def y(self, value: float) -> float:
        """Where a value lies; one outside lies on the edge."""
        share = (value - self.low) / (self.high - self.low)
        return self.bottom - min(max(share, 0.0), 1.0) * (self.bottom - self.top)

    def ticks(self) -> list[tuple[float, str]]:
        """Round values, and how they are written."""
        digits = max(0, -floor(log10(self.step)))
        first, last = ceil(self.low / self.step - 1e-9), floor(self.high / self.step + 1e-9)
        return [(number * self.step, f"{number * self.step:.{digits}f}") for number in range(first, last + 1)]


def value_axis(values: Sequence[float], top: float, bottom: float, about: int = 4) -> ValueAxis:
    """An axis that holds all values, with about so many ticks."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - (abs(low) or 1.0) * 0.05, high + (abs(high) or 1.0) * 0.05
    pad = (high - low) * 0.06
    low, high = low - pad, high + pad
    rough = (high - low) / about
    power = 10.0 ** floor(log10(rough))
    step = next(power * many for many in (1, 2, 5, 10) if power * many >= rough)
    return ValueAxis(low, high, top, bottom, step)


def _name(moment: datetime, step: timedelta) -> str:
    return f"{moment:%H:%M}" if step < timedelta(days=1) and moment.hour else f"{moment.day} {moment:%b}"


def _month(moment: datetime) -> str:
    return f"{moment:%Y}" if moment.month == 1 else f"{moment:%b}"
