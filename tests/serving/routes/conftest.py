"""What the tests of the routes look at: keepers, in this process and in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from configs.project import Project
from serving.routes.engines import make_engine
from serving.routes.keeper import Keeper
from serving.routes.local import CaseRoutes, LocalCopy
from tests.conftest import Make, move_in

ROOT = Path(__file__).parents[3]
PATIENCE = 60.0


def until(met: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not met():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.002)


def routes(project: Project) -> CaseRoutes | None:
    return LocalCopy.of(project).read_routes("bikes")


def roles(project: Project) -> tuple[str | None, ...]:
    """Who is champion, challenger and retired in the local copy."""
    found = routes(project)
    if found is None:
        return (None, None, None)
    return tuple(entry and entry.version for entry in (found.champion, found.challenger, found.retired))


def settled(keeper: Keeper, project: Project, *wanted: str | None) -> None:
    """Turn the keeper until the roles are these, and it has nothing left to do."""

    def turned() -> bool:
        keeper.turn()
        asking = keeper._asking._due or keeper._asking._question
        at_rest = keeper._known and not asking and not keeper._readying.under_way("bikes")
        return bool(roles(project) == wanted and at_rest)

    until(turned, f"roles {wanted}, but {roles(project)}; alarms: {[a.what for a in keeper.alarms.listed()]}")


@pytest.fixture(autouse=True)
def _as_in_the_keepers_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")


@pytest.fixture(scope="session")
def kept_bikes(once: Callable[[str, Make], Path], bikes_in_succession: Path) -> Path:
    """The folder that `served` is copied from."""

    def make(folder: Path) -> None:
        project = move_in(bikes_in_succession, folder)
        with keeping(project) as kept:
            settled(kept, project, "2", "3", "1")

    return once("kept", make)


@pytest.fixture
def served(tmp_path: Path, at_home: Callable[[Project], Project], kept_bikes: Path) -> Project:
    """A clone of `succession` in whose local copy all three versions stand ready as plans."""
    return at_home(move_in(kept_bikes, tmp_path / "clone"))


@pytest.fixture
def keeper(served: Project) -> Iterator[Keeper]:
    """A keeper of `served` that has seen the registry, turned by the test."""
    with keeping(served) as kept:
        settled(kept, served, "2", "3", "1")
        yield kept


@pytest.fixture
def fresh(succession: Project) -> Iterator[Keeper]:
    """A keeper of `succession`, whose local copy is empty."""
    with keeping(succession) as kept:
        yield kept


@contextmanager
def keeping(project: Project) -> Iterator[Keeper]:
    kept = Keeper(project, make_engine)
    try:
        yield kept
    finally:
        kept.close()


class KeeperProcess:
    """`python -m serving.routes` in a process of its own."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.said = project.root / "keeper.log"
        with self.said.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "serving.routes"],
                cwd=project.root,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=output,
            )

    def until(self, met: Callable[[], object], what: str) -> None:
        def met_or_ended() -> object:
            assert self.process.poll() is None, self.said.read_text()
            return met()

        until(met_or_ended, what)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it as the gateway does; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@pytest.fixture
def started() -> Iterator[Callable[[Project], KeeperProcess]]:
    """Starts keepers; those left at the end of the test are killed."""
    processes: list[KeeperProcess] = []

    def start(project: Project) -> KeeperProcess:
        processes.append(KeeperProcess(project))
        return processes[-1]

    yield start
    for each in processes:
        each.kill()


@pytest.fixture
def imported_by() -> Callable[[str], set[str]]:
    """The packages that a process has imported after it imported some modules of this project."""

    def ask(modules: str) -> set[str]:
        code = f"import sys, {modules}; print(*{{name.partition('.')[0] for name in sys.modules}})"
        ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
        return set(ended.stdout.split())

    return ask
