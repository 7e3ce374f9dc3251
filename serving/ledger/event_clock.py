"""The other clock of the log: history that is asked again was answered when it happened."""

from collections.abc import Sequence
from datetime import UTC, datetime

from serving.ledger.entry import encode_entry
from serving.records import Part, Rows


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
    times = [datetime.fromisoformat(time) for time in rows.event_times if time is not None]
    then = max(time if time.tzinfo else time.replace(tzinfo=UTC) for time in times).timestamp() if times else answered
    return encode_entry(case, contract, request_id, then - (answered - received), then, rows, parts, trace)
