"""What a scan says about a window: one verdict each on freshness, contract and inputs, and never an exception."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from configs.case import Case
from configs.monitoring import MonitoringParams
from tasks.monitoring.grid import Grid
from tasks.monitoring.hours import Sample, count_hours, plain_rows, together
from tasks.monitoring.inputs import TOGETHER, Side
from tasks.monitoring.profile import Profile
from tasks.monitoring.window import Window
from tasks.verdicts import Answer, Findings, Monitor, Verdict
from tests.monitoring.conftest import HOUR, NOON, FrameAnswers, batch, birds, logged

Scan = Callable[..., Findings]
DAY = 24 * HOUR


@pytest.fixture
def scan(case: Case, grid: Grid, reference: Profile) -> Scan:
    def scanned(
        columns: dict[str, Any] | None,
        params: dict[str, Any] | None = None,
        earlier: tuple[Verdict, ...] = (),
        before: tuple[int, ...] = (),
        case: Case = case,
        **constant: Any,
    ) -> Findings:
        """The scan of a day with these rows, and so many rows in the days before it, the last first."""
        told = {"window_hours": 24} | (params or {})
        window = Window.of(case, MonitoringParams.model_validate(told), 1, "1", NOON + DAY)
        tables = [] if columns is None else [logged(columns, NOON, 24, **constant)]
        hours = {h.start: h for h in count_hours(FrameAnswers("birds", tuple(tables)), grid, case.problem, 500,
                                                 (window.start, window.end))}  # fmt: skip
        rows = {start: hour.rows for start, hour in hours.items()}
        rows |= {NOON - n * DAY: found for n, found in enumerate(before, start=1)}
        drawn = Sample.together([hour.sample for hour in hours.values()], grid)
        current = Side(together(hours.values(), grid, "1"), drawn.rows.to_pandas())
        against = Side(reference, plain_rows(batch(5000), grid).to_pandas())
        return window.findings(grid, against, current, hours, rows, earlier)

    return scanned


def said(findings: Findings, monitor: Monitor) -> Verdict:
    return next(verdict for verdict in findings.verdicts if verdict.monitor is monitor)


def test_rows_like_the_reference_are_clear(scan: Scan) -> None:
    findings = scan(birds(1000, 2))
    assert [verdict.answer for verdict in findings.verdicts] == [Answer.clear] * 3
    assert {verdict.monitor for verdict in findings.verdicts} == {Monitor.freshness, Monitor.contract, Monitor.inputs}
    inputs = said(findings, Monitor.inputs)
    assert (inputs.rows, inputs.error_rate, inputs.version) == (1000, 0.05, "1")


def test_a_shift_alarms_and_names_its_column(scan: Scan) -> None:
    rows = birds(1000, 2)
    verdict = said(scan(rows | {"weight": rows["weight"] + 2}), Monitor.inputs)
    assert verdict.answer is Answer.alarm
    assert verdict.cause == verdict.subjects[0] == "weight"
    assert "`weight` has median 21.9" in verdict.text


def test_the_same_shift_of_a_column_that_is_expected_to_change_is_shown_and_alarms_nobody(scan: Scan) -> None:
    rows = birds(1000, 2)
    changed = rows | {"weight": rows["weight"] + 2, "wing": birds(1000, 3)["wing"]}
    verdict = said(scan(changed, {"reference": {"expected": ["weight"]}}), Monitor.inputs)
    assert verdict.answer is Answer.clear
    assert [entry.subject for entry in verdict.evidence if entry.expected] == ["weight"]
    assert "expected to change, and did: `weight`" in verdict.text


def of_a_monday(rows: int) -> dict[str, Any]:
    minutes = np.random.default_rng(4).integers(0, 1440, rows)
    return birds(rows, 2) | {"seen": pd.Timestamp("2026-03-02") + pd.to_timedelta(minutes, unit="min")}


WEEKLY = {"window_hours": 168}


@pytest.mark.parametrize(
    ("params", "before", "answer"),
    [
        ({}, (1000,) * 8, Answer.clear),  # a day is no week
        (WEEKLY, (), Answer.clear),  # nor is the first day that somebody asked
        (WEEKLY, (1000,) * 8, Answer.alarm),
        ({"reference": {"kind": "same_hours"}}, (1000,) * 8, Answer.alarm),
    ],
)
def test_a_day_is_held_against_no_week(
    scan: Scan, params: dict[str, Any], before: tuple[int, ...], answer: Answer
) -> None:
    verdict = said(scan(of_a_monday(1000), params, before=before), Monitor.inputs)
    assert verdict.answer is answer, verdict.text
    assert any(one.subject == "seen" and one.expected is (answer is Answer.clear) for one in verdict.evidence)


def test_a_column_of_time_without_values_alarms_in_the_first_week_too(scan: Scan) -> None:
    rows = of_a_monday(1000)
    rows["seen"] = pd.Series(rows["seen"]).where(np.arange(1000) % 10 > 0)
    verdict = said(scan(rows), Monitor.inputs)
    assert "seen" in verdict.subjects


def test_dust_in_many_rows_is_no_alarm_and_more_than_dust_is(scan: Scan) -> None:
    rows = birds(40_000, 2)
    for shift, answer in ((0.1, Answer.clear), (0.6, Answer.alarm)):
        params = {"inputs": {"least_effect": 0.03}}
        assert said(scan(rows | {"weight": rows["weight"] + shift}, params), Monitor.inputs).answer is answer


def test_two_few_rows_wait_and_say_how_many_more(scan: Scan) -> None:
    verdict = said(scan(birds(60, 2)), Monitor.inputs)
    assert verdict.answer is Answer.waiting
    assert "60 rows in the window: at least 100 are needed, 40 more" in verdict.text


def test_an_alarm_waits_for_k_of_n_scans(scan: Scan) -> None:
    rows = birds(1000, 2)
    shifted, params = rows | {"weight": rows["weight"] + 2}, {"inputs": {"persistence": [2, 3]}}
    first = said(scan(shifted, params), Monitor.inputs)
    assert first.answer is Answer.clear
    assert "found in 1 of the last 3 scans, 2 make an alarm" in first.text
    before = first.model_copy(update={"end": first.end - DAY, "as_of": first.as_of - DAY})
    quiet = before.model_copy(update={"evidence": ()})
    assert said(scan(shifted, params, (quiet, before)), Monitor.inputs).answer is Answer.alarm
    assert said(scan(shifted, params, (quiet, quiet, before)), Monitor.inputs).answer is Answer.clear
    assert said(scan(shifted, params, (first,)), Monitor.inputs).answer is Answer.clear, "itself, scanned again"


def test_an_empty_window_is_said_to_be_empty(scan: Scan) -> None:
    findings = scan(None, before=(900, 1000, 1100))
    assert said(findings, Monitor.freshness).answer is Answer.alarm
    assert said(findings, Monitor.contract).text == "the window has no rows: at least 1 is needed"
    assert said(findings, Monitor.inputs).answer is Answer.waiting


def test_a_case_that_nobody_asked_yet_waits(scan: Scan) -> None:
    verdict = said(scan(None), Monitor.freshness)
    assert (verdict.answer, "nothing was answered yet" in verdict.text) == (Answer.waiting, True)


def test_one_row_is_no_reason_to_fail(scan: Scan) -> None:
    findings = scan(birds(1, 2))
    assert said(findings, Monitor.contract).answer is Answer.clear
    assert said(findings, Monitor.inputs).answer is Answer.waiting


GONE = {"weight": None, "wing": None, "species": None, "ringed": None, "seen": None}


@pytest.mark.parametrize("name", GONE)
def test_a_column_that_vanished_is_named(scan: Scan, name: str) -> None:
    verdict = said(scan(birds(500, 2) | {name: None}), Monitor.contract)
    assert (verdict.answer, verdict.cause) == (Answer.alarm, name)
    assert f"`{name}`: none of the 500 rows has the column: it vanished" in verdict.text


EMPTY = {"weight": pa.float64(), "wing": pa.float64(), "species": pa.string(), "ringed": pa.bool_(),
         "seen": pa.timestamp("us")}  # fmt: skip


@pytest.mark.parametrize("name", EMPTY)
def test_a_column_without_values_is_named(scan: Scan, name: str) -> None:
    findings = scan(birds(500, 2) | {name: pa.nulls(500, EMPTY[name])})
    contract, inputs = said(findings, Monitor.contract), said(findings, Monitor.inputs)
    assert (contract.answer, contract.cause) == (Answer.alarm, name)
    assert "all 500 values are missing" in contract.text
    assert (inputs.answer, inputs.subjects[0]) == (Answer.alarm, name)


@pytest.mark.parametrize(
    ("name", "value"), [("weight", 20.0), ("species", "wren"), ("ringed", True), ("wing", 1e6), ("species", "owl")]
)
def test_a_column_of_one_value_is_named(scan: Scan, name: str, value: Any) -> None:
    kind = object if isinstance(value, str) else type(value)
    verdict = said(scan(birds(500, 2) | {name: np.full(500, value, dtype=kind)}), Monitor.contract)
    assert (verdict.answer, verdict.cause) == (Answer.alarm, name)
    assert any("all 500 values are" in entry.text for entry in verdict.evidence)


def test_one_value_in_a_column_that_is_expected_to_change_is_shown_and_alarms_nobody(scan: Scan) -> None:
    wrens = birds(500, 2) | {"species": np.full(500, "wren", dtype=object)}
    verdict = said(scan(wrens, {"reference": {"expected": ["species"]}}), Monitor.contract)
    assert verdict.answer is Answer.clear
    assert [entry.subject for entry in verdict.evidence if entry.expected] == ["species"]


@pytest.mark.parametrize(
    ("name", "values"), [("weight", "twenty"), ("species", 7), ("ringed", 1.0), ("seen", "yesterday"), ("wing", False)]
)
def test_a_column_of_another_type_is_named(scan: Scan, name: str, values: Any) -> None:
    verdict = said(scan(birds(500, 2) | {name: pa.array([values] * 500)}), Monitor.contract)
    assert (verdict.answer, verdict.cause) == (Answer.alarm, name)
    assert "it was retyped" in verdict.text


def test_infinities_are_named(scan: Scan) -> None:
    rows = birds(500, 2)
    rows["wing"][:3] = np.inf
    verdict = said(scan(rows), Monitor.contract)
    assert "`wing`: 3 of 500 rows (0.6 %) are infinite" in verdict.text


def test_values_outside_the_contract_are_named_from_a_share_on(scan: Scan) -> None:
    rows = birds(5000, 2)
    rows["weight"][:2] = 500.0
    few = said(scan(rows), Monitor.contract)
    assert (few.answer, few.evidence[0].alarm) == (Answer.clear, False)
    rows["weight"][:40] = 500.0
    many = said(scan(rows), Monitor.contract)
    assert many.answer is Answer.alarm
    assert "40 of 5,000 rows (0.8 %) are outside 0.0 to 100.0" in many.text


def test_more_missing_values_than_the_contract_allows_are_named_and_as_many_are_not(scan: Scan) -> None:
    for share, answer in ((0.1, Answer.clear), (0.2, Answer.alarm)):
        rows = birds(1000, 2)
        rows["weight"] = np.where(np.arange(1000) < 1000 * share, np.nan, rows["weight"])
        assert said(scan(rows), Monitor.contract).answer is answer


def test_a_category_never_seen_is_named(scan: Scan) -> None:
    rows = birds(1000, 2)
    rows["species"][:80] = "owl"
    findings = scan(rows)
    assert "of a category the contract does not list (for example `owl`)" in said(findings, Monitor.contract).text
    assert said(findings, Monitor.inputs).cause == "species"


def test_a_correlation_that_changed_alone_is_found(scan: Scan) -> None:
    rows = birds(1000, 2)
    verdict = said(scan(rows | {"wing": np.random.default_rng(1).permutation(rows["wing"])}), Monitor.inputs)
    assert (verdict.answer, verdict.cause) == (Answer.alarm, "weight & wing")
    assert TOGETHER in verdict.subjects


def test_rows_of_another_contract_are_not_taken_for_clear(scan: Scan) -> None:
    findings = scan(birds(500, 2), contract_version=2)
    for monitor in (Monitor.contract, Monitor.inputs):
        assert said(findings, monitor).answer is Answer.unknown
        assert "all 500 rows are of another version of the contract than 1" in said(findings, monitor).text


def test_what_stood_in_for_the_champion_counts_as_asked(scan: Scan) -> None:
    findings = scan(birds(500, 2), role="fallback", fallback="error")
    assert said(findings, Monitor.inputs).rows == 500


def test_a_challenger_and_a_shadow_are_not_counted(scan: Scan) -> None:
    for role in ("challenger", "shadow"):
        assert said(scan(birds(500, 2), role=role), Monitor.contract).answer is Answer.waiting


def test_what_a_challenger_answered_has_come_and_what_a_shadow_scored_has_not(scan: Scan) -> None:
    before = (490, 500, 510)
    by_challenger = said(scan(birds(500, 2), before=before, role="challenger"), Monitor.freshness)
    by_shadow = said(scan(birds(500, 2), before=before, role="shadow"), Monitor.freshness)
    assert (by_challenger.answer, by_challenger.rows) == (Answer.clear, 500)
    assert (by_shadow.answer, by_shadow.rows) == (Answer.alarm, 0)


def test_what_the_log_hashes_is_not_looked_at_and_told(scan: Scan, case: Case) -> None:
    private = case.model_copy(
        update={"serving": case.serving.model_copy(
            update={"log": case.serving.log.model_copy(update={"hashed": ("species",)})})}
    )  # fmt: skip
    rows = birds(500, 2) | {"species": np.array([f"hash {n}" for n in range(500)], dtype=object)}
    findings = scan(rows, case=private)
    assert said(findings, Monitor.inputs).answer is Answer.clear
    assert "not looked at, being hashed or dropped: species" in said(findings, Monitor.contract).text


@pytest.mark.parametrize(("rows", "answer"), [(1000, Answer.clear), (520, Answer.clear), (480, Answer.alarm)])
def test_half_of_the_usual_rows_is_the_boundary(scan: Scan, rows: int, answer: Answer) -> None:
    verdict = said(scan(birds(rows, 2), before=(900, 1000, 1100)), Monitor.freshness)
    assert verdict.answer is answer


@pytest.mark.parametrize(("hours", "answer"), [(5, Answer.clear), (7, Answer.alarm)])
def test_silence_for_longer_than_agreed_is_an_alarm(case: Case, hours: int, answer: Answer) -> None:
    params = MonitoringParams.model_validate({"window_hours": 24, "stale_hours": 6})
    window = Window.of(case, params, 1, None, NOON + DAY)
    rows = {NOON + DAY - timedelta(hours=hours + 1): 100}
    findings = window.without_reference(rows, Answer.waiting, "the case has no champion yet")
    assert said(findings, Monitor.freshness).answer is answer
    assert said(findings, Monitor.inputs).text == "the case has no champion yet"


def test_figures_tell_the_rows_and_the_difference_of_each_column(scan: Scan) -> None:
    figures = scan(birds(1000, 2)).figures
    assert [figure.value for figure in figures if figure.kind == "volume"] == [1000]
    gaps = {figure.slice: figure.value for figure in figures if figure.kind == "drift"}
    assert {"weight", "wing", "species", "ringed", "seen", TOGETHER} <= set(gaps)
    keys = [(figure.kind, figure.metric, figure.slice) for figure in figures]
    assert len(keys) == len(set(keys))
