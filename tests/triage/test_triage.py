"""The verb: from journal, history and registry to one action that is written down, once."""

from datetime import UTC, datetime, timedelta

import pytest
import yaml

from configs.project import Project
from tasks.adapters.incidents import Incidents
from tasks.adapters.journal import Journal, Trained
from tasks.errors import DecisionUnexplained
from tasks.notification.message import body
from tasks.promotion.decide import Why, roll_back
from tasks.triage.block import acknowledge, refuse_blocked, unblock
from tasks.triage.errors import NothingBlocked, TrainingBlocked
from tasks.triage.triage import triage
from tasks.validation.windows import learnable_at
from tasks.verdicts import Action, Findings, Monitor, Triaged
from tests.conftest import AS_OF, ASKED
from tests.triage.conftest import verdict

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
PROMOTED = ASKED + 12 * DAY
"""When version 2 of the succession was made champion."""
LATER = PROMOTED + 15 * DAY
"""Late enough not to be rolled back."""


def say(project: Project, monitor: str, answer: str = "alarm", at: datetime = LATER, **changes: object) -> None:
    said = verdict(monitor, answer, at, **{"version": "2", **changes})
    Journal(project).record(Findings(verdicts=(said,)))


def decide(project: Project, at: datetime = LATER, *, in_flight: bool = False) -> Triaged:
    return triage(project, "bikes", at, in_flight=in_flight)


def in_vain(project: Project, times: int = 3) -> datetime:
    """Candidates that were trained for a loss, and turned away; gives the next week's as-of."""
    for week in range(times):
        at = LATER + 14 * week * DAY
        say(project, "realised", at=at)
        decided = decide(project, at)
        assert decided.action is Action.retrain
        Journal(project).act(decided, f"run-{week}")
        trained = Trained(case="bikes", run=f"run-{week}", as_of=at, ruling="reject", version=None)
        Journal(project).note_training(trained)
    return LATER + 14 * times * DAY


@pytest.fixture
def served(succession: Project) -> Project:
    """Version 2 serves, 1 is retired; nothing waits for an answer (3 is rejected), and nobody waits for a schedule."""
    from tasks.adapters.registry import Registry  # noqa: PLC0415 - MLflow takes seconds that other tests need not pay

    Registry(succession).tag("bikes", "3", {"status": "rejected"})
    path = succession.root / "configs/bikes.yaml"
    case = yaml.safe_load(path.read_text())
    case["triage"]["rules"] = [rule for rule in case["triage"]["rules"] if "hours_since_training" not in rule]
    path.write_text(yaml.safe_dump(case, sort_keys=False))
    return succession


def test_a_loss_is_decided_on_once_and_written_down_with_its_reasons(served: Project) -> None:
    say(served, "realised")
    first = decide(served)
    assert (first.action, first.rule, first.held_back) == (Action.retrain, "loss", None)
    assert first.reasons[0] == "realised alarms: realised as it was found"
    assert decide(served) == first, "the same verdicts again are the same event"
    assert [acted.triaged for acted in Journal(served).actions("bikes")] == [first]
    [incident] = Incidents(served).all("bikes")
    assert (incident.cause, incident.key) == ("realised: temperature", first.key)
    assert [(alert.moment, alert.channel) for alert in Incidents(served).alerts(unsent=True)] == [("opened", "log")]


def test_the_next_hours_of_the_same_loss_wait_for_the_cool_down_within_one_incident(served: Project) -> None:
    say(served, "realised")
    first = decide(served)
    Journal(served).act(first, "a run")
    say(served, "realised", at=LATER + HOUR)
    second = decide(served, LATER + HOUR)
    assert (second.action, second.held_back) == (Action.wait, Action.retrain)
    assert "cool-down 336 h" in second.reasons[-1]
    assert second.key != first.key
    say(served, "realised", at=LATER + 336 * HOUR)
    assert decide(served, LATER + 336 * HOUR).action is Action.retrain
    [incident] = Incidents(served).all("bikes")
    assert incident.alarms == 3


def test_a_training_that_was_decided_on_and_never_began_is_made_good_once(served: Project) -> None:
    say(served, "realised")
    first = decide(served)  # who was to start it is killed here
    for hours in (1, 2):
        say(served, "realised", at=LATER + hours * HOUR)
        later = decide(served, LATER + hours * HOUR)
        assert (later.action, later.key, later.as_of) == (Action.retrain, first.key, LATER + hours * HOUR)
        assert later.reasons[-1].endswith("never began")
    [incident] = Incidents(served).all("bikes")
    assert (incident.key, incident.undone) == (first.key, True)
    assert "a training was decided on, and has not begun" in body(incident, "opened", "docs/runbook.md")

    Journal(served).act(later, "a run")
    say(served, "realised", at=LATER + 3 * HOUR)
    held = decide(served, LATER + 3 * HOUR)
    assert (held.action, held.held_back) == (Action.wait, Action.retrain)
    assert "the last training began 1 h ago" in held.reasons[-1]


