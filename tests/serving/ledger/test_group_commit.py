"""Group commit: nobody goes on before the disk has confirmed, many share one confirmation, and nobody stalls others."""

import asyncio
import errno
import os
import threading
from collections.abc import Iterator

import pytest

from configs.serving import GatewayLog
from serving.errors import Unavailable
from serving.ledger.group import GroupCommit
from serving.ledger.ledger import Ledger
from tests.serving.ledger.conftest import CASES, Log, bird


class Disk:
    """A disk that confirms when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.failing = False
        self.free = threading.Event()
        self.began = threading.Semaphore(0)

    def sync(self) -> None:
        self.asked += 1
        self.began.release()
        assert self.free.wait(10)
        if self.failing:
            raise RuntimeError("the disk is gone")


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def group(disk: Disk) -> Iterator[GroupCommit]:
    group = GroupCommit(disk.sync)
    yield group
    disk.free.set()
    group.close()


async def under_way(disk: Disk) -> None:
    await asyncio.to_thread(disk.began.acquire)


async def ticks() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_who_comes_in_the_same_turn_shares_one_sync(disk: Disk, group: GroupCommit) -> None:
    async def scene() -> None:
        disk.free.set()
        await asyncio.gather(*(group.wait() for _ in range(64)))

    asyncio.run(scene())
    assert disk.asked == 1


def test_who_comes_while_a_sync_is_under_way_waits_for_the_next_one(disk: Disk, group: GroupCommit) -> None:
    async def scene() -> None:
        first = asyncio.create_task(group.wait())
        await under_way(disk)
        late = [asyncio.create_task(group.wait()) for _ in range(10)]
        await ticks()
        assert not any(task.done() for task in (first, *late))
        disk.free.set()
        await asyncio.gather(first, *late)

    asyncio.run(scene())
    assert disk.asked == 2


def test_a_cancelled_waiter_stalls_nobody(disk: Disk, group: GroupCommit) -> None:
    async def scene() -> None:
        covered = [asyncio.create_task(group.wait()) for _ in range(8)]
        await under_way(disk)
        waiting = [asyncio.create_task(group.wait()) for _ in range(8)]
        await ticks()
        for task in (*covered[::2], *waiting[::2]):
            task.cancel()
        disk.free.set()
        results = await asyncio.wait_for(asyncio.gather(*covered, *waiting, return_exceptions=True), 10)
        assert [isinstance(result, asyncio.CancelledError) for result in results] == [True, False] * 8

    asyncio.run(scene())


def test_a_round_in_which_everyone_was_cancelled_is_followed_by_others(disk: Disk, group: GroupCommit) -> None:
    async def scene() -> None:
        only = asyncio.create_task(group.wait())
        await under_way(disk)
        only.cancel()
        disk.free.set()
        await asyncio.wait_for(group.wait(), 10)

    asyncio.run(scene())


def test_an_error_of_the_sync_reaches_those_it_covered_and_no_others(disk: Disk, group: GroupCommit) -> None:
    async def scene() -> None:
        disk.failing = True
        covered = asyncio.create_task(group.wait())
        await under_way(disk)
        disk.free.set()
        with pytest.raises(RuntimeError, match="the disk is gone"):
            await covered
        disk.failing = False
        await group.wait()

    asyncio.run(scene())


def test_closing_lets_go_who_still_waits(disk: Disk, group: GroupCommit) -> None:
    async def scene() -> None:
        disk.free.set()
        waiting = asyncio.create_task(group.wait())
        await asyncio.sleep(0)
        group.close()
        await asyncio.wait_for(waiting, 10)

    asyncio.run(scene())
    assert disk.asked == 0


def test_an_entry_is_on_disk_when_commit_returns(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    sync = os.fdatasync

    def told(handle: int) -> None:
        size = os.fstat(handle).st_size
        sync(handle)
        synced.append(size)

    monkeypatch.setattr(os, "fdatasync", told)
    ledger = Ledger(log.folder, "w0", CASES, GatewayLog(durability="answer", sync_ms=60_000))
    (segment,) = log.segments()

    async def scene() -> None:
        for number in range(20):
            await ledger.commit(bird(f"{number}"))
            assert synced[-1] == (log.folder / segment).stat().st_size

    asyncio.run(scene())
    assert ledger.waits_for_disk
    ledger.close()


def test_many_commits_share_few_syncs_and_cancelled_ones_are_logged_all_the_same(log: Log) -> None:
    ledger = Ledger(log.folder, "w0", CASES, GatewayLog(durability="answer", segment_seconds=0.05, sync_ms=20))
    done: list[str] = []

    async def one(name: str) -> None:
        for number in range(50):
            await ledger.commit(bird(f"{name}-{number:02}"))
            done.append(f"{name}-{number:02}")

    async def scene() -> None:
        tasks = [asyncio.create_task(one(f"{name:02}")) for name in range(64)]
        while len(done) < 1000:
            await asyncio.sleep(0.001)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)

    asyncio.run(scene())
    ledger.close()
    assert len([name for name in done if int(name[:2]) % 2]) == 32 * 50
    log.compact()
    logged = log.ids()
    assert len(logged) == len(set(logged)) == ledger.appended
    assert set(done) <= set(logged)


@pytest.mark.parametrize("when_full", ["refuse", "answer"])
def test_an_answer_the_disk_did_not_confirm_is_refused_or_counted(
    log: Log, monkeypatch: pytest.MonkeyPatch, when_full: str
) -> None:
    settings = GatewayLog.model_validate({"durability": "answer", "when_full": when_full, "sync_ms": 60_000})
    ledger = Ledger(log.folder, "w0", CASES, settings)

    def refuse(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def scene() -> None:
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", refuse)
            if when_full == "refuse":
                with pytest.raises(Unavailable, match="no answer is given without it"):
                    await ledger.commit(bird("a"))
            else:
                assert not await ledger.commit(bird("a"))
        assert await ledger.commit(bird("b"))

    asyncio.run(scene())
    ledger.close()
    assert ledger.unlogged == (when_full == "answer")
    assert ledger.sync_errors == 1


def test_a_commit_that_cannot_be_written_does_not_wait(log: Log) -> None:
    ledger = Ledger(log.folder, "w0", CASES, GatewayLog(durability="answer"))
    ledger.close()

    async def scene() -> None:
        with pytest.raises(Unavailable, match="no answer is given without it"):
            await asyncio.wait_for(ledger.commit(bird("a")), 5)

    asyncio.run(scene())
