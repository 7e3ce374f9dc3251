"""The year again, and faults planted in it: how long it takes, and how soon each fault is noticed.

`python -m benchmarks.replay year [--from DATE --to DATE]`: flights of 2013 through a gateway over HTTP: wall time,
requests and rows a second, where the time went, and what share of it this project's own code took.

`python -m benchmarks.replay faults [--only KIND ...] [--evidently]`: a replay without faults, and one for each fault;
the monitors look every day. A fault is noticed at the first look at which a monitor alarms that is silent at the same
look of the replay without it, so nothing that would have alarmed anyway is counted. Evidently's default preset sees the
same rows, the last seven days against the eight weeks before, 5,000 rows a side.

Sandboxes are kept in data/replays/benchmark-*; a run that was stopped goes on with the same words.
"""

import argparse
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.serving.ours import say
from configs.environment import apply
from configs.faults import Fault, read_faults
from configs.project import Project
from tasks.replay.source import history_of
from tasks.replay.steps import Plan
from tasks.replay.told import Judged, Step, Told

ROOT = Path(__file__).resolve().parents[1]
START, PLANTED, END = (datetime(2013, 4, day, tzinfo=UTC) for day in (8, 22, 29))
FAULTS = (
    "units:distance=1.609@2013-04-22",
    "nulls:temperature=0.5@2013-04-22",
    "stale@2013-04-22",
    "outage@2013-04-22",
    "shift:scheduled_arrival_minute=0.5@2013-04-22",
    "concept:origin=JFK@2013-04-22",
    "late_labels=240@2013-04-22",
)
SAMPLE = 5000
WINDOW, BEFORE = timedelta(days=7), timedelta(weeks=8)
_EVERY_SECONDS = 0.02
_CALM = "no fault"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_subparsers(dest="which", required=True)
    year_of = which.add_parser("year")
    year_of.add_argument("--from", dest="start", type=_day, default=_day("2013-04-01"))
    year_of.add_argument("--to", dest="end", type=_day, default=_day("2013-12-30"))
    year_of.add_argument("--in-process", action="store_true")
    faults_of = which.add_parser("faults")
    faults_of.add_argument("--only", nargs="*", default=[], help="kinds of faults; all if left out")
    faults_of.add_argument("--evidently", action="store_true")
    one_of = which.add_parser("one")  # what `faults` starts: a process belongs to one sandbox
    one_of.add_argument("word", nargs="?")
    given = parser.parse_args()
    if given.which == "year":
        year(given.start, given.end, in_process=given.in_process)
    elif given.which == "one":
        _happen(_plan(given.word))
    else:
        wanted = [word for word in FAULTS if not given.only or read_faults([word])[0].fault in given.only]
        detection(wanted, evidently=given.evidently)


# The year


def year(start: datetime, end: datetime, *, in_process: bool) -> None:
    """Replay the flights, and say what it took."""
    plan = Plan(case="flights", start=start, end=end, in_process=in_process)
    with sampled() as seen:
        began = time.monotonic()
        steps = _happen(plan, fresh=True)
        wall = time.monotonic() - began
    spent: Counter[str] = Counter()
    for step in steps:
        spent.update(step.seconds)
    requests, rows = (sum(getattr(step, name) for step in steps) for name in ("requests", "rows"))
    print(f"| flights, {start:%Y-%m-%d} to {end:%Y-%m-%d} | |\n|---|---|")
    print(f"| wall time, s | {wall:,.0f} |\n| steps | {len(steps)} |\n| rows | {rows:,} |\n| requests | {requests:,} |")
    print(f"| requests a second while they are sent | {requests / spent['traffic']:,.0f} |")
    print(f"| rows a second while they are sent | {rows / spent['traffic']:,.0f} |")
    for what, seconds in spent.most_common():
        print(f"| of the wall time, {what} | {100 * seconds / wall:.1f} % |")
    print(f"| of the wall time, the replay's own process computed | {100 * seen.seconds / wall:.1f} % |")
    print(f"| of the wall time, in this project's own lines | {100 * seen.ours / wall:.1f} % |")
    print(f"| flows that ended red | {sum(len(step.failures) for step in steps)} |")


@dataclass
class Sampled:
    """What the main thread spent processor time on, as looks every few milliseconds found it."""

    seconds: float = 0.0
    ours: float = 0.0
    """Where a line of this project was innermost, and not one of a library or of Python; what C is called from it for
    counts, too."""


@contextmanager
def sampled() -> Iterator[Sampled]:
    """Look at the innermost frame of the main thread again and again, and at the processor time since the last look."""
    seen, end, main_thread = Sampled(), threading.Event(), threading.main_thread().ident
    assert main_thread is not None, "it runs"
    clock = time.pthread_getcpuclockid(main_thread)
    own = tuple(str(ROOT / name) for name in ("configs", "flows", "serving", "tasks"))

    def look() -> None:
        before = time.clock_gettime(clock)
        while not end.wait(_EVERY_SECONDS):
            frame, now = sys._current_frames().get(main_thread), time.clock_gettime(clock)
            spent, before = now - before, now
            seen.seconds += spent
            if frame is not None and frame.f_code.co_filename.startswith(own):
                seen.ours += spent

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()


# Faults


