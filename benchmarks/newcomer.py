"""What a newcomer waits for: `make run` in a fresh clone, and again with nothing changed.

    python benchmarks/newcomer.py [--rounds 1]

The package cache is warm if uv has installed the project before. Memory is the largest single process of the run.
"""

import argparse
import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rounds", type=int, default=1)
    rounds = asked.parse_args().rounds
    seconds: dict[str, list[float]] = {"make setup": [], "make run, first": [], "make run, again": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            clone = Path(folder) / "evergreen"
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
            seconds["make setup"].append(timed(clone, "setup"))
            seconds["make run, first"].append(timed(clone, "run"))
            seconds["make run, again"].append(timed(clone, "run"))
    print(f"\n| | median s of {rounds} | all |\n|---|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {statistics.median(values):.1f} | {', '.join(f'{value:.1f}' for value in values)} |")
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"\nLargest process: {largest:.0f} MiB")


def timed(clone: Path, target: str) -> float:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EVERGREEN_")}
    started = time.perf_counter()
    subprocess.run(
        ["make", "--no-print-directory", target], cwd=clone, env=environment, check=True, capture_output=True
    )
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
