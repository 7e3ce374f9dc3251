"""The OpenAPI document says what the gateway does, and its page needs nothing but itself."""

import json
import re
from html.parser import HTMLParser
from random import Random
from typing import Any

import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator

from configs.case import Case, ColumnType
from serving.contract import Checker
from serving.errors import ContractBroken
from serving.protocols import mlflow, oip, openapi, plain
from serving.protocols.schemas import TIME, row_schema, whole_answer_schema
from serving.records import Asked, RowProblem
from tests.serving.protocols.samples import (
    BIKES,
    EVERYTHING,
    FLIGHT,
    FLIGHTS,
    MAX_ROWS,
    TOYS,
    Row,
    good_row,
    mixed_parts,
    one_part,
    spoiled_row,
)

CASES = {case.name: case for case in (FLIGHTS, BIKES)}
EXAMPLES = {"flights": Checker(FLIGHTS).check(Asked(records=[FLIGHT]))[0]}
DOCUMENT = openapi.document(
    CASES,
    {
        "flights": dict(
            zip(FLIGHTS.contract.features, (column[0] for column in EXAMPLES["flights"].columns), strict=True)
        )
    },
    "0.1.0",
    default_case="flights",
)
DECODERS = {"/predict/flights": plain, "/v2/models/flights/infer": oip, "/invocations": mlflow}


def body_examples(path: str) -> list[tuple[str, str, Any]]:
    content = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]
    return [
        (media, name, example["value"])
        for media, taken in content.items()
        for name, example in taken.get("examples", {}).items()
    ]


def test_it_is_openapi_that_tools_can_read() -> None:
    schema = schemathesis.openapi.from_dict(orjson.loads(orjson.dumps(DOCUMENT)))
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == sum(map(len, DOCUMENT["paths"].values()))
    names = [
        each["operationId"]
        for methods in DOCUMENT["paths"].values()
        for each in methods.values()
        if "operationId" in each
    ]
    assert len(names) == len(set(names))


def test_every_path_of_the_gateway_is_in_it() -> None:
    assert set(DOCUMENT["paths"]) >= {
        *(f"/predict/{case}" for case in CASES),
        *(f"/{case}/invocations" for case in CASES),
        *(f"/v2/models/{case}{end}" for case in CASES for end in ("", "/ready", "/infer")),
        *(f"/v2/models/{case}/versions/{{version}}{end}" for case in CASES for end in ("", "/ready", "/infer")),
        "/v2", "/v2/health/live", "/v2/health/ready", "/invocations", "/ping", "/health", "/version", "/metrics",
        "/openapi.json", "/docs",
    }  # fmt: skip


def test_the_unnamed_path_is_there_only_if_a_case_answers_it() -> None:
    assert "/invocations" in openapi.document({"bikes": BIKES}, {}, "1")["paths"]
    assert "/invocations" not in openapi.document(CASES, {}, "1")["paths"]


def test_every_reference_leads_somewhere() -> None:
    text = orjson.dumps(DOCUMENT).decode()
    for reference in set(re.findall(r'"\$ref":"#/([^"]+)"', text)):
        found: Any = DOCUMENT
        for part in reference.split("/"):
            found = found[part]


@pytest.mark.parametrize("path", DECODERS)
def test_every_example_is_a_request_that_is_answered(path: str) -> None:
    examples = body_examples(path)
    assert examples
    for media, name, value in examples:
        body = value.encode() if isinstance(value, str) else orjson.dumps(value)
        asked = DECODERS[path].decode(body, media, {}, FLIGHTS, max_rows=MAX_ROWS)
        rows, _, _ = Checker(FLIGHTS).check(asked)
        assert rows.columns == [column * rows.count for column in EXAMPLES["flights"].columns], name


@pytest.mark.parametrize("path", ["/predict/flights", "/v2/models/flights/infer", "/invocations"])
def test_every_example_fits_its_own_schema(path: str) -> None:
    root = {"components": DOCUMENT["components"]}
    for media, taken in DOCUMENT["paths"][path]["post"]["requestBody"]["content"].items():
        schema = Draft202012Validator({**root, **taken["schema"]})
        for found, _, value in body_examples(path):
            if found == media:
                schema.validate(value)


def test_a_column_is_described_with_type_unit_range_and_gaps() -> None:
    found = row_schema(FLIGHTS)["properties"]
    assert found["distance"] == {"type": "integer", "minimum": 10, "maximum": 6000, "description": "unit: miles"}
    assert found["wind_gust"]["type"] == ["number", "null"]
    assert found["origin"] == {"type": "string", "enum": ["EWR", "JFK", "LGA"]}
    assert found["carrier"]["examples"][:2] == ["9E", "AA"]
    assert set(row_schema(FLIGHTS)["required"]) == {
        "scheduled_departure", "scheduled_arrival_minute", "carrier", "origin", "destination", "distance",
    }  # fmt: skip


