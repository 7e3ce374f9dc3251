"""The gateway, with everything on, beside other servers with the same model, bare: one job, in turns, medians.

    uv run python -m benchmarks.serving.compare [--peers mlflow,mlserver,...] [--rounds 3] [--seconds 4]

Every server answers real flights, each request another row; the load generator is on the same machine. Trust ratios,
and CPU a request, before requests a second. Prints Markdown; that and every single figure are also written to files.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.serving import bodies
from benchmarks.serving.contenders import OURS, Contender, Scene, contenders
from benchmarks.serving.instruments import CACHE, Load, Measured, as_json, end_cleanly, measure, run_load
from benchmarks.serving.ours import CASE, kind_of, prepare, say
from benchmarks.serving.peers import PEERS, install
from benchmarks.serving.processes import Server
from configs.project import Project


@dataclass(frozen=True)
class Point:
    """A way to ask."""

    name: str
    connections: int
    each: int = 1
    rate: float | None = None
    only_ours: bool = False
    form: str | None = None
    """In which of the gateway's protocols, if not as plain rows."""


POINTS = (
    Point("64 connections", 64),
    Point("8 connections", 8),
    Point("1 connection", 1),
    Point("open loop, 5,000 a second", 64, rate=5000, only_ours=True),
    Point("1,000 rows a request, 4 connections", 4, each=1000),
    Point("the same as JSON tensors", 4, each=1000, only_ours=True, form="v2"),
    Point("the same as binary tensors", 4, each=1000, only_ours=True, form="v2-binary"),
)


_TRIES = 2
"""A contender that failed in so many rounds is left out of the rest."""


