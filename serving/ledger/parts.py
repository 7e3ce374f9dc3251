"""From the entries of a segment to tables, one after another, for each case and day."""

import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import pyarrow as pa

from serving.ledger.columns import Gathered
from serving.ledger.header import LoggedCase
from serving.ledger.privacy import is_sampled
from serving.ledger.segment import Segment

log = logging.getLogger(__name__)

_DAY_SECONDS = 86_400
_ROWS_AT_ONCE = 20_000
"""Rows in a table, which is a row group in Parquet."""
UNREADABLE = (ArithmeticError, LookupError, TypeError, ValueError)
"""What an entry raises that is whole, and yet not what the gateway writes; pyarrow's own are among them."""

Key = Callable[[], bytes]
Sink = Callable[[pa.Table], None]
Begin = Callable[[str, date, LoggedCase], Sink]


def sort_entries(segment: Segment, key: Key, begin: Begin, only: str | None = None) -> int:
    """Give the rows of every whole entry to the sink that `begin` makes for its case and day (UTC, of the answer).

    `only` leaves out other cases.

    Returns how many entries were whole and could not be read.
    """
    parts: dict[tuple[str, int], _Part] = {}
    unreadable = 0
    for payload in segment.all_whole():
        try:
            entry = orjson.loads(payload)
            where = entry["case"], int(entry["answered"] // _DAY_SECONDS)
            case = _promised(segment, entry)
            if not is_sampled(entry["id"], case.sample) or only not in (None, where[0]):
                continue
            if where not in parts:
                day = date(1970, 1, 1) + timedelta(days=where[1])
                parts[where] = _Part(segment.name, case, key, begin(where[0], day, case))
        except UNREADABLE as error:
            _tell(segment.name, error)
            unreadable += 1
        else:
            parts[where].add(entry, payload)
    for part in parts.values():
        part.flush()
    return unreadable + sum(part.unreadable for part in parts.values())


def _promised(segment: Segment, entry: dict[str, Any]) -> LoggedCase:
    case = segment.header.cases[entry["case"]]
    if entry["contract"] != case.contract:
        raise ValueError(f"it was checked against contract {entry['contract']}; its segment has {case.contract}")
    return case


class _Part:
    """What goes to one sink."""

    def __init__(self, where: str, case: LoggedCase, key: Key, sink: Sink) -> None:
        self.unreadable = 0
        self._where = where
        self._case = case
        self._key = key
        self._sink = sink
        self._begin_table()

    def _begin_table(self) -> None:
        self._gathered = Gathered(self._case, self._key)
        self._payloads: list[bytes] = []
        self._in_doubt = False

    def add(self, entry: dict[str, Any], payload: bytes) -> None:
        self._payloads.append(payload)
        if not self._in_doubt:
            try:
                self._gathered.add(entry)
            except UNREADABLE:
                self._in_doubt = True
        if self._gathered.rows >= _ROWS_AT_ONCE or len(self._payloads) >= _ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Give what was gathered to the sink; if some of it does not fit its columns, without the entries at fault."""
        table = None if self._in_doubt else _table(self._gathered)
        for good in self._one_by_one() if table is None else [table]:
            if good.num_rows:
                self._sink(good)
        self._begin_table()

    def _one_by_one(self) -> list[pa.Table]:
        tables = []
        for payload in self._payloads:
            alone = Gathered(self._case, self._key)
            try:
                alone.add(orjson.loads(payload))
                tables.append(alone.table())
            except UNREADABLE as error:
                _tell(self._where, error)
                self.unreadable += 1
        return [pa.concat_tables(tables)] if tables else []


def _tell(where: str, error: Exception) -> None:
    # Not the error's own words: they can quote the value at fault, which may be one to hash or drop.
    log.error("%s: an entry cannot be read (%s); its segment will be kept", where, type(error).__name__)


def _table(gathered: Gathered) -> pa.Table | None:
    try:
        return gathered.table()
    except UNREADABLE:
        return None


def utc_day(moment: datetime) -> date:
    """The day of the log that a moment belongs to."""
    return moment.astimezone(UTC).date()
