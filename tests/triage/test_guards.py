"""What holds a training back, on both sides of each bound."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from configs.read import read_case
from configs.triage import Guards
from tasks.triage.guards import TRAININGS, Changed, Held, Past, hold_back
from tasks.verdicts import Action
from tests.triage.conftest import NOW

CASE = read_case(Path(__file__).parents[2], "flights")
GUARDS = Guards(cool_down_hours=72, trainings_a_month=2, rejected_in_a_row=3)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def held(past: Past, *, alarmed: bool = True) -> Held | None:
    return hold_back(Action.retrain, GUARDS, past, NOW, alarmed=alarmed)


def test_nothing_in_the_past_holds_nothing_back() -> None:
    assert held(Past()) is None


@pytest.mark.parametrize("action", sorted(set(Action) - TRAININGS))
def test_only_trainings_are_held_back(action: Action) -> None:
    past = Past(trainings=[NOW], rejected_in_a_row=9, in_flight=True, awaiting="3", blocked_by=1)
    assert hold_back(action, GUARDS, past, NOW, alarmed=True) is None


def test_after_a_training_the_next_one_waits_for_the_cool_down() -> None:
    soon = held(Past(trainings=[NOW - 71 * HOUR]))
    assert soon is not None
    assert soon == Held(Action.wait, "the last training began 71 h ago (cool-down 72 h)")
    assert held(Past(trainings=[NOW - 72 * HOUR])) is None
    assert held(Past(trainings=[NOW])) is not None, "the very same moment counts"


def test_what_happens_after_the_as_of_is_not_known_at_it() -> None:
    assert held(Past(trainings=[NOW + HOUR])) is None


def test_a_month_has_a_budget_beyond_which_people_are_asked() -> None:
    spent = held(Past(trainings=[NOW - 10 * DAY, NOW - 29 * DAY]))
    assert spent is not None
    assert spent.action is Action.escalate
    assert "2 trainings within 30 days" in spent.reason
    assert held(Past(trainings=[NOW - 10 * DAY, NOW - 30 * DAY])) is None


def test_one_training_is_in_flight_at_a_time() -> None:
    assert held(Past(in_flight=True)) == Held(Action.wait, "a training is on its way")
    assert held(Past(awaiting="3")) == Held(Action.wait, "version 3 waits for an answer")
    assert held(Past(rolling_out="3")) == Held(Action.wait, "version 3 is rolling out")


def test_blocked_data_are_not_trained_on() -> None:
    assert held(Past(blocked_by=7)) == Held(Action.wait, "training is blocked by incident 7")


def test_nothing_is_trained_for_an_alarm_before_the_new_world_can_be_learned() -> None:
    def asked(ago: timedelta, action: Action = Action.retrain, *, refit: bool = False, **others: Any) -> Held | None:
        changed = Changed.since(NOW - ago, CASE, judged_by=2, refit=refit)
        return hold_back(
            action, others.pop("guards", GUARDS), Past(), NOW, changed=changed, **{"alarmed": True, **others}
        )

    # It changed on a Monday, weeks are delivered whole, and labels take a day.
    told = "what changed about 2011-03-21 can be learned from 2011-04-12 00:00Z on"
    assert asked(21 * DAY - HOUR) == Held(Action.wait, told)
    assert asked(28 * DAY) is None
    assert asked(21 * DAY, alarmed=False) is None, "what is trained by schedule waits for nothing"
    assert asked(21 * DAY, guards=GUARDS.model_copy(update={"until_learnable": False})) is None
    # Who is accepted learns the weeks that judged it; a candidate of recent rows alone has nothing else to show.
    assert asked(14 * DAY, refit=True) is None
    assert asked(14 * DAY, Action.retrain_recent, refit=True) is not None
    assert Changed.since(None, CASE, 2, refit=True) is None


def test_after_too_many_rejected_candidates_people_are_asked() -> None:
    asked = held(Past(rejected_in_a_row=3))
    assert asked is not None
    assert asked.action is Action.escalate
    assert held(Past(rejected_in_a_row=2)) is None
    assert held(Past(rejected_in_a_row=3), alarmed=False) is None, "a training by schedule asks nobody"
