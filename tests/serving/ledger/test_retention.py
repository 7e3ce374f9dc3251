"""Days older than a case keeps are removed, and no others."""

import os
from datetime import timedelta

import pytest

from tests.serving.ledger.conftest import NOON, Log, bird, tide


def days(log: Log, case: str) -> list[int]:
    return [(NOON.date() - day).days for day in log.store.days(case)]


def test_days_older_than_the_retention_are_removed_and_the_last_one_within_it_is_kept(log: Log) -> None:
    log.retention_days = {"birds": 30}
    ages = (29, 30, 31, 400)
    log.write("w0-1-000001", *(bird(f"{age}", NOON - timedelta(days=age)) for age in ages))
    log.write("w0-1-000002", tide("kept", NOON - timedelta(days=400)))
    log.compact()
    assert days(log, "birds") == [30, 29]
    assert days(log, "tides") == [400]
    assert log.ids() == ["29", "30"]


def test_time_passing_removes_the_next_day(log: Log) -> None:
    log.retention_days = {"birds": 30}
    log.write("w0-1-000001", bird("a"))
    compactor = log.compactor
    compactor.turn()
    for passed, kept in ((30, ["a"]), (31, [])):
        log.now = NOON + timedelta(days=passed, minutes=2)
        compactor.turn()
        assert log.ids() == kept


def test_a_day_removed_is_said(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    log.retention_days = {"birds": 30}
    log.write("w0-1-000001", bird("a", NOON - timedelta(days=31)))
    log.compact()
    assert "birds: the predictions of 2026-01-29 were removed, being older than 30 days" in caplog.text


def test_a_damaged_segment_is_kept_no_longer_than_any_row_that_may_be_in_it(log: Log) -> None:
    log.retention_days = {"birds": 30, "tides": 400}
    for age in (30, 31):
        path = log.write(f"w0-1-{age:06d}", bird("a"))
        path.write_bytes(path.read_bytes()[:40])
        written = (NOON - timedelta(days=age)).timestamp()
        os.utime(path, (written, written))
    log.compact()
    assert [path.name for path in (log.folder / "corrupt").iterdir()] == ["w0-1-000030.sealed"]
