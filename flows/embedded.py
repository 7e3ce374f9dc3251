"""Flows that run in this very process, on a temporary server of Prefect's that nobody else could lose sight of.

Prefect would start one by itself, but only when the first flow begins, and after importing the whole server into the
flow's process, too. Begun here before anything of Prefect is imported, it gets ready while the flow is.
"""

import atexit
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.errors import StoreUnreachable

_END_SECONDS = 20
_SERVER = {
    "PREFECT_UI_ENABLED": "0",
    # Without the services that schedule, and clean up after, the runs of deployments: as Prefect starts its own.
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}
_FLOWS = {
    # What is asked of a server that is still getting ready is answered when it is.
    "PREFECT_API_REQUEST_TIMEOUT": "90",
    # Prefect's own log lines say that steps ended; the steps say what they did.
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
}


@contextmanager
def embedded() -> Iterator[None]:
    """Have a server for the flows of this process, if the environment names none; Prefect is to be imported after this.

    The server ends with this process, even if that is killed. Raises StoreUnreachable for what failed because the
    server is gone.
    """
    if os.environ.get("PREFECT_API_URL"):
        yield
        return
    if "prefect.settings" in sys.modules:
        raise RuntimeError("Prefect was imported before its temporary server was begun, and would not find it.")
    server = _Server()
    for name, value in _FLOWS.items():
        os.environ.setdefault(name, value)
    # Prefect reads where its server is when it is imported. To all else here, and below, there is no such place.
    os.environ["PREFECT_API_URL"] = server.url
    try:
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings  # noqa: PLC0415
    finally:
        del os.environ["PREFECT_API_URL"]
    # Nobody listens to heartbeats here, and each flow would wait up to a second for its last one.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        try:
            yield
        except Exception as error:
            if server.runs:
                raise
            raise server.gone(error) from error


class _Server:
    """The temporary server: a child that listens from the beginning, so that whoever asks too early waits for it."""

    def __init__(self) -> None:
        lifeline, self._held = os.pipe()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flows.temporary_server", str(listener.fileno()), str(lifeline)],
                env={**os.environ, **_SERVER},
                stdin=subprocess.DEVNULL,
                pass_fds=(listener.fileno(), lifeline),
                start_new_session=True,  # the Ctrl-C that ends this process is not to end the server before it
            )
        os.close(lifeline)
        # At the very end: Prefect's own last words, said when the interpreter ends, are for the server, too.
        atexit.register(self._end)

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def gone(self, error: Exception) -> StoreUnreachable:
        """What to say of an error that came of the server's end."""
        why = f"it ended with {self._process.returncode}; {type(error).__name__}: {error}"
        return StoreUnreachable("Prefect's temporary server", self.url, why, "Run it again; what it said is above.")

    def _end(self) -> None:
        os.close(self._held)
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
