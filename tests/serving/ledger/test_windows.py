"""The log as the monitors read it: the rows of a window, once each, in bounded batches."""

import pickle
from datetime import date, timedelta

import pyarrow as pa
import pytest

from configs.case import ColumnType
from serving.ledger.errors import LogUnreadable
from serving.ledger.merging import merge_day
from serving.ledger.places import ledger_id
from serving.ledger.read import read_predictions
from serving.ledger.store import Store
from serving.ledger.windows import LoggedAnswers
from tests.serving.ledger.conftest import BIRDS, NOON, Log, bird, birds
from tests.serving.ledger.test_reading import DAY, NEXT_DAY, between, compact_all

HOUR = timedelta(hours=1)


def ids(log: Log, *, fresh: bool = False) -> list[str]:
    answers = LoggedAnswers(log.url, "birds", log.folder if fresh else None)
    batches = answers.batches(NOON - HOUR, NOON + 48 * HOUR, ["request_id"])
    return sorted(name for batch in batches for name in batch.column(0).to_pylist())


def test_a_window_has_the_rows_that_reading_it_whole_has(log: Log) -> None:
    log.write("w0-1-000001", *(bird(f"{n}", NOON + timedelta(minutes=7 * n)) for n in range(40)))
    log.compact()
    window = (NOON + HOUR, NOON + 3 * HOUR)
    streamed = pa.Table.from_batches(LoggedAnswers(log.url, "birds").batches(*window))
    whole = read_predictions(log.url, "birds", *window)
    assert streamed.sort_by("request_id").equals(whole.sort_by("request_id"))
    assert streamed.num_rows == 17


def test_rows_that_are_not_parquet_yet_come_too_and_once(log: Log) -> None:
    log.write("w0-1-000001", bird("a"))
    log.compact()
    log.write("w0-1-000002", bird("b"))
    assert ids(log) == ["a"]
    assert ids(log, fresh=True) == ["a", "b"]
    log.compact()
    assert ids(log, fresh=True) == ["a", "b"]


def test_a_column_nobody_logged_is_of_type_null(log: Log) -> None:
    log.write("w0-1-000001", bird("a"))
    for fresh in (log.folder, None):
        (batch,) = LoggedAnswers(log.url, "birds", fresh).batches(NOON, NOON + HOUR, ["wings", "request_id"])
        assert batch.schema.names == ["wings", "request_id"]
        assert pa.types.is_null(batch.schema.field("wings").type)
        log.compact()


def test_a_column_may_change_its_type(log: Log) -> None:
    log.write("w0-1-000001", bird("a"))
    log.cases = {"birds": BIRDS.model_copy(update={"features": {**BIRDS.features, "weight": ColumnType.string}})}
    log.write("w0-1-000002", bird("b", rows=birds(weight="heavy")))
    log.compact()
    batches = LoggedAnswers(log.url, "birds").batches(NOON, NOON + HOUR, ["weight"])
    assert {str(batch.schema.field("weight").type) for batch in batches} == {"double", "string"}


@pytest.mark.parametrize("large", [False, True])
def test_a_day_merged_while_it_is_streamed_is_read_as_it_was(
    log: Log, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    monkeypatch.setattr("serving.ledger.store._SMALL_BYTES", 0 if large else 1_000_000)
    for number in range(3):
        log.write(f"w0-1-{number}", bird(f"{number}"))
    compact_all(log)
    batches = LoggedAnswers(log.url, "birds").batches(NOON - HOUR, NOON + HOUR, ["request_id"])
    found = [next(batches).column(0)[0].as_py()]
    assert merge_day(log.store, "birds", DAY, ledger_id(log.folder), NEXT_DAY)
    assert sorted(found + [name for batch in batches for name in batch.column(0).to_pylist()]) == ["0", "1", "2"]
    assert ids(log) == ["0", "1", "2"]


def test_a_day_merged_between_listing_and_opening_is_opened_again(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        log.write(f"w0-1-{number}", bird(f"{number}"))
    compact_all(log)
    between(monkeypatch, Store, "files", lambda: merge_day(log.store, "birds", DAY, ledger_id(log.folder), NEXT_DAY))
    assert ids(log) == ["0", "1", "2"]


def test_a_file_at_a_url_is_kept_on_disk_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.ledger.store._SMALL_BYTES", 10)
    store = Store("memory://windows/predictions")
    store.put("birds", DAY, "part.parquet", b"longer than ten bytes")
    with store.open("birds", DAY, "part.parquet") as file:
        store.remove("birds", DAY, "part.parquet")
        assert file.read() == b"longer than ten bytes"


def test_a_file_that_is_no_parquet_is_named(log: Log) -> None:
    log.store.put("birds", DAY, "part-x.parquet", b"no parquet")
    with pytest.raises(LogUnreadable, match=r"part-x\.parquet of `birds` on 2026-03-01 is no Parquet file"):
        ids(log)


def test_moments_need_an_offset(log: Log) -> None:
    with pytest.raises(ValueError, match="need an offset from UTC"):
        list(LoggedAnswers(log.url, "birds").batches(NOON.replace(tzinfo=None), NOON))


def test_answers_can_be_sent_to_another_process(log: Log) -> None:
    answers = LoggedAnswers(log.url, "birds", log.folder)
    assert pickle.loads(pickle.dumps(answers)) == answers


def test_days_are_counted_without_reading_them_and_each_row_once(log: Log) -> None:
    def counted(*, fresh: bool = True) -> dict[date, int]:
        answers = LoggedAnswers(log.url, "birds", log.folder if fresh else None)
        return dict(answers.rows_by_day(DAY, after))

    after = NEXT_DAY.date()
    assert counted() == {}
    log.write("w0-1-000001", bird("a"), bird("b"), bird("c", NOON + 24 * HOUR))
    assert (counted(), counted(fresh=False)) == ({DAY: 2, after: 1}, {})
    log.compact()
    log.write("w0-1-000002", bird("d"))
    assert (counted(), counted(fresh=False)) == ({DAY: 3, after: 1}, {DAY: 2, after: 1})
    compact_all(log)
    assert merge_day(log.store, "birds", DAY, ledger_id(log.folder), NEXT_DAY)
    assert counted() == {DAY: 3, after: 1}
    assert LoggedAnswers(log.url, "birds").rows_by_day(after, after) == {after: 1}
