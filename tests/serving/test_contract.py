"""Requests become rows that keep the contract, or are refused by row and field."""

import math
from datetime import datetime
from random import Random
from typing import Any

import numpy as np
import pytest

from configs.case import Case
from serving.contract import AT_MOST, Checker
from serving.errors import BadRequest, ContractBroken
from serving.records import Asked, RowProblem, Rows
from tests.serving.protocols.samples import BIKES, EVERYTHING, FLIGHT, FLIGHTS, Row, good_row, spoiled_row

CHECKERS = {case.name: Checker(case) for case in (FLIGHTS, BIKES, EVERYTHING)}
GOOD = {
    "closed": "a", "half_open": "b", "open": "c", "whole": 1, "number": 1.5, "truth": True, "moment": "2013-07-22",
}  # fmt: skip


def checked(case: Case, *rows: Row, partial: bool = False) -> Rows:
    return CHECKERS[case.name].check(Asked(records=list(rows), count=len(rows), partial=partial))[0]


def value_of(name: str, value: Any) -> Any:
    """What the checker makes of `value` in a column of EVERYTHING."""
    rows = checked(EVERYTHING, {**GOOD, name: value})
    return rows.columns[EVERYTHING.contract.features.index(name)][0]


def problem_with(name: str, value: Any) -> str:
    """Why the checker refuses `value` in a column of EVERYTHING."""
    with pytest.raises(ContractBroken) as refused:
        checked(EVERYTHING, {**GOOD, name: value})
    assert [(problem.row, problem.field) for problem in refused.value.problems] == [(0, name)]
    return refused.value.problems[0].message


def test_a_row_of_the_contract_comes_out_in_its_order_and_types() -> None:
    rows = checked(FLIGHTS, FLIGHT)
    found = dict(zip(FLIGHTS.contract.features, (column[0] for column in rows.columns), strict=True))
    assert found == {
        **{name: FLIGHT[name] for name in FLIGHTS.contract.features},
        "scheduled_departure": datetime(2013, 1, 1, 5, 15),  # noqa: DTZ001 - a wall clock
    }
    assert type(found["distance"]) is int
    assert rows.entities == ["UA-1545-EWR-IAH-20130101T0515"]
    assert rows.event_times == ["2013-01-01T10:15:00+00:00"]


def test_columns_that_are_no_features_are_taken_and_dropped() -> None:
    extra = {"flight_number": "anything", "arrival_delay": None, "departure_delay": [1]}
    assert checked(FLIGHTS, {**FLIGHT, **extra}) == checked(FLIGHTS, FLIGHT)


def test_a_number_in_a_column_of_text_is_refused_as_the_pipeline_would() -> None:
    assert problem_with("open", 5) == "`open` is 5, expected text"


def test_text_in_a_column_of_numbers_is_refused_even_if_it_reads_like_one() -> None:
    assert problem_with("number", "5") == "`number` is '5', expected a number"


@pytest.mark.parametrize("name", ["whole", "number"])
def test_a_truth_value_is_no_number(name: str) -> None:
    assert "is true, expected a" in problem_with(name, True)


def test_a_whole_number_may_be_written_as_a_float() -> None:
    assert value_of("whole", 5.0) == 5
    assert type(value_of("whole", 5.0)) is int
    assert problem_with("whole", 5.5) == "`whole` is 5.5, expected a whole number"


def test_a_number_may_be_written_without_a_point() -> None:
    assert type(value_of("number", 5)) is float


@pytest.mark.parametrize("sign", [1, -1])
def test_a_whole_number_that_a_float_cannot_hold_is_refused(sign: int) -> None:
    assert value_of("whole", sign * 2**53) == sign * 2**53
    assert "expected a whole number" in problem_with("whole", sign * (2**53 + 1))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_is_refused_by_name(value: float) -> None:
    assert problem_with("number", value) == f"`number` is {value}, expected a number"
    assert problem_with("whole", value) == f"`whole` is {value}, expected a whole number"


def test_a_range_includes_its_ends_and_nothing_beyond() -> None:
    assert value_of("whole_gaps", -5) == -5
    assert problem_with("whole_gaps", -6) == "`whole_gaps` is -6, expected a whole number of at least -5, or null"
    assert value_of("number_gaps", 10) == 10.0
    expected = "`number_gaps` is 10.5, expected a number of at most 10 (litres), or null"
    assert problem_with("number_gaps", 10.5) == expected


