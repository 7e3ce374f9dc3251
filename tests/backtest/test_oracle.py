"""The oracle finds the best of all ways to retrain."""

from itertools import product

import numpy as np
import pytest

from tasks.backtest.oracle import Gain, best_path


def total(gain: Gain, trains: tuple[bool, ...]) -> float:
    champion, found = 0, 0.0
    for week, does in enumerate(trains):
        after = week + 1 if does else champion
        found += gain(week, champion, after)
        champion = after
    return found


@pytest.mark.parametrize("seed", range(5))
def test_no_other_way_is_better(seed: int) -> None:
    table = np.random.default_rng(seed).normal(size=(6, 7, 7))

    def gain(week: int, before: int, after: int) -> float:
        return float(table[week, before, after])

    path = best_path(6, gain)
    trains = tuple(after == week + 1 for week, after in enumerate(path))
    assert total(gain, trains) == pytest.approx(max(total(gain, way) for way in product([True, False], repeat=6)))


def test_where_training_gains_nothing_it_does_not_train() -> None:
    assert best_path(4, lambda _week, _before, _after: 1.0) == [0, 0, 0, 0]
