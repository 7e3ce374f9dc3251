"""What the tests of promotion look at: the standing of a case's versions, and where a model's file lies."""

import multiprocessing
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from configs.project import Project
from tasks.adapters.history import History
from tasks.adapters.registry import Registry
from tasks.records import Event

KILLED = 9


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


def run_folder(project: Project, version: str) -> Path:
    """Where MLflow keeps the files of the run that made a version."""
    entry = Registry(project).version("bikes", version)
    assert entry
    return project.stores / "artifacts/bikes" / entry.run_id / "artifacts"


@contextmanager
def refusing(project: Project, table: str) -> Iterator[None]:
    """A registry whose database takes no write of a table."""
    with closing(sqlite3.connect(project.stores / "mlflow.db")) as database:
        for write in ("INSERT", "UPDATE"):
            stop = f"CREATE TRIGGER no_{write} BEFORE {write} ON {table} BEGIN SELECT RAISE(ABORT, 'gone'); END"
            database.execute(stop)
        yield
        for write in ("INSERT", "UPDATE"):
            database.execute(f"DROP TRIGGER no_{write}")


Dies = Callable[..., None]


@pytest.fixture(scope="session")
def unspoilt() -> ForkServerContext:
    """A process that has imported the verbs and done nothing: copies of it are made in no time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tasks.promotion.decide", "tasks.promotion.register"])
    return context


@pytest.fixture
def dies(unspoilt: ForkServerContext) -> Dies:
    """Runs a verb in a process that is gone, as if by kill -9, when it calls `what` of `holder` for the nth time."""

    def run(verb: Callable[[], object], holder: object, what: str, nth: int = 1) -> None:
        process = unspoilt.Process(target=_run_until, args=(verb, holder, what, nth))
        process.start()
        process.join()
        assert process.exitcode == KILLED

    return run


def _run_until(verb: Callable[[], object], holder: object, what: str, nth: int) -> None:
    calls, whole = count(1), getattr(holder, what)

    def die(*arguments: Any, **options: Any) -> Any:
        if next(calls) == nth:
            os._exit(KILLED)
        return whole(*arguments, **options)

    setattr(holder, what, die)
    verb()
