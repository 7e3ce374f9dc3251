"""The columns that moved the score."""

import numpy as np
import pandas as pd
import pytest

from tasks.monitoring.movers import comparable, movers


def rows(count: int, seed: int, **changed: object) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    columns = {
        "heat": random.normal(0, 1, count),
        "wind": random.normal(0, 1, count),
        "kind": random.choice(["a", "b"], count),
        "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(random.integers(0, 24, count), unit="h"),
    }
    return pd.DataFrame(columns | changed)


def score(frame: pd.DataFrame) -> np.ndarray:
    level = frame["heat"].astype(float).fillna(3) + 0.5 * (frame["kind"] == "a") + 0.01 * frame["when"].dt.hour
    return np.asarray(1 / (1 + np.exp(-level)))


ALL = ("heat", "wind", "kind", "when")


def test_the_column_that_moved_the_score_comes_first_and_shares_add_up() -> None:
    found = movers(score, rows(3000, 1), rows(3000, 2, heat=np.random.default_rng(3).normal(2, 1, 3000)), ALL, 7)
    assert found[0].column == "heat"
    assert found[0].share == pytest.approx(1, abs=0.15)
    assert sum(one.share for one in found) == pytest.approx(1)


def test_a_column_that_drifts_without_moving_the_score_has_no_share() -> None:
    found = movers(score, rows(3000, 1), rows(3000, 2, wind=9.0, kind="a"), ALL, 7)
    shares = {one.column: one.share for one in found}
    assert found[0].column == "kind"
    assert shares["wind"] == 0


def test_two_columns_share_what_both_moved() -> None:
    found = movers(score, rows(3000, 1), rows(3000, 2, heat=np.nan, kind="a"), ALL, 7)
    shares = {one.column: one.share for one in found}
    assert shares["heat"] > shares["kind"] > shares["when"]
    assert shares["kind"] > 0.02


def test_the_same_seed_gives_the_same_shares() -> None:
    one, again = (movers(score, rows(500, 1), rows(500, 2, heat=1.0), ALL, 7) for _ in range(2))
    assert one == again


def test_one_row_and_none_are_no_error() -> None:
    assert len(movers(score, rows(50, 1), rows(1, 2), ALL, 7)) == 4
    assert movers(score, rows(50, 1), rows(0, 2), ALL, 7) == ()
    assert movers(score, rows(50, 1), rows(50, 2), (), 7) == ()


def test_a_column_of_another_kind_or_gone_is_named_and_left_as_it_was() -> None:
    current = rows(300, 2, heat="hot").drop(columns="kind")
    usable, left_out = comparable(rows(300, 1), current)
    assert usable == ("wind", "when")
    assert left_out == {
        "heat": "string in the log, floating in the reference",
        "kind": "the log does not have it",
    }
    assert {one.column for one in movers(score, rows(300, 1), current, usable, 7)} == {"wind", "when"}


def test_whole_numbers_and_all_missing_columns_can_take_a_place() -> None:
    usable, left_out = comparable(rows(300, 1), rows(300, 2, heat=3, kind=None))
    assert usable == ALL
    assert left_out == {}
