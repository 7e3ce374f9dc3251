"""The median is robust to one slow call; shuffling a feature shows what leans on it."""

import itertools

import numpy as np
import pandas as pd
import pytest

from tasks.evaluation.importance import permutation_importance
from tasks.evaluation.latency import median_ms


def test_one_slow_call_does_not_make_a_model_slow() -> None:
    spent = itertools.chain([5.0], itertools.repeat(0.012))
    now = itertools.accumulate(itertools.chain.from_iterable((0.0, seconds) for seconds in spent))
    assert median_ms(lambda: None, lambda: next(now)) == pytest.approx(12.0)


def test_the_model_is_warm_before_the_clock_starts() -> None:
    calls: list[str] = []
    ticks = itertools.count()

    def clock() -> float:
        calls.append("clock")
        return float(next(ticks))

    median_ms(lambda: calls.append("call"), clock)
    assert calls[:4] == ["call", "call", "call", "clock"]
    assert calls.count("call") == 33


def _leaning_on_x(frame: pd.DataFrame, labels: np.ndarray) -> float:
    return -float(np.abs(frame["x"].to_numpy() + 0.1 * frame["y"].to_numpy() - labels).mean())


def _rows(rows: int = 5000) -> tuple[pd.DataFrame, np.ndarray]:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(draw.normal(size=(rows, 3)), columns=["noise", "y", "x"])
    return frame, frame["x"].to_numpy() + 0.1 * frame["y"].to_numpy()


def test_the_feature_most_leaned_on_comes_first_and_an_unused_one_loses_nothing() -> None:
    frame, labels = _rows()
    found = permutation_importance(_leaning_on_x, frame, labels, list(frame), np.random.default_rng(1))
    assert list(found) == ["x", "y", "noise"]
    assert found["noise"] == 0


def test_the_same_seed_gives_the_same_importance_and_leaves_the_rows_alone() -> None:
    frame, labels = _rows()
    before = frame.copy()
    first, second = (
        permutation_importance(_leaning_on_x, frame, labels, list(frame), np.random.default_rng(1)) for _ in range(2)
    )
    assert first == second
    pd.testing.assert_frame_equal(frame, before)


def test_importance_is_measured_on_at_most_2000_rows() -> None:
    sizes: list[int] = []

    def quality(frame: pd.DataFrame, labels: np.ndarray) -> float:
        sizes.append(len(frame))
        return 0.0

    frame, labels = _rows()
    permutation_importance(quality, frame, labels, ["x"], np.random.default_rng(1))
    assert sizes == [2000, 2000]


def test_a_quality_that_is_not_defined_gives_no_importance() -> None:
    frame, labels = _rows(10)
    assert permutation_importance(lambda *_: None, frame, labels, ["x"], np.random.default_rng(1)) == {}
