"""The door to what the gateway refused, counted by hour.

The prediction log holds answers only, so a feed that breaks its contract wholly leaves nothing there. Beside the log
lies `<predictions>/_refused/case=<case>/date=<YYYY-MM-DD>/<writer>.json`. Each file holds all that one process counted
of that day, and is replaced whole while the counts grow: the files of a day are simply added up. No value of a row is
in them, and no name that the contract does not have.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import fsspec
from pydantic import AwareDatetime, TypeAdapter

from tasks.errors import StoreUnreachable
from tasks.records import Record

REFUSED = "_refused"
"""The folder; readers of Hive partitions leave out names that begin so."""


class RefusedFor(Record):
    """Of the refused rows, those in which one thing was wrong with one column."""

    field: str | None
    """None for a column that is in no contract, and for a request that could not be read."""
    reason: str
    """`missing`, `type`, `value`, `unknown` (a column) or `unreadable` (a request, which counts as one row)."""
    rows: int
    """At least: of a request that is refused whole, the first 100 problems are counted."""


class RefusedHour(Record):
    """What was refused in one hour."""

    hour: AwareDatetime
    """When it began."""
    contract_version: int
    rows: int
    """That got no answer: with one broken row, all rows of its request, unless `partial` was asked for."""
    reasons: tuple[RefusedFor, ...]
    """A row may be in several."""


_HOURS = TypeAdapter(list[RefusedHour])


def read_refused(url: str, case: str, start: datetime, end: datetime) -> list[RefusedHour]:
    """What the gateway refused for `case` in the hours (UTC) that begin in `[start, end)`.

    One entry for each hour and contract version that has any, the oldest first. `url` is where the prediction log lies;
    counts arrive there a few seconds after the refusals. `rows`, beside the rows that the log has of the same hour, say
    which share of the feed gets no answer. Raises StoreUnreachable.
    """
    together: dict[tuple[datetime, int], list[RefusedHour]] = defaultdict(list)
    for content in _files(url, case, start, end):
        for found in _HOURS.validate_json(content):
            if start <= found.hour < end:
                together[found.hour, found.contract_version].append(found)
    return [_added_up(found) for _, found in sorted(together.items())]


def _added_up(all_found: list[RefusedHour]) -> RefusedHour:
    reasons: dict[tuple[str | None, str], int] = defaultdict(int)
    for found in all_found:
        for one in found.reasons:
            reasons[one.field, one.reason] += one.rows
    most_first = sorted(reasons.items(), key=lambda item: (-item[1], str(item[0])))
    return RefusedHour(
        hour=all_found[0].hour,
        contract_version=all_found[0].contract_version,
        rows=sum(found.rows for found in all_found),
        reasons=tuple(RefusedFor(field=field, reason=reason, rows=rows) for (field, reason), rows in most_first),
    )


def _files(url: str, case: str, start: datetime, end: datetime) -> Iterator[bytes]:
    files, root = fsspec.url_to_fs(url)
    day, last = start.astimezone(UTC).date(), end.astimezone(UTC).date()
    try:
        files.invalidate_cache()
        while day <= last:
            for path in _listed(files, f"{root}/{REFUSED}/case={case}/date={day.isoformat()}"):
                yield files.cat_file(path)
            day += timedelta(days=1)
    except Exception as error:  # each vendor raises its own
        raise StoreUnreachable(
            "The store of the prediction log", url, str(error) or type(error).__name__, "Try again when it is back."
        ) from error


def _listed(files: Any, folder: str) -> list[str]:
    try:
        return sorted(path for path in files.ls(folder, detail=False) if path.endswith(".json"))
    except FileNotFoundError:
        return []
