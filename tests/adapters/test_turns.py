"""One at a time: on this host by a file, among hosts by the database they share."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sql

from configs.project import Project
from tasks.adapters.journal import Journal
from tasks.adapters.locks import Held
from tasks.adapters.turns import alone, take_turn
from tasks.errors import StoreUnreachable
from tests.adapters.test_history import postgres  # noqa: F401 - a fixture

from .conftest import Start

HOLD = """
import sys, time
from pathlib import Path
from configs.project import Project
from tasks.adapters.turns import take_turn
take_turn(Project(Path(sys.argv[1])), "bikes.decision", wait=True)
print("held", flush=True)
time.sleep(60)
"""

Host = Callable[[str], Project]


@pytest.fixture
def host(tmp_path: Path, postgres: str) -> Host:  # noqa: F811 - a fixture
    """A host: a clone with stores of its own, whose history is in the shared PostgreSQL database."""

    def build(name: str, history: str = postgres) -> Project:
        project = Project(tmp_path / name)
        place = project.root / "configs/places/local.yaml"
        place.parent.mkdir(parents=True)
        place.write_text(f"stores: {{mlflow: 'sqlite:///m.db', history: '{history}', prefect_home: p}}\n")
        return project

    return build


def is_free(project: Project, name: str = "bikes.decision") -> bool:
    try:
        take_turn(project, name, wait=False).end()
    except Held:
        return False
    return True


def test_two_hosts_that_share_a_history_take_turns(host: Host) -> None:
    here, there = host("here"), host("there")
    with alone(here, "bikes.decision"):
        with pytest.raises(Held, match="on another host"):
            take_turn(there, "bikes.decision", wait=False)
        assert is_free(there, "flights.decision"), "another case is another turn"
        assert is_free(there, "bikes.training"), "another turn of the same case too"
    assert is_free(there)


def test_hosts_that_come_to_an_empty_database_at_once_make_its_tables_one_after_the_other(host: Host) -> None:
    hosts = [host(f"host{number}") for number in range(8)]
    with ThreadPoolExecutor(len(hosts)) as pool:
        journals = list(pool.map(Journal, hosts))
    assert [journal.trainings("bikes") for journal in journals] == [[]] * len(hosts)


def test_two_processes_of_one_host_take_turns_whatever_the_history_is(host: Host) -> None:
    here = host("here", "sqlite:///h.db")
    with alone(here, "bikes.decision"):
        assert not is_free(here)
    assert is_free(here)


def test_a_host_that_waits_comes_after_the_one_that_died(host: Host, started: Start) -> None:
    here, there = host("here"), host("there")
    holder = started(HOLD, here.root)
    assert holder.stdout
    assert holder.stdout.readline().strip() == "held"
    assert not is_free(there)
    holder.kill()
    with alone(there, "bikes.decision"):
        assert not is_free(here)


def test_a_turn_is_given_back_when_the_work_in_it_fails(host: Host) -> None:
    here, there = host("here"), host("there")
    with pytest.raises(ZeroDivisionError, match="division"), alone(here, "bikes.decision"):
        _ = 1 / 0
    assert is_free(there)


def test_a_database_that_is_away_gives_no_turn_and_keeps_none(host: Host, postgres: str) -> None:  # noqa: F811
    away = sql.make_url(postgres).set(port=9, password="secret").render_as_string(hide_password=False)
    here = host("here", away)
    with pytest.raises(StoreUnreachable, match="The history cannot be reached at") as told:
        take_turn(here, "bikes.decision", wait=True)
    assert "secret" not in str(told.value)
    place = here.root / "configs/places/local.yaml"
    place.write_text(place.read_text().replace(away, postgres))
    assert is_free(Project(here.root))
