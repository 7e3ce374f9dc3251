"""Flows that run in this very process, without a server that could lose sight of them."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings


@contextmanager
def embedded() -> Iterator[None]:
    """Without heartbeats: nobody listens to them, and each flow would wait up to a second for its last one.

    Prefect's temporary server ends with this process, even if that is killed.
    """
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        if PREFECT_API_URL.value():
            yield
            return
        with _guarded():
            yield


@contextmanager
def _guarded() -> Iterator[None]:
    """Have the server ended by another process if this one cannot; in order, it is Prefect who ends it."""
    server = SubprocessASGIServer()  # the one that every flow here will find
    server.start()
    assert server.server_process is not None, "it was started just now"
    command = [sys.executable, "-m", "flows.guard", str(server.server_process.pid)]
    # In a session of its own: the Ctrl-C that ends this process is not to end the guard first.
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as guard:
        try:
            yield
        finally:
            with suppress(BrokenPipeError):
                guard.communicate(b"in order")
