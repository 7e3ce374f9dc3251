"""What a replay tells of itself, step by step, and what two replays of one seed have in common."""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydantic import AwareDatetime, Field

from tasks.records import Event, Record
from tasks.verdicts import Verdict


class Estimate(Record):
    """A figure of a window, with its interval where there is one."""

    metric: str
    value: float
    low: float | None = None
    high: float | None = None


class Acted(Record):
    """What triage did."""

    action: str
    rule: str


class Happened(Record):
    """One event of the history, without what is measured by the clock."""

    at: AwareDatetime
    what: str
    version: str
    by: str
    standing: str = ""
    """Where the rollout stood, in words."""

    @classmethod
    def of(cls, event: Event) -> "Happened":
        """The event as every replay of the same history has it: its reason may tell milliseconds."""
        standing = str(event.rollout) if event.rollout else ""
        return cls(at=event.at, what=event.what, version=event.version, by=event.by, standing=standing)


class Judged(Record):
    """One verdict, without its words."""

    as_of: AwareDatetime
    monitor: str
    answer: str
    version: str | None
    rows: int
    statistic: float | None
    threshold: float | None
    subjects: tuple[str, ...]

    @classmethod
    def of(cls, verdict: Verdict) -> "Judged":
        """The verdict's figures, to nine digits: sums over rows in another order differ in the last ones."""
        return cls(
            as_of=verdict.as_of,
            monitor=verdict.monitor.value,
            answer=verdict.answer.value,
            version=verdict.version,
            rows=verdict.rows,
            statistic=_rounded(verdict.statistic),
            threshold=_rounded(verdict.threshold),
            subjects=tuple(sorted(verdict.subjects)),
        )


class Sent(Record):
    """The traffic up to one moment of a replay."""

    at: AwareDatetime
    requests: int = 0
    rows: int = 0
    refused: int = 0
    """Rows that break the contract."""
    lost: int = 0
    """Requests that were answered and are not in the prediction log."""
    kills: int = 0
    """How often the gateway was killed while they were sent."""


class Step(Sent):
    """What happened up to one moment of a replay."""

    looked: bool
    """Whether the monitors looked, or only a rollout was carried on."""
    planted: tuple[str, ...] = ()
    """Faults that began."""
    champion: str | None = None
    rollout: str = ""
    realised: Estimate | None = None
    estimated: Estimate | None = None
    verdicts: dict[str, str] = Field(default_factory=dict)
    """The answer of each monitor."""
    actions: tuple[Acted, ...] = ()
    events: tuple[Happened, ...] = ()
    turned_away: int = 0
    """Candidates that the gate did not accept."""
    failures: tuple[str, ...] = ()
    """Flows that ended red, and why."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Of the wall clock, by what they were spent on."""


class Steps:
    """The steps of a replay, kept one line each as they are done: a replay that was killed goes on after the last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        _cut(path)
        lines = _whole_lines(path)
        self.done = _steps(lines)
        last = lines[-1] if lines else ""
        self._sent = Sent.model_validate_json(last.removeprefix(_SENT)) if last.startswith(_SENT) else None

    def sent(self, moment: datetime) -> Sent | None:
        """The traffic up to a moment whose step was not finished, if it had all been sent."""
        return self._sent if self._sent and self._sent.at == moment else None

    def keep_sent(self, sent: Sent) -> None:
        """Write down that the traffic up to a moment was sent."""
        self._append(_SENT + sent.model_dump_json())

    def keep(self, step: Step) -> Step:
        """Write down that a step is done."""
        self._append(step.model_dump_json())
        self.done.append(step)
        return step

    def _append(self, line: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())


_SENT = "sent "


def steps_done(path: Path) -> list[Step]:
    """The steps that are done so far of a replay that may still be under way."""
    return _steps(_whole_lines(path))


def _steps(lines: Sequence[str]) -> list[Step]:
    return [Step.model_validate_json(line) for line in lines if not line.startswith(_SENT)]


def _whole_lines(path: Path) -> list[str]:
    """The lines that were written whole."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return text[: text.rfind("\n") + 1].splitlines()


def _cut(path: Path) -> None:
    """Take away half a line, of a replay that was killed."""
    if path.is_file():
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            path.write_text(whole, encoding="utf-8")


class Told(Record):
    """All that happened in a replay; two replays of one plan are equal in it."""

    happened: tuple[Happened, ...]
    judged: tuple[Judged, ...]
    acted: tuple[tuple[AwareDatetime, str, str], ...]
    """When, the action, and the rule."""


def told(events: Sequence[Event], verdicts: Sequence[Verdict], acted: Sequence[tuple[AwareDatetime, str, str]]) -> Told:
    """What two replays have in common: what happened, when, to which version; every verdict; every action."""
    ordered = sorted(map(Judged.of, verdicts), key=lambda one: (one.as_of, one.monitor, one.version or ""))
    return Told(happened=tuple(map(Happened.of, events)), judged=tuple(ordered), acted=tuple(sorted(acted)))


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.9g}")
