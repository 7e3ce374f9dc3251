"""How fast a change of champion reaches every worker, and what it costs the requests that are under way.

    uv run python -m benchmarks.serving.swap [--rounds 3] [--seconds 12]

An open loop of 2,000 requests a second runs through an approval, a rollback and a third change, all made by another
process in the registry; then the same load runs without a change. For each worker counts the first answer of the new
version that it sends to any of its connections.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.serving.changes import Changer, Seen, changer, read_seen
from benchmarks.serving.instruments import CACHE, Load, Result, Running, end_cleanly, run_load
from benchmarks.serving.ours import Prepared, prepare, say, start_gateway, write_flights
from benchmarks.serving.processes import Server, owners_of_connections

CHANGES = ("approve 2", "roll back 2", "champion 2")
_CONNECTIONS = 32
_SETTLE = 2.0
"""Seconds before the first change, and after each."""
_FOR_LONG = 600.0


@dataclass(frozen=True)
class Change:
    """A change, and for each worker the ms from the registry's write to its first answer of the new version."""

    what: str
    from_begun: dict[int, float]
    """Counted from when the write began: includes the write itself."""
    from_written: dict[int, float]


@dataclass(frozen=True)
class Round:
    changes: list[Change]
    swapped: Result
    quiet: Result


def main() -> None:
    end_cleanly()
    asked = _arguments()
    prepared = prepare(asked.cache)
    rounds = []
    for number in range(1, asked.rounds + 1):
        rounds.append(_round(asked, prepared))
        last = rounds[-1]
        took = ", ".join(f"{change.what} {max(change.from_begun.values()):.0f} ms" for change in last.changes)
        worst = f"worst {last.swapped.max:.1f} ms, without changes {last.quiet.max:.1f} ms"
        say(f"round {number}: {took}; {last.swapped.failed} failed, {worst}")
    print(_tables(rounds))


def _round(asked: argparse.Namespace, prepared: Prepared) -> Round:
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evergreen-swap-")))
        project = stack.enter_context(prepared.clone("asked"))
        other = stack.enter_context(changer(project, "benchmarks.serving.changer"))
        server = stack.enter_context(start_gateway(project, {"workers": asked.workers}))
        requests = write_flights(project, scratch)
        run_load(server.port, Load(requests, _CONNECTIONS, seconds=2))
        load = Load(requests, _CONNECTIONS, seconds=asked.seconds, rate=asked.rate, changes=scratch / "changes")
        changes, swapped = _swapped(server, other, load, asked.workers)
        time.sleep(_SETTLE)
        quiet = run_load(server.port, replace(load, seconds=swapped.seconds))
    return Round(changes, swapped, quiet)


def _swapped(server: Server, other: Changer, load: Load, workers: int) -> tuple[list[Change], Result]:
    running, began = Running(server.port, replace(load, seconds=_FOR_LONG)), time.monotonic()
    try:
        time.sleep(_SETTLE)
        owners = owners_of_connections(server)
        if len(set(owners.values())) != workers:
            raise RuntimeError(f"{len(set(owners.values()))} of {workers} workers have connections; run it again")
        done = []
        for what in CHANGES:
            done.append(other.change(what))
            time.sleep(_SETTLE)
        time.sleep(max(0.0, began + (load.seconds or 0) - time.monotonic()))
        result = running.end()
    finally:
        running.stop()
    assert load.changes
    seen = read_seen(load.changes)
    return [change_of(told, seen, owners) for told in done], result


def change_of(told: dict[str, Any], seen: Sequence[Seen], owners: dict[int, int]) -> Change:
    first: dict[int, float] = {}
    for one in seen:
        if one.at >= told["begun"] and one.version == told["champion"] and one.port in owners:
            first.setdefault(owners[one.port], one.at)
    missing = set(owners.values()) - first.keys()
    if missing:
        raise RuntimeError(f"after `{told['done']}` the workers {sorted(missing)} never answered with the new version")
    return Change(
        told["done"],
        {worker: (at - told["begun"]) * 1000 for worker, at in first.items()},
        {worker: (at - told["written"]) * 1000 for worker, at in first.items()},
    )


def _tables(rounds: Sequence[Round]) -> str:
    lines = ["| change | from the write's begin to the last worker, ms | all | from its end, ms |", "|---|---|---|---|"]
    for number, what in enumerate(CHANGES):
        made = [one.changes[number] for one in rounds]
        begun, written = ([max(getattr(one, name).values()) for one in made] for name in ("from_begun", "from_written"))
        every = ", ".join(f"{value:.0f}" for value in begun)
        lines.append(f"| {what} | {statistics.median(begun):.0f} | {every} | {statistics.median(written):.0f} |")
    lines += [
        "",
        "| load | requests | failed | p50 ms | p99 | max, median | max, all |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_line("with three changes", [one.swapped for one in rounds])]
    lines += [_line("without", [one.quiet for one in rounds])]
    ratio = [one.swapped.max / one.quiet.max for one in rounds]
    lines += ["", f"Worst latency with changes by the one without: {', '.join(f'{value:.1f}' for value in ratio)}"]
    return "\n".join(lines)


def _line(name: str, results: Sequence[Result]) -> str:
    p50, p99, worst = (statistics.median(getattr(one, key) for one in results) for key in ("p50", "p99", "max"))
    every = ", ".join(f"{one.max:.1f}" for one in results)
    requests, failed = sum(one.requests for one in results), sum(one.failed for one in results)
    return f"| {name} | {requests:,} | {failed} | {p50:.2f} | {p99:.2f} | {worst:.1f} | {every} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=12.0, help="at least; three changes take about 15")
    parser.add_argument("--rate", type=float, default=2000.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=CACHE)
    return parser.parse_args()


if __name__ == "__main__":
    main()
