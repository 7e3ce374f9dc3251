"""Rows from a query, on SQLite and on PostgreSQL, within the bounds and without telling the password."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pandas as pd
import pytest
import sqlalchemy

from configs.case import Case
from configs.errors import ConfigError
from tasks.errors import SourceUnreadable
from tasks.ingestion.sources import BEGINNING, rows

from .conftest import Library, case_of, loans, utc

VARIABLE = "LIBRARY_URL"
POSTGRES = "postgresql+psycopg://postgres@127.0.0.1:5432/test"
WEEK = loans("2013-01-07", 7)
END = utc("2030-01-01")
BETWEEN = "where at >= :start and at < :end order by at"


def case_with(query: str) -> Case:
    return case_of(source={"kind": "sql", "url_from": VARIABLE, "query": query})


def between(query: str, start: str, end: str) -> list[str]:
    return [f"{moment:%dT%H}" for moment in rows(case_with(query), utc(start), utc(end))["at"]]


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlalchemy.Engine]:
    """A database with the loans of a week in the table `loans`."""
    url = f"sqlite:///{tmp_path}/library.db"
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    WEEK.assign(at=WEEK["at"].dt.tz_localize(None)).to_sql("loans", engine, index=False)
    monkeypatch.setenv(VARIABLE, url)
    yield engine
    engine.dispose()


@pytest.fixture
def postgres(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[sqlalchemy.Engine, str]]:
    """A database, and the name of a table of our own in it with the loans of a week."""
    with closing(socket.socket()) as probe:
        if probe.connect_ex(("127.0.0.1", 5432)):
            pytest.skip("no PostgreSQL listens on 127.0.0.1:5432")
    engine = sqlalchemy.create_engine(POSTGRES, poolclass=sqlalchemy.NullPool)
    table = f"loans_{uuid4().hex}"
    WEEK.to_sql(table, engine, index=False)
    monkeypatch.setenv(VARIABLE, POSTGRES)
    yield engine, table
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"drop table {table}"))
    engine.dispose()


def test_sqlite_gives_the_rows_between_the_bounds(sqlite: sqlalchemy.Engine) -> None:
    found = between(f"select * from loans {BETWEEN}", "2013-01-08", "2013-01-09")
    assert found == ["08T00", "08T06", "08T12", "08T18"]


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S+00:00"])
def test_a_row_on_the_very_start_of_a_period_is_not_lost_however_the_time_is_written(
    sqlite: sqlalchemy.Engine, form: str
) -> None:
    WEEK.assign(at=WEEK["at"].dt.strftime(form)).to_sql("loans", sqlite, index=False, if_exists="replace")
    query = f"select * from loans {BETWEEN}"
    assert between(query, "2013-01-08", "2013-01-09") == ["08T00", "08T06", "08T12", "08T18"]
    assert between(query, "2013-01-09", "2013-01-10")[0] == "09T00"


def test_a_query_need_not_use_the_bounds_and_is_cut_to_them_all_the_same(sqlite: sqlalchemy.Engine) -> None:
    assert between("select * from loans order by at", "2013-01-08", "2013-01-09") == [
        "08T00",
        "08T06",
        "08T12",
        "08T18",
    ]
    assert between("select * from loans where at < :end", "2013-01-13", "2013-01-14")[-1] == "13T18"


def test_a_database_is_ingested_like_any_source_and_only_once(library: Library, sqlite: sqlalchemy.Engine) -> None:
    query = f"select * from loans {BETWEEN}"
    library.describe(source={"kind": "sql", "url_from": VARIABLE, "query": query})
    assert library.ingest("2013-01-14") == ["2013-W02"]
    assert list(library.batch("2013-W02")["loan_id"]) == list(WEEK["loan_id"])
    assert library.ingest("2013-01-14") == []


def test_postgres_gives_the_rows_between_the_bounds(postgres: tuple[sqlalchemy.Engine, str]) -> None:
    _, table = postgres
    found = rows(case_with(f"select * from {table} {BETWEEN}"), utc("2013-01-08"), utc("2013-01-10"))
    pd.testing.assert_frame_equal(found, WEEK.iloc[4:12].reset_index(drop=True))


@pytest.mark.parametrize("column", ["timestamptz", "timestamp"])
def test_bounds_are_in_utc_whatever_the_time_zone_of_the_database_session(
    postgres: tuple[sqlalchemy.Engine, str], monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    engine, table = postgres
    in_utc = "" if column == "timestamptz" else "using at at time zone 'UTC'"
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"alter table {table} alter at type {column} {in_utc}"))
    monkeypatch.setenv("PGTZ", "America/New_York")
    query = f"select * from {table} {BETWEEN}"
    assert between(query, "2013-01-08", "2013-01-09") == ["08T00", "08T06", "08T12", "08T18"]


def test_a_query_cannot_change_the_source(postgres: tuple[sqlalchemy.Engine, str]) -> None:
    engine, table = postgres
    found = rows(case_with(f"delete from {table} returning *"), BEGINNING, END)
    with engine.connect() as connection:
        left = connection.execute(sqlalchemy.text(f"select count(*) from {table}")).scalar_one()
    assert (len(found), left) == (len(WEEK), len(WEEK))


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(ConfigError, match=f"taken from the environment variable {VARIABLE}: not set"):
        rows(case_with("select 1"), BEGINNING, END)


@pytest.mark.parametrize("url", ["me:secret@host/db", "postgresql+psycopg://me@host:secret/db"])
def test_a_variable_that_holds_no_address_is_named_without_what_it_holds(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(ConfigError, match=f"The environment variable {VARIABLE} holds no database URL") as raised:
        rows(case_with("select 1"), BEGINNING, END)
    assert "secret" not in str(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("postgresql+psycopg://me:secret@127.0.0.1:1/library", "connection failed.*refused"),
        ("postgresql+nodriver://me:secret@127.0.0.1/library", "Can't load plugin"),
        ("postgresql+pg8000://me:secret@127.0.0.1/library", "No module named 'pg8000'"),
    ],
)
def test_a_database_that_cannot_be_reached_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str, cause: str
) -> None:
    monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(SourceUnreadable, match=rf"me:\*\*\*@127.* cannot be read: {cause}.*Check {VARIABLE}") as raised:
        rows(case_with("select 1"), BEGINNING, END)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("query", "cause"),
    [
        ("select nope from loans", "no such column: nope"),
        ("select * from nowhere", "no such table: nowhere"),
        ("selekt 1", 'near "selekt": syntax error'),
        ("select * from loans where pages = :pages", "A value is required for bind parameter 'pages'"),
        ("delete from loans", "does not return rows"),
    ],
)
def test_a_query_that_fails_is_explained_in_one_line(sqlite: sqlalchemy.Engine, query: str, cause: str) -> None:
    with pytest.raises(
        SourceUnreadable, match=rf"library\.db cannot be read: .*{cause}.*the query in the case's"
    ) as raised:
        rows(case_with(query), BEGINNING, END)
    assert "\n" not in str(raised.value)


def test_a_query_that_fails_on_postgres_does_not_tell_the_password(
    postgres: tuple[sqlalchemy.Engine, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, table = postgres
    monkeypatch.setenv(VARIABLE, POSTGRES.replace("postgres@", "postgres:secret@"))
    with pytest.raises(SourceUnreadable, match=r'postgres:\*\*\*@.*column "nope" does not exist') as raised:
        rows(case_with(f"select nope from {table}"), BEGINNING, END)
    assert "secret" not in str(raised.value)
