"""Turns: what one process at a time may do, on this host and, with a history on PostgreSQL, on all that share it."""

import hashlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sql
from sqlalchemy.exc import SQLAlchemyError

from configs.project import Project
from tasks.adapters.addresses import absolute
from tasks.adapters.locks import Held, acquire
from tasks.errors import StoreUnreachable

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_LISTEN_SECONDS = 30
"""How often a quiet connection is asked whether it is there: routers forget those on which nothing passes."""


@dataclass(frozen=True)
class Turn:
    """A turn that this process has until it ends it, or ends."""

    file: int
    session: sql.Connection | None

    def end(self) -> None:
        """Let the next one have it."""
        if self.session:
            self.session.close()
        os.close(self.file)


def take_turn(project: Project, name: str, *, wait: bool) -> Turn:
    """Have the turn `name`: a lock on a file of this host, and one in the history's database if that is PostgreSQL.

    Raises Held if another has it and `wait` is false, StoreUnreachable. A host that is cut off from the database loses
    its turn there; what it writes after that, it cannot write there either.
    """
    file = acquire(project.stores / f"{name}.lock", wait=wait)
    try:
        return Turn(file, _among_hosts(project, name, wait=wait))
    except BaseException:
        os.close(file)
        raise


@contextmanager
def alone(project: Project, name: str) -> Iterator[None]:
    """Have the turn `name` for the length of a block, after whoever has it now."""
    turn = take_turn(project, name, wait=True)
    try:
        yield
    finally:
        turn.end()


def _among_hosts(project: Project, name: str, *, wait: bool) -> sql.Connection | None:
    address = absolute(project, project.place.stores.history)
    if not address.startswith("postgresql"):
        return None
    url = sql.make_url(address)
    listening = {"keepalives_idle": _LISTEN_SECONDS} if url.get_driver_name().startswith("psycopg") else {}
    try:
        # Locks of a session, not of a transaction: training takes hours, and an open transaction keeps old rows.
        engine = sql.create_engine(url, poolclass=sql.NullPool, isolation_level="AUTOCOMMIT", connect_args=listening)
        session = engine.connect()
    except (SQLAlchemyError, ImportError) as error:
        raise _unreachable(url, error) from error
    try:
        _lock(session, name, wait=wait)
    except SQLAlchemyError as error:
        session.close()
        raise _unreachable(url, error) from error
    except BaseException:
        session.close()
        raise
    return session


def _lock(session: sql.Connection, name: str, *, wait: bool) -> None:
    key = int.from_bytes(hashlib.sha256(f"evergreen {name}".encode()).digest()[:8], "big", signed=True)
    told = False
    while not session.scalar(sql.select(sql.func.pg_try_advisory_lock(key))):
        if not wait:
            raise Held("on another host")
        if not told:
            log.info("waiting for %s (another host has it)", name)
            told = True
        time.sleep(_POLL_SECONDS)


def _unreachable(url: sql.URL, error: Exception) -> StoreUnreachable:
    return StoreUnreachable(
        "The history",
        url.render_as_string(hide_password=True),
        str(getattr(error, "orig", None) or error).splitlines()[0],
        "Nothing was changed. Check `stores.history` of this place, and run the same again.",
    )
