"""Repeated alarms for one cause are one incident, which closes when its verdict clears."""

from datetime import datetime, timedelta

from tasks.triage.choice import Concern
from tasks.triage.incident import Change, Incident
from tasks.triage.incident import follow as follow_concerns
from tasks.verdicts import Action, Monitor, Triaged, Verdict
from tests.triage.conftest import NOW, verdict

HOUR = timedelta(hours=1)


def triaged(action: str, at: datetime = NOW, **changes: object) -> Triaged:
    plain = {"rule": "loss", "reasons": ("realised alarms",), "key": f"{action} {at}"}
    return Triaged.model_validate({"case": "bikes", "as_of": at, "action": action} | plain | changes)


def follow(
    open_ones: list[Incident], done: Triaged, primary: Verdict | None, standing: dict[Monitor, Verdict], next_id: int
) -> list[Change]:
    """What changes when one alarm at most is somebody's concern."""
    concerns = [Concern(primary, done.rule, done.action, done.held_back, done.reasons)] if primary else []
    return follow_concerns(open_ones, done, concerns, standing, next_id)


def opened(primary: Verdict, action: str = "retrain") -> Incident:
    [change] = follow([], triaged(action), primary, {primary.monitor: primary}, 7)
    assert change.moment == "opened"
    return change.incident


def test_an_action_that_somebody_must_know_of_opens_an_incident() -> None:
    incident = opened(verdict("realised"), "block")
    assert (incident.id, incident.cause, incident.action) == (7, "realised: temperature", Action.block)
    assert incident.blocks
    assert incident.reasons == ("realised alarms",)


def test_an_action_that_was_held_back_opens_one_because_the_loss_goes_on() -> None:
    alarm = verdict("realised")
    [change] = follow([], triaged("wait", held_back="retrain"), alarm, {Monitor.realised: alarm}, 1)
    assert (change.moment, change.incident.held_back) == ("opened", Action.retrain)


def test_the_same_cause_again_belongs_to_the_incident_and_tells_nobody() -> None:
    first = opened(verdict("realised"))
    later = verdict("realised", at=NOW + HOUR)
    held = triaged("wait", NOW + HOUR, held_back="retrain")
    [change] = follow([first], held, later, {Monitor.realised: later}, 8)
    assert change.moment is None
    assert (change.incident.id, change.incident.alarms, change.incident.seen_at) == (7, 2, NOW + HOUR)
    assert change.incident.action is Action.retrain, "what was done stays the most urgent thing that was"
    [again] = follow([change.incident], held, later, {Monitor.realised: later}, 8)
    assert again.incident.alarms == 2, "the same moment again is not another alarm"
    hours_on = triaged("wait", NOW + 5 * HOUR, held_back="retrain")
    [same] = follow([change.incident], hours_on, later, {Monitor.realised: later}, 8)
    assert same.incident.alarms == 2, "nor is the same verdict at a later moment"


def test_another_cause_is_another_incident() -> None:
    first = opened(verdict("realised"))
    other = verdict("realised", at=NOW + HOUR, cause="origin=JFK")
    changes = follow([first], triaged("retrain", NOW + HOUR), other, {Monitor.realised: other}, 8)
    assert [(change.incident.id, change.moment) for change in changes] == [(8, "opened")]


def test_people_are_told_again_when_it_gets_more_urgent() -> None:
    first = opened(verdict("realised"))
    later = verdict("realised", at=NOW + HOUR)
    escalated = triaged("escalate", NOW + HOUR, held_back="retrain", rule="loss")
    [change] = follow([first], escalated, later, {Monitor.realised: later}, 8)
    assert change.moment == "worse"
    assert (change.incident.action, change.incident.held_back) == (Action.escalate, Action.retrain)


def test_it_closes_when_its_verdict_clears_and_not_before() -> None:
    first = opened(verdict("realised"), "block")
    nothing = triaged("none", NOW + HOUR)
    for answer in ("waiting", "unknown"):
        unsure = verdict("realised", answer, NOW + HOUR)
        changes = follow([first], nothing, None, {Monitor.realised: unsure}, 8)
        assert all(change.incident.id != first.id for change in changes)
    clear = verdict("realised", "clear", NOW + HOUR)
    [change] = follow([first], nothing, None, {Monitor.realised: clear}, 8)
    assert (change.moment, change.incident.closed_at, change.incident.blocks) == ("closed", NOW + HOUR, False)
    assert follow([first], nothing, None, {}, 8) == [], "a monitor that has stopped clears nothing"
    before = verdict("realised", "clear", NOW - HOUR)
    assert follow([first], nothing, None, {Monitor.realised: before}, 8) == []


def test_an_alarm_that_stands_while_another_is_acted_on_keeps_its_incident_open() -> None:
    first = opened(verdict("inputs"), "alert")
    broken = verdict("contract", at=NOW + HOUR)
    standing = {Monitor.inputs: verdict("inputs", at=NOW + HOUR), Monitor.contract: broken}
    changes = follow([first], triaged("block", NOW + HOUR), broken, standing, 8)
    assert [(change.incident.id, change.moment) for change in changes] == [(7, None), (8, "opened")]
    assert changes[0].incident.alarms == 2


def test_whatever_is_done_each_monitor_that_could_not_compute_is_an_incident() -> None:
    alarm, broken = verdict("realised"), verdict("skew", "unknown")
    changes = follow([], triaged("retrain"), alarm, {Monitor.realised: alarm, Monitor.skew: broken}, 1)
    assert [change.incident.cause for change in changes] == ["realised: temperature", "skew: could not compute"]
    assert [change.incident.action for change in changes] == [Action.retrain, Action.alert]
    assert [change.incident.id for change in changes] == [1, 2]
    alone = follow([], triaged("alert", rule="could not compute"), broken, {Monitor.skew: broken}, 1)
    assert len(alone) == 1


def test_a_block_that_somebody_lifted_does_not_come_back_for_the_same_incident() -> None:
    first = opened(verdict("contract"), "block").model_copy(update={"blocks": False, "lifted_by": "Ada: known"})
    later = verdict("contract", at=NOW + HOUR)
    [change] = follow([first], triaged("block", NOW + HOUR), later, {Monitor.contract: later}, 8)
    assert not change.incident.blocks


def test_no_verdict_touches_an_incident_about_a_rollout() -> None:
    fallen = opened(verdict("realised")).model_copy(update={"monitor": "rollout", "cause": "rollout: version 3"})
    clear = {monitor: verdict(monitor.value, "clear", NOW + HOUR) for monitor in Monitor}
    assert follow([fallen], triaged("none", NOW + HOUR), None, clear, 8) == []
