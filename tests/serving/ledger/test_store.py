"""A file of the store is there whole or not at all; a store that cannot be reached loses nothing."""

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from serving.ledger.status import Status
from serving.ledger.store import Store
from tasks.errors import StoreUnreachable
from tests.serving.ledger.broken import Flaky
from tests.serving.ledger.conftest import Log, bird, tide

DAY = date(2026, 3, 1)


@pytest.fixture(autouse=True)
def _empty_stores() -> Iterator[None]:
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    yield
    MemoryFileSystem.store.clear()
    Flaky.store.clear()
    Flaky.down = Flaky.lying = False
    Flaky.asked.clear()
    Flaky.listings.clear()


@pytest.fixture(params=["folder", "file", "memory", "flaky"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    urls = {"folder": str(tmp_path / "p"), "file": f"file://{tmp_path}/p", "memory": "memory://p", "flaky": "flaky://p"}
    return Store(urls[request.param])


def test_every_store_lists_what_was_put_there_and_forgets_what_was_removed(store: Store) -> None:
    assert store.cases() == []
    assert store.files("birds", DAY) == {}
    store.put("birds", DAY, "part-a.parquet", b"12345")
    store.put("birds", date(2026, 3, 2), "part-b.parquet", b"1")
    store.put("tides", DAY, "part-a.parquet", b"1")
    assert store.cases() == ["birds", "tides"]
    assert store.days("birds") == [DAY, date(2026, 3, 2)]
    assert store.files("birds", DAY) == {"part-a.parquet": 5}
    assert store.get("birds", DAY, "part-a.parquet") == b"12345"
    store.remove("birds", DAY, "part-a.parquet")
    store.remove("birds", DAY, "part-a.parquet")
    store.remove_day("tides", DAY)
    store.remove_day("tides", DAY)
    assert store.files("birds", DAY) == {}
    assert store.days("tides") == []
    with pytest.raises(FileNotFoundError):
        store.get("birds", DAY, "part-a.parquet")


def test_putting_a_file_again_changes_nothing(store: Store) -> None:
    for _ in range(2):
        store.put("birds", DAY, "part-a.parquet", b"12345")
    assert store.files("birds", DAY) == {"part-a.parquet": 5}


def test_a_file_being_written_is_not_listed(tmp_path: Path) -> None:
    folder = tmp_path / "case=birds" / "date=2026-03-01"
    folder.mkdir(parents=True)
    (folder / ".part-a.parquet.part").write_bytes(b"half")
    assert Store(str(tmp_path)).files("birds", DAY) == {}


def test_where_files_can_be_seen_half_written_they_are_written_under_another_name_first() -> None:
    Store("flaky://p").put("birds", DAY, "part-a.parquet", b"12345")
    folder = "/p/case=birds/date=2026-03-01"
    assert f"pipe {folder}/.part-a.parquet.part" in Flaky.asked
    assert f"mv {folder}/.part-a.parquet.part {folder}/part-a.parquet" in Flaky.asked
    assert f"pipe {folder}/part-a.parquet" not in Flaky.asked


def test_a_local_file_that_finds_no_room_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreUnreachable, match="No space left on device"):
        Store(str(tmp_path)).put("birds", DAY, "part-a.parquet", b"12345")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("url", ["memory://p", "flaky://p"])
def test_a_log_lands_in_any_store(log: Log, url: str) -> None:
    log = replace(log, url=url)
    log.write("w0-1-000001", bird("a"), tide("b"))
    log.compact()
    assert (log.ids(), log.ids("tides"), log.segments()) == (["a"], ["b"], [])


def test_while_the_store_is_out_of_reach_segments_wait_and_the_compactor_says_so_ever_less_often(log: Log) -> None:
    log = replace(log, url="flaky://p")
    log.write("w0-1-000001", bird("a"))
    log.write("w0-1-000002", bird("b"))
    Flaky.down = True
    compactor = log.compactor
    assert [compactor.turn() for _ in range(7)] == [4, 8, 16, 32, 64, 64, 64]
    status = Status.read(log.folder / "status.json")
    assert status.failing is not None
    assert "cannot be reached at flaky://p: the wire is cut. Nothing is lost" in status.failing
    assert status.backlog_segments == 2
    assert status.backlog_bytes == sum((log.folder / name).stat().st_size for name in log.segments())
    assert log.segments() == ["w0-1-000001.sealed", "w0-1-000002.sealed"]
    with pytest.raises(StoreUnreachable, match="the wire is cut"):
        log.read()

    Flaky.down = False
    assert compactor.turn() == 2
    status = Status.read(log.folder / "status.json")
    assert (status.failing, status.backlog_segments, status.oldest_segment_seconds) == (None, 0, 0)
    assert log.ids() == ["a", "b"]


def test_a_store_that_keeps_something_else_than_it_was_given_is_noticed_and_the_segment_kept(log: Log) -> None:
    log = replace(log, url="flaky://p")
    log.write("w0-1-000001", bird("a"))
    Flaky.lying = True
    assert log.compact() > 2
    assert log.segments() == ["w0-1-000001.sealed"]
    assert "is not what was written there" in str(Status.read(log.folder / "status.json").failing)
    Flaky.lying = False
    log.compact()
    assert (log.ids(), log.segments()) == (["a"], [])
