"""The log is read as if it stood still: every row once, whether it is Parquet yet or not."""

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from configs.case import ColumnType
from serving.ledger import merging, read
from serving.ledger.compaction import compact
from serving.ledger.errors import LogUnreadable
from serving.ledger.merging import merge_day
from serving.ledger.places import ledger_id
from serving.ledger.read import read_predictions
from serving.ledger.store import Store
from tests.serving.ledger.conftest import BIRDS, NOON, Log, bird, birds, tide

DAY = date(2026, 3, 1)
NEXT_DAY = datetime(2026, 3, 2, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def no_key() -> bytes:
    raise AssertionError("nothing is to be hashed here")


def test_start_is_in_and_end_is_out(log: Log) -> None:
    moments = [NOON - timedelta(microseconds=1), NOON, NOON + HOUR - timedelta(microseconds=1), NOON + HOUR]
    log.write("w0-1-000001", *(bird(f"{n}", at) for n, at in enumerate(moments)))
    log.compact()
    table = read_predictions(log.url, "birds", NOON, NOON + HOUR)
    assert sorted(table["request_id"].to_pylist()) == ["1", "2"]


def test_days_are_read_as_far_as_they_are_asked_for(log: Log) -> None:
    log.write("w0-1-000001", *(bird(f"{n}", NOON + timedelta(days=n)) for n in range(5)))
    log.compact()
    table = read_predictions(log.url, "birds", NOON + timedelta(days=1), NOON + timedelta(days=3))
    assert sorted(table["request_id"].to_pylist()) == ["1", "2"]


def test_moments_may_be_given_in_any_zone_and_must_be_given_in_one(log: Log) -> None:
    log.write("w0-1-000001", bird("a"))
    log.compact()
    zone = datetime.fromisoformat("2026-03-01T22:00:00+10:00")
    assert read_predictions(log.url, "birds", zone, zone + HOUR).num_rows == 1
    with pytest.raises(ValueError, match="need an offset from UTC"):
        read_predictions(log.url, "birds", NOON.replace(tzinfo=None), NOON)


def test_only_the_columns_asked_for_come_in_the_order_asked_for(log: Log) -> None:
    log.write("w0-1-000001", bird("a"))
    assert list(log.read(columns=["role", "request_id"], fresh=log.folder)[0]) == ["role", "request_id"]
    log.compact()
    assert list(log.read(columns=["role", "request_id"])[0]) == ["role", "request_id"]


def test_a_column_that_is_nowhere_is_named(log: Log) -> None:
    log.write("w0-1-000001", bird("a"))
    log.compact()
    with pytest.raises(LogUnreadable, match="have no column `wings`: it is in no contract"):
        log.read(columns=["wings"])


def test_a_log_without_rows_is_an_empty_table_with_the_columns_that_every_case_has(log: Log) -> None:
    empty = read_predictions(log.url, "birds", NOON, NOON + HOUR)
    assert empty.num_rows == 0
    assert {"request_id", "answered_at", "role", "probability"} <= set(empty.column_names)
    asked = read_predictions(log.url, "birds", NOON, NOON + HOUR, ["request_id", "weight"])
    assert (asked.num_rows, asked.column_names) == (0, ["request_id", "weight"])


def test_a_column_that_another_contract_brought_is_null_in_the_rows_before_it(log: Log) -> None:
    log.write("w0-1-000001", bird("a"))
    features = {name: type_ for name, type_ in BIRDS.features.items() if name != "seen"}
    log.cases = {"birds": BIRDS.model_copy(update={"features": {**features, "song": ColumnType.string}})}
    log.write("w0-1-000002", bird("b", rows=birds(seen="trill")))
    log.compact()
    a, b = log.read()
    assert (a["song"], b["song"]) == (None, "trill")
    assert (a["seen"], b["seen"]) == (datetime.fromisoformat("2026-03-01T07:30:00"), None)


def test_a_column_of_two_types_is_refused_and_the_rest_can_be_read(log: Log) -> None:
    log.write("w0-1-000001", bird("a"))
    log.cases = {"birds": BIRDS.model_copy(update={"features": {**BIRDS.features, "weight": ColumnType.string}})}
    log.write("w0-1-000002", bird("b", rows=birds(weight="heavy")))
    log.compact()
    with pytest.raises(LogUnreadable, match=r"one type in some of these predictions and another in the rest.*weight"):
        log.read()
    assert [row["request_id"] for row in log.read(columns=["request_id"])] == ["a", "b"]


def test_a_file_that_is_no_parquet_is_named(log: Log) -> None:
    log.write("w0-1-000001", bird("a"))
    log.compact()
    (file,) = log.files()
    (Path(log.url) / file).write_bytes(b"no parquet")
    with pytest.raises(LogUnreadable, match=r"part-.*parquet of `birds` on 2026-03-01 is no Parquet file"):
        log.read()


def test_what_is_not_parquet_yet_is_read_when_asked_for(log: Log) -> None:
    log.write("w0-1-000001", bird("compacted"))
    log.compact()
    log.write("w0-1-000002", bird("sealed"), tide("another case"))
    writer = log.begin("w0-1-000003")
    writer.append(bird("open"))
    assert log.ids() == ["compacted"]
    assert log.ids(fresh=True) == ["compacted", "open", "sealed"]
    with writer.path.open("ab") as file:
        file.write(b"\x40\x00\x00\x00half of an entry")
    assert log.ids(fresh=True) == ["compacted", "open", "sealed"]


def test_fresh_rows_and_parquet_have_the_same_columns_and_types(log: Log) -> None:
    log.write("w0-1-000001", bird("a"))
    fresh = read_predictions(log.url, "birds", NOON, NOON + HOUR, fresh=log.folder)
    log.compact()
    assert read_predictions(log.url, "birds", NOON, NOON + HOUR).equals(fresh)


Step = Callable[[Log], None]


def compact_all(log: Log) -> None:
    for path in sorted(log.folder.glob("*.sealed")):
        compact(path, log.store, no_key)


def merge(log: Log) -> None:
    merge_day(log.store, "birds", DAY, ledger_id(log.folder), NEXT_DAY)


def between(monkeypatch: pytest.MonkeyPatch, where: object, name: str, step: Callable[[], None]) -> None:
    """Let `step` happen once, right after the first call of `name`."""
    original = getattr(where, name)

    def interrupted(*arguments: object, **named: object) -> object:
        result = original(*arguments, **named)
        monkeypatch.setattr(where, name, original)
        step()
        return result

    monkeypatch.setattr(where, name, interrupted)


def test_a_day_merged_between_listing_and_reading_is_read_again(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        log.write(f"w0-1-{number}", bird(f"{number}"))
    compact_all(log)
    between(monkeypatch, Store, "files", lambda: merge(log))
    assert log.ids() == ["0", "1", "2"]


def test_a_day_merged_while_its_files_are_read_is_read_again(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        log.write(f"w0-1-{number}", bird(f"{number}"))
    compact_all(log)
    between(monkeypatch, Store, "get", lambda: merge(log))
    assert log.ids() == ["0", "1", "2"]


def test_a_listing_that_is_of_no_one_moment_loses_no_row(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing may miss a merged file that came, and the files that went because of it."""
    for number in range(3):
        log.write(f"w0-1-{number}", bird(f"{number}"))
    compact_all(log)
    merge(log)
    whole = Store.files
    listings: list[dict[str, int]] = [{}]
    monkeypatch.setattr(Store, "files", lambda *where: listings.pop() if listings else whole(*where))
    assert log.ids() == ["0", "1", "2"]


def test_a_segment_compacted_between_reading_it_and_reading_parquet_is_read_once(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write("w0-1-000001", bird("a"))
    log.write("w0-1-000002", bird("b"))
    between(monkeypatch, read, "_fresh", lambda: compact_all(log))
    assert log.ids(fresh=True) == ["a", "b"]


def test_a_segment_compacted_and_merged_between_reading_it_and_reading_parquet_is_read_once(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step() -> None:
        compact_all(log)
        merge(log)

    log.write("w0-1-000001", bird("a"))
    log.write("w0-1-000002", bird("b"))
    between(monkeypatch, read, "_fresh", step)
    assert log.ids(fresh=True) == ["a", "b"]
    assert len(log.files()) == 1


@pytest.mark.parametrize("listings", [1, 2])
def test_a_segment_sealed_or_compacted_between_listings_and_reading_is_not_missed(
    log: Log, monkeypatch: pytest.MonkeyPatch, listings: int
) -> None:
    log.write("w0-1-000001", bird("compacted"))
    writer = log.begin("w0-1-000002")
    writer.append(bird("sealed"))

    def step() -> None:
        compact_all(log)
        writer.seal()

    glob = Path.glob
    listed: list[str] = []

    def interrupted(folder: Path, pattern: str) -> list[Path]:
        found = list(glob(folder, pattern))
        listed.append(pattern)
        if len(listed) == listings:
            step()
        return found

    monkeypatch.setattr(Path, "glob", interrupted)
    assert log.ids(fresh=True) == ["compacted", "sealed"]


def test_a_day_that_never_stands_still_is_refused_rather_than_misread(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write("w0-1-000001", bird("a"))
    log.compact()
    monkeypatch.setattr(read, "_PAUSE", 0)

    def gone(*_: object) -> bytes:
        raise FileNotFoundError

    monkeypatch.setattr(Store, "get", gone)
    with pytest.raises(LogUnreadable, match="on 2026-03-01 changed 50 times while they were read"):
        log.read()


def test_readers_see_every_row_once_while_segments_are_written_compacted_and_merged(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "_LEAST_TODAY", 3)
    written: list[str] = []
    errors: list[str] = []
    reads: list[int] = []
    end = threading.Event()

    def keep_reading() -> None:
        while not end.is_set():
            before = set(written)
            seen = log.ids(fresh=True)
            reads.append(len(seen))
            if len(seen) != len(set(seen)):
                errors.append(f"{len(seen) - len(set(seen))} rows twice")
            if not before <= set(seen):
                errors.append(f"{sorted(before - set(seen))} missing")

    log.folder.mkdir()
    reader = threading.Thread(target=keep_reading)
    reader.start()
    compactor = log.compactor
    for number in range(40):
        writer = log.begin(f"w0-1-{number:06}")
        writer.append(bird(f"{number:03}"))
        written.append(f"{number:03}")
        if number % 4:
            writer.seal()
            compactor.turn()
    end.set()
    reader.join(30)
    assert not errors
    assert len(reads) > 3
    assert log.ids(fresh=True) == written


def test_the_result_is_a_table_that_pandas_takes(log: Log) -> None:
    log.write("w0-1-000001", bird("a"))
    log.compact()
    table = read_predictions(log.url, "birds", NOON, NOON + HOUR)
    assert isinstance(table, pa.Table)
    assert table.to_pandas().loc[0, "answered_at"] == NOON