def detection(words: Sequence[str], *, evidently: bool) -> None:
    """One line for each fault."""
    calm = _replayed(None)
    print("| fault | noticed after, h | rows seen | by | acted after, h | action | Evidently: any column / half |")
    print("|---|---|---|---|---|---|---|")
    for word in words:
        beside = _evidently(word) if evidently else "-"
        print(_line(word, calm, _replayed(word), beside), flush=True)
    before = [one for one in calm[1].judged if one.answer == "alarm"]
    named = Counter(one.monitor for one in before)
    looks = sum(step.looked for step in calm[0])
    said = ", ".join(f"{name} {count}" for name, count in named.most_common()) or "none"
    print(f"\nAlarms in the {looks} looks of the replay without faults: {said}")


Replayed = tuple[list[Step], Told]


def _line(word: str, calm: Replayed, found: Replayed, beside: str) -> str:
    silent = {(one.as_of, one.monitor) for one in calm[1].judged if one.answer == "alarm"}
    named = {(one.as_of, one.monitor, subject) for one in calm[1].judged for subject in one.subjects}
    alarms = [one for one in found[1].judged if one.answer == "alarm" and one.as_of > PLANTED]
    new = [one for one in alarms if (one.as_of, one.monitor) not in silent or _names_more(one, named)]
    first = min((one.as_of for one in new), default=None)
    done = set(calm[1].acted)
    acts = [one for one in found[1].acted if one not in done and one[0] > PLANTED and one[1] not in {"none", "wait"}]
    if first is None:
        return f"| {word} | not in {(END - PLANTED).days} days | - | - | - | - | {beside} |"
    rows = sum(step.rows for step in found[0] if PLANTED < step.at <= first)
    by = ", ".join(sorted({one.monitor for one in new if one.as_of == first}))
    acted = f"{_hours(acts[0][0])} | {acts[0][1]} ({acts[0][2]})" if acts else "- | -"
    return f"| {word} | {_hours(first)} | {rows:,} | {by} | {acted} | {beside} |"


def _names_more(verdict: Judged, named: set[tuple[datetime, str, str]]) -> bool:
    return any((verdict.as_of, verdict.monitor, subject) not in named for subject in verdict.subjects)


def _hours(moment: datetime) -> str:
    return f"{(moment - PLANTED) / timedelta(hours=1):g}"


def _plan(word: str | None) -> Plan:
    faults: tuple[Fault, ...] = read_faults([word]) if word else ()
    return Plan(case="flights", start=START, end=END, faults=faults, look_hours=24, in_process=True)


def _named(plan: Plan) -> str:
    kinds = "-".join(fault.fault for fault in plan.faults) or "calm"
    return f"benchmark-{plan.start:%Y%m%d}-{plan.end:%Y%m%d}-{plan.look_hours:g}h-{kinds}"


def _replayed(word: str | None) -> Replayed:
    """The replay of a fault, in a process of its own; steps that were done before are not done again."""
    say(f"replay: {word or _CALM}")
    words = [sys.executable, "-m", "benchmarks.replay", "one", *([word] if word else [])]
    subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    from flows.replay import what_happened  # noqa: PLC0415 - MLflow takes seconds
    from flows.replay_sandbox import Sandbox  # noqa: PLC0415
    from tasks.replay.told import Steps  # noqa: PLC0415

    project, name = Project(ROOT), _named(_plan(word))
    return Steps(Sandbox.of(project, name).steps).done, what_happened(project, name)


def _happen(plan: Plan, *, fresh: bool = False) -> tuple[Step, ...]:
    project = Project(ROOT)
    apply(project)
    os.environ |= {"PREFECT_LOGGING_LEVEL": "CRITICAL", "PREFECT_LOGGING_TO_API_ENABLED": "false"}
    from flows.replay import replay  # noqa: PLC0415 - MLflow reads the environment when it is imported

    def show(step: Step) -> None:
        spent = ", ".join(f"{what} {seconds:.1f}" for what, seconds in step.seconds.items())
        say(f"{step.at:%Y-%m-%d %H:%M} champion {step.champion}: {spent} {'; '.join(step.failures)}")

    return replay(project, plan, _named(plan), on_step=show, fresh=fresh)


def _evidently(word: str) -> str:
    """After how many hours its default preset finds any column drifted that was not without the fault; and half."""
    from evidently import Report  # noqa: PLC0415 - takes seconds, and is only asked for at times
    from evidently.presets import DataDriftPreset  # noqa: PLC0415

    project, found = Project(ROOT), {}
    for name, plan in ((_CALM, _plan(None)), (word, _plan(word))):
        history = history_of(project, plan)
        features = project.case("flights").contract.features
        columns = [one for one in features if not pd.api.types.is_datetime64_any_dtype(history[one])]
        when, draw = history["event_time"], np.random.default_rng(7)

        def side(start: datetime, end: datetime, rows: pd.DataFrame = history[columns]) -> pd.DataFrame:
            some = rows[(when >= start) & (when < end)]  # noqa: B023 - asked at once
            return some.iloc[draw.choice(len(some), min(SAMPLE, len(some)), replace=False)]  # noqa: B023

        reference = side(START - BEFORE, START)
        for day in range(1, (END - PLANTED).days + 1):
            moment = PLANTED + timedelta(days=day)
            current = side(moment - WINDOW, moment)
            tests = Report([DataDriftPreset()], include_tests=True).run(current, reference).dict()["tests"]
            drifted = [test["name"] for test in tests if test["status"] == "FAIL"]
            found[name, day] = (set(drifted), len(drifted) >= len(columns) / 2)
    days = range(1, (END - PLANTED).days + 1)
    some = next((24 * day for day in days if found[word, day][0] - found[_CALM, day][0]), None)
    half = next((24 * day for day in days if found[word, day][1] and not found[_CALM, day][1]), None)
    return f"{some or 'never'} / {half or 'never'}"


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


if __name__ == "__main__":
    main()
