"""Incidents: one cause that needs, or needed, somebody's attention; how verdicts open, keep and close them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import AwareDatetime, Field

from tasks.records import Record
from tasks.triage.rules import cause_of
from tasks.verdicts import Action, Answer, Monitor, Triaged, Verdict


class Incident(Record):
    """Repeated alarms for one cause, from the first to the verdict that clears."""

    id: int = Field(ge=1)
    case: str
    monitor: Monitor
    cause: str
    """What makes two alarms one incident."""
    version: str | None
    """The champion it is about."""
    opened_at: AwareDatetime
    """The as-of of the first alarm."""
    seen_at: AwareDatetime
    """The as-of of the newest one."""
    alarms: int = Field(1, ge=1)
    action: Action
    """The most urgent thing that was done about it."""
    held_back: Action | None = None
    """What a guard kept from being done."""
    rule: str
    key: str
    """Of the action."""
    reasons: tuple[str, ...]
    report: str | None = None
    run: str | None = None
    """The flow run that was started for it."""
    blocks: bool = False
    """No training may begin until it is closed, or somebody lifts the block."""
    acknowledged_by: str | None = None
    lifted_by: str | None = None
    """Who lifted the block, and why."""
    closed_at: AwareDatetime | None = None


Moment = Literal["opened", "worse", "closed"]
"""When people are told: at the first alarm, when what is done about it becomes more urgent, and when it is over."""


class Alert(Record):
    """That one channel is told of an incident: done, or still to be done."""

    incident: int
    moment: Moment
    channel: str
    """A notification block (`slack-webhook/ops`), or `log`."""
    made_at: AwareDatetime
    tries: int = Field(0, ge=0)
    sent: bool = False
    error: str = ""
    """Why the last try failed."""


@dataclass(frozen=True)
class Change:
    """An incident as it is now; and, if people are to be told, at which moment of it."""

    incident: Incident
    moment: Moment | None


_URGENCY = (
    Action.none,
    Action.note,
    Action.wait,
    Action.alert,
    Action.retrain,
    Action.retrain_recent,
    Action.roll_back,
    Action.block,
    Action.escalate,
)
_NOBODY_NEEDED = frozenset({Action.none, Action.note, Action.wait})


def follow(
    open_ones: Sequence[Incident],
    triaged: Triaged,
    primary: Verdict | None,
    standing: Mapping[Monitor, Verdict],
    next_id: int,
) -> list[Change]:
    """What a triage changes about the incidents of its case.

    An action that needs somebody opens one, and so does every monitor that could not compute; an alarm for a cause
    that is open already belongs to it; one closes when its monitor says `clear`.
    """
    concerns = _concerns(triaged, primary, standing)
    changes = []
    for incident in open_ones:
        asked = concerns.pop(incident.cause, None)
        verdict = standing.get(incident.monitor)
        if asked:
            changes.append(_again(incident, asked))
        elif verdict and verdict.answer is Answer.clear and verdict.as_of >= incident.seen_at:
            closed = {"closed_at": triaged.as_of, "blocks": False}
            changes.append(Change(incident.model_copy(update=closed), "closed"))
        elif verdict and verdict.answer is Answer.alarm and cause_of(verdict) == incident.cause:
            changes.append(Change(_seen(incident, triaged), None))
    new = [_opened(concern, next_id + place) for place, concern in enumerate(concerns.values())]
    return changes + [Change(incident, "opened") for incident in new]


@dataclass(frozen=True)
class _Concern:
    """A verdict somebody must know of, and what is done about it."""

    verdict: Verdict
    triaged: Triaged


def _concerns(triaged: Triaged, primary: Verdict | None, standing: Mapping[Monitor, Verdict]) -> dict[str, _Concern]:
    found = {}
    if primary and (triaged.action not in _NOBODY_NEEDED or triaged.held_back):
        found[cause_of(primary)] = _Concern(primary, triaged)
    for verdict in standing.values():
        if verdict.answer is Answer.unknown and cause_of(verdict) not in found:
            told = {"action": Action.alert, "held_back": None, "rule": "could not compute", "reasons": (verdict.text,)}
            found[cause_of(verdict)] = _Concern(verdict, triaged.model_copy(update=told))
    return found


def _opened(concern: _Concern, number: int) -> Incident:
    verdict, triaged = concern.verdict, concern.triaged
    return Incident(
        id=number,
        case=triaged.case,
        monitor=verdict.monitor,
        cause=cause_of(verdict),
        version=verdict.version,
        opened_at=triaged.as_of,
        seen_at=triaged.as_of,
        action=triaged.action,
        held_back=triaged.held_back,
        rule=triaged.rule,
        key=triaged.key,
        reasons=triaged.reasons,
        report=verdict.report,
        blocks=triaged.action is Action.block,
    )


def _again(incident: Incident, concern: _Concern) -> Change:
    seen, triaged = _seen(incident, concern.triaged), concern.triaged
    if _URGENCY.index(triaged.action) <= _URGENCY.index(incident.action):
        return Change(seen, None)
    worse = {
        "action": triaged.action,
        "held_back": triaged.held_back,
        "rule": triaged.rule,
        "key": triaged.key,
        "reasons": triaged.reasons,
        "blocks": triaged.action is Action.block and incident.lifted_by is None,
    }
    return Change(seen.model_copy(update=worse), "worse")


def _seen(incident: Incident, triaged: Triaged) -> Incident:
    if triaged.as_of <= incident.seen_at:
        return incident
    return incident.model_copy(update={"seen_at": triaged.as_of, "alarms": incident.alarms + 1})
