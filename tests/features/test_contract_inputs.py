"""A row becomes the same inputs wherever it comes from: alone as JSON, or in a table of thousands."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from configs.case import Case
from configs.errors import ConfigError
from configs.params import FeatureParams
from configs.project import Project
from tasks.features.inputs import ContractInputs, contract_inputs, used_features
from tasks.ingestion.recorded import recorded

PROJECT = Project(Path(__file__).parents[2])
COLUMNS = {
    "name": {"type": "string", "role": "entity"},
    "at": {"type": "timestamp", "role": "event_time"},
    "city": {"type": "string", "role": "feature"},
    "rooms": {"type": "integer", "role": "feature"},
    "size": {"type": "number", "role": "feature"},
    "garden": {"type": "boolean", "role": "feature"},
    "listed": {"type": "timestamp", "role": "feature"},
    "note": {"type": "string", "role": "info"},
    "price": {"type": "number", "role": "target"},
}
CASE = Case.model_validate(
    {
        "name": "houses",
        "question": "How much?",
        "problem": "regression",
        "label_delay_hours": 0,
        "batch_every": "month",
        "source": {"kind": "file", "url": "x", "format": "csv"},
        "contract": {"version": 1, "columns": COLUMNS},
    }
)
HOUSES = pd.DataFrame(
    {
        "city": ["Bonn", None, "Ulm", "Bonn"],
        "rooms": [3, 4, None, 2],
        "size": [81.5, None, 120.0, 44.0],
        "garden": [True, False, None, True],
        "listed": pd.to_datetime(
            ["2024-02-29 06:07:08", "2024-12-31 23:59:59.5", None, "2024-01-01"], format="ISO8601"
        ),
        "note": ["a", "b", "c", "d"],
    }
)


def inputs(**features: Any) -> ContractInputs:
    return contract_inputs(CASE, FeatureParams.model_validate(features)).fit(HOUSES)


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a table as a client would send it: whole numbers, null, times as text."""

    def value(found: Any) -> Any:
        if found is None or pd.isna(found):
            return None
        if isinstance(found, datetime):
            return found.isoformat()
        found = found.item() if isinstance(found, np.generic) else found
        return int(found) if isinstance(found, float) and found.is_integer() else found

    return json.loads(json.dumps({name: value(found) for name, found in row.items()}))


def assert_rows_agree(transformer: ContractInputs, table: pd.DataFrame) -> None:
    whole = transformer.transform(table)
    for position, row in enumerate(table.to_dict("records")):
        alone = transformer.transform(pd.DataFrame([as_json(row)]))
        pd.testing.assert_frame_equal(alone, whole.iloc[[position]].reset_index(drop=True), check_exact=True)


def test_a_single_row_of_json_gives_the_inputs_of_the_same_row_in_a_table() -> None:
    assert_rows_agree(inputs(), HOUSES)


@pytest.mark.parametrize("name", ["bikes"])
def test_a_real_row_as_json_gives_the_inputs_it_was_trained_with(name: str) -> None:
    table = recorded(name).sample(40, random_state=0)
    assert_rows_agree(contract_inputs(PROJECT.case(name), PROJECT.params(name).features).fit(table), table)


def test_many_rows_of_json_together_give_the_inputs_of_the_table() -> None:
    sent = pd.DataFrame([as_json(row) for row in HOUSES.to_dict("records")])
    assert len(set(sent["listed"].dropna().str.len())) == 2, "times with and without a fraction of a second"
    pd.testing.assert_frame_equal(inputs().transform(sent), inputs().transform(HOUSES), check_exact=True)


@pytest.mark.parametrize(
    ("column", "dtype"), [("rooms", "Int64"), ("garden", "boolean"), ("city", "category"), ("city", "string")]
)
def test_inputs_do_not_depend_on_the_type_a_library_keeps_values_in(column: str, dtype: str) -> None:
    kept = HOUSES.astype({column: dtype})
    pd.testing.assert_frame_equal(inputs().transform(kept), inputs().transform(HOUSES), check_exact=True)


def test_strings_stay_text_and_everything_else_becomes_a_float() -> None:
    found = inputs().transform(HOUSES)
    assert list(found["city"].fillna("-")) == ["Bonn", "-", "Ulm", "Bonn"]
    assert {str(found[name].dtype) for name in found.columns.drop("city")} == {"float64"}
    assert found["garden"].tolist()[:2] == [1.0, 0.0]
    assert found.isna().sum().to_dict() == {
        "city": 1, "rooms": 1, "size": 1, "garden": 1, "listed_hour": 1, "listed_weekday": 1
    }  # fmt: skip


