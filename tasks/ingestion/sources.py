"""Where rows come from: recorded history, files at any fsspec URL, or a SQL query."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any, assert_never

import fsspec
import pandas as pd
import sqlalchemy

from configs.case import Case, ColumnType
from configs.errors import ConfigError, EvergreenError
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
    match source:
        case RecordedSource(name=name):
            return recorded(name)
        case FileSource():
            return _from_files(source, texts)
        case SqlSource():
            return _from_sql(source, start, end)
        case never:
            assert_never(never)


def _from_files(source: FileSource, texts: tuple[str, ...]) -> pd.DataFrame:
    # A CSV has no types: without being told, pandas would make the number 7 of the text 007.
    as_csv = partial(pd.read_csv, dtype=dict.fromkeys(texts, "str"))
    read = pd.read_parquet if source.format == "parquet" else as_csv
    try:
        found = _paths(source)
        frames = []
        for file in fsspec.open_files(found, mode="rb"):
            with file as content:
                frames.append(_named(read, content, file.path))
        return pd.concat(frames, ignore_index=True)
    except EvergreenError:
        raise
    except Exception as error:
        # Each kind of store has its own errors; botocore's are not even OSErrors.
        raise SourceUnreadable(source.url, str(error), "Check the address and the credentials.") from error


def _texts(case: Case) -> tuple[str, ...]:
    return tuple(name for name, column in case.contract.columns.items() if column.type is ColumnType.string)


def _paths(source: FileSource) -> list[str]:
    filesystem, path = fsspec.url_to_fs(source.url)
    found = sorted(filesystem.glob(f"{path}/**/*.{source.format}")) if filesystem.isdir(path) else filesystem.glob(path)
    if not found:
        raise SourceUnreadable(source.url, f"there is no {source.format} file", "Check the address, or export first.")
    return [filesystem.unstrip_protocol(name) for name in sorted(found)]


def _named(read: Callable[..., Any], content: IO[bytes], path: str) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = read(content)
    except (ValueError, OSError) as error:
        # pandas' and pyarrow's parse errors are ValueErrors that do not say which file they are about.
        raise SourceUnreadable(path, f"it is damaged or of another format ({error})", "Export it again.") from error
    return frame


def _from_sql(source: SqlSource, start: datetime, end: datetime) -> pd.DataFrame:
    address = os.environ.get(source.url_from)
    if not address:
        raise ConfigError(
            f"The source's database URL is taken from the environment variable {source.url_from}: not set."
        )
    url = _url(source.url_from, address)
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        query = sqlalchemy.text(source.query)
        wanted = {"start": _bound(url, start), "end": _bound(url, end)}
        bound = {name: wanted[name] for name in query.compile().params if name in wanted}
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                # Columns without a time zone are compared in the session's, which a server sets as it likes.
                connection.execute(sqlalchemy.text("SET TIME ZONE 'UTC'"))
            return pd.read_sql(query, connection, params=bound)
    except (sqlalchemy.exc.SQLAlchemyError, pd.errors.DatabaseError, ImportError) as error:
        # pandas wraps what SQLAlchemy raises, and words it with the parameters.
        raised = error.__cause__ if isinstance(error, pd.errors.DatabaseError) else error
        cause = str(getattr(raised, "orig", None) or raised).splitlines()[0].rstrip(".")
        raise SourceUnreadable(
            url.render_as_string(hide_password=True),
            cause,
            f"Check {source.url_from} and the query in the case's YAML.",
        ) from error


def _url(variable: str, address: str) -> sqlalchemy.URL:
    try:
        return sqlalchemy.make_url(address)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        # The parser's own words can hold a part of the password.
        raise ConfigError(
            f"The environment variable {variable} holds no database URL; "
            "expected one such as postgresql+psycopg://user:password@host/database."
        ) from None


def _bound(url: sqlalchemy.URL, moment: datetime) -> datetime | str:
    # SQLite compares times as text; without an offset the bound sorts before every other way to write that moment.
    return f"{moment:%Y-%m-%d %H:%M:%S}" if url.get_backend_name() == "sqlite" else moment


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
