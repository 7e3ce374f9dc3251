"""The gates: each refuses what it is there for, and lets an equal challenger pass."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from configs.case import Problem
from configs.rollout import RolloutParams
from tasks.rollout.arms import rows_per_arm, size_stated
from tasks.rollout.evidence import Pairs, Seen
from tasks.rollout.expected import Expected
from tasks.rollout.gates import Gates
from tasks.rollout.stages import begin, following

AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
ROWS = 4000
EXPECTED = Expected(rows=5000, disagreement=0.04, shift=0.0, scale=1.0, champion_loss=0.5, deviation=0.45)


def gates(number: int = 2, **changes: Any) -> Gates:
    """The rules of a stage: 1 is the shadow, 2 the first step of the canary, 6 after the promotion."""
    params = RolloutParams.model_validate(changes)
    state = begin("3", "2", params, 0.05, AT)
    for _ in range(number):
        state = following(state, (), AT)
    return Gates(Problem.binary, params, state, EXPECTED)


def equal() -> Seen:
    draw = np.random.default_rng(5)
    return Seen(
        rows=ROWS,
        rows_here=ROWS,
        failed=np.zeros(ROWS),
        fell_back=np.zeros(ROWS),
        seconds=draw.lognormal(-6, 0.5, ROWS),
        champion_seconds=draw.lognormal(-6, 0.5, ROWS),
        distances=np.abs(draw.normal(0, 0.05, ROWS)),
        shifts=draw.normal(0, 0.05, ROWS),
        pairs=Pairs(losses=draw.normal(0, 0.4, ROWS), costs=draw.choice([-1.0, 0.0, 1.0], ROWS)),
        labels_here=ROWS,
    )


def failed(found: Gates, seen: Seen) -> list[str]:
    return [reason.rule for reason in found.reasons(seen) if not reason.passed and not reason.inconclusive]


@pytest.mark.parametrize("number", [1, 2, 6])
def test_an_equal_challenger_fails_no_rule(number: int) -> None:
    assert failed(gates(number, costs={"false_negative": 3}), equal()) == []


def share(of: float) -> np.ndarray:
    return (np.random.default_rng(6).random(ROWS) < of).astype(float)


@pytest.mark.parametrize(
    ("rule", "number", "worse"),
    [
        ("errors", 2, {"failed": share(0.02)}),
        ("errors", 1, {"failed": share(0.2)}),
        ("errors", 6, {"failed": share(0.02)}),
        ("fallbacks", 2, {"fell_back": share(0.1)}),
        ("p95", 1, {"seconds": 2 * equal().seconds}),
        ("p95", 2, {"seconds": 2 * equal().seconds}),
        ("disagreement", 1, {"distances": 3 * equal().distances}),
        ("shift", 2, {"shifts": equal().shifts + 0.15}),
        ("shift", 2, {"shifts": equal().shifts - 0.15}),
        ("loss", 2, {"pairs": replace(equal().pairs, losses=equal().pairs.losses + 0.05)}),
        ("value", 2, {"pairs": replace(equal().pairs, costs=equal().pairs.costs * 0.5 + 0.2)}),
    ],
)
def test_each_rule_refuses_what_it_is_there_for(rule: str, number: int, worse: dict[str, Any]) -> None:
    assert rule in failed(gates(number, costs={"false_negative": 3}), replace(equal(), **worse))


def test_a_shift_that_hours_differ_by_anyway_is_not_held_against_the_challenger() -> None:
    seen, found = replace(equal(), shifts=equal().shifts + 0.15), gates()
    assert failed(found, seen) == ["shift"]
    assert failed(replace(found, expected=EXPECTED.model_copy(update={"wavering": 0.1})), seen) == []


def test_nor_is_a_distance_that_hours_differ_by_anyway() -> None:
    seen, found = replace(equal(), distances=3 * equal().distances), gates(1)
    assert failed(found, seen) == ["disagreement"]
    assert failed(replace(found, expected=EXPECTED.model_copy(update={"disagreement_wavering": 0.1})), seen) == []


@pytest.mark.parametrize(("rule", "array"), [("loss", "losses"), ("value", "costs")])
def test_one_bad_day_is_not_held_against_a_challenger_whose_days_differ(rule: str, array: str) -> None:
    found = gates(costs={"false_negative": 3})
    harm = replace(equal().pairs, **{array: getattr(equal().pairs, array) * 0.5 + 0.2})
    differing = replace(found, expected=EXPECTED.model_copy(update={f"{array[:4]}_between_days": 0.2}))
    one_day = replace(equal(), pairs=replace(harm, days=np.zeros(ROWS, dtype=np.int64)))
    many_days = replace(equal(), pairs=replace(harm, days=np.arange(ROWS) // 100))
    assert failed(found, one_day) == [rule], "nothing is known of days"
    assert failed(differing, one_day) == []
    assert failed(differing, many_days) == [rule]


@pytest.mark.parametrize(("rule", "array"), [("loss", "losses"), ("value", "costs")])
def test_harm_that_is_shown_for_rows_alone_holds_the_stage_until_rows_come_that_make_good_for_it(
    rule: str, array: str
) -> None:
    found = gates(costs={"false_negative": 3})
    differing = replace(found, expected=EXPECTED.model_copy(update={f"{array[:4]}_between_days": 0.2}))
    noise = getattr(equal().pairs, array) * 0.5
    for second_day, held in ((0.0, [rule]), (-0.4, [])):
        values = np.concatenate([noise + 0.2, noise + second_day])
        pairs = replace(Pairs(), **{array: values, "days": np.arange(2 * ROWS) // ROWS})
        reasons = differing.reasons(replace(equal(), pairs=pairs))
        assert [reason.rule for reason in reasons if reason.inconclusive] == held
        assert all(reason.passed for reason in reasons if reason.rule not in held)


def test_not_worse_has_to_be_proven_for_days_that_differ_too() -> None:
    found = gates(canary={"labels": 100}, margin=0.2)
    differing = replace(found, expected=EXPECTED.model_copy(update={"loss_between_days": 0.1}))
    one_day, many_days = (
        replace(equal(), pairs=replace(equal().pairs, days=np.arange(ROWS) // rows)) for rows in (ROWS, 100)
    )
    assert [reason.rule for reason in differing.reasons(one_day) if reason.inconclusive] == ["not worse"]
    assert all(reason.passed for reason in differing.reasons(many_days))


def test_a_fallback_that_the_champion_needs_too_is_not_held_against_the_challenger() -> None:
    seen = replace(equal(), fell_back=share(0.1), champion_fell_back=0.1)
    assert failed(gates(), seen) == []


def test_without_labels_nothing_is_said_of_the_loss_and_the_stage_waits_where_labels_are_wanted() -> None:
    seen = replace(equal(), pairs=Pairs(), labels_here=0)
    assert all(reason.passed for reason in gates().reasons(seen))
    waits = [reason.rule for reason in gates(canary={"labels": 100}).reasons(seen) if reason.inconclusive]
    assert waits == ["not worse", "labels"]


def test_where_labels_are_wanted_not_worse_has_to_be_proven() -> None:
    found = gates(canary={"labels": 100}, margin=0.2)
    few = replace(equal(), pairs=Pairs(losses=equal().pairs.losses[:200]), labels_here=200)
    assert [reason.rule for reason in found.reasons(few) if reason.inconclusive] == ["not worse"]
    assert all(reason.passed for reason in found.reasons(equal()))


def test_too_few_requests_wait() -> None:
    assert [r.rule for r in gates().reasons(replace(equal(), rows_here=499)) if r.inconclusive] == ["requests"]


def test_an_ab_test_says_its_size_before_it_begins_and_judges_nothing_until_then() -> None:
    found = gates(1, strategy="ab", ab={"effect": 0.05})
    needed = rows_per_arm(found.params.ab, 0.05, EXPECTED)
    # 2 * ((1.960 + 0.842) * 0.45 / 0.025) ** 2, by hand
    assert needed == pytest.approx(5087, abs=2)
    assert "5,08" in size_stated(found.params.ab, 0.05, EXPECTED).text
    draw = np.random.default_rng(7)
    champion, better = draw.normal(0.5, 0.45, 9000), draw.normal(0.45, 0.45, 9000)

    def ruling(side: np.ndarray, rows: int) -> tuple[bool, bool]:
        seen = replace(equal(), pairs=Pairs(arms=(champion[:rows], side[:rows])))
        [reason] = [r for r in found.reasons(seen) if r.rule == "A/B"]
        return reason.passed, reason.inconclusive

    assert ruling(better, needed - 1) == (False, True), "however clear it looks"
    assert ruling(better, needed) == (True, False)
    assert ruling(champion, 9000) == (False, False), "nobody won: the champion stays"
    assert ruling(better + 0.1, 9000) == (False, False), "the champion won"
