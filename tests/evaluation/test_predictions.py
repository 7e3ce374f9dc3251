"""Predictions are digested bit for bit and scored in parts, and unusable ones are counted."""

import numpy as np
import pandas as pd
import pytest

from configs.case import Problem
from tasks.evaluation import predictions
from tasks.evaluation.predictions import digest, predict_in_parts, unusable


def test_equal_predictions_have_equal_digests() -> None:
    values = np.linspace(0, 1, 10)
    assert digest(values) == digest(values.copy()) == digest(values.astype(">f8"))


def test_a_change_of_one_bit_changes_the_digest() -> None:
    values = np.linspace(0, 1, 10)
    changed = values.copy()
    changed[4] = np.nextafter(changed[4], 1)
    assert digest(changed) != digest(values)


def test_the_same_numbers_in_another_shape_have_another_digest() -> None:
    assert digest(np.zeros(4)) != digest(np.zeros((2, 2)))


def test_scoring_in_parts_gives_the_rows_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "_PART", 3)
    frame = pd.DataFrame({"x": np.arange(10.0)})
    np.testing.assert_array_equal(predict_in_parts(lambda part: part["x"].to_numpy(), frame), np.arange(10.0))


@pytest.mark.parametrize(("columns", "shape"), [(1, (0,)), (3, (0, 3))])
def test_no_rows_give_no_predictions(columns: int, shape: tuple[int, ...]) -> None:
    assert predict_in_parts(lambda part: part.to_numpy(), pd.DataFrame(), columns).shape == shape


def test_a_regression_may_answer_any_finite_number() -> None:
    assert unusable(Problem.regression, np.array([-3.0, 1e9, np.nan, np.inf])) == 2


def test_a_probability_lies_between_0_and_1() -> None:
    assert unusable(Problem.binary, np.array([0.0, 1.0, 1.01, -0.01, np.nan])) == 3


def test_class_probabilities_sum_to_1() -> None:
    assert unusable(Problem.multiclass, np.array([[0.5, 0.5], [0.5, 0.6], [np.nan, 1.0]])) == 2