def _time_is_unusual(case: Case, row: Row) -> bool:
    """Whether a time is written in a way that is taken but not promised."""
    times = [name for name, column in case.contract.columns.items() if column.type is ColumnType.timestamp]
    return any(isinstance(row.get(name), str) and not re.search(TIME, row[name]) for name in times)


@pytest.mark.parametrize("case", [FLIGHTS, BIKES, EVERYTHING, TOYS], ids=lambda case: case.name)
def test_a_row_fits_the_schema_if_and_only_if_it_keeps_the_contract(case: Case) -> None:
    random, checker, schema = Random(31), Checker(case), Draft202012Validator(row_schema(case))
    told = {True: 0, False: 0}
    for nth in range(600):
        row = (good_row if nth % 2 else spoiled_row)(random, case)
        if _time_is_unusual(case, row):
            continue
        try:
            checker.check(Asked(records=[row], count=1))
            kept = True
        except ContractBroken:
            kept = False
        assert schema.is_valid(row) == kept, row
        told[kept] += 1
    assert min(told.values()) > 50


@pytest.mark.parametrize(
    "text",
    ["2013-07-22T05:15:00", "2013-01-31T05:15Z", "2013-04-30T23:59:59.123456-08:00", "2013-02-28T00:00:00+05:30"],
)
def test_the_times_we_promise_to_take_are_taken(text: str) -> None:
    assert re.search(TIME, text)
    row = {"weight": 1, "colour": "red", "at": text}
    assert Checker(TOYS).check(Asked(records=[row], count=1))[0].event_times != [None]


@pytest.mark.parametrize(
    "text", ["2013-02-30T00:00:00", "2013-04-31T00:00:00", "2013-13-01T00:00:00", "2013-01-01T24:00:00"]
)
def test_no_time_is_promised_that_is_in_no_calendar(text: str) -> None:
    assert not re.search(TIME, text)


BIKES_ALONE = schemathesis.openapi.from_dict(openapi.document({"bikes": BIKES}, {}, "1"))


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
    phases=[Phase.generate],
)
@given(case=BIKES_ALONE["/predict/bikes"]["POST"].as_strategy())
def test_whatever_schemathesis_makes_of_the_document_is_answered(case: Any) -> None:
    query = "&".join(f"{name}={str(value).lower()}" for name, value in (case.query or {}).items()).encode()
    body = json.dumps(case.body).encode()  # whole numbers of any size
    asked = plain.decode(body, "application/json", {}, BIKES, max_rows=MAX_ROWS, query=query)
    assert Checker(BIKES).check(asked)[0].count == asked.count


def test_answers_fit_their_schema() -> None:
    several = one_part([0.25, 0.75])
    several.positions, several.refused = [0, 2], [RowProblem(1, None, "why", "unknown")]
    with_reasons = one_part([0.25])
    with_reasons.reasons = [[("distance", 0.1)]]
    for body, outcome in (
        (FLIGHT, one_part([0.25])),
        (FLIGHT, with_reasons),
        ([FLIGHT] * 3, several),
        ([FLIGHT] * 3, mixed_parts()),
    ):
        asked = plain.decode(orjson.dumps(body), "application/json", {}, FLIGHTS, max_rows=MAX_ROWS)
        said = orjson.loads(plain.encode(asked, outcome, FLIGHTS).body)
        Draft202012Validator(whole_answer_schema(FLIGHTS)).validate(said)


class _Page(HTMLParser):
    """What a page is made of; refuses tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.bodies: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "input"):
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        self.bodies += [value or "" for name, value in attrs if name == "data-body"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_the_network() -> None:
    html = openapi.page(DOCUMENT)
    page = _Page()
    page.feed(html)
    assert page.open == []
    assert all(link.startswith("#") for link in page.links)
    assert "@import" not in html
    assert "url(" not in html
    for path in DOCUMENT["paths"]:
        assert f"<code>{path}</code>" in html


def test_the_page_holds_the_examples_as_they_are_sent() -> None:
    page = _Page()
    page.feed(openapi.page(DOCUMENT))
    assert orjson.loads(page.bodies[0]) == body_examples("/predict/flights")[0][2]
    assert "curl -X POST http://127.0.0.1:8080/predict/flights -H" in openapi.page(DOCUMENT)


def test_a_contract_cannot_write_into_the_page() -> None:
    evil = FLIGHTS.model_copy(update={"question": "<script>alert(1)</script>", "name": "evil"})
    example = {**FLIGHT, "carrier": "'\"></textarea><script>alert(1)</script>"}
    html = openapi.page(openapi.document({"evil": evil}, {"evil": example}, "1"))
    assert "<script>alert" not in html
