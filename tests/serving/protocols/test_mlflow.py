"""MLflow's scoring protocol: its four JSON forms, CSV, and its words."""

import json
from typing import Any

import orjson
import pandas as pd
import pytest

from configs.case import Case
from serving.contract import Checker
from serving.errors import (
    BadRequest,
    ContractBroken,
    NotAllowed,
    NotFound,
    Refused,
    TooLarge,
    Unavailable,
    WrongType,
)
from serving.protocols import mlflow
from serving.records import Asked, Outcome, RowProblem, Rows
from tests.serving.protocols.samples import (
    BIKES,
    EVERYTHING,
    FLIGHT,
    FLIGHTS,
    MAX_ROWS,
    TOYS,
    mixed_parts,
    one_part,
)

ROWS = [FLIGHT, {**FLIGHT, "wind_gust": 20.5, "carrier": "B6", "plane_year": None}]
NAMES = list(FLIGHTS.contract.features)


def asked(document: Any, content_type: str = "application/json", case: Case = FLIGHTS) -> Asked:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return mlflow.decode(body, content_type, {}, case, max_rows=MAX_ROWS)


def checked(question: Asked, case: Case = FLIGHTS) -> Rows:
    return Checker(case).check(question)[0]


def without_marks(rows: Rows) -> Rows:
    """The rows as a form sees them that has no place for entity and event time."""
    return Rows(rows.count, rows.columns, [None] * rows.count, [None] * rows.count)


def frame() -> pd.DataFrame:
    """The rows as a data scientist has them."""
    table = pd.DataFrame(ROWS).astype({"wind_gust": "float64"})
    return table.assign(scheduled_departure=pd.to_datetime(table["scheduled_departure"]))


EXPECTED = checked(Asked(records=ROWS, count=2))
COLUMNS = {name: [row[name] for row in ROWS] for name in FLIGHT}
TABLE = [[row[name] for name in NAMES] for row in ROWS]


@pytest.mark.parametrize(
    "document",
    [
        {"dataframe_split": {"columns": list(FLIGHT), "data": [list(row.values()) for row in ROWS]}},
        {"dataframe_split": {"columns": list(FLIGHT), "index": [7, 9], "data": [list(row.values()) for row in ROWS]}},
        {"dataframe_records": ROWS},
        {"instances": ROWS},
        {"instances": COLUMNS},
        {"inputs": ROWS},
        {"inputs": COLUMNS, "params": {"threshold": 0.5}},
        {"inputs": COLUMNS, "params": None, "client_request_id": "x"},
    ],
)
def test_every_form_gives_the_same_rows(document: Any) -> None:
    assert checked(asked(document)) == EXPECTED


@pytest.mark.parametrize("document", [{"instances": TABLE}, {"inputs": TABLE}, {"dataframe_split": {"data": TABLE}}])
def test_rows_without_names_are_in_the_order_of_the_features(document: Any) -> None:
    assert checked(asked(document)) == without_marks(EXPECTED)


def test_an_object_of_single_values_is_one_row() -> None:
    assert checked(asked({"inputs": FLIGHT})) == checked(Asked(records=[FLIGHT], count=1))


def test_what_the_client_of_mlflow_sends_for_a_frame_is_taken_with_its_nan() -> None:
    split = frame().to_dict(orient="split")
    body = json.dumps({"dataframe_split": split}, default=lambda value: value.isoformat())
    assert "NaN" in body
    assert checked(asked(body.encode())) == EXPECTED


def test_a_missing_time_of_pandas_is_missing() -> None:
    row = {
        "closed": "a",
        "half_open": "b",
        "open": "NaT",
        "whole": 1,
        "number": 1.5,
        "truth": True,
        "moment": "2013-07-22",
    }
    rows = [{**row, "moment_gaps": "NaT"}, {**row, "moment_gaps": "2013-07-22"}]
    split = {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}
    for document in ({"dataframe_records": rows}, {"dataframe_split": split}):
        columns = checked(asked(document, case=EVERYTHING), EVERYTHING).columns
        found = dict(zip(EVERYTHING.contract.features, columns, strict=True))
        assert [moment is None for moment in found["moment_gaps"]] == [True, False]
        assert found["open"] == ["NaT", "NaT"]


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("content_type", ["text/csv", "text/csv; charset=utf-8"])
def test_the_csv_of_pandas_is_taken_with_or_without_its_index(index: bool, content_type: str) -> None:
    assert checked(asked(frame().to_csv(index=index).encode(), content_type)) == EXPECTED


