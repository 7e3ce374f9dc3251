"""Whatever is killed or away while a challenger rolls out: users are answered as was decided, and a rerun ends well."""

import multiprocessing
import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import httpx
import pytest

from configs.project import Project
from flows import load_check as load_check_module
from flows import rollout_steps as steps
from serving.ledger.places import predictions_url, segments_folder
from serving.ledger.read import read_predictions
from tasks.adapters.history import History
from tasks.adapters.registry import Registry
from tasks.promotion.decide import Desk
from tasks.records import Rollout, Status
from tests.command import begun
from tests.flows.test_rollout import approve as approved
from tests.flows.test_rollout import ask, delivered, look, settled, staged
from tests.promotion.conftest import Dies, aliases, dies, standing
from tests.serving.conftest import RunningGateway, running

__all__ = ["dies"]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bikes")]

FEW: dict[str, Any] = {
    "shadow": {"hours": 0, "requests": 10},
    "canary": {"hours": 0, "requests": 10},
    "load": {"latency_ms": 60_000, "rows": 3},
}
SHARES = {"load check": 0.0, "shadow": 0.0, "canary 50 %": 0.5, "canary 100 %": 1.0, "warm": 0.0}


def state(project: Project) -> Rollout:
    found = Desk(project, "bikes").rollout()
    assert found is not None
    return found


def one_turn(root: Path, gateway: str) -> None:
    """What a run of the flow does between two waits."""
    os.environ |= {"EVERGREEN_ROOT": str(root), "EVERGREEN_GATEWAY_URL": gateway}
    look()


@pytest.fixture(scope="module")
def unspoilt() -> ForkServerContext:
    """A process that has imported the steps and done nothing: copies of it are made in no time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["flows.rollout_steps"])
    return context


@dataclass
class Users:
    """People who go on asking; each request by another entity."""

    gateway: RunningGateway
    rows: list[dict[str, Any]]
    answers: list[tuple[str, str]] = field(default_factory=list)
    """Request id and version of each answer."""
    refused: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def asking(self) -> Iterator["Users"]:
        thread = threading.Thread(target=self._ask)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    def _ask(self) -> None:
        number = 0
        while not self._over.is_set():
            row = self.rows[number % len(self.rows)]
            number += 1
            try:
                answer = self.gateway.post("/predict/bikes", json=row)
            except httpx.TransportError:
                self.refused += 1  # it was not answered, so nothing of it has to be anywhere
                time.sleep(0.05)
                continue
            assert answer.status_code == 200
            told = answer.json()
            self.answers.append((told["request_id"], told["model_version"]))
            time.sleep(0.01)

    def wait_for(self, more: int, seconds: float = 60) -> None:
        """Until so many more were answered."""
        wanted, deadline = len(self.answers) + more, time.monotonic() + seconds
        while len(self.answers) < wanted:
            assert time.monotonic() < deadline, "nobody is answered"
            time.sleep(0.02)


def gateways_of_load_checks() -> set[int]:
    """Processes of load checks that are still there."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"serving.worker" in words and b"load" in words:
            found.add(int(folder.name))
    return found


