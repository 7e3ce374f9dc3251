"""What one column promises, and whether a value keeps it: one by one, or many at once where that proves the same."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple

import numpy as np
import orjson

from configs.case import Column, ColumnType
from serving.records import Reason, Value

Array = np.ndarray[Any, np.dtype[Any]]

WHOLE = 2**53
"""Beyond this a float64, which is what a model is given, no longer holds every whole number."""
ENTITY = 2**63
"""Whole numbers that name an entity fit in 64 bits: a JSON parser makes others inexact."""
_SHOWN = 40
_LISTED = 20
_NONE = type(None)
_TRUTH: dict[Any, bool] = {0: False, 1: True}


class Numbers(NamedTuple):
    """A checked column of numbers, and the same as float64 with NaN for a missing one, as a model takes it."""

    values: list[Value]
    array: Array


class Broken(Exception):
    """A value breaks its column's promise; the message is for a person, the reason for a program."""

    def __init__(self, message: str, reason: Reason) -> None:
        self.reason: Reason = reason
        super().__init__(message)


class Promise(ABC):
    """A column of the contract."""

    __slots__ = ("_expected", "_name", "_optional")
    _takes: ClassVar[tuple[type, ...]]
    """Types of JSON, of which some values keep the promise."""

    def __init__(self, name: str, expected: str, *, optional: bool) -> None:
        self._name = name
        self._expected = expected
        self._optional = optional

    @abstractmethod
    def one(self, value: Any) -> Value:
        """The checked value of one JSON value. Raises Broken."""

    @abstractmethod
    def many(self, values: Sequence[Any]) -> list[Value] | Numbers | None:
        """What `one` gives for each of `values`; None where only `one` can tell."""

    def array(self, _values: Array) -> list[Value] | Numbers | None:
        """What `one` gives for each value `listed`; None where only `one` can tell."""
        return None

    def listed(self, values: Array) -> list[Any]:
        """An array as JSON would have carried it: NaN stands for a missing value."""
        return _with_gaps(values.tolist(), values)

    def _must_be_gap(self, value: Any) -> None:
        if value is None and self._optional:
            return
        expected = f"{self._expected}, or null" if self._optional else self._expected
        reason: Reason = "missing" if value is None else "value" if type(value) in self._takes else "type"
        raise Broken(f"`{self._name}` is {shown(value)}, expected {expected}", reason)


class Text(Promise):
    """Text, one of those listed if a list is all there can be."""

    __slots__ = ("_allowed",)
    _takes = (str,)

    def __init__(self, name: str, column: Column) -> None:
        closed = column.categories is not None and column.unseen == 0
        self._allowed = frozenset(column.categories or ()) if closed else None
        super().__init__(
            name, f"one of {listed(column.categories or ())}" if closed else "text", optional=column.may_be_missing > 0
        )

    def one(self, value: Any) -> Value:
        if type(value) is str and (self._allowed is None or value in self._allowed):
            return value
        self._must_be_gap(value)
        return None

    def many(self, values: Sequence[Any]) -> list[Value] | None:
        if not _only(values, str, optional=self._optional):
            return None
        if self._allowed is not None and not self._allowed.issuperset(set(values) - {None}):
            return None
        return list(values)


class Ranged(Promise):
    """Numbers within a range."""

    __slots__ = ("_high", "_low")
    _high: float
    _low: float

    def _numbers(self, values: Sequence[Any], kinds: set[type]) -> Array | None:
        """As float64, NaN for None, if all are within the range; None where only `one` can tell."""
        if _NONE in kinds and not self._optional:
            return None
        try:
            numbers = np.array(values, np.float64)
        except OverflowError:
            return None
        within = (numbers >= self._low) & (numbers <= self._high)
        # NaN is within no range, so what is not within may be just what is missing.
        if int(within.sum()) + (values.count(None) if _NONE in kinds else 0) != len(values):
            return None
        # A whole number that float64 does not hold may be outside a range that its neighbour is in.
        if int in kinds and numbers.size and not (np.abs(numbers[within]) < WHOLE).all():
            return None
        return numbers


