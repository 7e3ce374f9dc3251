"""The Open Inference Protocol, version 2, over REST, with its binary tensors: for tritonclient, kserve and the like.

Each column of the contract is an input of shape [rows] or [rows, 1]. Answers are the outputs `prediction` and
`probability` (binary) or `probabilities` (multiclass).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from configs.case import Case, Column, ColumnType, Problem
from serving.column import shown
from serving.errors import BadRequest, Refused, WrongType
from serving.protocols.answers import by_row, prediction
from serving.protocols.body import JSON, media_type, must_be_plain, no_key_twice, parsed_with_nan
from serving.protocols.tensors import BYTES, Tensors, to_bytes
from serving.records import Asked, Outcome, Reply

OCTETS = "application/octet-stream"
_LENGTH = b"inference-header-content-length"
_PREDICTION = {Problem.binary: "INT64", Problem.regression: "FP64", Problem.multiclass: BYTES}
_OUTPUTS = {
    Problem.binary: ("prediction", "probability"),
    Problem.regression: ("prediction",),
    Problem.multiclass: ("prediction", "probabilities"),
}
_INPUTS = {
    ColumnType.string: BYTES,
    ColumnType.integer: "INT64",
    ColumnType.number: "FP64",
    ColumnType.boolean: "BOOL",
    ColumnType.timestamp: BYTES,
}
_NOT_GIVEN = ("classification", "shared_memory_region")
_TRUTH: dict[Any, bool] = {0: False, 1: True}

Wanted = list[tuple[str, bool]]
"""Names of outputs, and whether each is wanted as raw bytes."""


def decode(  # noqa: PLR0913 - the same for each protocol
    body: bytes,
    content_type: str,
    headers: Mapping[bytes, bytes],
    case: Case,
    *,
    max_rows: int,
    query: bytes = b"",  # noqa: ARG001 - as above
) -> Asked:
    """What the client asks for. Raises Refused."""
    must_be_plain(headers)
    if content_type != JSON and media_type(content_type) not in (JSON, OCTETS, ""):
        raise WrongType(f"The content type is {content_type[:60]!r}, expected {JSON} or {OCTETS}.")
    size = _json_size(body, headers)
    text = body if size == len(body) else body[:size]
    document = parsed_with_nan(text)
    if type(document) is not dict:
        raise BadRequest(f"The request is {shown(document)}, expected an object with `inputs`.")
    tensors = Tensors(body, size, max_rows)
    tensors.read(document.get("inputs"))
    parameters = _object(document, "parameters")
    wanted = _wanted(document.get("outputs"), _OUTPUTS[case.problem], binary=_flag(parameters, "binary_data_output"))
    no_key_twice(text, _keys(document))
    _truths(tensors, case)
    if parameters:
        _marks(tensors, parameters, case)
    own_id = _id(document)
    return Asked(columns=tensors.columns, count=tensors.rows, request_id=own_id, form={"wanted": wanted, "id": own_id})


def encode(asked: Asked, outcome: Outcome, case: Case) -> Reply:
    """The answer as tensors, in JSON or raw as they were asked for."""
    raw: list[bytes] = []
    outputs = [_output(name, outcome, case.problem, raw if binary else None) for name, binary in asked.form["wanted"]]
    versions = {part.version for part in outcome.answer.parts}
    said: dict[str, Any] = {"model_name": case.name}
    if len(versions) == 1 and None not in versions:
        said["model_version"] = versions.pop()
    said["id"] = asked.form["id"] or outcome.answer.request_id
    said["parameters"] = _said_of_parts(outcome)
    said["outputs"] = outputs
    text = orjson.dumps(said)
    if not raw:
        return Reply(200, text)
    length = (b"inference-header-content-length", str(len(text)).encode())
    return Reply(200, b"".join([text, *raw]), OCTETS.encode(), (length,))


def encode_error(error: Refused) -> Reply:
    """The refusal in words."""
    return Reply(error.status, orjson.dumps({"error": str(error)}))


def server_metadata(version: str) -> Reply:
    """`GET /v2`."""
    said = {"name": "evergreen", "version": version, "extensions": ["binary_tensor_data"]}
    return Reply(200, orjson.dumps(said))


def model_metadata(case: Case, versions: Sequence[str]) -> Reply:
    """`GET /v2/models/{model}`: which tensors it takes and gives."""
    said = {
        "name": case.name,
        "versions": list(versions),
        "platform": "evergreen-scikit-learn",
        "inputs": _metadata_of_inputs(case),
        "outputs": _metadata_of_outputs(case.problem),
    }
    return Reply(200, orjson.dumps(said))


def input_datatypes(case: Case) -> dict[str, str]:
    """The inputs of a case: its features, then who and when a prediction is about."""
    columns = case.contract.columns
    features = {name: _INPUTS[columns[name].type] for name in case.contract.features}
    return {**features, case.contract.entity: BYTES, case.contract.event_time: BYTES}


def _json_size(body: bytes, headers: Mapping[bytes, bytes]) -> int:
    found = headers.get(_LENGTH)
    if found is None:
        return len(body)
    size = int(found) if found.isdigit() and len(found) < 12 else len(body) + 1
    if size > len(body):
        raise BadRequest(
            f"The header Inference-Header-Content-Length is {shown(found.decode('latin-1'))}, expected the size of the "
            f"JSON part, at most the {len(body)} bytes of the body."
        )
    return size


def _object(document: dict[str, Any], key: str) -> dict[str, Any]:
    found = document.get(key)
    if found is not None and type(found) is not dict:
        raise BadRequest(f"`{key}` is {shown(found)}, expected an object.")
    return found or {}


def _flag(parameters: dict[str, Any], name: str) -> bool:
    found = parameters.get(name, False)
    if type(found) is not bool:
        raise BadRequest(f"`{name}` is {shown(found)}, expected true or false.")
    return found


def _id(document: dict[str, Any]) -> str | None:
    found = document.get("id")
    if found is not None and type(found) is not str:
        raise BadRequest(f"`id` is {shown(found)}, expected text.")
    return found


def _wanted(outputs: Any, known: Sequence[str], *, binary: bool) -> Wanted:
    if outputs is None or outputs == []:
        return [(name, binary) for name in known]
    if type(outputs) is not list:
        raise BadRequest(f"`outputs` is {shown(outputs)}, expected a list of objects with a name.")
    wanted: dict[str, bool] = {}
    for output in outputs:
        name = output.get("name") if type(output) is dict else output
        if type(output) is not dict or type(name) is not str or name not in known or name in wanted:
            raise BadRequest(
                f"Output {shown(name)} cannot be given, expected {' and '.join(known)}, each once at most."
            )
        parameters = _object(output, "parameters")
        if not parameters.keys().isdisjoint(_NOT_GIVEN):
            raise BadRequest(f"Output `{name}` asks for what is not given here: {' or '.join(_NOT_GIVEN)}.")
        wanted[name] = _flag(parameters, "binary_data") if "binary_data" in parameters else binary
    return list(wanted.items())


def _keys(document: dict[str, Any]) -> int:
    """How many keys a request has whose parts have been found to be what they should be."""
    tensors = [*document["inputs"], *(document.get("outputs") or ())]
    inside = sum([len(tensor) + len(tensor.get("parameters") or ()) for tensor in tensors])
    return len(document) + len(document.get("parameters") or ()) + inside


def _truths(tensors: Tensors, case: Case) -> None:
    """Turn 1 and 0 of a numeric tensor into true and false where the contract has them."""
    promised = case.contract.columns
    for name, datatype in tensors.datatypes.items():
        if datatype == BYTES or name not in promised or promised[name].type is not ColumnType.boolean:
            continue
        values = tensors.columns[name]
        if type(values) is list:
            tensors.columns[name] = [_TRUTH.get(value, value) for value in values]


def _marks(tensors: Tensors, parameters: dict[str, Any], case: Case) -> None:
    """Take entity and event time from the request's parameters, where no tensor gives them."""
    for name in (case.contract.entity, case.contract.event_time):
        if name in parameters and name not in tensors.columns:
            tensors.columns[name] = [parameters[name]] * tensors.rows


