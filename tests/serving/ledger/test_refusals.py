"""What is refused is counted by hour, beside a log that holds answers only."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from configs.serving import GatewayLog
from serving.ledger.ledger import Ledger
from serving.ledger.refusals import Refusals
from tasks.adapters.refusals import REFUSED, RefusedFor, RefusedHour, read_refused
from tasks.errors import DiskFull, StoreUnreachable
from tests.serving.ledger.conftest import CASES, NOON, Log, bird, most_bytes

TYPE = ("eggs", "type")
MISSING = ("weight", "missing")
HOUR = timedelta(hours=1)


def counted(log: Log, writer: str, *times: tuple[datetime, int, Iterable[tuple[str | None, str]]]) -> Refusals:
    refusals = Refusals(log.folder, writer)
    for at, rows, reasons in times:
        refusals.add("birds", 2, at.timestamp(), rows, reasons)
    refusals.write()
    return refusals


def read(log: Log, start: datetime = NOON, end: datetime = NOON + HOUR) -> list[RefusedHour]:
    return read_refused(log.url, "birds", start, end)


def test_what_was_refused_is_read_by_hour_with_the_commonest_reason_first(log: Log) -> None:
    counted(log, "w0", (NOON, 3, [TYPE, MISSING, MISSING]), (NOON + HOUR, 1, [(None, "unknown")]), (NOON, 1, [MISSING]))
    log.compact()
    first, second = read(log, end=NOON + 2 * HOUR)
    assert first == RefusedHour(
        hour=NOON,
        contract_version=2,
        rows=4,
        reasons=(
            RefusedFor(field="weight", reason="missing", rows=3),
            RefusedFor(field="eggs", reason="type", rows=1),
        ),
    )
    assert (second.hour, second.rows, second.reasons) == (
        NOON + HOUR,
        1,
        (RefusedFor(field=None, reason="unknown", rows=1),),
    )


def test_only_hours_that_begin_in_the_window_are_read(log: Log) -> None:
    night = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    counted(log, "w0", (night, 1, [TYPE]), (night + HOUR, 2, [TYPE]), (night + 2 * HOUR, 4, [TYPE]))
    log.compact()
    begin = night - timedelta(minutes=30)
    assert [found.rows for found in read(log, begin, begin + 2 * HOUR)] == [1, 2]
    assert [found.rows for found in read(log, begin + timedelta(seconds=1), begin + 9 * HOUR)] == [2, 4]
    assert read_refused(log.url, "tides", begin, begin + 9 * HOUR) == []


def test_counts_that_grow_or_are_brought_again_are_counted_once_and_those_of_two_workers_together(log: Log) -> None:
    refusals = counted(log, "w0", (NOON, 1, [TYPE]))
    counted(log, "w1", (NOON, 10, [TYPE] * 10))
    compactor = log.compactor
    compactor.turn()
    refusals.add("birds", 2, NOON.timestamp(), 1, [TYPE])
    refusals.write()
    compactor.turn()
    assert [found.rows for found in read(log)] == [12]
    log.compact()  # another compactor, which knows nothing of what the first one brought
    assert [(found.rows, found.reasons[0].rows) for found in read(log)] == [(12, 12)]


def test_nothing_is_written_while_nothing_is_refused(log: Log) -> None:
    refusals = counted(log, "w0")
    assert not (log.folder / "refused").exists()
    refusals.add("birds", 2, NOON.timestamp(), 1, [TYPE])
    refusals.write()
    (path,) = (log.folder / "refused").iterdir()
    written = path.stat().st_mtime_ns
    refusals.write()
    assert path.stat().st_mtime_ns == written


def test_a_long_life_is_counted_in_files_of_two_days(log: Log) -> None:
    refusals = Refusals(log.folder, "w0")
    for hour in range(120):
        refusals.add("birds", 2, (NOON + hour * HOUR).timestamp(), 1, [TYPE])
        refusals.write()
    assert len([*(log.folder / "refused").iterdir()]) == 3
    log.compact()
    assert [found.rows for found in read(log, end=NOON + 200 * HOUR)] == [1] * 120


def test_counts_a_full_disk_did_not_take_are_written_when_it_has_room(log: Log) -> None:
    refusals = Refusals(log.folder, "w0")
    refusals.add("birds", 2, NOON.timestamp(), 5, [TYPE])
    with most_bytes(10), pytest.raises(DiskFull):
        refusals.write()
    refusals.write()
    log.compact()
    assert [found.rows for found in read(log)] == [5]


def test_a_file_that_grows_no_more_is_removed_here_and_stays_beside_the_log(log: Log) -> None:
    refusals = counted(log, "w0", (NOON, 1, [TYPE]))
    log.now = datetime.now(UTC)
    compactor = log.compactor
    compactor.turn()
    log.now += timedelta(days=1, minutes=1)
    compactor.turn()
    assert not [*(log.folder / "refused").iterdir()]
    refusals.add("birds", 2, NOON.timestamp(), 1, [TYPE])
    refusals.write()
    compactor.turn()
    assert [found.rows for found in read(log)] == [2]


def test_counts_go_when_the_predictions_of_their_day_do(log: Log) -> None:
    log.retention_days = {"birds": 30}
    counted(log, "w0", (NOON, 1, [TYPE]), (NOON + timedelta(days=1), 2, [TYPE]))
    compactor = log.compactor
    compactor.turn()
    log.now = NOON + timedelta(days=31)
    compactor.turn()
    assert [found.rows for found in read(log, end=NOON + timedelta(days=9))] == [2]


def test_the_log_itself_is_read_as_before(log: Log) -> None:
    counted(log, "w0", (NOON, 1, [TYPE]))
    log.write("w0-1-000001", bird("a"))
    log.compact()
    assert log.ids() == ["a"]
    assert log.store.cases() == ["birds"]
    assert any(name.startswith(f"{REFUSED}/case=birds/date=2026-03-01/") for name in log.files())


def test_a_ledger_that_is_closed_has_its_counts_on_disk(log: Log) -> None:
    ledger = Ledger(log.folder, "w0", CASES, GatewayLog())
    ledger.refusals.add("birds", 2, NOON.timestamp(), 7, [TYPE])
    ledger.close()
    log.compact()
    assert [found.rows for found in read(log)] == [7]


def test_a_store_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / REFUSED / "case=birds").mkdir(parents=True)
    (tmp_path / REFUSED / "case=birds" / "date=2026-03-01").symlink_to(tmp_path / REFUSED / "case=birds")
    (tmp_path / REFUSED / "case=birds" / "x.json").mkdir()
    with pytest.raises(StoreUnreachable, match="The store of the prediction log"):
        read_refused(str(tmp_path), "birds", NOON, NOON + HOUR)
