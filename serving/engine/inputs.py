"""From the features of a row to the numbers a plan takes, as the first steps of the pipeline make them."""

import math
import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import numpy as np

from serving.engine.errors import PlanCorrupt
from serving.engine.structure import Calendar, Constant, Input, Number, Text
from serving.records import Value

Array = np.ndarray[Any, np.dtype[Any]]

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
    """Takes the columns of `Rows`, in the order of `features`."""

    def __init__(self, inputs: Sequence[Input], features: Sequence[str]) -> None:
        self._columns = [_column(one, features) for one in inputs]
        self._texts = [(place, _Codes(one)) for place, one in enumerate(inputs) if isinstance(one, Text)]
        self._times = [(place, PARTS[one.part]) for place, one in enumerate(inputs) if isinstance(one, Calendar)]
        self._constants = [(place, one.value) for place, one in enumerate(inputs) if isinstance(one, Constant)]
        self._numbers = [place for place, one in enumerate(inputs) if isinstance(one, Number)]
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

    def many(self, columns: list[list[Value]], count: int) -> Array:
        """All rows, by input: shape (inputs, count)."""
        x = np.empty((len(self._columns), count))
        for place in self._numbers:
            x[place] = np.array(columns[self._columns[place]], dtype=np.float64)
        for place, codes in self._texts:
            x[place] = np.fromiter(map(codes.__getitem__, columns[self._columns[place]]), np.float64, count)
        for place, part in self._times:
            times: list[Any] = columns[self._columns[place]]
            found = map(part, times) if None not in times else (NAN if one is None else part(one) for one in times)
            x[place] = np.fromiter(found, np.float64, count)
        for place, value in self._constants:
            x[place] = value
        return x


def _column(one: Input, features: Sequence[str]) -> int:
    if isinstance(one, Constant):
        return 0
    if one.feature not in features:
        raise PlanCorrupt(f"it takes `{one.feature}`, which is no feature of the contract")
    return list(features).index(one.feature)