def _output(name: str, outcome: Outcome, problem: Problem, raw: list[bytes] | None) -> dict[str, Any]:
    datatype, shape, data = _tensor(name, outcome, problem)
    said: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
    if name == "probabilities":
        said["parameters"] = {"classes": orjson.dumps(outcome.answer.parts[0].classes).decode()}
    if raw is None:
        said["data"] = data
        return said
    raw.append(to_bytes(data, datatype))
    said.setdefault("parameters", {})["binary_data_size"] = len(raw[-1])
    return said


def _tensor(name: str, outcome: Outcome, problem: Problem) -> tuple[str, list[int], list[Any]]:
    """Datatype, shape and values, in the order of the rows."""
    rows = by_row(outcome)
    if name == "probability":
        return "FP64", [len(rows)], [score for _, score in rows]
    if name == "probabilities":
        return "FP64", [len(rows), len(rows[0][0].classes)], [value for _, score in rows for value in score]
    said = [prediction(problem, score, part.classes) for part, score in rows]
    return _PREDICTION[problem], [len(rows)], list(map(str, said)) if problem is Problem.multiclass else said


def _said_of_parts(outcome: Outcome) -> dict[str, Any]:
    """Who answered: once if it was one model for all rows, else for each row, with commas between."""
    said: dict[str, Any] = {"request_id": outcome.answer.request_id}
    parts = outcome.answer.parts
    if len(parts) == 1:
        said["role"] = parts[0].role
        if parts[0].fallback is not None:
            said["fallback"] = parts[0].fallback
        return said
    each = [part for part, _ in by_row(outcome)]
    said["roles"] = ",".join(part.role for part in each)
    said["model_versions"] = ",".join(part.version or "" for part in each)
    if any(part.fallback for part in parts):
        said["fallbacks"] = ",".join(part.fallback or "" for part in each)
    return said


def _metadata_of_inputs(case: Case) -> list[dict[str, Any]]:
    columns, features = case.contract.columns, case.contract.features
    return [
        _described(name, columns[name], datatype, optional=name not in features or columns[name].may_be_missing > 0)
        for name, datatype in input_datatypes(case).items()
    ]


def _described(name: str, column: Column, datatype: str, *, optional: bool) -> dict[str, Any]:
    parameters: dict[str, Any] = {"optional": optional}
    if column.unit is not None:
        parameters["unit"] = column.unit
    return {"name": name, "datatype": datatype, "shape": [-1], "parameters": parameters}


def _metadata_of_outputs(problem: Problem) -> list[dict[str, Any]]:
    first = {"name": "prediction", "datatype": _PREDICTION[problem], "shape": [-1]}
    shapes = {"probability": [-1], "probabilities": [-1, -1]}
    return [first, *({"name": name, "datatype": "FP64", "shape": shapes[name]} for name in _OUTPUTS[problem][1:])]
