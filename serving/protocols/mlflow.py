"""MLflow's scoring protocol (`/invocations`), as `mlflow models serve` takes and answers it; SageMaker's too.

JSON holds one of `dataframe_split`, `dataframe_records`, `instances` and `inputs`; `params` may stand beside it and
change nothing. NaN is a missing value, as Python's own JSON writer sends it, and so is pandas' NaT. CSV has a header
row, and an empty field is a missing value.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version as installed
from typing import Any

import orjson

from configs.case import Case, ColumnType, Problem
from serving.column import listed, shown
from serving.errors import BadRequest, Refused, WrongType
from serving.protocols.answers import by_row, prediction
from serving.protocols.body import JSON, media_type, must_be_plain, no_key_twice, parsed_with_nan
from serving.protocols.csv_rows import read_csv
from serving.protocols.rows import must_be_few, must_be_objects
from serving.records import Asked, Outcome, Reply

CSV = "text/csv"
Read = tuple[Asked, int]
"""What is asked, and how many keys the form held."""
_SPLIT = {"columns", "data", "index"}
_NAT = "NaT"
_ERROR_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    408: "DEADLINE_EXCEEDED",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
}


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
    media = JSON if content_type == JSON else media_type(content_type)
    if media == CSV:
        return read_csv(body, case, max_rows)
    if media not in (JSON, ""):
        raise WrongType(f"The content type is {content_type[:60]!r}, expected {JSON} or {CSV} (Parquet is not taken).")
    asked = _from_json(body, case, max_rows)
    if b'"NaT"' in body:
        _drop_nat(asked, case)
    return asked


def encode(asked: Asked, outcome: Outcome, case: Case) -> Reply:  # noqa: ARG001 - the same for each protocol
    """The answer in words: what the pipeline's own predict would give. Who gave it is said in headers."""
    said = [prediction(case.problem, score, part.classes) for part, score in by_row(outcome)]
    if case.problem is Problem.binary:  # labels of training are 1.0 and 0.0
        said = [float(label) for label in said]
    return Reply(200, orjson.dumps({"predictions": said}), headers=_headers(outcome))


def encode_error(error: Refused) -> Reply:
    """The refusal in words. MLflow knows no 422: a row that breaks the contract is a bad request."""
    status = 400 if isinstance(error, BadRequest) else error.status
    said = {"error_code": _ERROR_CODES.get(status, "BAD_REQUEST"), "message": str(error)}
    return Reply(status, orjson.dumps(said))


def ping() -> Reply:
    """`GET /ping` and `/health`."""
    return Reply(200, b"\n")


@cache
def version() -> Reply:
    """`GET /version`: of the MLflow whose protocol this is."""
    return Reply(200, installed("mlflow").encode())


def _from_json(body: bytes, case: Case, max_rows: int) -> Asked:
    document = parsed_with_nan(body)
    if type(document) is not dict:
        raise BadRequest(f"The body is {shown(document)}, expected an object with one of {', '.join(_FORMS)}.")
    forms = [name for name in _FORMS if name in document]
    if len(forms) != 1:
        found = " and ".join(forms) or ", ".join(map(shown, list(document)[:5])) or "nothing"
        raise BadRequest(f"The body has {found}, expected exactly one of {', '.join(_FORMS)}.")
    params = document.get("params")
    if params is not None and type(params) is not dict:
        raise BadRequest(f"`params` is {shown(params)}, expected an object.")
    asked, pairs = _FORMS[forms[0]](document[forms[0]], case, max_rows)
    no_key_twice(body, len(document) + len(params or ()) + pairs)
    return asked


def _split(found: Any, case: Case, max_rows: int) -> Read:
    if type(found) is not dict or type(found.get("data")) is not list or not found.keys() <= _SPLIT:
        raise BadRequest("`dataframe_split` is not an object with `columns`, `data` and, if wanted, `index`.")
    names, index = found.get("columns", list(case.contract.features)), found.get("index")
    if type(names) is not list or not all(type(name) is str for name in names) or len(set(names)) != len(names):
        raise BadRequest("`columns` of `dataframe_split` is not a list of names, each of them once.")
    if index is not None and (type(index) is not list or len(index) != len(found["data"])):
        raise BadRequest("`index` of `dataframe_split` is not a list with one entry for each row of `data`.")
    return _table(names, found["data"], max_rows), len(found)


def _records(found: Any, _case: Case, max_rows: int) -> Read:
    if type(found) is not list:
        raise BadRequest(f"`dataframe_records` is {shown(found)}, expected a list of objects.")
    must_be_objects(found, max_rows)
    return Asked(records=found, count=len(found)), sum(map(len, found))


def _rows(found: Any, case: Case, max_rows: int) -> Read:
    if type(found) is list:
        if found and type(found[0]) is list:
            return _table(case.contract.features, found, max_rows), 0
        return _records(found, case, max_rows)
    if type(found) is not dict:
        raise BadRequest(f"The rows are {shown(found)}, expected a list of rows, or an object of columns.")
    lists = [type(values) is list for values in found.values()]
    if not any(lists):
        return Asked(records=[found], count=1), len(found)
    if not all(lists):
        raise BadRequest("Of the columns some are lists and some are not, expected one or the other.")
    must_be_few(max(map(len, found.values())), max_rows)
    return Asked(columns=found, count=len(next(iter(found.values())))), len(found)


def _table(names: Sequence[str], data: list[Any], max_rows: int) -> Asked:
    must_be_few(len(data), max_rows)
    for nth, row in enumerate(data):
        if type(row) is not list or len(row) != len(names):
            size = f"{len(row)} values" if type(row) is list else shown(row)
            raise BadRequest(f"Row {nth} is {size}, expected a list of {len(names)}: {listed(names)}.")
    return Asked(columns=dict(zip(names, zip(*data, strict=True), strict=True)) if data else {}, count=len(data))


_FORMS: dict[str, Callable[[Any, Case, int], Read]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _rows,
    "inputs": _rows,
}


def _drop_nat(asked: Asked, case: Case) -> None:
    """A time that pandas had none for is missing."""
    for name, column in case.contract.columns.items():
        if column.type is ColumnType.timestamp:
            for record in asked.records or ():
                if record.get(name) == _NAT:
                    record[name] = None
            if asked.columns and name in asked.columns:
                asked.columns[name] = [None if value == _NAT else value for value in asked.columns[name]]


def _headers(outcome: Outcome) -> tuple[tuple[bytes, bytes], ...]:
    parts = outcome.answer.parts
    said: dict[bytes, list[str | None]] = {
        b"x-request-id": [outcome.answer.request_id],
        b"x-model-version": [part.version for part in parts],
        b"x-role": [part.role.value for part in parts],
        b"x-fallback": [part.fallback for part in parts],
    }
    return tuple((name, ",".join(filter(None, found)).encode()) for name, found in said.items() if any(found))
