"""A segment keeps what it was given, only its owner may read it, and a writer that failed leaves nothing torn."""

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from serving.ledger.errors import LogUnsynced, LogUnwritable, SegmentAltered
from serving.ledger.frames import frame
from serving.ledger.segment import Segment, read_frames
from tests.serving.ledger.conftest import CASES, Log, bird, most_bytes


def test_what_was_appended_is_in_the_file_before_append_returns(log: Log) -> None:
    writer = log.begin("w0-1-000001")
    for number in range(3):
        writer.append(b'{"id":"%d"}' % number)
        assert list(read_frames(writer.path))[1:] == [b'{"id":"%d"}' % n for n in range(number + 1)]


def test_each_append_is_one_write_of_a_whole_frame(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = log.begin("w0-1-000001")
    written: list[int] = []
    write = os.write

    def counted(handle: int, data: bytes) -> int:
        written.append(len(data))
        return write(handle, data)

    monkeypatch.setattr(os, "write", counted)
    writer.append(b"x" * 700)
    assert written == [708]


def test_the_first_frame_says_how_to_read_the_others(log: Log) -> None:
    path = log.write("w0-1-000001", bird("a"), bird("b"))
    segment = Segment(path)
    assert segment.header.cases == CASES
    assert list(segment) == [bird("a"), bird("b")]
    assert segment.left_out == 0


def test_only_the_owner_may_read_a_segment(log: Log) -> None:
    writer = log.begin("w0-1-000001")
    assert stat.S_IMODE(writer.path.stat().st_mode) == 0o600


def test_a_living_writer_holds_its_file_locked(log: Log) -> None:
    writer = log.begin("w0-1-000001")
    with writer.path.open("rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_sealed_segment_has_another_name_and_one_without_entries_is_gone(log: Log) -> None:
    log.write("w0-1-000001", bird("a"))
    log.write("w0-1-000002")
    assert log.segments() == ["w0-1-000001.sealed"]


def test_a_sync_is_needed_after_an_append_and_not_after_a_sync(log: Log) -> None:
    writer = log.begin("w0-1-000001")
    writer.append(bird("a"))
    assert writer.sync_needed
    writer.sync()
    assert not writer.sync_needed


def test_a_write_that_finds_room_for_a_part_is_taken_back(log: Log) -> None:
    writer = log.begin("w0-1-000001")
    writer.append(bird("a"))
    before = writer.path.read_bytes()
    with most_bytes(len(before) + 100), pytest.raises(LogUnwritable, match=r"only 100 of \d+ bytes found room"):
        writer.append(bird("b"))
    assert writer.path.read_bytes() == before
    writer.append(bird("c"))
    assert list(read_frames(writer.path))[1:] == [bird("a"), bird("c")]


def test_a_write_that_finds_no_room_says_so_and_the_next_may_succeed(log: Log) -> None:
    writer = log.begin("w0-1-000001")
    with most_bytes(writer.size), pytest.raises(LogUnwritable, match=r"File too large.*Nothing of the entry was kept"):
        writer.append(bird("a"))
    writer.append(bird("b"))
    assert list(read_frames(writer.path))[1:] == [bird("b")]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_every_way_in_which_a_disk_fails_is_a_log_that_cannot_be_written(
    log: Log, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    writer = log.begin("w0-1-000001")

    def refuse(handle: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(LogUnwritable, match=os.strerror(number)):
        writer.append(bird("a"))


def test_a_writer_that_cannot_take_a_torn_entry_back_is_not_used_any_more(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = log.begin("w0-1-000001")

    def refuse(handle: int, length: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "ftruncate", refuse)
    with most_bytes(writer.size + 10), pytest.raises(LogUnwritable, match="only 10 of"):
        writer.append(bird("a"))
    assert not writer.usable


def test_a_segment_that_cannot_be_begun_leaves_nothing_behind(log: Log) -> None:
    with most_bytes(10), pytest.raises(LogUnwritable, match="only 10 of"):
        log.begin("w0-1-000001")
    assert log.segments() == []


def test_a_disk_that_does_not_confirm_is_an_error_and_the_segment_is_sealed_all_the_same(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = log.begin("w0-1-000001")
    writer.append(bird("a"))

    def refuse(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", refuse)
    with pytest.raises(LogUnsynced, match=r"did not confirm the segment w0-1-000001\.open.*Input/output error"):
        writer.seal()
    assert log.segments() == ["w0-1-000001.sealed"]


@pytest.mark.parametrize("content", [b"", b"\x05\x00", bytes(100)])
def test_a_file_without_a_whole_first_frame_is_no_segment(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w0.sealed").write_bytes(content)
    with pytest.raises(SegmentAltered, match="its first frame is not whole"):
        Segment(tmp_path / "w0.sealed")


def test_a_header_of_another_format_is_refused(log: Log) -> None:
    path = log.write("w0-1-000001", bird("a"))
    path.write_bytes(frame(b'{"format":2}'))
    with pytest.raises(SegmentAltered, match="not a header of format 1"):
        Segment(path)
