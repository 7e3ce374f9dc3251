"""scan: reads the log, the reference and what was said before; what it cannot compute it says."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs.project import Project
from tasks.adapters.journal import Journal
from tasks.adapters.refusals import RefusedFor, RefusedHour
from tasks.monitoring import scan as scanning
from tasks.monitoring.reference import kept_at
from tasks.monitoring.scan import scan
from tasks.verdicts import Answer, Findings, Monitor, Verdict
from tests.conftest import change_params
from tests.outcomes.lent import Champion, Frame, loans, refer
from tests.outcomes.loans import DAY, START, project

ROWS = 240
"""Answers an hour, in the four hours of a day that have any: each hour is a file."""
OPEN = 4
HOUR = DAY / 24
WEEK = 7 * DAY
NOW = START + 30 * DAY
CONTRACT = Monitor.contract


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose version 1 is champion and has its reference; its window is a day."""
    monkeypatch.setattr(scanning, "Registry", Champion)
    made = project(tmp_path)
    watch_days(made)
    refer(made)
    return made


def watch_days(made: Project, **monitoring: Any) -> None:
    change_params(made.root, "loans", {"monitoring": {"window_hours": 24, **monitoring}})


def answered(start: datetime, days: int = 1, **changes: Any) -> pd.DataFrame:
    """The log of these days; a change gives a column other values."""
    count = days * OPEN * ROWS
    frame = loans(np.random.default_rng([7, round(start.timestamp())]), count).rename(columns={"score": "probability"})
    place = np.arange(count)
    hours = place // (OPEN * ROWS) * 24 + place % (OPEN * ROWS) / ROWS
    when = pd.Timestamp(start) + pd.to_timedelta(hours * 3600, unit="s")
    return frame.assign(
        request_id=[f"q{start:%m%d%H}{n}" for n in range(count)], row=0, answered_at=when, prediction=1,
        model_version="1", role="champion", fallback=pd.Series([None] * count, dtype="str"), contract_version=1,
    ).assign(**changes)  # fmt: skip


def said(findings: Findings, monitor: Monitor) -> Verdict:
    return next(verdict for verdict in findings.verdicts if verdict.monitor is monitor)


def test_a_window_like_the_reference_is_clear(clone: Project) -> None:
    findings = scan(clone, "loans", NOW, Frame(answered(NOW - DAY)))
    assert [verdict.answer for verdict in findings.verdicts] == [Answer.clear] * 3
    inputs = said(findings, Monitor.inputs)
    assert (inputs.start, inputs.end, inputs.rows, inputs.version) == (NOW - DAY, NOW, OPEN * ROWS, "1")


def test_drift_is_found_and_named_and_the_same_in_parallel(clone: Project) -> None:
    moved = answered(NOW - DAY)
    moved["income"] += 0.4
    one = scan(clone, "loans", NOW, Frame(moved))
    with ThreadPoolExecutor(3) as pool:
        other = scan(clone, "loans", NOW, Frame(moved), parallel=pool.map)
    assert one == other
    assert (said(one, Monitor.inputs).answer, said(one, Monitor.inputs).cause) == (Answer.alarm, "income")


def test_a_day_that_the_challenger_answered_alone_is_no_silence(clone: Project) -> None:
    log = pd.concat([answered(NOW - 2 * DAY), answered(NOW - DAY, role="challenger", model_version="2")])
    findings = scan(clone, "loans", NOW, Frame(log))
    assert said(findings, Monitor.freshness).answer is Answer.clear
    assert said(findings, Monitor.freshness).rows == OPEN * ROWS
    assert said(findings, Monitor.inputs).answer is Answer.waiting


def test_scanning_again_says_the_same(clone: Project) -> None:
    """The second time from the hours that were kept."""
    log = Frame(answered(NOW - DAY))
    one = scan(clone, "loans", NOW, log)
    log.rows = log.rows.head(0)
    assert scan(clone, "loans", NOW, log) == one


def test_a_rolling_reference_forgets_the_change_that_has_stayed(clone: Project) -> None:
    moved = answered(NOW - WEEK, 7)
    moved["income"] += 0.4
    assert said(scan(clone, "loans", NOW, Frame(moved)), Monitor.inputs).answer is Answer.alarm
    watch_days(clone, reference={"kind": "rolling", "weeks": 1})
    verdict = said(scan(clone, "loans", NOW, Frame(moved)), Monitor.inputs)
    assert verdict.answer is Answer.clear
    assert "from the 1 week before" in verdict.text


def test_the_same_hours_of_the_weeks_before_know_the_rhythm_of_the_week(clone: Project) -> None:
    """Incomes differ between days, as they do every week."""
    month = answered(NOW - 29 * DAY, 29)
    month["income"] += (month["answered_at"].dt.dayofweek == (NOW - DAY).weekday()) * 1.0
    assert said(scan(clone, "loans", NOW, Frame(month)), Monitor.inputs).answer is Answer.alarm
    watch_days(clone, reference={"kind": "same_hours", "weeks": 4})
    assert said(scan(clone, "loans", NOW, Frame(month)), Monitor.inputs).answer is Answer.clear


