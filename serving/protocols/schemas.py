"""JSON Schemas of what a case takes and gives, made from its contract."""

import math
from typing import Any, get_args

from configs.case import Case, Column, ColumnType, Problem, Role
from serving.column import ENTITY, WHOLE
from serving.protocols.wishes import MOST_REASONS
from serving.records import Reason

Schema = dict[str, Any]

_DAY = "(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,6})?)?"
# 29 February is taken as well, in years that have one; a pattern that knew them would help nobody.
TIME = f"^(19|20|21)[0-9]{{2}}-({_DAY})T{_CLOCK}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?$"
"""The ISO 8601 we promise to take; more is taken."""


def row_schema(case: Case) -> Schema:
    """One row: the features of the contract, who and when it is about, and columns that are taken and not used."""
    columns = case.contract.columns
    required = [name for name in case.contract.features if not columns[name].may_be_missing]
    return {
        "type": "object",
        "description": case.question,
        "properties": {name: _property(column) for name, column in columns.items()},
        "required": required,
        "additionalProperties": False,
    }


def rows_schema(row: Schema) -> Schema:
    """Several rows, and what may be asked for beside them."""
    several = {
        "type": "object",
        "properties": {"rows": {"type": "array", "items": row, "minItems": 1}, **wishes_schema()},
        "required": ["rows"],
        "additionalProperties": False,
    }
    return {"anyOf": [row, several, {"type": "array", "items": row, "minItems": 1}]}


def wishes_schema() -> dict[str, Schema]:
    """What may be asked for beside rows."""
    return {
        "reasons": {
            "type": "integer",
            "minimum": 0,
            "maximum": MOST_REASONS,
            "description": "How many of the strongest reasons to give for each answer.",
        },
        "partial": {"type": "boolean", "description": "Answer the good rows and report the others."},
    }


def answer_schema(problem: Problem) -> Schema:
    """The answer to one row."""
    said: dict[str, Schema] = {
        "model_version": {"type": ["string", "null"], "description": "null where a rule or the prior answered."},
        "role": {"enum": ["champion", "challenger", "fallback"]},
        "prediction": {"enum": [0, 1]} if problem is Problem.binary else {"type": ["number", "string"]},
        "fallback": {"type": ["string", "null"], "description": "Why it was not the first choice that answered."},
    }
    if problem is Problem.binary:
        said["probability"] = {"type": "number", "minimum": 0, "maximum": 1, "description": "That it is 1."}
    if problem is Problem.multiclass:
        said["probabilities"] = {"type": "object", "additionalProperties": {"type": "number"}}
    return {"type": "object", "properties": {**said, "reasons": _REASONS}, "required": list(said)}


def whole_answer_schema(case: Case) -> Schema:
    """The answer to one row, or to several."""
    head: dict[str, Schema] = {"case": {"const": case.name}, "request_id": {"type": "string"}}
    one = answer_schema(case.problem)
    numbered = {**one, "properties": {"row": {"type": "integer"}, **one["properties"]}}
    several = {"predictions": {"type": "array", "items": numbered}, "refused": {"type": "array", "items": PROBLEM}}
    return {
        "anyOf": [
            {**one, "properties": {**head, **one["properties"]}, "required": [*head, *one["required"]]},
            {"type": "object", "properties": {**head, **several}, "required": [*head, *several]},
        ]
    }


PROBLEM: Schema = {
    "type": "object",
    "properties": {
        "row": {"type": "integer", "description": "Counted from 0."},
        "field": {"type": ["string", "null"]},
        "message": {"type": "string"},
        "reason": {"enum": list(get_args(Reason))},
    },
    "required": ["row", "field", "message", "reason"],
}
_REASONS: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "feature": {"type": "string"},
            "value": {"description": "What was sent."},
            "effect": {
                "type": "number",
                "description": "The answer minus the answer with this feature's typical value.",
            },
        },
    },
}


def column_schema(column: Column) -> Schema:
    """What a feature may be."""
    schema: Schema = {"type": _TYPES[column.type]}
    if column.categories is not None:
        schema["enum" if column.unseen == 0 else "examples"] = list(column.categories)
    if column.type is ColumnType.timestamp:
        schema["pattern"] = TIME
    if column.type in (ColumnType.integer, ColumnType.number):
        schema |= _limits(column)
    if column.may_be_missing:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"].append(None)
    words = [column.description, f"unit: {column.unit}" if column.unit else ""]
    return schema | {"description": "; ".join(filter(None, words))} if any(words) else schema


_TYPES = {
    ColumnType.string: "string",
    ColumnType.integer: "integer",
    ColumnType.number: "number",
    ColumnType.boolean: "boolean",
    ColumnType.timestamp: "string",
}
_UNUSED = "Taken and not used: it is not known when the prediction is asked for, or not of use to a model."


def _property(column: Column) -> Schema:
    if column.role is Role.feature:
        return column_schema(column)
    if column.role is Role.entity:
        about = "What the prediction is about; keeps it with one model while two share the traffic."
        text, number = (
            {"type": "string", "minLength": 1},
            {"type": "integer", "minimum": 1 - ENTITY, "maximum": ENTITY - 1},
        )
        return {"anyOf": [text, number, {"type": "null"}], "description": about}
    if column.role is Role.event_time:
        about = "When the prediction is asked for; without an offset it is UTC."
        return {"type": ["string", "null"], "pattern": TIME, "description": about}
    return {"description": _UNUSED}


def _limits(column: Column) -> Schema:
    low, high = column.range or (None, None)
    if column.type is ColumnType.integer:
        low = -WHOLE if low is None else max(math.ceil(low), -WHOLE)
        high = WHOLE if high is None else min(math.floor(high), WHOLE)
    found = {"minimum": low, "maximum": high}
    return {word: limit for word, limit in found.items() if limit is not None}
