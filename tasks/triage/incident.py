"""Incidents: one cause that needs, or needed, somebody's attention; how verdicts open, keep and close them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from configs.alerts import AlertParams
from tasks.records import Record
from tasks.triage.choice import Concern
from tasks.triage.rules import cause_of
from tasks.verdicts import Action, Answer, Monitor, Triaged, Verdict

ROLLOUT: Literal["rollout"] = "rollout"
"""What an incident is about that no monitor opened: a version that was taken away from users."""


class Incident(Record):
    """Repeated alarms for one cause, from the first to the verdict that clears."""

    id: int = Field(ge=1)
    case: str
    monitor: Monitor | Literal["rollout"]
    cause: str
    """What makes two alarms one incident."""
    version: str | None
    """The version it is about."""
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
    closed_by: str | None = None
    """Who closed it, and why, where it was a person."""
    closed_at: AwareDatetime | None = None

    @property
    def undone(self) -> bool:
        """A training or a rollback was decided on for it, and no run has done it yet."""
        return self.action in _BY_A_RUN and self.run is None and self.monitor != ROLLOUT


_BY_A_RUN = frozenset({Action.retrain, Action.retrain_recent, Action.roll_back})
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


def alerts_about(changes: Sequence[Change], alerts: AlertParams, at: datetime) -> list[Alert]:
    """One for each change that people are to be told of, and each channel; the log where a place names none."""
    return [
        Alert(incident=change.incident.id, moment=change.moment, channel=channel, made_at=at)
        for change in changes
        if change.moment
        for channel in alerts.channels or ("log",)
    ]


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


def follow(
    open_ones: Sequence[Incident],
    triaged: Triaged,
    concerns: Sequence[Concern],
    standing: Mapping[Monitor, Verdict],
    next_id: int,
) -> list[Change]:
    """What a triage changes about the incidents of its case.

    Each of its concerns opens one, and so does every monitor that could not compute; an alarm for a cause that is open
    already belongs to it; one closes when its monitor says `clear`.
    """
    asked_for = _by_cause(concerns, standing)
    changes = []
    for incident in open_ones:
        asked = asked_for.pop(incident.cause, None)
        verdict = standing.get(incident.monitor) if isinstance(incident.monitor, Monitor) else None
        if asked:
            changes.append(_again(incident, asked, triaged))
        elif verdict and verdict.answer is Answer.clear and verdict.as_of >= incident.seen_at:
            closed = {"closed_at": triaged.as_of, "blocks": False}
            changes.append(Change(incident.model_copy(update=closed), "closed"))
        elif verdict and verdict.answer is Answer.alarm and cause_of(verdict) == incident.cause:
            changes.append(Change(_seen(incident, verdict), None))
    new = [_opened(concern, triaged, next_id + place) for place, concern in enumerate(asked_for.values())]
    return changes + [Change(incident, "opened") for incident in new]


def _by_cause(concerns: Sequence[Concern], standing: Mapping[Monitor, Verdict]) -> dict[str, Concern]:
    found: dict[str, Concern] = {}
    for concern in concerns:
        found.setdefault(cause_of(concern.verdict), concern)
    for verdict in standing.values():
        if verdict.answer is Answer.unknown:
            told = Concern(verdict, "could not compute", Action.alert, None, (verdict.text,))
            found.setdefault(cause_of(verdict), told)
    return found


def _opened(concern: Concern, triaged: Triaged, number: int) -> Incident:
    verdict = concern.verdict
    return Incident(
        id=number,
        case=triaged.case,
        monitor=verdict.monitor,
        cause=cause_of(verdict),
        version=verdict.version,
        opened_at=verdict.as_of,
        seen_at=verdict.as_of,
        action=concern.action,
        held_back=concern.held_back,
        rule=concern.rule,
        key=triaged.key,
        reasons=concern.reasons,
        report=verdict.report,
        blocks=concern.action is Action.block,
    )


def _again(incident: Incident, concern: Concern, triaged: Triaged) -> Change:
    seen = _seen(incident, concern.verdict)
    if _URGENCY.index(concern.action) <= _URGENCY.index(incident.action):
        return Change(seen, None)
    worse = {
        "action": concern.action,
        "held_back": concern.held_back,
        "rule": concern.rule,
        "key": triaged.key,
        "reasons": concern.reasons,
        "blocks": concern.action is Action.block and incident.lifted_by is None,
    }
    return Change(seen.model_copy(update=worse), "worse")


def _seen(incident: Incident, verdict: Verdict) -> Incident:
    """One verdict is one alarm, however often triage looks at it."""
    if verdict.as_of <= incident.seen_at:
        return incident
    return incident.model_copy(update={"seen_at": verdict.as_of, "alarms": incident.alarms + 1})
