"""How soon each planted fault is noticed: by the monitors, in a replay; and by others, shown the same rows.

A fault is noticed at the first look at which a monitor alarms, or names something, that it does not at the same look
without it, so nothing that would have alarmed anyway is counted. All replays go on from one beginning, and each is
replayed until its fault is noticed.
"""

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from benchmarks.replay.happen import ROOT, happen, say_step
from benchmarks.replay.peers import peers_of
from benchmarks.replay.plans import DAY, FAULTS, OF_MODELS, PLANTED, beginning, days_with
from benchmarks.serving.ours import say
from configs.project import Project
from tasks.records import Record
from tasks.replay.told import Judged, Step, Told

NAME = "benchmark-faults"
_KEPT = ROOT / "data" / "replays"
_BEGINNING = _KEPT / f"{NAME}-beginning"


class Days(Record):
    """What came of one replay."""

    steps: tuple[Step, ...]
    told: Told


class Enough(Exception):
    """The fault was noticed."""


def detection(kinds: Sequence[str], *, peers: bool) -> None:
    """One line for each fault; with `peers`, one more table: one line for each way to watch."""
    calm = _days("")
    print("| fault | noticed after, h | rows seen | by | triage |\n|---|---|---|---|---|")
    for kind in kinds:
        found = _days(kind)
        print(
            f"| {FAULTS[kind]} | {_stopped(calm, found) if kind in OF_MODELS else _noticed(calm, found)} |", flush=True
        )
    print()
    if peers:
        of_data = [kind for kind in kinds if kind not in OF_MODELS]
        print("| hours |", *(f"{kind} |" for kind in of_data), "alarms with nothing planted |")
        print(f"|---|---|{'---|' * len(of_data)}")
        print("| ours |", *(f"{_first(calm, _days(kind))} |" for kind in of_data), f"{_unasked(calm)} |")
        for one in peers_of(of_data):
            print(f"| {one.name} |", *(f"{one.noticed(kind)} |" for kind in of_data), f"{one.unasked()} |")
        print()
    for monitor, said in _alarming(calm):
        print(f"- {monitor}: {said}")


def _first(calm: Days, found: Days) -> str:
    new = new_alarms(calm.told, found.told)
    return _hours(new[0].as_of) if new else "never"


def _noticed(calm: Days, found: Days) -> str:
    """After how long, by whom, and what triage made of it."""
    new = new_alarms(calm.told, found.told)
    if not new:
        return f"not in {(found.steps[-1].at - PLANTED).days} days | - | - | -"
    first = new[0].as_of
    rows = sum(step.rows for step in found.steps if PLANTED < step.at <= first)
    anyway = {(one.monitor, name) for one in _alarms(calm.told) if one.as_of == first for name in one.subjects}
    named = {
        one.monitor: [name for name in one.subjects if (one.monitor, name) not in anyway]
        for one in new
        if one.as_of == first
    }
    by = ", ".join(f"{monitor} ({', '.join(names[:2])})" for monitor, names in named.items())
    done = dict.fromkeys(f"{action} ({rule})" for at, action, rule in found.told.acted if at == first)
    return f"{_hours(first)} | {rows:,} | {by} | {', '.join(done)}"


def _stopped(calm: Days, found: Days) -> str:
    """What happened to a model that was planted: the gate's answer, or the rollout's."""
    usual = {(one.version, one.what) for one in calm.told.happened}
    mine = [one for one in found.told.happened if one.at > PLANTED and (one.version, one.what) not in usual]
    said = "; ".join(f"{_hours(one.at)} h: {one.what} {one.standing}".rstrip() for one in mine)
    return f"- | - | {said or 'no version came of it: the gate'} | -"


def _unasked(calm: Days) -> str:
    looks = [step.at for step in calm.steps[1:] if step.looked]
    alarmed = {one.as_of for one in _alarms(calm.told)}
    return f"{sum(at in alarmed for at in looks)} of {len(looks)}"


def _alarming(calm: Days) -> Iterator[tuple[str, str]]:
    """What each monitor alarmed about though nothing was planted, and how often."""
    for monitor in sorted({one.monitor for one in _alarms(calm.told)}):
        mine = [one for one in _alarms(calm.told) if one.monitor == monitor]
        named = Counter(subject for one in mine for subject in one.subjects)
        yield monitor, f"{len(mine)}; " + ", ".join(f"{name} {count}" for name, count in named.most_common(5))


def new_alarms(calm: Told, found: Told) -> list[Judged]:
    """Since the fault was planted, in order of time: those that are not there without it, or name more."""
    usual = {(one.as_of, one.monitor): set(one.subjects) for one in _alarms(calm)}

    def more(one: Judged) -> bool:
        named = usual.get((one.as_of, one.monitor))
        return named is None or not named.issuperset(one.subjects)

    return sorted(filter(more, (one for one in _alarms(found) if one.as_of > PLANTED)), key=lambda one: one.as_of)


def _alarms(told: Told) -> list[Judged]:
    return [one for one in told.judged if one.answer == "alarm"]


def _hours(moment: datetime) -> str:
    return f"{(moment - PLANTED) / timedelta(hours=1):g}"


def _days(kind: str) -> Days:
    """The replay with a fault of this kind, in a process of its own; one that was made before is not made again."""
    kept = _KEPT / f"{NAME}-{kind or 'calm'}.json"
    if not kept.is_file():
        for what in ("beginning", kind):
            say(f"replay: {what or 'no fault'}")
            words = [sys.executable, "-m", "benchmarks.replay.faults", what]
            subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return Days.read(kept)


def _begin() -> None:
    """The beginning, and a copy of it for every week to go on from."""
    if _BEGINNING.is_dir():
        return
    happen(beginning(), NAME, say_step)
    part = _BEGINNING.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(_KEPT / NAME, part, symlinks=True)
    part.rename(_BEGINNING)


def _go_on(kind: str) -> None:
    """From the beginning, in the folder it was made in: stores name their files by where they are."""
    from flows.replay_sandbox import Sandbox  # noqa: PLC0415 - Prefect must not be imported in vain

    project, plan = Project(ROOT), days_with(kind)
    shutil.rmtree(_KEPT / NAME, ignore_errors=True)
    shutil.copytree(_BEGINNING, _KEPT / NAME, symlinks=True)
    plan.write(Sandbox.of(project, NAME).plan)
    steps: list[Step] = []

    def look(step: Step) -> None:
        steps.append(step)
        if step.at <= PLANTED:
            return
        say_step(step)
        if kind and _is_enough(project, kind, step):
            raise Enough

    try:
        happen(plan, NAME, look)
    except Enough:
        say("noticed")
    from flows.replay import what_happened  # noqa: PLC0415 - MLflow reads the environment when it is imported

    Days(steps=tuple(steps), told=what_happened(project, NAME)).write(_KEPT / f"{NAME}-{kind or 'calm'}.json")


def _is_enough(project: Project, kind: str, step: Step) -> bool:
    """Whether the fault was noticed; of a model, whether nothing more becomes of it."""
    from flows.replay import what_happened  # noqa: PLC0415 - MLflow reads the environment when it is imported

    if kind in OF_MODELS:
        return kind == "bad_candidate" or (not step.rollout and step.at > PLANTED + DAY)
    return bool(new_alarms(_days("").told, what_happened(project, NAME)))


if __name__ == "__main__":
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    _begin() if sys.argv[1] == "beginning" else _go_on(sys.argv[1])
