"""Real clones of this project in temporary folders, empty or with bike models already in them."""

import compileall
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from configs import environment
from configs.project import Project
from tasks.adapters.locks import exclusive
from tasks.records import Approval, Order

ROOT = Path(__file__).parents[1]
FOLDERS = ("configs", "flows", "serving", "tasks", ".dvc")
FILES = ("params.yaml", "dvc.yaml", "prefect.yaml", "pyproject.toml", "uv.lock", ".dvcignore", ".gitignore")
AS_OF = datetime(2011, 4, 11, 2, tzinfo=UTC)
ASKED = datetime(2011, 4, 11, 3, tzinfo=UTC)
"""When the versions of the shipped clones were registered."""
STAGES = ("ingest", "validate", "train", "evaluate", "refit")
QUICK = {
    "training.settings": {"max_iter": 5, "learning_rate": 0.08, "max_leaf_nodes": 15, "min_samples_leaf": 20},
    "gate.limits": [{"metric": "mae", "at_most": 200}],
    "gate.slices": {"columns": []},
    "gate.max_latency_ms": 60_000,
    "rollout.strategy": "direct",
}
BETTER = {2: 25, 3: 100}
"""How many trees the later versions have: each is clearly better than the one before."""
SLOW_FIXTURES = {"judged_bikes", "chain", "standby"}
"""They train models, or have DVC run stages."""

Make = Callable[[Path], object]


def _forget_the_person() -> None:
    """The environment as Evergreen's commands set it, without what whoever runs the tests has in theirs."""
    ours = ("EVERGREEN_", "MLFLOW_", "PREFECT_", "DVC_", "GIT_DIR", "GIT_INDEX_FILE")
    for name in [name for name in os.environ if name.startswith(ours) and name != "EVERGREEN_TEST_POSTGRES"]:
        del os.environ[name]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a chain of processes that keep no bytecode takes twice as long
    os.environ.update(environment.ALWAYS)


# At import: a room's conftest may import scikit-learn or MLflow, which read the environment once.
_forget_the_person()


def pytest_configure(config: pytest.Config) -> None:
    """MLflow's warnings about itself are not ours to mend; all others are errors."""
    config.addinivalue_line("filterwarnings", r"ignore::UserWarning:mlflow\.")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is built on a slow fixture is slow, too."""
    for item in items:
        if isinstance(item, pytest.Function) and not SLOW_FIXTURES.isdisjoint(item.fixturenames):
            item.add_marker(pytest.mark.slow)


class Answer(Protocol):
    """Builds an approval of `version`, with some of it changed."""

    def __call__(self, version: str = "1", *, approve: bool = True, **changes: Any) -> Approval: ...


@pytest.fixture(scope="session", autouse=True)
def _own_dvc_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """DVC keeps a small database for each clone it has seen: not on this machine for clones that vanish."""
    os.environ["DVC_SITE_CACHE_DIR"] = str(tmp_path_factory.mktemp("dvc"))


@pytest.fixture
def at_home() -> Iterator[Callable[[Project], Project]]:
    """Makes a project the one that this process and its children belong to, until the test ends."""
    kept = dict(os.environ)

    def settle(project: Project) -> Project:
        for name in ("EVERGREEN_ROOT", "EVERGREEN_PLACE", "PREFECT_HOME", "PREFECT_API_URL"):
            os.environ.pop(name, None)
        environment.apply(project)
        return project

    yield settle
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture
def checkout(tmp_path: Path, at_home: Callable[[Project], Project], committed_files: Path) -> Project:
    """A git repository with this project's files committed, and nothing delivered, trained or registered."""
    return at_home(Project(shutil.copytree(committed_files, tmp_path / "clone", symlinks=True)))


@pytest.fixture
def clone(checkout: Project, empty_mlflow: Path) -> Project:
    """A checkout whose MLflow database is made and empty."""
    checkout.stores.mkdir(parents=True, exist_ok=True)
    shutil.copy(empty_mlflow, checkout.stores / "mlflow.db")
    return checkout


@pytest.fixture
def judged(tmp_path: Path, at_home: Callable[[Project], Project], judged_bikes: Path) -> Project:
    """A clone in which a first bike model was trained and passed the gate, and is not registered yet."""
    return at_home(move_in(judged_bikes, tmp_path / "clone"))


@pytest.fixture
def registered(tmp_path: Path, at_home: Callable[[Project], Project], registered_bikes: Path) -> Project:
    """A clone in which version 1 of the bike model waits for an answer, asked for at ASKED."""
    return at_home(move_in(registered_bikes, tmp_path / "clone"))


@pytest.fixture
def succession(tmp_path: Path, at_home: Callable[[Project], Project], bikes_in_succession: Path) -> Project:
    """A clone in which bike model 1 is retired, 2 is champion, and 3 waits for an answer."""
    return at_home(move_in(bikes_in_succession, tmp_path / "clone"))


@pytest.fixture
def served_before(tmp_path: Path, at_home: Callable[[Project], Project], served_bikes: Path) -> Project:
    """The same clone, in which a gateway ran before: another comes up from the copy that one left, in a second."""
    return at_home(move_in(served_bikes, tmp_path / "clone"))


