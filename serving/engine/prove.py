"""The proof of a plan: the pipeline's bits, on rows that try to find a difference. Without it no plan serves."""

import struct
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # it ships no types

from configs.case import Column, ColumnType, Contract
from serving.engine.compile import CompiledPlan
from serving.engine.errors import CannotScore
from serving.engine.frame import frame_of
from serving.engine.plan import Plan
from serving.engine.scoring import CATEGORY, COLUMN, Array
from serving.engine.structure import Number, Text
from serving.records import Rows, Value
from tasks.features.artifact import score
from tasks.records import Candidate

_ROWS_AT_ONCE = 1000
_ALONE = 5
"""Rows that the pipeline, which takes milliseconds for one, is also asked one by one."""
_MOST_CUTS = 60
"""For each feature, each with its neighbours; more are drawn from."""

_NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.1, 5e-324, -5e-324, 2.2e-308, 1e-40, 16777217.0, 9007199254740993.0, -1e16)
_HUGE = (3.4028235e38, -3.4028235e38, 3.5e38, 1e300, -1e300, 1.7976931348623157e308, -1.7976931348623157e308)
"""Around the largest 32-bit number and up to the largest of 64; forests and linear models refuse some of them."""
_TEXTS = ("", " ", "nan", "None", "NaN", "<NA>", "0", "1.0", "unheard of", "\x00", "ÄÖ ß", "🛫", "infrequent_sklearn")
_TIMES = (
    datetime(1970, 1, 1),  # noqa: DTZ001 - a contract's times are wall clocks
    datetime(2012, 2, 29, 23, 59, 59, 999999),  # noqa: DTZ001
    datetime(2012, 12, 31, 12, 30),  # noqa: DTZ001
    datetime(2013, 3, 10, 2, 30),  # noqa: DTZ001
    datetime(1, 1, 1),  # noqa: DTZ001
    datetime(9999, 12, 31, 23, 59, 59),  # noqa: DTZ001
)


def first_difference(plan: Plan, model: Any, candidate: Candidate, contract: Contract, rows: Rows) -> str | None:
    """The first row to which plan and pipeline answer differently, in words; None if there is none.

    What one of them refuses the other must refuse too. Rows are asked in batches, and of the plan also one by one.
    """
    with threadpool_limits(1), np.errstate(all="ignore"):
        for first in range(0, rows.count, _ROWS_AT_ONCE):
            some = rows.take(range(first, min(first + _ROWS_AT_ONCE, rows.count)))
            found = _Comparison(plan, lambda part: score(model, frame_of(part, contract), candidate), some).differs()
            if found:
                return f"row {first + found[0]}: {found[1]}"
    return None


class _Comparison:
    def __init__(self, plan: Plan, pipeline: Callable[[Rows], Array], rows: Rows) -> None:
        self._plan, self._pipeline, self._rows = plan, pipeline, rows

    def differs(self) -> tuple[int, str] | None:
        taken, refused = self._split()
        for row in refused:
            if self._takes(row):
                return row, "the plan refuses what the pipeline answers"
        if not taken:
            return None
        rows = self._rows.take(taken)
        try:
            wanted = self._pipeline(rows).tolist()
        except ValueError as error:
            return taken[0], f"in this row or one after it, the pipeline refuses what the plan answers: {error}"
        return self._compared(taken, self._plan.score(rows), wanted) or self._alone(taken, wanted)

    def _split(self) -> tuple[list[int], list[int]]:
        """Rows the plan takes, and rows it refuses."""
        try:
            self._plan.score(self._rows)
        except CannotScore:
            refused = [row for row in range(self._rows.count) if self._refuses(row)]
            return sorted(set(range(self._rows.count)) - set(refused)), refused
        return [*range(self._rows.count)], []

    def _refuses(self, row: int) -> bool:
        try:
            self._plan.score(self._rows.take([row]))
        except CannotScore:
            return True
        return False

    def _takes(self, row: int) -> bool:
        try:
            self._pipeline(self._rows.take([row]))
        except ValueError:
            return False
        return True

    def _alone(self, taken: Sequence[int], wanted: Sequence[Any]) -> tuple[int, str] | None:
        """One by one; where company matters only with the pipeline's own answers to one row, which take long."""
        few = taken[:_ALONE]
        lone = [self._pipeline(self._rows.take([row])).tolist()[0] for row in few]
        found = [self._plan.score(self._rows.take([row]))[0] for row in taken]
        if differs := self._compared(few, found[: len(few)], lone):
            return differs
        return None if self._plan.structure.company_matters else self._compared(taken, found, wanted)

    @staticmethod
    def _compared(rows: Sequence[int], found: Sequence[Any], wanted: Sequence[Any]) -> tuple[int, str] | None:
        for row, mine, theirs in zip(rows, found, wanted, strict=True):
            if bits(mine) != bits(theirs):
                return row, f"the plan answers {mine!r}, the pipeline {theirs!r}"
        return None


