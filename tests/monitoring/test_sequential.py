"""Sequential tests keep their error rate however often one looks, find what is there, and survive being kept."""

import numpy as np
import pytest

from tasks.monitoring.sequential import (
    BoundedMeanTest,
    ConfidenceSequence,
    OutOfBounds,
    log_ratios_against_band,
    started_anywhere,
)

DRAW = 20260101
ERRORS = {"low": 0.0, "high": 1.0, "threshold": 0.02, "error_rate": 0.05}


def coins(seed: int, chance: float, rows: int) -> np.ndarray:
    return (np.random.default_rng([DRAW, seed]).random(rows) < chance).astype(float)


def test_a_mean_at_its_threshold_is_hardly_ever_rejected_though_every_row_is_looked_at():
    rejected = [BoundedMeanTest(**ERRORS).seen(coins(seed, 0.02, 2000)).rejected for seed in range(200)]

    assert np.mean(rejected) <= 0.05


def test_a_mean_above_its_threshold_is_rejected():
    rejected = [BoundedMeanTest(**ERRORS).seen(coins(seed, 0.06, 2000)).rejected for seed in range(50)]

    assert np.mean(rejected) >= 0.98


def test_a_mean_below_its_threshold_is_not_rejected():
    assert not BoundedMeanTest(**ERRORS).seen(coins(1, 0.001, 5000)).rejected


def test_a_rejection_stays_though_later_values_speak_against_it():
    test = BoundedMeanTest(**ERRORS).seen(np.ones(10))

    assert test.rejected
    assert test.seen(np.zeros(5000)).rejected
    assert test.seen(np.zeros(5000)).e_value < 20


def test_parts_in_their_order_give_the_same_test_as_the_whole():
    values = coins(2, 0.05, 700)
    parts = BoundedMeanTest(**ERRORS).seen(values[:300]).seen([]).seen(values[300:])
    whole = BoundedMeanTest(**ERRORS).seen(values)

    assert parts.log_wealth == pytest.approx(whole.log_wealth)
    assert parts.highest == pytest.approx(whole.highest)
    assert (parts.rows, parts.total) == (whole.rows, whole.total)


def test_a_test_is_the_same_after_it_was_kept():
    test = BoundedMeanTest(**ERRORS).seen(coins(4, 0.03, 100))

    assert BoundedMeanTest.model_validate_json(test.model_dump_json()) == test


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_value_out_of_bounds_is_refused(value):
    with pytest.raises(OutOfBounds, match="from 0 to 1 was given"):
        BoundedMeanTest(**ERRORS).seen([0.5, value])


@pytest.mark.parametrize("threshold", [0.0, 1.0, 2.0])
def test_a_threshold_that_nothing_can_exceed_is_refused(threshold):
    with pytest.raises(ValueError, match="must lie between"):
        BoundedMeanTest(**(ERRORS | {"threshold": threshold}))


def test_paired_losses_show_which_model_is_worse():
    draw = np.random.default_rng(DRAW)
    champion = draw.beta(2, 8, size=4000)
    harmless = np.clip(champion + draw.normal(0, 0.1, 4000), 0, 1) - champion
    worse = np.clip(champion * 1.1 + draw.normal(0, 0.1, 4000), 0, 1) - champion
    test = BoundedMeanTest(low=-1, high=1, threshold=0.006, error_rate=0.05)

    assert not test.seen(harmless).rejected
    assert test.seen(worse).rejected


def test_a_confidence_sequence_covers_the_mean_at_every_look():
    covered = []
    for seed in range(100):
        sequence, holds = ConfidenceSequence(low=0, high=1, confidence=0.95), True
        for part in np.split(coins(seed, 0.3, 1000), 20):
            sequence = sequence.seen(part)
            interval = sequence.interval
            holds &= interval.low <= 0.3 <= interval.high
        covered.append(holds)

    assert np.mean(covered) >= 0.95


def test_a_confidence_sequence_shrinks_around_its_mean():
    first = ConfidenceSequence(low=-2, high=3, confidence=0.95)
    draw = np.random.default_rng(DRAW)
    later = first.seen(np.clip(draw.normal(0.5, 0.3, 20_000), -2, 3))

    assert (first.interval.low, first.interval.high) == (-2, 3)
    assert later.interval.low < 0.5 < later.interval.high
    assert later.interval.high - later.interval.low < 0.03


def test_a_confidence_sequence_is_the_same_in_parts_and_after_it_was_kept():
    values = np.random.default_rng(DRAW).uniform(-1, 1, 500)
    start = ConfidenceSequence(low=-1, high=1, confidence=0.9)
    kept = ConfidenceSequence.model_validate_json(start.seen(values[:123]).model_dump_json())

    assert kept.seen(values[123:]).interval.low == pytest.approx(start.seen(values).interval.low)
    assert kept.seen(values[123:]).spread == pytest.approx(start.seen(values).spread)


def test_the_money_for_all_starts_is_spent_once():
    wealth, _ = started_anywhere(np.zeros((50, 3)))

    assert wealth == pytest.approx(np.zeros(3))


def test_the_start_of_a_change_is_named():
    ratios = np.full((50, 2), -1.0)
    ratios[30:, 1] = 2.0
    wealth, starts = started_anywhere(ratios)

    assert wealth[0] < 0 < wealth[1]
    assert starts[1] == 30


@pytest.mark.parametrize("truth", [-0.3, 0.0, 0.3])
@pytest.mark.parametrize("alternative", [-2.0, -0.1, 0.2, 1.5])
def test_within_the_band_no_truth_makes_an_alternative_pay(truth, alternative):
    chance = 1 / (1 + np.exp(-truth))
    told = log_ratios_against_band(np.array([1.0, 0.0]), *(np.array(2 * [odds]) for odds in (alternative, -0.3, 0.3)))

    assert chance * np.exp(told[0]) + (1 - chance) * np.exp(told[1]) <= 1 + 1e-12
