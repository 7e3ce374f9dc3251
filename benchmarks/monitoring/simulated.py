"""Simulated rows for the scan of the inputs: numbers of many shapes, categories of 3, 8 and 20 levels, some missing."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from configs.case import Column, ColumnType, Contract, Problem, Role
from configs.monitoring import InputParams
from tasks.monitoring.grid import Grid
from tasks.monitoring.hours import plain_rows
from tasks.monitoring.inputs import Scope, Side, compare_inputs
from tasks.monitoring.profile import profile_of
from tasks.verdicts import Evidence

Columns = dict[str, np.ndarray]
Change = Callable[[Columns, np.random.Generator], Columns]

LEVELS = (3, 8, 20)


@dataclass(frozen=True)
class World:
    """Where rows come from: so many columns, a quarter of them categories."""

    columns: int

    @property
    def categories(self) -> list[str]:
        return [f"c{n}" for n in range(self.columns // 4)]

    @property
    def numbers(self) -> list[str]:
        return [f"n{n}" for n in range(self.columns - self.columns // 4)]

    @property
    def contract(self) -> Contract:
        def column(type_: ColumnType, role: Role = Role.feature) -> Column:
            return Column(type=type_, role=role, may_be_missing=1.0)

        features = {name: column(ColumnType.number) for name in self.numbers}
        features |= {name: column(ColumnType.string) for name in self.categories}
        needed = {
            "entity": column(ColumnType.string, Role.entity),
            "moment": column(ColumnType.timestamp, Role.event_time),
            "target": column(ColumnType.boolean, Role.target),
        }
        return Contract(version=1, columns=needed | features)

    def rows(self, count: int, random: np.random.Generator) -> Columns:
        """Numbers: five that go together, then all shapes in turn, every fifth with missing values."""
        common = random.normal(size=count)
        columns: Columns = {}
        for n, name in enumerate(self.numbers):
            if n < 5:
                values = np.sqrt(0.5) * common + np.sqrt(0.5) * random.normal(size=count)
            else:
                values = _SHAPES[n % len(_SHAPES)](random, count)
            if n % 5 == 4:
                values = np.where(random.random(count) < 0.05, np.nan, values)
            columns[name] = values
        for n, name in enumerate(self.categories):
            levels = LEVELS[n % len(LEVELS)]
            shares = 1 / np.arange(1, levels + 1)
            columns[name] = random.choice(levels, count, p=shares / shares.sum())
        return columns


_SHAPES: list[Callable[[np.random.Generator, int], np.ndarray]] = [
    lambda random, count: random.normal(size=count),
    lambda random, count: random.lognormal(0, 1, count),
    lambda random, count: random.poisson(3, count).astype(float),
    lambda random, count: random.random(count),
    lambda random, count: random.standard_t(3, count),
    lambda random, count: np.where(random.random(count) < 0.6, 0.0, random.exponential(1, count)),
]
_NAMES = np.array([f"level {n}" for n in range(max(LEVELS))], dtype=object)


def as_batch(columns: Columns) -> pa.RecordBatch:
    """The rows as the monitors take them."""
    arrays = {}
    for name, values in columns.items():
        if values.dtype.kind in "iu":
            arrays[name] = pa.DictionaryArray.from_arrays(pa.array(values), pa.array(_NAMES))
        else:
            arrays[name] = pa.array(values, from_pandas=True)
    return pa.record_batch(arrays)


@dataclass(frozen=True)
class Scans:
    """Scans of one size: the grid is fixed once, as it is for a case, and reference and current rows are drawn anew.

    Where references are large, some scans in a row may share one.
    """

    world: World
    reference_rows: int
    current_rows: int
    grid: Grid
    params: InputParams = field(default_factory=InputParams)
    share: int = 1
    """So many scans in a row are held against one reference."""
    drawn: dict[int, tuple[Side, np.random.PCG64]] = field(default_factory=dict)
    """The newest reference, and the generator as drawing it left it."""

    @classmethod
    def of(cls, world: World, reference_rows: int, current_rows: int, seed: int, share: int = 1) -> "Scans":
        first = as_batch(world.rows(min(reference_rows, 100_000), np.random.default_rng(seed)))
        grid = Grid.fit(world.contract, Problem.binary, [first], 1)
        return cls(world, reference_rows, current_rows, grid, share=share)

    def scan(self, seed: int, change: Change | None = None) -> tuple[Evidence, ...]:
        """One scan; `change` makes the drift."""
        first = seed - seed % self.share
        reference, left = self._reference(first)
        random = np.random.Generator(left.jumped(seed - first))
        current = self.world.rows(self.current_rows, random)
        changed = self._side(change(current, random) if change else current)
        return compare_inputs(reference, changed, self.grid, Scope(self.params, seed, leave_out=frozenset({"score"})))

    def _reference(self, seed: int) -> tuple[Side, np.random.PCG64]:
        if seed not in self.drawn:
            self.drawn.clear()
            left = np.random.PCG64([seed, self.reference_rows, self.current_rows, self.world.columns])
            side = self._side(self.world.rows(self.reference_rows, np.random.Generator(left)))
            self.drawn[seed] = side, left
        return self.drawn[seed]

    def _side(self, columns: Columns) -> Side:
        batch = as_batch(columns)
        drawn = batch.slice(0, self.params.sample_rows)  # rows are independent: the first are as good as any
        return Side(profile_of([batch], self.grid), plain_rows(drawn, self.grid).to_pandas())
