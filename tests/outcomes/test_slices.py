"""The scan over slices names the one that turned around, and nothing where nothing did."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit

from tasks.outcomes.slices import FEWEST_ROWS, Labelled, scan
from tasks.outcomes.tail import Sums, log_upper_tail

SEED = 2026
LEVELS = (2, 5, 10, 30, 100)


def rows(seed: int, count: int, turned: tuple[str, str] | None = None, offset: float = 0.0) -> Labelled:
    """Rows of five categories and three numbers with a calibrated score; a slice may be turned, `c3=4` be off."""
    draw = np.random.default_rng([SEED, seed])
    frame = pd.DataFrame(
        {f"c{index}": draw.integers(levels, size=count).astype(str) for index, levels in enumerate(LEVELS)}
        | {f"n{index}": draw.normal(size=count) for index in range(3)}
    )
    told = expit(-1 + 1.2 * frame["n0"].to_numpy() + draw.normal(size=count))
    off = np.where(frame["c3"] == "4", offset, 0.0)
    hits = (draw.random(count) < expit(np.log(told / (1 - told)) + off)).astype(float)
    if turned:
        there = (frame[turned[0]] == turned[1]).to_numpy()
        hits[there] = 1 - hits[there]
    return Labelled(frame, told, hits, np.arange(count) * 13 // count, np.arange(count) * 91 // count)


def test_nothing_is_named_where_nothing_turned() -> None:
    alarms = [any(one.refuted for one in scan(rows(seed, 5000), None, 0.05)) for seed in range(30)]

    assert np.mean(alarms) <= 0.1


@pytest.mark.parametrize("with_reference", [False, True])
def test_a_slice_of_one_percent_that_turned_is_found_and_named(with_reference: bool) -> None:
    reference = rows(99, 20_000) if with_reference else None
    for seed in range(5):
        found = scan(rows(seed, 10_000, ("c4", "7")), reference, 0.05)

        assert [one.name for one in found if one.refuted] == ["c4=7"]
        assert found[0].observed - found[0].expected > 0.1
        assert found[0].worse_by > 0.1


def test_two_slices_that_turned_are_both_named() -> None:
    both = rows(1, 10_000, ("c4", "7"))
    there = (both.frame["c3"] == "11").to_numpy()
    both.hits[there] = 1 - both.hits[there]

    assert {one.name for one in scan(both, None, 0.05) if one.refuted} == {"c4=7", "c3=11"}


def test_what_a_large_slice_explains_is_not_named_again() -> None:
    """Half of all rows turned: slices that are partly in it are off too, and not to blame."""
    named = [one.name for one in scan(rows(2, 10_000, ("c1", "3")), rows(99, 20_000), 0.05) if one.refuted]

    assert named[0] == "c1=3"
    assert not any(name.startswith(("c3", "c4")) for name in named)


def test_a_slice_that_was_always_off_is_no_change() -> None:
    reference = rows(99, 20_000, offset=1.0)

    assert [one.name for one in scan(rows(3, 10_000, offset=1.0), None, 0.05) if one.refuted] == ["c3=4"]
    assert not any(one.refuted for one in scan(rows(3, 10_000, offset=1.0), reference, 0.05))


def test_a_slice_that_wavers_from_week_to_week_is_no_change() -> None:
    def wavering(seed: int, count: int, weeks: int) -> Labelled:
        draw = np.random.default_rng([SEED, seed])
        told = expit(draw.normal(size=count))
        group, week = draw.integers(3, size=count), np.arange(count) * weeks // count
        off = draw.normal(size=(weeks, 3))[week, group]
        hits = (draw.random(count) < expit(np.log(told / (1 - told)) + off)).astype(float)
        return Labelled(
            pd.DataFrame({"harbour": group.astype(str)}), told, hits, week, np.arange(count) * 7 * weeks // count
        )

    assert not any(one.refuted for one in scan(wavering(1, 3000, 1), wavering(2, 26_000, 13), 0.05))
    assert any(one.refuted for one in scan(wavering(1, 3000, 1), None, 0.05))


def harbours(seed: int, count: int, weeks: int, *, turned: float = 0.0, days: int = 7, slopes: float = 0.0) -> Labelled:
    """Three slices whose rates differ from day to day; for the last days, a share of what happens in one is turned."""
    draw = np.random.default_rng([SEED, seed])
    told = expit(draw.normal(size=count))
    group, day = draw.integers(3, size=count), np.arange(count) * 7 * weeks // count
    odds = stats.norm.isf(1 - told) * (1 + slopes * draw.normal(size=(weeks, 3))[day // 7, group])
    odds += 0.7 * draw.normal(size=(7 * weeks, 3))[day, group]
    hits = (draw.random(count) < expit(1.6 * odds)).astype(float)
    there = (group == 1) & (day >= 7 * weeks - days) & (draw.random(count) < turned)
    hits[there] = 1 - hits[there]
    return Labelled(pd.DataFrame({"harbour": group.astype(str)}), told, hits, day // 7, day)


@pytest.mark.parametrize(("turned", "says"), [(1.0, "upside down"), (0.5, "nothing any more")])
def test_a_slice_that_lost_its_order_is_found_however_much_its_rate_wavers(turned: float, says: str) -> None:
    reference = harbours(2, 20_000, 13)
    found = scan(harbours(1, 3000, 1, turned=turned), reference, 0.05)

    assert [one.name for one in found if one.refuted] == ["harbour=1"]
    assert found[0].flatter
    assert says in found[0].text
    assert not any(one.refuted for one in scan(harbours(1, 3000, 1), reference, 0.05))


def test_a_slice_that_turned_three_days_ago_is_found_among_days_that_did_not() -> None:
    reference = harbours(2, 20_000, 13)
    found = scan(harbours(3, 3000, 1, turned=1.0, days=3), reference, 0.05)

    assert found[0].refuted
    assert found[0].name == "harbour=1"


def test_slices_whose_order_wavers_from_week_to_week_are_no_change() -> None:
    reference = harbours(2, 20_000, 13, slopes=0.3)
    alarms = [
        any(one.refuted for one in scan(harbours(seed, 3000, 1, slopes=0.3), reference, 0.05)) for seed in range(20, 60)
    ]

    assert np.mean(alarms) <= 0.1


def test_what_all_rows_have_in_common_is_no_slice() -> None:
    shifted = rows(4, 10_000)
    worse = Labelled(
        shifted.frame,
        expit(np.log(shifted.scores / (1 - shifted.scores)) - 1),
        shifted.hits,
        shifted.batches,
        shifted.days,
    )

    assert not any(one.refuted for one in scan(worse, rows(99, 20_000), 0.05))


def test_missing_values_and_stretches_of_numbers_are_slices() -> None:
    some = rows(5, 6000)
    some.frame.loc[:1500, "n1"] = np.nan
    some.frame.loc[:1500, "c2"] = None
    some.hits[:1500] = 1 - some.hits[:1500]
    found = scan(some, None, 0.05)

    assert found[0].name in ("n1=missing", "c2=missing")
    assert any(" to " in one.value for one in found if one.column == "n0")


def test_a_slice_of_a_few_rows_is_not_judged() -> None:
    some = rows(6, 3000)
    some.frame["c0"] = np.where(np.arange(3000) < FEWEST_ROWS - 1, "rare", "common")

    assert "c0=rare" not in {one.name for one in scan(some, None, 0.05)}


@pytest.mark.parametrize("count", [0, 1, FEWEST_ROWS - 1])
def test_too_few_rows_have_no_slices(count: int) -> None:
    assert scan(rows(7, max(count, 1)).at(np.arange(max(count, 1)) < count), None, 0.05) == ()


def test_columns_of_one_value_or_none_have_no_slices() -> None:
    some = rows(8, 500)
    plain = Labelled(
        pd.DataFrame({"same": ["x"] * 500, "empty": [None] * 500}), some.scores, some.hits, some.batches, some.days
    )

    assert scan(plain, None, 0.05) == ()


def test_a_column_the_reference_does_not_have_is_judged_by_the_window() -> None:
    reference = rows(99, 20_000)
    bare = Labelled(
        reference.frame.drop(columns="c4"), reference.scores, reference.hits, reference.batches, reference.days
    )

    assert [one.name for one in scan(rows(1, 10_000, ("c4", "7")), bare, 0.05) if one.refuted] == ["c4=7"]


def test_tails_are_those_of_the_exact_distribution() -> None:
    chances, counts = np.array([0.01, 0.02, 0.05, 0.3]), np.array([30.0, 40.0, 20.0, 5.0])
    exact = np.ones(1)
    for chance, count in zip(chances, counts.astype(int), strict=True):
        exact = np.convolve(exact, stats.binom.pmf(np.arange(count + 1), count, chance))
    for found in (5, 7, 10, 14, 20, 60, 95):
        log_p = log_upper_tail(Sums(counts[None], chances[None], np.ones((1, 4))), np.array([found]), counts=True)[0]

        assert log_p == pytest.approx(np.log(exact[found:].sum()), abs=0.03)


def test_weighted_tails_are_those_of_a_simulation() -> None:
    draw = np.random.default_rng(SEED)
    chances, weights = draw.uniform(0.02, 0.9, 12), draw.normal(size=12)
    sums = (draw.random((400_000, 12)) < chances) @ weights
    for level in (0.9, 0.99, 0.999):
        found = np.quantile(sums, level)
        log_p = log_upper_tail(Sums(np.ones((1, 12)), chances[None], weights[None]), np.array([found]), counts=False)[0]

        assert log_p == pytest.approx(np.log1p(-level), abs=0.25)


def test_a_sum_that_is_expected_is_no_evidence() -> None:
    even = Sums(np.array([[10.0], [0.0]]), np.full((2, 1), 0.5), np.ones((2, 1)))

    assert log_upper_tail(even, np.array([5.0, 0.0]), counts=True).tolist() == [0.0, 0.0]
