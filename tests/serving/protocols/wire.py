"""Requests of the Open Inference Protocol as clients put them on the wire, and answers read back from it."""

import json
import struct
from typing import Any

import numpy as np
import orjson

from configs.case import Case
from serving.records import Reply
from tests.serving.protocols.samples import Row

Headers = dict[bytes, bytes]
DTYPES = {"INT64": "<i8", "FP64": "<f8", "BOOL": "?", "FP32": "<f4", "FP16": "<f2", "INT8": "<i1", "UINT64": "<u8"}
_DATATYPES = {"string": "BYTES", "integer": "INT64", "number": "FP64", "boolean": "BOOL", "timestamp": "BYTES"}


def datatype_of(case: Case, name: str) -> str:
    """The tensor that carries a column."""
    marks = (case.contract.entity, case.contract.event_time)
    return "BYTES" if name in marks else _DATATYPES[case.contract.columns[name].type]


def raw(values: list[Any], datatype: str) -> bytes:
    """A tensor's bytes; what is missing is NaN, or empty text."""
    if datatype == "BYTES":
        texts = [b"" if value is None else str(value).encode() for value in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.array([np.nan if value is None else value for value in values], DTYPES[datatype]).tobytes()


def in_binary(tensors: list[tuple[str, str, list[Any]]], **document: Any) -> tuple[bytes, Headers]:
    """Body and headers of tensors (name, datatype, values) as tritonclient sends them unless told otherwise."""
    parts = [raw(values, datatype) for _, datatype, values in tensors]
    inputs = [
        {"name": name, "shape": [len(values)], "datatype": datatype, "parameters": {"binary_data_size": len(part)}}
        for (name, datatype, values), part in zip(tensors, parts, strict=True)
    ]
    text = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}, **document}, separators=(",", ":"))
    return text.encode() + b"".join(parts), {b"inference-header-content-length": str(len(text)).encode()}


def in_json(tensors: list[tuple[str, str, list[Any]]], **document: Any) -> tuple[bytes, Headers]:
    """The same tensors in JSON."""
    inputs = [
        {"name": name, "shape": [len(values)], "datatype": datatype, "data": values}
        for name, datatype, values in tensors
    ]
    return orjson.dumps({"inputs": inputs, **document}), {}


def tensors_of(case: Case, rows: list[Row]) -> list[tuple[str, str, list[Any]]]:
    """A tensor for each column of the rows; whole numbers that may be missing travel as floats, as NaN is one."""
    found = []
    for name in dict.fromkeys(name for row in rows for name in row):
        values, datatype = [row.get(name) for row in rows], datatype_of(case, name)
        found.append((name, "FP64" if datatype != "BYTES" and None in values else datatype, values))
    return found


def outputs_of(reply: Reply) -> dict[str, list[Any]]:
    """The values of each output, from JSON or from raw bytes."""
    size = int(dict(reply.headers).get(b"inference-header-content-length", len(reply.body)))
    offset, found = size, {}
    for output in orjson.loads(reply.body[:size])["outputs"]:
        length = output.get("parameters", {}).get("binary_data_size")
        found[output["name"]] = (
            output["data"] if length is None else _read(output, reply.body[offset : offset + length])
        )
        offset += length or 0
    assert offset == len(reply.body)
    return found


def _read(output: dict[str, Any], part: bytes) -> list[Any]:
    if output["datatype"] != "BYTES":
        return list(np.frombuffer(part, DTYPES[output["datatype"]]).tolist())
    texts = []
    while part:
        (length,) = struct.unpack_from("<I", part)
        texts.append(part[4 : 4 + length].decode())
        part = part[4 + length :]
    return texts
