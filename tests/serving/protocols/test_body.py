"""JSON is taken strictly: what would be lost or changed without a word is refused."""

import json
import sys
from random import Random
from typing import Any

import orjson
import pytest

from serving.errors import BadRequest, WrongType
from serving.protocols.body import no_key_twice, parsed, parsed_with_nan, read_json

DEEP = 100_000


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "zero-length"),
        (b'{"a": 1', "is not JSON in UTF-8"),
        (b"[1,]", "trailing comma"),
        (b'{"a": 1} b', "unexpected content after document"),
        (b'{"a": NaN}', "NaN is no JSON; send null for a missing value"),
        (b"[Infinity]", "Infinity is no JSON"),
        (b"[-Infinity]", "Infinity is no JSON"),
        (b'{"a": 1e999}', "number is infinity"),
        (b'"\xff"', "not valid UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'"\\ud800"', "no low surrogate"),
        (b"[" * DEEP + b"]" * DEEP, "depth limit exceeded"),
        (b'{"a":' * DEEP, "depth limit exceeded"),
    ],
)
def test_what_is_not_json_is_refused_with_the_place(body: bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        parsed(body)


def test_nan_is_null_where_a_protocol_says_so_but_never_inside_a_text() -> None:
    assert parsed_with_nan(b'{"NaN": [NaN, "NaN", "\\"NaN", "\\\\", NaN]}') == {
        "NaN": [None, "NaN", '"NaN', "\\", None]
    }
    with pytest.raises(BadRequest, match="is not JSON"):
        parsed_with_nan(b"[NaN, Infinity]")


def test_nan_is_found_where_python_finds_it() -> None:
    random = Random(13)
    for _ in range(2000):
        document = [random_value(random, 3) for _ in range(3)]
        text = json.dumps(document).replace("a", "NaN").replace("2.5", "NaN")
        assert parsed_with_nan(text.encode()) == json.loads(text, parse_constant=lambda _: None)


def test_nan_in_a_text_that_does_not_end_is_refused_in_no_time() -> None:
    with pytest.raises(BadRequest, match="is not JSON"):
        parsed_with_nan(b"[NaN, " + b'"\\"' * 200_000)


def keys(value: Any) -> int:
    """How many keys a document holds."""
    if isinstance(value, dict):
        return len(value) + sum(map(keys, value.values()))
    return sum(map(keys, value)) if isinstance(value, list) else 0


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}',
        b'{"a" :1,"a"\n: 2}',
        b'{"a": 1, "\\u0061": 2}',
        b'{"x": [{"b": {"a": 1, "a": 1}}]}',
        b'{"a": ":", "a": "\\":"}',
        b'{"p": "' + b"x" * 5000 + b'", "a": 1, "a": 2}',
    ],
)
def test_a_key_given_twice_is_refused_by_name(body: bytes) -> None:
    with pytest.raises(BadRequest, match="The key 'a' is given twice"):
        no_key_twice(body, keys(orjson.loads(body)))


def random_value(random: Random, depth: int) -> Any:
    kind = random.choice("sndl" if depth else "sn")
    if kind == "s":
        return "".join(random.choice(':", \\\n{}a') for _ in range(random.randint(0, 6)))
    if kind == "n":
        return random.choice((1, 2.5, None, True))
    if kind == "l":
        return [random_value(random, depth - 1) for _ in range(random.randint(0, 3))]
    return {random_value(random, 0) or "k": random_value(random, depth - 1) for _ in range(3)}


def test_a_document_without_such_a_key_is_always_let_through() -> None:
    random = Random(11)
    for _ in range(2000):
        document = [random_value(random, 3) for _ in range(random.choice((1, 1, 60)))]
        for body in (json.dumps(document), json.dumps(document, indent=1), json.dumps(document, separators=(",", ":"))):
            no_key_twice(body.encode(), keys(json.loads(body)))


def test_a_lost_key_is_always_noticed() -> None:
    random = Random(12)
    for _ in range(2000):
        names = [random.choice(("a", "b", ":", '"', " ", "\\", "c:")) for _ in range(random.randint(2, 5))]
        pairs = [f"{json.dumps(name)}{random.choice(('', ' ', chr(10)))}:{json.dumps(name)}" for name in names]
        body = ("{" + ", ".join(pairs) + "}").encode() + b" " * random.choice((0, 5000))
        if len(set(names)) < len(names):
            with pytest.raises(BadRequest, match="is given twice"):
                no_key_twice(body, keys(orjson.loads(body)))
        else:
            no_key_twice(body, keys(orjson.loads(body)))


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="from 3.12 on Python reads as deep as our parser does")
def test_json_as_deep_as_the_parser_takes_is_refused_kindly_if_it_must_be_looked_at_again() -> None:
    body = b'{"\\u0061":' * 1024 + b"1" + b"}" * 1024
    with pytest.raises(BadRequest, match="nested too deep"):
        no_key_twice(body, 0)


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "", 'application/json;charset="UTF-8"']
)
def test_json_is_taken_by_its_name_and_without_one(content_type: str) -> None:
    assert read_json(b"{}", content_type, {}) == {}


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_another_content_type_is_refused_by_name(content_type: str) -> None:
    with pytest.raises(WrongType, match="expected application/json"):
        read_json(b"{}", content_type, {})


def test_text_in_another_encoding_is_refused() -> None:
    with pytest.raises(WrongType, match="charset=latin-1"):
        read_json(b"{}", "application/json; charset=latin-1", {})


def test_a_compressed_body_is_refused() -> None:
    with pytest.raises(WrongType, match=r"gzip.*expected an uncompressed one"):
        read_json(b"{}", "application/json", {b"content-encoding": b"gzip"})
    assert read_json(b"{}", "application/json", {b"content-encoding": b"identity"}) == {}
