"""Groups of rows must not lose while the whole gains."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from configs.params import GateParams, SliceParams
from tasks.evaluation.fresh import FreshRows
from tasks.evaluation.slices import compare_slices, groups, holm

Gate = Callable[..., GateParams]
Rows = Callable[..., FreshRows]


def test_holm_refutes_step_by_step_and_stops_at_the_first_that_holds() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005], 0.05) == [True, False, False, True]


@pytest.mark.parametrize(("p", "refuted"), [(0.025, True), (0.0251, False)])
def test_holm_asks_the_smallest_of_two_for_half_of_alpha(p: float, refuted: bool) -> None:
    assert holm([p, 0.9], 0.05) == [refuted, False]


def test_holm_asks_nothing_of_nobody() -> None:
    assert holm([], 0.05) == []


def test_groups_below_the_least_share_are_left_out_and_missing_is_a_group() -> None:
    column = pd.Series(["a"] * 50 + ["b"] * 5 + ["c"] * 4 + [None] * 41)
    found = {name: len(rows) for name, rows in groups(column, SliceParams(min_share=0.05))}
    assert found == {"a": 50, "b": 5, "missing": 41}


def test_a_column_of_many_numbers_is_cut_at_its_quartiles() -> None:
    found = list(groups(pd.Series(np.arange(100.0)), SliceParams()))
    assert [len(rows) for _, rows in found] == [25, 25, 25, 25]


def _losses(worse: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """2,800 rows in two regions; in the north the candidate's loss is `worse` times the champion's."""
    draw = np.random.default_rng(seed)
    region = np.array(["north", "south"])[np.arange(2800) % 2]
    champion = draw.uniform(0.5, 1.5, size=2800)
    candidate = champion * np.where(region == "north", worse, 0.8) + draw.normal(0, 0.05, size=2800)
    return region, candidate, champion


@pytest.mark.parametrize(("worse", "refused"), [(1.02, False), (1.05, False), (1.09, True)])
def test_a_group_that_loses_more_than_tolerated_is_refused(
    worse: float, refused: bool, gate: Gate, rows_of: Rows
) -> None:
    region, candidate, champion = _losses(worse)
    north, south = compare_slices(rows_of(champion, region=region), candidate, champion, gate())
    assert (north.value, north.refused) == ("north", refused)
    assert not south.refused


def test_a_group_reports_both_losses_and_their_paired_difference(gate: Gate, rows_of: Rows) -> None:
    region, candidate, champion = _losses(1.2)
    north = compare_slices(rows_of(champion, region=region), candidate, champion, gate())[0]
    assert north.worse_by is not None
    assert north.champion_loss is not None
    assert north.worse_by.value == pytest.approx(north.candidate_loss - north.champion_loss)
    assert north.worse_by.low < 0.2 < north.worse_by.high


def test_harmless_candidates_are_refused_in_any_group_at_most_as_often_as_stated(gate: Gate, rows_of: Rows) -> None:
    refused = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        champion = draw.uniform(0.5, 1.5, size=1400)
        day = np.arange(1400) // 50
        candidate = champion * 1.05 + 0.1 * draw.normal(size=28)[day] + draw.normal(0, 0.1, size=1400)
        region = draw.choice(list("abcdefgh"), size=1400)
        found = compare_slices(rows_of(champion, region=region), candidate, champion, gate())
        refused += any(group.refused for group in found)
    assert refused <= 0.08 * 200


def test_without_a_champion_groups_are_shown_and_none_is_refused(gate: Gate, rows_of: Rows) -> None:
    region, candidate, _ = _losses(5)
    found = compare_slices(rows_of(candidate, region=region), candidate, None, gate())
    assert [(group.p_value, group.refused) for group in found] == [(None, False), (None, False)]


def _moments(hours: int) -> pd.Series:
    return pd.Series(pd.date_range("2024-01-01", periods=hours, freq="h", tz="UTC").repeat(100))


@pytest.mark.parametrize(("hours", "judged"), [(4, False), (5, True)])
def test_a_group_seen_in_too_few_days_is_judged_by_its_hours(hours: int, judged: bool, gate: Gate) -> None:
    champion = np.random.default_rng(0).uniform(0.5, 1.5, size=100 * hours)
    rows = FreshRows(pd.DataFrame({"region": ["north"] * len(champion)}), champion, _moments(hours))
    (found,) = compare_slices(rows, champion * 2, champion, gate())
    assert (found.p_value is not None, found.refused) == (judged, judged)