def test_a_training_that_ended_is_not_made_again_although_nobody_noted_its_run(served: Project) -> None:
    say(served, "realised")
    decide(served)
    Journal(served).note_training(Trained(case="bikes", run="a run", as_of=LATER, ruling="reject", version=None))
    say(served, "realised", at=LATER + HOUR)
    held = decide(served, LATER + HOUR)
    assert "the last training began 1 h ago" in held.reasons[-1]


def test_after_the_cool_down_a_training_is_another_one_whatever_became_of_the_last(served: Project) -> None:
    for hours, same in ((335, True), (336, False)):
        at = LATER + 400 * DAY * (not same)
        say(served, "realised", at=at)
        first = decide(served, at)
        say(served, "realised", at=at + hours * HOUR)
        assert (decide(served, at + hours * HOUR).key == first.key) is same


def test_what_was_held_back_is_decided_on_anew_when_the_guard_is_gone(served: Project) -> None:
    say(served, "realised")
    assert decide(served, in_flight=True).held_back is Action.retrain
    again = decide(served, in_flight=False)
    assert (again.action, again.held_back) == (Action.retrain, None)


def test_a_version_that_waits_for_an_answer_is_waited_for(succession: Project) -> None:
    say(succession, "realised")
    held = decide(succession)
    assert (held.action, held.held_back) == (Action.wait, Action.retrain)
    assert "version 3 waits for an answer" in held.reasons[-1]


def test_a_loss_soon_after_the_promotion_goes_back_and_later_it_trains(served: Project) -> None:
    soon, late = PROMOTED + 336 * HOUR, PROMOTED + 337 * HOUR
    for at, action in ((soon, Action.roll_back), (late, Action.retrain_recent)):
        say(served, "realised", at=at)
        say(served, "concept", at=at)
        assert decide(served, at).action is action


def test_a_training_for_another_world_waits_for_rows_of_it_and_is_told_since_when(served: Project) -> None:
    judged_by = served.params("bikes").window.evaluate_batches
    until = learnable_at(served.case("bikes"), judged_by, LATER)
    for at, action, since in ((until - HOUR, Action.wait, None), (until, Action.retrain_recent, LATER)):
        say(served, "concept", at=at, since=LATER)
        decided = decide(served, at)
        assert (decided.action, decided.since) == (action, since)


def test_who_came_back_by_a_rollback_was_not_promoted(served: Project) -> None:
    roll_back(served, "bikes", "2", Why("Ada", "complaints", PROMOTED + HOUR))
    say(served, "realised", at=PROMOTED + 2 * HOUR, version="1")
    assert decide(served, PROMOTED + 2 * HOUR).action is Action.retrain


def test_in_recorded_history_the_promotion_is_dated_by_what_it_was_ordered_for(served: Project) -> None:
    """The clock says 2026 when a model of 2011 is approved: the as-of of its order counts then."""
    at = AS_OF + 3 * HOUR
    assert at < PROMOTED
    say(served, "realised", at=at)
    say(served, "concept", at=at)
    decided = decide(served, at)
    assert decided.action is Action.roll_back
    assert "3 hours since the promotion" in decided.reasons[-1]


def test_verdicts_about_a_champion_that_has_left_say_nothing(served: Project) -> None:
    say(served, "realised", version="1")
    assert decide(served).action is Action.none
    say(served, "freshness", version=None)
    assert decide(served).action is Action.block, "what is about the data is about every champion"


def test_a_verdict_holds_for_its_time_and_no_longer(served: Project) -> None:
    say(served, "realised")
    assert decide(served, LATER + 192 * HOUR).action is Action.retrain
    assert decide(served, LATER + 193 * HOUR).action is Action.none


def test_after_three_candidates_in_vain_people_are_asked(served: Project) -> None:
    at = in_vain(served)
    say(served, "realised", at=at)
    escalated = decide(served, at)
    assert (escalated.action, escalated.held_back) == (Action.escalate, Action.retrain)
    assert "the last 3 candidates were turned away" in escalated.reasons[-1]
    [incident] = Incidents(served).all("bikes")
    assert incident.action is Action.escalate
    assert [alert.moment for alert in Incidents(served).alerts()] == ["opened", "worse"]


def test_a_candidate_that_passed_ends_the_count(served: Project) -> None:
    journal = Journal(served)
    rulings = ["reject", "reject", "promote", "reject"]
    for week, ruling in enumerate(rulings):
        at = LATER + 14 * week * DAY
        say(served, "realised", at=at)
        journal.act(decide(served, at), f"run {week}")
        journal.note_training(Trained(case="bikes", run=f"run {week}", as_of=at, ruling=ruling, version="1"))
    at = LATER + 28 * DAY
    say(served, "realised", at=at)
    assert decide(served, at).action is not Action.escalate


