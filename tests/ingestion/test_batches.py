"""Time is cut in UTC into days, ISO weeks and months, and a batch is named after its period."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from tasks.errors import SourceUnreadable
from tasks.ingestion.batches import batch_of, delivered, delivery_of, period_end, period_id, period_of, period_start
from tasks.ingestion.batches import read_batch as read

from .conftest import case_of, loans, utc


@pytest.mark.parametrize(
    ("every", "moment", "name", "start", "end"),
    [
        ("day", "2013-05-13T00:00:00", "2013-05-13", "2013-05-13", "2013-05-14"),
        ("day", "2013-05-13T23:59:59.999999", "2013-05-13", "2013-05-13", "2013-05-14"),
        ("week", "2013-05-13T00:00:00", "2013-W20", "2013-05-13", "2013-05-20"),
        ("week", "2013-05-19T23:59:59.999999", "2013-W20", "2013-05-13", "2013-05-20"),
        ("week", "2012-12-30T23:59:59", "2012-W52", "2012-12-24", "2012-12-31"),
        ("week", "2012-12-31T00:00:00", "2013-W01", "2012-12-31", "2013-01-07"),
        ("week", "2021-01-03T12:00:00", "2020-W53", "2020-12-28", "2021-01-04"),
        ("month", "2013-05-31T23:59:59", "2013-05", "2013-05-01", "2013-06-01"),
        ("month", "2012-12-31T12:00:00", "2012-12", "2012-12-01", "2013-01-01"),
        ("month", "2012-02-29T00:00:00", "2012-02", "2012-02-01", "2012-03-01"),
    ],
)
def test_a_moment_lies_in_one_period_whose_name_leads_back_to_its_bounds(
    every: str, moment: str, name: str, start: str, end: str
) -> None:
    found = period_start(every, utc(moment))
    assert (found, period_end(every, found)) == (utc(start), utc(end))
    assert period_id(every, found) == name
    batch = batch_of(case_of(batch_every=every), name)
    assert (batch.batch_id, batch.start, batch.end, batch.file) == (name, utc(start), utc(end), f"{name}.parquet")


def test_a_period_is_cut_in_utc_wherever_the_clock_hangs() -> None:
    new_york = timezone(timedelta(hours=-5))
    assert period_start("day", datetime(2012, 12, 30, 18, 59, tzinfo=new_york)) == utc("2012-12-30")
    assert period_start("day", datetime(2012, 12, 30, 19, 0, tzinfo=new_york)) == utc("2012-12-31")
    assert period_start("week", datetime(2012, 12, 30, 19, 0, tzinfo=new_york)) == utc("2012-12-31")


@pytest.mark.parametrize("every", ["day", "week", "month"])
def test_periods_follow_one_another_without_gap_for_ten_years_and_their_names_sort_by_time(every: str) -> None:
    start, names = period_start(every, datetime(2010, 1, 1, tzinfo=UTC)), []
    while start < datetime(2020, 1, 1, tzinfo=UTC):
        names.append(period_id(every, start))
        assert batch_of(case_of(batch_every=every), names[-1]).start == start
        start = period_end(every, start)
        assert period_start(every, start) == start
        assert period_start(every, start - timedelta(microseconds=1)) < start
    assert names == sorted(set(names))


@pytest.mark.parametrize("cut", [period_start, period_end, period_id])
def test_a_period_nobody_knows_is_refused(cut: object) -> None:
    with pytest.raises(ValueError, match="no such period: fortnight"):
        cut("fortnight", utc("2013-05-13"))  # type: ignore[operator]


@pytest.mark.parametrize("batch_id", ["2013-05", "2013-05-13", "2013-W54", "notes"])
def test_a_name_that_is_no_week_is_refused(batch_id: str) -> None:
    with pytest.raises(ValueError, match=r"does not match|Invalid week"):
        batch_of(case_of(), batch_id)


def test_the_name_of_a_batch_tells_its_period_and_which_delivery_of_it_this_is() -> None:
    assert (period_of("2013-W20"), delivery_of("2013-W20")) == ("2013-W20", 1)
    assert (period_of("2013-W20.12"), delivery_of("2013-W20.12")) == ("2013-W20", 12)


def deliver(folder: Path, *names: str) -> None:
    for name in names:
        (folder / f"{name}.parquet").touch()


def test_a_batch_is_delivered_from_the_moment_it_has_ended(tmp_path: Path) -> None:
    deliver(tmp_path, "2013-W01", "2013-W02")
    case = case_of()
    assert delivered(case, tmp_path, utc("2013-01-06T23:59:59")) == []
    assert [batch.batch_id for batch in delivered(case, tmp_path, utc("2013-01-07"))] == ["2013-W01"]
    assert [batch.batch_id for batch in delivered(case, tmp_path, utc("2013-01-14"))] == ["2013-W01", "2013-W02"]


def test_of_many_deliveries_of_a_period_the_one_with_the_highest_number_counts(tmp_path: Path) -> None:
    deliver(tmp_path, "2013-W01", *[f"2013-W01.{number}" for number in range(2, 12)], "2013-W02", "2012-W52")
    found = [batch.batch_id for batch in delivered(case_of(), tmp_path, utc("2013-02-01"))]
    assert found == ["2012-W52", "2013-W01.11", "2013-W02"]


def test_a_file_that_is_still_being_written_is_no_delivery(tmp_path: Path) -> None:
    deliver(tmp_path, "2013-W01")
    (tmp_path / ".2013-W02.parquet.abc.part").touch()
    assert [batch.batch_id for batch in delivered(case_of(), tmp_path, utc("2013-02-01"))] == ["2013-W01"]


def test_a_damaged_batch_is_named_with_what_to_do(tmp_path: Path) -> None:
    batch = batch_of(case_of(), "2013-W01")
    loans("2012-12-31", 7).to_parquet(tmp_path / batch.file)
    assert len(read(tmp_path, batch)) == 28
    whole = (tmp_path / batch.file).read_bytes()
    (tmp_path / batch.file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceUnreadable, match=r"2013-W01\.parquet cannot be read: .*Restore it with `dvc checkout`"):
        read(tmp_path, batch)


def test_a_batch_whose_file_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match=r"2013-W01\.parquet cannot be read"):
        read(tmp_path, batch_of(case_of(), "2013-W01"))