@pytest.fixture
def answer() -> Answer:
    """An approval by Ada, an hour after the question, through the command line, unless changed."""

    def build(version: str = "1", *, approve: bool = True, **changes: Any) -> Approval:
        said = {"by": "Ada", "reason": "the figures hold", "channel": "cli", "at": ASKED + timedelta(hours=1)}
        return Approval(case="bikes", version=version, approve=approve, **{**said, **changes})

    return build


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str, Make], Path]:
    """Makes a folder once for all workers of a test run; gives its path."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent

    def make_once(name: str, make: Make) -> Path:
        folder, done = shared / f"made-{name}", shared / f"made-{name}.done"
        with exclusive(shared / f"made-{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                make(folder)
                done.touch()
        return folder

    return make_once


@pytest.fixture(scope="session")
def committed_files(once: Callable[[str, Make], Path]) -> Path:
    """The folder that `checkout` is copied from."""
    return once("checkout", lay_out)


@pytest.fixture(scope="session")
def empty_mlflow(once: Callable[[str, Make], Path]) -> Path:
    """An MLflow database with all tables and no content; making one takes seconds, copying it none."""

    def make(folder: Path) -> None:
        from mlflow.tracking import MlflowClient  # noqa: PLC0415 - takes seconds that other tests need not pay

        folder.mkdir()
        MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments(max_results=1)

    return once("mlflow", make) / "mlflow.db"


@pytest.fixture(scope="session")
def judged_bikes(once: Callable[[str, Make], Path], committed_files: Path, empty_mlflow: Path) -> Path:
    """The folder that `judged` is copied from: the chain was run through DVC."""

    def make(folder: Path) -> None:
        shutil.copytree(committed_files, folder, symlinks=True)
        change_params(folder, "bikes", QUICK)
        commit(folder, "quick bikes")
        Project(folder).stores.mkdir(parents=True)
        shutil.copy(empty_mlflow, Project(folder).stores / "mlflow.db")
        run_chain(Project(folder))

    return once("judged", make)


@pytest.fixture(scope="session")
def registered_bikes(once: Callable[[str, Make], Path], judged_bikes: Path) -> Path:
    """The folder that `registered` is copied from."""

    def make(folder: Path) -> None:
        from tasks.promotion.register import register  # noqa: PLC0415

        project = move_in(judged_bikes, folder)
        register(project, Order(case="bikes", as_of=AS_OF), ASKED)

    return once("registered", make)


@pytest.fixture(scope="session")
def bikes_in_succession(once: Callable[[str, Make], Path], registered_bikes: Path) -> Path:
    """The folder that `succession` is copied from: three models, each trained, judged and registered in turn."""

    def make(folder: Path) -> None:
        from tasks.promotion.decide import decide  # noqa: PLC0415
        from tasks.promotion.register import register  # noqa: PLC0415

        project = move_in(registered_bikes, folder)
        for version, trees in BETTER.items():
            at = ASKED + timedelta(days=6 * (version - 1))
            yes = {"case": "bikes", "approve": True, "by": "Ada", "reason": "the figures hold", "channel": "cli"}
            decide(project, Approval(version=str(version - 1), at=at, **yes))
            change_params(folder, "bikes", {"training.settings.max_iter": trees})
            commit(folder, f"{trees} trees")
            register(project, run_chain(project), at)

    return once("succession", make)


@pytest.fixture(scope="session")
def served_bikes(once: Callable[[str, Make], Path], bikes_in_succession: Path) -> Path:
    """The folder that `served_before` is copied from."""

    def make(folder: Path) -> None:
        from tests.serving.conftest import await_roles, running  # noqa: PLC0415 - it builds on this module

        with running(move_in(bikes_in_succession, folder)) as gateway:
            await_roles(gateway)

    return once("served", make)


def lay_out(folder: Path) -> Path:
    """Copy this project's own files to `folder`, as a git repository with one commit."""
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", "cache", "tmp", "config.local")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    # Copies keep the times of files, and with them what was compiled: no clone's first process does that again.
    compileall.compile_dir(folder, quiet=1)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "user.name", "Test")
    git(folder, "config", "user.email", "test@example.org")
    commit(folder, "as it is")
    return folder


def move_in(template: Path, folder: Path) -> Project:
    """Copy a clone to `folder`; MLflow keeps absolute addresses, so they are turned to the new place."""
    shutil.copytree(template, folder, symlinks=True)
    with closing(sqlite3.connect(folder / "data/stores/mlflow.db")) as database, database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for _, column, kind, *_ in database.execute(f"PRAGMA table_info('{table}')").fetchall():
                if kind.upper().startswith(("VARCHAR", "TEXT")):
                    turn = f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) WHERE instr("{column}", ?)'
                    database.execute(turn, (f"{template}/", f"{folder}/", f"{template}/"))
    return Project(folder)


def run_chain(project: Project, as_of: datetime = AS_OF, stages: tuple[str, ...] = STAGES) -> Order:
    """Order the bikes as of a moment and run the stages through DVC, as the training flow does."""
    from tasks.adapters import dvc  # noqa: PLC0415
    from tasks.promotion.order import place_order  # noqa: PLC0415

    order = place_order(project, "bikes", as_of)
    for stage in stages:
        dvc.reproduce_stage(project, stage, "bikes")
    return order


def change_params(root: Path, case: str, changes: dict[str, Any]) -> None:
    """Set values of a case's section in params.yaml, each named by its dotted key."""
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        *above, last = key.split(".")
        section = params[case]
        for name in above:
            section = section[name]
        section[last] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def git(folder: Path, *arguments: str) -> str:
    """What git answers in `folder`."""
    ended = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return ended.stdout


def commit(folder: Path, message: str) -> str:
    """Commit everything in `folder`; gives the revision."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD").strip()