def test_a_message_says_the_unit() -> None:
    with pytest.raises(ContractBroken, match=r"`distance` is 9, expected a whole number from 10 to 6000 \(miles\)"):
        checked(FLIGHTS, {**FLIGHT, "distance": 9})


def test_only_true_and_false_are_truth_values() -> None:
    assert value_of("truth", False) is False
    assert problem_with("truth", 1) == "`truth` is 1, expected true or false"


@pytest.mark.parametrize("text", ["2013-07-22T05:15:00", "2013-07-22T05:15:00Z", "2013-07-22T05:15:00-04:00"])
def test_a_time_is_what_its_clock_shows(text: str) -> None:
    assert value_of("moment", text) == datetime(2013, 7, 22, 5, 15)  # noqa: DTZ001 - that is the rule


@pytest.mark.parametrize("value", ["tomorrow", "2013-02-30", 1374470100, ""])
def test_what_is_no_time_is_refused(value: Any) -> None:
    assert "expected a time in ISO 8601, such as 2013-07-22T05:00:00" in problem_with("moment", value)


def test_a_value_may_be_missing_only_where_the_contract_says_so() -> None:
    assert value_of("number_gaps", None) is None
    assert problem_with("number", None) == "`number` is missing, expected a number"
    left_out = {name: value for name, value in GOOD.items() if name != "number"}
    with pytest.raises(ContractBroken, match=r"row 0: `number` is missing, expected a number$"):
        checked(EVERYTHING, left_out)


def test_an_unlisted_category_is_refused_only_where_none_may_be_unseen() -> None:
    assert problem_with("closed", "z") == "`closed` is 'z', expected one of a, b, c"
    assert value_of("half_open", "z") == "z"


def test_an_unknown_column_is_refused_with_its_nearest_name() -> None:
    with pytest.raises(ContractBroken, match=r"'distanse' is no column of flights, did you mean `distance`\?"):
        checked(FLIGHTS, {**FLIGHT, "distanse": 5})
    with pytest.raises(ContractBroken, match="'xyzzy' is no column of flights, expected some of flight_id, event_time"):
        checked(FLIGHTS, {**FLIGHT, "xyzzy": 5})


def test_an_entity_may_be_a_whole_number_and_may_be_missing() -> None:
    assert checked(EVERYTHING, {**GOOD, "id": 7}).entities == ["7"]
    assert checked(EVERYTHING, {**GOOD, "id": 7.0}).entities == ["7"]
    assert checked(EVERYTHING, {**GOOD, "id": 2**63 - 1}).entities == ["9223372036854775807"]
    assert checked(EVERYTHING, GOOD).entities == [None]
    for value in ("", 7.5, 1e30, 2**63, True, ["7"]):
        assert "expected text or a whole number, or null" in problem_with("id", value)


def test_an_event_time_without_offset_is_utc_and_all_become_utc() -> None:
    times = {
        "2013-07-22T05:15:00": "05:15:00",
        "2013-07-22T05:15:00-04:00": "09:15:00",
        "2013-07-22T05:15Z": "05:15:00",
    }
    for text, clock in times.items():
        assert checked(EVERYTHING, {**GOOD, "at": text}).event_times == [f"2013-07-22T{clock}+00:00"]
    assert "expected a time" in problem_with("at", "0001-01-01T00:00:00+05:00")


def test_a_value_is_shown_short_whatever_it_is() -> None:
    assert problem_with("number", "x" * 10_000).startswith(f"`number` is '{'x' * 40}'… (10000 characters), expected")
    assert problem_with("number", [[1] * 10_000]).startswith("`number` is a list, expected")
    assert problem_with("number", {"a": 1}).startswith("`number` is an object, expected")


def test_every_problem_of_every_row_is_told_in_order() -> None:
    with pytest.raises(ContractBroken) as refused:
        checked(EVERYTHING, {**GOOD, "truth": 1, "closed": "z"}, GOOD, {**GOOD, "who": 1, "whole": "x"})
    assert [(problem.row, problem.field) for problem in refused.value.problems] == [
        (0, "closed"), (0, "truth"), (2, "whole"), (2, "who"),
    ]  # fmt: skip


