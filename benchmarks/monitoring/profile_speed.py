"""Speed of a window against a stored reference profile: `uv run python -m benchmarks.monitoring.profile_speed`.

20 columns (15 numbers, 5 strings of 3 to 1,000 values) in one Parquet file, zstd. Each line is a process of its own
that streams the file once, counts it on the grid, reads the reference's profile and runs all tests on the counts. CPU
seconds are without imports; "read" is streaming the same columns once in the same process, and nothing else.
`--evidently` puts Evidently's default drift preset on 100,000 and 1,000,000 rows beside it (whole process, imports
included, as its users meet it).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs.case import Column, ColumnType, Contract, Problem, Role
from configs.monitoring import InputParams
from tasks.monitoring.grid import Grid
from tasks.monitoring.inputs import Scope, Side, compare_inputs
from tasks.monitoring.profile import Profile, profile_of

SIZES = (100_000, 1_000_000, 5_000_000)
LEVELS = (3, 10, 50, 200, 1_000)
_MOST_FOR_EVIDENTLY = 1_000_000
"""Five million take it nine minutes of CPU and 8.4 GB."""
_ROWS_AT_ONCE = 65_536
_ROWS_IN_A_GROUP = 250_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[*SIZES, 10_000_000], help="rows of the window")
    parser.add_argument("--quick", action="store_true", help="100,000 and 1,000,000 rows")
    parser.add_argument("--repeat", type=int, default=3, help="of each size; the fastest counts (default 3)")
    parser.add_argument("--evidently", action="store_true")
    parser.add_argument("--one", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        json.dump(_one(*given.one), sys.stdout)
        return
    sizes = [100_000, 1_000_000] if given.quick else given.sizes
    print("| rows of 20 columns | count | compare | read | count / read | peak memory | profile |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for rows in sizes:
            window = folder / f"{rows}.parquet"
            _write(window, rows, seed=1)
            _refer(folder, rows)
            runs = [_in_a_process(folder, window) for _ in range(given.repeat)]
            best = min(runs, key=lambda run: run["count"])
            read = min(run["read"] for run in runs)
            print(
                f"| {rows:,} | {best['count']:.2f} s | {best['compare']:.2f} s | {read:.2f} s "
                f"| {best['count'] / read:.1f} | {best['peak_mb']:.0f} MB | {best['profile_kb']:.0f} kB |",
                flush=True,
            )
            if given.evidently and rows <= _MOST_FOR_EVIDENTLY:
                print(_evidently(window, rows), flush=True)


def _refer(folder: Path, rows: int) -> None:
    """A reference of as many rows, counted once: grid and profile."""
    path = folder / f"reference-{rows}.parquet"
    _write(path, rows, seed=2)
    grid = Grid.fit(contract(), Problem.regression, _batches(path), 1)
    grid.write(folder / "grid.json")
    profile_of(_batches(path), grid).write(folder / "profile.parquet")
    path.unlink()


def _in_a_process(folder: Path, window: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.monitoring.profile_speed", "--one", str(folder), str(window)]
    told: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"{window.stem}: {told}", file=sys.stderr, flush=True)
    return told


def _one(folder: Path, window: Path) -> dict[str, float]:
    """What a scan does, and what reading alone would take. In this order: the second finds the file in memory too."""
    for _ in pq.ParquetFile(window, pre_buffer=False).iter_batches(_ROWS_AT_ONCE, use_threads=False):
        pass
    grid = Grid.read(folder / "grid.json")
    began = time.process_time()
    current = profile_of(_batches(window), grid)
    counted = time.process_time()
    reference = Profile.read(folder / "profile.parquet")
    scope = Scope(InputParams(), 1, leave_out=frozenset({"score"}))
    compare_inputs(Side(reference), Side(current), grid, scope)
    compared = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began_reading = time.process_time()
    for _ in _batches(window):
        pass
    return {
        "count": counted - began,
        "compare": compared - counted,
        "read": time.process_time() - began_reading,
        "peak_mb": peak,
        "profile_kb": len(current.to_bytes()) / 1000,
    }


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    yield from pq.ParquetFile(path, pre_buffer=False).iter_batches(_ROWS_AT_ONCE, use_threads=False)


def contract() -> Contract:
    """15 numbers and 5 strings."""
    needed = {
        "entity": Column(type=ColumnType.string, role=Role.entity),
        "moment": Column(type=ColumnType.timestamp, role=Role.event_time),
        "target": Column(type=ColumnType.number, role=Role.target),
    }
    numbers = {f"n{n}": Column(type=ColumnType.number, role=Role.feature) for n in range(15)}
    strings = {f"c{n}": Column(type=ColumnType.string, role=Role.feature) for n in range(len(LEVELS))}
    return Contract(version=1, columns=needed | numbers | strings)


def _write(path: Path, rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    writer = None
    for begin in range(0, rows, _ROWS_IN_A_GROUP):
        table = _table(random, min(_ROWS_IN_A_GROUP, rows - begin))
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    assert writer is not None
    writer.close()


def _table(random: np.random.Generator, rows: int) -> pa.Table:
    shapes = (
        lambda: random.normal(size=rows),
        lambda: random.lognormal(0, 1, rows),
        lambda: random.random(rows),
        lambda: random.standard_t(3, rows),
        lambda: random.exponential(1, rows),
    )
    columns: dict[str, pa.Array] = {f"n{n}": pa.array(shapes[n % len(shapes)]()) for n in range(15)}
    for n, levels in enumerate(LEVELS):
        names = pa.array([f"value {level}" for level in range(levels)])
        columns[f"c{n}"] = pa.DictionaryArray.from_arrays(random.integers(0, levels, rows), names).dictionary_decode()
    return pa.table(columns)


def _evidently(window: Path, rows: int) -> str:
    """Evidently on the same rows, half against half of twice as many, its HTML included."""
    program = (
        "import sys, time, resource, pandas as pd\n"
        "from evidently import Report\n"
        "from evidently.presets import DataDriftPreset\n"
        "frame = pd.read_parquet(sys.argv[1])\n"
        "snap = Report([DataDriftPreset()], include_tests=True).run(frame, frame.sample(frac=1, random_state=1))\n"
        "snap.dict(); snap.save_html(sys.argv[1] + '.html')\n"
        "print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    run = subprocess.run([sys.executable, "-c", program, str(window)], check=True, capture_output=True, text=True)
    seconds, peak = map(float, run.stdout.split()[-2:])
    return f"| Evidently, {rows:,} against as many | {seconds:.1f} s | in it | - | - | {peak:.0f} MB | - |"


if __name__ == "__main__":
    main()
