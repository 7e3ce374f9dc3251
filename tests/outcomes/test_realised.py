"""Performance with intervals; what of a loss the scores let expect; who does better on the same rows."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from configs.case import Problem
from tasks.monitoring.estimate import Answers
from tasks.outcomes.realised import (
    Standard,
    base_rate,
    expected_of_scores,
    fall,
    given_answers,
    labels_needed,
    measure,
    same_rows,
    standard,
)

START = datetime(2024, 3, 4, tzinfo=UTC)


def outcomes(seed: int, rows: int = 6000, spread: float = 1.0, flipped: float = 0.0) -> pd.DataFrame:
    """A week of calibrated answers, more or less certain ones by `spread`; a share of the labels `flipped`."""
    draw = np.random.default_rng(seed)
    probability = 1 / (1 + np.exp(-spread * draw.normal(size=rows)))
    label = (draw.random(rows) < probability).astype(float)
    turned = draw.random(rows) < flipped
    return pd.DataFrame({
        "request_id": [f"r{n}" for n in range(rows)],
        "row": 0,
        "answered_at": [START + timedelta(days=7) * n / rows for n in range(rows)],
        "score": probability,
        "label": np.where(turned, 1 - label, label),
    })  # fmt: skip


REFERENCE = outcomes(0, rows=40_000)
LEARNT = given_answers(Problem.binary, REFERENCE)
TRUTH = REFERENCE["label"].to_numpy()
NO_UNITS = np.full(len(REFERENCE), -1)


def judged(rows: pd.DataFrame) -> tuple[float, float | None, bool, bool]:
    """Loss of AUC, what of it was to be expected, whether it alarms at 0.05, and whether the rows were harder."""
    usual = standard("auc", LEARNT, TRUTH, NO_UNITS)
    assert usual is not None
    expected = expected_of_scores("auc", LEARNT, TRUTH, given_answers(Problem.binary, rows))
    found = fall("auc", measure(Problem.binary, rows, 0.9)["auc"], usual, expected)
    return found.worse_by.value, found.harder_by, found.alarm(0.05), found.harder


def test_an_unchanged_week_does_not_alarm() -> None:
    by, harder_by, alarm, _ = judged(outcomes(1))
    assert abs(by) < 0.03
    assert harder_by == pytest.approx(0, abs=0.02)
    assert not alarm


def test_a_model_that_got_worse_is_told_from_rows_that_are_harder() -> None:
    by, harder_by, alarm, harder = judged(outcomes(2, flipped=0.3))
    assert alarm
    assert not harder
    assert harder_by is not None
    assert by - harder_by > 0.06
    by, harder_by, alarm, harder = judged(outcomes(3, spread=0.3))
    assert alarm
    assert harder
    assert harder_by == pytest.approx(by, abs=0.03)


def test_a_fall_must_be_shown_not_only_seen() -> None:
    small = outcomes(4, rows=60, flipped=0.25)
    found = fall("auc", measure(Problem.binary, small, 0.9)["auc"], Standard(0.74, 0.005), None)
    assert found.worse_by.value > 0.05
    assert found.worse_by.low < 0
    assert not found.alarm(0.05)


def test_the_bound_is_at_the_largest_drop() -> None:
    measured = measure(Problem.binary, outcomes(5, flipped=0.2), 0.9)["auc"]
    drop = 0.05
    at, above = (Standard(measured.interval.value + drop + more, 1e-6) for more in (1e-9, -1e-4))
    assert fall("auc", measured, at, None).alarm(drop)
    assert not fall("auc", measured, above, None).alarm(drop)


def test_the_reference_is_that_of_a_stretch_as_long_as_the_window() -> None:
    units = np.repeat(np.arange(8), 5000)
    of_units, pooled = standard("auc", LEARNT, TRUTH, units), standard("auc", LEARNT, TRUTH, NO_UNITS)
    assert of_units is not None
    assert pooled is not None
    assert of_units.value == pytest.approx(pooled.value, abs=0.005)
    # Stretches of different base rates: over all of them an AUC also ranks the stretches.
    low = units < 4
    score = np.where(low, LEARNT.scores * 0.2, 0.8 + LEARNT.scores * 0.2)
    truth = np.where(low, TRUTH * (np.arange(40_000) % 10 == 0), TRUTH + (1 - TRUTH) * (np.arange(40_000) % 10 > 0))
    within, across = (standard("auc", Answers(Problem.binary, score), truth, each) for each in (units, NO_UNITS))
    assert within is not None
    assert across is not None
    assert across.value > within.value + 0.1


def test_errors_are_worse_when_they_rise_in_shares_of_the_reference() -> None:
    draw = np.random.default_rng(6)
    rows = outcomes(6).assign(label=draw.normal(size=6000)).assign(score=0.0)
    measured = measure(Problem.regression, rows, 0.9)["mae"]
    found = fall("mae", measured, Standard(measured.interval.value / 1.2, 1e-6), None)
    assert found.worse_by.value == pytest.approx(0.2)
    assert found.alarm(0.05)
    assert expected_of_scores("mae", LEARNT, TRUTH, given_answers(Problem.regression, rows)) is None


def test_another_model_on_the_same_rows_is_better_or_it_is_not() -> None:
    mine = outcomes(7)
    blind = mine.assign(score=np.random.default_rng(8).random(6000))
    better = same_rows(Problem.binary, "auc", blind, mine.sample(3000, random_state=1), 0.9)
    assert better is not None
    assert better.rows == 3000
    assert better.interval.low > 0.15
    as_good = same_rows(Problem.binary, "auc", mine, mine.assign(score=mine["score"] * 0.5), 0.9)
    assert as_good is not None
    assert as_good.interval.value == pytest.approx(0)
    assert same_rows(Problem.binary, "auc", mine, mine.assign(request_id="other"), 0.9) is None


def test_classes_are_measured_by_their_probabilities() -> None:
    draw = np.random.default_rng(9)
    shares = draw.dirichlet([1, 1, 1], 3000)
    label = [("a", "b", "c")[draw.choice(3, p=p)] for p in shares]
    rows = outcomes(9, rows=3000).assign(label=label)
    rows["probabilities"], rows["classes"] = list(shares), [["a", "b", "c"]] * 3000
    found = measure(Problem.multiclass, rows, 0.9)
    assert found["accuracy"].interval.value == pytest.approx(shares.max(axis=1).mean(), abs=0.03)
    assert base_rate(Problem.multiclass, rows["label"]) is None


def test_a_metric_that_is_not_defined_is_left_out() -> None:
    assert "auc" not in measure(Problem.binary, outcomes(1).assign(label=1.0), 0.9)
    assert measure(Problem.binary, outcomes(1).head(0), 0.9) == {}
    assert standard("auc", LEARNT, np.ones_like(TRUTH), NO_UNITS) is None


def test_more_labels_make_the_interval_narrow_enough() -> None:
    measured = measure(Problem.binary, outcomes(10, rows=300), 0.9)["auc"]
    needed = labels_needed(measured, 0.05)
    more = measure(Problem.binary, outcomes(10, rows=300 + needed), 0.9)["auc"]
    assert needed > 0
    assert (more.interval.high - more.interval.low) / 2 == pytest.approx(0.05, rel=0.6)
    assert labels_needed(more, 0.5) == 0
