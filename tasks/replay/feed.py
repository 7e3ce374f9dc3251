"""What a source system shows at a moment, and what clients ask in a span of time; pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from configs.case import Case, ColumnType, Role
from tasks.ingestion.batches import period_id, period_start
from tasks.replay.plant import KNOWN_AT

MOST_ROWS = 500
"""Of one request."""


@dataclass(frozen=True)
class Request:
    """Rows that are asked at once: they happened in one hour."""

    request_id: str
    rows: list[dict[str, Any]]


def requests(case: Case, history: pd.DataFrame, start: datetime, end: datetime) -> Iterator[Request]:
    """The rows that happened in `[start, end)` as clients send them, hour by hour; the same at every replay."""
    when = case.contract.event_time
    names = [case.contract.entity, when, *case.contract.features]
    asked = history.loc[(history[when] >= start) & (history[when] < end), names]
    columns = [_as_json(asked[name], case.contract.columns[name].type) for name in names]
    rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    for hour, places in asked.groupby(asked[when].dt.floor("h"), sort=True).indices.items():
        of_it = [rows[place] for place in places]
        for part in range(0, len(of_it), MOST_ROWS):
            yield Request(f"{hour:%Y%m%dT%H}-{part // MOST_ROWS}", of_it[part : part + MOST_ROWS])


def _as_json(values: pd.Series, kind: ColumnType) -> list[Any]:
    if kind is ColumnType.timestamp:
        return [None if moment is pd.NaT else moment.isoformat() for moment in values]
    if kind is ColumnType.integer:
        return values.astype("Int64").astype("object").where(values.notna(), None).tolist()
    return values.astype("object").where(values.notna(), None).tolist()


def periods(case: Case, history: pd.DataFrame) -> pd.Series:
    """The id of the delivery that each row belongs to."""
    days = history[case.contract.event_time].dt.floor("D")
    every = case.batch_every
    named = {day: period_id(every, period_start(every, day.to_pydatetime())) for day in days.unique()}
    found: pd.Series = days.map(named)
    return found


def as_known(case: Case, rows: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    """What the source shows of these rows at a moment: nothing of what is to come, no outcome that is not known yet."""
    there = rows[rows[case.contract.event_time] < moment]
    known = there[KNOWN_AT] <= moment
    later = case.contract.names(Role.target, Role.hindsight)
    hidden = {name: _hidden(there[name], known) for name in later if name in there}
    return there.assign(**hidden)


def _hidden(values: pd.Series, known: "pd.Series[bool]") -> pd.Series:
    """Without what is not known; the type only changes where something is missing for the first time."""
    if known.all():
        return values
    match values.dtype.kind:
        case "i" | "u":
            return values.astype("Int64").where(known)
        case "b":
            return values.astype("object").where(known, None)
    return values.where(known)
