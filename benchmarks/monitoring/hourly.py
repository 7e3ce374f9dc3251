"""Looked at every hour for 28 days: false alarms, and how long a shift of one column of 30 goes unnoticed.

`uv run python -m benchmarks.monitoring.hourly` prints a table; about fifteen minutes of one core (`--quick`: two).

Each run has 200 rows an hour, and each twenty (without a change: each) a reference of their own: 24 columns of numbers
(normal, lognormal, counts, uniform, heavy tails) and 6 of categories (2 to 30 values). The change comes on day 14, in
one of the normal columns: in the others the same shift, in standard deviations, is found sooner, as it takes values
beyond where the reference ends.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
import pyarrow as pa
from scipy import stats

from configs.case import Column, Contract, Problem
from configs.monitoring import HourlyParams
from tasks.monitoring.bets import Bets
from tasks.monitoring.bins import NumberBins
from tasks.monitoring.grid import SCORE, Grid
from tasks.monitoring.hourly import Watch, Watched
from tasks.monitoring.profile import ColumnProfile, Counting, Profile

SEED = 20260401
START = datetime(2026, 1, 1, tzinfo=UTC)
HOURS, CHANGE = 28 * 24, 14 * 24
LEVELS = (2, 3, 8, 8, 20, 30)
NUMBERS = 24
KIND = 5
"""Kinds of numbers; every fifth column is normal."""


@dataclass(frozen=True)
class World:
    """One reference, and the bets against it."""

    watch: Watch
    grid: Grid
    empty: Profile


def numbers(draw: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    """Columns of five kinds."""
    kinds = (
        lambda: draw.normal(size=rows),
        lambda: draw.lognormal(size=rows),
        lambda: draw.poisson(4, size=rows).astype(float),
        lambda: draw.random(rows),
        lambda: draw.standard_t(3, size=rows),
    )
    return {f"n{index:02d}": kinds[index % len(kinds)]() for index in range(NUMBERS)}


def spread(kind: int) -> float:
    """The standard deviation of a column's kind."""
    return (1.0, float(np.sqrt((np.e - 1) * np.e)), 2.0, float(np.sqrt(1 / 12)), float(np.sqrt(3)))[kind % KIND]


