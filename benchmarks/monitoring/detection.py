"""What the scan of the inputs finds, and names: `uv run python -m benchmarks.monitoring.detection`.

Drift is put into one column of a world of 20 or 30 (simulated.py), at the default rate of false alarms of 5 % a scan,
all tests on. "named": the first thing the verdict names is the column that was changed, or a pair with it.
With `--evidently`, Evidently's default drift preset sees the same rows.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.monitoring.simulated import Change, Columns, Scans, World, as_batch


@dataclass(frozen=True)
class Drift:
    """What is changed in the current rows, in which column."""

    name: str
    column: str
    reference_rows: int
    current_rows: int
    columns: int
    change: Change
    wanted: float | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=200, help="of each drift (default 200)")
    parser.add_argument("--quick", action="store_true", help="20 scans of each")
    parser.add_argument("--evidently", type=int, default=0, metavar="RUNS", help="so many runs of Evidently beside it")
    parser.add_argument("--only", default="", help="drifts whose name has this in it")
    given = parser.parse_args()
    count = 20 if given.quick else given.scans
    print("| drift | columns | reference / current | scans | found | named | wanted | Evidently: column / dataset |")
    print("|---|---|---|---|---|---|---|---|")
    for drift in (one for one in DRIFTS if given.only in one.name):
        print(measure(drift, count, given.evidently), flush=True)


def measure(drift: Drift, count: int, peers: int) -> str:
    """One line of the table."""
    scans = Scans.of(World(drift.columns), drift.reference_rows, drift.current_rows, seed=0)
    found = named = 0
    for seed in range(1, count + 1):
        alarms = [one for one in scans.scan(seed, drift.change) if one.alarm]
        found += bool(alarms)
        named += bool(alarms) and drift.column in alarms[0].subject.split(" & ")
        if seed % 50 == 0:
            print(f"{drift.name}: {seed} scans, {found} found, {named} named", file=sys.stderr, flush=True)
    beside = _evidently(scans, drift, peers) if peers else "-"
    wanted = f"≥ {100 * drift.wanted:g} %" if drift.wanted else "-"
    return (
        f"| {drift.name} | {drift.columns} | {drift.reference_rows:,} / {drift.current_rows:,} | {count} "
        f"| {100 * found / count:.1f} % | {100 * named / count:.1f} % | {wanted} | {beside} |"
    )


def _evidently(scans: Scans, drift: Drift, runs: int) -> str:
    from evidently import Report  # noqa: PLC0415 - takes seconds, and is only asked for at times
    from evidently.presets import DataDriftPreset  # noqa: PLC0415

    column = dataset = 0
    for seed in range(1, runs + 1):
        random = np.random.default_rng(seed)
        reference = _frame(scans.world.rows(drift.reference_rows, random))
        current = _frame(drift.change(scans.world.rows(drift.current_rows, random), random))
        tests = Report([DataDriftPreset()], include_tests=True).run(current, reference).dict()["tests"]
        failed = [test["name"] for test in tests if test["status"] == "FAIL"]
        dataset += any(name.startswith("Share of Drifted Columns") for name in failed)
        column += any(drift.column in name for name in failed)
    return f"{100 * column / runs:.0f} % / {100 * dataset / runs:.0f} %"


def _frame(columns: Columns) -> pd.DataFrame:
    return as_batch(columns).to_pandas()


def shifted(column: str, by: float) -> Change:
    return lambda rows, _: rows | {column: rows[column] + by}


def spread(column: str, times: float) -> Change:
    return lambda rows, _: rows | {column: rows[column] * times}


def missing(column: str, share: float) -> Change:
    return lambda rows, random: (
        rows | {column: np.where(random.random(len(rows[column])) < share, np.nan, rows[column])}
    )


def more_of(column: str, level: int, share: float) -> Change:
    return lambda rows, random: rows | {column: np.where(random.random(len(rows[column])) < share, level, rows[column])}


def correlated(column: str, other: str, correlation: float) -> Change:
    """Both columns stay normal; how they go together changes."""

    def change(rows: Columns, random: np.random.Generator) -> Columns:
        fresh = random.normal(size=len(rows[column]))
        return rows | {column: correlation * rows[other] + np.sqrt(1 - correlation**2) * fresh}

    return change


Make = Callable[..., Change]
DRIFTS = (
    Drift("mean +0.25 sd", "n0", 50_000, 1_000, 20, shifted("n0", 0.25), 0.99),
    Drift("mean +0.25 sd, small reference", "n0", 5_000, 1_000, 20, shifted("n0", 0.25)),
    Drift("missing 0 → 5 %", "n0", 50_000, 1_000, 20, missing("n0", 0.05), 0.95),
    Drift("correlation 0 → 0.2, marginals kept", "n6", 50_000, 1_000, 20, correlated("n6", "n0", 0.2), 0.95),
    Drift("correlation 0.5 → 0.2, marginals kept", "n0", 50_000, 1_000, 20, correlated("n0", "n1", 0.2), 0.95),
    Drift("mean +0.25 sd, 500 rows", "n0", 5_000, 500, 30, shifted("n0", 0.25), 0.90),
    Drift("mean +0.25 sd, 500 rows, large reference", "n0", 50_000, 500, 30, shifted("n0", 0.25)),
    Drift("mean +0.1 sd", "n0", 50_000, 10_000, 20, shifted("n0", 0.1)),
    Drift("spread times 1.2", "n0", 50_000, 1_000, 20, spread("n0", 1.2)),
    Drift("a category + 5 points", "c1", 50_000, 10_000, 20, more_of("c1", 3, 0.05)),
    Drift("mean +0.05 sd: as large as the floor", "n0", 500_000, 100_000, 20, shifted("n0", 0.05)),
)


if __name__ == "__main__":
    main()