def test_the_flow_is_killed_at_every_stage_and_users_are_answered_as_was_decided(
    served_before: Project, dies: Dies, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = staged(served_before, "shadow-canary", **FEW)
    with running(project) as gateway, Users(gateway, delivered(project, 200)).asking() as users:
        monkeypatch.setenv("EVERGREEN_GATEWAY_URL", gateway.url)
        assert approved(project, "3") is Status.rolling_out

        turn, before = partial(one_turn, project.root, gateway.url), gateways_of_load_checks()
        dies(turn, load_check_module._Worker, "timed", 2)
        deadline = time.monotonic() + 30
        while gateways_of_load_checks() - before:
            assert time.monotonic() < deadline, "a load check that was killed left its gateway behind"
            time.sleep(0.1)

        seen: list[str] = []
        writes = {"warm": (Registry, "move_alias")}
        while not state(project).over:
            stage = state(project).stage.name
            seen.append(stage)
            users.wait_for(40)
            dies(turn, History, "append")  # it has looked, and has decided nothing
            assert state(project).stage.name == stage
            assert Registry(project).traffic("bikes").share == SHARES[stage]
            if state(project).number + 1 < len(state(project).plan):
                following = state(project).plan[state(project).number + 1].name
                dies(turn, *writes.get(following, (Registry, "set_traffic")))
                assert Registry(project).traffic("bikes").share == SHARES[stage], "users are where they were"
            went_on = steps.where.fn("bikes")
            if went_on is not None and went_on.stage.name == stage:
                look()
            if not state(project).over:
                settled(gateway, SHARES[state(project).stage.name])
        assert seen == list(SHARES)
        gateway.wait_for(lambda: gateway.status()["cases"]["bikes"]["champion"]["version"] == "3", "the champion")
        users.wait_for(5)
    assert (aliases(project), standing(project)["3"]) == ({"champion": "3", "retired": "2"}, "champion")
    assert users.refused == 0
    assert {version for _, version in users.answers} == {"2", "3"}
    assert users.answers[-1][1] == "3"
    assert History(project).verify("bikes") > len(SHARES)


def test_the_gateway_is_killed_in_a_canary_nothing_answered_is_lost_and_the_stage_goes_on(
    served_before: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = staged(served_before, "canary", **FEW)
    rows = delivered(project, 60)
    with running(project) as gateway:
        monkeypatch.setenv("EVERGREEN_GATEWAY_URL", gateway.url)
        approved(project, "3")
        look()
        settled(gateway, 0.5)
        with Users(gateway, rows).asking() as users:
            users.wait_for(10)
            assert gateway.process is not None
            os.killpg(gateway.process.pid, signal.SIGKILL)
            gateway.process.wait()
            _until(lambda: _nobody_listens(gateway.port), gateway.output.read_text, 30)
            _, waiting, _ = look()
            assert (waiting.stage.name, waiting.standing) == ("canary 50 %", "going"), "nobody is to blame"
            gateway.start().await_ready()
            settled(gateway, 0.5)
            users.wait_for(60)
        assert users.refused > 0
        _, full, reasons = look()
        assert full.stage.name == "canary 100 %", reasons
    moment = state(project).began
    log = read_predictions(
        predictions_url(project), "bikes", moment, moment.replace(year=moment.year + 1), fresh=segments_folder(project)
    )
    assert {request for request, _ in users.answers} <= set(log["request_id"].to_pylist())
    sides: dict[str, set[str]] = {}
    for row in log.select(["request_id", "entity", "model_version", "role"]).to_pylist():
        if row["role"] in {"champion", "challenger"} and not row["request_id"].startswith("smoke-"):
            sides.setdefault(row["entity"], set()).add(row["model_version"])
    assert all(len(found) == 1 for found in sides.values()), "everybody stayed on the side they were on"


@contextmanager
def carried_by_the_command(project: Project, gateway: RunningGateway) -> Iterator["subprocess.Popen[bytes]"]:
    """`evergreen rollout bikes --follow`, which stays with the rollout."""
    output = project.stores / "followed.log"
    process = begun(project, "rollout", "bikes", "--follow", output=output, EVERGREEN_GATEWAY_URL=gateway.url)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def away(database: Path) -> Iterator[None]:
    """A database that is none meanwhile: nobody gets an answer from it, nor waits for one as for a lock."""
    with database.open("r+b") as file:
        with closing(sqlite3.connect(database)) as holder:
            holder.execute("BEGIN EXCLUSIVE")  # nobody is in the middle of a write
            header = os.pread(file.fileno(), 100, 0)
            os.pwrite(file.fileno(), b"?" * 100, 0)
        try:
            yield
        finally:
            os.pwrite(file.fileno(), header, 0)


def test_a_registry_that_is_away_is_waited_for_while_the_gateway_answers(
    served_before: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = staged(served_before, "canary", **{**FEW, "look_seconds": 1})
    rows, registry = delivered(project, 60), project.stores / "mlflow.db"
    with running(project) as gateway:
        monkeypatch.setenv("EVERGREEN_GATEWAY_URL", gateway.url)
        approved(project, "3")
        with carried_by_the_command(project, gateway) as run:
            told = _output_of(run, project)
            _until(lambda: state(project).stage.name == "canary 50 %", told)
            settled(gateway, 0.5)
            with away(registry):
                _until(lambda: "Retry 4/" in told(), told)
                ask(gateway, rows)
                assert run.poll() is None, told()
            _until(lambda: state(project).number > 1, told)
            settled(gateway, SHARES[state(project).stage.name])
            _until(lambda: ask(gateway, rows[:20]) or state(project).over, told)
            assert run.wait(120) == 0, told()
    assert (state(project).standing, aliases(project)["champion"]) == ("done", "3")


def _nobody_listens(port: int) -> bool:
    """Workers whose supervisor was killed end by themselves, a moment later."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _output_of(run: "subprocess.Popen[bytes]", project: Project) -> Callable[[], str]:
    def told() -> str:
        return f"{(project.stores / 'followed.log').read_text()}\n(ended: {run.poll()})"

    return told


def _until(met: Callable[[], object], told: Callable[[], str], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, told()[-3000:]
        time.sleep(0.2)
