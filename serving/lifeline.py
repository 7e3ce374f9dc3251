"""A child process that ends when its parent does, however the parent ended."""

import os
import signal
import threading


def end_with_parent(fd: int | None) -> None:
    """Send this process SIGTERM when the other end of the pipe `fd` is closed, which a dead parent's is."""
    if fd is not None:
        threading.Thread(target=_wait_for_the_end, args=(fd,), daemon=True, name="lifeline").start()


def _wait_for_the_end(fd: int) -> None:
    while os.read(fd, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
