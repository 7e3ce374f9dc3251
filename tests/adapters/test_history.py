"""The history is appended to and never changed; what was changed in it nevertheless is found."""

import multiprocessing
import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sql

from configs.project import Project
from tasks.adapters.history import History
from tasks.errors import HistoryAltered, StoreUnreachable
from tasks.records import Event

AT = datetime(2011, 4, 11, 3, tzinfo=UTC)
POSTGRES = os.environ.get("EVERGREEN_TEST_POSTGRES") or "postgresql+psycopg://postgres@127.0.0.1:5432/test"
WRITERS, EACH = 2, 15


def event(number: int, case: str = "bikes", by: str = "Ada") -> Event:
    at = AT + timedelta(minutes=number)
    return Event(case=case, at=at, what="approved", version=str(number), by=by, reason="the figures hold")


def append_many(project: Project, by: str) -> None:
    history = History(project)
    for number in range(EACH):
        history.append(event(number, by=by))


def at_place(project: Project, url: str) -> Project:
    place = project.root / "configs/places/local.yaml"
    place.write_text(place.read_text().replace("sqlite:///data/stores/history.db", url))
    return Project(project.root)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of an empty PostgreSQL database, dropped afterwards."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (`uv sync --all-extras`)")
    server = sql.make_url(POSTGRES)
    engine = sql.create_engine(server, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5})
    name = f"evergreen_{uuid.uuid4().hex}"
    try:
        with engine.connect() as connection:
            connection.execute(sql.text(f"CREATE DATABASE {name}"))
    except sql.exc.OperationalError as error:
        pytest.skip(f"no PostgreSQL answers at {server.render_as_string()}: {str(error.orig).splitlines()[0]}")
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(sql.text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def kept(request: pytest.FixtureRequest, checkout: Project) -> Iterator[Project]:
    """A project whose history is kept in SQLite, and one that keeps it in PostgreSQL."""
    if request.param == "sqlite":
        yield checkout
        return
    project = at_place(checkout, request.getfixturevalue("postgres"))
    yield project
    with History(project)._engine.begin() as connection:
        connection.execute(sql.text("DROP TABLE history"))


@pytest.fixture
def tamper(kept: Project) -> Callable[..., None]:
    """Changes the history behind its door, as someone with the database's password could."""

    def change(statement: str, **values: object) -> None:
        with History(kept)._engine.begin() as connection:
            connection.execute(sql.text(statement), values)

    return change


def test_events_come_back_equal_and_in_order_to_whoever_opens_it(kept: Project) -> None:
    written = [event(1), event(2, by="Grace"), event(3)]
    for one in written:
        History(kept).append(one)
    assert History(kept).events("bikes") == written
    assert History(kept).verify("bikes") == 3


def test_each_case_has_a_chain_of_its_own(kept: Project) -> None:
    history = History(kept)
    for case, number in (("bikes", 1), ("flights", 1), ("bikes", 2)):
        history.append(event(number, case))
    assert [one.version for one in history.events("bikes")] == ["1", "2"]
    assert [one.version for one in history.events("flights")] == ["1"]
    assert (history.verify("bikes"), history.verify("flights")) == (2, 1)


def test_an_empty_history_holds(kept: Project) -> None:
    assert History(kept).events("bikes") == []
    assert History(kept).verify("bikes") == 0


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE history SET body = replace(body, 'Ada', 'Eve') WHERE seq = 2", "entry 2 does not match its seal"),
        ("DELETE FROM history WHERE seq = 2", "entry 2 is missing"),
        ("DELETE FROM history WHERE seq = 1", "entry 1 is missing"),
        ("UPDATE history SET hash = '' WHERE seq = 2", "entry 2 does not match its seal"),
        ("UPDATE history SET hash = '' WHERE seq = 4", "entry 4 does not match its seal"),
        ("UPDATE history SET seq = 9 WHERE seq = 4", "entry 4 is missing"),
    ],
    ids=["edited body", "removed middle", "removed first", "removed hash", "removed last hash", "renumbered"],
)
def test_what_was_altered_in_the_history_is_found(
    kept: Project, tamper: Callable[..., None], statement: str, words: str
) -> None:
    for number in (1, 2, 3, 4):
        History(kept).append(event(number))
    tamper(statement)
    with pytest.raises(HistoryAltered, match=rf"The history of `bikes` was altered: {words}"):
        History(kept).verify("bikes")


def test_an_entry_that_is_removed_and_the_gap_closed_is_found(kept: Project, tamper: Callable[..., None]) -> None:
    for number in (1, 2, 3):
        History(kept).append(event(number))
    tamper("DELETE FROM history WHERE seq = 2")
    tamper("UPDATE history SET seq = 2 WHERE seq = 3")
    with pytest.raises(HistoryAltered, match="entry 2 does not match its seal"):
        History(kept).verify("bikes")


def test_an_edited_entry_sealed_again_breaks_the_one_after_it(kept: Project, tamper: Callable[..., None]) -> None:
    from tasks.adapters.history import _seal  # noqa: PLC0415 - what a forger would compute

    history = History(kept)
    for number in (1, 2, 3):
        history.append(event(number))
    _, body, previous, _ = history._rows("bikes")[1]
    forged = body.replace("Ada", "Eve")
    tamper("UPDATE history SET body = :body, hash = :hash WHERE seq = 2", body=forged, hash=_seal(previous, forged))
    with pytest.raises(HistoryAltered, match="entry 3 does not match its seal"):
        history.verify("bikes")


def test_the_chain_alone_cannot_show_that_its_end_was_cut_off_only_the_count_can(
    kept: Project, tamper: Callable[..., None]
) -> None:
    history = History(kept)
    for number in (1, 2, 3):
        history.append(event(number))
    tamper("DELETE FROM history WHERE seq = 3")
    assert history.verify("bikes") == 2  # what holds is said; that there were 3 must be known from elsewhere
    history.append(event(4))
    assert history.verify("bikes") == 3


def test_two_processes_that_append_at_once_both_land_in_order(kept: Project) -> None:
    History(kept).append(event(0))
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append_many, args=(kept, f"writer {number}")) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    assert History(kept).verify("bikes") == 1 + WRITERS * EACH
    for number in range(WRITERS):
        own = [one.version for one in History(kept).events("bikes") if one.by == f"writer {number}"]
        assert own == [str(count) for count in range(EACH)]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://ada:hunter2@127.0.0.1:9/test",
        "nodatabase://ada:hunter2@127.0.0.1/test",
        "sqlite:////proc/nowhere/history.db",
    ],
    ids=["nobody there", "no such kind", "no such folder"],
)
def test_a_history_that_cannot_be_reached_says_where_and_what_to_do_without_the_password(
    checkout: Project, url: str
) -> None:
    with pytest.raises(StoreUnreachable, match=r"(?s)The history cannot be reached.*stores\.history") as told:
        History(at_place(checkout, url))
    assert "hunter2" not in str(told.value)


def test_a_history_that_is_not_a_database_says_so(checkout: Project) -> None:
    checkout.stores.mkdir(parents=True, exist_ok=True)
    (checkout.stores / "history.db").write_text("not a database, and long enough to be looked at" * 40)
    with pytest.raises(StoreUnreachable, match=r"data/stores/history\.db: file is not a database"):
        History(checkout)
