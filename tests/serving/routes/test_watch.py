"""What workers see of the local copy: each change once, whole, and at next to no cost."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving.routes.errors import RoutesUnreadable
from serving.routes.local import CaseRoutes, LocalCopy, RouteEntry, changed
from serving.routes.watch import Watch

WHEN = datetime(2026, 11, 20, tzinfo=UTC)


def routes(case: str = "bikes", generation: int = 1, champion: str = "3") -> CaseRoutes:
    entry = RouteEntry(version=champion, engine="plan", model_sha256="a" * 64, plan_sha256="b" * 64)
    return CaseRoutes(case=case, generation=generation, written_at=WHEN, salt=case, champion=entry)


@pytest.fixture
def copy(tmp_path: Path) -> LocalCopy:
    return LocalCopy(tmp_path)


def test_routes_come_back_as_they_were_written(copy: LocalCopy) -> None:
    copy.write_routes(routes())
    assert copy.read_routes("bikes") == routes()
    assert copy.read_routes("flights") is None


def test_a_worker_sees_each_change_once(copy: LocalCopy) -> None:
    watch = Watch(copy.root, ["bikes", "flights"])
    assert watch.poll() == []
    copy.write_routes(routes())
    assert watch.poll() == [routes()]
    assert watch.poll() == []
    copy.write_routes(routes(generation=2, champion="4"))
    copy.write_routes(routes("flights"))
    assert watch.poll() == [routes(generation=2, champion="4"), routes("flights")]
    assert watch.poll() == []


def test_a_change_within_the_same_instant_and_of_the_same_size_is_seen(copy: LocalCopy) -> None:
    watch = Watch(copy.root, ["bikes"])
    for number in range(1, 10):
        copy.write_routes(routes(champion=str(number)))
        assert watch.poll() == [routes(champion=str(number))]


def test_a_worker_that_starts_later_sees_what_there_is(copy: LocalCopy) -> None:
    copy.write_routes(routes())
    assert Watch(copy.root, ["bikes"]).poll() == [routes()]


def test_routes_that_somebody_spoilt_are_told_once_and_followed_again_when_they_are_whole(
    copy: LocalCopy, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch(copy.root, ["bikes"])
    copy.write_routes(routes())
    watch.poll()
    copy.routes("bikes").write_text('{"case": "bikes"')
    with caplog.at_level(logging.ERROR):
        assert [watch.poll(), watch.poll()] == [[], []]
    assert [record.message for record in caplog.records] == [
        "bikes: its routes cannot be read; whoever answers goes on"
    ]
    with pytest.raises(RoutesUnreadable, match=r"bikes/routes\.json of the local copy cannot be read"):
        copy.read_routes("bikes")
    copy.write_routes(routes(generation=2))
    assert watch.poll() == [routes(generation=2)]


def test_looking_costs_about_a_microsecond_a_case(copy: LocalCopy) -> None:
    copy.write_routes(routes())
    path = str(copy.routes("bikes"))
    look = changed(path, None)

    def once() -> float:
        began = time.perf_counter()
        for _ in range(1000):
            changed(path, look)
        return (time.perf_counter() - began) / 1000

    assert min(once() for _ in range(20)) < 5e-6


def test_a_file_that_vanishes_is_no_change(copy: LocalCopy) -> None:
    """Whoever answers goes on; the keeper writes the file anew."""
    copy.write_routes(routes())
    watch = Watch(copy.root, ["bikes"])
    watch.poll()
    copy.routes("bikes").unlink()
    assert watch.poll() == []


def test_the_watch_imports_nothing_heavy(imported_by: Callable[[str], set[str]]) -> None:
    heavy = {"pandas", "sklearn", "scipy", "pyarrow", "mlflow", "sqlalchemy", "prefect", "fsspec", "numpy"}
    assert not imported_by("serving.routes.watch, tasks.rollout.draw") & heavy
