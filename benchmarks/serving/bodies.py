"""Files of prebuilt HTTP requests: real rows, each another, in each protocol's words."""

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from configs.case import ColumnType, Contract, Role
from configs.project import Project

Row = dict[str, Any]
Words = Callable[[Contract, Sequence[Row]], tuple[dict[str, str], bytes]]
"""Headers beyond the usual, and the body."""

_V2_TYPES = {ColumnType.integer: "INT64", ColumnType.number: "FP64", ColumnType.boolean: "BOOL"}
"""The rest travels as text."""


def real_rows(project: Project, case: str, count: int = 5000, *, seed: int = 7) -> list[Row]:
    """Rows of the newest deliveries as a client would send them: entity, event time and features.

    Only rows whose texts are all known: the binary form of the Open Inference Protocol has no missing text.
    """
    contract = project.case(case).contract
    names = contract.names(Role.entity, Role.event_time, Role.feature)
    texts = [name for name in contract.features if contract.columns[name].type is ColumnType.string]
    files = sorted(project.files(case).deliveries.glob("*.parquet"))[-3:]
    frame = pd.concat([pd.read_parquet(file) for file in files])[list(names)].dropna(subset=texts)
    chosen = frame.drop_duplicates(contract.entity).sample(count, random_state=seed)
    return [{str(name): _plain(value) for name, value in row.items()} for row in chosen.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return None if pd.isna(value) else getattr(value, "item", lambda: value)()


def features_only(contract: Contract, rows: Sequence[Row]) -> list[Row]:
    """The rows without entity and event time."""
    return [{name: row[name] for name in contract.features} for row in rows]


def write_requests(path: Path, requests: Iterator[bytes] | Sequence[bytes]) -> Path:
    """Each request behind its length, as load.c reads them."""
    with path.open("wb") as file:
        for request in requests:
            file.write(struct.pack("<I", len(request)) + request)
    return path


def build_requests(url_path: str, words: Words, contract: Contract, rows: Sequence[Row], each: int = 1) -> list[bytes]:
    """Requests that between them ask for all `rows`, `each` at a time."""
    chunks = [rows[start : start + each] for start in range(0, len(rows) - each + 1, each)]
    return [post(url_path, *words(contract, chunk)) for chunk in chunks]


def post(url_path: str, headers: dict[str, str], body: bytes) -> bytes:
    """A whole HTTP request."""
    fields = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines = [f"POST {url_path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def plain(_: Contract, rows: Sequence[Row]) -> tuple[dict[str, str], bytes]:
    """One row as an object, several as a list of them."""
    return {}, _dumps(rows[0] if len(rows) == 1 else list(rows))


def records(_: Contract, rows: Sequence[Row]) -> tuple[dict[str, str], bytes]:
    """MLflow's `dataframe_records`."""
    return {}, _dumps({"dataframe_records": list(rows)})


def split(_: Contract, rows: Sequence[Row]) -> tuple[dict[str, str], bytes]:
    """MLflow's `dataframe_split`."""
    return {}, _dumps({"dataframe_split": {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}})


def v2(contract: Contract, rows: Sequence[Row]) -> tuple[dict[str, str], bytes]:
    """The Open Inference Protocol in JSON: a tensor for each column."""
    inputs = [
        {
            "name": name,
            "shape": [len(rows), 1],
            "datatype": _v2_type(contract, name),
            "data": [row[name] for row in rows],
        }
        for name in rows[0]
    ]
    return {}, _dumps({"inputs": inputs})


def v2_binary(contract: Contract, rows: Sequence[Row]) -> tuple[dict[str, str], bytes]:
    """The Open Inference Protocol with binary tensors, as tritonclient sends it by default; a missing number is NaN."""
    inputs, raw = [], b""
    for name in rows[0]:
        datatype = _v2_type(contract, name)
        tensor = b"".join(_binary(datatype, row[name]) for row in rows)
        size = {"binary_data_size": len(tensor)}
        inputs.append({"name": name, "shape": [len(rows), 1], "datatype": datatype, "parameters": size})
        raw += tensor
    head = _dumps({"inputs": inputs, "parameters": {"binary_data_output": True}})
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return headers, head + raw


FORMS: dict[str, tuple[str, Words]] = {
    "plain": ("/predict/{case}", plain),
    "v2": ("/v2/models/{case}/infer", v2),
    "v2-binary": ("/v2/models/{case}/infer", v2_binary),
    "records": ("/{case}/invocations", records),
    "split": ("/{case}/invocations", split),
}
"""How the gateway is asked, by protocol."""


def _v2_type(contract: Contract, name: str) -> str:
    column = contract.columns[name]
    datatype = _V2_TYPES.get(column.type, "BYTES")
    return "FP64" if datatype == "INT64" and column.may_be_missing else datatype


def _binary(datatype: str, value: Any) -> bytes:
    match datatype:
        case "FP64":
            return struct.pack("<d", float("nan") if value is None else value)
        case "INT64":
            return struct.pack("<q", value)
        case "BOOL":
            return struct.pack("<?", value)
    text = str(value).encode()
    return struct.pack("<I", len(text)) + text


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
