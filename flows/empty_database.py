"""A new Prefect home's database: its tables are made once in this environment, and copied from then on.

They come of a long row of migrations, which take longer than all else a server does before it answers, and are the same
in every home: those of the Prefect that is installed.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from tasks.adapters.locks import exclusive
from tasks.errors import DiskFull
from tasks.files import write_whole

log = logging.getLogger(__name__)

_NAME = "prefect.db"
_DATABASE_URLS = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
"""Set, they name another database than the home's own file."""


def copy_empty_database(home: Path) -> None:
    """Give a home without a database an empty one, if one was made in this environment before."""
    kept = _kept()
    if not kept.is_file() or not _is_wanted(home):
        return
    with tempfile.TemporaryDirectory(dir=home) as scratch, contextlib.suppress(FileExistsError):
        # A link, for it never takes the place of a database that another server has opened meanwhile.
        os.link(shutil.copyfile(kept, Path(scratch) / _NAME), home / _NAME)


def have_a_database(home: Path) -> None:
    """Give a home without a database an empty one, and keep the first for the homes after it.

    To be called in the process that is to be the server. It is left to that itself where the environment cannot be
    written, or another database is named.
    """
    kept = _kept()
    if _is_wanted(home) and not kept.is_file() and os.access(sys.prefix, os.W_OK):
        try:
            with exclusive(kept.with_suffix(".lock")):
                if _is_wanted(home) and not kept.is_file():
                    _make(home / _NAME, kept)
        except (OSError, DiskFull) as error:
            log.warning("Prefect's empty database cannot be kept for other homes: %s", error)
    copy_empty_database(home)


def _kept() -> Path:
    return Path(sys.prefix) / "share" / "evergreen" / f"prefect-{version('prefect')}.db"


def _is_wanted(home: Path) -> bool:
    return not (home / _NAME).exists() and not any(os.environ.get(name) for name in _DATABASE_URLS)


def _make(database: Path, kept: Path) -> None:
    from prefect.server.database import provide_database_interface  # noqa: PLC0415 - a server has it already

    async def migrate() -> None:
        interface = provide_database_interface()
        await interface.create_db()
        await (await interface.engine()).dispose()

    asyncio.run(migrate())
    if database.is_file():  # else Prefect's settings name another one
        write_whole(kept, lambda part: _copy_of(database, part))


def _copy_of(database: Path, part: Path) -> None:
    """Everything that was committed, whatever of it is still in files beside the database."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(part)) as copy:
        source.backup(copy)
