"""A gateway that runs: every process of it, on real bike models, in a clone of its own."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from configs.project import Project
from tests.conftest import move_in

READY_SECONDS = 90


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class RunningGateway:
    """A gateway started as `python -m serving` starts one."""

    project: Project
    workers: int = 1
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None
    trusted: ssl.SSLContext | None = None
    """What its certificate is checked with, where it has one."""

    @property
    def url(self) -> str:
        return f"{'https' if self.trusted else 'http'}://127.0.0.1:{self.port}"

    @property
    def _checked_with(self) -> ssl.SSLContext | bool:
        """Over plain HTTP nothing: to read all of this machine's certificates takes longer than the request."""
        return self.trusted or False

    @property
    def output(self) -> Path:
        return self.project.stores / "gateway.log"

    def start(self) -> "RunningGateway":
        self.project.stores.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "EVERGREEN_ROOT": str(self.project.root), "EVERGREEN_PLACE": "local"}
        command = [sys.executable, "-m", "serving", "--port", str(self.port), "--workers", str(self.workers)]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                command, cwd=self.project.root, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        return self

    def await_ready(self) -> "RunningGateway":
        self.wait_for(lambda: self.get("/v2/health/ready").status_code == 200, "readiness")
        return self

    def wait_for(self, met: Callable[[], Any], what: str, seconds: float = READY_SECONDS) -> None:
        """Wait until `met` says so; a failure shows what the gateway wrote."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if met():
                    return
            except httpx.TransportError:
                pass  # it is not listening yet, or just restarted
            ended = self.process is not None and self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"no {what}; the gateway wrote: {self.output.read_text()[-3000:]}")
            time.sleep(0.02)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=10, verify=self._checked_with, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        sent = more if json is None else {"json": json, **more}
        return httpx.post(self.url + path, timeout=20, verify=self._checked_with, **sent)

    def status(self) -> dict[str, Any]:
        told: dict[str, Any] = self.get("/status").json()
        return told

    def stop(self) -> None:
        """Stop as a person would; what does not end in time is a failure."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                raise
        self.process = None


@contextmanager
def running(project: Project, workers: int = 1, trusted: ssl.SSLContext | None = None) -> Iterator[RunningGateway]:
    gateway = RunningGateway(project, workers, trusted=trusted).start()
    try:
        yield gateway.await_ready()
    finally:
        gateway.stop()


@pytest.fixture(scope="module")
def gateway(bikes_in_succession: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway with one worker; bike model 1 is retired, 2 is champion, and 3 is challenger without a share."""
    with running(move_in(bikes_in_succession, tmp_path_factory.mktemp("gateway") / "clone")) as started:
        yield started


def await_roles(gateway: RunningGateway) -> None:
    """Wait until all that has a role is loaded: while it is fetched, MLflow makes a database where one is missing."""
    for role in ("champion", "challenger", "retired"):
        gateway.wait_for(lambda: gateway.status()["cases"]["bikes"].get(role), role)  # noqa: B023 - called at once


@pytest.fixture(scope="session")
def bike() -> dict[str, Any]:
    """A row as a client of the bikes sends it."""
    return {
        "hour_id": "2011-04-12T08",
        "event_time": "2011-04-12T12:00:00Z",
        "local_hour": "2011-04-12T08:00:00",
        "season": "spring",
        "holiday": False,
        "working_day": True,
        "weather": "clear",
        "temperature": 0.46,
        "felt_temperature": 0.45,
        "humidity": 0.6,
        "wind_speed": 0.2,
    }
