"""A calibration that is weighted for the window's inputs, where the reference knows them."""

import numpy as np
import pandas as pd
import pytest

from configs.case import Problem
from tasks.evaluation.predictions import Floats
from tasks.monitoring.estimate import Answers, Calibration, expected
from tasks.monitoring.estimator import Known, weights_for
from tasks.monitoring.weighting import Weights, weigh

SEED = 5


def world(rows: int, shift: float, seed: int) -> tuple[pd.DataFrame, Floats]:
    """Inputs of which the second has moved, and labels: beyond 1 the first says the contrary of what it said."""
    random = np.random.default_rng(seed)
    inputs = pd.DataFrame({"one": random.normal(size=rows), "two": random.normal(size=rows) + shift})
    beyond = inputs["two"] > 1
    odds = 1.2 * inputs["one"] * np.where(beyond, -0.3, 1.0) - 0.5 + beyond
    return inputs, (random.random(rows) < 1 / (1 + np.exp(-odds))).astype(float)


def scores(inputs: pd.DataFrame) -> Floats:
    """What a model answers that does not know of the turn."""
    return np.asarray(1 / (1 + np.exp(-(0.8 * inputs["one"] + 0.4 * inputs["two"] - 0.3))))


def off(shift: float) -> tuple[float, float, Weights]:
    """How far the expected AUC of a window is from the truth: plain, and weighted."""
    (before, happened), (now, true) = world(12_000, 0, 1), world(12_000, shift, 2)
    weights = weigh(before, now, SEED)
    learnt, answers = Answers(Problem.binary, scores(before)), Answers(Problem.binary, scores(now))
    realised = expected(answers, true)["auc"].value
    each = [Calibration.learn(learnt, happened, values)(answers) for values in (None, weights.of_rows)]
    plain, weighted = (abs(expected(answers, chances)["auc"].value - realised) for chances in each)
    return plain, weighted, weights


@pytest.mark.parametrize("shift", [0.5, 1.0])
def test_where_the_inputs_move_the_calibration_weights_bring_the_estimate_to_the_truth(shift: float) -> None:
    plain, weighted, weights = off(shift)
    assert weights.usable
    assert weighted < plain / 3
    assert weighted < 0.02


def test_where_nothing_moved_rows_count_alike() -> None:
    plain, weighted, weights = off(0)
    assert weights.effective > 0.9 * len(weights.of_rows)
    assert abs(plain - weighted) < 0.003


@pytest.mark.parametrize(("shift", "told"), [(0.0, False), (0.1, False), (0.5, True), (1.0, True)])
def test_weights_are_taken_where_the_inputs_move_the_calibration_and_nowhere_else(shift: float, told: bool) -> None:
    (before, happened), (now, _) = world(12_000, 0, 1), world(12_000, shift, 2)
    answers, rows = Answers(Problem.binary, scores(before)), np.arange(12_000)
    known = Known(answers, happened, rows // 3000, before, rows)
    assert (weights_for(known, now, SEED) is not None) is told


def test_a_shift_that_leaves_the_calibration_as_it_was_takes_no_weights() -> None:
    random = np.random.default_rng(3)
    before = pd.DataFrame({"one": random.normal(size=12_000)})
    chances = np.asarray(1 / (1 + np.exp(-before["one"])))
    happened = (random.random(12_000) < chances).astype(float)
    rows = np.arange(12_000)
    known = Known(Answers(Problem.binary, chances), happened, rows // 3000, before, rows)
    assert weigh(before, before + 0.5, SEED).usable
    assert weights_for(known, before + 0.5, SEED) is None


def test_of_several_classes_each_is_asked() -> None:
    (before, happened), (now, _) = world(12_000, 0, 1), world(12_000, 1, 2)
    both = np.column_stack([1 - scores(before), scores(before)])
    rows = np.arange(12_000)
    known = Known(
        Answers(Problem.multiclass, both), np.column_stack([1 - happened, happened]), rows // 3000, before, rows
    )
    assert weights_for(known, now, SEED) is not None
    assert weights_for(known, before, SEED) is None


def test_a_window_beyond_the_reference_is_said_to_be() -> None:
    _, _, weights = off(4)
    assert not weights.usable
    assert weights.of_rows.max() <= 10


def test_a_fifth_of_the_reference_and_a_thousand_rows_are_the_bounds() -> None:
    def some(share: float, rows: int) -> Weights:
        return Weights((np.arange(rows) < share * rows) / share)

    assert some(0.2, 10_000).effective == pytest.approx(2000)
    assert some(0.2, 10_000).usable
    assert not some(0.19, 10_000).usable
    assert some(0.5, 2000).usable
    assert not some(0.5, 1900).usable


def test_small_weights_of_all_rows_are_no_sure_ones() -> None:
    assert Weights(np.full(10_000, 1.0)).effective == pytest.approx(10_000)
    assert Weights(np.full(10_000, 0.1)).effective == pytest.approx(1000)


def test_no_rows_and_no_column_in_common_weigh_nothing() -> None:
    inputs, _ = world(50, 0, 1)
    for current in (inputs.head(0), inputs.head(1), inputs.rename(columns={"one": "a", "two": "b"})):
        assert not weigh(inputs, current, SEED).usable
    assert weigh(inputs.head(0), inputs, SEED).effective == 0


def test_the_same_rows_and_seed_give_the_same_weights() -> None:
    before, now = world(2000, 0, 1)[0], world(2000, 1, 2)[0]
    assert np.array_equal(weigh(before, now, SEED).of_rows, weigh(before, now, SEED).of_rows)
