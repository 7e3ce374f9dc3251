"""watch: hours are taken from the log once each, what it remembers is the journal's, and what it cannot say it says."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs.project import Project
from tasks.adapters.journal import Journal
from tasks.monitoring import watch as watching
from tasks.monitoring.hourly import Watched
from tasks.monitoring.reference import kept_at
from tasks.monitoring.watch import STATE, watch
from tasks.verdicts import Answer, Verdict
from tests.conftest import change_params
from tests.outcomes.lent import Champion, Frame, loans, refer
from tests.outcomes.loans import DAY, HOUR, START, project

ROWS = 100
"""Answers an hour."""


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose version 1 is champion and has its reference."""
    monkeypatch.setattr(watching, "Registry", Champion)
    made = project(tmp_path)
    refer(made)
    return made


def answered(start: datetime, hours: int, seed: int = 3, **changes: Any) -> pd.DataFrame:
    """The log of these hours; a change gives a column other values."""
    count = hours * ROWS
    frame = loans(np.random.default_rng([seed, round(start.timestamp())]), count).rename(
        columns={"score": "probability"}
    )
    when = pd.Timestamp(start) + pd.to_timedelta(np.arange(count) * 3600 / ROWS, unit="s")
    return frame.assign(
        request_id=[f"q{start:%d%H}{n}" for n in range(count)], row=0, entity="L", event_time=when, answered_at=when,
        prediction=1, model_version="1", role="champion", fallback=pd.Series([None] * count, dtype="str"),
        contract_version=1,
    ).assign(**changes)  # fmt: skip


def said(clone: Project, as_of: datetime, *logs: pd.DataFrame) -> Verdict:
    (verdict,) = watch(clone, "loans", as_of, Frame(pd.concat(logs, ignore_index=True))).verdicts
    return verdict


def kept(clone: Project) -> Watched:
    told = Journal(clone).state("loans", STATE)
    assert told is not None
    return Watched.model_validate_json(told)


def test_hours_like_the_reference_are_clear_and_remembered(clone: Project) -> None:
    verdict = said(clone, START + 26 * HOUR, answered(START, 30))

    assert verdict.answer is Answer.clear, verdict.text
    assert verdict.rows == 25 * ROWS
    assert (kept(clone).until, kept(clone).looks) == (START + 25 * HOUR, 25)


def test_only_hours_that_no_row_can_come_to_any_more_are_taken(clone: Project) -> None:
    verdict = said(clone, START + 25 * HOUR + timedelta(minutes=59), answered(START, 30))

    assert verdict.end == START + 24 * HOUR


def test_looking_again_and_looking_often_is_looking_once(clone: Project, tmp_path: Path) -> None:
    log = answered(START, 30)
    for hours in (10, 10, 11, 20, 26, 26):
        often = said(clone, START + hours * HOUR, log)
    state = kept(clone)
    once = project(tmp_path / "once")
    refer(once)
    at_once = said(once, START + 26 * HOUR, log)

    assert state.looks == kept(once).looks == 25
    assert state.log_sums == pytest.approx(kept(once).log_sums)
    assert often.statistic == pytest.approx(at_once.statistic)


def test_a_look_made_again_says_the_same(clone: Project) -> None:
    log = answered(START, 30)
    said(clone, START + 10 * HOUR, log)
    first, again = (said(clone, START + 26 * HOUR, log) for _ in range(2))
    assert again == first
    assert again.rows == 16 * ROWS


def test_a_change_is_found_and_named(clone: Project) -> None:
    before = answered(START, 24)
    assert said(clone, START + 25 * HOUR, before).answer is Answer.clear
    after = answered(START + DAY, 12).assign(income=lambda frame: frame["income"] + 0.5)
    verdict = said(clone, START + 37 * HOUR, before, after)

    assert verdict.answer is Answer.alarm
    assert verdict.cause == "income"
    assert "higher" in verdict.text
    assert verdict.version == "1"


def test_a_log_that_is_silent_waits_and_goes_on(clone: Project) -> None:
    first = answered(START, 24)
    said(clone, START + 25 * HOUR, first)
    silent = said(clone, START + 40 * HOUR, first)
    again = said(clone, START + 61 * HOUR, first, answered(START + 50 * HOUR, 10))

    assert silent.answer is Answer.waiting
    assert silent.rows == 0
    assert again.answer is Answer.clear
    assert kept(clone).looks == 34


