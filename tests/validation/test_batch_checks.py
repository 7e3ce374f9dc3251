"""What a batch is refused for, with the boundary on both sides; nothing that is delivered makes a check crash."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs.case import Case
from tasks.records import Finding, Severity

from .conftest import CASE

Inspect = Callable[..., tuple[Finding, ...]]


def only(findings: tuple[Finding, ...]) -> Finding:
    assert len(findings) == 1, [(finding.column, finding.check, finding.found) for finding in findings]
    return findings[0]


def with_first(values: pd.Series, count: int, value: object) -> pd.Series:
    """The column with its first `count` values replaced."""
    return values.astype(object).where(np.arange(len(values)) >= count, value)


def numbers(values: pd.Series, count: int, value: float) -> pd.Series:
    return with_first(values, count, value).astype("float64")


def test_a_batch_that_keeps_the_contract_is_accepted(week: pd.DataFrame, inspect: Inspect) -> None:
    findings = inspect(week, typical_rows=200)
    assert [finding for finding in findings if not finding.passed] == []
    assert {finding.column for finding in findings} >= set(week.columns)


def test_a_missing_column_is_refused(week: pd.DataFrame, failed: Inspect) -> None:
    finding = only(failed(week.drop(columns="distance")))
    assert (finding.column, finding.severity, finding.found) == (
        "distance",
        Severity.critical,
        "the column is missing",
    )


def test_a_column_that_nobody_promised_is_refused(week: pd.DataFrame, failed: Inspect) -> None:
    finding = only(failed(week.assign(colour="red")))
    assert (finding.column, finding.severity) == ("colour", Severity.critical)


def test_a_renamed_column_is_refused_with_a_hint_at_both_names(week: pd.DataFrame, failed: Inspect) -> None:
    missing, strange = failed(week.rename(columns={"distance": "distance_miles"}))
    assert (missing.column, strange.column) == ("distance", "distance_miles")
    assert "renamed to `distance_miles`?" in missing.found
    assert "once `distance`?" in strange.found


def test_a_column_delivered_twice_is_refused(week: pd.DataFrame, failed: Inspect) -> None:
    finding = only(failed(pd.concat([week, week[["distance"]]], axis="columns")))
    assert (finding.column, finding.found) == ("distance", "delivered 2 times")


def test_an_empty_batch_is_refused(week: pd.DataFrame, failed: Inspect) -> None:
    findings = failed(week.iloc[:0])
    assert "0 rows" in [finding.found for finding in findings if finding.severity is Severity.critical]


def test_a_frame_without_columns_is_refused(failed: Inspect) -> None:
    assert {finding.column for finding in failed(pd.DataFrame()) if finding.column} == set(CASE["contract"]["columns"])


@pytest.mark.parametrize(("rows", "refused"), [(49, True), (50, False)])
def test_a_batch_must_have_min_rows(rows: int, refused: bool, week: pd.DataFrame, inspect: Inspect) -> None:
    critical = [f for f in inspect(week.iloc[:rows]) if f.severity is Severity.critical and not f.passed]
    assert [f.found for f in critical] == (["49 rows"] if refused else [])


@pytest.mark.parametrize(
    ("typical", "warned"), [(133, True), (134, False), (200, False), (400, False), (401.9, True), (None, False)]
)
def test_an_unusual_number_of_rows_warns(
    typical: float | None, warned: bool, week: pd.DataFrame, failed: Inspect
) -> None:
    findings = failed(week, typical_rows=typical)
    assert [f.severity for f in findings] == ([Severity.warning] if warned else [])


@pytest.mark.parametrize(
    ("column", "values", "found"),
    [
        ("parcel_id", 7, "200 of 200 rows are whole numbers"),
        ("depot", 7, "200 of 200 rows are whole numbers"),
        ("distance", "7", "200 of 200 rows are text"),
        ("distance", 7.0, "200 of 200 rows are numbers with a decimal point"),
        ("distance", True, "200 of 200 rows are true or false"),
        ("pieces", 1.5, "200 of 200 rows are numbers with a decimal point"),
        ("weight", "7.5", "200 of 200 rows are text"),
        ("weight", False, "200 of 200 rows are true or false"),
        ("fragile", 1, "200 of 200 rows are whole numbers"),
        ("fragile", "yes", "200 of 200 rows are text"),
        ("event_time", "2024-02-01", "200 of 200 rows are text"),
        ("handed_in", 1706745600, "200 of 200 rows are whole numbers"),
    ],
)
def test_a_column_of_another_type_is_refused(
    column: str, values: Any, found: str, week: pd.DataFrame, failed: Inspect
) -> None:
    finding = only(failed(week.assign(**{column: values})))
    assert (finding.column, finding.found, finding.rows) == (column, found, 200)
    assert finding.severity is Severity.critical


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        ("distance", "int16"),
        ("distance", "Int64"),
        ("pieces", "float64"),
        ("weight", "Float64"),
        ("minutes_late", "Int64"),
        ("weight", "float32"),
        ("fragile", "boolean"),
        ("depot", "category"),
        ("depot", "object"),
        ("handed_in", "datetime64[ns]"),
    ],
)
def test_the_same_type_in_another_storage_is_accepted(
    column: str, dtype: str, week: pd.DataFrame, failed: Inspect
) -> None:
    assert failed(week.astype({column: dtype})) == ()


def test_whole_numbers_may_be_a_number(week: pd.DataFrame, failed: Inspect) -> None:
    assert failed(week.assign(weight=week["pieces"].to_numpy())) == ()


def test_text_among_numbers_is_refused_by_its_rows(week: pd.DataFrame, failed: Inspect) -> None:
    finding = only(failed(week.assign(weight=with_first(week["weight"], 3, "n/a"))))
    assert (finding.found, finding.examples) == ("3 of 200 rows are text", ("n/a",))


def test_an_integer_with_a_gap_is_judged_by_its_whole_values(week: pd.DataFrame, failed: Inspect) -> None:
    gap = numbers(week["pieces"], 1, np.nan)
    assert failed(week.assign(pieces=gap)) == ()
    assert only(failed(week.assign(pieces=gap.replace(8.0, 8.5)))).check == "values_are_of_type"


def test_a_gap_that_makes_floats_of_integers_is_refused_for_the_gap_alone(week: pd.DataFrame, failed: Inspect) -> None:
    finding = only(failed(week.assign(distance=numbers(week["distance"], 1, np.nan))))
    assert (finding.column, finding.found) == ("distance", "1 of 200 rows missing")


@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_an_event_time_that_is_not_in_utc_is_refused(zone: str | None, week: pd.DataFrame, failed: Inspect) -> None:
    finding = only(failed(week.assign(event_time=week["event_time"].dt.tz_convert(zone))))
    assert finding.column == "event_time"
    assert (zone or "without a time zone") in finding.found


def test_times_in_several_zones_are_refused(week: pd.DataFrame, failed: Inspect) -> None:
    elsewhere = week["event_time"].iloc[0].tz_convert("Asia/Tokyo")
    finding = only(failed(week.assign(event_time=with_first(week["event_time"], 1, elsewhere))))
    assert (finding.column, finding.check) == ("event_time", "values_are_of_type")


def test_a_column_out_of_range_is_refused_with_count_and_examples(week: pd.DataFrame, failed: Inspect) -> None:
    wrong = week["distance"].where(week.index >= 12, 99999).where(week.index != 5, -1)
    finding = only(failed(week.assign(distance=wrong)))
    assert (finding.expected, finding.found, finding.rows) == ("0 to 6000 miles", "12 of 200 rows outside", 12)
    assert finding.examples == ("99999", "-1")


@pytest.mark.parametrize(("value", "refused"), [(-1, True), (0, False), (6000, False), (6001, True)])
def test_both_ends_of_a_range_belong_to_it(value: int, refused: bool, week: pd.DataFrame, failed: Inspect) -> None:
    assert bool(failed(week.assign(distance=week["distance"].where(week.index > 0, value)))) is refused


def test_examples_are_at_most_five(week: pd.DataFrame, failed: Inspect) -> None:
    finding = only(failed(week.assign(distance=week.index + 7000)))
    assert (finding.rows, finding.examples) == (200, ("7000", "7001", "7002", "7003", "7004"))


@pytest.mark.parametrize(("missing", "refused"), [(60, False), (61, True)])
def test_the_missing_share_may_be_what_the_contract_allows(
    missing: int, refused: bool, week: pd.DataFrame, failed: Inspect
) -> None:
    findings = failed(week.assign(weight=numbers(week["weight"], missing, np.nan)))
    assert [f.found for f in findings] == ([f"{missing} of 200 rows missing"] if refused else [])


@pytest.mark.parametrize("column", ["parcel_id", "event_time", "depot", "distance", "pieces", "weight", "minutes_late"])
@pytest.mark.parametrize("dtype", ["float64", "object", "str", "datetime64[us]"])
def test_a_column_without_any_value_is_refused(column: str, dtype: str, week: pd.DataFrame, inspect: Inspect) -> None:
    findings = inspect(week.assign(**{column: pd.Series([None] * len(week), dtype=dtype)}))
    critical = [f for f in findings if not f.passed and f.severity is Severity.critical]
    assert (only(tuple(critical)).column, critical[0].found) == (column, "200 of 200 rows missing")


@pytest.mark.parametrize(("strange", "refused"), [(20, False), (21, True)])
def test_the_share_of_unseen_categories_may_be_what_the_contract_allows(
    strange: int, refused: bool, week: pd.DataFrame, failed: Inspect
) -> None:
    findings = failed(week.assign(depot=week["depot"].where(week.index >= strange, "moon")))
    assert [f.examples for f in findings] == ([("moon",)] if refused else [])


def test_a_repeated_key_is_refused(week: pd.DataFrame, failed: Inspect) -> None:
    finding = only(failed(week.assign(parcel_id=week["parcel_id"].where(week.index > 1, "twice"))))
    assert (finding.column, finding.found, finding.examples) == ("parcel_id", "2 of 200 rows share a key", ("twice",))


def test_a_missing_key_is_refused(week: pd.DataFrame, failed: Inspect) -> None:
    finding = only(failed(week.assign(parcel_id=week["parcel_id"].where(week.index > 1))))
    assert finding.found == "2 of 200 rows missing"


@pytest.mark.parametrize(
    ("moment", "refused"),
    [
        (timedelta(seconds=-1), True),
        (timedelta(0), False),
        (timedelta(days=7, seconds=-1), False),
        (timedelta(days=7), True),
    ],
)
def test_event_times_lie_from_the_start_of_the_batch_up_to_its_end(
    moment: timedelta, refused: bool, week: pd.DataFrame, failed: Inspect
) -> None:
    at = pd.Timestamp("2024-01-29", tz="UTC") + moment
    findings = failed(week.assign(event_time=week["event_time"].where(week.index > 0, at)))
    assert [f.found for f in findings] == (["1 of 200 rows outside the batch"] if refused else [])


def test_a_missing_event_time_is_refused(week: pd.DataFrame, failed: Inspect) -> None:
    assert only(failed(week.assign(event_time=week["event_time"].where(week.index > 0)))).column == "event_time"


@pytest.mark.parametrize("endless", [np.inf, -np.inf])
def test_an_infinite_number_is_refused(endless: float, week: pd.DataFrame, failed: Inspect) -> None:
    finding = only(failed(week.assign(weight=week["weight"].where(week.index > 0, endless))))
    assert (finding.column, finding.found, finding.examples) == ("weight", "1 of 200 rows infinite", (str(endless),))


def test_a_repeated_index_does_not_disturb_the_checks(week: pd.DataFrame, failed: Inspect) -> None:
    assert failed(week.set_axis([0] * len(week), axis="index")) == ()


def test_the_delivered_frame_is_left_as_it_was(week: pd.DataFrame, inspect: Inspect) -> None:
    before = week.copy(deep=True)
    inspect(week)
    pd.testing.assert_frame_equal(week, before)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({0: [1, 2], "x": ["a", None]}),
        pd.DataFrame({"parcel_id": [["a"], ["b"]], "distance": [{"a": 1}, None], "event_time": [b"x", 3]}),
        pd.DataFrame({name: pd.Series([None, None], dtype=object) for name in CASE["contract"]["columns"]}),
    ],
)
def test_whatever_is_delivered_gives_findings_and_no_exception(frame: pd.DataFrame, failed: Inspect) -> None:
    assert any(finding.severity is Severity.critical for finding in failed(frame))


def extended(case: Case, *extra: dict[str, Any]) -> Case:
    return Case.model_validate({**case.model_dump(mode="json"), "expectations": list(extra)})


def test_a_case_adds_checks_with_a_severity_of_its_own(case: Case, week: pd.DataFrame, failed: Inspect) -> None:
    arguments = {"column": "weight", "min_value": 100, "max_value": 200}
    of = extended(case, {"type": "expect_column_mean_to_be_between", "severity": "warning", "arguments": arguments})
    finding = only(failed(week, of))
    assert (finding.severity, finding.column, finding.expected) == (Severity.warning, "weight", "mean 100 to 200")
    assert finding.found == f"{week['weight'].mean():.6g}"


def test_a_check_that_cannot_be_made_is_critical_whatever_it_was(
    case: Case, week: pd.DataFrame, failed: Inspect
) -> None:
    arguments = {"column": "depot", "min_value": 1}
    of = extended(case, {"type": "expect_column_mean_to_be_between", "severity": "info", "arguments": arguments})
    finding = only(failed(week, of))
    assert finding.severity is Severity.critical
    assert finding.found.startswith("the check could not be made: ")


def test_two_checks_that_differ_only_in_severity_keep_their_own(
    case: Case, week: pd.DataFrame, failed: Inspect
) -> None:
    check = {"type": "expect_column_max_to_be_between", "arguments": {"column": "distance", "max_value": 1}}
    findings = failed(week, extended(case, {**check, "severity": "info"}, {**check, "severity": "warning"}))
    assert [f.severity for f in findings] == [Severity.info, Severity.warning]
