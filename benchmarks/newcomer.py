"""What a newcomer waits for: `make run` in a fresh clone, and again with nothing changed.

    python benchmarks/newcomer.py [--rounds 1]

The package cache is warm if uv has installed the project before. Memory is the largest sum over all processes of the
run, shared pages counted once, looked at twice a second (Linux).
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rounds", type=int, default=1)
    rounds = asked.parse_args().rounds
    seconds: dict[str, list[float]] = {"make setup": [], "make run, first": [], "make run, again": []}
    peaks: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            clone = Path(folder) / "evergreen"
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
            for name, target in zip(seconds, ("setup", "run", "run"), strict=True):
                seconds[name].append(timed(clone, target, peaks))
    print(f"\n| | median s of {rounds} | all |\n|---|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {statistics.median(values):.1f} | {', '.join(f'{value:.1f}' for value in values)} |")
    print(f"\nLargest sum of memory: {max(peaks):.0f} MiB")


def timed(clone: Path, target: str, peaks: list[float]) -> float:
    """Seconds that `make target` takes; adds what memory its processes had to `peaks`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EVERGREEN_")}
    started = time.perf_counter()
    command = ["make", "--no-print-directory", target]
    with subprocess.Popen(
        command, cwd=clone, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        while run.poll() is None:
            peaks.append(sum(map(memory, family(run.pid))))
            time.sleep(0.5)
    if run.returncode:
        raise SystemExit(f"make {target} failed; run it in a clone to see why")
    return time.perf_counter() - started


def family(pid: int) -> set[int]:
    """The process and everything below it."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def memory(pid: int) -> float:
    """MiB of a process; of a page that n processes share, each counts one nth."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
