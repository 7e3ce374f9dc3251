"""The keeper of a registry that is a server: followed by asking, and done without while it is gone."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from configs.project import Project
from serving.routes.local import LocalCopy
from serving.routes.status import read_alarms
from tasks.adapters.registry import Registry

from .conftest import KeeperProcess, roles, until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bikes")]


class MlflowServer:
    """`mlflow server` over the database of a project."""

    def __init__(self, project: Project) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._project = project
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        self._process = subprocess.Popen(
            [*command, "--workers", "1"],
            cwd=self._project.root,
            env={
                **os.environ,
                "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{self._project.stores}/mlflow.db",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until(self._answers, "MLflow answers", 120)

    def kill(self) -> None:
        if self._process:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def server(served: Project) -> Iterator[MlflowServer]:
    running = MlflowServer(served)
    try:
        running.start()
        yield running
    finally:
        running.kill()


def test_a_server_is_followed_within_seconds_and_done_without_while_it_is_gone(
    served: Project, server: MlflowServer, started: Callable[[Project], KeeperProcess]
) -> None:
    in_database = Registry(served)
    place = served.root / "configs/places/local.yaml"
    place.write_text(place.read_text().replace("sqlite:///data/stores/mlflow.db", server.url))
    keeper = started(Project(served.root))
    for version in ("1", "2", "1"):
        in_database.move_alias("bikes", "champion", version)
        keeper.until(lambda v=version: roles(served)[0] == v, "the champion's change")
    began = time.monotonic()
    in_database.move_alias("bikes", "champion", "2")
    keeper.until(lambda: roles(served)[0] == "2", "the champion's change")
    assert time.monotonic() - began < 5  # 0.5 s on a quiet machine
    server.kill()
    copy = LocalCopy.of(served)
    before = copy.routes("bikes").read_bytes()
    keeper.until(lambda: read_alarms(copy.alarms), "an alarm")
    (alarm,) = read_alarms(copy.alarms)
    assert f"MLflow cannot be reached at {server.url}" in alarm.what
    in_database.move_alias("bikes", "champion", "1")
    assert copy.routes("bikes").read_bytes() == before
    server.start()
    keeper.until(lambda: roles(served)[0] == "1", "what happened meanwhile is followed")
    assert read_alarms(copy.alarms) == []
    assert keeper.stop() == 0
