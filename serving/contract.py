"""From what a client sent to rows that keep the contract; whatever breaks it is named by row and field."""

import difflib
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import islice, repeat
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from configs.case import Case
from serving.column import Array, Broken, EntityName, EventTime, Numbers, Promise, listed, promise, shown
from serving.errors import BadRequest, ContractBroken
from serving.records import Asked, Reason, RowProblem, Rows, Value

AT_MOST = 100
"""Problems reported for one request; with `partial`, each refused row has at least its first one."""
_STRANGERS = 5
"""Unknown columns reported for one row."""
_COMPARED = 100
"""Characters of an unknown name that are looked at."""

Columns = dict[str, Sequence[Any]]
Checked = tuple[Rows, list[int] | None, list[RowProblem]]


class _Found(NamedTuple):
    """A problem; one without message is a column nobody promised."""

    row: int
    place: int
    field: str
    message: str | None
    reason: Reason


class Checker:
    """Checks requests against the contract of one case."""

    def __init__(self, case: Case) -> None:
        contract = case.contract
        self._case = case.name
        self._place = {name: place for place, name in enumerate(contract.columns)}
        self._known = frozenset(contract.columns)
        self._entity, self._event_time = contract.entity, contract.event_time
        features = {name: promise(name, contract.columns[name]) for name in contract.features}
        entity, event_time = EntityName(self._entity), EventTime(self._event_time)
        self._promises: dict[str, Promise] = {**features, self._entity: entity, self._event_time: event_time}
        self._ones = [(name, kept.one) for name, kept in features.items()]
        self._one_entity, self._one_time = entity.one, event_time.one
        self._nearest = lru_cache(256)(lambda name: difflib.get_close_matches(name, self._place, 1))

    def check(self, asked: Asked) -> Checked:
        """The rows that keep the contract, where they stood (None: all did), and what is wrong with the others.

        Raises ContractBroken if any row breaks the contract; with `asked.partial`, only if all do. Raises BadRequest
        for no row at all, for rows that are no objects, and for columns of unequal length.
        """
        record = _alone(asked)
        rows = None if record is None else self._single(record)
        return self._several(asked) if rows is None else (rows, None, [])

    def _single(self, record: dict[str, Any]) -> Rows | None:
        """One record as rows; None if it breaks the contract, which takes longer to word."""
        if not record.keys() <= self._known:
            return None
        get = record.get
        try:
            columns = [[one(get(name))] for name, one in self._ones]
            return Rows(1, columns, [self._one_entity(get(self._entity))], [self._one_time(get(self._event_time))])
        except Broken:
            return None

    def _several(self, asked: Asked) -> Checked:
        count = _rows_in(asked)
        columns, names = _columns(asked, self._known)
        found = [] if names <= self._known else list(self._strangers(asked))
        checked: list[Any] = []
        numbers: dict[int, Array] = {}
        for place, (name, kept) in enumerate(self._promises.items()):
            values, broken = _checked(kept, columns.get(name), count, None if asked.partial else AT_MOST)
            if isinstance(values, Numbers):
                values, numbers[place] = values
            checked.append(values)
            found += [_Found(row, self._place[name], name, str(why), why.reason) for row, why in broken]
        rows = Rows(count, checked[:-2], checked[-2], checked[-1], numbers)
        return self._without(rows, sorted(found), partial=asked.partial) if found else (rows, None, [])

    def _without(self, rows: Rows, found: list[_Found], *, partial: bool) -> Checked:
        bad = {problem.row for problem in found}
        problems = [self._worded(problem, hint=nth < AT_MOST) for nth, problem in enumerate(_bounded(found))]
        if not partial or len(bad) == rows.count:
            raise ContractBroken(problems[:AT_MOST])
        good = [row for row in range(rows.count) if row not in bad]
        return rows.take(good), good, problems

    def _strangers(self, asked: Asked) -> Iterator[_Found]:
        """Columns nobody promised, where they are."""
        given = repeat(asked.columns or {}, asked.count) if asked.records is None else asked.records
        for row, names in enumerate(given):
            for name in islice((name for name in names if name not in self._known), _STRANGERS):
                yield _Found(row, len(self._place), name, None, "unknown")

    def _worded(self, found: _Found, *, hint: bool) -> RowProblem:
        if found.message is not None:
            return RowProblem(found.row, found.field, found.message, found.reason)
        message = f"{shown(found.field)} is no column of {self._case}"
        if hint:
            near = self._nearest(found.field[:_COMPARED])
            message += f", did you mean `{near[0]}`?" if near else f", expected some of {listed(tuple(self._place))}"
        return RowProblem(found.row, found.field[:_COMPARED], message, found.reason)


