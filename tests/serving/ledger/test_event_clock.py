"""A gateway of history answers when it happened."""

from datetime import UTC, datetime

from serving.ledger.entry import decode_entry
from serving.ledger.event_clock import encode_at_event_time, newest_event_time
from serving.records import Asked, Rows
from tests.serving.ledger.conftest import CASES, champion


def test_at_event_time_an_answer_was_given_when_its_newest_row_was_asked_about_and_took_as_long() -> None:
    rows = Rows(3, [[440.0] * 3], [None] * 3, ["2013-08-12T10:00:00+00:00", None, "2013-08-12T06:30:00-05:00"])
    payload = encode_at_event_time("songs", 1, "a", 1.0, 1.5, rows, [champion(0.5)], None)
    entry = decode_entry(payload, CASES)
    assert entry.answered == datetime(2013, 8, 12, 11, 30, tzinfo=UTC).timestamp()
    assert entry.answered - entry.received == 0.5


def test_rows_without_an_event_time_were_answered_by_the_clock() -> None:
    payload = encode_at_event_time("songs", 1, "a", 1.0, 1.5, Rows(1, [[440.0]], [None], [None]), [champion(0.5)], None)
    entry = decode_entry(payload, CASES)
    assert (entry.received, entry.answered) == (1.0, 1.5)


def test_rows_that_break_their_contract_were_refused_at_their_newest_event_time_where_one_can_be_read() -> None:
    times = ["2013-01-05T10:00:00", "2013-01-05T12:00:00+01:00", "2013-01-05T11:30:00Z", "noon", 5, None]
    newest = datetime(2013, 1, 5, 11, 30, tzinfo=UTC).timestamp()
    assert newest_event_time(Asked(records=[{"at": time} for time in times], count=6), "at") == newest
    assert newest_event_time(Asked(columns={"at": times}, count=6), "at") == newest
    assert newest_event_time(Asked(records=[{"at": "noon"}, {}], count=2), "at") is None
    assert newest_event_time(Asked(columns={"else": [1]}, count=1), "at") is None
