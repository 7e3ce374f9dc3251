"""The building blocks of the OpenAPI document: operations, and how each protocol words a refusal."""

from collections.abc import Iterable
from typing import Any

from serving.protocols.body import JSON
from serving.protocols.schemas import PROBLEM, Schema

Operation = dict[str, Any]

REFUSALS = {
    400: "The body is not what the protocol promises.",
    401: "No key, or an unknown one.",
    403: "A key without the scope.",
    404: "An unknown case or version.",
    408: "The request took too long to arrive.",
    413: "The body, or the number of its rows, is over the limit.",
    415: "A content type that is not taken.",
    422: "A row breaks the contract; the message names row and field.",
    429: "Over the rate of this key; Retry-After says when to come back.",
    503: "Nobody can answer now; Retry-After says when to come back.",
}
ASKING = tuple(REFUSALS)
"""What can happen to a request for predictions."""
LOOKING = (401, 403, 404, 429, 503)
"""What can happen to one that shows what not all may see."""
READY: Schema = {"type": "object", "properties": {"ready": {"type": "boolean"}}, "required": ["ready"]}

_ERRORS: dict[str, Schema] = {
    "plain": {
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "code": {"type": "string", "description": "A stable word for programs."},
                    "message": {"type": "string", "description": "For people."},
                    "problems": {"type": "array", "items": PROBLEM},
                },
                "required": ["code", "message"],
            }
        },
        "required": ["error"],
    },
    "oip": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]},
    "mlflow": {
        "type": "object",
        "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
        "required": ["error_code", "message"],
    },
}


def refusals() -> dict[str, Any]:
    """The refusals of all protocols, as components that operations refer to."""
    return {
        f"{protocol}-{status}": {"description": why, "content": {JSON: {"schema": schema}}}
        for protocol, schema in _ERRORS.items()
        for status, why in REFUSALS.items()
    }


def operation(protocol: str, summary: str, answer: dict[str, Any], refused: Iterable[int], **more: Any) -> Operation:
    """One operation: its words, what it answers by media type, and how it may refuse."""
    responses: dict[str, Any] = {"200": {"description": "As asked.", "content": answer}}
    responses |= {str(status): {"$ref": f"#/components/responses/{protocol}-{status}"} for status in refused}
    return {"tags": [protocol], "summary": summary, "responses": responses, **more}


def readiness(summary: str, *refused: int) -> Operation:
    """The question whether something can answer, with a no that is an answer too."""
    asking = operation("oip", summary, {JSON: media(READY)}, refused)
    no = {"description": "It cannot.", "content": {JSON: media({"anyOf": [READY, _ERRORS["oip"]]})}}
    return {**asking, "responses": {**asking["responses"], "503": no}}


def media(schema: Schema, **examples: Any) -> dict[str, Any]:
    """A media type with examples, by their names; those that are None are left out."""
    given = {name: {"value": value} for name, value in examples.items() if value is not None}
    return {"schema": schema, "examples": given} if given else {"schema": schema}


def taken(content: dict[str, Any]) -> dict[str, Any]:
    """A body that must be there."""
    return {"required": True, "content": content}
