"""A sealed segment becomes Parquet and goes; a damaged one gives what is whole and is kept."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from serving.ledger.entry import encode_entry
from serving.ledger.frames import frame
from serving.ledger.segment import Segment
from serving.ledger.status import Status
from serving.records import Part, Role, Rows
from tests.serving.ledger.conftest import NOON, Log, bird, birds, champion, tide


def corrupt(log: Log) -> list[str]:
    return sorted(path.name for path in (log.folder / "corrupt").iterdir())


def test_a_segment_becomes_one_file_for_each_case_and_day_and_is_removed(log: Log) -> None:
    log.write("w0-1-000001", bird("a"), bird("b", NOON + timedelta(days=1)), tide("c"), bird("d"))
    log.compact()
    ledger = (log.folder / "id").read_text()
    assert log.files() == [
        f"case={case}/date={day}/part-{ledger}-w0-1-000001.parquet"
        for case, day in (("birds", "2026-03-01"), ("birds", "2026-03-02"), ("tides", "2026-03-01"))
    ]
    assert (log.ids(), log.ids("tides"), log.segments()) == (["a", "b", "d"], ["c"], [])


def test_a_segment_that_is_compacted_again_gives_the_same_rows_once(log: Log) -> None:
    path = log.write("w0-1-000001", bird("a"), bird("b"))
    content = path.read_bytes()
    log.compact()
    path.write_bytes(content)
    log.compact()
    assert (log.ids(), len(log.files()), log.segments()) == (["a", "b"], 1, [])


def test_an_open_segment_is_left_to_its_worker_and_taken_when_the_worker_is_dead(log: Log) -> None:
    writer = log.begin("w0-1-000001")
    writer.append(bird("a"))
    log.compact()
    assert (log.ids(), log.segments()) == ([], ["w0-1-000001.open"])
    os.close(writer._handle)
    log.compact()
    assert (log.ids(), log.segments()) == (["a"], [])


def test_a_large_segment_is_written_in_several_groups_of_rows(log: Log) -> None:
    rows = birds(9_000)
    payloads = [bird(f"{n}", rows=rows, parts=[champion(count=9_000)]) for n in range(7)]
    log.write("w0-1-000001", *payloads)
    log.compact()
    told = [(row["request_id"], row["row"]) for row in log.read(columns=["request_id", "row"])]
    assert sorted(told) == [(f"{n}", row) for n in range(7) for row in range(9_000)]


def test_damage_costs_the_entry_it_hit_and_the_segment_is_kept_for_a_person(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    payloads = [bird(f"{number}") for number in range(5)]
    path = log.write("w0-1-000001", *payloads)
    data = bytearray(path.read_bytes())
    data[data.index(payloads[2]) + 20] ^= 0x04
    path.write_bytes(data)
    log.compact()
    assert log.ids() == ["0", "1", "3", "4"]
    assert log.segments() == []
    assert corrupt(log) == ["w0-1-000001.sealed"]
    assert "w0-1-000001.sealed was damaged" in caplog.text
    assert Status.read(log.folder / "status.json").corrupt_segments == 1


def test_damage_to_a_length_does_not_cost_the_entries_behind_it(log: Log) -> None:
    payloads = [bird(f"{number}") for number in range(5)]
    path = log.write("w0-1-000001", *payloads)
    data = bytearray(path.read_bytes())
    data[data.index(frame(payloads[1])) + 3] ^= 0x80  # half a gigabyte more than the file has
    path.write_bytes(data)
    log.compact()
    assert (log.ids(), corrupt(log)) == (["0", "2", "3", "4"], ["w0-1-000001.sealed"])


@pytest.mark.parametrize("cut", [1, 9, 400])
def test_a_truncated_segment_gives_what_is_whole(log: Log, cut: int) -> None:
    path = log.write("w0-1-000001", bird("a"), bird("b"))
    os.truncate(path, path.stat().st_size - min(cut, len(frame(bird("b"))) - 1))
    log.compact()
    assert (log.ids(), corrupt(log)) == (["a"], ["w0-1-000001.sealed"])


def test_a_segment_without_a_readable_header_is_kept_whole_and_stops_no_other(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    path = log.write("w0-1-000001", bird("a"))
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)
    log.write("w0-1-000002", bird("b"))
    assert log.compact() == 2
    assert log.ids() == ["b"]
    assert (log.folder / "corrupt" / path.name).read_bytes() == data
    assert "its first frame is not whole" in caplog.text


NOTHING = Rows(1, [[0.5]], [None], [None])
ONE = [Part(None, "1", Role.champion, [0.5], ())]
UNREADABLE = {
    "no JSON": b'{"id":',
    "no object": b'{"id":"x"}'.replace(b'{"id":"x"}', b'["x"]'),
    "an unknown case": encode_entry("whales", 1, "x", 1.0, 2.0, NOTHING, ONE, None),
    "another contract": encode_entry("tides", 9, "x", 1.0, NOON.timestamp(), NOTHING, ONE, None),
    "a text among numbers": encode_entry(
        "tides", 1, "x", 1.0, NOON.timestamp(), Rows(1, [["secret"]], [None], [None]), ONE, None
    ),
    "too few values": encode_entry("tides", 1, "x", 1.0, NOON.timestamp(), Rows(1, [[]], [None], [None]), ONE, None),
    "too many columns": encode_entry(
        "tides", 1, "x", 1.0, NOON.timestamp(), Rows(1, [[1.0], [2.0]], [None], [None]), ONE, None
    ),
    "too few scores": encode_entry(
        "tides", 1, "x", 1.0, NOON.timestamp(), NOTHING, [Part(None, "1", Role.champion, [], ())], None
    ),
    "a year that is none": encode_entry("tides", 1, "x", 1.0, 1e18, NOTHING, ONE, None),
    "a time that is none": encode_entry(
        "tides", 1, "x", 1.0, NOON.timestamp(), Rows(1, [[1.0]], [None], ["noon"]), ONE, None
    ),
}


@pytest.mark.parametrize("payload", UNREADABLE.values(), ids=UNREADABLE)
def test_a_whole_entry_that_cannot_be_read_is_kept_aside_and_costs_no_other(
    log: Log, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    log.write("w0-1-000001", tide("a"), payload, tide("b"))
    log.compact()
    assert log.ids("tides") == ["a", "b"]
    assert corrupt(log) == ["w0-1-000001.sealed"]
    assert "an entry cannot be read" in caplog.text
    assert "secret" not in caplog.text


def test_entries_whose_lengths_are_wrong_do_not_make_up_for_one_another(log: Log) -> None:
    def odd(moons: list[float], scores: list[float]) -> bytes:
        rows, part = Rows(1, [[*moons]], [None], [None]), Part(None, "1", Role.champion, scores, ())
        return encode_entry("tides", 1, "odd", 1.0, NOON.timestamp(), rows, [part], None)

    odd_ones = (odd([1.0, 2.0], [1.0]), odd([], [1.0]), odd([1.0], [1.0, 2.0]), odd([1.0], []))
    log.write("w0-1-000001", odd_ones[0], odd_ones[1], tide("a"))
    log.write("w0-1-000002", odd_ones[2], odd_ones[3])
    log.compact()
    assert [(row["request_id"], row["moon"]) for row in log.read("tides")] == [("a", 0.25)]


def test_a_segment_whose_disk_fails_waits_and_stops_no_other(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = log.write("w0-1-000001", bird("a"))
    log.write("w0-1-000002", bird("b"))
    read = Path.read_bytes

    def failing(path: Path) -> bytes:
        if path == bad:
            raise OSError(5, "Input/output error")
        return read(path)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_bytes", failing)
        assert log.compact() > 2
        assert Status.read(log.folder / "status.json").failing == "w0-1-000001.sealed: Input/output error"
    assert (log.ids(), log.segments()) == (["b"], ["w0-1-000001.sealed"])
    log.compact()
    assert log.ids() == ["a", "b"]


def test_the_status_says_how_far_behind_compaction_is(log: Log) -> None:
    path = log.write("w0-1-000001", bird("a"))
    os.utime(path, (log.now.timestamp() - 90, log.now.timestamp() - 90))
    log.compactor.tell()
    status = Status.read(log.folder / "status.json")
    assert (status.backlog_segments, status.oldest_segment_seconds) == (1, 90)
    log.compact()
    status = Status.read(log.folder / "status.json")
    assert (status.backlog_bytes, status.backlog_segments, status.oldest_segment_seconds) == (0, 0, 0)
    assert (status.rows, status.corrupt_segments, status.failing, status.at) == (1, 0, None, log.now)


def test_a_segment_says_itself_how_it_is_read_whatever_the_configuration_is_by_then(log: Log) -> None:
    log.write("w0-1-000001", bird("a"))
    log.cases = {}
    log.write("w0-1-000002")
    log.compact()
    assert log.ids() == ["a"]


def test_a_segment_is_read_by_its_name_without_its_ending(log: Log) -> None:
    assert Segment(log.write("w0-1-000001", bird("a"))).name == "w0-1-000001"
