"""Rows from a SQL query, asked for between two moments."""

import os
from datetime import datetime

import pandas as pd
import sqlalchemy

from configs.errors import ConfigError
from configs.sources import SqlSource
from tasks.errors import SourceUnreadable


def ask(source: SqlSource, start: datetime, end: datetime) -> pd.DataFrame:
    """What the query gives between the bounds. Raises SourceUnreadable, ConfigError."""
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
