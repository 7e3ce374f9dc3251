"""Ten minutes of steady load: memory stays flat, and the log holds as many rows as the client saw answers.

    uv run python -m benchmarks.serving.soak [--minutes 10] [--rate 2000]

Looks at the memory of each process every few seconds, and compares the last fifth of the run with its second fifth.
Ends with 1 if the counts differ.
"""

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.serving.instruments import CACHE, Load, Result, Running, as_json, end_cleanly
from benchmarks.serving.logged import logged_ids
from benchmarks.serving.ours import kind_of, prepare, say, start_gateway, write_flights
from benchmarks.serving.processes import Server, command_of, memory_of
from configs.project import Project
from serving.ledger.places import segments_folder


@dataclass(frozen=True)
class Look:
    """MiB resident of each process, and MB of segments that are not Parquet yet."""

    second: float
    memory: dict[str, float]
    segments: float


def main() -> None:
    end_cleanly()
    asked = _arguments()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evergreen-soak-")))
        project = stack.enter_context(prepare(asked.cache).clone("shared"))
        requests = write_flights(project, scratch)
        since = datetime.now(UTC)
        with start_gateway(project) as server:
            load = Load(requests, 32, seconds=asked.minutes * 60, rate=asked.rate, poisson=True, per_second=True)
            looks, result, cpu = _soak(server, project, load, asked.every)
        say("reading the log")
        rows = len(logged_ids(project, since))
    print(_tables(looks, result, rows, cpu))
    asked.output.mkdir(parents=True, exist_ok=True)
    path = asked.output / f"soak-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(as_json({"looks": looks, "result": result, "rows": rows}))
    say(f"written: {path}")
    sys.exit(0 if rows == result.answered and not result.failed else 1)


def _soak(server: Server, project: Project, load: Load, every: float) -> tuple[list[Look], Result, dict[str, float]]:
    looks, began, before = [], time.monotonic(), server.cpu()
    running = Running(server.port, load)
    try:
        while running.process.poll() is None:
            looks.append(_look(server, project, time.monotonic() - began))
            if len(looks) % 12 == 1:
                say(f"{looks[-1].second:.0f} s: {looks[-1].memory}, segments {looks[-1].segments:.1f} MB")
            time.sleep(every)
        result = running.result()
    finally:
        running.stop()
    spent = {kind_of(command_of(pid)): 0.0 for pid in server.processes()}
    for pid, seconds in server.cpu().items():
        spent[kind_of(command_of(pid))] = spent.get(kind_of(command_of(pid)), 0.0) + seconds - before.get(pid, 0.0)
    return looks, result, spent


def _look(server: Server, project: Project, second: float) -> Look:
    memory: dict[str, float] = {}
    for number, pid in enumerate(sorted(server.processes())):
        kind = kind_of(command_of(pid))
        memory[f"{kind} {number}" if kind == "worker" else kind] = memory_of(pid).rss
    segments = sum(path.stat().st_size for path in segments_folder(project).glob("*") if path.is_file())
    return Look(second, memory, segments / 1e6)


def _tables(looks: list[Look], result: Result, rows: int, cpu: dict[str, float]) -> str:
    fifth = max(1, len(looks) // 5)
    lines = ["| process | RSS MiB, second fifth | last fifth | largest | growth |", "|---|---|---|---|---|"]
    for name in looks[-1].memory:
        early, late = (_medians(part, name) for part in (looks[fifth : 2 * fifth], looks[-fifth:]))
        largest = max(look.memory.get(name, 0.0) for look in looks)
        lines.append(f"| {name} | {early:.1f} | {late:.1f} | {largest:.1f} | {late / early - 1:+.1%} |")
    lines += [
        "",
        "| requests | answered | failed | rows in the log | p50 ms | p99 | max |",
        "|---|---|---|---|---|---|---|",
    ]
    counts = f"{result.requests:,} | {result.answered:,} | {result.failed} | {rows:,}"
    lines.append(f"| {counts} | {result.p50:.2f} | {result.p99:.2f} | {result.max:.1f} |")
    each = ", ".join(f"{kind} {seconds / result.answered * 1e6:.1f}" for kind, seconds in sorted(cpu.items()))
    return "\n".join([*lines, "", f"CPU µs a request: {each}"])


def _medians(looks: list[Look], name: str) -> float:
    return statistics.median(look.memory[name] for look in looks if name in look.memory)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=2000.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two looks at the memory")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--output", type=Path, default=CACHE / "results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