class Number(Ranged):
    """A finite number within a range, as float64."""

    __slots__ = ()
    _takes = (int, float)

    def __init__(self, name: str, column: Column) -> None:
        low, high = column.range or (None, None)
        self._low = -sys.float_info.max if low is None else low
        self._high = sys.float_info.max if high is None else high
        super().__init__(name, _span("a number", column), optional=column.may_be_missing > 0)

    def one(self, value: Any) -> Value:
        if type(value) is float and self._low <= value <= self._high:
            return value
        if type(value) is int and self._low <= value <= self._high:
            return float(value)
        self._must_be_gap(value)
        return None

    def many(self, values: Sequence[Any]) -> list[Value] | Numbers | None:
        kinds = set(map(type, values))
        if not kinds <= {float, int, _NONE}:
            return None
        numbers = self._numbers(values, kinds)
        if numbers is None:
            return None
        return Numbers(_with_gaps(numbers.tolist(), numbers) if int in kinds else list(values), numbers)

    def array(self, values: Array) -> list[Value] | Numbers | None:
        numbers = _as_float64(values)
        if numbers is None:
            return None
        missing = np.isnan(numbers)
        kept = missing | ((numbers >= self._low) & (numbers <= self._high))
        if not kept.all() or (not self._optional and missing.any()):
            return None
        return Numbers(_with_gaps(numbers.tolist(), numbers), numbers)


class Whole(Ranged):
    """A whole number within a range; 5.0 is 5."""

    __slots__ = ()
    _takes = (int, float)

    def __init__(self, name: str, column: Column) -> None:
        low, high = column.range or (None, None)
        self._low = -WHOLE if low is None else max(low, -WHOLE)
        self._high = WHOLE if high is None else min(high, WHOLE)
        super().__init__(name, _span("a whole number", column), optional=column.may_be_missing > 0)

    def one(self, value: Any) -> Value:
        if type(value) is int and self._low <= value <= self._high:
            return value
        if type(value) is float and self._low <= value <= self._high and value.is_integer():
            return int(value)
        self._must_be_gap(value)
        return None

    def many(self, values: Sequence[Any]) -> list[Value] | Numbers | None:
        kinds = set(map(type, values))
        if not kinds <= {int, _NONE}:
            return None
        numbers = self._numbers(values, kinds)
        return None if numbers is None else Numbers(list(values), numbers)

    def array(self, values: Array) -> list[Value] | Numbers | None:
        numbers = _as_float64(values)
        if numbers is None:
            return None
        missing = np.isnan(numbers)
        whole = (numbers >= self._low) & (numbers <= self._high) & (numbers == np.rint(numbers))
        if not (missing | whole).all() or (not self._optional and missing.any()):
            return None
        return Numbers(_with_gaps(np.where(missing, 0, numbers).astype(np.int64).tolist(), numbers), numbers)


class Truth(Promise):
    """True or false; in a tensor also 1 or 0."""

    __slots__ = ()
    _takes = (bool,)

    def __init__(self, name: str, column: Column) -> None:
        super().__init__(name, "true or false", optional=column.may_be_missing > 0)

    def one(self, value: Any) -> Value:
        if value is True or value is False:
            return value
        self._must_be_gap(value)
        return None

    def many(self, values: Sequence[Any]) -> list[Value] | None:
        return list(values) if _only(values, bool, optional=self._optional) else None

    def array(self, values: Array) -> list[Value] | None:
        return self.many(self.listed(values))

    def listed(self, values: Array) -> list[Any]:
        return [_TRUTH.get(value, value) for value in super().listed(values)]


class Moment(Promise):
    """A time as its clock shows it: an offset is dropped, since calendar features read the clock."""

    __slots__ = ()
    _takes = (str,)

    def __init__(self, name: str, column: Column) -> None:
        super().__init__(name, _TIME, optional=column.may_be_missing > 0)

    def one(self, value: Any) -> Value:
        moment = _moment(value)
        if moment is None:
            self._must_be_gap(value)
            return None
        return moment if moment.tzinfo is None else moment.replace(tzinfo=None)

    def many(self, values: Sequence[Any]) -> list[Value] | None:
        moments = _moments(values)
        if moments is None:
            return None
        return [moment if moment.tzinfo is None else moment.replace(tzinfo=None) for moment in moments]