def test_a_time_becomes_the_parts_the_parameters_ask_for() -> None:
    parts = ["minute_of_day", "hour", "weekday", "day_of_month", "day_of_year", "month"]
    found = inputs(calendar=[{"column": "listed", "parts": parts}]).transform(HOUSES)
    assert found.filter(like="listed_").iloc[0].tolist() == [367, 6, 3, 29, 60, 2]
    assert found.filter(like="listed_").iloc[1].tolist() == [1439, 23, 1, 31, 366, 12]


def test_a_time_that_nobody_speaks_of_becomes_its_hour_and_weekday() -> None:
    assert list(inputs().get_feature_names_out())[-2:] == ["listed_hour", "listed_weekday"]


def test_the_names_of_the_inputs_are_those_of_the_columns_that_come_out() -> None:
    assert list(inputs().get_feature_names_out()) == list(inputs().transform(HOUSES).columns)


@pytest.mark.parametrize("column", ["city", "rooms", "listed"])
def test_a_column_that_did_not_come_is_named(column: str) -> None:
    with pytest.raises(ValueError, match=f"^columns are missing: {column}$"):
        inputs().transform(HOUSES.drop(columns=column))


def test_all_columns_that_did_not_come_are_named() -> None:
    with pytest.raises(ValueError, match="columns are missing: city, size"):
        inputs().transform(HOUSES.drop(columns=["size", "city"]))


def test_columns_beyond_the_features_and_their_order_make_no_difference() -> None:
    plain = inputs().transform(HOUSES.drop(columns="note"))
    more = HOUSES.assign(price=1.0, surprise="x")[["surprise", "price", *HOUSES.columns[::-1]]]
    pd.testing.assert_frame_equal(inputs().transform(more), plain, check_exact=True)


def test_the_frame_of_the_caller_is_left_as_it_was_and_its_index_is_kept() -> None:
    frame = HOUSES.set_index(pd.Index([7, 3, 3, 1]))
    before = frame.copy(deep=True)
    assert inputs().transform(frame).index.tolist() == [7, 3, 3, 1]
    pd.testing.assert_frame_equal(frame, before)


def test_no_rows_give_no_inputs_of_the_same_columns() -> None:
    assert list(inputs().transform(HOUSES.head(0)).columns) == list(inputs().get_feature_names_out())


@pytest.mark.parametrize(("column", "given"), [("size", "size"), ("listed", "listed_hour")])
def test_an_input_without_any_value_in_training_is_nought_ever_after(column: str, given: str) -> None:
    learnt = contract_inputs(CASE, FeatureParams()).fit(HOUSES.assign(**{column: None}))
    assert learnt.transform(HOUSES)[given].tolist() == [0.0] * 4
    others = [name for name in inputs().get_feature_names_out() if not name.startswith(column)]
    assert learnt.transform(HOUSES)[others].equals(inputs().transform(HOUSES)[others])


def test_one_value_in_training_is_enough_for_an_input_to_count() -> None:
    learnt = contract_inputs(CASE, FeatureParams()).fit(HOUSES.assign(size=[None, None, None, 3.0]))
    assert learnt.transform(HOUSES)["size"].tolist()[:1] == [81.5]


def test_inputs_are_not_made_before_the_columns_are_known() -> None:
    with pytest.raises(NotFittedError, match="not fitted yet"):
        contract_inputs(CASE, FeatureParams()).transform(HOUSES)


def test_a_feature_that_is_left_out_is_not_even_asked_for() -> None:
    features = FeatureParams(leave_out=("size", "city"))
    assert used_features(CASE, features) == ("rooms", "garden", "listed")
    left = contract_inputs(CASE, features).fit(HOUSES)
    assert list(left.transform(HOUSES.drop(columns=["size", "city"])).columns)[:2] == ["rooms", "garden"]


@pytest.mark.parametrize("name", ["sise", "price", "note"])
def test_leaving_out_what_is_no_feature_is_refused_because_the_one_meant_would_stay(name: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"params\.yaml: `houses\.features\.leave_out` names `{name}`, which is no feat"
    ):
        used_features(CASE, FeatureParams(leave_out=(name,)))


@pytest.mark.parametrize("name", ["listet", "rooms", "at"])
def test_a_calendar_of_what_is_no_timestamp_feature_is_refused(name: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"`houses\.features\.calendar` names `{name}`, which is no timestamp feature"
    ):
        inputs(calendar=[{"column": name, "parts": ["month"]}])
