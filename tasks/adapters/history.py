"""The door to the history: who was champion from when to when, who decided it and why; appended to, never changed."""

import hashlib
import json

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from configs.errors import EvergreenError
from configs.project import Project
from tasks.adapters.addresses import absolute
from tasks.adapters.database import make_tables, without_password
from tasks.errors import HistoryAltered, StoreUnreachable
from tasks.records import Event

_TABLES = sql.MetaData()
_HISTORY = sql.Table(
    "history",
    _TABLES,
    sql.Column("case", sql.String(64), primary_key=True),
    sql.Column("seq", sql.Integer, primary_key=True),
    sql.Column("body", sql.Text, nullable=False),
    sql.Column("previous", sql.String(64), nullable=False),
    sql.Column("hash", sql.String(64), nullable=False),
)
_BEFORE_THE_FIRST = "0" * 64
_TRIES = 20


class History:
    """The events of a project's cases, each sealed with the hash of the one before."""

    def __init__(self, project: Project) -> None:
        url = absolute(project, project.place.stores.history)
        self._where = without_password(url)
        try:
            # A history lives as long as one decision: pooled connections would stay open until they are collected.
            self._engine = sql.create_engine(url, poolclass=sql.NullPool)
            make_tables(self._engine, _TABLES, project)
        except (SQLAlchemyError, ImportError) as error:
            raise self._unreachable(error) from error

    def append(self, event: Event) -> None:
        """Add an event after the last one of its case; of two writers at once, the second comes after the first."""
        for _ in range(_TRIES):
            try:
                with self._engine.begin() as connection:
                    self._append_after_last(connection, event)
            except IntegrityError:
                continue  # another writer took this place in the chain; look again
            except SQLAlchemyError as error:
                raise self._unreachable(error) from error
            else:
                return
        raise EvergreenError(f"The history of `{event.case}` is written by too many at once; run the same again.")

    def events(self, case: str) -> list[Event]:
        """The events of a case, oldest first."""
        return [Event.model_validate_json(body) for _, body, _, _ in self._rows(case)]

    def verify(self, case: str) -> int:
        """Check the chain of hashes; returns how many entries hold. Raises HistoryAltered."""
        last = _BEFORE_THE_FIRST
        rows = self._rows(case)
        for expected, (seq, body, previous, digest) in enumerate(rows, start=1):
            if seq != expected:
                raise HistoryAltered(case, expected, "is missing")
            if previous != last or digest != _seal(previous, body):
                raise HistoryAltered(case, seq, "does not match its seal")
            last = digest
        return len(rows)

    def _append_after_last(self, connection: sql.Connection, event: Event) -> None:
        newest = connection.execute(
            sql.select(_HISTORY.c.seq, _HISTORY.c.hash)
            .where(_HISTORY.c.case == event.case)
            .order_by(_HISTORY.c.seq.desc())
            .limit(1)
        ).first()
        seq, previous = (newest.seq + 1, newest.hash) if newest else (1, _BEFORE_THE_FIRST)
        body = json.dumps(event.model_dump(mode="json"), sort_keys=True)
        connection.execute(
            _HISTORY.insert().values(case=event.case, seq=seq, body=body, previous=previous, hash=_seal(previous, body))
        )

    def _rows(self, case: str) -> list[tuple[int, str, str, str]]:
        query = (
            sql.select(_HISTORY.c.seq, _HISTORY.c.body, _HISTORY.c.previous, _HISTORY.c.hash)
            .where(_HISTORY.c.case == case)
            .order_by(_HISTORY.c.seq)
        )
        try:
            with self._engine.connect() as connection:
                return [(row.seq, row.body, row.previous, row.hash) for row in connection.execute(query)]
        except SQLAlchemyError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> StoreUnreachable:
        return StoreUnreachable(
            "The history",
            self._where,
            str(getattr(error, "orig", None) or error).splitlines()[0],
            "Nothing was changed. Check `stores.history` of this place, and run the same again.",
        )


def _seal(previous: str, body: str) -> str:
    return hashlib.sha256(f"{previous}\n{body}".encode()).hexdigest()