def test_a_year_that_is_not_there_yet_is_waited_for(clone: Project) -> None:
    watch_days(clone, reference={"kind": "last_year", "weeks": 4})
    verdict = said(scan(clone, "loans", NOW, Frame(answered(NOW - DAY))), Monitor.inputs)
    assert verdict.answer is Answer.waiting
    assert "0 rows in the reference (4 weeks around the same date a year ago)" in verdict.text


def test_half_of_the_usual_volume_is_noticed(clone: Project) -> None:
    days = pd.concat([answered(NOW - 5 * DAY, 4), answered(NOW - DAY)[::3]])
    verdict = said(scan(clone, "loans", NOW, Frame(days)), Monitor.freshness)
    assert verdict.answer is Answer.alarm
    assert "320 rows were answered, -67% against the usual 960" in verdict.text


def test_an_alarm_of_the_scan_before_counts_for_persistence(clone: Project) -> None:
    watch_days(clone, inputs={"persistence": [2, 2]})
    moved = answered(NOW - 2 * DAY, 2)
    moved["income"] += 0.4
    before = scan(clone, "loans", NOW - DAY, Frame(moved))
    assert said(before, Monitor.inputs).answer is Answer.clear
    Journal(clone).record(before)
    assert said(scan(clone, "loans", NOW, Frame(moved)), Monitor.inputs).answer is Answer.alarm


def test_without_a_champion_only_freshness_is_said(clone: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Champion, "version", None)
    findings = scan(clone, "loans", NOW, Frame(answered(NOW - DAY)))
    assert said(findings, Monitor.freshness).answer is Answer.clear
    for monitor in (Monitor.contract, Monitor.inputs):
        assert said(findings, monitor).answer is Answer.waiting
        assert said(findings, monitor).version is None


def test_without_a_reference_nothing_is_taken_for_clear(clone: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Champion, "version", "2")
    findings = scan(clone, "loans", NOW, Frame(answered(NOW - DAY)))
    assert said(findings, Monitor.freshness).answer is Answer.clear
    assert {said(findings, monitor).answer for monitor in (Monitor.contract, Monitor.inputs)} == {Answer.unknown}


def test_a_reference_that_was_altered_is_not_used(clone: Project) -> None:
    (kept_at(clone, "loans", "1") / "profile.parquet").write_bytes(b"something else")
    verdict = said(scan(clone, "loans", NOW, Frame(answered(NOW - DAY))), Monitor.inputs)
    assert (verdict.answer, "is not the file that was recorded" in verdict.text) == (Answer.unknown, True)


def test_a_reference_of_another_contract_is_not_used(clone: Project) -> None:
    file = clone.root / "configs" / "loans.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("  version: 1", "  version: 2"), encoding="utf-8")
    verdict = said(scan(Project(clone.root), "loans", NOW, Frame(answered(NOW - DAY))), Monitor.inputs)
    assert verdict.answer is Answer.unknown
    assert "counted for contract version 1, and version 2 is asked for" in verdict.text


def turned_away(rows: int, hours: float = 3) -> RefusedHour:
    why = RefusedFor(field="income", reason="type", rows=rows)
    return RefusedHour(hour=NOW - hours * HOUR, contract_version=1, rows=rows, reasons=(why,))


def test_a_feed_that_breaks_its_contract_wholly_is_broken_data(clone: Project) -> None:
    """Nothing of it is in the log: only what the gateway counted tells."""
    verdict = said(scan(clone, "loans", NOW, Frame(answered(NOW - DAY).head(0)), refused=[turned_away(50)]), CONTRACT)
    assert (verdict.answer, verdict.cause) == (Answer.alarm, "income")
    assert verdict.text.startswith("50 rows of the last 24 hours broke the contract and were refused, 0 were answered")


@pytest.mark.parametrize(
    ("refused", "answer"), [(OPEN * ROWS, Answer.clear), (OPEN * ROWS + 1, Answer.alarm)], ids=["half", "most"]
)
def test_a_few_refused_rows_are_the_senders_to_mend(clone: Project, refused: int, answer: Answer) -> None:
    findings = scan(clone, "loans", NOW, Frame(answered(NOW - DAY)), refused=[turned_away(refused)])
    assert said(findings, CONTRACT).answer is answer
    earlier = scan(clone, "loans", NOW, Frame(answered(NOW - DAY)), refused=[turned_away(refused, hours=26)])
    assert said(earlier, CONTRACT).answer is Answer.clear


def test_a_kept_hour_that_cannot_be_read_is_counted_again(clone: Project, caplog: pytest.LogCaptureFixture) -> None:
    log = Frame(answered(NOW - DAY))
    before = said(scan(clone, "loans", NOW, log), Monitor.inputs)
    next((clone.stores / "monitoring" / "loans" / "hours").rglob("*.hour")).write_bytes(b"torn")
    assert said(scan(clone, "loans", NOW, log), Monitor.inputs) == before
    assert "cannot be read" in caplog.text


def test_an_as_of_within_an_hour_takes_that_hour_as_far_as_it_went(clone: Project) -> None:
    as_of = NOW + timedelta(minutes=30)
    verdict = said(scan(clone, "loans", as_of, Frame(answered(NOW - DAY, 2))), Monitor.inputs)
    assert (verdict.start, verdict.rows) == (NOW - DAY, OPEN * ROWS + ROWS // 2)
