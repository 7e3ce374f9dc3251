"""Whether requests still come in, and as many as before."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from configs.monitoring import MonitoringParams
from tasks.verdicts import Answer, Evidence

WINDOWS_BEFORE = 4
_FEWEST_WINDOWS = 2


@dataclass(frozen=True, slots=True)
class Volume:
    """What was found about the number of rows, and their age."""

    answer: Answer
    text: str
    rows: int
    usual: float | None
    """Median of the windows before; None where there were too few."""
    evidence: tuple[Evidence, ...]


def judge_volume(
    rows_by_hour: Mapping[datetime, int],
    last: datetime | None,
    start: datetime,
    end: datetime,
    params: MonitoringParams,
) -> Volume:
    """Rows of `[start, end)` against those of the windows of the same length before it; `last` is the newest answer.

    A window before the first answer there ever was does not count.
    """
    rows = _between(rows_by_hour, start, end)
    before = _windows_before(rows_by_hour, start, end - start)
    usual = float(median(before)) if len(before) >= _FEWEST_WINDOWS else None
    if last is None and not rows:
        text = "nothing was answered yet: there is nothing to compare"
        return Volume(Answer.waiting, text, 0, usual, ())
    found = [*_stale(last, end, params), *_changed(rows, usual, params)]
    if found:
        return Volume(Answer.alarm, "; ".join(one.text for one in found), rows, usual, tuple(found))
    known = f", {rows / usual - 1:+.0%} against the median of {len(before)} windows before" if usual else ""
    return Volume(Answer.clear, f"{rows:,} rows were answered{known}", rows, usual, ())


def _stale(last: datetime | None, end: datetime, params: MonitoringParams) -> list[Evidence]:
    limit = timedelta(hours=params.stale_hours)
    if last is not None and end - last <= limit:
        return []
    hours = None if last is None else (end - last) / timedelta(hours=1)
    said = "in all the windows looked at" if last is None else f"since {last:%Y-%m-%d %H:%M}Z, for {hours:.1f} hours"
    text = f"nothing was answered {said} (expected at least every {params.stale_hours:g} hours)"
    return [Evidence(subject="freshness", test="age of the newest answer", statistic=hours, alarm=True, text=text)]


def _changed(rows: int, usual: float | None, params: MonitoringParams) -> list[Evidence]:
    if not usual:
        return []
    change = rows / usual - 1
    if abs(change) <= params.volume_change:
        return []
    usually = f"{change:+.0%} against the usual {usual:,.0f} (expected within {params.volume_change:.0%})"
    text = f"{rows:,} rows were answered, {usually}"
    return [
        Evidence(subject="volume", test="number of rows", statistic=change, effect=abs(change), alarm=True, text=text)
    ]


def _windows_before(rows_by_hour: Mapping[datetime, int], start: datetime, length: timedelta) -> list[int]:
    first = min((hour for hour, rows in rows_by_hour.items() if rows), default=start)
    ends = [start - n * length for n in range(WINDOWS_BEFORE)]
    return [_between(rows_by_hour, end - length, end) for end in ends if end - length >= first - timedelta(hours=1)]


def _between(rows_by_hour: Mapping[datetime, int], start: datetime, end: datetime) -> int:
    return sum(rows for hour, rows in rows_by_hour.items() if start <= hour < end)
