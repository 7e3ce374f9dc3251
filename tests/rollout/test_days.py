"""Evidence among days that differ: rarely wrong where rows alone mislead, and not blind."""

import numpy as np
import pandas as pd
import pytest

from tasks.monitoring.sequential import BoundedMeanTest
from tasks.rollout.days import days_of, log_evidence, straying

RATE = 0.01
ROWS = 300
RUNS = 60


def drawn(
    draw: np.random.Generator, days: int, mean: float, between: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, their days, and each day's own mean."""
    means = draw.normal(mean, between, days)
    return draw.normal(np.repeat(means, ROWS), 0.35), np.repeat(np.arange(days), ROWS), means


def ever_shown(mean: float, between: float) -> tuple[float, float]:
    """How often a harm is shown within five days, looked at after each: by the days, and by the rows alone."""
    by_days, by_rows = 0, 0
    for run in range(RUNS):
        draw = np.random.default_rng(run)
        before, of_before, _ = drawn(draw, 14, mean, between)
        known = straying(before, of_before, 7)
        values, days, _ = drawn(draw, 5, mean, between)
        looks = [log_evidence(values[: ROWS * n], days[: ROWS * n], known) for n in range(1, 6)]
        by_days += max(looks) >= -np.log(RATE)
        test = BoundedMeanTest(low=-4.6, high=4.6, threshold=0.0, error_rate=RATE)
        by_rows += test.seen(np.clip(values, -4.6, 4.6)).rejected
    return by_days / RUNS, by_rows / RUNS


def test_a_challenger_that_is_worse_on_some_days_only_is_not_shown_to_be_worse() -> None:
    by_days, by_rows = ever_shown(0.0, 0.09)
    assert by_days <= 0.05
    assert by_rows > 0.2, "rows alone call chance among days a harm"


def test_a_harm_above_what_days_differ_by_is_shown() -> None:
    assert ever_shown(0.15, 0.04)[0] > 0.9


def test_rows_of_a_day_in_any_order_are_the_same_evidence() -> None:
    values, days, _ = drawn(np.random.default_rng(3), 4, 0.1, 0.05)
    order = np.random.default_rng(4).permutation(len(values))
    assert log_evidence(values[order], days[order], 0.05) == pytest.approx(log_evidence(values, days, 0.05))


def test_a_day_adds_less_than_its_rows_would_alone() -> None:
    values = np.random.default_rng(5).normal(0.1, 0.35, ROWS)
    one_day, each_its_own = np.zeros(ROWS, dtype=np.int64), np.repeat(np.arange(ROWS // 2), 2)
    assert log_evidence(values, one_day, 0.1) < log_evidence(values, each_its_own, 0.1)


@pytest.mark.parametrize("values", [[], [0.3], [0.2, 0.2]], ids=["none", "one", "alike"])
def test_nothing_can_be_shown_by_values_that_do_not_vary(values: list[float]) -> None:
    assert log_evidence(np.array(values), np.zeros(len(values), dtype=np.int64), 0.1) == 0.0


def test_how_far_days_stray_is_found_beyond_what_their_rows_explain() -> None:
    draw = np.random.default_rng(6)
    values, days, means = drawn(draw, 60, 0.0, 0.08)
    assert straying(values, days, 7) == pytest.approx(means.std(), abs=0.005)
    assert straying(draw.permutation(values), days, 7) < 0.01, "a day means nothing here"
    assert straying(values[: 6 * ROWS], days[: 6 * ROWS], 7) == 0.0, "six days say too little"


def test_a_day_is_one_of_the_calendar_in_utc() -> None:
    moments = pd.to_datetime(["2026-05-04T23:30Z", "2026-05-05T00:30Z", "2026-05-05T02:30+03:00"], utc=True)
    first, second, third = days_of(moments.to_series())
    assert second == first + 1
    assert third == first
