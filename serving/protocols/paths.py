"""The paths that answer with predictions, as the OpenAPI document describes them; one set for each case."""

import csv
import io
from typing import Any

from configs.case import Case
from serving.protocols.body import JSON
from serving.protocols.mlflow import CSV
from serving.protocols.oip import OCTETS, input_datatypes
from serving.protocols.operations import ASKING, LOOKING, Operation, media, operation, readiness, taken
from serving.protocols.schemas import Schema, rows_schema, whole_answer_schema, wishes_schema
from serving.protocols.tensors import DATATYPES

Row = dict[str, Any]
Paths = dict[str, dict[str, Operation]]

_MLFLOW_STATUSES = tuple(status for status in ASKING if status != 422)
_VERSION = {
    "name": "version",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[1-9][0-9]{0,8}$"},
    "description": "A version in service; who else would answer does not matter then.",
}


def plain_paths(case: Case, row: Schema, example: Row | None) -> Paths:
    """`/predict/{case}`."""
    several = None if example is None else {"rows": [example, example], "partial": True}
    body = {JSON: media(rows_schema(row), one_row=example, several_rows=several)}
    wishes = [{"name": name, "in": "query", "schema": schema} for name, schema in wishes_schema().items()]
    asking = operation(
        "plain",
        case.question,
        {JSON: media(whole_answer_schema(case))},
        ASKING,
        operationId=f"predict-{case.name}",
        description="One row as an object, or several as a list or under `rows`; in the contract's names and units.",
        parameters=wishes,
        requestBody=taken(body),
    )
    return {f"/predict/{case.name}": {"post": asking}}


def oip_paths(case: Case, example: Row | None) -> Paths:
    """`/v2/models/{case}` and what lies under it."""
    model = f"/v2/models/{case.name}"
    paths: Paths = {}
    for path, name, parameters in ((model, "", []), (f"{model}/versions/{{version}}", "-version", [_VERSION])):
        of_path = {"parameters": parameters} if parameters else {}
        describe = operation("oip", "Which tensors it takes and gives.", {JSON: media({"type": "object"})}, LOOKING)
        ready = {**readiness("Whether it can answer.", 404), "security": []}
        paths[path] = {"get": {**describe, "operationId": f"describe-{case.name}{name}", **of_path}}
        paths[f"{path}/ready"] = {"get": {**ready, "operationId": f"ready-{case.name}{name}", **of_path}}
        infer = {**_infer(case, example), "operationId": f"infer-{case.name}{name}", **of_path}
        paths[f"{path}/infer"] = {"post": infer}
    return paths


def mlflow_paths(case: Case, row: Schema, example: Row | None, *, default: bool) -> Paths:
    """`/{case}/invocations`, and `/invocations` for the case that needs no name."""
    split = None if example is None else {"dataframe_split": {"columns": [*example], "data": [[*example.values()]]}}
    records = None if example is None else {"dataframe_records": [example]}
    body = {
        JSON: media(_invocations(row), dataframe_split=split, dataframe_records=records),
        CSV: media({"type": "string"}, csv=None if example is None else _csv(example)),
    }
    answer = {JSON: media({"type": "object", "properties": {"predictions": {"type": "array"}}})}
    words = "MLflow's scoring protocol. The answer is what the pipeline's own predict gives."
    asking = operation("mlflow", case.question, answer, _MLFLOW_STATUSES, description=words, requestBody=taken(body))
    paths = {f"/{case.name}/invocations": {"post": {**asking, "operationId": f"invocations-{case.name}"}}}
    return {**paths, "/invocations": {"post": {**asking, "operationId": "invocations"}}} if default else paths


_INFER = (
    "Open Inference Protocol, version 2. Each column is an input of shape [rows] or [rows, 1]. With raw tensors, the "
    "header Inference-Header-Content-Length says where the JSON part ends."
)


def _infer(case: Case, example: Row | None) -> Operation:
    datatypes = input_datatypes(case)
    inputs = None if example is None else _tensors(example, datatypes)
    body = {
        JSON: media(_request(datatypes), one_row=inputs and {"id": "example", "inputs": inputs}),
        OCTETS: media({"type": "string", "format": "binary"}),
    }
    answer = {JSON: media(_RESPONSE), OCTETS: media({"type": "string", "format": "binary"})}
    return operation("oip", case.question, answer, ASKING, description=_INFER, requestBody=taken(body))


def _tensors(example: Row, datatypes: dict[str, str]) -> list[dict[str, Any]]:
    given = {name: value for name, value in example.items() if value is not None and name in datatypes}
    return [{"name": name, "shape": [1], "datatype": datatypes[name], "data": [value]} for name, value in given.items()]


def _request(datatypes: dict[str, str]) -> Schema:
    tensor = {
        "type": "object",
        "properties": {
            "name": {"enum": list(datatypes)},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 2},
            "datatype": {"enum": list(DATATYPES)},
            "parameters": {"type": "object"},
            "data": {"type": "array"},
        },
        "required": ["name", "shape", "datatype"],
    }
    properties = {
        "id": {"type": "string", "description": "Given back in the answer."},
        "parameters": {"type": "object"},
        "inputs": {"type": "array", "items": tensor, "minItems": 1},
        "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
    }
    return {"type": "object", "properties": properties, "required": ["inputs"]}


_RESPONSE: Schema = {
    "type": "object",
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string", "description": "Left out where several versions answered."},
        "id": {"type": "string"},
        "parameters": {
            "type": "object",
            "description": "request_id, and who answered: role and fallback, or for each row roles, model_versions "
            "and fallbacks with commas between.",
        },
        "outputs": {"type": "array", "items": {"type": "object", "required": ["name", "shape", "datatype"]}},
    },
    "required": ["model_name", "id", "outputs"],
}


def _invocations(row: Schema) -> Schema:
    """One of the four forms, each by itself."""
    table = {"type": "array", "items": {"type": "array"}}
    split = {"type": "object", "properties": {"columns": {"type": "array"}, "index": {"type": "array"}, "data": table}}
    records = {"type": "array", "items": row, "minItems": 1}
    columns = {"type": "object", "additionalProperties": {"type": "array"}}
    either = {"anyOf": [records, table, columns]}
    forms = {"dataframe_split": split, "dataframe_records": records, "instances": either, "inputs": either}
    return {
        "oneOf": [
            {"type": "object", "properties": {name: form, "params": {"type": "object"}}, "required": [name]}
            for name, form in forms.items()
        ]
    }


def _csv(example: Row) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(example)
    writer.writerow(example.values())
    return text.getvalue()
