"""Bad company: what users feel while other clients send a byte a second, or hang up half-way, again and again.

    uv run python -m benchmarks.serving.company [--rounds 3] [--seconds 4]

The same open loop alone, beside 50 slow clients, and beside 20 that hang up with a request half or wholly sent.
Ends with 1 if a request of the good clients failed.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.serving.instruments import CACHE, Load, Result, end_cleanly, run_load
from benchmarks.serving.ours import prepare, say, start_gateway, write_flights

COMPANY = {"alone": (0, 0), "beside 50 slow clients": (50, 0), "beside 20 that hang up": (0, 20)}


def main() -> None:
    end_cleanly()
    asked = _arguments()
    results: dict[str, list[Result]] = {name: [] for name in COMPANY}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evergreen-company-")))
        project = stack.enter_context(prepare(asked.cache).clone("shared"))
        load = Load(write_flights(project, scratch), 32, seconds=asked.seconds, rate=asked.rate)
        server = stack.enter_context(start_gateway(project, {"limits.request_seconds": asked.patience}))
        run_load(server.port, load)
        for number in range(1, asked.rounds + 1):
            for name, (slow, die) in COMPANY.items():
                one = run_load(server.port, replace(load, slow=slow, die=die))
                results[name].append(one)
                say(f"round {number}: {name}: p99 {one.p99:.2f} ms, max {one.max:.1f} ms, {one.failed} failed")
    print(_table(results))
    sys.exit(1 if any(one.failed for several in results.values() for one in several) else 0)


def _table(results: dict[str, list[Result]]) -> str:
    lines = [
        "| good clients | requests | failed | p50 ms | p99 | max | bad clients shut out, hung up |",
        "|---" * 7 + "|",
    ]
    return "\n".join([*lines, *(_line(name, several) for name, several in results.items())])


def _line(name: str, results: Sequence[Result]) -> str:
    p50, p99, worst = (statistics.median(getattr(one, key) for one in results) for key in ("p50", "p99", "max"))
    requests, failed = sum(one.requests for one in results), sum(one.failed for one in results)
    bad = f"{sum(one.slow_ended for one in results)}, {sum(one.died for one in results):,}"
    return f"| {name} | {requests:,} | {failed} | {p50:.2f} | {p99:.2f} | {worst:.1f} | {bad} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rate", type=float, default=2000.0)
    parser.add_argument("--patience", type=float, default=2.0, help="seconds the gateway gives a client to send")
    parser.add_argument("--cache", type=Path, default=CACHE)
    return parser.parse_args()


if __name__ == "__main__":
    main()