def bits(answer: float | Sequence[float]) -> bytes:
    """An answer's bits; every NaN is the same."""
    numbers = [answer] if isinstance(answer, float) else answer
    return b"".join(struct.pack("<d", number) if number == number else b"nan" for number in numbers)  # noqa: PLR0124


def edge_rows(compiled: CompiledPlan, contract: Contract, example: Rows, seed: int, count: int = 2000) -> Rows:
    """`count` rows like those of `example`, but for values at which a plan would first go wrong.

    Unknown and missing categories, ends of ranges, every kind of awkward number, and the plan's own cuts with the
    numbers next to them: each of them once while they last, in rows that keep or change the rest.
    """
    draw = np.random.default_rng(seed)
    cuts = _cuts(compiled, draw)
    columns = zip(contract.features, example.columns, strict=True)
    awkward = [_awkward(contract.columns[name], compiled, name, cuts.get(name, []), seen) for name, seen in columns]
    rows = example.take(draw.integers(example.count, size=count).tolist())
    _put_each(rows, awkward, draw)
    _put_many(rows, awkward, draw)
    for column in rows.columns:
        column[-1] = None
    return rows


def _put_each(rows: Rows, awkward: Sequence[Sequence[Value]], draw: np.random.Generator) -> None:
    """Each value in a row of its own, in half of the rows; huge ones last, for a row may be refused for one."""
    places = [(place, value) for place, values in enumerate(awkward) for value in values]
    chosen = draw.permutation(len(places))[: rows.count // 2].tolist()
    for row, pick in enumerate(chosen):
        place, value = places[pick]
        rows.columns[place][row] = value


def _put_many(rows: Rows, awkward: Sequence[Sequence[Value]], draw: np.random.Generator) -> None:
    """Several values in each of the other rows, none of them huge."""
    for row in range(rows.count // 2, rows.count):
        share = draw.random()
        for place, values in enumerate(awkward):
            value = values[int(draw.integers(len(values)))]
            if draw.random() < share and not (isinstance(value, float) and abs(value) > 1e30):
                rows.columns[place][row] = value


def _awkward(column: Column, compiled: CompiledPlan, name: str, cuts: list[float], seen: list[Value]) -> list[Value]:
    match column.type:
        case ColumnType.string:
            known = [[*one.codes] for one in compiled.structure.inputs if isinstance(one, Text) and one.feature == name]
            texts = [text for codes in known for text in codes]
            return [
                None,
                *texts,
                *_TEXTS,
                *(text.swapcase() for text in texts[:5]),
                *(f"{text} " for text in texts[:5]),
            ]
        case ColumnType.boolean:
            return [None, True, False]
        case ColumnType.timestamp:
            times = [time for time in seen if isinstance(time, datetime)][:5]
            return [None, *_TIMES, *(time + timedelta(minutes=61 * step) for time in times for step in range(48))]
    ends = [float(end) for end in column.range or () if end is not None]
    return [None, *_NUMBERS, *_HUGE, *_near([*ends, *cuts])]


def _near(numbers: list[float]) -> list[Value]:
    """The numbers and their neighbours, among numbers of 64 and of 32 bits; those that are finite."""
    found: list[Value] = []
    for kind in (np.float64, np.float32):
        with np.errstate(over="ignore"):
            here = np.array(numbers).astype(kind)
            beside = [here, np.nextafter(here, kind(np.inf)), np.nextafter(here, kind(-np.inf))]
        found += [number for part in beside for number in part.astype(np.float64).tolist() if np.isfinite(number)]
    return found


def _cuts(compiled: CompiledPlan, draw: np.random.Generator) -> dict[str, list[float]]:
    """Of each feature that is taken as it is, finite cuts that the trees make in it."""
    found: dict[str, list[float]] = {}
    for place, one in enumerate(compiled.structure.inputs):
        if isinstance(one, Number):
            cuts = np.unique(_cuts_of(compiled, place))
            cuts = cuts[np.isfinite(cuts)]
            found[one.feature] = draw.permutation(cuts)[:_MOST_CUTS].tolist()
    return found


def _cuts_of(compiled: CompiledPlan, place: int) -> Array:
    arrays, cuts = compiled.arrays, np.zeros(0)
    if compiled.structure.method == "scan":
        cuts = arrays["cuts"][np.repeat(arrays["column"], np.diff(arrays["first_cut"])) == place]
    elif compiled.structure.method == "walk":
        test = arrays["nodes"]["test"]
        cuts = arrays["nodes"]["cut"][((test & COLUMN) == place) & ((test & CATEGORY) == 0)]
    return cuts
