"""Which hours the current window is held against."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from configs.monitoring import ReferenceParams

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_WEEK = timedelta(weeks=1)
_YEAR = timedelta(weeks=52)
"""The same weekdays as a year ago."""

Stretch = tuple[datetime, datetime]


def reference_stretches(params: ReferenceParams, start: datetime, end: datetime) -> list[Stretch]:
    """Stretches of hours before the window `[start, end)`; none for `accepted`, which is the champion's own reference.

    None of them reaches into the window.
    """
    if params.kind == "rolling":
        return [(start - params.weeks * _WEEK, start)]
    if params.kind == "same_hours":
        back = range(1, params.weeks + 1)
        return [(start - n * _WEEK, end - n * _WEEK) for n in back if end - n * _WEEK <= start]
    if params.kind == "last_year":
        before, after = params.weeks // 2, (params.weeks - 1) // 2
        return [(start - _YEAR - before * _WEEK, min(end - _YEAR + after * _WEEK, start))]
    return []


def windows_of(params: ReferenceParams, length: timedelta, start: datetime, end: datetime) -> list[Stretch]:
    """The windows that the hours of `[start, end)` and the last before `end` lie in, each held against one reference.

    For `accepted` it is one, these hours themselves; else they begin at multiples of `length`, in whole hours.
    """
    if params.kind == "accepted":
        return [(start, end)]
    start, length = min(start, end - _HOUR), max(length // _HOUR, 1) * _HOUR
    first = start - (start - _EPOCH) % length
    return [(first + n * length, first + (n + 1) * length) for n in range(-((first - end) // length))]


def windows_in(stretches: Sequence[Stretch], length: timedelta) -> list[Stretch]:
    """The stretches cut into windows of `length`, counted back from the end of each; what is left over is left out."""
    return [
        (end - (n + 1) * length, end - n * length)
        for start, end in stretches
        for n in range(int((end - start) / length))
    ]


def in_words(params: ReferenceParams) -> str:
    """What the window is held against, for a person."""
    weeks = f"{params.weeks} week{'s' if params.weeks > 1 else ''}"
    return {
        "accepted": "what the champion was accepted on",
        "rolling": f"the {weeks} before",
        "same_hours": f"the same weekdays and hours of the {weeks} before",
        "last_year": f"{weeks} around the same date a year ago",
    }[params.kind]
