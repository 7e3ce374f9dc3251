"""Cases, and rows for them: good ones drawn from a contract, and the many ways in which a client spoils one."""

from pathlib import Path
from random import Random
from typing import Any

from configs.case import Case, Column, ColumnType
from configs.read import read_case
from serving.records import Answer, Outcome, Part, Role

ROOT = Path(__file__).parents[3]
FLIGHTS = read_case(ROOT, "flights")
BIKES = read_case(ROOT, "bikes")

Row = dict[str, Any]

FLIGHT: Row = {
    "flight_id": "UA-1545-EWR-IAH-20130101T0515",
    "event_time": "2013-01-01T10:15:00Z",
    "scheduled_departure": "2013-01-01T05:15:00",
    "scheduled_arrival_minute": 499,
    "carrier": "UA",
    "origin": "EWR",
    "destination": "IAH",
    "distance": 1400,
    "plane_year": 1999.0,
    "plane_manufacturer": "BOEING",
    "plane_seats": 149.0,
    "plane_engine": "Turbo-fan",
    "temperature": 39.02,
    "dew_point": 28.04,
    "humidity": 64.43,
    "wind_direction": 260.0,
    "wind_speed": 12.65858,
    "wind_gust": None,
    "precipitation": 0.0,
    "pressure": 1011.9,
    "visibility": 10.0,
}

EVERYTHING = Case.model_validate({
    "name": "everything",
    "question": "Is there a rule for each type of column?",
    "problem": "binary",
    "label_delay_hours": 1,
    "batch_every": "day",
    "source": {"kind": "file", "url": "rows.csv", "format": "csv"},
    "contract": {
        "version": 1,
        "columns": {
            "id": {"type": "string", "role": "entity"},
            "at": {"type": "timestamp", "role": "event_time"},
            "closed": {"type": "string", "role": "feature", "categories": ["a", "b", "c"]},
            "half_open": {"type": "string", "role": "feature", "categories": ["a", "b"], "unseen": 0.1},
            "closed_gaps": {"type": "string", "role": "feature", "categories": ["a"], "may_be_missing": 0.1},
            "open": {"type": "string", "role": "feature"},
            "whole": {"type": "integer", "role": "feature"},
            "whole_gaps": {"type": "integer", "role": "feature", "range": [-5, None], "may_be_missing": 0.5},
            "number": {"type": "number", "role": "feature"},
            "number_gaps": {
                "type": "number", "role": "feature", "range": [None, 10], "may_be_missing": 0.5, "unit": "litres",
            },
            "truth": {"type": "boolean", "role": "feature"},
            "truth_gaps": {"type": "boolean", "role": "feature", "may_be_missing": 0.5},
            "moment": {"type": "timestamp", "role": "feature"},
            "moment_gaps": {"type": "timestamp", "role": "feature", "may_be_missing": 0.5},
            "note": {"type": "string", "role": "info", "may_be_missing": 1.0},
            "outcome": {"type": "boolean", "role": "target"},
        },
    },
})  # fmt: skip
"""A contract with each type of column, with and without gaps."""

TOYS = Case.model_validate({
    **EVERYTHING.model_dump(),
    "name": "toys",
    "problem": "multiclass",
    "contract": {
        "version": 1,
        "columns": {
            "id": {"type": "string", "role": "entity"},
            "at": {"type": "timestamp", "role": "event_time"},
            "weight": {"type": "number", "role": "feature"},
            "colour": {"type": "string", "role": "feature"},
            "kind": {"type": "string", "role": "target"},
        },
    },
})  # fmt: skip
"""Three kinds of toys, told apart by weight and colour."""

SPOILED: tuple[Any, ...] = (
    None, "", "x", "5", "true", "2013-07-22", "2013-02-30T00:00:00", "9999-12-31T23:59:59-01:00", "é" * 50, True, False,
    0, 1, -6, 7, 11, 5.0, 5.5, -0.0, 1e300, -1e300, 2**53, 2**53 + 1, -(2**53) - 1, 2**63, [], [1], {}, {"a": 1},
)  # fmt: skip
"""What clients put where something else belongs; some of it is right in some columns."""


def good_value(random: Random, column: Column) -> Any:
    """A value that keeps the promise of a column."""
    if column.may_be_missing and random.random() < 0.3:
        return None
    low, high = column.range or (None, None)
    low, high = -1000 if low is None else low, 1000 if high is None else high
    match column.type:
        case ColumnType.string:
            return random.choice(column.categories or ("one", "two", "drei", "четыре"))
        case ColumnType.integer:
            return random.choice((int, float))(random.randint(int(low), int(high)))
        case ColumnType.number:
            return random.choice((random.uniform(low, high), random.randint(int(low), int(high))))
        case ColumnType.boolean:
            return random.random() < 0.5
        case ColumnType.timestamp:
            offset = random.choice(("", "Z", "+05:30", "-08:00"))
            return f"20{random.randint(10, 30)}-0{random.randint(1, 9)}-1{random.randint(0, 9)}T05:15:00{offset}"


def good_row(random: Random, case: Case) -> Row:
    """A row that keeps the contract; what is missing is null or left out."""
    contract = case.contract
    row = {name: good_value(random, contract.columns[name]) for name in contract.features}
    row = {name: value for name, value in row.items() if value is not None or random.random() < 0.5}
    if random.random() < 0.8:
        row[contract.entity] = random.choice((f"id-{random.randint(1, 99)}", random.randint(1, 99)))
    if random.random() < 0.8:
        row[contract.event_time] = good_value(random, contract.columns[contract.event_time])
    return row


def spoiled_row(random: Random, case: Case) -> Row:
    """A row in which some values are what clients send by mistake."""
    row = good_row(random, case)
    for name in random.sample([*case.contract.columns, "who"], random.randint(1, 3)):
        row[name] = random.choice(SPOILED)
    if random.random() < 0.3:
        del row[random.choice(list(row))]
    return row


MAX_ROWS = 50


def one_part(scores: Any, classes: tuple[Any, ...] = (0, 1), **changes: Any) -> Outcome:
    """What the champion of version 3 answered, unless changed."""
    part = Part(None, "3", Role.champion, scores, classes)
    for name, value in changes.items():
        setattr(part, name, value)
    return Outcome(Answer("req-1", [part]), len(scores))


def mixed_parts() -> Outcome:
    """Three rows: the champion answered the second, the challenger the others, one of which the prior stood in for."""
    parts = [
        Part([1], "3", Role.champion, [0.75], (0, 1)),
        Part([0], "4", Role.challenger, [0.25], (0, 1)),
        Part([2], None, Role.fallback, [0.5], (0, 1), "timeout"),
    ]
    return Outcome(Answer("req-1", parts), 3)
