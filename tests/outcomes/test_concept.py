"""Concept drift is what happens given the score: found with few labels, dated, and not mistaken for harder rows."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from configs.case import Problem
from tasks.outcomes.calibration import Calibration, ranked_pairs, usual
from tasks.outcomes.concept import ConceptTest, concept_test
from tasks.outcomes.promise import ABOVE, HUGE, LARGE, POSITIVE, RIGHT, Promise, Told

SEED = 2026
A_STRETCH = 50


def scores(draw: np.random.Generator, rows: int) -> np.ndarray:
    """Chances with an AUC of 0.85."""
    return expit(-1 + 1.9 * draw.normal(size=rows))


def happened(draw: np.random.Generator, chances: np.ndarray) -> np.ndarray:
    return (draw.random(len(chances)) < chances).astype(float)


def batches(rows: int, count: int = 20) -> np.ndarray:
    return np.arange(rows) * count // rows


@pytest.fixture(scope="module")
def promise() -> Promise:
    draw = np.random.default_rng(SEED)
    told = scores(draw, 20_000)
    return Promise.learn(Problem.binary, Told(told, pd.Series(happened(draw, told))), batches(20_000), 0.05)


def judged(promise: Promise, told: np.ndarray, labels: np.ndarray) -> ConceptTest:
    stretches = np.arange(len(told)) // A_STRETCH
    return concept_test(promise.events(Told(told, pd.Series(labels))), stretches, 0.05)


def test_labels_as_promised_raise_no_alarm_at_any_look(promise: Promise) -> None:
    alarms = 0
    for seed in range(20):
        draw = np.random.default_rng([SEED, seed])
        told = scores(draw, 3000)
        labels = happened(draw, told)
        alarms += any(judged(promise, told[:end], labels[:end]).alarm for end in range(500, 3001, 500))

    assert alarms <= 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda odds: -0.75 + 0.3 * (odds + 1), "rank worse"),
        (lambda odds: 0 * odds - 0.75, "say nothing"),
        (lambda odds: -1 - (odds + 1), "upside down"),
        (lambda odds: odds + 1, "a positive is more frequent than the scores promise"),
        (lambda odds: odds - 1, "a positive is less frequent than the scores promise"),
    ],
)
def test_each_kind_of_change_is_found_and_dated(promise: Promise, change: Any, said: str) -> None:
    draw = np.random.default_rng(SEED + 1)
    told = scores(draw, 2900)
    chances = np.where(np.arange(2900) < 2000, told, expit(change(logit(told))))
    found = judged(promise, told, happened(draw, chances))

    assert found.alarm
    assert found.change is not None
    assert said in found.change.text
    assert abs(found.began - 2000 // A_STRETCH) <= 4


def test_a_change_that_leaves_the_mean_loss_alone_is_found(promise: Promise) -> None:
    """Half the rows as sure as ever and wrong, the other half surer than they were said to be."""
    draw = np.random.default_rng(SEED + 2)
    told = np.full(3000, 0.5)
    told[::2] = 0.8
    chances = np.where(told > 0.6, 0.8 - 0.25, 0.5)
    labels = happened(draw, np.where(np.arange(3000) < 1000, told, chances))

    assert judged(promise, told, labels).alarm


def test_harder_rows_are_no_change(promise: Promise) -> None:
    draw = np.random.default_rng(SEED + 3)
    told = scores(draw, 20_000)
    told = told[(told > 0.35) & (told < 0.65)][:2500]

    assert not judged(promise, told, happened(draw, told)).alarm


def test_another_base_rate_with_scores_to_match_is_no_change(promise: Promise) -> None:
    draw = np.random.default_rng(SEED + 4)
    told = expit(logit(scores(draw, 3000)) + 1.5)

    assert not judged(promise, told, happened(draw, told)).alarm


def test_labels_that_come_late_count_where_they_belong(promise: Promise) -> None:
    """The order in which labels come in does not matter: what is known in the end says the same."""
    draw = np.random.default_rng(SEED + 5)
    told = scores(draw, 2000)
    labels = happened(draw, told)
    missing = np.where(draw.random(2000) < 0.3, np.nan, labels)
    early, late = judged(promise, told, missing), judged(promise, told, labels)

    assert early.labels < late.labels == 2000
    assert not early.alarm
    assert not late.alarm


def test_without_labels_there_is_no_evidence(promise: Promise) -> None:
    told = scores(np.random.default_rng(1), 100)
    found = judged(promise, told, np.full(100, np.nan))

    assert found.log_e == pytest.approx(0)
    assert found.change is None
    assert not found.alarm


def test_weeks_that_always_waver_widen_the_band() -> None:
    draw = np.random.default_rng(SEED + 6)
    told, week = scores(draw, 20_000), batches(20_000)
    steady = Calibration.fit(told, happened(draw, told), week, 0.05)
    wavering = expit(logit(told) + 0.5 * draw.normal(size=20)[week])
    unsteady = Calibration.fit(told, happened(draw, wavering), week, 0.05)

    assert steady.shift < 0.3
    assert 1 < unsteady.shift < 3


def test_a_common_shift_of_all_rows_does_not_blind_the_ranking() -> None:
    """Where whole weeks waver, ranking is still watched: what a day has in common cancels in its pairs."""
    draw = np.random.default_rng(SEED + 7)
    told, week = scores(draw, 20_000), batches(20_000)
    wavering = expit(logit(told) + draw.normal(size=20)[week])
    promise = Promise.learn(Problem.binary, Told(told, pd.Series(happened(draw, wavering))), week, 0.05)
    now = scores(draw, 4000)

    assert judged(promise, now, happened(draw, expit(-1 + 0 * logit(now)))).alarm
    assert not judged(promise, now, happened(draw, expit(logit(now) + 1))).alarm


def test_what_batches_waver_by_is_not_taken_from_chance_alone() -> None:
    draw = np.random.default_rng(SEED + 8)
    weight = np.full(20_000, 0.25)
    surprise = happened(draw, np.full(20_000, 0.5)) - 0.5

    assert usual(surprise, weight, np.zeros(20_000, dtype=int), 0.05) == 0
    assert usual(surprise, weight, batches(20_000), 0.05) < 0.3


def test_scores_that_are_no_chances_are_calibrated() -> None:
    draw = np.random.default_rng(SEED + 9)
    chances = scores(draw, 20_000)
    told = chances**2
    fitted = Calibration.fit(told, happened(draw, chances), batches(20_000), 0.05)

    assert np.abs(fitted.chances(told) - chances).mean() < 0.02
    assert (np.abs(logit(fitted.chances(told)) - logit(chances)) <= fitted.reach(told)).mean() > 0.8


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_events_that_never_or_always_happened_keep_their_numbers_finite(label: float) -> None:
    told = scores(np.random.default_rng(1), 2000)
    fitted = Calibration.fit(told, np.full(2000, label), batches(2000), 0.05)

    assert np.isfinite(fitted.logits(told)).all()
    assert np.isfinite(fitted.reach(told)).all()


def test_scores_of_exactly_nought_and_one_are_taken() -> None:
    told = np.tile([0.0, 1.0, 0.5], 500)
    fitted = Calibration.fit(told, np.tile([0.0, 1.0, 1.0], 500), batches(1500), 0.05)

    assert np.isfinite(fitted.logits(told)).all()


def test_pairs_are_rows_of_one_group_of_which_one_had_the_event() -> None:
    pairs = ranked_pairs(
        np.array([1.0, 0.0, 0.0, 2.0, 1.0, 1.0, 3.0, 1.0, 0.5, 0.2]),
        np.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0, np.nan, 1.0, 1.0, 0.0]),
        np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    )

    assert pairs.rows.tolist() == [0, 2]
    assert pairs.gap.tolist() == [1.0, 2.0]
    assert pairs.hits.tolist() == [1.0, 0.0]


# Other problems


def classes(draw: np.random.Generator, rows: int, right: float = 1.0) -> Told:
    top = draw.uniform(0.4, 0.95, rows)
    predicted = draw.choice(["a", "b", "c"], rows)
    others = np.where(predicted == "a", "b", "a")
    hit = draw.random(rows) < right * top
    return Told(top, pd.Series(np.where(hit, predicted, others)).astype("object"), pd.Series(predicted))


def test_of_several_classes_the_right_answers_are_watched() -> None:
    draw = np.random.default_rng(SEED + 10)
    promise = Promise.learn(Problem.multiclass, classes(draw, 10_000), batches(10_000), 0.05)
    stretches = np.arange(1000) // A_STRETCH
    same, worse = (concept_test(promise.events(classes(draw, 1000, right)), stretches, 0.05) for right in (1.0, 0.7))

    assert list(promise.calibrations) == [RIGHT]
    assert not same.alarm
    assert worse.alarm


def numbers(draw: np.random.Generator, rows: int, noise: float = 1.0, shift: float = 0.0) -> Told:
    predicted = draw.uniform(0, 10, rows)
    return Told(predicted, pd.Series(predicted + shift + noise * (0.5 + predicted / 5) * draw.normal(size=rows)))


def test_of_a_regression_errors_are_watched_given_the_prediction() -> None:
    draw = np.random.default_rng(SEED + 11)
    promise = Promise.learn(Problem.regression, numbers(draw, 10_000), batches(10_000), 0.05)
    stretches = np.arange(500) // A_STRETCH

    def alarm(noise: float, shift: float) -> ConceptTest:
        return concept_test(promise.events(numbers(draw, 500, noise, shift)), stretches, 0.05)

    assert list(promise.calibrations) == [LARGE, HUGE, ABOVE]
    assert not alarm(1.0, 0.0).alarm
    assert alarm(2.0, 0.0).alarm
    assert alarm(1.0, 1.5).alarm


def test_what_loss_to_expect_follows_the_scores() -> None:
    draw = np.random.default_rng(SEED + 12)
    regression = Promise.learn(Problem.regression, numbers(draw, 10_000), batches(10_000), 0.05)
    told = scores(draw, 10_000)
    binary = Promise.learn(Problem.binary, Told(told, pd.Series(happened(draw, told))), batches(10_000), 0.05)

    assert regression.expected_losses(np.array([9.0]))[0] > 2 * regression.expected_losses(np.array([1.0]))[0]
    assert binary.expected_losses(np.array([0.5]))[0] > binary.expected_losses(np.array([0.95]))[0]
    assert binary.loss == pytest.approx((told * (1 - told)).mean(), abs=0.01)
    assert list(binary.calibrations) == [POSITIVE]
