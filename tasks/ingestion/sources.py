"""Where rows come from: recorded history, files at any fsspec URL, or a SQL query."""

from datetime import UTC, datetime
from typing import assert_never

import pandas as pd

from configs.case import Case, ColumnType
from configs.sources import FileSource, RecordedSource, Source, SqlSource
from tasks.errors import SourceUnreadable
from tasks.ingestion.recorded import recorded

BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)
"""Before any event: the start of a first delivery."""


def rows(case: Case, start: datetime, end: datetime) -> pd.DataFrame:
    """The source's rows with an event time in `[start, end)`, or with none, as the source has them.

    Raises SourceUnreadable. Timestamps are parsed and the event time is in UTC; nothing else is changed.
    """
    frame = read_source(case.source, _texts(case), start, end)
    if case.contract.event_time not in frame:
        raise SourceUnreadable(
            f"The source of `{case.name}`",
            f"it has no column `{case.contract.event_time}` (found: {', '.join(map(str, frame.columns))})",
            "Rows cannot be put into batches without their event time; mend the source or the contract.",
        )
    frame = _with_timestamps(case, frame)
    event_time = frame[case.contract.event_time]
    wanted = event_time.isna() | ((event_time >= start) & (event_time < end))
    return frame.loc[wanted].reset_index(drop=True)


def read_source(source: Source, texts: tuple[str, ...], start: datetime, end: datetime) -> pd.DataFrame:
    """All that a source has, or what its query gives between the bounds; the columns `texts` stay text.

    Raises SourceUnreadable, or ConfigError where a query's database is not named.
    """
    # Neither fsspec nor SQLAlchemy is imported for a source that does not need it: each takes a good part of a second.
    match source:
        case RecordedSource(name=name):
            return recorded(name)
        case FileSource():
            from tasks.ingestion.file_source import read_files  # noqa: PLC0415

            return read_files(source, texts)
        case SqlSource():
            from tasks.ingestion.sql_source import ask  # noqa: PLC0415

            return ask(source, start, end)
        case never:
            assert_never(never)


def _texts(case: Case) -> tuple[str, ...]:
    return tuple(name for name, column in case.contract.columns.items() if column.type is ColumnType.string)


def _with_timestamps(case: Case, frame: pd.DataFrame) -> pd.DataFrame:
    parsed = {}
    for name, column in case.contract.columns.items():
        if column.type is ColumnType.timestamp and name in frame:
            parsed[name] = _timestamps(case, name, frame[name])
    return frame.assign(**parsed)


def _timestamps(case: Case, name: str, values: pd.Series) -> pd.Series:
    is_event_time = name == case.contract.event_time
    try:
        parsed = pd.to_datetime(values, utc=is_event_time, format=None if values.dtype.kind == "M" else "ISO8601")
    except (ValueError, TypeError) as error:
        if is_event_time:
            raise SourceUnreadable(
                f"The source of `{case.name}`",
                f"`{name}` holds no time ({str(error).splitlines()[0]})",
                "Write times as 2013-05-27T02:00:00Z.",
            ) from error
        return values  # left as delivered: validation names the column and the rows
    return parsed.astype("datetime64[us, UTC]" if is_event_time else parsed.dt.as_unit("us").dtype)
