"""What a dead worker left is sealed without its torn end; what a living one writes is left alone."""

import os
import time

import pytest

from serving.ledger.frames import frame
from serving.ledger.header import Header
from serving.ledger.recovery import recover
from serving.ledger.segment import Segment, SegmentWriter, read_frames
from tests.serving.ledger.conftest import Log, bird


def die(writer: SegmentWriter) -> None:
    """What the kernel does for a process that ends: it closes its files, and so drops their locks."""
    os.close(writer._handle)


def test_the_segment_of_a_dead_worker_is_sealed(log: Log) -> None:
    writer = log.begin("w0-1-000001")
    writer.append(bird("a"))
    die(writer)
    recover(log.folder)
    assert log.segments() == ["w0-1-000001.sealed"]
    assert list(Segment(log.folder / "w0-1-000001.sealed")) == [bird("a")]


def test_the_segment_of_a_living_worker_is_left_alone(log: Log) -> None:
    writer = log.begin("w0-1-000001")
    writer.append(bird("a"))
    recover(log.folder)
    assert log.segments() == ["w0-1-000001.open"]
    writer.append(bird("b"))
    assert list(read_frames(writer.path))[1:] == [bird("a"), bird("b")]


@pytest.mark.parametrize("torn", [frame(bird("b"))[:-1], frame(bird("b"))[:5], b"\x01", bytes(4096)])
def test_a_torn_end_is_cut_off(log: Log, torn: bytes, caplog: pytest.LogCaptureFixture) -> None:
    writer = log.begin("w0-1-000001")
    writer.append(bird("a"))
    os.write(writer._handle, torn)
    die(writer)
    recover(log.folder)
    frames = read_frames(log.folder / "w0-1-000001.sealed")
    assert list(frames)[1:] == [bird("a")]
    assert frames.left_out == 0
    assert f"its end, {len(torn)} bytes, was never whole and is cut off" in caplog.text


def test_whole_entries_behind_damage_are_not_cut_off(log: Log) -> None:
    writer = log.begin("w0-1-000001")
    writer.append(bird("a"))
    writer.append(bird("b"))
    die(writer)
    data = bytearray(writer.path.read_bytes())
    data[-len(frame(bird("b"))) - 5] ^= 1
    writer.path.write_bytes(data)
    recover(log.folder)
    sealed = log.folder / "w0-1-000001.sealed"
    assert sealed.read_bytes() == data
    segment = Segment(sealed)
    assert list(segment.all_whole()) == [bird("b")]
    assert segment.damaged


@pytest.mark.parametrize("length", [0, 7, 40, None])
def test_a_segment_in_which_nothing_was_answered_is_removed(log: Log, length: int | None) -> None:
    writer = log.begin("w0-1-000001")
    die(writer)
    writer.path.write_bytes(writer.path.read_bytes()[:length])
    recover(log.folder)
    assert log.segments() == []


def test_a_segment_that_is_just_being_made_is_left_alone_and_a_forgotten_one_removed(log: Log) -> None:
    log.folder.mkdir()
    young, old = log.folder / "w0-1-000001.begun", log.folder / "w0-1-000002.begun"
    young.touch()
    old.touch()
    os.utime(old, (time.time() - 120, time.time() - 120))
    recover(log.folder)
    assert log.segments() == [young.name]


def test_a_segment_that_its_writer_seals_meanwhile_is_not_an_error(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = log.begin("w0-1-000001")
    writer.append(bird("a"))
    opened = os.open

    def seal_after_opening(path: object, flags: int, *mode: int) -> int:
        handle = opened(str(path), flags, *mode)
        monkeypatch.setattr(os, "open", opened)
        writer.seal()
        return handle

    monkeypatch.setattr(os, "open", seal_after_opening)
    recover(log.folder)
    assert log.segments() == ["w0-1-000001.sealed"]


def test_a_header_alone_names_the_ledger_it_belongs_to(log: Log) -> None:
    first = log.begin("w0-1-000001")
    other = log.begin("w1-1-000001")
    names = {Header.model_validate_json(next(iter(read_frames(w.path)))).ledger for w in (first, other)}
    assert names == {(log.folder / "id").read_text()}
