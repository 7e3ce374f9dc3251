"""A clone with a real stack: Prefect's server on SQLite or PostgreSQL, a worker, and MLflow's UI."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
import yaml

from configs.project import Project
from tests.command import evergreen
from tests.conftest import Make, move_in

POSTGRES = os.environ.get("EVERGREEN_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
AS_OF = "2011-04-11T02:00"
"""What the chain of the shipped clones was run for, so that a training run finds it done."""
SAID = "said.txt"
"""Beside the stores of `trained`: what its training run said."""


@dataclass
class RunningStack:
    """`evergreen up` in a clone, as a process of its own."""

    project: Project
    environment: dict[str, str]
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        with (self.project.root / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.cli", "up"],
                cwd=self.project.root,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_for((self.project.stores / "up.json").is_file, 240)

    def kill_everything(self) -> None:
        """`kill -9` of server, worker, MLflow and what started them, as a power cut would."""
        for pid in processes_of(self.project):
            os.kill(pid, signal.SIGKILL)
        if self.process:
            self.process.wait(30)
        (self.project.stores / "up.json").unlink()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)

    def evergreen(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return evergreen(self.project, *arguments, **self.environment)

    def api(self, path: str, body: object = None, *, get: bool = False) -> Any:
        url = json.loads((self.project.stores / "up.json").read_text())["prefect_api"]
        data = None if get else json.dumps(body or {}).encode()
        request = urllib.request.Request(f"{url}{path}", data, {"Content-Type": "application/json"})
        for pause in (1, 5, None):
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:  # its database was busy: Prefect's own clients ask again, too
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE or pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError("the last time returns or raises")

    def predict(self, case: str) -> Any:
        """What the gateway answers to the row in its own document; None while it cannot answer yet."""
        url = json.loads((self.project.stores / "up.json").read_text())["gateway"]
        with urllib.request.urlopen(f"{url}/openapi.json", timeout=60) as answer:
            body = json.loads(answer.read())["paths"][f"/predict/{case}"]["post"]["requestBody"]
        examples = body["content"]["application/json"].get("examples", {})
        if not examples:
            return None  # the document shows a real row once a model is loaded
        row = next(iter(examples.values()))["value"]
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}/predict/{case}", json.dumps(row).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def wait_for(self, what: Callable[[], Any], seconds: float = 90) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = what()
            if found:
                return found
            time.sleep(0.5)
        raise AssertionError(f"not within {seconds} s:\n" + (self.project.root / "up.log").read_text()[-3000:])


def processes_of(project: Project) -> list[int]:
    """Every process but this one that was started for the clone."""
    here = b"EVERGREEN_ROOT=" + str(project.root).encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                environment = (folder / "environ").read_bytes()
            except OSError:
                continue  # gone meanwhile, or not ours to read
            if here in environment.split(b"\0"):
                found.append(int(folder.name))
    return found


@pytest.fixture(scope="session")
def empty_prefect(once: Callable[[str, Make], Path]) -> Path:
    """A Prefect home whose database has all tables and no runs; making one takes seconds, copying it none."""

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
        subprocess.run(command, env={**os.environ, "PREFECT_HOME": str(folder)}, check=True, capture_output=True)

    return once("prefect", make)


@pytest.fixture
def judged(judged: Project, empty_prefect: Path) -> Project:
    return with_prefect(judged, empty_prefect)


@pytest.fixture
def succession(succession: Project, empty_prefect: Path) -> Project:
    return with_prefect(succession, empty_prefect)


@pytest.fixture
def served_before(served_before: Project, empty_prefect: Path) -> Project:
    return with_prefect(served_before, empty_prefect)


@pytest.fixture(scope="session")
def trained_bikes(once: Callable[[str, Make], Path], judged_bikes: Path, empty_prefect: Path) -> Path:
    """The folder that `trained` is copied from."""

    def make(folder: Path) -> None:
        project = with_prefect(move_in(judged_bikes, folder), empty_prefect)
        where = {"EVERGREEN_ROOT": str(folder), "EVERGREEN_PLACE": "local", "PREFECT_HOME": str(prefect_home(project))}
        ended = evergreen(project, "train", "bikes", "--as-of", AS_OF, **where)
        assert ended.returncode == 0, ended.stderr
        (project.stores / SAID).write_text(ended.stdout)

    return once("trained", make)


@pytest.fixture
def trained(tmp_path: Path, at_home: Callable[[Project], Project], trained_bikes: Path) -> Project:
    """A clone in which `evergreen train` made the first model, which serves by policy."""
    return at_home(move_in(trained_bikes, tmp_path / "clone"))


def prefect_home(project: Project) -> Path:
    return project.root / project.place.stores.prefect_home


def with_prefect(project: Project, home: Path) -> Project:
    """The project, with a copy of that Prefect home for its own."""
    shutil.copytree(home, prefect_home(project), dirs_exist_ok=True)
    return project


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))])
def stack(judged: Project, request: pytest.FixtureRequest) -> Iterator[RunningStack]:
    """A clone in which `evergreen up` runs and every version waits for a person.

    `refusing`: on SQLite, at a place that refuses a second training run.
    """
    change_place(judged, when_busy="refuse" if request.param == "refusing" else "wait")
    _on_free_ports(judged)
    _ask_always(judged)
    environment = {**os.environ, "EVERGREEN_ROOT": str(judged.root), "PYTHONPATH": str(judged.root)}
    database = _database() if request.param == "postgresql" else None
    if database:
        environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database.set(
            drivername="postgresql+asyncpg"
        ).render_as_string(hide_password=False)
    running = RunningStack(judged, environment)
    try:
        running.start()
        yield running
    finally:
        running.stop()
        if database:
            _drop(database)


def change_place(project: Project, **values: object) -> None:
    """Set values of the place `local`."""
    path = project.root / "configs" / "places" / "local.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}))


def _on_free_ports(clone: Project) -> None:
    ports = {"prefect": _free_port(), "mlflow": _free_port()}
    change_place(clone, ports=ports, gateway={"port": _free_port(), "workers": 1})


def _ask_always(clone: Project) -> None:
    path = clone.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["bikes"]["approval"]["auto_approve"] = []
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _database() -> sql.URL:
    """A new PostgreSQL database, or a skipped test where no server answers (a user's machine has none)."""
    url = sql.make_url(POSTGRES)
    name = f"evergreen_{uuid.uuid4().hex[:12]}"
    engine = sql.create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(sql.text(f"create database {name}"))
    except sql.exc.OperationalError as error:
        pytest.skip(f"no PostgreSQL server at {url.render_as_string()}: {error.orig}")
    finally:
        engine.dispose()
    return url.set(database=name)


def _drop(url: sql.URL) -> None:
    engine = sql.create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sql.text(f"drop database {url.database} with (force)"))
    engine.dispose()