def test_an_as_of_in_the_past_is_answered_and_forgets_nothing(clone: Project) -> None:
    log = pd.concat([answered(START, 48), answered(START + 2 * DAY, 12).assign(income=9.0)])
    now = said(clone, START + 61 * HOUR, log)
    before = kept(clone)
    then = said(clone, START + 30 * HOUR, log)

    assert (now.answer, then.answer) == (Answer.alarm, Answer.clear)
    assert then.end == START + 29 * HOUR
    assert kept(clone) == before


def test_a_new_champion_begins_anew(clone: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = answered(START, 24).assign(income=9.0)
    assert said(clone, START + 25 * HOUR, broken).answer is Answer.alarm
    refer(clone, version="2")
    monkeypatch.setattr(Champion, "version", "2")
    healthy = answered(START + 8 * DAY, 24).assign(model_version="2")
    verdict = said(clone, START + 9 * DAY + HOUR, broken, healthy)

    assert verdict.answer is Answer.clear, verdict.text
    assert (kept(clone).version, kept(clone).looks) == ("2", 24)


def test_without_a_champion_it_waits(clone: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Champion, "version", None)

    assert said(clone, START + DAY, answered(START, 20)).answer is Answer.waiting


def test_without_a_reference_it_cannot_say(clone: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Champion, "version", "7")
    verdict = said(clone, START + DAY, answered(START, 20))

    assert verdict.answer is Answer.unknown
    assert "reference" in verdict.text


def test_a_damaged_reference_is_no_all_clear(clone: Project) -> None:
    (kept_at(clone, "loans", "1") / "profile.parquet").write_bytes(b"nothing")

    assert said(clone, START + DAY, answered(START, 20)).answer is Answer.unknown


SUMMER = START + 21 * DAY
"""Three weeks of it are behind."""


def summer(clone: Project, kind: str) -> pd.DataFrame:
    """A log of three weeks in which incomes are not those of the reference, by a standard deviation."""
    watched = {"reference": {"kind": kind, "weeks": 1 if kind == "rolling" else 2}, "window_hours": 24}
    change_params(clone.root, "loans", {"monitoring": watched})
    return answered(START, 21 * 24).assign(income=lambda rows: rows["income"] + 1)


@pytest.mark.parametrize(
    ("kind", "answer"), [("accepted", Answer.alarm), ("rolling", Answer.clear), ("same_hours", Answer.clear)]
)
def test_a_season_is_no_news_where_the_reference_moves_along(clone: Project, kind: str, answer: Answer) -> None:
    log = summer(clone, kind)
    assert said(clone, SUMMER - DAY / 2, log).answer is answer
    assert said(clone, SUMMER, log).answer is answer


def test_a_change_within_a_season_is_found(clone: Project) -> None:
    log = summer(clone, "same_hours")
    assert said(clone, SUMMER, log).answer is Answer.clear
    changed = answered(SUMMER, 10).assign(income=lambda rows: rows["income"] + 1.5)
    verdict = said(clone, SUMMER + 10 * HOUR, log, changed)

    assert (verdict.answer, verdict.cause) == (Answer.alarm, "income")


def test_hours_before_there_is_a_season_to_compare_with_wait(clone: Project) -> None:
    log = summer(clone, "last_year")
    verdict = said(clone, SUMMER, log)

    assert verdict.answer is Answer.waiting
    assert "2 weeks around the same date a year ago) holds fewer rows than the 100" in verdict.text


def test_a_column_that_vanished_is_named(clone: Project) -> None:
    verdict = said(clone, START + 6 * HOUR, answered(START, 5).drop(columns="income").assign(income=None))

    assert verdict.answer is Answer.alarm
    assert verdict.cause == "income"


BROKEN: dict[str, dict[str, Any]] = {
    "constant": {"income": 1.0},
    "all null": {"income": None},
    "infinite": {"income": np.inf},
    "of another type": {"income": "much"},
    "never seen": {"region": "atlantis"},
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_no_reference_has_is_an_alarm_that_names_its_column_and_no_error(clone: Project, broken: str) -> None:
    verdict = said(clone, START + 12 * HOUR, answered(START, 11, **BROKEN[broken]))
    assert (verdict.answer, verdict.cause) == (Answer.alarm, next(iter(BROKEN[broken])))


@pytest.mark.parametrize("rows", [0, 1])
def test_hours_of_hardly_a_row_are_no_error_and_no_alarm(clone: Project, rows: int) -> None:
    assert said(clone, START + 3 * HOUR, answered(START, 1).head(rows)).answer is not Answer.alarm
