"""The small files of a day become one, and whoever reads meanwhile sees every row once."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from configs.case import ColumnType
from serving.ledger import merging
from serving.ledger.store import Store
from tests.serving.ledger.conftest import BIRDS, NOON, Log, bird, birds

DAY = date(2026, 3, 1)
NEXT_DAY = datetime(2026, 3, 2, 1, tzinfo=UTC)


def write_and_compact(log: Log, count: int, prefix: str = "w0") -> list[str]:
    ids = []
    for number in range(count):
        name = f"{prefix}-{number:03}"
        log.write(f"{prefix}-1-{number:06}", bird(name))
        ids.append(name)
    log.compact()
    return ids


def names(log: Log) -> list[str]:
    return [Path(file).name.split("-")[0] for file in log.files()]


def test_the_files_of_a_day_that_is_over_become_one(log: Log) -> None:
    ids = write_and_compact(log, 5)
    assert names(log) == ["part"] * 5
    log.now = NEXT_DAY
    log.compact()
    assert names(log) == ["merged"]
    assert log.ids() == ids


@pytest.mark.parametrize(("now", "merged"), [("2026-03-02T00:14:59+00:00", False), ("2026-03-02T00:15:00+00:00", True)])
def test_a_day_is_over_when_its_last_segments_have_come(log: Log, now: str, merged: bool) -> None:
    write_and_compact(log, 2)
    log.now = datetime.fromisoformat(now)
    log.compact()
    assert (names(log) == ["merged"]) == merged


def test_a_day_with_very_many_small_files_is_merged_before_it_is_over(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "_LEAST_TODAY", 4)
    write_and_compact(log, 3)
    assert names(log) == ["part"] * 3
    log.write("w1-1-000001", bird("d"))
    log.compact()
    assert names(log) == ["merged"]
    assert log.ids() == ["d", "w0-000", "w0-001", "w0-002"]


def test_rows_that_come_late_are_merged_too(log: Log) -> None:
    ids = write_and_compact(log, 3)
    log.now = NEXT_DAY
    compactor = log.compactor
    for _ in range(3):
        compactor.turn()
    log.write("w9-1-000001", bird("late"))
    compactor.turn()
    assert names(log) == ["merged"]
    assert log.ids() == ["late", *ids]


def test_a_day_of_one_file_is_left_as_it_is(log: Log) -> None:
    write_and_compact(log, 1)
    log.now = NEXT_DAY
    log.compact()
    assert names(log) == ["part"]


def test_large_files_are_left_as_they_are(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "_SMALL_BYTES", 10)
    write_and_compact(log, 3)
    log.now = NEXT_DAY
    log.compact()
    assert names(log) == ["part"] * 3


def test_files_of_two_contracts_are_not_mixed(log: Log) -> None:
    ids = write_and_compact(log, 3)
    changed = BIRDS.model_copy(update={"features": {**BIRDS.features, "weight": ColumnType.string}})
    log.cases = {"birds": changed}
    for number in range(2):
        log.write(f"w8-1-{number:06}", bird(f"w8-{number}", rows=birds(weight="heavy")))
    log.compact()
    log.now = NEXT_DAY
    log.compact()
    assert names(log) == ["merged", "merged"]
    assert [row["request_id"] for row in log.read(columns=["request_id"])] == [*ids, "w8-0", "w8-1"]


def test_a_ledger_leaves_the_files_of_another_alone(log: Log, tmp_path: Path) -> None:
    other = replace(log, folder=tmp_path / "other")
    ours, theirs = write_and_compact(log, 2), write_and_compact(other, 2, "w1")
    log.now = NEXT_DAY
    log.compact()
    assert names(log) == ["merged", "part", "part"]
    assert log.ids() == [*ours, *theirs]


def test_while_a_merged_file_and_those_it_stands_for_are_both_there_no_row_is_read_twice(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = write_and_compact(log, 4)
    with monkeypatch.context() as stuck:
        stuck.setattr(Store, "remove", lambda *_: None)
        log.now = NEXT_DAY
        log.compact()
    assert names(log) == ["merged", *["part"] * 4]
    assert log.ids() == ids
    log.compact()
    assert names(log) == ["merged"]
    assert log.ids() == ids


def test_a_part_written_once_more_after_it_was_merged_is_not_read_twice(log: Log) -> None:
    """A power cut can bring back a segment whose removal was not on disk."""
    content = {}
    for name in ("w0-1-000001", "w0-1-000002", "w0-1-000003"):
        path = log.write(name, bird(name))
        content[path] = path.read_bytes()
    log.now = NEXT_DAY
    compactor = log.compactor
    compactor.turn()
    log.write("w0-1-000004", bird("w0-1-000004"))
    compactor.turn()
    before = log.ids()
    for path, data in content.items():
        path.write_bytes(data)
    assert log.ids(fresh=True) == before
    log.compact()
    assert names(log) == ["merged"]
    assert log.ids() == before


def test_a_merged_file_names_all_that_it_stands_for_those_merged_before_too(log: Log) -> None:
    write_and_compact(log, 2)
    parts = {Path(file).name for file in log.files()}
    log.now = NEXT_DAY
    compactor = log.compactor
    compactor.turn()
    (first,) = (Path(file).name for file in log.files())
    log.write("w9-1-000001", bird("late"))
    compactor.turn()
    (second,) = (Path(file).name for file in log.files())
    stands_for = merging.stands_for(log.store, "birds", DAY, second)
    assert parts | {first} < stands_for


def test_no_more_is_merged_at_once_than_fits_into_memory(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = write_and_compact(log, 4)
    size = max(log.store.files("birds", DAY).values())
    monkeypatch.setattr(merging, "_MOST_BYTES", int(2.5 * size))
    log.now = NEXT_DAY
    compactor = log.compactor
    compactor.turn()
    assert sorted(names(log)) == ["merged", "part", "part"]
    assert log.ids() == ids


def test_days_before_the_log_began_to_be_merged_are_found(log: Log) -> None:
    log.write("w0-1-000001", bird("a", NOON - timedelta(days=40)))
    log.write("w0-1-000002", bird("b", NOON - timedelta(days=40)))
    log.compact()
    assert names(log) == ["merged"]
