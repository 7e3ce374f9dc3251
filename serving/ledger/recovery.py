"""What a dead worker left: its segment is cut to the last whole frame and sealed."""

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from serving.ledger.frames import Frames, next_frame
from serving.ledger.segment import BEGUN, OPEN, finish

log = logging.getLogger(__name__)

_STALE_SECONDS = 60
"""A living writer takes milliseconds from making a file to locking it."""


def recover(folder: Path) -> None:
    """Seal every open segment whose worker is gone; the lock tells, which the kernel drops however a process ends."""
    for begun in folder.glob(f"*{BEGUN}"):
        with _left_by_the_dead(begun) as handle:
            if handle is not None and time.time() - os.fstat(handle).st_mtime > _STALE_SECONDS:
                begun.unlink()
    for path in sorted(folder.glob(f"*{OPEN}")):
        with _left_by_the_dead(path) as handle:
            if handle is not None:
                _seal(path, handle)


@contextlib.contextmanager
def _left_by_the_dead(path: Path) -> Iterator[int | None]:
    """The file, locked; None if its writer lives, or has just given it another name."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        yield handle if _free(handle) and _still_named(path, handle) else None
    finally:
        os.close(handle)


def _free(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _still_named(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _seal(path: Path, handle: int) -> None:
    data = path.read_bytes()
    frames = Frames(data)
    whole = sum(1 for _ in frames)
    # Whole frames behind a broken one mean damage, not a torn end: compaction saves them and keeps the file.
    if frames.left_out and next_frame(data, frames.end) is None:
        log.warning("%s: its end, %d bytes, was never whole and is cut off", path.name, frames.left_out)
        os.ftruncate(handle, frames.end)
        os.fdatasync(handle)
        data = data[: frames.end]
    log.info("%s: its worker is gone; sealed with %d entries", path.name, max(0, whole - 1))
    finish(path, empty=whole <= 1 and frames.end == len(data))