def names(draw: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    """Columns of categories, the first more frequent than the last."""
    return {
        f"c{index}": draw.choice(levels, size=rows, p=_shares(levels)).astype(str)
        for index, levels in enumerate(LEVELS)
    }


def _shares(levels: int) -> np.ndarray:
    weights = 1 / np.arange(1, levels + 1)
    return weights / weights.sum()


def world(draw: np.random.Generator, rows: int, params: HourlyParams) -> World:
    """A reference of so many rows."""
    columns = {
        "id": Column.model_validate({"type": "string", "role": "entity"}),
        "at": Column.model_validate({"type": "timestamp", "role": "event_time"}),
        "y": Column.model_validate({"type": "boolean", "role": "target"}),
        **{f"n{i:02d}": Column.model_validate({"type": "number", "role": "feature"}) for i in range(NUMBERS)},
        **{f"c{i}": Column.model_validate({"type": "string", "role": "feature"}) for i in range(len(LEVELS))},
    }
    batch = pa.RecordBatch.from_pydict({
        **{name: pa.array(values) for name, values in numbers(draw, rows).items()},
        **{name: pa.array(values.tolist()) for name, values in names(draw, rows).items()},
        SCORE: pa.array(draw.random(rows)),
    })  # fmt: skip
    fitted = Grid.fit(Contract(version=1, columns=columns), Problem.binary, [batch], 1)
    grid = replace(fitted, columns={name: bins for name, bins in fitted.columns.items() if name != SCORE})
    counting = Counting(grid)
    empty = counting.profile
    counting.add(batch)
    reference = counting.profile
    bets = Bets.against(reference, grid, params.tolerance, params.error_rate)
    return World(Watch(bets, params), grid, empty)


@lru_cache(maxsize=1)
def referred(number: int, rows: int, params: HourlyParams) -> World:
    """The reference of that number."""
    return world(np.random.default_rng([SEED, 7, abs(number), int(number < 0)]), rows, params)


def hour(draw: np.random.Generator, world: World, rows: int, shifts: dict[str, float]) -> Profile:
    """The profile of one hour, with some columns of numbers shifted by so many of their standard deviations."""
    columns: dict[str, ColumnProfile] = {}
    values: dict[str, np.ndarray] = {**numbers(draw, rows), **names(draw, rows)}
    for index, (name, bins) in enumerate(world.grid.columns.items()):
        if isinstance(bins, NumberBins):
            moved = values[name] + shifts.get(name, 0.0) * spread(index)
            counts = np.bincount(np.searchsorted(bins.edges, moved, side="right"), minlength=bins.size)
        else:
            places = {category: place for place, category in enumerate(bins.categories)}
            counts = np.bincount([places[value] for value in values[name]], minlength=bins.size)
        columns[name] = replace(world.empty.columns[name], rows=rows, counts=counts)
    return replace(world.empty, rows=rows, columns=columns)


@dataclass(frozen=True)
class Plan:
    """What a run looks like."""

    reference: int
    rows: int
    shift: float
    params: HourlyParams


def run(seed: int, plan: Plan) -> tuple[int | None, bool]:
    """The first hour that alarms, and whether the right column gained most; None if none does."""
    draw = np.random.default_rng([SEED, seed, round(1000 * plan.shift)])
    made = referred(seed // 20 if plan.shift else -1 - seed, plan.reference, plan.params)
    state = Watched(version="1", reference="made up")
    name = f"n{KIND * (seed % KIND):02d}"
    begin = CHANGE - 48 if plan.shift else 0  # what was before a change is the case of no change, looked at by itself
    for now in range(begin, HOURS):
        shifts = {name: plan.shift} if now >= CHANGE else {}
        state = made.watch.take(state, START + timedelta(hours=now), hour(draw, made, plan.rows, shifts))
        if made.watch.total(state) >= made.watch.log_threshold:
            return now, made.watch.bets.columns[int(np.argmax(made.watch.wealth(state)))] == name
    return None, False


def share(hits: int, runs: int) -> str:
    """A share with its 95 % interval (Clopper and Pearson 1934)."""
    found = stats.binomtest(hits, runs).proportion_ci()
    return f"{hits} of {runs} ({hits / runs:.1%}; {found.low:.1%} to {found.high:.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--reference", type=int, default=50_000, help="rows of the reference")
    parser.add_argument("--rows", type=int, default=200, help="rows an hour")
    parser.add_argument("--quick", action="store_true", help="20 runs")
    parser.add_argument("--shift", type=float, action="append", help="only this one; may be given again")
    asked = parser.parse_args()
    runs = 20 if asked.quick else asked.runs
    print(f"| {runs} runs, {asked.rows} rows an hour, 30 columns, reference {asked.reference:,} | found | bar |")
    print("|---|---|---|", flush=True)
    for shift, bar in ((0.0, "<= 5 %"), (0.1, "median <= 24 h"), (0.25, "<= 5 h"), (0.5, "-")):
        if asked.shift and shift not in asked.shift:
            continue
        plan = Plan(asked.reference, asked.rows, shift, HourlyParams())
        found = []
        for seed in range(runs):
            found.append(run(seed, plan))
            print(f"shift {shift}: {seed + 1} of {runs}", file=sys.stderr, flush=True)
        if not shift:
            alarmed = sum(at is not None for at, _ in found)
            print(f"| no change: any alarm in 28 days | {share(alarmed, runs)} | {bar} |", flush=True)
            continue
        early = sum(at is not None and at < CHANGE for at, _ in found)
        delays = [HOURS if at is None else at - CHANGE + 1 for at, _ in found if at is None or at >= CHANGE]
        middle, late = np.quantile(delays, [0.5, 0.9])
        print(
            f"| +{shift} sd in one column: hours until found | median {middle:.0f}, 90 % within {late:.0f}; "
            f"right column {sum(right for _, right in found)} of {runs}; before the change {early} | {bar} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
