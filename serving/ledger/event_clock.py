"""The other clock of the log: history that is asked again was answered when it happened."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from serving.ledger.entry import encode_entry
from serving.records import Asked, Part, Rows


def encode_at_event_time(  # noqa: PLR0913, PLR0917 - what `encode_entry` takes
    case: str,
    contract: int,
    request_id: str,
    received: float,
    answered: float,
    rows: Rows,
    parts: Sequence[Part],
    trace: str | None,
) -> bytes:
    """The payload of an answer given at the newest event time of its rows, where one has any; it took as long."""
    then = _newest(rows.event_times) or answered
    return encode_entry(case, contract, request_id, then - (answered - received), then, rows, parts, trace)


def newest_event_time(asked: Asked, column: str) -> float | None:
    """The newest event time of rows that need not keep their contract; None where none can be read."""
    records, columns = asked.records, asked.columns or {}
    return _newest(columns.get(column, ()) if records is None else [record.get(column) for record in records])


def _newest(times: Iterable[Any]) -> float | None:
    read = [moment for time in times if isinstance(time, str) and (moment := _read(time))]
    return max((one if one.tzinfo else one.replace(tzinfo=UTC)).timestamp() for one in read) if read else None


def _read(time: str) -> datetime | None:
    try:
        return datetime.fromisoformat(time)
    except ValueError:
        return None
