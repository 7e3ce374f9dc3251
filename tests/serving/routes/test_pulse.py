"""Commits of other processes are noticed, whatever SQLite's journal mode, and an absent file is never made."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from serving.routes.pulse import ClockPulse, DatabasePulse, pulse_of
from tasks.errors import StoreUnreachable

MODES = ("delete", "wal", "truncate", "persist")


def commit_elsewhere(path: Path) -> None:
    code = "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute('INSERT INTO t VALUES (1)'); d.commit()"
    subprocess.run([sys.executable, "-c", code, path], check=True)


def database(path: Path, mode: str = "delete") -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("CREATE TABLE IF NOT EXISTS t (a)")
    return connection


@pytest.mark.parametrize("mode", MODES)
def test_a_commit_of_another_process_is_noticed_once(tmp_path: Path, mode: str) -> None:
    with closing(database(tmp_path / "mlflow.db", mode)) as connection:
        pulse = DatabasePulse(tmp_path / "mlflow.db")
        assert [pulse.changed(), pulse.changed()] == [True, False], "the first look is always worth it"
        commit_elsewhere(tmp_path / "mlflow.db")
        assert [pulse.changed(), pulse.changed()] == [True, False]
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t VALUES (2)")
        assert not pulse.changed(), "nothing is committed yet"
        connection.execute("COMMIT")
        assert [pulse.changed(), pulse.changed()] == [True, False]
        pulse.close()


def test_a_reader_changes_nothing(tmp_path: Path) -> None:
    with closing(database(tmp_path / "mlflow.db")) as connection:
        pulse = DatabasePulse(tmp_path / "mlflow.db")
        pulse.changed()
        connection.execute("SELECT * FROM t").fetchall()
        assert not pulse.changed()
        pulse.close()


def test_a_writer_that_is_at_it_is_worth_asking_and_holds_nobody_up(tmp_path: Path) -> None:
    with closing(database(tmp_path / "mlflow.db")) as connection:
        pulse = DatabasePulse(tmp_path / "mlflow.db")
        pulse.changed()
        connection.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        assert pulse.changed()
        assert time.monotonic() - began < 1
        connection.execute("ROLLBACK")
        pulse.close()


def test_a_file_that_is_gone_is_unreachable_and_not_made(tmp_path: Path) -> None:
    pulse = DatabasePulse(tmp_path / "mlflow.db")
    for _ in range(2):
        with pytest.raises(StoreUnreachable, match=r"MLflow cannot be reached at .*mlflow\.db: the file is not there"):
            pulse.changed()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_comes_back_is_worth_asking(tmp_path: Path) -> None:
    database(tmp_path / "mlflow.db").close()
    pulse = DatabasePulse(tmp_path / "mlflow.db")
    pulse.changed()
    (tmp_path / "mlflow.db").rename(tmp_path / "away.db")
    with pytest.raises(StoreUnreachable, match="the file is not there"):
        pulse.changed()
    (tmp_path / "away.db").rename(tmp_path / "mlflow.db")
    assert [pulse.changed(), pulse.changed()] == [True, False]
    pulse.close()


def test_another_file_in_its_place_is_noticed_and_its_commits_too(tmp_path: Path) -> None:
    for name in ("mlflow.db", "restored.db"):
        database(tmp_path / name).close()
    pulse = DatabasePulse(tmp_path / "mlflow.db")
    pulse.changed()
    (tmp_path / "restored.db").replace(tmp_path / "mlflow.db")
    assert [pulse.changed(), pulse.changed()] == [True, False]
    commit_elsewhere(tmp_path / "mlflow.db")
    assert [pulse.changed(), pulse.changed()] == [True, False]
    pulse.close()


def test_a_file_that_is_no_database_is_left_to_mlflow_to_tell(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database" * 1000)
    pulse = DatabasePulse(tmp_path / "mlflow.db")
    assert [pulse.changed(), pulse.changed()] == [True, True]


def test_a_server_is_asked_every_so_often() -> None:
    pulse = ClockPulse(0.05)
    assert [pulse.changed(), pulse.changed()] == [True, False]
    time.sleep(0.06)
    assert [pulse.changed(), pulse.changed()] == [True, False]


def test_only_sqlite_has_a_pulse_of_its_own(tmp_path: Path) -> None:
    assert isinstance(pulse_of(f"sqlite:///{tmp_path}/mlflow.db?timeout=5", 1), DatabasePulse)
    for uri in ("http://127.0.0.1:5000", "postgresql://127.0.0.1/mlflow"):
        assert isinstance(pulse_of(uri, 1), ClockPulse)


def test_a_look_costs_microseconds(tmp_path: Path) -> None:
    database(tmp_path / "mlflow.db").close()
    pulse = DatabasePulse(tmp_path / "mlflow.db")

    def once() -> float:
        began = time.perf_counter()
        for _ in range(200):
            pulse.changed()
        return (time.perf_counter() - began) / 200

    assert min(once() for _ in range(20)) < 100e-6
    pulse.close()
