"""One moment of a replay, and what it finds when the one before was killed in its middle."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from configs.project import Project
from flows.replay_moments import Replay
from flows.replay_sandbox import Sandbox
from tasks.replay.source import history_of
from tasks.replay.steps import Plan
from tasks.replay.told import Sent, Step, Steps
from tests.conftest import ROOT

START = datetime(2011, 4, 11, tzinfo=UTC)
PLAN = Plan(case="bikes", start=START, end=START + timedelta(days=7))


def test_a_step_killed_among_its_flows_asks_nobody_again_and_has_a_gateway_before_they_run(
    tmp_path: Path, succession: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = Sandbox(tmp_path)
    assert sandbox.project.root == succession.root
    for folder in (sandbox.rows, sandbox.labels):
        folder.mkdir(parents=True)
    kept = Steps(sandbox.steps)
    kept.keep(Step(at=START, looked=True))
    kept.keep_sent(Sent(at=PLAN.end, requests=3, rows=7))
    happened = mock.Mock()
    happened.gateway.url = "http://127.0.0.1:9"
    monkeypatch.setenv("EVERGREEN_GATEWAY_URL", "")  # a replay sets it for its process
    monkeypatch.setattr(Replay, "_flows", lambda *_, **__: happened.flows())

    def stop(step: Step) -> None:
        happened.told(step.at, step.requests)

    replay = Replay(sandbox, PLAN, history_of(succession, PLAN), None)
    replay.run(happened.gateway, stop)
    calls: list[Any] = [name for name, _, _ in happened.mock_calls]
    assert calls == ["told", "gateway.start", "gateway.settle", "flows", "told"]
    case, standing = happened.gateway.settle.call_args.args
    assert (case, standing.champion) == ("bikes", "2")
    assert happened.told.call_args.args == (PLAN.end, 3)


def test_nothing_of_mlflow_or_prefect_is_imported_before_a_replay_is_in_its_sandbox() -> None:
    code = "import sys, flows.replay; print(sorted({'mlflow', 'prefect'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "[]"
