"""`evergreen serve`: holds the listening socket, and keeps workers, keeper and compactor running until stopped."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from ipaddress import ip_address

from configs.errors import ConfigError
from configs.project import Project
from configs.serving import GatewayParams
from serving.lifeline import end_with_parent

log = logging.getLogger(__name__)

_BACKLOG = 2048
_LOOK_SECONDS = 0.2
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
_STEADY_SECONDS = 10
"""A process that ran this long has recovered; its next end is the first one again."""


@dataclass
class Child:
    """A process that is started again when it ends."""

    name: str
    command: list[str]
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    pause: float = _FIRST_PAUSE
    due: float = field(default=0.0)


class Supervisor:
    """The gateway's processes on this machine."""

    def __init__(self, project: Project, params: GatewayParams) -> None:
        must_be_safe(params)
        self._params = params
        self._project = project
        self._sockets = listening_sockets(params)
        self._pipe_read, self._pipe_write = os.pipe()
        os.set_inheritable(self._pipe_read, True)
        self._stop = threading.Event()
        python, lifeline = [sys.executable, "-m"], ["--lifeline", str(self._pipe_read)]
        worker = [*python, "serving.worker", *lifeline]
        self._keeper = Child("keeper", [*python, "serving.routes", *lifeline])
        self._workers = [
            Child(f"w{i}", [*worker, "--name", f"w{i}", "--socket", str(listening.fileno())])
            for i, listening in enumerate(self._sockets)
        ]
        self._compactor = Child("compactor", [*python, "serving.ledger", *lifeline])

    @property
    def address(self) -> str:
        """Where the gateway answers."""
        host, port = self._sockets[0].getsockname()[:2]
        scheme = "https" if self._params.tls else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def children(self) -> list[Child]:
        return [self._keeper, *self._workers, self._compactor]

    def run(self) -> None:
        """Keep everything running until `stop`; then let the workers finish what is under way."""
        # What the workers of an earlier gateway counted is not part of this one's figures.
        shutil.rmtree(self._project.worker_reports, ignore_errors=True)
        self._project.worker_reports.mkdir(parents=True)
        try:
            while not self._stop.is_set():
                for child in self.children:
                    self._look_after(child)
                self._stop.wait(_LOOK_SECONDS)
        finally:
            for listening in self._sockets:  # whoever connects from now on is refused, not left waiting
                listening.close()
            self._end(self._workers, self._params.drain_seconds + 5)
            self._end([self._keeper, self._compactor], 10)
            os.close(self._pipe_write)
            os.close(self._pipe_read)

    def stop(self, *_: object) -> None:
        """End `run`, from a signal or another thread."""
        self._stop.set()

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.process is not None and child.process.poll() is not None:
            ran = now - child.started
            steady = ran > _STEADY_SECONDS
            child.due = now if steady else now + child.pause
            child.pause = _FIRST_PAUSE if steady else min(child.pause * 2, _LONGEST_PAUSE)
            log.error("%s ended with %s after %.0f s; starting it again", child.name, child.process.returncode, ran)
            child.process = None
        if child.process is None and now >= child.due:
            child.started = now
            child.process = subprocess.Popen(
                child.command,
                cwd=self._project.root,
                stdin=subprocess.DEVNULL,
                pass_fds=(*(listening.fileno() for listening in self._sockets), self._pipe_read),
                # Ctrl-C must reach us alone: we stop the others in order.
                start_new_session=True,
            )

    def _end(self, children: list[Child], patience: float) -> None:
        running = [child.process for child in children if child.process and child.process.poll() is None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + patience
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("process %d did not end in %.0f s and is killed", process.pid, patience)  # noqa: TRY400
                process.kill()
                process.wait()


def must_be_safe(params: GatewayParams) -> None:
    """Raises ConfigError where strangers could reach a gateway that asks for no key."""
    host = params.host
    loopback = host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)
    if not loopback and params.keys is None:
        raise ConfigError(
            f"gateway.host is {host}, which others can reach, and gateway.keys names no file of keys. Set it, and make "
            "a key with `evergreen keys add NAME`; or listen on 127.0.0.1."
        )


def listening_sockets(params: GatewayParams) -> list[socket.socket]:
    """One socket for each worker, all of one port: the kernel spreads connections over them. Raises ConfigError.

    Of one shared socket the first worker to wake takes all connections that wait. This process holds the sockets too,
    so that whoever connects while a worker is started again waits instead of being refused.
    """
    first = _listening(params.host, params.port)
    if not sys.platform.startswith("linux"):  # elsewhere the kernel gives all connections to one of them
        return [first] * params.workers
    port = first.getsockname()[1]
    first.close()  # it was bound alone: had another gateway this port, sharing it would have gone unnoticed
    return [_listening(params.host, port, shared=True) for _ in range(params.workers)]


def _listening(host: str, port: int, *, shared: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"The gateway cannot listen on {host}:{port} ({error.strerror or error}). Stop what uses it, or choose "
            "another `gateway.port` in configs/places/."
        ) from error
    listening.set_inheritable(True)
    return listening


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def serve(project: Project, params: GatewayParams, lifeline: int | None = None) -> None:
    """Run the gateway until SIGTERM or Ctrl-C. Raises ConfigError."""
    supervisor = Supervisor(project, params)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.stop)
    end_with_parent(lifeline)
    log.info("the gateway answers at %s with %d workers", supervisor.address, params.workers)
    supervisor.run()
