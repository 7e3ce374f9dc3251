"""Versions that were taken away from users, or are held on their way to them, and the incidents that tell it; pure."""

import hashlib
from collections.abc import Iterator, Sequence

from tasks.records import Event
from tasks.triage.incident import ROLLOUT, Change, Incident
from tasks.verdicts import Action

_HELD = "held rollout"
TRIAGE = "triage"
"""Who decides where verdicts do: the incident of those verdicts tells of what was done."""


def told(events: Sequence[Event], incidents: Sequence[Incident], next_id: int) -> list[Change]:
    """What a case's history changes about its incidents.

    A stopped rollout or a rollback opens one for the version that left, once, whoever looks and how often. It closes
    when another version is promoted. A rollout that is held opens one, too, which closes when it is no longer.
    """
    ours = [incident for incident in incidents if incident.monitor == ROLLOUT]
    changes = [change for incident in ours if (change := _closed(incident, events)) is not None]
    known = {incident.key for incident in ours}
    since = _since_promotion(events)
    new = [event for event in _fallen(since) if _key(event) not in known and not _is_over(event, since)]
    return changes + [Change(_opened(event, next_id + place), "opened") for place, event in enumerate(new)]


def _since_promotion(events: Sequence[Event]) -> Sequence[Event]:
    """What a promotion made good needs nobody any more."""
    promoted = [number for number, event in enumerate(events) if event.what == "approved"]
    return events[promoted[-1] :] if promoted else events


def _fallen(events: Sequence[Event]) -> Iterator[Event]:
    for event in events:
        told = event.rollout is not None and event.what == "rollout" and event.rollout.standing in {"stopped", "held"}
        if (told or event.what == "rolled back") and event.by != TRIAGE:
            yield event


def _closed(incident: Incident, events: Sequence[Event]) -> Change | None:
    if incident.closed_at is not None:
        return None
    after = [event for event in events if event.at >= incident.opened_at]
    ends = _no_longer_held if incident.rule == _HELD else _replaced
    over = next((event for event in after if ends(incident, event)), None)
    if over is None:
        return None
    return Change(incident.model_copy(update={"closed_at": over.at}), "closed")


def _replaced(incident: Incident, event: Event) -> bool:
    return event.what == "approved" and event.version != incident.version


def _no_longer_held(incident: Incident, event: Event) -> bool:
    """Every decision on a rollout is an event: the next one that is not to hold it ends that."""
    return event.version == incident.version and event.rollout is not None and event.rollout.standing != "held"


def _opened(event: Event, number: int) -> Incident:
    version, rule = _who_left(event), _rule(event)
    return Incident(
        id=number,
        case=event.case,
        monitor=ROLLOUT,
        cause=f"{ROLLOUT}: version {version}{' is held' if rule == _HELD else ''}",
        version=version,
        opened_at=event.at,
        seen_at=event.at,
        action=Action.alert if rule == _HELD else Action.roll_back,
        rule=rule,
        key=_key(event),
        reasons=(f"{event.reason} (decided by {event.by})",),
    )


def _is_over(event: Event, events: Sequence[Event]) -> bool:
    """Whether a rollout was held and is no longer: nobody has to be told of that now."""
    opened = _opened(event, 1)  # whatever its number
    return opened.rule == _HELD and _closed(opened, events) is not None


def _rule(event: Event) -> str:
    if event.what != "rollout":
        return "rollback"
    return _HELD if event.rollout is not None and event.rollout.standing == "held" else "stopped rollout"


def _who_left(event: Event) -> str:
    return event.version if event.what == "rollout" else event.before or event.version


def _key(event: Event) -> str:
    parts = (event.case, event.what, _who_left(event), event.at.isoformat())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