def test_no_more_problems_are_told_than_anyone_reads() -> None:
    with pytest.raises(ContractBroken) as refused:
        checked(EVERYTHING, *[{**GOOD, "truth": 1, "whole": "x"}] * 400)
    assert len(refused.value.problems) == AT_MOST
    assert refused.value.problems[-1] == RowProblem(49, "truth", "`truth` is 1, expected true or false", "type")
    assert str(refused.value).endswith("and 95 more")


def test_partial_gives_the_good_rows_with_their_places_and_the_problems_of_the_others() -> None:
    asked = Asked(records=[GOOD, {**GOOD, "truth": 1}, {**GOOD, "whole": 8}], count=3, partial=True)
    rows, positions, problems = CHECKERS["everything"].check(asked)
    assert rows == checked(EVERYTHING, GOOD, {**GOOD, "whole": 8})
    assert positions == [0, 2]
    assert problems == [RowProblem(1, "truth", "`truth` is 1, expected true or false", "type")]


def test_partial_tells_at_least_one_problem_of_each_refused_row() -> None:
    asked = Asked(records=[GOOD, *[{**GOOD, "truth": 1, "whole": "x"}] * 400], count=401, partial=True)
    _, positions, problems = CHECKERS["everything"].check(asked)
    assert positions == [0]
    assert {problem.row for problem in problems} == set(range(1, 401))


def test_partial_refuses_where_no_row_is_left() -> None:
    with pytest.raises(ContractBroken, match="`truth` is 1"):
        checked(EVERYTHING, {**GOOD, "truth": 1}, partial=True)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Asked(records=[], count=0), "There is no row to predict"),
        (Asked(columns={}, count=0), "There is no row to predict"),
        (Asked(records=[GOOD, 5], count=2), "Row 1 is 5, expected an object"),  # type: ignore[list-item]
        (Asked(columns={"whole": [1], "truth": [True, False]}, count=2), "Column 'whole' has 1 values, expected 2"),
    ],
)
def test_what_are_no_rows_is_refused(asked: Asked, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        CHECKERS["everything"].check(asked)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nan_in_an_array_is_a_missing_value(dtype: str) -> None:
    gaps = np.array([1, np.nan, -5], dtype)
    columns = {name: [value] * 3 for name, value in GOOD.items()} | {"whole_gaps": gaps, "number_gaps": gaps}
    rows, _, _ = CHECKERS["everything"].check(Asked(columns=columns, count=3))
    found = dict(zip(EVERYTHING.contract.features, rows.columns, strict=True))
    assert found["whole_gaps"] == [1, None, -5]
    assert found["number_gaps"] == [1.0, None, -5.0]
    with pytest.raises(ContractBroken, match="row 1: `number` is missing"):
        CHECKERS["everything"].check(Asked(columns={**columns, "number": gaps}, count=3))


def test_an_infinity_in_an_array_is_refused_by_row_and_name() -> None:
    columns: dict[str, Any] = {name: [value] * 2 for name, value in GOOD.items()}
    with pytest.raises(ContractBroken, match="row 1: `number` is inf, expected a number"):
        CHECKERS["everything"].check(Asked(columns={**columns, "number": np.array([1, np.inf])}, count=2))


def test_ones_and_zeros_of_an_array_are_truth_values() -> None:
    columns: dict[str, Any] = {name: [value] * 2 for name, value in GOOD.items()}
    index = EVERYTHING.contract.features.index("truth")
    for values in (np.array([1, 0], np.int8), np.array([1.0, 0.0]), np.array([True, False])):
        rows, _, _ = CHECKERS["everything"].check(Asked(columns={**columns, "truth": values}, count=2))
        assert rows.columns[index] == [True, False]
    with pytest.raises(ContractBroken, match="row 0: `truth` is 2, expected true or false"):
        CHECKERS["everything"].check(Asked(columns={**columns, "truth": np.array([2, 0])}, count=2))


def outcome(checker: Checker, asked: Asked) -> object:
    """Everything the checker says, with the type of each value."""
    try:
        rows, positions, problems = checker.check(asked)
    except ContractBroken as error:
        return error.problems
    return repr(rows), positions, problems


def by_columns(rows: list[Row], known: frozenset[str]) -> dict[str, list[Any]]:
    names = sorted({name for row in rows for name in row}, key=lambda name: (name not in known, name))
    return {name: [row.get(name) for row in rows] for name in names}


@pytest.mark.parametrize("case", [FLIGHTS, BIKES, EVERYTHING], ids=lambda case: case.name)
def test_one_row_is_checked_as_it_would_be_among_many(case: Case) -> None:
    random, checker = Random(3), CHECKERS[case.name]
    for nth in range(3000):
        row = (good_row if nth % 2 else spoiled_row)(random, case)
        alone = outcome(checker, Asked(records=[row], count=1))
        rows, positions, problems = checker.check(Asked(records=[row, good_row(random, case)], count=2, partial=True))
        among = (repr(rows.take([0])), None, []) if positions is None else problems
        assert alone == among, row


@pytest.mark.parametrize("case", [FLIGHTS, BIKES, EVERYTHING], ids=lambda case: case.name)
@pytest.mark.parametrize("partial", [False, True])
def test_rows_are_checked_alike_as_records_and_as_columns(case: Case, partial: bool) -> None:
    random, checker = Random(5), CHECKERS[case.name]
    known = frozenset(case.contract.columns)
    for _ in range(300):
        rows = [(good_row if random.random() < 0.9 else spoiled_row)(random, case) for _ in range(20)]
        for row in rows:
            row.pop("who", None)  # as a column, it would be in every row
        records = outcome(checker, Asked(records=rows, count=20, partial=partial))
        columns = outcome(checker, Asked(columns=by_columns(rows, known), count=20, partial=partial))
        assert records == columns, rows


ODD = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, 1.5, -5.0, -6.0, 10.0, 10.5, 2.0**53, 2.0**53 + 2)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int8", "uint64", "bool"])
def test_arrays_are_checked_as_the_lists_they_stand_for(dtype: str) -> None:
    random, checker = Random(7), CHECKERS["everything"]
    wholes = (0, 1, 2, 5, 10, 11, 100) + ((2**53, 2**53 + 1, 2**63 - 1) if dtype in ("int64", "uint64") else ())
    pool = {"f": ODD, "b": (True, False)}.get(np.dtype(dtype).kind, wholes)
    for _ in range(400):
        columns: dict[str, Any] = {name: [value] * 4 for name, value in GOOD.items()}
        name = random.choice(("whole", "whole_gaps", "number", "number_gaps", "truth", "truth_gaps", "open", "id"))
        array = np.array([random.choice(pool) for _ in range(4)], dtype)
        listed = [None if isinstance(value, float) and math.isnan(value) else value for value in array.tolist()]
        if name.startswith("truth"):
            listed = [{0: False, 1: True}.get(value, value) for value in listed]
        found = outcome(checker, Asked(columns={**columns, name: array}, count=4))
        assert found == outcome(checker, Asked(columns={**columns, name: listed}, count=4)), (name, array)