def test_csv_is_typed_by_the_contract_and_empty_is_missing() -> None:
    text = (
        "id,closed,half_open,open,whole,number,truth,moment,whole_gaps,truth_gaps,moment_gaps,note\r\n"
        '7,a,b,5,5.0,1e3,True,2013-07-22 05:15:00,,,,"x, y"\r\n'
        '8,a,b,"a ""b""\n",-6,.5,false,2013-07-22,9,TRUE,2013-07-22,\r\n'
    )
    rows = checked(asked(b"\xef\xbb\xbf" + text.encode(), "text/csv", EVERYTHING), EVERYTHING)
    found = dict(zip(EVERYTHING.contract.features, rows.columns, strict=True))
    assert rows.entities == ["7", "8"]
    assert found["open"] == ["5", 'a "b"\n']
    assert found["whole"] == [5, -6]
    assert found["number"] == [1000.0, 0.5]
    assert found["truth"] == [True, False]
    assert (found["whole_gaps"], found["truth_gaps"]) == ([None, 9], [None, True])
    assert found["moment_gaps"][0] is None


@pytest.mark.parametrize(
    ("field", "shown"), [("1_000", "'1_000'"), ("0x5", "'0x5'"), ("nan", "'nan'"), ("inf", "'inf'"), ("1e999", "inf")]
)
def test_what_csv_cannot_say_is_refused_by_field(field: str, shown: str) -> None:
    text = f"distance\n{field}\n"
    with pytest.raises(ContractBroken) as refused:
        checked(asked(text.encode(), "text/csv"))
    problem = next(problem for problem in refused.value.problems if problem.field == "distance")
    assert problem.message.startswith(f"`distance` is {shown}, expected a whole number")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "The header row is '', expected the name of each column"),
        (b"a,b,a\n1,2,3\n", "The header row is 'a,b,a', expected the name of each column, once"),
        (b"a,,b\n1,2,3\n", "expected the name of each column"),
        (b"a,b\n1,2\n1,2,3\n", "Line 3 has 3 fields, expected 2 as the header"),
        (b"a,b\n1\n", "Line 2 has 1 fields, expected 2"),
        (b'a,b\n"1,2\n', "The body is not CSV: unexpected end of data"),
        (b'a,b\n"1"x,2\n', "The body is not CSV"),
        (b"a\n" + b"x" * 200_000 + b"\n", "The body is not CSV: field larger than field limit"),
        (b"a\n\xff\n", "The body is not text in UTF-8"),
    ],
)
def test_what_is_not_csv_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        asked(text, "text/csv")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([FLIGHT], "The body is a list, expected an object with one of dataframe_split"),
        ({}, "The body has nothing, expected exactly one of dataframe_split, dataframe_records, instances, inputs"),
        ({"columns": [], "data": []}, "The body has 'columns', 'data', expected exactly one of"),
        ({"inputs": ROWS, "instances": ROWS}, "The body has instances and inputs, expected exactly one of"),
        ({"inputs": ROWS, "params": [1]}, "`params` is a list, expected an object"),
        ({"inputs": 5}, "The rows are 5, expected a list of rows, or an object of columns"),
        ({"inputs": {"a": [1], "b": 2}}, "Of the columns some are lists and some are not"),
        ({"inputs": [FLIGHT, [1]]}, "Row 1 is a list, expected an object"),
        ({"inputs": [[1], FLIGHT]}, "Row 0 is 1 values, expected a list of 19: scheduled_departure"),
        ({"instances": [1, 2]}, "Row 0 is 1, expected an object"),
        ({"dataframe_records": {"a": [1]}}, "`dataframe_records` is an object, expected a list of objects"),
        ({"dataframe_split": [1]}, "`dataframe_split` is not an object with `columns`, `data`"),
        ({"dataframe_split": {"columns": ["a"]}}, "`dataframe_split` is not an object with"),
        ({"dataframe_split": {"columns": ["a"], "data": [], "x": 1}}, "`dataframe_split` is not an object with"),
        ({"dataframe_split": {"columns": "a", "data": [[1]]}}, "`columns` of `dataframe_split` is not a list of names"),
        ({"dataframe_split": {"columns": [1], "data": [[1]]}}, "is not a list of names"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, "is not a list of names, each of them once"),
        (
            {"dataframe_split": {"columns": ["a"], "data": [[1]], "index": [1, 2]}},
            "`index` of `dataframe_split` is not",
        ),
        ({"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2]]}}, "Row 1 is 2 values, expected a list of 1: a"),
        ({"dataframe_split": {"columns": ["a"], "data": [{"a": 1}]}}, "Row 0 is an object, expected a list of 1: a"),
        (b'{"inputs": [{"a": 1, "a": 2}]}', "The key 'a' is given twice"),
        (b'{"params": {"a": 1, "a": 2}, "inputs": {"a": [1]}}', "The key 'a' is given twice"),
        (b'{"inputs": [{"a": Infinity}]}', "Infinity is no JSON"),
    ],
)
def test_what_is_no_request_is_refused_by_name(document: Any, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        asked(document)


@pytest.mark.parametrize("form", ["instances", "inputs", "dataframe_records", "dataframe_split"])
def test_a_form_without_rows_is_refused(form: str) -> None:
    document = {form: {"columns": ["distance"], "data": []} if form == "dataframe_split" else []}
    with pytest.raises(BadRequest, match="There is no row to predict"):
        checked(asked(document))
    with pytest.raises(BadRequest, match="There is no row to predict"):
        checked(asked(b"distance\n", "text/csv"))


MANY = MAX_ROWS + 1


@pytest.mark.parametrize(
    "document",
    [
        {"dataframe_split": {"columns": ["a"], "data": [[1]] * MANY}},
        {"dataframe_records": [{"a": 1}] * MANY},
        {"instances": [[1]] * MANY},
        {"inputs": {"a": [1] * MANY, "b": [1]}},
        b"a\n" + b"1\n" * MANY,
    ],
)
def test_more_rows_than_allowed_are_refused(document: Any) -> None:
    with pytest.raises(TooLarge, match="51 rows, expected at most 50"):
        asked(document, "text/csv" if isinstance(document, bytes) else "application/json")


@pytest.mark.parametrize(
    "content_type", ["application/vnd.apache.parquet", "text/plain", "application/json; charset=latin-1"]
)
def test_another_content_type_is_refused_with_those_that_are_taken(content_type: str) -> None:
    with pytest.raises(WrongType, match=r"expected (application/json or text/csv|none but charset=utf-8)"):
        asked({"inputs": ROWS}, content_type)


@pytest.mark.parametrize(
    ("outcome", "case", "body"),
    [
        (one_part([0.25, 0.75]), FLIGHTS, b'{"predictions":[0.0,1.0]}'),
        (one_part([144.5], ()), BIKES, b'{"predictions":[144.5]}'),
        (one_part([[0.2, 0.8]], ("bear", "car")), TOYS, b'{"predictions":["car"]}'),
        (mixed_parts(), FLIGHTS, b'{"predictions":[0.0,1.0,0.0]}'),
    ],
)
def test_the_answer_is_what_predict_of_the_pipeline_gives(outcome: Outcome, case: Case, body: bytes) -> None:
    reply = mlflow.encode(Asked(), outcome, case)
    assert (reply.status, reply.body, reply.content_type) == (200, body, b"application/json")


def test_who_answered_is_in_the_headers() -> None:
    assert dict(mlflow.encode(Asked(), one_part([0.25]), FLIGHTS).headers) == {
        b"x-request-id": b"req-1",
        b"x-model-version": b"3",
        b"x-role": b"champion",
    }
    assert dict(mlflow.encode(Asked(), mixed_parts(), FLIGHTS).headers) == {
        b"x-request-id": b"req-1",
        b"x-model-version": b"3,4",
        b"x-role": b"champion,challenger,fallback",
        b"x-fallback": b"timeout",
    }


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BadRequest("Why."), 400, "BAD_REQUEST"),
        (ContractBroken([RowProblem(0, "x", "Why.", "value")]), 400, "BAD_REQUEST"),
        (NotAllowed(), 401, "UNAUTHENTICATED"),
        (NotFound("Why."), 404, "RESOURCE_DOES_NOT_EXIST"),
        (TooLarge("Why."), 413, "BAD_REQUEST"),
        (Unavailable("Why."), 503, "TEMPORARILY_UNAVAILABLE"),
    ],
)
def test_a_refusal_has_a_code_of_mlflow(error: Refused, status: int, code: str) -> None:
    reply = mlflow.encode_error(error)
    assert reply.status == status
    assert orjson.loads(reply.body) == {"error_code": code, "message": str(error)}


def test_it_is_alive_as_mlflow_is() -> None:
    assert (mlflow.ping().status, mlflow.ping().body) == (200, b"\n")


def test_the_version_is_that_of_the_mlflow_whose_protocol_this_is() -> None:
    assert mlflow.version().body.startswith(b"3.")


@pytest.mark.slow
def test_what_the_client_of_mlflow_itself_makes_of_a_frame_is_taken() -> None:
    from mlflow.utils.proto_json_utils import dump_input_data  # noqa: PLC0415 - takes seconds

    assert checked(asked(dump_input_data(frame()).encode())) == EXPECTED
    assert checked(asked(dump_input_data(TABLE).encode())) == without_marks(EXPECTED)
    assert checked(asked(dump_input_data(frame(), params={"a": 1}).encode())) == EXPECTED
