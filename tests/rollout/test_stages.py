"""The stages of a rollout: which there are, and what moves it from one to the next."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from configs.rollout import RolloutParams
from tasks.records import Reason, Rollout
from tasks.rollout.stages import begin, following, judged, plan, traffic_of

AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PASSED = Reason(rule="errors", passed=True, text="none")
FAILED = Reason(rule="errors", passed=False, text="2 % of 400")
WAITING = Reason(rule="requests", passed=False, inconclusive=True, text="3 of 500")


def params(**changes: Any) -> RolloutParams:
    return RolloutParams.model_validate(changes)


def names(**changes: Any) -> list[str]:
    return [stage.name for stage in plan(params(**changes), 0.05)]


def going(number: int = 1, **changes: Any) -> Rollout:
    state = begin("3", "2", params(**changes), 0.05, AT)
    for _ in range(number):
        state = following(state, (), AT)
    return state


def test_each_strategy_has_its_stages() -> None:
    steps = ["canary 5 %", "canary 25 %", "canary 50 %", "canary 100 %"]
    assert names() == ["load check", "shadow", *steps, "warm"]
    assert names(strategy="canary") == ["load check", *steps, "warm"]
    assert names(strategy="blue-green") == ["load check", "warm"]
    assert names(strategy="ab") == ["load check", "A/B 50 %", "warm"]
    assert names(strategy="direct") == []


@pytest.mark.parametrize(
    ("start", "shares"), [(0.05, [0.05, 0.25, 0.5, 1]), (0.3, [0.3, 0.5, 1]), (1.0, [1]), (0, [0.05, 0.25, 0.5, 1])]
)
def test_the_share_that_was_approved_is_the_first_step(start: float, shares: list[float]) -> None:
    assert [stage.share for stage in plan(params(strategy="canary"), start)[1:-1]] == shares


def test_no_labels_are_waited_for_where_nobody_is_left_to_compare_with() -> None:
    assert [stage.labels for stage in plan(params(strategy="canary", canary={"labels": 50}), 0.5)] == [0, 50, 0, 0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": [0.5, 0.25, 1.0]}, "must rise"),
        ({"steps": [0.05, 0.5]}, r"the last step must be 1.0 \(all of the traffic\), not 0.5"),
        ({"ab": {"arms": {"champion": 0.5, "challenger": 0.4}}}, "must add up to 1; 0.5 and 0.4 do not"),
        ({"ab": {"arms": {"champion": 1.0, "challenger": 0.0}}}, "both arms"),
        ({"costs": {"false_positive": 0, "false_negative": 0}}, "makes every model equal"),
    ],
)
def test_shares_and_costs_that_make_no_sense_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        params(**changes)


def test_one_failed_rule_stops_whatever_else_passed_or_waits() -> None:
    assert judged(going(), [PASSED, FAILED, WAITING], "promote", AT + 2 * HOUR).move == "stop"


def test_a_stage_is_held_until_its_time_and_its_evidence_are_there() -> None:
    assert judged(going(), [PASSED], "hold", AT + 0.99 * HOUR).move == "stay"
    assert judged(going(), [PASSED, WAITING], "hold", AT + 2 * HOUR).move == "stay"
    assert judged(going(), [PASSED], "hold", AT + HOUR).move == "go on"


@pytest.mark.parametrize(("not_enough", "move"), [("hold", "stay"), ("promote", "go on"), ("abort", "stop")])
def test_not_enough_evidence_in_time_means_what_was_configured(not_enough: Any, move: str) -> None:
    late = AT + 168 * HOUR
    assert judged(going(), [PASSED, WAITING], not_enough, late - HOUR).move == "stay"
    found = judged(going(), [PASSED, WAITING], not_enough, late)
    assert found.move == move
    assert f"not_enough: {not_enough}" in found.reasons[-1].text


@pytest.mark.parametrize(("not_enough", "move"), [("hold", "stay"), ("promote", "stop"), ("abort", "stop")])
def test_a_challenger_whose_labels_show_harm_is_sent_on_by_no_lapse_of_time(not_enough: Any, move: str) -> None:
    harm = WAITING.model_copy(update={"rule": "loss"})
    assert judged(going(), [PASSED, harm], not_enough, AT + 167 * HOUR).move == "stay"
    found = judged(going(), [PASSED, harm], not_enough, AT + 168 * HOUR)
    assert (found.move, found.held) == (move, True)
    assert found.reasons[-1].rule == "evidence in time"


def test_a_person_is_asked_once_before_everybody_is_answered_by_the_challenger() -> None:
    asking = {"approvals": ["start", "full"], "canary": {"hours": 0}, "shadow": {"hours": 0}}
    moves = [judged(going(number, **asking), [PASSED], "hold", AT).move for number in range(6)]
    assert moves == ["go on", "go on", "go on", "go on", "ask", "go on"]
    assert judged(going(0, strategy="blue-green", **asking), [PASSED], "hold", AT).move == "ask"


def test_traffic_follows_the_stage_and_is_gone_when_it_is_over() -> None:
    assert [traffic_of("bikes", going(number)).share for number in range(7)] == [0, 0, 0.05, 0.25, 0.5, 1, 0]
    assert [traffic_of("bikes", going(number)).shadow for number in range(3)] == [False, True, False]
    stopped = going(4).model_copy(update={"standing": "stopped"})
    assert (traffic_of("bikes", stopped).share, traffic_of("bikes", stopped).shadow) == (0, False)


def test_evidence_is_gathered_over_the_steps_of_a_canary_but_not_from_the_shadow() -> None:
    state, since = going(1), []
    for hours in range(5):
        since.append(state.evidence_since)
        state = following(state, (), AT + (hours + 1) * HOUR)
    assert since == [AT, *[AT + HOUR] * 4]


def test_the_last_stage_is_followed_by_the_end() -> None:
    done = following(going(6), (PASSED,), AT + 24 * HOUR)
    assert (done.standing, done.over, done.promoted, done.reasons) == ("done", True, True, (PASSED,))
