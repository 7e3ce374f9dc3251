"""Which rows a candidate learns from, and which of them are kept back."""

import numpy as np
import pandas as pd
import pytest

from tasks.training.rows import TrainingRows

from .dairy import A_WEEK, WEEKS, Dairy


def rows_of(batch: list[int]) -> TrainingRows:
    return TrainingRows(pd.DataFrame({"x": batch}), np.zeros(len(batch)), np.array(batch), 0)


@pytest.mark.parametrize(
    ("kept_back", "before", "newest"), [(1, [0, 1, 2], [3, 4]), (2, [0, 1], [2, 3, 4]), (3, [], [0, 1, 2, 3, 4])]
)
def test_the_newest_batches_are_kept_back_whole(kept_back: int, before: list[int], newest: list[int]) -> None:
    found = rows_of([0, 0, 1, 2, 2]).split_newest(kept_back)
    assert [part.tolist() for part in found] == [before, newest]


def test_rows_keep_the_order_of_their_batches_and_the_number_of_the_one_they_came_in(dairy: Dairy) -> None:
    rows = dairy.rows
    counts = [pd.read_parquet(dairy.files.deliveries / f"{week}.parquet")["sour"].notna().sum() for week in WEEKS[:4]]
    assert rows.batch.tolist() == np.repeat(np.arange(4), counts).tolist()
    assert rows.frame["milked"].dt.isocalendar().week.iloc[-1] >= rows.frame["milked"].dt.isocalendar().week.iloc[200]


def test_inputs_targets_and_batches_belong_together_row_by_row(dairy: Dairy) -> None:
    rows = dairy.rows
    whole = pd.concat([pd.read_parquet(dairy.files.deliveries / f"{week}.parquet") for week in WEEKS[:4]])
    known = whole[whole["sour"].notna()]
    assert rows.frame["warmth"].tolist() == known["warmth"].tolist()
    assert rows.y.tolist() == (known["sour"] >= 4.5).astype(int).tolist()
    assert rows.rows_without_label == 4 * A_WEEK - len(known)


@pytest.mark.parametrize(("problem", "kind"), [("binary", "i"), ("multiclass", "U"), ("regression", "f")])
def test_targets_are_whole_numbers_text_or_numbers_as_the_problem_asks(dairy: Dairy, problem: str, kind: str) -> None:
    dairy.ask(problem)
    assert dairy.rows.y.dtype.kind == kind


def test_only_features_are_read_into_the_inputs(dairy: Dairy) -> None:
    assert tuple(dairy.rows.frame.columns) == ("milked", "farm", "age", "warmth")


def test_only_the_batches_of_the_window_are_read(dairy: Dairy) -> None:
    dairy.window(WEEKS[1:3])
    assert dairy.rows.batch.max() == 1
    assert len(dairy.rows.y) + dairy.rows.rows_without_label == 2 * A_WEEK
