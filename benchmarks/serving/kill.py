"""kill -9 of the gateway's processes at random moments under load; every answered request must be in the log, once.

    uv run python -m benchmarks.serving.kill [--trials 24] [--requests 1200000]

Each trial kills a worker, the compactor, or everything at once, which is then started again. The client writes down the
id of each answer it received whole. Ends with 1 if an answered request is missing from the log, or in it twice.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from benchmarks.serving.instruments import CACHE, Load, Result, Running, end_cleanly
from benchmarks.serving.logged import Compared, compare_with_log
from benchmarks.serving.ours import free_port, kind_of, prepare, say, start_gateway, write_flights
from benchmarks.serving.processes import Server, command_of
from configs.project import Project

VICTIMS = ("worker", "everything", "worker", "compactor")
"""In turn."""


class Gateway:
    """A gateway on one clone and one port that can be killed and started again."""

    def __init__(self, project: Project, settings: dict[str, Any]) -> None:
        self._project = project
        self._settings = settings
        self._running = ExitStack()
        self.port = free_port()

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _start(self) -> None:
        starting = start_gateway(self._project, self._settings, port=self.port)
        self.server: Server = self._running.enter_context(starting)

    def kill(self, victim: str, draw: random.Random) -> None:
        """End one process of that kind without a word, or all of them; then start them again."""
        family = self.server.processes()
        if victim == "everything":
            _kill(family)
            self._running.close()
            self._start()
            return
        chosen = sorted(pid for pid in family if kind_of(command_of(pid)) == victim)
        if not chosen:
            raise RuntimeError(f"there is no {victim} to kill: {[command_of(pid) for pid in family]}")
        _kill({draw.choice(chosen)})


def _kill(pids: set[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def main() -> None:
    end_cleanly()
    asked = _arguments()
    settings = {"log.durability": asked.durability, "log.segment_seconds": asked.segment_seconds}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evergreen-kill-")))
        project = stack.enter_context(prepare(asked.cache).clone("shared"))
        load = Load(
            write_flights(project, scratch), asked.connections, count=asked.requests // asked.trials, timeout=10
        )
        since = datetime.now(UTC)
        with Gateway(project, settings) as gateway:
            ids = [_trial(number, asked.trials, gateway, load, scratch) for number in range(asked.trials)]
            say("reading the log while the gateway runs")
            live = compare_with_log(project, ids, since)
        say("reading the log again, the gateway being stopped")
        stopped = compare_with_log(project, ids, since)
    print(f"\n{_table(live, stopped)}\n\n{asked.trials} trials, durability `{asked.durability}`")
    sys.exit(0 if live.whole and stopped.whole else 1)


def _trial(number: int, trials: int, gateway: Gateway, load: Load, scratch: Path) -> Path:
    """Load, a kill at a random moment of it; gives the file with the ids of what was answered."""
    draw, ids = random.Random(number), scratch / f"{number}.ids"
    victim = VICTIMS[number % len(VICTIMS)]
    running = Running(gateway.port, replace(load, ids=ids))
    try:
        time.sleep(draw.uniform(0.1, 1.5))
        under_load = running.process.poll() is None
        gateway.kill(victim, draw)
        result = running.result(patience=300)
    finally:
        running.stop()
    if not under_load:
        raise RuntimeError("the load had ended before the kill: give more --requests, or fewer --trials")
    _tell_trial(f"trial {number + 1} of {trials}, killed {victim}", result)
    return ids


def _tell_trial(name: str, result: Result) -> None:
    say(f"{name}: {result.answered:,} answered at {result.rate:,.0f} a second, {result.kinds} and {result.statuses}")


def _table(live: Compared, stopped: Compared) -> str:
    lines = ["| | while it runs | when it has stopped |", "|---|---|---|"]
    lines += [f"| {name} | {value:,} | {asdict(stopped)[name]:,} |" for name, value in asdict(live).items()]
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--requests", type=int, default=1_200_000, help="over all trials")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--durability", choices=("interval", "answer"), default="interval")
    parser.add_argument("--segment-seconds", type=float, default=5, help="short, so that compaction is hit too")
    parser.add_argument("--cache", type=Path, default=CACHE)
    return parser.parse_args()


if __name__ == "__main__":
    main()