@dataclass
class Found:
    """Everything that was measured, by contender and point, and who could not be."""

    runs: dict[str, dict[str, list[Measured]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    start_seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    memory_at_rest: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def main() -> None:
    end_cleanly()
    asked = _arguments()
    found = Found()
    with tempfile.TemporaryDirectory(prefix="evergreen-compare-") as scratch:
        scene = _scene(asked, Path(scratch))
        peers = [name for name in asked.peers if _installed(name, asked.cache, found)]
        compared = contenders(scene, asked.ours, peers)
        for round_ in range(1, asked.rounds + 1):
            for contender in compared:
                if len(found.failures[contender.name]) < _TRIES:
                    _take_turn(contender, round_, asked.seconds, found)
    text = "\n\n".join([_tables(found, compared), _table_of_processes(found, compared), _notes(asked, found)])
    print(text)
    _write(asked, found, text)


def _scene(asked: argparse.Namespace, scratch: Path) -> Scene:
    prepared = prepare(asked.cache)
    rows = bodies.real_rows(Project(prepared.folder / "asked"), CASE)
    return Scene(prepared, rows, scratch, asked.state, asked.cache)


def _installed(name: str, cache: Path, found: Found) -> bool:
    try:
        install(name, cache)
    except RuntimeError as error:
        found.failures[name].append(str(error))
        say(f"{name}: {error}")
        return False
    return True


def _take_turn(contender: Contender, round_: int, seconds: float, found: Found) -> None:
    try:
        with contender.start() as server:
            say(f"round {round_}: {contender.name} answers after {server.start_seconds:.1f} s")
            contender.check(server)
            found.start_seconds[contender.name].append(server.start_seconds)
            run_load(server.port, Load(contender.requests(1, None), connections=8, seconds=min(2.0, seconds)))
            found.memory_at_rest[contender.name].append(server.memory().rss)
            for point in POINTS:
                if contender.ours or not point.only_ours:
                    found.runs[contender.name][point.name].append(_measured(contender, server, point, seconds))
    except (RuntimeError, OSError) as error:
        found.failures[contender.name].append(f"round {round_}: {error}")
        say(f"{contender.name} FAILED: {error}")


def _measured(contender: Contender, server: Server, point: Point, seconds: float) -> Measured:
    contains = '"role":"fallback"' if contender.ours else None
    load = Load(
        contender.requests(point.each, point.form),
        point.connections,
        seconds=seconds,
        rate=point.rate,
        contains=contains,
    )
    one = measure(server, load)
    say(
        f"  {point.name}: {one.result.rate:,.0f} a second, p50 {one.result.p50:.2f} ms, p99 {one.result.p99:.2f} ms, "
        f"{one.cpu_us:,.0f} µs CPU, {one.result.failed} failed, others {one.others:.2f} cores"
    )
    return one


def _tables(found: Found, compared: Sequence[Contender]) -> str:
    measured = [one for one in compared if found.runs[one.name]]
    asked = [point for point in POINTS if any(found.runs[one.name].get(point.name) for one in measured)]
    return "\n\n".join(_table(found, measured, point) for point in asked)


def _table(found: Found, compared: Sequence[Contender], point: Point) -> str:
    unit = "rows/s" if point.each > 1 else "req/s"
    head = (
        f"| {point.name} | {unit} | all | p50 ms | p95 | p99 | max | server CPU µs/req | RSS MiB | PSS MiB | failed "
        f"| others' cores | times slower | times the CPU |"
    )
    first = next((found.runs[one.name][point.name] for one in compared if found.runs[one.name].get(point.name)), [])
    lines = [head, "|---" * 14 + "|"]
    for one in compared:
        runs = found.runs[one.name].get(point.name)
        if runs:
            lines.append(_line(one.name, runs, first, point.each))
    return "\n".join(lines)


def _line(name: str, runs: Sequence[Measured], first: Sequence[Measured], each: int) -> str:
    rate, cpu = _median(one.result.rate for one in runs), _median(one.cpu_us for one in runs)
    latencies = [_median(getattr(one.result, key) for one in runs) for key in ("p50", "p95", "p99", "max")]
    cells = [
        name,
        f"{rate * each:,.0f}",
        ", ".join(f"{one.result.rate * each:,.0f}" for one in runs),
        *(f"{value:.3g}" if value < 100 else f"{value:,.0f}" for value in latencies),
        f"{cpu:,.1f}" if cpu < 1000 else f"{cpu:,.0f}",
        f"{_median(one.rss for one in runs):,.0f}",
        f"{_median(one.pss for one in runs):,.0f}",
        str(sum(one.result.failed for one in runs)),
        f"{_median(one.others for one in runs):.2f}",
        f"{_median(one.result.rate for one in first) / rate:.1f}",
        f"{cpu / _median(one.cpu_us for one in first):.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _table_of_processes(found: Found, compared: Sequence[Contender]) -> str:
    """Where the gateway's CPU time goes; compaction comes after the answers it is about."""
    kinds = ("worker", "keeper", "compactor", "supervisor")
    lines = [f"| CPU µs/req of | point | {' | '.join(kinds)} |", "|---" * 6 + "|"]
    for one in compared:
        for point, runs in found.runs[one.name].items() if one.ours else ():
            each = [_median(_of_kind(run, kind) for run in runs) for kind in kinds]
            lines.append(f"| {one.name} | {point} | {' | '.join(f'{value:,.1f}' for value in each)} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _of_kind(run: Measured, kind: str) -> float:
    spent = sum(seconds for process, seconds in run.cpu_seconds.items() if kind_of(process) == kind)
    return spent / run.result.answered * 1e6


def _notes(asked: argparse.Namespace, found: Found) -> str:
    starts = ", ".join(f"{name} {_median(values):.1f}" for name, values in found.start_seconds.items())
    fallbacks = {
        name: sum(one.result.containing for runs in points.values() for one in runs)
        for name, points in found.runs.items()
        if name in OURS
    }
    lines = [
        f"Medians of {asked.rounds} rounds of {asked.seconds:g} s; {_machine()}.",
        f"Seconds to the first answer: {starts}.",
        f"Answers of ours that were a fallback: {fallbacks}; the gateway's clone is `{asked.state}`.",
        *(f"{name} failed in {why.splitlines()[0]}" for name, several in found.failures.items() for why in several),
    ]
    return "\n\n".join(lines)


def _machine() -> str:
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = model[0].partition(":")[2].strip() if model else platform.processor()
    return f"{os.cpu_count()} cores, {name}, Python {platform.python_version()}, scikit-learn {version('scikit-learn')}"


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _write(asked: argparse.Namespace, found: Found, text: str) -> None:
    asked.output.mkdir(parents=True, exist_ok=True)
    stem = asked.output / f"compare-{time.strftime('%Y%m%d-%H%M%S')}"
    raw = {"machine": _machine(), "asked": {name: str(value) for name, value in vars(asked).items()}, **vars(found)}
    stem.with_suffix(".json").write_text(as_json(raw))
    stem.with_suffix(".md").write_text(text + "\n")
    say(f"written: {stem}.md, {stem}.json")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=_names(PEERS), default=list(PEERS), help=f"of {', '.join(PEERS)}; '' for none")
    parser.add_argument("--ours", type=_names(OURS, ";"), default=list(OURS), help=f"of {'; '.join(OURS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each point in each round")
    parser.add_argument("--state", choices=("asked", "approved", "shared"), default="shared", help="see ours.py")
    parser.add_argument("--cache", type=Path, default=CACHE, help="environments and clones that are used again")
    parser.add_argument("--output", type=Path, default=CACHE / "results")
    return parser.parse_args()


def _names(known: Iterable[str], between: str = ",") -> Any:
    def read(text: str) -> list[str]:
        names = [name.strip() for name in text.split(between) if name.strip()]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is unknown; there are {', '.join(known)}")
        return names

    return read


if __name__ == "__main__":
    main()
