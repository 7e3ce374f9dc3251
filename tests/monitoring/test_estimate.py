"""Performance to be expected, and how far it may be from the truth."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, mean_absolute_error, roc_auc_score

from configs.case import Problem
from tasks.monitoring.correction import Past, learn_correction
from tasks.monitoring.estimate import (
    Answers,
    Calibration,
    as_probability,
    back_test,
    expected,
    expected_errors,
    past_of,
    usual,
)
from tasks.monitoring.outlook import CameTrue, apart, look_out


def binary(rows: int, seed: int, shift: float = 0.0) -> tuple[Answers, np.ndarray]:
    """Scores that are too low by a power, and what happened; `shift` changes what scores come, not what they mean."""
    random = np.random.default_rng(seed)
    chance = random.beta(2 + shift, 3, rows)
    return Answers(Problem.binary, chance**1.5), (random.random(rows) < chance).astype(float)


KNOWN, HAPPENED = binary(30_000, 1)
UNITS = np.repeat(np.arange(15), 2000)


@pytest.mark.parametrize(
    ("metric", "true"),
    [
        ("auc", roc_auc_score),
        ("accuracy", lambda y, s: accuracy_score(y, s >= 0.5)),
        ("f1", lambda y, s: f1_score(y, s >= 0.5)),
        ("brier", brier_score_loss),
    ],
)
def test_where_the_label_is_known_the_formulas_are_the_metrics_themselves(
    metric: str, true: Callable[..., float]
) -> None:
    scores = np.round(KNOWN.scores[:500], 2)
    found = expected(Answers(Problem.binary, scores), HAPPENED[:500])
    assert found[metric].value == pytest.approx(true(HAPPENED[:500], scores), abs=1e-12)


@pytest.mark.parametrize("metric", ["auc", "accuracy", "f1", "brier"])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_estimates_without_labels_come_close_to_the_truth(metric: str, shift: float) -> None:
    answers, truth = binary(20_000, 2, shift)
    now = expected(answers, Calibration.learn(KNOWN, HAPPENED)(answers))[metric]
    assert now.value == pytest.approx(expected(answers, truth)[metric].value, abs=4 * now.error)
    assert 0 < now.error < 0.02


def test_the_sampling_error_is_that_of_many_draws() -> None:
    answers, _ = binary(400, 3)
    chance = answers.scores ** (1 / 1.5)
    told, random = expected(answers, chance), np.random.default_rng(5)
    drawn = [expected(answers, (random.random(400) < chance).astype(float)) for _ in range(300)]
    for metric in ("auc", "accuracy", "f1", "brier"):
        assert np.std([one[metric].value for one in drawn]) == pytest.approx(told[metric].error, rel=0.2)


def test_an_auc_of_one_kind_of_rows_is_left_out() -> None:
    answers = Answers(Problem.binary, np.array([0.2, 0.7]))
    assert "auc" not in expected(answers, np.ones(2))
    assert expected(answers, np.ones(2))["accuracy"].value == 0.5
    assert expected(answers.at(np.array([], dtype=int)), np.empty(0)) == {}


def test_several_classes_are_estimated_too() -> None:
    classes, random = ("a", "b", "c"), np.random.default_rng(5)
    chance = random.dirichlet([1, 2, 3], 12_000)
    labels = np.array([classes[random.choice(3, p=row)] for row in chance])
    sharp = chance**2 / (chance**2).sum(axis=1, keepdims=True)
    answers, truth = Answers(Problem.multiclass, sharp), as_probability(Problem.multiclass, labels, classes)
    first, later = np.arange(6000), np.arange(6000, 12_000)
    now = expected(answers.at(later), Calibration.learn(answers.at(first), truth[first])(answers.at(later)))
    true = expected(answers.at(later), truth[later])
    assert set(now) == {"auc", "accuracy", "f1", "brier"}
    for metric, one in now.items():
        # Of 24 draws the largest difference was 0.033: what 6,000 rows teach is uncertain by about 0.01.
        assert one.value == pytest.approx(true[metric].value, abs=0.04)


def test_errors_of_a_regression_add_up_to_mae_and_rmse() -> None:
    error = np.random.default_rng(5).normal(0, 3, 5000)
    found = expected_errors(np.abs(error), error**2)
    assert found["mae"].value == pytest.approx(mean_absolute_error(np.zeros(5000), error))
    assert found["rmse"].value == pytest.approx(np.sqrt(np.mean(error**2)))


def test_a_back_test_judges_each_unit_by_the_others() -> None:
    judged = back_test(KNOWN, HAPPENED, UNITS)
    assert [one.unit for one in judged] == list(range(15))
    assert usual(judged)["auc"] == pytest.approx(roc_auc_score(HAPPENED, KNOWN.scores), abs=0.01)
    assert back_test(KNOWN, HAPPENED, np.zeros(30_000, dtype=int)) == []


def test_a_unit_of_rows_that_belong_to_none_is_not_judged() -> None:
    units = np.where(UNITS == 14, -1, UNITS)
    assert len(back_test(KNOWN, HAPPENED, units)) == 14


# What earlier windows teach


def window(mean: float, wrong: float, *, live: bool = True) -> Past:
    return Past(mean, 0.7, 0.7 + wrong, 0.005, live=live)


def came(number: int, mean: float, wrong: float) -> CameTrue:
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(weeks=number)
    return CameTrue(start, start + timedelta(weeks=1), window(mean, wrong), 0.7, 0.65, 0.75)


def test_an_error_that_goes_with_the_scores_is_corrected() -> None:
    past = [window(mean, mean - 0.3) for mean in np.linspace(0.2, 0.4, 12)]
    correction = learn_correction(past)
    assert correction(0.22, 0.7) == pytest.approx(0.62, abs=0.02)
    assert np.abs([one.value for one in correction.residuals]).max() < 0.05


def test_noise_is_not_taken_for_a_lesson() -> None:
    random = np.random.default_rng(2)
    past = [window(mean, random.normal(0, 0.01)) for mean in random.normal(0.3, 0.05, 20)]
    assert learn_correction(past)(0.25, 0.7) == 0.7


def test_the_reference_alone_corrects_nothing() -> None:
    past = [window(mean, mean - 0.3, live=False) for mean in np.linspace(0.2, 0.4, 12)]
    assert learn_correction(past)(0.22, 0.7) == 0.7


def test_a_correction_is_not_carried_beyond_what_was_seen() -> None:
    correction = learn_correction([window(mean, mean - 0.3) for mean in np.linspace(0.2, 0.4, 12)])
    assert correction(5.0, 0.7) == pytest.approx(correction(0.4, 0.7), abs=0.01)


def test_a_fall_as_large_as_tolerated_is_likely_only_where_it_was_estimated() -> None:
    judged = back_test(KNOWN, HAPPENED, UNITS)
    look = look_out("auc", judged, [], 0.05, 0.9)
    assert look is not None
    now = expected(KNOWN.at(UNITS == 0), Calibration.learn(KNOWN, HAPPENED)(KNOWN.at(UNITS == 0)))["auc"]
    usual_week = look.see(KNOWN.mean_score, now)
    assert usual_week.low < look.before < usual_week.high
    assert usual_week.chance_of_loss < 0.01
    fallen = look.see(KNOWN.mean_score, type(now)(look.before - 0.06, now.error))
    assert fallen.chance_of_loss > 0.5


def test_what_the_last_windows_missed_is_expected_of_the_next_and_fades() -> None:
    judged = back_test(KNOWN, HAPPENED, UNITS)

    def told(*misses: float) -> float:
        look = look_out("auc", judged, [came(number, 0.3, -miss) for number, miss in enumerate(misses)], 0.05, 0.9)
        assert look is not None
        return look.lately

    assert told() == 0
    assert told(0.1) == pytest.approx(-0.1 / 5)
    assert told(0.1, 0.1) == pytest.approx(-0.17 / 5.7)
    assert told(0.1, 0.0) == pytest.approx(-0.07 / 5.7)


def test_without_three_windows_there_is_no_outlook() -> None:
    judged = back_test(KNOWN, HAPPENED, UNITS)
    assert look_out("auc", judged[:2], [], 0.05, 0.9) is None
    assert look_out("mae", judged, [], 0.05, 0.9) is None
    assert len(past_of(judged, "mae")) == 0


def test_windows_that_overlap_teach_once() -> None:
    weekly = [came(number, 0.3, 0.0) for number in range(4)]
    daily = [replace(one, start=one.start + timedelta(days=3), end=one.end + timedelta(days=3)) for one in weekly[:3]]
    assert apart([*daily, *weekly]) == weekly
