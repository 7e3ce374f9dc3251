"""What the tests of promotion look at: the standing of a case's versions, and where a model's file lies."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from configs.project import Project
from tasks.adapters.history import History
from tasks.adapters.registry import Registry
from tasks.records import Event


def standing(project: Project) -> dict[str, str]:
    """Each version's status."""
    return {entry.version: entry.status for entry in Registry(project).versions("bikes")}


def aliases(project: Project) -> dict[str, str]:
    """Each alias that is held, and by which version."""
    held = {alias: Registry(project).holder("bikes", alias) for alias in ("champion", "challenger", "retired")}
    return {alias: entry.version for alias, entry in held.items() if entry}


def events(project: Project) -> list[tuple[str, str]]:
    """What happened to which version, oldest first."""
    return [(event.what, event.version) for event in History(project).events("bikes")]


def last_event(project: Project) -> Event:
    return History(project).events("bikes")[-1]


def stored_model(project: Project, version: str) -> Path:
    """The file of a version's model, in MLflow's own folder."""
    entry = Registry(project).version("bikes", version)
    assert entry
    with closing(sqlite3.connect(project.stores / "mlflow.db")) as database:
        query = "SELECT artifact_location FROM logged_models WHERE model_id = ?"
        (where,) = database.execute(query, (entry.source.removeprefix("models:/"),)).fetchone()
    path = Path(where.removeprefix("file://")) / "model.skops"
    assert path.is_relative_to(project.root)
    return path


@pytest.fixture
def dies() -> Callable[..., None]:
    """Runs a verb in a process that is gone, without a word, when it comes to call `at`, such as `Desk.switch`."""

    def run(at: str, code: str, project: Project, calls: int = 1) -> None:
        module, name = at.split(":")
        holder, _, attribute = name.rpartition(".")
        script = f"""
import os
from datetime import UTC, datetime
import {module} as room
from configs.project import Project
from tasks.records import Approval, Order
from tasks.promotion.decide import Why

left = {calls}
holder = room.{holder} if {holder!r} else room
whole = getattr(holder, {attribute!r})

def die(*arguments, **options):
    global left
    left -= 1
    if not left:
        os._exit(9)
    return whole(*arguments, **options)

setattr(holder, {attribute!r}, die)
project = Project.here()
{code}
"""
        ended: subprocess.CompletedProcess[Any] = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script], cwd=project.root, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 9, ended.stderr[-2000:]

    return run
