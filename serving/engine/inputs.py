"""From the features of a row to the numbers a plan takes, as the first steps of the pipeline make them."""

import math
import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np

from serving.engine.errors import PlanCorrupt
from serving.engine.structure import Calendar, Constant, Input, Number, Text
from serving.records import Rows, Value

Array = np.ndarray[Any, np.dtype[Any]]

Make = Callable[[Rows], Array]

NAN = math.nan

PARTS: dict[str, Callable[[datetime], int]] = {
    "minute_of_day": lambda time: time.hour * 60 + time.minute,
    "hour": attrgetter("hour"),
    "weekday": lambda time: time.weekday(),
    "day_of_month": attrgetter("day"),
    "day_of_year": lambda time: time.timetuple().tm_yday,
    "month": attrgetter("month"),
}


class _Codes(dict[Any, float]):
    """The number of each known text; of any other, the number for unknown ones."""

    def __init__(self, text: Text) -> None:
        missing = _number(text.missing)
        codes: dict[Any, float] = {known: _number(code) for known, code in text.codes.items()}
        super().__init__({**codes, None: missing, NAN: missing})
        self._unknown = _number(text.unknown)

    def __missing__(self, key: object) -> float:
        return self._unknown


def _number(code: float | None) -> float:
    return NAN if code is None else code


class Inputs:
    """Takes `Rows` whose columns are `features`, in their order."""

    def __init__(self, inputs: Sequence[Input], features: Sequence[str]) -> None:
        self._columns = [_column(one, features) for one in inputs]
        self._texts = [(place, _Codes(one)) for place, one in enumerate(inputs) if isinstance(one, Text)]
        self._times = [(place, PARTS[one.part]) for place, one in enumerate(inputs) if isinstance(one, Calendar)]
        self._constants = [(place, one.value) for place, one in enumerate(inputs) if isinstance(one, Constant)]
        self._makers = [_maker(one, column) for one, column in zip(inputs, self._columns, strict=True)]
        self._pack = struct.Struct(f"={len(inputs)}d").pack

    def one(self, columns: list[list[Value]]) -> bytes:
        """The only row, packed."""
        # One list for all and no calls: this is most of what a prediction costs.
        values: list[Any] = [NAN if (value := columns[column][0]) is None else value for column in self._columns]
        for place, codes in self._texts:
            values[place] = codes[values[place]]
        for place, part in self._times:
            time = values[place]
            values[place] = time if time is NAN else part(time)
        for place, value in self._constants:
            values[place] = value
        return self._pack(*values)

    def many(self, rows: Rows, positions: Sequence[int] | None = None) -> Array:
        """All rows, or those at `positions`, by input: shape (inputs, count)."""
        made = rows.made = {} if rows.made is None else rows.made
        where = None if positions is None else np.array(positions, np.intp)
        x = np.empty((len(self._columns), rows.count if where is None else len(where)))
        for place, (key, make) in enumerate(self._makers):
            series = made.get(key)
            if series is None:
                series = made[key] = make(rows)
            x[place] = series if where is None else series[where]
        return x


def _maker(one: Input, column: int) -> tuple[str, Make]:
    """How the values of an input are made, and a name that all plans share which make them so from the same rows."""
    key = f"{column} {one!r}"
    match one:
        case Text():
            codes = _Codes(one)
            return key, lambda rows: np.fromiter(map(codes.__getitem__, rows.columns[column]), np.float64, rows.count)
        case Calendar():
            return key, partial(_parts, PARTS[one.part], column)
        case Constant():
            return key, lambda rows: np.full(rows.count, one.value)
        case Number():
            return key, partial(_numbers, column)


def _numbers(column: int, rows: Rows) -> Array:
    if rows.numbers is not None and column in rows.numbers:
        return rows.numbers[column]
    return np.array(rows.columns[column], dtype=np.float64)


def _parts(part: Callable[[datetime], int], column: int, rows: Rows) -> Array:
    times: list[Any] = rows.columns[column]
    found = map(part, times) if None not in times else (NAN if one is None else part(one) for one in times)
    return np.fromiter(found, np.float64, rows.count)


def _column(one: Input, features: Sequence[str]) -> int:
    if isinstance(one, Constant):
        return 0
    if one.feature not in features:
        raise PlanCorrupt(f"it takes `{one.feature}`, which is no feature of the contract")
    return list(features).index(one.feature)
