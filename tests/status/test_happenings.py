"""What happened: each thing once, with words, a row of its own, and a link to what proves it where there is one."""

from tasks.status.happenings import DECISIONS, DELIVERIES, INCIDENTS, ROLLOUTS, TRAININGS, TRIAGE, happenings, lane_of
from tasks.status.story import Addresses, CaseStory
from tasks.verdicts import Monitor
from tests.status.conftest import ADDRESSES
from tests.status.year import on, run_of


def lane(story: CaseStory, name: str, addresses: Addresses = ADDRESSES) -> list[tuple[str, str]]:
    return [(one.shape, one.title) for one in reversed(happenings(story, addresses)) if one.lane == name]


def test_trainings_say_what_the_gate_made_of_them(flights: CaseStory) -> None:
    told = lane(flights, TRAININGS)
    assert [shape for shape, _ in told] == ["dot", "ring", "dot", "dot", "dot", "dot", "ring", "dot"]
    assert told[1] == ("ring", "Training turned away: reject")
    assert told[2] == ("dot", "Training passed the gate: version 2")


def test_champions_come_and_go_back(flights: CaseStory) -> None:
    assert lane(flights, DECISIONS) == [
        ("up", "Version 1 became champion"),
        ("up", "Version 2 became champion instead of version 1"),
        ("up", "Version 4 became champion instead of version 2"),
        ("down", "Back to version 2 instead of version 4"),
        ("up", "Version 5 became champion instead of version 2"),
    ]


def test_a_rollout_that_was_stopped_is_told_apart_from_its_stages(flights: CaseStory) -> None:
    told = lane(flights, ROLLOUTS)
    assert [title for shape, title in told if shape == "cross"] == ["Version 3 rolls out: canary 5 % (3 of 7), stopped"]
    assert {shape for shape, _ in told} == {"stage", "cross"}


def test_what_triage_did_and_what_was_held_back_are_told_and_the_quiet_days_are_not(flights: CaseStory) -> None:
    shapes = [shape for shape, _ in lane(flights, TRIAGE)]
    assert set(shapes) == {"diamond", "held"}
    assert len(shapes) < len(flights.taken)


def test_marks_lead_to_their_evidence(flights: CaseStory) -> None:
    every = happenings(flights, ADDRESSES)
    of = {one.lane: one for one in every}
    assert of[TRAININGS].href == f"http://127.0.0.1:4200/runs/flow-run/{run_of(on(4, 1))}"
    assert of[DECISIONS].href == "http://127.0.0.1:5000/#/models/flights/versions/1"
    assert of[DELIVERIES].href == "../../flights/validation/2013-W27.html"
    assert of[INCIDENTS].href == f"#{of[INCIDENTS].anchor}", "without a run, to its row"


def test_without_a_server_marks_lead_to_rows_and_no_two_rows_have_one_name(flights: CaseStory) -> None:
    every = happenings(flights, Addresses())
    assert all(one.href == f"#{one.anchor}" for one in every if one.lane != DELIVERIES)
    assert len({one.anchor for one in every}) == len(every)


def test_alarms_in_a_row_are_one_spell(flights: CaseStory) -> None:
    told = lane(flights, lane_of(Monitor.contract))
    assert told == [("bar", "contract: alarm about distance (3 looks in a row)")]


def test_an_open_incident_lasts_until_now_and_is_urgent(flights: CaseStory) -> None:
    found = [one for one in happenings(flights, ADDRESSES) if one.lane == INCIDENTS]
    assert [one.urgent for one in found] == [True, False, False]
    assert found[0].end == on(12, 30)


def test_a_run_with_a_hostile_name_cannot_leave_its_address() -> None:
    assert ADDRESSES.run("../../evil?x=<script>") == (
        "http://127.0.0.1:4200/runs/flow-run/..%2F..%2Fevil%3Fx%3D%3Cscript%3E"
    )
