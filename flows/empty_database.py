"""A new Prefect home's database: its tables are made once in this environment, and copied from then on.

They come of a long row of migrations, which take longer than all else a server does before it answers, and are the same
in every home: those of the Prefect that is installed.
"""

import asyncio
import os
import shutil
import sqlite3
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from tasks.adapters.locks import exclusive
from tasks.files import write_whole

_NAME = "prefect.db"
_DATABASE_URLS = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
"""Set, they name another database than the home's own file."""


def copy_empty_database(home: Path) -> None:
    """Give a home without a database an empty one, if one was made in this environment before."""
    kept = _kept()
    if kept.is_file() and _is_wanted(home):
        write_whole(home / _NAME, lambda part: shutil.copyfile(kept, part))


def have_a_database(home: Path) -> None:
    """Give a home without a database an empty one, and keep the first for the homes after it.

    To be called in the process that is to be the server. Leaves it to the server itself where the environment cannot be
    written, or names another database.
    """
    kept = _kept()
    if not _is_wanted(home) or not os.access(sys.prefix, os.W_OK):
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(kept.with_suffix(".lock")):
        if not kept.is_file():
            _migrate()
            write_whole(kept, lambda part: _copy_of(home / _NAME, part))
    copy_empty_database(home)


def _kept() -> Path:
    return Path(sys.prefix) / "share" / "evergreen" / f"prefect-{version('prefect')}.db"


def _is_wanted(home: Path) -> bool:
    return not (home / _NAME).exists() and not any(os.environ.get(name) for name in _DATABASE_URLS)


def _migrate() -> None:
    from prefect.server.database import provide_database_interface  # noqa: PLC0415 - a server has it already

    async def migrate() -> None:
        interface = provide_database_interface()
        await interface.create_db()
        await (await interface.engine()).dispose()

    asyncio.run(migrate())


def _copy_of(database: Path, part: Path) -> None:
    """Everything that was committed, whatever of it is still in files beside the database."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(part)) as copy:
        source.backup(copy)
