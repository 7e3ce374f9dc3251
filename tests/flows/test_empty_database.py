"""The database of a new Prefect home: made once in an environment, copied from then on."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from flows import empty_database
from tests.conftest import ROOT

_HAVE = """
import sys
from pathlib import Path
from flows.empty_database import have_a_database
sys.prefix = {prefix!r}
have_a_database(Path({home!r}))
print("prefect" in sys.modules)
"""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    path = tmp_path / "environment" / "share" / "evergreen" / f"prefect-{version('prefect')}.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"tables")
    return path


def test_a_new_home_gets_a_copy_and_one_that_has_a_database_keeps_it(tmp_path: Path, kept: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    new.mkdir()
    old.mkdir()
    (old / "prefect.db").write_bytes(b"runs")
    for have in (empty_database.copy_empty_database, empty_database.have_a_database):
        for home in (new, old):
            have(home)
        assert (new / "prefect.db").read_bytes() == kept.read_bytes()
        assert (old / "prefect.db").read_bytes() == b"runs"
        (new / "prefect.db").unlink()


def test_where_another_database_is_named_the_home_gets_none(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql+asyncpg://prefect@db/prefect")
    empty_database.copy_empty_database(tmp_path)
    empty_database.have_a_database(tmp_path)
    assert kept.is_file()
    assert not (tmp_path / "prefect.db").exists()


def test_an_environment_that_cannot_be_written_is_read_all_the_same(
    tmp_path: Path, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    empty_database.have_a_database(home)
    assert (home / "prefect.db").read_bytes() == b"tables"
    (home / "prefect.db").unlink()
    kept.unlink()
    kept.with_suffix(".lock").mkdir()  # as good as another user's file, for root too
    empty_database.have_a_database(home)
    assert not (home / "prefect.db").exists()
    assert "cannot be kept" in caplog.text
    assert [path.name for path in home.iterdir()] == []


def test_an_environment_in_which_none_was_made_leaves_it_to_the_server(tmp_path: Path, kept: Path) -> None:
    kept.unlink()
    empty_database.copy_empty_database(tmp_path)
    assert not (tmp_path / "prefect.db").exists()


@pytest.mark.slow
def test_the_first_home_is_migrated_and_the_second_has_the_same_tables_without_prefect(tmp_path: Path) -> None:
    def have(home: Path) -> tuple[str, list[str]]:
        home.mkdir()
        code = _HAVE.format(prefix=str(tmp_path), home=str(home))
        ended = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PREFECT_HOME": str(home)},
            check=True,
            capture_output=True,
            text=True,
        )
        with closing(sqlite3.connect(home / "prefect.db")) as database:
            found = database.execute("select name from sqlite_master where type = 'table' order by name")
            return ended.stdout.strip(), [name for (name,) in found]

    first, second = have(tmp_path / "first"), have(tmp_path / "second")
    assert (first[0], second[0]) == ("True", "False")
    assert first[1] == second[1]
    assert {"alembic_version", "flow_run", "deployment"} <= set(first[1])