def test_broken_data_block_training_until_the_verdict_clears(served: Project) -> None:
    refuse_blocked(served, "bikes")
    say(served, "contract")
    assert decide(served).action is Action.block
    with pytest.raises(TrainingBlocked, match=r"(?s)`bikes` is blocked by incident 1 since 2011-05.*evergreen unblock"):
        refuse_blocked(served, "bikes")

    say(served, "contract", "waiting", LATER + HOUR)
    say(served, "realised", at=LATER + HOUR)
    held = decide(served, LATER + HOUR)
    assert (held.action, held.held_back) == (Action.wait, Action.retrain)
    assert "blocked by incident 1" in held.reasons[-1]

    say(served, "contract", "clear", LATER + 2 * HOUR)
    decide(served, LATER + 2 * HOUR)
    refuse_blocked(served, "bikes")
    closed = Incidents(served).one(1)
    assert closed.closed_at == LATER + 2 * HOUR


def test_a_person_lifts_a_block_with_a_reason_that_is_kept(served: Project) -> None:
    with pytest.raises(NothingBlocked, match="not blocked"):
        unblock(served, "bikes", "Ada", "known")
    say(served, "contract")
    decide(served)
    with pytest.raises(DecisionUnexplained):
        unblock(served, "bikes", "Ada", " ")
    unblock(served, "bikes", "Ada", "the unit was changed on purpose")
    refuse_blocked(served, "bikes")
    assert Incidents(served).one(1).lifted_by == "Ada: the unit was changed on purpose"
    say(served, "contract", at=LATER + HOUR)
    decide(served, LATER + HOUR)
    refuse_blocked(served, "bikes")


def test_an_incident_is_taken_by_the_first_who_says_so(served: Project) -> None:
    say(served, "contract")
    decide(served)
    acknowledge(served, 1, "Ada")
    assert acknowledge(served, 1, "Grace").acknowledged_by == "Ada"


def test_a_case_without_a_champion_is_triaged_by_what_is_about_its_data(clone: Project) -> None:
    at = datetime(2011, 4, 1, tzinfo=UTC)
    assert decide(clone, at).action is Action.none
    say(clone, "freshness", at=at, version=None)
    assert decide(clone, at).action is Action.block


def test_alerts_are_due_on_every_channel_of_the_place(served: Project) -> None:
    place = served.root / "configs/places/local.yaml"
    channels = ["slack-webhook/ops", "pager-duty-webhook/night"]
    place.write_text(yaml.safe_dump({**yaml.safe_load(place.read_text()), "alerts": {"channels": channels}}))
    project = Project(served.root)
    say(project, "contract")
    decide(project)
    assert [alert.channel for alert in Incidents(project).alerts(unsent=True)] == sorted(channels)


def with_a_schedule(project: Project) -> Project:
    """The case's own table, with its training by schedule again."""
    path = project.root / "configs/bikes.yaml"
    case = yaml.safe_load(path.read_text())
    case["triage"]["rules"].append({"rule": "in time", "hours_since_training": {"at_least": 1}, "action": "retrain"})
    path.write_text(yaml.safe_dump(case, sort_keys=False))
    return Project(project.root)


def test_a_schedule_trains_while_people_are_asked_about_a_loss_and_is_written_into_its_incident(
    served: Project,
) -> None:
    at = in_vain(served)
    project = with_a_schedule(served)
    say(project, "realised", at=at)
    decided = decide(project, at)
    assert (decided.rule, decided.action, decided.held_back, decided.verdicts) == ("in time", Action.retrain, None, ())
    assert "`loss` fits too" in decided.reasons[1]
    assert decide(project, at) == decided, "the same verdicts again are the same event"
    [incident] = Incidents(project).all("bikes")
    assert (incident.cause, incident.alarms) == ("realised: temperature", 4)


def test_an_alarm_is_told_of_although_another_event_was_decided_on_before(served: Project) -> None:
    say(served, "realised")
    first = decide(served)
    say(served, "skew", "unknown", at=LATER + HOUR)
    assert decide(served, LATER + HOUR) == first
    assert {incident.cause for incident in Incidents(served).all("bikes")} == {
        "realised: temperature",
        "skew: could not compute",
    }
    assert {incident.alarms for incident in Incidents(served).all("bikes")} == {1}, "one verdict is one alarm"


def test_a_loss_while_data_are_broken_is_an_incident_of_its_own(served: Project) -> None:
    say(served, "contract")
    say(served, "realised")
    assert decide(served).action is Action.block
    incidents = {incident.monitor: incident for incident in Incidents(served).all("bikes")}
    assert {monitor: incident.action for monitor, incident in incidents.items()} == {
        "contract": Action.block,
        "realised": Action.wait,
    }
    assert incidents[Monitor.realised].held_back is Action.retrain
    assert not incidents[Monitor.realised].blocks
