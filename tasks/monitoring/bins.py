"""The bins a column's values are counted in: fixed once, so that counts can be added and compared.

Numbers: every value that carries much of the reference has a bin of its own, and the others share bins of at most
1/5000 of it. The two-sample Kolmogorov-Smirnov distance on such counts is below the exact one by less than the share of
the reference in one bin, whatever the sample: 0.0002 at most. The bounds of the contract are edges too, so rows outside
are counted exactly. Categories: the known ones one by one, the rest by hash; each bin of the rest remembers the first
name of what fell into it, in the order of the alphabet, which is the same however counts are added.
"""

import base64
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from configs.case import Column, ColumnType

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
Pack = Callable[[NDArray[Any]], str]

_SHARES = 8192
_HEAVY = 0.5
"""A value with more than this part of a share is alone in its bin."""
_TAIL_STEPS = 48
_CELLS = 2048
_COARSE = 0.03
REST = 64
"""Bins for the categories nobody knew."""
_MOST_CATEGORIES = 2000
_LONGEST_NAME = 60
SCORE_SCALE = 127
"""Rank scores are whole numbers from -127 to 127, so that sums of their products are exact."""
_WEEK_MINUTES = 7 * 24 * 60
_MONDAY = 3 * 24 * 60
"""1970-01-01 was a Thursday."""
_FEW = 8


def packed(array: NDArray[Any]) -> str:
    """An array as text."""
    return base64.b64encode(zlib.compress(array.tobytes(), 6)).decode("ascii")


@dataclass(frozen=True, slots=True)
class Counted:
    """The values of one column in some rows, counted."""

    counts: Counts
    nulls: int = 0
    """No value, or no number where a number is due."""
    infinite: int = 0
    wrong: int = 0
    """Of another type than the contract's."""
    absent: int = 0
    """In rows that have no such column."""
    low: float | None = None
    """Smallest finite value."""
    high: float | None = None
    names: tuple[str | None, ...] = ()
    """Of each bin of the rest: the first name in it."""


