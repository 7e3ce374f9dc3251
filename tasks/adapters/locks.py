"""Locks between processes that end with the process that holds them, however it ends."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2


class Held(Exception):
    """Another process holds the lock; says which, as far as it told."""


def acquire(path: Path, *, wait: bool) -> int:
    """Take the lock and return its descriptor; closing that, or dying, gives it back. Raises Held if not `wait`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    told = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip()
            if not wait:
                os.close(handle)
                raise Held(holder) from None
            if not told:
                log.info("waiting for %s (%s)", path.name, holder)
                told = True
            time.sleep(_POLL_SECONDS)
        else:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()}".encode(), 0)
            return handle


@contextmanager
def exclusive(path: Path) -> Iterator[int]:
    """Hold the lock at `path`, waiting for it; yields the descriptor, for a child process to hold on to."""
    handle = acquire(path, wait=True)
    try:
        yield handle
    finally:
        os.close(handle)
