"""Weeks of real bikes happen again: through the gateway, monitors, training and rollout; killed, they go on."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from configs.project import Project
from flows.replay_sandbox import Sandbox
from tasks.adapters.history import History
from tasks.adapters.journal import Journal
from tasks.adapters.registry import Registry
from tasks.ingestion.recorded import recorded
from tasks.replay.steps import Plan
from tasks.replay.told import Step, Steps
from tests.conftest import QUICK, change_params, commit
from tests.flows.conftest import processes_of

pytestmark = pytest.mark.slow

FROM, TO = "2011-04-11", "2011-04-20"
_PATIENCE = 900
PLANTED = (
    "--fault",
    "bad_candidate@2011-04-13",
    "--fault",
    "bad_challenger@2011-04-14",
    "--fault",
    "units:temperature=0.6@2011-04-19",
)
ROLLOUT: dict[str, Any] = {
    "strategy": "shadow-canary",
    "steps": [0.5, 1.0],
    "shadow": {"hours": 24, "requests": 20},
    "canary": {"hours": 24, "requests": 10},
    "warm_hours": 24,
    "load": {"rows": 20},
}


@pytest.fixture
def project(checkout: Project) -> Project:
    """A clone of bikes that trains in no time, and rolls out within days."""
    quick = {key: value for key, value in QUICK.items() if key != "rollout.strategy"}
    change_params(checkout.root, "bikes", {**quick, "training.settings.max_iter": 20, "rollout": ROLLOUT})
    commit(checkout.root, "quick bikes")
    return checkout


def evergreen(project: Project, name: str, *more: str) -> "subprocess.Popen[bytes]":
    """`evergreen replay` of those weeks, as a process of its own; what it says is in `said`."""
    words = ["replay", "bikes", "--from", FROM, "--to", TO, "--name", name, *more]
    with _output(project).open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *words],
            cwd=project.root,
            env={**os.environ, "PYTHONPATH": str(project.root), "COLUMNS": "200"},
            stdout=output,
            stderr=output,
        )


def _output(project: Project) -> Path:
    return project.root / "said.txt"


def said(project: Project) -> str:
    return " ".join(_output(project).read_text().split())


def replayed(project: Project, name: str, *more: str) -> list[Step]:
    """The steps of a replay that ended."""
    assert evergreen(project, name, *more).wait(_PATIENCE) == 0, said(project)
    return Steps(Sandbox.of(project, name).steps).done


def told(project: Project, name: str) -> Any:
    from flows.replay import what_happened  # noqa: PLC0415 - MLflow takes seconds

    return what_happened(project, name)


def test_killed_replays_and_gateways_change_nothing_of_what_happens(project: Project) -> None:
    """Undisturbed and in process, weeks come to the same as over HTTP, with the gateway and the replay killed."""
    steps = replayed(project, "whole", "--in-process", *PLANTED)
    assert [step.failures for step in steps if step.failures] == []
    assert f"{steps[-1].at:%Y-%m-%d}" == TO
    when = recorded("bikes")["event_time"]
    assert sum(step.rows for step in steps) == ((when >= FROM) & (when < TO)).sum(), "every hour was asked about"
    assert "planted: bad_challenger" in said(project)

    sandbox = Sandbox.of(project, "whole").project
    rulings = [one.ruling for one in Journal(sandbox).trainings("bikes") if one.as_of == steps[1].at]
    assert "reject" in rulings, "the bad candidate was turned away by the gate"
    assert steps[1].turned_away == 1
    assert "2" in {event.version for step in steps for event in step.events if event.by == "replay"}
    assert Registry(sandbox).holder("bikes", "champion").version == "1", "the bad challenger did not reach all users"
    assert History(sandbox).verify("bikes")
    assert not (project.root / "data/stores/history.db").exists(), "the project's own stores are not touched"

    again = (*PLANTED, "--fault", "kill@2011-04-12")
    _kill_at_random(project, "killed", random.Random(2011), *again)
    steps = replayed(project, "killed", *again)
    whole, killed = told(project, "whole"), told(project, "killed")
    assert killed.happened == whole.happened
    assert killed.acted == whole.acted
    assert killed.judged == whole.judged

    assert [step.kills for step in steps if step.kills] == [1]
    assert sum(step.lost for step in steps) == 0
    assert "1 kills, 0 answers lost" in said(project)
    assert processes_of(Sandbox.of(project, "killed").project) == [], "nothing is left running"


def _kill_at_random(project: Project, name: str, draw: random.Random, *more: str) -> None:
    """Start the replay and kill it and all it started, some steps on: twice."""
    sandbox = Sandbox.of(project, name)
    for steps in (2, 3):
        process = evergreen(project, name, *more)
        _wait_for(lambda wanted=steps: _done(sandbox) >= wanted, process)
        time.sleep(draw.uniform(0, 3))
        for pid in (process.pid, *processes_of(sandbox.project)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(_PATIENCE)


def _done(sandbox: Sandbox) -> int:
    return sandbox.steps.read_text().count('"looked"') if sandbox.steps.is_file() else 0


def _wait_for(what: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _PATIENCE
    while not what():
        assert process.poll() is None, "it ended before it was to be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_another_plan_under_the_same_name_is_refused(project: Project) -> None:
    first, last = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (FROM, TO))
    sandbox = Sandbox.of(project, "taken")
    sandbox.folder.mkdir(parents=True)
    Plan(case="bikes", start=first, end=last, seed=1).write(sandbox.plan)
    assert evergreen(project, "taken").wait(_PATIENCE) == 1
    assert "There is a replay `taken` already" in said(project)
