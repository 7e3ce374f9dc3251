"""Drift of all columns together: found, named, and not imagined."""

import numpy as np
import pandas as pd
import pytest

from tasks.monitoring.grid import Grid
from tasks.monitoring.joint import correlations, tell_apart
from tasks.monitoring.profile import profile_of
from tests.monitoring.conftest import batch, birds


def frame(rows: int, seed: int) -> pd.DataFrame:
    return pd.DataFrame(birds(rows, seed))[["weight", "wing", "species"]]


def test_a_correlation_that_vanished_is_found_though_each_column_is_as_before(grid: Grid) -> None:
    shuffled = np.random.default_rng(8).permutation(birds(800, 8)["wing"])
    before, now = (profile_of([rows], grid).pairs for rows in (batch(5000, 2), batch(800, 8, wing=shuffled)))
    found = min(correlations(before, now, grid.paired), key=lambda test: test.p_value)
    assert set(found.pair) == {"weight", "wing"}
    assert found.p_value < 1e-10
    assert (found.before, found.now) == (pytest.approx(0.69, abs=0.05), pytest.approx(0, abs=0.1))


def test_a_correlation_is_told_as_spearmans(grid: Grid) -> None:
    rows = birds(5000, 2)
    pairs = profile_of([batch(5000, 2)], grid).pairs
    told = {test.pair: test.before for test in correlations(pairs, pairs, grid.paired)}
    expected = pd.Series(rows["weight"]).corr(pd.Series(rows["wing"]), method="spearman")
    assert told["weight", "wing"] == pytest.approx(expected, abs=0.02)


def test_rows_without_one_of_two_values_say_nothing_about_the_pair(grid: Grid) -> None:
    half = np.where(np.arange(4000) % 2, birds(4000, 3)["wing"], np.nan)
    before, now = (profile_of([rows], grid).pairs for rows in (batch(5000, 2), batch(4000, 3, wing=half)))
    told = {test.pair: test for test in correlations(before, now, grid.paired)}
    assert told["weight", "wing"].now == pytest.approx(told["weight", "wing"].before, abs=0.05)


def test_a_pair_with_too_few_rows_is_not_tested(grid: Grid) -> None:
    before, now = profile_of([batch(5000)], grid).pairs, profile_of([batch(20)], grid).pairs
    assert correlations(before, now, grid.paired) == []


def test_what_gives_the_rows_away_is_named() -> None:
    current = frame(1000, 3)
    flipped = current.assign(wing=2 * current["wing"].mean() - current["wing"])  # mirrored: the mean stays
    found = tell_apart(frame(1000, 2), flipped, 0.01, seed=1)
    assert found.p_value < 1e-6
    assert set(found.columns) == {"weight", "wing"}


def test_rows_of_one_world_are_not_told_apart() -> None:
    p_values = [tell_apart(frame(300, seed), frame(200, 100 + seed), 0.01, seed).p_value for seed in range(40)]
    assert sum(p_value < 0.1 for p_value in p_values) <= 9


def test_the_same_rows_and_seed_give_the_same_answer() -> None:
    one, other = (tell_apart(frame(300, 2), frame(300, 3), 0.01, seed=5) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("names", [62, 63, 64, 65, 300])
def test_a_column_of_many_categories_is_told_apart_by_too(names: int) -> None:
    random = np.random.default_rng(7)
    reference, current = (
        pd.DataFrame({"where": random.permutation(np.arange(1500) % names)}).astype(str) for _ in range(2)
    )
    assert tell_apart(reference, current, 0.01, seed=1).p_value > 0.01
    moved = current.assign(where=np.where(np.arange(1500) < 500, "1", current["where"]))
    assert tell_apart(reference, moved, 0.01, seed=1).columns == ("where",)


def test_infinities_and_missing_values_do_not_stop_it() -> None:
    broken = frame(200, 3).assign(weight=np.inf, species=None)
    assert tell_apart(frame(400, 2), broken, 0.01, seed=1).p_value < 1e-6