@dataclass(frozen=True, eq=False)
class NumberBins:
    """Half-open bins `[edge, next edge)`, one more than edges."""

    edges: Floats
    low: float | None = None
    """Bounds of the contract."""
    high: float | None = None
    of_time: bool = False
    """The value is a moment, taken as the minute of its week: time itself never comes back, hours and weekdays do."""
    origin: float = 0.0
    step: float = 1.0
    bend: float = 0.0
    """Of the scale the cells are cut on, where values span powers of ten; 0 for a straight one."""
    scores: NDArray[np.int8] = field(default_factory=lambda: np.zeros(1, np.int8))
    """Of each cell `floor((value - origin) / step)`: the rank score of its values in the reference."""

    @property
    def size(self) -> int:
        return len(self.edges) + 1

    def values(self, array: pa.Array) -> Floats | None:
        """The values as float64, NaN where there is none; None if they are of another type."""
        kind = array.type
        if self.of_time:
            return _week_minutes(array)
        if pa.types.is_boolean(kind) or not (
            pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        ):
            return None
        return as_floats(array)

    def count(self, array: pa.Array) -> Counted:
        """Count the values of some rows."""
        rows = len(array)
        values = self.values(array)
        if values is None:
            return _of_another_type(array, self.size)
        counted = self.count_values(values)
        assert counted.nulls + counted.infinite + int(counted.counts.sum()) == rows
        return counted

    def count_values(self, values: Floats) -> Counted:
        """Count float64 values; NaN is no value."""
        ordered = np.sort(values)
        begin, end, known = np.searchsorted(ordered, [-np.inf, np.inf, np.nan], side="left")
        begin = int(np.searchsorted(ordered, -np.inf, side="right"))
        finite = ordered[begin:end]
        counts = np.zeros(self.size, np.int64)
        if len(finite) * _FEW > len(self.edges):
            counts[:-1] = np.searchsorted(finite, self.edges, side="left")
            counts[-1] = len(finite)
            counts[1:] -= counts[:-1].copy()
        elif len(finite):
            counts += np.bincount(np.searchsorted(self.edges, finite, side="right"), minlength=self.size)
        return Counted(
            counts=counts,
            nulls=len(ordered) - int(known),
            infinite=int(known) - len(finite),
            low=float(finite[0]) if len(finite) else None,
            high=float(finite[-1]) if len(finite) else None,
        )

    def rank_scores(self, values: Floats) -> Floats:
        """For each value its rank in the reference as a whole number in -127..127, coarse; 0 where there is none."""
        cells = _bent(values, self.bend)
        cells = (cells - self.origin) * (1 / self.step)
        np.clip(cells, 0, len(self.scores) - 1, out=cells)
        missing = np.isnan(cells)
        if not missing.any():
            return self.scores[cells.astype(np.intp)].astype(np.float64)
        cells[missing] = 0
        scores = self.scores[cells.astype(np.intp)].astype(np.float64)
        scores[missing] = 0
        return scores

    def outside(self, counts: Counts) -> int:
        """How many of these counts lie outside the contract's bounds."""
        below = 0 if self.low is None else int(counts[: np.searchsorted(self.edges, self.low) + 1].sum())
        if self.high is None:
            return below
        return below + int(counts[np.searchsorted(self.edges, np.nextafter(self.high, np.inf)) + 1 :].sum())

    @property
    def middles(self) -> Floats:
        """A value that stands for each bin: the middle of its edges, and the outer edges for the outer bins."""
        if not len(self.edges):
            return np.zeros(1)
        inner = self.edges[:-1] + (self.edges[1:] - self.edges[:-1]) / 2
        return np.concatenate([self.edges[:1], inner, self.edges[-1:]])

    @classmethod
    def fit(cls, sample: Floats, column: Column | None) -> Self:
        """Bins for a column whose values in the reference resemble `sample`."""
        low, high = (column.range if column else None) or (None, None)
        of_time = column is not None and column.type is ColumnType.timestamp
        if of_time:
            low, high = None, None
        finite = np.sort(sample[np.isfinite(sample)])
        bounds = [bound for bound in (low, None if high is None else np.nextafter(high, np.inf)) if bound is not None]
        edges = np.unique(np.concatenate([_edges(finite), _tails(finite), np.array(bounds, np.float64)]))
        edges = edges[np.isfinite(edges)]
        cells = _cells(finite, 0.0)
        if cells.coarsest > _COARSE:
            cells = min(cells, _cells(finite, _bend(finite)), key=lambda one: one.coarsest)
        return cls(edges, low, high, of_time, cells.origin, cells.step, cells.bend, cells.scores)

    def as_json(self, pack: Pack = packed) -> dict[str, Any]:
        return {
            "kind": "number", "edges": pack(self.edges), "low": self.low, "high": self.high, "of_time": self.of_time,
            "origin": self.origin, "step": self.step, "bend": self.bend, "scores": pack(self.scores),
        }  # fmt: skip

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        return cls(
            _unpack(told["edges"], np.float64), told["low"], told["high"], told["of_time"],
            told["origin"], told["step"], told["bend"], _unpack(told["scores"], np.int8),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class CategoryBins:
    """One bin for each known category, then the bins of the rest."""

    categories: tuple[str, ...]
    listed: int | None = None
    """So many of them, the first, are the contract's; None if it lists none."""
    of_truth: bool = False
    """The column is boolean: `false` and `true`."""

    @property
    def size(self) -> int:
        return len(self.categories) + REST

    def count(self, array: pa.Array) -> Counted:
        """Count the values of some rows."""
        if self.of_truth:
            return self._count_truth(array)
        kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            return _of_another_type(array, self.size, REST)
        encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        known = encoded.drop_null().indices if encoded.null_count else encoded.indices
        seen = np.bincount(as_integers(known), minlength=len(encoded.dictionary))
        bins, names = self._bins_of(encoded.dictionary, seen)
        counts = np.zeros(self.size, np.int64)
        np.add.at(counts, bins, seen)
        return Counted(counts, nulls=len(array) - int(seen.sum()), names=names)

    def _bins_of(self, dictionary: pa.Array, seen: Counts) -> tuple[NDArray[np.intp], tuple[str | None, ...]]:
        values = dictionary.cast(pa.string())
        places = pc.index_in(values, value_set=pa.array(self.categories, pa.string()))
        bins = as_integers(places.fill_null(-1)).astype(np.intp)
        names: list[str | None] = [None] * REST
        for index in np.flatnonzero((bins < 0) & (seen > 0)):
            name = values[int(index)].as_py()
            rest = zlib.crc32(name.encode()) % REST
            bins[index] = len(self.categories) + rest
            names[rest] = first_name(names[rest], name[:_LONGEST_NAME])
        bins[bins < 0] = 0  # named by the dictionary, and in no row
        return bins, tuple(names)

    def _count_truth(self, array: pa.Array) -> Counted:
        if not pa.types.is_boolean(array.type):
            return _of_another_type(array, self.size, REST)
        counts = np.zeros(self.size, np.int64)
        true = int(pc.sum(array).as_py() or 0)
        counts[:2] = len(array) - array.null_count - true, true
        return Counted(counts, nulls=array.null_count, names=(None,) * REST)

    def unlisted(self, counts: Counts) -> int:
        """How many of these counts are of categories that the contract does not list."""
        return 0 if self.listed is None else int(counts[self.listed :].sum())

    @classmethod
    def fit(cls, found: dict[str, int], column: Column | None) -> Self:
        """Bins for the contract's categories, and the most frequent of those `found` in the reference."""
        if column is not None and column.type is ColumnType.boolean:
            return cls(("false", "true"), of_truth=True)
        listed = (column.categories if column else None) or ()
        others = sorted((name for name in found if name not in set(listed)), key=lambda name: (-found[name], name))
        room = max(_MOST_CATEGORIES - len(listed), 0)
        return cls((*listed, *others[:room]), len(listed) if column and column.categories is not None else None)

    def as_json(self, pack: Pack = packed) -> dict[str, Any]:  # noqa: ARG002 - no arrays here
        return {
            "kind": "category", "categories": [*self.categories], "listed": self.listed, "of_truth": self.of_truth,
        }  # fmt: skip

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        return cls(tuple(told["categories"]), told["listed"], told["of_truth"])


def first_name(one: str | None, other: str | None) -> str | None:
    """The name that comes first in the alphabet, of those there are."""
    return min((name for name in (one, other) if name is not None), default=None)


def as_floats(array: pa.Array) -> Floats:
    """A numeric array as float64, NaN for null. (`pyarrow.Array.to_numpy` would import pandas.)"""
    floats = array if array.type == pa.float64() else array.cast(pa.float64(), safe=False)
    if floats.null_count:
        floats = pc.fill_null(floats, float("nan"))
    return (
        np.frombuffer(floats.buffers()[1], np.float64, len(floats), floats.offset * 8) if len(floats) else np.empty(0)
    )


def as_integers(array: pa.Array) -> Counts:
    """An integer array without nulls as int64."""
    whole = array if array.type == pa.int64() else array.cast(pa.int64())
    buffer = whole.buffers()[1]
    return np.frombuffer(buffer, np.int64, len(whole), whole.offset * 8) if len(whole) else np.empty(0, np.int64)


def _of_another_type(array: pa.Array, size: int, rest: int = 0) -> Counted:
    nothing = np.zeros(size, np.int64)
    if pa.types.is_null(array.type):
        return Counted(nothing, absent=len(array), names=(None,) * rest)
    return Counted(nothing, nulls=array.null_count, wrong=len(array) - array.null_count, names=(None,) * rest)


def _week_minutes(array: pa.Array) -> Floats | None:
    if not (pa.types.is_timestamp(array.type) or pa.types.is_date(array.type)):
        return None
    moments = array.cast(pa.timestamp("us", getattr(array.type, "tz", None)), safe=False).cast(pa.int64())
    return (np.floor(as_floats(moments) / 60e6) + _MONDAY) % _WEEK_MINUTES


def _edges(finite: Floats) -> Floats:
    """Edges so that each bin has at most a share and a half of the values, or a single one."""
    values, counts = np.unique(finite, return_counts=True)
    if len(values) * 2 <= _SHARES:
        heavy = np.ones(len(values), bool)
        first = heavy
    else:
        share = len(finite) / _SHARES
        heavy = counts > _HEAVY * share
        group = np.floor((np.cumsum(counts) - counts) / share)
        first = np.diff(group, prepend=-1) > 0
    alone = values[heavy]
    return np.unique(np.concatenate([values[first], alone, np.nextafter(alone, np.inf)]))


def _tails(finite: Floats) -> Floats:
    """Ever wider bins beyond what the reference holds, for whatever comes."""
    if not len(finite):
        return np.empty(0)
    low, high = finite[0], finite[-1]
    reach = (high - low) or max(abs(high), 1.0)
    with np.errstate(over="ignore"):
        steps = reach * np.geomspace(1e-3, 1e6, _TAIL_STEPS)
        return np.concatenate([low - steps, high + steps])


@dataclass(frozen=True, slots=True)
class _Cells:
    origin: float
    step: float
    bend: float
    scores: NDArray[np.int8]
    coarsest: float
    """The largest share of the values in one cell that has more than one value."""


def _cells(finite: Floats, bend: float) -> _Cells:
    """Cells of one width, and the rank score of each; `finite` is in order."""
    along = _bent(finite, bend)
    low, high = np.quantile(along, [0.005, 0.995]) if len(along) else (0.0, 0.0)
    if high <= low and len(along):
        low, high = along[0], along[-1]
    if not (np.isfinite(high - low) and high > low):
        return _Cells(float(low), 1.0, bend, np.zeros(1, np.int8), 0.0)
    step = float((high - low) / (_CELLS - 1))
    cells = np.clip((along - low) * (1 / step), 0, _CELLS - 1).astype(np.intp)
    counts = np.bincount(cells, minlength=_CELLS)
    ranks = (np.cumsum(counts) - counts / 2) / len(finite)
    scores = np.rint(SCORE_SCALE * (2 * ranks - 1)).astype(np.int8)
    ends = np.cumsum(counts)
    filled = counts > 0
    mixed = counts[filled][finite[(ends - counts)[filled]] < finite[ends[filled] - 1]]
    return _Cells(float(low), step, bend, scores, float(mixed.max(initial=0)) / len(finite))


def _bent(values: Floats, bend: float) -> Floats:
    return np.arcsinh(values / bend) if bend else values


def _bend(finite: Floats) -> float:
    sizes = np.abs(finite[finite != 0])
    return float(np.quantile(sizes, 0.1)) if len(sizes) else 0.0


def _unpack(told: str, kind: type[Any]) -> NDArray[Any]:
    return np.frombuffer(zlib.decompress(base64.b64decode(told)), kind)
