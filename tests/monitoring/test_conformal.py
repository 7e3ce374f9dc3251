"""Intervals from earlier residuals."""

import numpy as np
import pytest

from tasks.monitoring.conformal import Residual, learn


def residuals(count: int, seed: int, error: float = 0.01, beyond: float = 0.0) -> list[Residual]:
    values = np.random.default_rng(seed).normal(0, np.hypot(error, beyond), count)
    return [Residual(float(value), error) for value in values]


@pytest.mark.parametrize("count", [10, 30])
@pytest.mark.parametrize("beyond", [0.0, 0.03])
def test_nine_of_ten_next_windows_are_covered(count: int, beyond: float) -> None:
    covered = []
    for seed in range(200):
        *past, following = residuals(count + 1, seed, beyond=beyond)
        reach = learn(past, 0.9)
        assert reach is not None
        low, high = reach.around(0.0, following.error)
        covered.append(low <= following.value <= high)
    assert 0.84 <= np.mean(covered) <= 0.97


def test_a_window_of_fewer_rows_has_a_wider_interval() -> None:
    reach = learn(residuals(20, 1), 0.9)
    assert reach is not None
    narrow, wide = (np.diff(reach.around(0.7, error))[0] for error in (0.01, 0.05))
    assert wide > 3 * narrow


def test_residuals_that_are_all_0_promise_no_more_than_the_sampling_error() -> None:
    reach = learn([Residual(0.0, 0.01)] * 12, 0.9)
    assert reach is not None
    assert reach.around(0.7, 0.0) == (0.7, 0.7)


def test_two_residuals_say_nothing_and_few_are_taken_for_normal() -> None:
    assert learn(residuals(2, 1), 0.9) is None
    few = learn(residuals(4, 1), 0.9)
    assert few is not None
    assert few.factor >= 2.3
