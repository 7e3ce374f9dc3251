"""Which of the rules that fit decides, and who is told of the others."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from configs.triage import RULES, Guards
from tasks.triage.choice import Choice, choose
from tasks.triage.guards import Held, Past, hold_back
from tasks.triage.rules import fitting
from tasks.verdicts import Action
from tests.triage.conftest import NOW, facts

MONTH = {"hours_since_training": 672.0}
NOT_YET = {"hours_since_training": 671.9}


def decide(answers: dict[str, str], past: Past, numbers: Mapping[str, float], guards: Guards | None = None) -> Choice:
    """What the table of a case without one decides on."""
    guarded = guards or Guards()
    return choose(
        fitting(RULES, facts(answers, **numbers)),
        lambda ruled: hold_back(ruled.action, guarded, past, NOW, alarmed=bool(ruled.primary)),
    )


def told(choice: Choice) -> dict[str, tuple[Action, Action | None]]:
    """What is done, and what is not, about the cause of each concern."""
    return {concern.verdict.monitor.value: (concern.action, concern.held_back) for concern in choice.concerns}


def test_an_alarm_that_trains_decides_and_not_the_schedule() -> None:
    choice = decide({"realised": "alarm"}, Past(), MONTH)
    assert (choice.decides.ruled.rule, choice.action) == ("loss", Action.retrain)
    assert told(choice) == {"realised": (Action.retrain, None)}


def test_a_schedule_trains_when_a_guard_holds_the_alarms_training_back() -> None:
    in_vain = Past(rejected_in_a_row=3)
    choice = decide({"realised": "alarm"}, in_vain, MONTH)
    assert (choice.decides.ruled.rule, choice.action) == ("a month without training", Action.retrain)
    assert "672 hours since the last training" in choice.reasons[0]
    assert choice.reasons[1].startswith("`loss` fits too: realised alarms: realised as it was found (retrain was held")
    before = decide({"realised": "alarm"}, in_vain, NOT_YET)
    assert (before.decides.ruled.rule, before.action) == ("loss", Action.escalate)
    assert told(before) == {"realised": (Action.escalate, Action.retrain)}


def test_what_a_schedule_trains_for_is_told_to_those_who_follow_the_alarm() -> None:
    choice = decide({"realised": "alarm"}, Past(rejected_in_a_row=3), MONTH)
    assert told(choice) == {"realised": (Action.retrain, None)}
    assert choice.concerns[0].rule == "loss"
    assert choice.concerns[0].reasons[-1] == "`a month without training` decided on retrain"


@pytest.mark.parametrize(
    "past", [Past(trainings=[NOW]), Past(in_flight=True), Past(awaiting="3"), Past(rolling_out="3"), Past(blocked_by=1)]
)
def test_a_guard_that_holds_every_training_back_holds_the_schedules_too(past: Past) -> None:
    choice = decide({"realised": "alarm"}, past, MONTH)
    assert (choice.decides.ruled.rule, choice.action, choice.decides.held_back) == ("loss", Action.wait, Action.retrain)
    assert "was held back" in choice.reasons[-1]


def test_a_budget_that_is_spent_is_spent_for_the_schedule_too() -> None:
    choice = decide({"realised": "alarm"}, Past(), MONTH, Guards(trainings_a_month=0))
    assert (choice.decides.ruled.rule, choice.action) == ("loss", Action.escalate)


def test_notes_and_waits_put_no_schedule_off() -> None:
    for answers in ({"inputs": "alarm", "realised": "clear"}, {"labels": "alarm"}, {"skew": "unknown"}):
        assert decide(answers, Past(), MONTH).decides.ruled.rule == "a month without training"
        assert decide(answers, Past(), NOT_YET).action is not Action.retrain


def test_broken_data_and_a_rollback_come_before_the_schedule() -> None:
    assert decide({"contract": "alarm"}, Past(), MONTH).action is Action.block
    soon = {**MONTH, "hours_since_promotion": 24.0, "can_roll_back": True}
    assert decide({"realised": "alarm", "concept": "alarm"}, Past(), soon).action is Action.roll_back


def test_the_reasons_name_what_else_alarms_and_nobody_is_woken_for_a_note() -> None:
    choice = decide({"inputs": "alarm", "realised": "clear"}, Past(), MONTH)
    assert choice.reasons[1:] == ("`drift without loss` fits too: inputs alarms: inputs as it was found",)
    assert choice.concerns == ()


def test_each_alarming_cause_is_told_once_whatever_decides() -> None:
    choice = decide({"contract": "alarm", "realised": "alarm", "inputs": "alarm", "skew": "unknown"}, Past(), NOT_YET)
    assert told(choice) == {
        "contract": (Action.block, None),
        "realised": (Action.wait, Action.retrain),
        "skew": (Action.alert, None),
    }, "inputs explain the loss, and are told with it"
    assert choice.concerns[1].reasons[-1] == "retrain was held back: `broken data` comes first"


def test_what_one_training_answers_is_told_as_trained() -> None:
    choice = decide({"concept": "alarm", "realised": "alarm"}, Past(), NOT_YET)
    assert choice.action is Action.retrain_recent
    assert told(choice) == {"concept": (Action.retrain_recent, None), "realised": (Action.retrain_recent, None)}


def test_what_is_held_back_with_the_decision_says_why_by_itself() -> None:
    choice = decide({"concept": "alarm", "realised": "alarm"}, Past(in_flight=True), NOT_YET)
    assert told(choice) == {
        "concept": (Action.wait, Action.retrain_recent),
        "realised": (Action.wait, Action.retrain),
    }
    assert all(concern.reasons[-1].endswith("a training is on its way") for concern in choice.concerns)


def test_a_schedule_alone_is_nobodys_concern() -> None:
    assert decide({}, Past(), MONTH).concerns == ()


def test_the_first_of_several_that_may_train_decides() -> None:
    held = {"a": Held(Action.escalate, "asked too often")}
    (ruled,) = fitting(RULES, facts({"realised": "alarm"}))
    fits = [replace(ruled, rule=name) for name in ("a", "b", "c")]
    choice = choose(fits, lambda one: held.get(one.rule))
    assert choice.decides.ruled.rule == "b"
    assert [fit.ruled.rule for fit in choice.others] == ["a", "c"]
