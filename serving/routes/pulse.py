"""pulse: whether the registry may say something new, asked often and for next to nothing."""

import os
import sqlite3
import time
from pathlib import Path
from typing import Protocol

from tasks.errors import StoreUnreachable

_SQLITE = "sqlite:///"
_BUSY_SECONDS = 0.05
"""How long a look waits for a commit that is under way."""


class Pulse(Protocol):
    """Tells when a registry is worth asking."""

    def changed(self) -> bool:
        """Whether something may have changed since the last time. Raises StoreUnreachable."""


class ClockPulse:
    """A registry that can only be asked: worth it every so often."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    def changed(self) -> bool:
        """Whether it is time again."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


class DatabasePulse:
    """A registry in an SQLite file: SQLite counts the commits of other processes, whatever its journal mode.

    It never makes the file: MLflow would take one that is not there for a new and empty registry.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._inode: int | None = None
        self._last: tuple[int, int] | None = None

    def changed(self) -> bool:
        """Whether another process committed, or another file took this one's place. Raises StoreUnreachable."""
        try:
            inode = os.stat(self._path).st_ino  # noqa: PTH116 - asked a hundred times a second
        except FileNotFoundError as error:
            self.close()
            raise _gone(self._path) from error
        try:
            now = (inode, self._version(inode))
        except sqlite3.Error:
            # A writer that is at it, or one that was killed: MLflow, who may mend the file, says which.
            self.close()
            return True
        moved, self._last = now != self._last, now
        return moved

    def close(self) -> None:
        """Let go of the file; the next look is a first one."""
        if self._connection:
            self._connection.close()
        self._connection = self._last = None

    def _version(self, inode: int) -> int:
        if self._connection is None or inode != self._inode:
            self.close()
            address = f"{self._path.resolve().as_uri()}?mode=ro"
            self._connection = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
            self._inode = inode
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)


def pulse_of(uri: str, seconds: float) -> Pulse:
    """The pulse of the registry at `uri`; one that is no SQLite file is asked every so many seconds."""
    if uri.startswith(_SQLITE):
        return DatabasePulse(Path(uri.removeprefix(_SQLITE).partition("?")[0]))
    return ClockPulse(seconds)


def _gone(path: Path) -> StoreUnreachable:
    return StoreUnreachable(
        "MLflow", str(path), "the file is not there", "Who answers goes on answering. Put the file back."
    )
