"""Drift of the score against its own change from window to window."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from tasks.monitoring.score import Bins, Counts, coarser, distance, drift, left_out, p_value, units_of

REFERENCE = np.random.default_rng(1).beta(2, 5, 20_000)
BINS = Bins.of(REFERENCE)


def window(seed: int, rows: int = 2000, shift: float = 0.0, sway: float = 0.2) -> Counts:
    """Scores of a window, whose level sways from window to window."""
    random = np.random.default_rng(seed)
    return BINS.count(random.beta(2 + random.normal(shift, sway), 5, rows))


UNITS = [window(seed) for seed in range(12)]


def test_every_score_falls_in_a_bin() -> None:
    assert BINS.count(np.array([-9.0, 0.0, 0.3, 1.0, 9.0])).sum() == 5


def test_a_window_like_the_others_is_clear() -> None:
    found = [drift(UNITS, window(seed), 0.05) for seed in range(100, 120)]
    assert sum(one.alarm for one in found) <= 1


def test_a_shift_beyond_the_usual_sway_alarms() -> None:
    found = drift(UNITS, window(50, shift=1.5), 0.05)
    assert found.alarm
    assert found.distance > found.threshold > found.usual


def test_the_windows_of_the_reference_do_not_alarm_among_themselves() -> None:
    assert not any(one.alarm for one in left_out(UNITS, 0.05))


def test_few_rows_do_not_pass_for_drift() -> None:
    small = [drift(UNITS, window(seed, rows=60), 0.05) for seed in range(200, 230)]
    assert sum(one.alarm for one in small) <= 2


def test_one_and_the_same_score_for_all_alarms() -> None:
    assert drift(UNITS, BINS.count(np.full(500, 0.3)), 0.05).alarm


def test_the_distance_is_0_to_itself_and_1_to_what_it_never_meets() -> None:
    here, there = np.array([500, 500, 0, 0]), np.array([0, 0, 500, 500])
    assert distance(here, here) == 0
    assert distance(here, there) == pytest.approx(1, abs=0.01)
    assert distance(here, np.zeros(4, dtype=np.int64)) == 0


def test_what_chance_makes_of_small_samples_is_taken_off() -> None:
    random = np.random.default_rng(3)
    found = [distance(BINS.count(random.beta(2, 5, 200)), BINS.count(REFERENCE)) for _ in range(40)]
    assert np.mean(np.square(found)) < 0.01


def test_a_score_outside_what_was_seen_has_a_bin_of_its_own() -> None:
    bins = Bins.of(np.full(100, 0.5))
    assert [int(count.argmax()) for count in (bins.count(np.array([value])) for value in (0.4, 0.5, 0.6))] == [0, 1, 2]


def test_classes_are_counted_apart() -> None:
    bins = Bins.of(np.random.default_rng(1).random(1000), classes=3)
    scores = np.full(90, 0.7)
    one, other = (bins.count(scores, np.full(90, group)) for group in (0, 2))
    assert distance(one, other) == pytest.approx(1, abs=0.01)
    assert bins.count(scores, np.full(90, -1)).sum() == 90


def test_equal_counts_are_no_evidence_and_empty_ones_neither() -> None:
    assert p_value(UNITS[0], UNITS[0]) == pytest.approx(1)
    assert p_value(UNITS[0], np.zeros_like(UNITS[0])) == 1
    assert p_value(UNITS[0], window(9, shift=2)) < 1e-6


def test_fine_bins_are_joined_to_about_equal_shares_and_lose_no_row() -> None:
    random = np.random.default_rng(4)
    fine = [np.bincount((random.beta(2, 5, rows) * 500).astype(int), minlength=500) for rows in (4000, 4000, 900)]
    joined = coarser(fine)
    assert [counts.sum() for counts in joined] == [4000, 4000, 900]
    assert np.sum(joined, axis=0).max() < 2 * 8900 / len(joined[0])
    assert distance(joined[0], joined[1]) < 0.05


def test_small_windows_are_counted_in_few_bins() -> None:
    joined = coarser([np.ones(500, dtype=np.int64), np.bincount(np.arange(0, 480, 20), minlength=500)])
    assert [len(counts) for counts in joined] == [4, 4]
    assert distance(*joined) < 0.05


def test_units_are_counted_back_from_the_last_moment() -> None:
    moments = pd.Series(pd.date_range("2026-01-01", periods=20, freq="D", tz="UTC"))
    units = units_of(moments, timedelta(days=7))
    assert np.bincount(units).tolist() == [6, 7, 7]
    assert (np.diff(units) >= 0).all()
