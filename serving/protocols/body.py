"""The body of a request: of a type we take, and JSON without surprises."""

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import orjson

from serving.errors import BadRequest, WrongType

JSON = "application/json"
_SMALL = 4096
_WHITESPACE = b" \t\n\r"
_TEXTS_OR_NAN = re.compile(rb'(?:"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)[^"N]*+)++|NaN', re.DOTALL)
"""NaN, or texts with what lies between them; one pass, even over a text that does not end."""
_NO_JSON = re.compile(r"NaN|Infinity|nan|inf")


def media_type(content_type: str) -> str:
    """The type without its parameters, in lower case. Raises WrongType for an encoding other than UTF-8."""
    name, *parameters = (part.strip().lower() for part in content_type.split(";"))
    for parameter in filter(None, parameters):
        if parameter.replace('"', "") != "charset=utf-8":
            raise WrongType(f"The content type has the parameter `{parameter[:60]}`, expected none but charset=utf-8.")
    return name


def must_be_plain(headers: Mapping[bytes, bytes]) -> None:
    """Raises WrongType for a compressed body."""
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding.strip().lower() != b"identity":
        raise WrongType(f"The body is encoded with {encoding[:20]!r}, expected an uncompressed one.")


def read_json(body: bytes, content_type: str, headers: Mapping[bytes, bytes]) -> Any:
    """The document in a body that is said to be JSON. Raises WrongType or BadRequest."""
    if content_type != JSON and media_type(content_type) not in (JSON, ""):
        raise WrongType(f"The content type is {content_type[:60]!r}, expected {JSON}.")
    if b"content-encoding" in headers:
        must_be_plain(headers)
    return parsed(body)


def parsed(body: bytes) -> Any:
    """The document in a JSON body. Raises BadRequest."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        _refuse(error)


def parsed_with_nan(body: bytes) -> Any:
    """As `parsed`, but NaN is null: Python's own writer puts it where a value is missing."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" not in body:
            _refuse(error)
    return parsed(_TEXTS_OR_NAN.sub(_null_for_nan, body))


def no_key_twice(body: bytes, pairs: int) -> None:
    """Raises BadRequest if an object gives a key twice: of its two values one would be lost without a word.

    `pairs` are the keys in the parsed document. A body that cannot hold more of them is not read a second time.
    """
    if b"\\" not in body and _keys_at_most(body) <= pairs:
        return
    try:
        json.loads(body.decode(), object_pairs_hook=_unique, parse_int=_skipped, parse_float=_skipped)
    except RecursionError:
        raise BadRequest("The body is nested too deep for any request we take.") from None


def _keys_at_most(body: bytes) -> int:
    """How many keys there can be in JSON without escapes: a quote and a colon, with nothing but space between."""
    if len(body) < _SMALL:
        return body.translate(None, _WHITESPACE).count(b'":')
    signs = np.frombuffer(body, np.uint8)
    after = signs[1:]
    return int(np.count_nonzero((signs[:-1] == ord('"')) & ((after == ord(":")) | (after <= ord(" ")))))


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise BadRequest(f"The key {key[:60]!r} is given twice in one object; give it once.")
        seen.add(key)


def _null_for_nan(match: re.Match[bytes]) -> bytes:
    return b"null" if match[0] == b"NaN" else match[0]


def _skipped(_digits: str) -> None:
    return None


def _refuse(error: orjson.JSONDecodeError) -> NoReturn:
    found = _NO_JSON.match(error.doc, error.pos) if isinstance(error.doc, str) else None
    hint = f" {found[0]} is no JSON; send null for a missing value." if found else ""
    raise BadRequest(f"The body is not JSON in UTF-8: {error}.{hint}") from None
