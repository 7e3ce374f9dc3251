"""Weeks that are replayed beside something else: they end with it, and their failure is told in their own words."""

import os
import time
from pathlib import Path

import pytest

from configs.project import Project
from flows.replay_beside import Beside, WeeksFailed
from flows.replay_sandbox import Sandbox
from tests.flows.conftest import processes_of

_PATIENCE = 120


@pytest.fixture
def project(checkout: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("PYTHONPATH", str(checkout.root))
    return checkout


def script(project: Project, start: str) -> Path:
    path = project.root / "weeks.yaml"
    path.write_text(f"{{start: {start}, end: 2011-05-09}}", encoding="utf-8")
    return path


def test_what_is_done_beside_waits_for_the_weeks_and_tells_why_they_failed(project: Project) -> None:
    with Beside(project, "bikes", script(project, "2011-06-06"), "wrong") as weeks:
        assert [plan for plan, _ in weeks.watched()] == []
        with pytest.raises(WeeksFailed, match=r"(?s)ended with 1.*OutsideRows: A replay of `bikes` from 2011-06-06"):
            weeks.ended()


def test_weeks_end_with_what_they_are_beside(project: Project) -> None:
    began = time.monotonic()
    with Beside(project, "bikes", script(project, "2011-04-11"), "cut-short"):
        sandbox = Sandbox.of(project, "cut-short")
        while not sandbox.plan.is_file():
            assert time.monotonic() < began + _PATIENCE
            time.sleep(0.05)
    while [pid for pid in processes_of(sandbox.project) if pid != os.getpid()]:
        assert time.monotonic() < began + _PATIENCE, "its gateway, or Prefect's server, is left"
        time.sleep(0.05)
