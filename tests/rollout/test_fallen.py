"""A version that was taken away from users is an incident: opened once, closed by the next promotion."""

from datetime import UTC, datetime, timedelta
from typing import Any

from configs.alerts import AlertParams
from configs.rollout import RolloutParams
from tasks.records import Event
from tasks.rollout.fallen import TRIAGE, told
from tasks.rollout.stages import begin
from tasks.triage.incident import Incident, alerts_about
from tasks.verdicts import Action

AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
GOING = begin("3", "2", RolloutParams(), 0.05, AT)
STOPPED = GOING.model_copy(update={"standing": "stopped"})


def event(hours: int, what: str, version: str, **more: Any) -> Event:
    plain = {"case": "bikes", "at": AT + timedelta(hours=hours), "by": "rollout", "reason": "shadow: errors: 2 %"}
    return Event.model_validate({**plain, "what": what, "version": version, **more})


PROMOTED = event(0, "approved", "2", before="1")
BEGUN = event(1, "rollout", "3", rollout=GOING)
FELL = event(2, "rollout", "3", rollout=STOPPED)
HELD = event(2, "rollout", "3", rollout=GOING.model_copy(update={"standing": "held"}))


def opened(*events: Event, known: tuple[Incident, ...] = ()) -> list[Incident]:
    return [change.incident for change in told(events, known, 7) if change.moment == "opened"]


def test_a_stopped_rollout_opens_one_that_says_why_and_who_decided() -> None:
    [incident] = opened(PROMOTED, BEGUN, FELL)
    assert (incident.id, incident.monitor, incident.cause, incident.version) == (
        7,
        "rollout",
        "rollout: version 3",
        "3",
    )
    assert (incident.action, incident.rule, incident.opened_at) == (Action.roll_back, "stopped rollout", FELL.at)
    assert incident.reasons == ("shadow: errors: 2 % (decided by rollout)",)


def test_a_rollback_opens_one_about_the_version_that_left() -> None:
    [incident] = opened(PROMOTED, event(1, "rolling back", "1", before="2"), event(1, "rolled back", "1", before="2"))
    assert (incident.version, incident.rule) == ("2", "rollback")


def test_looked_at_again_it_is_the_same_one_also_when_a_person_has_closed_it() -> None:
    [incident] = opened(PROMOTED, BEGUN, FELL)
    assert told([PROMOTED, BEGUN, FELL], [incident], 8) == []
    closed = incident.model_copy(update={"closed_at": AT, "closed_by": "Ada: known"})
    assert told([PROMOTED, BEGUN, FELL], [closed], 8) == []


def test_another_fall_is_another_one() -> None:
    [first] = opened(PROMOTED, BEGUN, FELL)
    later = event(5, "rolled back", "1", before="2")
    assert [each.version for each in opened(PROMOTED, BEGUN, FELL, later, known=(first,))] == ["2"]


def test_the_promotion_of_another_version_closes_it_and_nothing_before_that_opens_any_more() -> None:
    [incident] = opened(PROMOTED, BEGUN, FELL)
    again, better = event(3, "approved", "2", before="1"), event(4, "approved", "4", before="2")
    assert told([PROMOTED, BEGUN, FELL, event(3, "approved", "3")], [incident], 8) == []
    [change] = told([PROMOTED, BEGUN, FELL, better], [incident], 8)
    assert (change.moment, change.incident.closed_at) == ("closed", better.at)
    assert opened(PROMOTED, BEGUN, FELL, again) == [], "it was made good before anybody looked"


def test_what_triage_put_back_is_told_by_the_incident_of_its_verdicts() -> None:
    assert opened(PROMOTED, event(1, "rolled back", "1", before="2", by=TRIAGE)) == []


def test_every_channel_is_told_of_what_opened_and_the_log_where_there_is_none() -> None:
    changes = told([PROMOTED, FELL], [], 7)
    channels = ("slack-webhook/ops", "email/night")
    alerts = alerts_about(changes, AlertParams(channels=channels), AT)
    assert [(each.incident, each.moment, each.channel) for each in alerts] == [(7, "opened", name) for name in channels]
    assert [each.channel for each in alerts_about(changes, AlertParams(), AT)] == ["log"]


def test_a_rollout_that_is_held_opens_one_that_closes_when_it_no_longer_is() -> None:
    [incident] = opened(PROMOTED, BEGUN, HELD)
    assert (incident.action, incident.rule, incident.cause) == (
        Action.alert,
        "held rollout",
        "rollout: version 3 is held",
    )
    assert told([PROMOTED, BEGUN, HELD], [incident], 8) == []
    on = event(4, "rollout", "3", rollout=GOING)
    [change] = told([PROMOTED, BEGUN, HELD, on], [incident], 8)
    assert (change.moment, change.incident.closed_at) == ("closed", on.at)
    assert opened(PROMOTED, BEGUN, HELD, on) == [], "over before anybody was told"


def test_one_that_was_held_and_is_stopped_is_told_as_stopped() -> None:
    [incident] = opened(PROMOTED, BEGUN, HELD)
    stopped = event(5, "rollout", "3", rollout=STOPPED)
    changes = told([PROMOTED, BEGUN, HELD, stopped], [incident], 8)
    assert [(change.moment, change.incident.rule) for change in changes] == [
        ("closed", "held rollout"),
        ("opened", "stopped rollout"),
    ]
