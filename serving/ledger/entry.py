"""An entry of the prediction log: one answer, with the rows as they were served."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from configs.case import ColumnType
from serving.ledger.header import LoggedCase
from serving.records import Part, Role, Rows, Value

_MANY_ROWS = 32
"""From here on it is worth keeping what was encoded for the next entry about the same rows."""


@dataclass(slots=True)
class Entry:
    """What was written down about one answer."""

    case: str
    contract: int
    request_id: str
    received: float
    """Seconds since 1970, as is `answered`."""
    answered: float
    rows: Rows
    parts: list[Part]
    trace: str | None


def encode_entry(  # noqa: PLR0913, PLR0917 - a record in between would cost every answer as much again
    case: str,
    contract: int,
    request_id: str,
    received: float,
    answered: float,
    rows: Rows,
    parts: Sequence[Part],
    trace: str | None,
) -> bytes:
    """The payload that says it all; floats come back bit for bit, times without offset as ISO 8601."""
    said: tuple[Any, ...] = (rows.entities, rows.event_times, rows.columns)
    entities, event_times, columns = said if rows.count < _MANY_ROWS else _encoded(rows)
    return _dumps(
        {
            "id": request_id,
            "case": case,
            "received": received,
            "answered": answered,
            "contract": contract,
            "n": rows.count,
            "entities": entities,
            "event_times": event_times,
            "columns": columns,
            "parts": [
                {
                    "rows": part.rows,
                    "version": part.version,
                    "role": part.role,
                    "scores": part.scores,
                    "classes": part.classes,
                    "fallback": part.fallback,
                    "timed": part.timed,
                }
                for part in parts
            ],
            "trace": trace,
        }
    )


def _encoded(rows: Rows) -> tuple[orjson.Fragment, ...]:
    if rows.encoded is None:
        rows.encoded = tuple(orjson.Fragment(_dumps(one)) for one in (rows.entities, rows.event_times, rows.columns))
    return rows.encoded


def _dumps(said: Any) -> bytes:
    return orjson.dumps(said, default=_as_list, option=orjson.OPT_SERIALIZE_NUMPY)


def _as_list(scores: Any) -> list[Any]:
    """A numpy array that orjson does not take as it is, such as a slice across rows."""
    return list(scores.tolist())


def decode_entry(payload: bytes, cases: Mapping[str, LoggedCase]) -> Entry:
    """The entry in `payload`, of one of the `cases` its segment's header names. Raises ValueError or KeyError."""
    content = orjson.loads(payload)
    types = cases[content["case"]].features.values()
    return Entry(
        case=content["case"],
        contract=content["contract"],
        request_id=content["id"],
        received=content["received"],
        answered=content["answered"],
        rows=Rows(
            count=content["n"],
            columns=[_values(column, type_) for column, type_ in zip(content["columns"], types, strict=True)],
            entities=content["entities"],
            event_times=content["event_times"],
        ),
        parts=[_part(part) for part in content["parts"]],
        trace=content["trace"],
    )


def _values(column: list[Any], type_: ColumnType) -> list[Value]:
    if type_ is not ColumnType.timestamp:
        return column
    return [None if value is None else datetime.fromisoformat(value) for value in column]


def _part(part: dict[str, Any]) -> Part:
    timed = part.get("timed")  # entries that were written before it was kept have none
    return Part(
        rows=part["rows"],
        version=part["version"],
        role=Role(part["role"]),
        scores=part["scores"],
        classes=tuple(part["classes"]),
        fallback=part["fallback"],
        timed=(timed[0], timed[1]) if timed else None,
    )
