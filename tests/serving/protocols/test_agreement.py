"""The same rows are the same request in every protocol, and the same answer says the same in each."""

import csv
import io
import json
from collections.abc import Callable
from random import Random
from typing import Any

import orjson
import pytest

from configs.case import Case
from serving.contract import Checker
from serving.errors import ContractBroken
from serving.protocols import mlflow, oip, plain
from serving.records import Asked
from tests.serving.protocols.samples import (
    BIKES,
    EVERYTHING,
    FLIGHTS,
    MAX_ROWS,
    Row,
    good_row,
    mixed_parts,
    one_part,
)
from tests.serving.protocols.wire import Headers, in_binary, in_json, outputs_of, tensors_of

JSON = "application/json"


def plain_rows(rows: list[Row], case: Case) -> Asked:
    return plain.decode(orjson.dumps(rows), JSON, {}, case, max_rows=MAX_ROWS)


def plain_row_or_rows(rows: list[Row], case: Case) -> Asked:
    return plain.decode(orjson.dumps(rows[0] if len(rows) == 1 else rows), JSON, {}, case, max_rows=MAX_ROWS)


def split(rows: list[Row], case: Case) -> Asked:
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = {"columns": names, "data": [[row.get(name) for name in names] for row in rows]}
    return mlflow.decode(orjson.dumps({"dataframe_split": table}), JSON, {}, case, max_rows=MAX_ROWS)


def inputs(rows: list[Row], case: Case) -> Asked:
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name, float("nan")) for row in rows] for name in names}
    return mlflow.decode(json.dumps({"inputs": columns}).encode(), JSON, {}, case, max_rows=MAX_ROWS)


def comma_separated(rows: list[Row], case: Case) -> Asked:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), restval="")
    writer.writeheader()
    writer.writerows(rows)
    return mlflow.decode(text.getvalue().encode(), "text/csv", {}, case, max_rows=MAX_ROWS)


def tensors(write: Callable[..., tuple[bytes, Headers]]) -> Callable[[list[Row], Case], Asked]:
    def decode(rows: list[Row], case: Case) -> Asked:
        told = [
            {name: str(value) if name == case.contract.entity else value for name, value in row.items()} for row in rows
        ]
        sent = [_as_declared(tensor) for tensor in tensors_of(case, told)]
        body, headers = write(sent)
        return oip.decode(body, "", headers, case, max_rows=MAX_ROWS)

    return decode


def _as_declared(tensor: tuple[str, str, list[Any]]) -> tuple[str, str, list[Any]]:
    """A whole number is an integer in an integer tensor, and a truth value with gaps a float."""
    name, datatype, values = tensor
    if datatype == "FP64":
        return name, datatype, [float(value) if isinstance(value, bool) else value for value in values]
    if datatype != "INT64":
        return tensor
    return (name, datatype, list(map(int, values))) if all(v == int(v) for v in values) else (name, "FP64", values)


FORMS = [plain_row_or_rows, split, inputs, comma_separated, tensors(in_json), tensors(in_binary)]


@pytest.mark.parametrize("count", [1, 2, 20])
@pytest.mark.parametrize("case", [FLIGHTS, BIKES, EVERYTHING], ids=lambda case: case.name)
def test_the_same_rows_are_the_same_request(case: Case, count: int) -> None:
    random, checker = Random(count), Checker(case)
    for _ in range(30):
        rows = [good_row(random, case) for _ in range(count)]
        expected = repr(checker.check(plain_rows(rows, case)))
        for form in FORMS:
            assert repr(checker.check(form(rows, case))) == expected, (form, rows)


WRONG = [
    ("distance", 9), ("distance", 10.5), ("humidity", 100.5), ("origin", "XYZ"), ("origin", None),
    ("scheduled_departure", "soon"), ("carrier", None), ("event_time", "soon"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_the_same_fault_is_refused_in_the_same_words(name: str, value: Any) -> None:
    random, checker = Random(4), Checker(FLIGHTS)
    rows = [good_row(random, FLIGHTS) for _ in range(3)]
    rows[1][name] = value
    told = set()
    for form in FORMS:
        sent = [{**row, name: float(row[name])} for row in rows] if isinstance(value, float) else rows
        with pytest.raises(ContractBroken, match=f"row 1: `{name}` is") as refused:
            checker.check(form(sent, FLIGHTS))
        told.add(str(refused.value))
    words = {text.replace("9.0,", "9,") for text in told}
    assert len(words) == 1, told


@pytest.mark.parametrize("outcome", [one_part([0.25, 0.75, 0.5]), mixed_parts()])
def test_the_same_answer_says_the_same_in_every_protocol(outcome: Any) -> None:
    rows = [good_row(Random(2), FLIGHTS)] * 3
    in_words = orjson.loads(plain.encode(plain_rows(rows, FLIGHTS), outcome, FLIGHTS).body)["predictions"]
    predictions = [row["prediction"] for row in in_words]
    probabilities = [row["probability"] for row in in_words]
    for write in (in_json, in_binary):
        question = tensors(write)(rows, FLIGHTS)
        found = outputs_of(oip.encode(question, outcome, FLIGHTS))
        assert found == {"prediction": predictions, "probability": probabilities}
    assert orjson.loads(mlflow.encode(Asked(), outcome, FLIGHTS).body) == {"predictions": predictions}
