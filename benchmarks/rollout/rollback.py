"""How fast a challenger that fails a gate is away from users, on every worker, under load.

    uv run python -m benchmarks.rollout.rollback [--cycles 10] [--rate 500]

A challenger that answers everybody fails a rule, in turn as challenger (canary at 100 %) and as champion just promoted.
Measured from the decision (before it is written down anywhere) until every connection has had its first answer by the
old champion.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from benchmarks.rollout.decider import CHALLENGER, CHAMPION
from benchmarks.serving.changes import Seen, changer, read_seen
from benchmarks.serving.instruments import CACHE, Load, Running, end_cleanly, run_load
from benchmarks.serving.ours import CASE, prepare, say, start_gateway, write_flights
from benchmarks.serving.processes import owners_of_connections
from configs.project import Project

_CONNECTIONS = 32
_SETTLE, _FIRST = 2.0, 15.0
"""Seconds for every worker to follow a change; the first time, the challenger has to be prepared too."""
_FOR_LONG = 3600.0
KINDS = {"canary at 100 %": ("full",), "just promoted": ("full", "promote")}
ROLLOUT = {"strategy": "canary", "steps": [1.0], "canary": {"hours": 0, "requests": 0}, "warm_hours": 24}


def main() -> None:
    end_cleanly()
    asked = _arguments()
    prepared = prepare(asked.cache)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evergreen-rollback-")))
        project = stack.enter_context(prepared.clone("asked"))
        _staged(project)
        decider = stack.enter_context(changer(project, "benchmarks.rollout.decider"))
        server = stack.enter_context(start_gateway(project, {"workers": asked.workers}))
        requests = write_flights(project, scratch)
        run_load(server.port, Load(requests, _CONNECTIONS, seconds=2))
        changes = scratch / "changes"
        load = Load(requests, _CONNECTIONS, seconds=_FOR_LONG, rate=asked.rate, changes=changes)
        running = Running(server.port, load)
        try:
            told = []
            for cycle in range(asked.cycles):
                for kind, before in KINDS.items():
                    for what in before:
                        decider.change(what)
                    time.sleep(_SETTLE if told else _FIRST)
                    if len(set(owners_of_connections(server).values())) != asked.workers:
                        raise RuntimeError("not every worker has a connection; run it again")
                    told.append((kind, decider.change("fail")))
                    time.sleep(_SETTLE)
                say(f"cycle {cycle + 1} of {asked.cycles}")
            result = running.end()
        finally:
            running.stop()
        seen = read_seen(changes)
    found = {kind: [_took(one, seen) for of, one in told if of == kind] for kind in KINDS}
    print(_table(found))
    print(f"\n{result.requests:,} requests at {asked.rate:g} a second over {asked.workers} workers, ", end="")
    how = f" (statuses {result.statuses}, {result.kinds}, {result.unsent} not sent in time)" if result.failed else ""
    print(f"{result.failed} failed{how}; p50 {result.p50:.2f} ms, p99 {result.p99:.2f} ms, worst {result.max:.1f} ms")


def _took(told: dict[str, Any], seen: Sequence[Seen]) -> tuple[float, float]:
    """Milliseconds from the decision, and from the write's end, until the old champion answered on every connection.

    The kernel spreads connections over the workers; one that was closed and opened anew meanwhile says nothing.
    """
    before: dict[int, str] = {}
    last = None
    for one in seen:
        within = told["begun"] < one.at < told["begun"] + _SETTLE
        if within and before.get(one.port) == CHALLENGER and one.version == CHAMPION:
            last = one.at
        before[one.port] = one.version
    if last is None:
        raise RuntimeError("no connection went back to the old champion")
    return 1000 * (last - told["begun"]), 1000 * (last - told["written"])


def _staged(project: Project) -> None:
    path = project.root / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params[CASE]["rollout"] = ROLLOUT
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def _table(found: dict[str, Sequence[tuple[float, float]]]) -> str:
    lines = [
        "| the challenger was | rollbacks | decision to last connection, ms: p50 | max | from the write: p50 | max |",
        "|---|---|---|---|---|---|",
    ]
    for kind, changes in found.items():
        decided, written = zip(*changes, strict=True)
        figures = f"{statistics.median(decided):.0f} | {max(decided):.0f} | {statistics.median(written):.0f}"
        lines.append(f"| {kind} | {len(changes)} | {figures} | {max(written):.0f} |")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=10, help="rollbacks of each kind; 2 for a quick look")
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=CACHE)
    return parser.parse_args()


if __name__ == "__main__":
    main()