def _alone(asked: Asked) -> dict[str, Any] | None:
    """The record of a request for one row; None if there are more, or it is not what it should be."""
    if asked.records is not None:
        return asked.records[0] if len(asked.records) == 1 and type(asked.records[0]) is dict else None
    if asked.count != 1 or asked.columns is None:
        return None
    try:
        return {name: value for name, (value,) in asked.columns.items()}
    except ValueError:
        return None


def _rows_in(asked: Asked) -> int:
    count = asked.count if asked.records is None else len(asked.records)
    if not count:
        raise BadRequest("There is no row to predict, send at least one.")
    for row, record in enumerate(asked.records or ()):
        if type(record) is not dict:
            raise BadRequest(f"Row {row} is {shown(record)}, expected an object with a value for each column.")
    for name, values in (asked.columns or {}).items():
        if len(values) != count:
            raise BadRequest(f"Column {shown(name)} has {len(values)} values, expected {count}: one for each row.")
    return count


def _columns(asked: Asked, known: frozenset[str]) -> tuple[Columns, AbstractSet[str]]:
    """The request by columns, and all names in it."""
    if asked.records is None:
        columns = asked.columns or {}
        return columns, columns.keys()
    alike = _transposed(asked.records)
    if alike is not None:
        return alike, alike.keys()
    names = frozenset().union(*asked.records)
    return {name: [record.get(name) for record in asked.records] for name in names & known}, names


def _transposed(records: list[dict[str, Any]]) -> Columns | None:
    """Records by columns, if all have the same names: then it takes a third of the time."""
    names = tuple(records[0])
    if len(names) < 2 or set(map(len, records)) != {len(names)}:
        return None
    try:
        return dict(zip(names, zip(*map(itemgetter(*names), records), strict=True), strict=True))
    except KeyError:
        return None


def _checked(
    kept: Promise, values: Sequence[Any] | None, count: int, at_most: int | None
) -> tuple[list[Value] | Numbers, list[tuple[int, Broken]]]:
    """The checked values of a column, and what is wrong in which row (the first `at_most` of them)."""
    if values is None:
        values = [None] * count
    if isinstance(values, np.ndarray):
        at_once, values = kept.array(values), kept.listed(values)
    else:
        at_once = kept.many(values)
    return _one_by_one(kept, values, at_most) if at_once is None else (at_once, [])


def _one_by_one(
    kept: Promise, values: Sequence[Any], at_most: int | None
) -> tuple[list[Value], list[tuple[int, Broken]]]:
    checked: list[Value] = []
    broken: list[tuple[int, Broken]] = []
    for row, value in enumerate(values):
        try:
            checked.append(kept.one(value))
        except Broken as error:
            checked.append(None)
            broken.append((row, error))
            if len(broken) == at_most:
                break
    return checked, broken


def _bounded(found: list[_Found]) -> list[_Found]:
    """The first AT_MOST problems, and the first one of each row after them."""
    shown, rest = found[:AT_MOST], found[AT_MOST:]
    seen = {problem.row for problem in shown}
    for problem in rest:
        if problem.row not in seen:
            seen.add(problem.row)
            shown.append(problem)
    return shown
