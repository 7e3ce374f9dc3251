"""A year of production, once in memory for what draws it, and once in the stores of a clone."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from configs.project import Project
from tasks.status.gather import gather
from tasks.status.story import Addresses, CaseStory, Story
from tests.conftest import Make, move_in
from tests.status.year import CASE, ENDED, live

ADDRESSES = Addresses(prefect="http://127.0.0.1:4200", mlflow="http://127.0.0.1:5000")
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def lived_folder(once: Callable[[str, Make], Path], committed_files: Path, empty_mlflow: Path) -> Path:
    """The folder that `lived` is copied from."""

    def make(folder: Path) -> None:
        shutil.copytree(committed_files, folder, symlinks=True)
        project = Project(folder)
        project.stores.mkdir(parents=True)
        shutil.copy(empty_mlflow, project.stores / "mlflow.db")
        live(project)

    return once("lived", make)


@pytest.fixture
def lived(tmp_path: Path, at_home: Callable[[Project], Project], lived_folder: Path) -> Project:
    """A clone whose stores tell of a year."""
    return at_home(move_in(lived_folder, tmp_path / "clone"))


@pytest.fixture(scope="session")
def year(lived_folder: Path) -> Story:
    """What is told of that year."""
    project = Project(lived_folder)
    return gather(project, ADDRESSES, ENDED, project.status_page)


@pytest.fixture
def flights(year: Story) -> CaseStory:
    """The case that has lived it."""
    return next(case for case in year.cases if case.case == CASE)