def test_a_contract_of_one_feature_is_checked_too() -> None:
    columns = {"x": {"type": "number", "role": "feature"}, "id": {"type": "string", "role": "entity"}} | {
        name: EVERYTHING.contract.model_dump()["columns"][name] for name in ("at", "outcome")
    }
    case = EVERYTHING.model_dump() | {"contract": {"version": 1, "columns": columns}}
    rows, _, _ = Checker(Case.model_validate(case)).check(Asked(records=[{"x": 1}, {"x": 2}], count=2))
    assert rows.columns == [[1.0, 2.0]]


@pytest.mark.parametrize("case", [FLIGHTS, BIKES, EVERYTHING], ids=lambda case: case.name)
def test_numbers_are_the_columns_as_a_model_takes_them(case: Case) -> None:
    random = Random(11)
    rows = checked(case, *[good_row(random, case) for _ in range(200)])
    assert rows.numbers
    for place, numbers in rows.numbers.items():
        assert numbers.tobytes() == np.array(rows.columns[place], np.float64).tobytes()


@pytest.mark.parametrize("value", [2**53, 2**53 + 1, 10**30, 10**400])
def test_a_whole_number_that_is_rounded_keeps_the_promise_among_many_as_it_does_alone(value: int) -> None:
    row = {**GOOD, "number_gaps": value, "whole_gaps": None}
    alone = outcome(CHECKERS["everything"], Asked(records=[row], count=1))
    among = outcome(CHECKERS["everything"], Asked(records=[row, GOOD], count=2))
    if isinstance(alone, tuple):
        rows, _, _ = CHECKERS["everything"].check(Asked(records=[row, GOOD], count=2))
        assert alone == (repr(rows.take([0])), None, [])
    else:
        assert alone == among
