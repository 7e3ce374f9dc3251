"""How often the scan of the inputs alarms where nothing drifted: `uv run python -m benchmarks.monitoring.false_alarms`.

Every scan draws its reference and its current rows anew from the same world and runs all tests: each column's values,
missing values and new categories, the correlation of each pair of numbers, and the domain classifier. With `--share 20`
twenty scans in a row share a reference; where it is as large as it is said to be, that hardly ties them together.
"""

import argparse
import sys
import time

from scipy import stats

from benchmarks.monitoring.simulated import Scans, World

SIZES = ((5_000, 100), (1_000, 1_000), (5_000, 500), (50_000, 1_000), (50_000, 10_000), (500_000, 100_000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=400, help="of each size and number of columns (default 400)")
    parser.add_argument("--columns", type=int, nargs="*", default=[20, 30])
    parser.add_argument("--sizes", nargs="*", default=[f"{n}/{m}" for n, m in SIZES], help="reference/current rows")
    parser.add_argument("--share", type=int, default=1, help="so many scans in a row share a reference (default 1)")
    parser.add_argument("--quick", action="store_true", help="40 scans of the first three sizes, 20 columns")
    given = parser.parse_args()
    if given.quick:
        given.scans, given.columns, given.sizes = 40, [20], given.sizes[:3]
    print("| columns | reference / current | scans | any alarm | 95 % bound | columns | pairs | joint | s a scan |")
    print("|---|---|---|---|---|---|---|---|---|")
    for columns in given.columns:
        for size in given.sizes:
            reference_rows, current_rows = map(int, size.split("/"))
            scans = Scans.of(World(columns), reference_rows, current_rows, seed=0, share=given.share)
            print(measure(scans, given.scans), flush=True)


def measure(scans: Scans, count: int) -> str:
    """One line of the table."""
    size = f"{scans.reference_rows:,} / {scans.current_rows:,}"
    alarms = {"any": 0, "columns": 0, "pairs": 0, "together": 0}
    began = time.process_time()
    for seed in range(1, count + 1):
        found = {_part(one.subject) for one in scans.scan(seed) if one.alarm}
        for part in found:
            alarms[part] += 1
        alarms["any"] += bool(found)
        if seed % 50 == 0:
            print(f"{size}: {seed} scans, {alarms}", file=sys.stderr, flush=True)
    seconds = (time.process_time() - began) / count
    bound = stats.beta.ppf(0.95, alarms["any"] + 1, count - alarms["any"])
    shares = " | ".join(f"{100 * alarms[part] / count:.1f} %" for part in ("columns", "pairs", "together"))
    return (
        f"| {scans.world.columns} | {size} | {count} | {100 * alarms['any'] / count:.1f} % "
        f"| {100 * bound:.1f} % | {shares} | {seconds:.2f} |"
    )


def _part(subject: str) -> str:
    if " & " in subject:
        return "pairs"
    return "together" if " " in subject else "columns"


if __name__ == "__main__":
    main()
