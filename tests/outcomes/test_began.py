"""Since when has a slice been another? The day is found among days that differ by themselves."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from tasks.outcomes.began import began
from tasks.outcomes.slices import Labelled, Slice

DAYS, ROWS = 60, 300
LATE = np.arange(DAYS * ROWS) // ROWS >= DAYS - 7
NORTH = Slice("part", "north", 0, 0, 0, 0, 0, flatter=True, log_p=-20.0, refuted=True)


def ships(seed: int, since: int, *, turned: float = 1.0, level: float = 0.0) -> Labelled:
    """Sixty days, each with a level of its own; a share of a part's outcomes is turned around since one of them.

    With `level` its outcomes become that much likelier instead.
    """
    draw = np.random.default_rng([5, seed])
    days = np.arange(DAYS * ROWS) // ROWS
    odds = -0.5 + draw.normal(size=len(days)) + draw.normal(scale=0.8, size=DAYS)[days]
    parts = draw.choice(["north", "east", "south", "west"], size=len(days))
    there = (parts == "north") & (days >= since)
    hits = (draw.random(len(days)) < expit(odds + level * there)).astype(np.float64)
    if not level:
        there &= draw.random(len(days)) < turned
        hits[there] = 1 - hits[there]
    return Labelled(pd.DataFrame({"part": parts}), expit(odds), hits, np.zeros(len(days), dtype=np.intp), days)


@pytest.mark.parametrize("since", [12, 40, 54])
@pytest.mark.parametrize("seed", range(3))
def test_the_day_on_which_a_slice_turned_is_found_within_a_day(seed: int, since: int) -> None:
    day = began(ships(seed, since), None, NORTH, LATE)
    assert day is not None
    assert abs(day - since) <= 1


@pytest.mark.parametrize("changes", [{"turned": 0.5}, {"level": 1.5}])
def test_half_a_turn_and_another_level_are_found_within_days(changes: dict[str, float]) -> None:
    found = [began(ships(seed, 40, **changes), None, NORTH, LATE) for seed in range(5)]
    assert all(day is not None and abs(day - 40) <= 4 for day in found), found


def test_a_slice_that_was_so_from_the_beginning_began_with_it() -> None:
    assert began(ships(1, 0), None, NORTH, LATE) == 0


def test_where_scores_are_no_chances_the_level_tells() -> None:
    rows = ships(2, 40, level=2.0)
    day = began(replace(rows, scores=rows.scores * 1000), None, NORTH, LATE, follows=False)
    assert day is not None
    assert abs(day - 40) <= 4


def test_too_few_rows_or_an_unknown_slice_tell_nothing() -> None:
    rows = ships(3, 40)
    assert began(rows, None, replace(NORTH, value="nowhere"), LATE) is None
    late_ones = LATE & (rows.frame["part"] == "north").to_numpy()
    few = late_ones & (np.cumsum(late_ones) <= 19)
    assert began(rows, None, NORTH, few) is None
    enough = late_ones & (np.cumsum(late_ones) <= 20)
    assert began(rows, None, NORTH, enough) is not None
