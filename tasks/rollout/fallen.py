"""Versions that were taken away from users, and the incidents that tell people of it; pure."""

import hashlib
from collections.abc import Iterator, Sequence

from tasks.records import Event
from tasks.triage.incident import ROLLOUT, Change, Incident
from tasks.verdicts import Action

TRIAGE = "triage"
"""Who decides where verdicts do: the incident of those verdicts tells of what was done."""


def told(events: Sequence[Event], incidents: Sequence[Incident], next_id: int) -> list[Change]:
    """What a case's history changes about its incidents.

    A stopped rollout or a rollback opens one for the version that left, once, whoever looks and how often. It closes
    when another version is promoted.
    """
    ours = [incident for incident in incidents if incident.monitor == ROLLOUT]
    changes = [change for incident in ours if (change := _closed(incident, events)) is not None]
    known = {incident.key for incident in ours}
    new = [event for event in _fallen(_since_promotion(events)) if _key(event) not in known]
    return changes + [Change(_opened(event, next_id + place), "opened") for place, event in enumerate(new)]


def _since_promotion(events: Sequence[Event]) -> Sequence[Event]:
    """What a promotion made good needs nobody any more."""
    promoted = [number for number, event in enumerate(events) if event.what == "approved"]
    return events[promoted[-1] :] if promoted else events


def _fallen(events: Sequence[Event]) -> Iterator[Event]:
    for event in events:
        stopped = event.what == "rollout" and event.rollout is not None and event.rollout.standing == "stopped"
        if (stopped or event.what == "rolled back") and event.by != TRIAGE:
            yield event


def _closed(incident: Incident, events: Sequence[Event]) -> Change | None:
    if incident.closed_at is not None:
        return None
    after = (event for event in events if event.what == "approved" and event.at >= incident.opened_at)
    promoted = next((event for event in after if event.version != incident.version), None)
    if promoted is None:
        return None
    return Change(incident.model_copy(update={"closed_at": promoted.at}), "closed")


def _opened(event: Event, number: int) -> Incident:
    version = _who_left(event)
    return Incident(
        id=number,
        case=event.case,
        monitor=ROLLOUT,
        cause=f"{ROLLOUT}: version {version}",
        version=version,
        opened_at=event.at,
        seen_at=event.at,
        action=Action.roll_back,
        rule="stopped rollout" if event.what == "rollout" else "rollback",
        key=_key(event),
        reasons=(f"{event.reason} (decided by {event.by})",),
    )


def _who_left(event: Event) -> str:
    return event.version if event.what == "rollout" else event.before or event.version


def _key(event: Event) -> str:
    parts = (event.case, event.what, _who_left(event), event.at.isoformat())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
