"""The database of a place's `stores.history`, for what is kept in rows beside the history itself."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from configs.project import Project
from tasks.adapters.addresses import absolute
from tasks.adapters.locks import exclusive
from tasks.errors import StoreUnreachable

_TRIES = 20
_BUSY_SECONDS = 60
_MAKING = 7_315_002_884
"""The number of the lock under which tables are made: of no meaning, but always the same."""


class Moment(sql.types.TypeDecorator[datetime]):
    """A moment in UTC; SQLite, which has no time zones, keeps it as it reads there."""

    impl = sql.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sql.Dialect) -> datetime | None:  # noqa: ARG002 - what SQLAlchemy passes
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: sql.Dialect) -> datetime | None:  # noqa: ARG002 - what SQLAlchemy passes
        return value if value is None or value.tzinfo else value.replace(tzinfo=UTC)


class Database:
    """Tables of one room in the place's database, made when they are not there."""

    def __init__(self, project: Project, tables: sql.MetaData, what: str) -> None:
        url = absolute(project, project.place.stores.history)
        self._what = what
        self._where = without_password(url)
        patience = {"timeout": _BUSY_SECONDS} if url.startswith("sqlite") else {}
        with self._reached():
            # Opened for one step: pooled connections would stay open until they are collected.
            self._engine = sql.create_engine(url, poolclass=sql.NullPool, connect_args=patience)
            make_tables(self._engine, tables, project)

    @contextmanager
    def change(self) -> Iterator[sql.Connection]:
        """A transaction: all of it is written, or nothing. Raises StoreUnreachable."""
        with self._reached(), self._engine.begin() as connection:
            yield connection

    def read(self, query: sql.Select[Any]) -> list[sql.Row[Any]]:
        """The rows of a query. Raises StoreUnreachable."""
        with self._reached(), self._engine.connect() as connection:
            return list(connection.execute(query))

    def put(self, rows: Mapping[sql.Table, Sequence[dict[str, Any]]]) -> None:
        """Write rows in one transaction; a row takes the place of the one with its key. Raises StoreUnreachable."""
        with self._reached():
            for attempt in range(_TRIES):
                try:
                    with self._engine.begin() as connection:
                        for table, content in rows.items():
                            _replace(connection, table, content)
                except IntegrityError:
                    if attempt == _TRIES - 1:  # another writer had the same key at the same moment, again and again
                        raise
                else:
                    return

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, ImportError) as error:
            raise StoreUnreachable(
                self._what,
                self._where,
                str(getattr(error, "orig", None) or error).splitlines()[0],
                "Nothing was changed. Check `stores.history` of this place, and run the same again.",
            ) from error


def _replace(connection: sql.Connection, table: sql.Table, rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    keys = list(table.primary_key.columns)
    same = sql.and_(*(column == sql.bindparam(f"key_{column.name}") for column in keys))
    connection.execute(
        table.delete().where(same), [{f"key_{column.name}": row[column.name] for column in keys} for row in rows]
    )
    connection.execute(table.insert(), list(rows))


def make_tables(engine: sql.Engine, tables: sql.MetaData, project: Project) -> None:
    """Make the tables that are not there; of those who come to an empty database at once, one after the other."""
    with exclusive(project.stores / "history.lock"), engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # among hosts, no lock on a file would do
            connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_MAKING)))
        tables.create_all(connection)


def without_password(url: str) -> str:
    """The address of a database as it may be shown."""
    try:
        return sql.make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "an address that is no database URL"
