"""Whatever bytes arrive, a decoder and the contract give rows or a refusal; nothing else ever comes out."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import orjson
import pytest

from serving.contract import Checker
from serving.errors import Refused
from serving.protocols import mlflow, oip, plain
from serving.records import Asked
from tests.serving.protocols.samples import EVERYTHING, SPOILED, Row, good_row, spoiled_row
from tests.serving.protocols.wire import Headers, in_binary, in_json, tensors_of

CHECKER = Checker(EVERYTHING)
ROUNDS = 1500
TOKENS = (
    b"null", b"true", b"NaN", b"Infinity", b"-", b"1e999", b"99999999999999999999", b"[", b"]", b"{", b"}", b'"', b",",
    b":", b"\\", b"\\u0000", b"\\ud800", b"\x00", b"\xff", b"\xf0\x9f", b"\n", b"9" * 400, b"[" * 2000, b'{"a":' * 2000,
)  # fmt: skip
KEYS = (
    "rows", "reasons", "partial", "inputs", "outputs", "parameters", "shape", "datatype", "data", "name", "id",
    "binary_data_size", "binary_data_output", "dataframe_split", "columns", "index", "instances", "params", "",
)  # fmt: skip
CONTENT_TYPES = (
    "application/json",
    "",
    "text/csv",
    "application/octet-stream",
    "text/csv; charset=utf-8",
    "x/y;;=",
    "é",
)

Request = tuple[bytes, Headers, str]


def some_rows(random: Random) -> list[Row]:
    return [
        (good_row if random.random() < 0.95 else spoiled_row)(random, EVERYTHING) for _ in range(random.randint(1, 3))
    ]


def plain_request(random: Random) -> Request:
    rows = some_rows(random)
    return orjson.dumps(random.choice((rows[0], rows, {"rows": rows, "partial": True}))), {}, "application/json"


def mlflow_request(random: Random) -> Request:
    rows = some_rows(random)
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = [[row.get(name) for name in names] for row in rows]
    form: Any = random.choice(
        (
            {"dataframe_split": {"columns": names, "data": table, "index": [0]}},
            {"dataframe_records": rows},
            {"instances": table},
            {"inputs": {name: [row.get(name) for row in rows] for name in names}},
            {"inputs": rows[0], "params": {}},
        )
    )
    return json.dumps(form).encode(), {}, "application/json"


def csv_request(random: Random) -> Request:
    rows = some_rows(random)
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, *([str("" if row.get(name) is None else row[name]) for name in names] for row in rows)]
    return "\n".join(map(",".join, lines)).encode(), {}, "text/csv"


def oip_request(random: Random) -> Request:
    rows = [good_row(random, EVERYTHING) for _ in range(random.randint(1, 3))]
    rows = [{name: str(value) if name == "id" else value for name, value in row.items()} for row in rows]
    write = random.choice((in_json, in_binary))
    return *write(tensors_of(EVERYTHING, rows), id="x", outputs=[{"name": "prediction"}]), ""


def spoil_bytes(random: Random, body: bytes) -> bytes:
    """Cut, doubled, overwritten or stuffed with what parsers trip over."""
    start = random.randrange(len(body) + 1)
    end = min(len(body), start + random.randint(0, 20))
    put = random.choice((b"", random.choice(TOKENS), random.randbytes(random.randint(1, 8)), body[start:end] * 2))
    return body[:start] + put + body[end:]


def spoil_document(random: Random, value: Any, depth: int = 0) -> Any:
    """A document with something in it that belongs elsewhere."""
    if not isinstance(value, dict | list) or not value or random.random() < 0.1 + 0.1 * depth:
        return random.choice((*SPOILED, {random.choice(KEYS): value}, [value], [], {}, -1, 2**40, "FP64"))
    place = random.choice(list(value)) if isinstance(value, dict) else random.randrange(len(value))
    changed = value.copy()
    if isinstance(changed, dict) and random.random() < 0.2:
        changed[random.choice(KEYS)] = changed.pop(place)
    else:
        changed[place] = spoil_document(random, value[place], depth + 1)
    return changed


def spoil(random: Random, request: Request) -> Request:
    body, headers, content_type = request
    size = int(headers.get(b"inference-header-content-length", len(body)))
    if random.random() < 0.5 and content_type != "text/csv":
        text = json.dumps(spoil_document(random, json.loads(body[:size]))).encode()
        body, size = text + body[size:], len(text)
        headers = {b"inference-header-content-length": str(size).encode()} if headers else {}
    else:
        for _ in range(random.randint(1, 3)):
            body = spoil_bytes(random, body)
    if random.random() < 0.05:
        headers = {
            b"inference-header-content-length": random.choice((b"0", b"5", b"-1", b"x", str(len(body)).encode()))
        }
    return body, headers, random.choice(CONTENT_TYPES) if random.random() < 0.05 else content_type


MAKERS = [(plain, plain_request), (mlflow, mlflow_request), (mlflow, csv_request), (oip, oip_request)]


@pytest.mark.parametrize(("protocol", "make"), MAKERS, ids=["plain", "mlflow", "csv", "oip"])
def test_spoiled_requests_are_answered_or_refused(protocol: Any, make: Callable[[Random], Request]) -> None:
    random = Random(17)
    ended = {"checked": 0, "refused": 0}
    for _ in range(ROUNDS):
        body, headers, content_type = spoil(random, make(random))
        query = random.choice((b"", b"", b"partial=true", b"reasons=5", b"%"))
        try:
            asked: Asked = protocol.decode(body, content_type, headers, EVERYTHING, max_rows=10, query=query)
            rows, positions, problems = CHECKER.check(asked)
        except Refused as error:
            orjson.dumps({"message": str(error)})
            protocol.encode_error(error)
            ended["refused"] += 1
            continue
        assert rows.count == len(rows.entities) == len(rows.event_times) >= 1
        assert all(len(column) == rows.count for column in rows.columns)
        assert (positions is None) == (not problems)
        orjson.dumps([rows.columns, rows.entities, rows.event_times, [problem.message for problem in problems]])
        ended["checked"] += 1
    assert min(ended.values()) > ROUNDS // 100, ended


@pytest.mark.parametrize("protocol", [plain, mlflow, oip])
def test_random_bytes_are_refused(protocol: Any) -> None:
    random = Random(23)
    for size in [0, 1, 2, 3, *range(4, 400, 7)]:
        for content_type in ("application/json", "text/csv"):
            with pytest.raises(Refused, match=r"."):
                CHECKER.check(protocol.decode(random.randbytes(size), content_type, {}, EVERYTHING, max_rows=10))
