"""The ledger writes before it returns, has the disk confirm, seals in time, and refuses or raises the alarm."""

import contextlib
import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from configs.serving import GatewayLog
from serving.errors import Unavailable
from serving.ledger.ledger import Ledger
from serving.ledger.segment import read_frames
from tests.serving.ledger.conftest import CASES, Log, bird, most_bytes

REFUSED = "The prediction log cannot be written, and no answer is given without it"
Open = Callable[..., Ledger]


@pytest.fixture
def open_ledger(log: Log) -> Iterator[Open]:
    opened: list[Ledger] = []

    def open_one(**settings: object) -> Ledger:
        opened.append(Ledger(log.folder, "w0", CASES, GatewayLog.model_validate(settings)))
        return opened[-1]

    yield open_one
    for ledger in opened:
        ledger.close()


def soon(true: Callable[[], bool], what: str) -> None:
    for _ in range(500):
        if true():
            return
        time.sleep(0.01)
    pytest.fail(f"after five seconds: {what}")


def entries(log: Log) -> list[bytes]:
    return [payload for name in log.segments() for payload in list(read_frames(log.folder / name))[1:]]


def refuse(number: int) -> Callable[..., int]:
    def refused(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return refused


def test_an_entry_is_in_the_file_when_record_returns(log: Log, open_ledger: Open) -> None:
    ledger = open_ledger()
    assert ledger.record(bird("a"))
    assert entries(log) == [bird("a")]
    assert (ledger.appended, ledger.bytes, ledger.unlogged, ledger.failing) == (1, len(bird("a")), 0, None)


def test_the_disk_is_asked_to_confirm_within_sync_ms_and_not_when_there_is_nothing(
    open_ledger: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda handle: (asked.append(time.monotonic()), sync(handle))[1])
    ledger = open_ledger(sync_ms=50)
    soon(lambda: len(asked) == 1, "the first frame was not synced")
    time.sleep(0.2)
    began = time.monotonic()
    ledger.record(bird("a"))
    assert ledger.sync_lag > 0
    soon(lambda: len(asked) == 2, "the entry was not synced")
    soon(lambda: ledger.sync_lag == 0, "the lag did not end")
    assert asked[1] - began < 1
    time.sleep(0.2)
    assert len(asked) == 2


def test_the_lag_is_the_age_of_the_oldest_entry_that_is_not_confirmed(open_ledger: Open) -> None:
    ledger = open_ledger(sync_ms=60_000)
    ledger.record(bird("a"))
    time.sleep(0.05)
    ledger.record(bird("b"))
    assert 0.05 <= ledger.sync_lag < 5


def test_a_segment_is_sealed_when_it_is_old_though_no_request_comes(log: Log, open_ledger: Open) -> None:
    ledger = open_ledger(segment_seconds=0.05, sync_ms=20)
    ledger.record(bird("a"))
    soon(lambda: any(name.endswith(".sealed") for name in log.segments()), "no segment was sealed")
    ledger.record(bird("b"))
    assert sorted(entries(log)) == [bird("a"), bird("b")]


def test_a_segment_is_sealed_when_it_is_large(log: Log, open_ledger: Open) -> None:
    ledger = open_ledger(segment_mb=0.01, sync_ms=20)
    for number in range(100):
        ledger.record(bird(f"{number:03}"))
    soon(lambda: any(name.endswith(".sealed") for name in log.segments()), "no segment was sealed")


def test_a_segment_without_entries_is_kept_open_however_old(log: Log, open_ledger: Open) -> None:
    open_ledger(segment_seconds=0.01, sync_ms=10)
    before = log.segments()
    time.sleep(0.2)
    assert log.segments() == before


def test_closing_seals_what_was_written_and_removes_what_was_not(log: Log, open_ledger: Open) -> None:
    ledger = open_ledger()
    ledger.record(bird("a"))
    ledger.close()
    assert [name.rsplit(".", 1)[1] for name in log.segments()] == ["sealed"]
    open_ledger().close()
    assert len(log.segments()) == 1


def test_a_closed_ledger_takes_nothing(log: Log, open_ledger: Open) -> None:
    ledger = open_ledger()
    ledger.close()
    with pytest.raises(Unavailable, match=REFUSED):
        ledger.record(bird("a"))
    assert ledger.failing == "the ledger was closed"
    assert log.segments() == []


def test_a_segment_that_somebody_removes_is_noticed_and_another_one_begun(
    log: Log, open_ledger: Open, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = open_ledger(sync_ms=20)
    ledger.record(bird("lost"))
    for name in log.segments():
        (log.folder / name).unlink()

    def begun_again() -> bool:
        """Looked at first: a segment that still stands ready is renamed when it is begun."""
        return any(name.endswith(".open") for name in log.segments())

    soon(lambda: ledger.record(bird("a")) and begun_again() and entries(log) != [], "no other segment was begun")
    assert set(entries(log)) == {bird("a")}
    assert "was removed while it was written to" in caplog.text


def test_two_workers_write_to_segments_of_their_own(log: Log, open_ledger: Open) -> None:
    open_ledger().record(bird("a"))
    open_ledger().record(bird("b"))
    assert len(log.segments()) == 2


def test_a_ledger_that_may_not_write_its_segment_refuses_and_names_no_path(log: Log, open_ledger: Open) -> None:
    log.folder.write_text("no folder")
    ledger = open_ledger()
    with pytest.raises(Unavailable, match=REFUSED) as refused:
        ledger.record(bird("a"))
    assert str(log.folder) not in str(refused.value)
    assert refused.value.retry_after == 1
    assert ledger.refuses
    assert ledger.failing == "File exists"
    log.folder.unlink()
    soon(lambda: not ledger.refuses, "it did not notice that it can write")
    assert ledger.record(bird("b"))
    assert entries(log) == [bird("b")]


def test_a_full_disk_refuses_the_answer_and_is_noticed_to_have_room_again_without_a_request(
    log: Log, open_ledger: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = open_ledger(sync_ms=20)
    ledger.record(bird("a"))
    with monkeypatch.context() as full:
        full.setattr(os, "write", refuse(errno.ENOSPC))
        for _ in range(3):
            with pytest.raises(Unavailable, match=REFUSED):
                ledger.record(bird("lost"))
        time.sleep(0.2)
        assert ledger.failing == "No space left on device"
    soon(lambda: ledger.failing is None, "it did not notice the room")
    ledger.record(bird("b"))
    assert sorted(entries(log)) == [bird("a"), bird("b")]
    assert ledger.unlogged == 0


def test_a_full_disk_lets_the_answer_go_unlogged_and_counted_if_so_configured(
    log: Log, open_ledger: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = open_ledger(when_full="answer", sync_ms=60_000)
    with monkeypatch.context() as full:
        full.setattr(os, "write", refuse(errno.ENOSPC))
        assert [ledger.record(bird("lost")) for _ in range(3)] == [False] * 3
        assert (ledger.unlogged, ledger.failing, ledger.refuses) == (3, "No space left on device", False)
    assert ledger.record(bird("a"))
    assert (ledger.unlogged, ledger.failing) == (3, None)
    assert entries(log) == [bird("a")]
    assert "The prediction log cannot be written: No space left on device" in caplog.text
    assert "is written again; so far 3 answers are not in it" in caplog.text


def test_when_one_file_can_take_no_more_another_is_begun_and_nothing_is_refused(log: Log, open_ledger: Open) -> None:
    ledger = open_ledger(sync_ms=60_000)
    ledger.record(bird("first"))
    (first,) = log.segments()
    limit = (log.folder / first).stat().st_size + 100
    with most_bytes(limit):
        assert ledger.record(bird("other"))
    assert len(log.segments()) == 2
    assert sorted(entries(log)) == [bird("first"), bird("other")]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_on_a_disk_that_takes_nothing_files_are_not_made_by_the_thousand(
    log: Log, open_ledger: Open, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    ledger = open_ledger(when_full="answer", sync_ms=60_000)
    made = []
    opened = os.open
    monkeypatch.setattr(os, "open", lambda *a, **k: (made.append(a), opened(*a, **k))[1])
    monkeypatch.setattr(os, "write", refuse(number))
    for _ in range(1000):
        ledger.record(bird("lost"))
    assert ledger.unlogged == 1000
    assert len(made) < 20


def test_a_disk_that_does_not_confirm_is_counted_and_another_segment_is_begun(
    log: Log, open_ledger: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = open_ledger(sync_ms=20)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", refuse(errno.EIO))
        ledger.record(bird("a"))
        soon(lambda: ledger.sync_errors > 0, "the error was not counted")
    ledger.record(bird("b"))
    soon(lambda: {name.rsplit(".", 1)[1] for name in log.segments()} == {"sealed", "open"}, "no other was begun")
    assert sorted(entries(log)) == [bird("a"), bird("b")]
    assert "did not confirm the segment" in caplog.text


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_disk_that_is_really_full_nothing_torn_is_left_and_it_goes_on_when_there_is_room(small_disk: Path) -> None:
    log = Log(small_disk / "ledger", "")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    ledger = Ledger(log.folder, "w0", CASES, GatewayLog(sync_ms=20))
    kept = []
    for number in range(1000):
        # A refused entry can be followed by a shorter one that finds room.
        with contextlib.suppress(Unavailable):
            ledger.record(bird(f"{number}"))
            kept.append(bird(f"{number}"))
    assert ledger.refuses
    ballast.unlink()
    soon(lambda: not ledger.refuses, "it did not notice the room")
    ledger.record(bird("after"))
    kept.append(bird("after"))
    ledger.close()
    assert 20 < len(kept) < 500
    assert sorted(entries(log)) == sorted(kept)
    assert all(read_to_the_end(log.folder / name) for name in log.segments())


def read_to_the_end(path: Path) -> bool:
    frames = read_frames(path)
    return len(list(frames)) > 0 and frames.left_out == 0
