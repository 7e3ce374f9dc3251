"""A profile: what some rows look like, as counts on the case's grid. Adding profiles is exact, in any order.

Beside the counts of each column, a profile holds for each pair of numbers the sum of the products of their rank scores
(whole numbers, so exact), of the squares of these products, and the number of rows that have both: what a test of the
correlations needs (joint.py).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.files import write_whole
from tasks.monitoring.bins import Counted, Counts, NumberBins, first_name
from tasks.monitoring.errors import ContractDiffers, GridDiffers, ProfileUnreadable
from tasks.monitoring.grid import Grid

WHEN = "answered_at"
_ROWS_AT_ONCE = 65_536
"""Of these the sums of squared products are exact in float64."""
_META = b"evergreen.profile"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, eq=False)
class ColumnProfile:
    """One column of some rows, counted on its bins."""

    rows: int
    counts: Counts
    nulls: int
    infinite: int
    wrong: int
    """Values of another type than the contract's."""
    absent: int
    """Rows that have no such column."""
    low: float | None
    """Smallest and largest finite value."""
    high: float | None
    names: tuple[str | None, ...]
    """Of each bin of the rest, the first name in it (categories)."""

    @property
    def present(self) -> int:
        """Rows with a value of the right type; for a number: a finite one."""
        return self.rows - self.nulls - self.infinite - self.wrong - self.absent

    @classmethod
    def of(cls, rows: int, counted: Counted) -> Self:
        return cls(
            rows, counted.counts, counted.nulls, counted.infinite, counted.wrong, counted.absent,
            counted.low, counted.high, counted.names,
        )  # fmt: skip

    def __add__(self, other: Self) -> Self:
        names = self.names or other.names
        if self.names and other.names:
            names = tuple(first_name(*both) for both in zip(self.names, other.names, strict=True))
        return type(self)(
            self.rows + other.rows,
            self.counts + other.counts,
            self.nulls + other.nulls,
            self.infinite + other.infinite,
            self.wrong + other.wrong,
            self.absent + other.absent,
            min((low for low in (self.low, other.low) if low is not None), default=None),
            max((high for high in (self.high, other.high) if high is not None), default=None),
            names,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ColumnProfile):
            return NotImplemented
        return self.facts() == other.facts() and np.array_equal(self.counts, other.counts)

    __hash__ = None  # type: ignore[assignment] # arrays inside

    def facts(self) -> dict[str, Any]:
        """All but the counts."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "counts"}


@dataclass(frozen=True, eq=False)
class Pairs:
    """Sums over the rows that have both of two columns: a matrix each, in the order of `Grid.paired`."""

    rows: Counts
    products: Counts
    squares: Counts

    def __add__(self, other: Self) -> Self:
        return type(self)(self.rows + other.rows, self.products + other.products, self.squares + other.squares)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pairs):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ("rows", "products", "squares")
        )

    __hash__ = None  # type: ignore[assignment] # arrays inside


@dataclass(frozen=True)
class Profile:
    """Some rows, counted on one grid. Equal if every count is."""

    grid: str
    """Digest of the grid."""
    contract_version: int
    rows: int
    columns: Mapping[str, ColumnProfile]
    pairs: Pairs
    first: datetime | None = None
    """When the first and the last of the rows was answered, where they say."""
    last: datetime | None = None

    def __add__(self, other: "Profile") -> "Profile":
        """Both together. Raises ContractDiffers or GridDiffers."""
        self.must_fit(other.grid, other.contract_version)
        return Profile(
            self.grid,
            self.contract_version,
            self.rows + other.rows,
            {name: column + other.columns[name] for name, column in self.columns.items()},
            self.pairs + other.pairs,
            min((first for first in (self.first, other.first) if first is not None), default=None),
            max((last for last in (self.last, other.last) if last is not None), default=None),
        )

    def must_fit(self, grid: str, contract_version: int, what: str = "A profile") -> None:
        """Raises ContractDiffers or GridDiffers if it was counted on another grid than this."""
        if self.contract_version != contract_version:
            raise ContractDiffers(what, self.contract_version, contract_version)
        if self.grid != grid:
            raise GridDiffers(what, self.grid, grid)

    def with_column(self, name: str, column: ColumnProfile) -> "Profile":
        """The same with another count of one column."""
        return replace(self, columns={**self.columns, name: column})

    def write(self, path: Path) -> None:
        """Write it to `path` as Parquet, whole or not at all. Raises DiskFull."""
        write_whole(path, lambda part: part.write_bytes(self.to_bytes()))

    @classmethod
    def read(cls, path: Path) -> "Profile":
        """Raises FileNotFoundError or ProfileUnreadable."""
        return cls.from_bytes(path.read_bytes(), str(path))

    def to_bytes(self) -> bytes:
        """It as a Parquet file: a row for each column, and one for the pairs."""
        names = list(self.columns)
        columns = [self.columns[name] for name in names]
        upper = np.triu_indices(len(self.pairs.rows))
        arrays = [column.counts for column in columns]
        arrays += [matrix[upper] for matrix in (self.pairs.rows, self.pairs.products, self.pairs.squares)]
        told = {
            "grid": self.grid, "contract_version": self.contract_version, "rows": self.rows, "names": names,
            "facts": [column.facts() for column in columns],
            "paired": len(self.pairs.rows),
            "first": self.first and self.first.isoformat(), "last": self.last and self.last.isoformat(),
        }  # fmt: skip
        lists = pa.ListArray.from_arrays(
            pa.array(np.cumsum([0, *map(len, arrays)]), pa.int32()), pa.array(np.concatenate(arrays))
        )
        table = pa.table({"counts": lists}).replace_schema_metadata({_META: json.dumps(told).encode()})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", compression_level=9, use_dictionary=False)
        return bytes(sink.getvalue())

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "a file") -> "Profile":
        """Raises ProfileUnreadable."""
        try:
            table = pq.read_table(pa.BufferReader(data))
            told = json.loads(table.schema.metadata[_META])
            lists = table.column("counts").combine_chunks()
            flat = np.frombuffer(lists.values.buffers()[1], np.int64)
            ends = np.frombuffer(lists.buffers()[1], np.int32)[: len(lists) + 1]
        except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
            raise ProfileUnreadable(where, f"{type(error).__name__}: {error}") from error
        arrays = [flat[start:end] for start, end in pairwise(ends)]
        columns = {
            name: ColumnProfile(counts=counts, **{**facts, "names": tuple(facts["names"])})
            for name, facts, counts in zip(told["names"], told["facts"], arrays, strict=False)
        }
        pairs = Pairs(*(_whole(half, told["paired"]) for half in arrays[-3:]))
        first, last = (told[when] and datetime.fromisoformat(told[when]) for when in ("first", "last"))
        return cls(told["grid"], told["contract_version"], told["rows"], columns, pairs, first, last)


def profile_of(batches: Iterable[pa.RecordBatch], grid: Grid) -> Profile:
    """Count rows on a grid, a batch at a time. A column that a batch does not have is counted as absent."""
    counting = Counting(grid)
    for batch in batches:
        counting.add(batch)
    return counting.profile


def total(profiles: Iterable[Profile], grid: Grid) -> Profile:
    """The sum of profiles; of none, an empty one. Raises ContractDiffers or GridDiffers."""
    return reduce(lambda one, other: one + other, profiles, Counting(grid).profile)


class Counting:
    """A profile while its rows come in."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._rows = 0
        nothing = pa.nulls(0)
        self._columns = {name: ColumnProfile.of(0, bins.count(nothing)) for name, bins in grid.columns.items()}
        size = len(grid.paired)
        self._pairs = Pairs(*(np.zeros((size, size), np.int64) for _ in range(3)))
        self._first: datetime | None = None
        self._last: datetime | None = None

    @property
    def profile(self) -> Profile:
        """What was counted so far."""
        return Profile(
            self._grid.digest, self._grid.contract_version, self._rows, dict(self._columns), self._pairs,
            self._first, self._last,
        )  # fmt: skip

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the rows of a batch."""
        for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
            self._add(batch.slice(start, _ROWS_AT_ONCE))

    def _add(self, batch: pa.RecordBatch) -> None:
        rows = batch.num_rows
        arrays = {name: batch.column(name) for name in batch.schema.names}
        scores = np.zeros((len(self._grid.paired), rows))
        missing: dict[int, NDArray[np.bool_]] = {}
        places = {name: place for place, name in enumerate(self._grid.paired)}
        for name, bins in self._grid.columns.items():
            array = arrays[name] if name in arrays else pa.nulls(rows)
            values = bins.values(array) if isinstance(bins, NumberBins) else None
            if isinstance(bins, NumberBins) and values is not None:
                counted = bins.count_values(values)
                if name in places:
                    scores[places[name]] = bins.rank_scores(values)
                    if counted.nulls:
                        missing[places[name]] = np.isnan(values)
            else:
                counted = bins.count(array)
                if name in places:
                    missing[places[name]] = np.ones(rows, bool)
            self._columns[name] += ColumnProfile.of(rows, counted)
        self._pairs += _pairs(scores, missing)
        self._rows += rows
        if WHEN in arrays and pa.types.is_timestamp(arrays[WHEN].type):
            self._see(arrays[WHEN])

    def _see(self, moments: pa.Array) -> None:
        ends = pc.min_max(moments.cast(pa.timestamp("us", "UTC")).cast(pa.int64())).as_py()
        if ends["min"] is not None:
            first, last = (_EPOCH + timedelta(microseconds=ends[end]) for end in ("min", "max"))
            self._first = first if self._first is None else min(first, self._first)
            self._last = last if self._last is None else max(last, self._last)


def _pairs(scores: NDArray[np.float64], missing: Mapping[int, NDArray[np.bool_]]) -> Pairs:
    squared = scores * scores
    size, rows = scores.shape
    both = np.full((size, size), rows, np.int64)
    if missing:
        present = np.ones((size, rows))
        for place, mask in missing.items():
            present[place, mask] = 0
        both = _whole_numbers(present @ present.T)
    return Pairs(both, _whole_numbers(scores @ scores.T), _whole_numbers(squared @ squared.T))


def _whole_numbers(sums: NDArray[np.float64]) -> Counts:
    return np.rint(sums).astype(np.int64)


def _whole(half: Counts, size: int) -> Counts:
    """The symmetric matrix of its upper triangle."""
    matrix = np.zeros((size, size), np.int64)
    upper = np.triu_indices(size)
    matrix[upper] = half
    matrix.T[upper] = half
    return matrix
