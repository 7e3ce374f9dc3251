"""What a target column says, in the form a model learns; a missing target stays a missing label."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs.case import Case
from tasks.features.labels import labels


def found(type_: str, problem: str, values: Any, positive: Any = None) -> list[Any]:
    """The labels of `values`, with None where there is none."""
    case = Case.model_validate(
        {
            "name": "things",
            "question": "?",
            "problem": problem,
            "positive": positive,
            "label_delay_hours": 0,
            "batch_every": "day",
            "source": {"kind": "file", "url": "x", "format": "csv"},
            "contract": {
                "version": 1,
                "columns": {
                    "id": {"type": "string", "role": "entity"},
                    "at": {"type": "timestamp", "role": "event_time"},
                    "x": {"type": "number", "role": "feature"},
                    "y": {"type": type_, "role": "target"},
                },
            },
        }
    )
    frame = pd.DataFrame({"y": values})
    before = frame.copy(deep=True)
    label = labels(case, frame)
    pd.testing.assert_frame_equal(frame, before)
    return [None if pd.isna(value) else value for value in label]


@pytest.mark.parametrize("values", [[14.999, 15.0, np.nan, 400.0], pd.array([14, 15, None, 400], dtype="Int64")])
def test_at_least_is_positive_from_the_threshold_on(values: Any) -> None:
    assert found("number", "binary", values, {"at_least": 15}) == [0.0, 1.0, None, 1.0]


@pytest.mark.parametrize("dtype", ["object", "str", "category"])
def test_equals_is_positive_at_that_value_only(dtype: str) -> None:
    values = pd.Series(["late", "Late", None, "on time"], dtype=dtype)
    assert found("string", "binary", values, {"equals": "late"}) == [1.0, 0.0, None, 0.0]


def test_equals_compares_whole_numbers_also_where_a_missing_one_made_them_floats() -> None:
    assert found("integer", "binary", [1, 2, np.nan], {"equals": 2}) == [0.0, 1.0, None]


@pytest.mark.parametrize("dtype", ["object", "boolean"])
def test_true_is_positive_and_false_is_not(dtype: str) -> None:
    values = pd.Series([True, False, None], dtype=dtype)
    assert found("boolean", "binary", values) == [1.0, 0.0, None]
    assert found("boolean", "binary", values, {"equals": False}) == [0.0, 1.0, None]


def test_true_and_false_without_any_missing_are_labels_too() -> None:
    assert found("boolean", "binary", [True, False]) == [1.0, 0.0]


def test_a_regression_learns_the_number_itself() -> None:
    assert found("integer", "regression", pd.array([3, None, -2], dtype="Int64")) == [3.0, None, -2.0]
    assert found("number", "regression", [0.1, np.nan]) == [0.1, None]


def test_a_class_is_text() -> None:
    assert found("string", "multiclass", ["red", None, "blue"]) == ["red", None, "blue"]
    assert found("boolean", "multiclass", [True, False]) == ["True", "False"]


def test_a_whole_number_is_the_same_class_whether_or_not_another_label_is_missing() -> None:
    assert found("integer", "multiclass", [1, 2, 10]) == ["1", "2", "10"]
    assert found("integer", "multiclass", [1, 2, 10, np.nan]) == ["1", "2", "10", None]


@pytest.mark.parametrize(("type_", "problem", "positive"), [
    ("number", "binary", {"at_least": 0}), ("string", "binary", {"equals": "x"}), ("boolean", "binary", None),
    ("number", "regression", None), ("string", "multiclass", None), ("integer", "multiclass", None),
])  # fmt: skip
def test_where_no_target_has_come_there_is_no_label(type_: str, problem: str, positive: Any) -> None:
    assert found(type_, problem, pd.Series([None, None], dtype="object"), positive) == [None, None]
