"""Intervals cover, and widen where rows of one block resemble each other."""

import numpy as np
import pandas as pd
import pytest

from tasks.evaluation.intervals import blocks_of, interval, p_above_zero, standard_error
from tasks.evaluation.metrics import auc


def test_each_row_its_own_block_gives_the_standard_error_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(size=200)
    error = standard_error(values - values.mean(), np.arange(200))
    assert error == pytest.approx(values.std(ddof=1) / np.sqrt(200))


def test_the_variance_of_an_auc_is_delongs() -> None:
    draw = np.random.default_rng(1)
    up, down = draw.normal(1, 1, size=60), draw.normal(0, 1, size=140)
    wins = (up[:, None] > down) + 0.5 * (up[:, None] == down)
    delong = wins.mean(axis=1).var(ddof=1) / 60 + wins.mean(axis=0).var(ddof=1) / 140
    found = auc(np.repeat([True, False], [60, 140]), np.concatenate([up, down]))
    assert found is not None
    assert found.influence is not None
    # DeLong corrects each class for its own size, clustered data for the number of clusters.
    assert standard_error(found.influence, np.arange(200)) ** 2 == pytest.approx(delong, rel=0.015)


def test_the_variance_of_a_paired_difference_of_aucs_is_delongs() -> None:
    draw = np.random.default_rng(2)
    positive = np.arange(400) < 100
    one = positive + draw.normal(size=400)
    two = one + draw.normal(size=400)
    placed = []
    for scores in (one, two):
        wins = scores[positive][:, None] > scores[~positive]
        placed.append((wins.mean(axis=1), wins.mean(axis=0)))
    (above_one, below_one), (above_two, below_two) = placed
    delong = (above_one - above_two).var(ddof=1) / 100 + (below_one - below_two).var(ddof=1) / 300
    first, second = auc(positive, one), auc(positive, two)
    assert first is not None
    assert second is not None
    assert first.influence is not None
    assert second.influence is not None
    found = standard_error(first.influence - second.influence, np.arange(400)) ** 2
    assert found == pytest.approx(delong, rel=0.01)


def _covers(draw: np.random.Generator, block_effect: float, blocks: np.ndarray) -> bool:
    day = np.arange(1400) // 50
    values = draw.normal(size=1400) + block_effect * draw.normal(size=28)[day]
    found = interval(float(values.mean()), values - values.mean(), blocks, 0.95)
    return found.low <= 0 <= found.high


def test_intervals_cover_as_often_as_they_say_when_days_differ() -> None:
    draw = np.random.default_rng(3)
    day = np.arange(1400) // 50
    covered = np.mean([_covers(draw, 0.5, day) for _ in range(1000)])
    assert 0.93 <= covered <= 0.97


def test_intervals_that_ignore_the_days_do_not_cover() -> None:
    draw = np.random.default_rng(4)
    covered = np.mean([_covers(draw, 0.5, np.arange(1400)) for _ in range(300)])
    assert covered < 0.6


def test_rows_that_resemble_each_other_within_a_block_widen_the_interval() -> None:
    day = np.repeat(np.arange(20), 50)
    alike = np.repeat(np.random.default_rng(5).normal(size=20), 50)
    by_day, by_row = (interval(0.0, alike - alike.mean(), b, 0.95) for b in (day, np.arange(1000)))
    assert by_day.high > 5 * by_row.high


def test_one_block_alone_says_nothing() -> None:
    found = interval(0.7, np.array([0.1, -0.1]), np.zeros(2, dtype=np.intp), 0.95)
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_no_rows_say_nothing() -> None:
    found = interval(0.7, np.empty(0), np.empty(0, dtype=np.intp), 0.95)
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_a_one_sided_p_value_is_small_only_above_zero() -> None:
    noise = np.random.default_rng(6).normal(size=200)
    noise -= noise.mean()
    above, below = (p_above_zero(value, noise, np.arange(200)) for value in (0.5, -0.5))
    assert above < 0.001
    assert below > 0.999


@pytest.mark.parametrize(("value", "p"), [(0.1, 0.0), (0.0, 1.0), (-0.1, 1.0)])
def test_without_any_spread_the_sign_decides(value: float, p: float) -> None:
    assert p_above_zero(value, np.zeros(10), np.arange(10)) == p


@pytest.mark.parametrize(("every", "expected"), [("hour", [0, 1, 2, 3]), ("day", [0, 0, 1, 2]), ("week", [0, 0, 0, 1])])
def test_blocks_are_hours_days_and_weeks_from_monday_in_utc(every: str, expected: list[int]) -> None:
    moments = ["2024-01-05T23:30-02:00", "2024-01-06T23:59Z", "2024-01-07T23:59Z", "2024-01-08T00:00Z"]
    assert list(blocks_of(pd.Series(pd.to_datetime(moments, utc=True)), every)) == expected