class EntityName(Promise):
    """The name of the thing a prediction is about, as text."""

    __slots__ = ()
    _takes = (str, int, float)

    def __init__(self, name: str) -> None:
        super().__init__(name, "text or a whole number", optional=True)

    def one(self, value: Any) -> str | None:
        if type(value) is str and value:
            return value
        if type(value) in (int, float) and abs(value) < ENTITY and value == int(value):
            return str(int(value))
        self._must_be_gap(value)
        return None

    def many(self, values: Sequence[Any]) -> list[Value] | None:
        return list(values) if _only(values, str, optional=True) and "" not in values else None


class EventTime(Promise):
    """When the prediction is asked for, as ISO 8601 in UTC; a time without offset is in UTC."""

    __slots__ = ()
    _takes = (str,)

    def __init__(self, name: str) -> None:
        super().__init__(name, _TIME, optional=True)

    def one(self, value: Any) -> str | None:
        moment = _moment(value)
        texts = None if moment is None else _in_utc([moment])
        if texts is None:
            self._must_be_gap(value)
            return None
        return texts[0]

    def many(self, values: Sequence[Any]) -> list[Value] | None:
        moments = _moments(values)
        texts = None if moments is None else _in_utc(moments)
        return None if texts is None else [*texts]


_TIME = "a time in ISO 8601, such as 2013-07-22T05:00:00"
_KINDS: dict[ColumnType, type[Text | Number | Whole | Truth | Moment]] = {
    ColumnType.string: Text,
    ColumnType.number: Number,
    ColumnType.integer: Whole,
    ColumnType.boolean: Truth,
    ColumnType.timestamp: Moment,
}


def promise(name: str, column: Column) -> Promise:
    """The promise of a feature column."""
    return _KINDS[column.type](name, column)


def shown(value: Any) -> str:
    """A value as a message shows it, short whatever it is."""
    if value is None:
        return "missing"
    if isinstance(value, str):
        return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}… ({len(value)} characters)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else type(value).__name__


def listed(names: Sequence[str]) -> str:
    """Names as a message lists them."""
    return ", ".join(names[:_LISTED]) + (f", … ({len(names)} in all)" if len(names) > _LISTED else "")


def _span(noun: str, column: Column) -> str:
    low, high = ((None if side is None else f"{side:.15g}") for side in column.range or (None, None))
    unit = f" ({column.unit})" if column.unit else ""
    if low is not None and high is not None:
        return f"{noun} from {low} to {high}{unit}"
    if low is not None or high is not None:
        return f"{noun} of at {f'least {low}' if low is not None else f'most {high}'}{unit}"
    return f"{noun}{unit}"


def _only(values: Sequence[Any], kind: type, *, optional: bool) -> bool:
    return set(map(type, values)) <= ({kind, _NONE} if optional else {kind})


def _as_float64(values: Array) -> Array | None:
    """Numbers as float64; None for what is no number, or would be rounded."""
    if values.dtype.kind == "f":
        return values.astype(np.float64)
    if values.dtype.kind not in "iu" or (values.size and (values.max() > WHOLE or values.min() < -WHOLE)):
        return None
    return values.astype(np.float64)


def _with_gaps(listed: list[Any], values: Array) -> list[Any]:
    if values.dtype.kind == "f":
        for position in np.flatnonzero(np.isnan(values)).tolist():
            listed[position] = None
    return listed


def _moment(value: Any) -> datetime | None:
    if type(value) is not str:
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def _moments(values: Sequence[Any]) -> list[datetime] | None:
    if not _only(values, str, optional=False):
        return None
    try:
        return list(map(datetime.fromisoformat, values))
    except ValueError:
        return None


def _in_utc(moments: list[datetime]) -> list[str] | None:
    """ISO 8601; None where one is in the first hours of year 1 or the last of 9999, which may be in no year in UTC."""
    try:
        there = [one if one.tzinfo is None or one.tzinfo is UTC else one.astimezone(UTC) for one in moments]
    except OverflowError:
        return None
    # A fifth of the time that datetime.isoformat takes, for the same text.
    return orjson.dumps(there, option=orjson.OPT_NAIVE_UTC)[2:-2].decode().split('","')
