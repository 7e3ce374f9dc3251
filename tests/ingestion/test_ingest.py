"""The step as a whole: what is due is delivered, and what was delivered stays as it is."""

from pathlib import Path

import pandas as pd
import pytest

from configs.project import Project
from tasks.errors import EmptyDelivery, SourceUnreadable
from tasks.ingestion.ingest import ingest, redeliver
from tasks.records import Order

from .conftest import Library, loans, utc

WEEKS = ["2012-W51", "2012-W52", "2013-W01", "2013-W02", "2013-W03"]


def test_batches_are_cut_by_week_and_named_by_it_also_over_new_year(library: Library) -> None:
    assert library.ingest("2013-01-21") == WEEKS
    first = library.batch("2013-W01")
    assert (first["at"].min(), first["at"].max()) == (
        pd.Timestamp("2012-12-31 00:00", tz="UTC"),
        pd.Timestamp("2013-01-06 18:00", tz="UTC"),
    )


@pytest.mark.parametrize(
    ("every", "first", "number"), [("day", "2012-12-17", 35), ("week", "2012-W51", 5), ("month", "2012-12", 1)]
)
def test_batches_are_as_long_as_the_case_says(library: Library, every: str, first: str, number: int) -> None:
    library.describe(batch_every=every)
    written = library.ingest("2013-01-21")
    assert (written[0], len(written)) == (first, number)


def test_every_row_that_is_due_is_delivered_once_and_unchanged(library: Library) -> None:
    written = library.ingest("2013-01-21")
    together = pd.concat([library.batch(batch_id) for batch_id in written], ignore_index=True)
    pd.testing.assert_frame_equal(together, loans("2012-12-17", 35))


@pytest.mark.parametrize(
    ("as_of", "newest"), [("2013-01-20T23:59:59", "2013-W02"), ("2013-01-21T00:00:00", "2013-W03")]
)
def test_only_batches_that_have_ended_are_delivered(library: Library, as_of: str, newest: str) -> None:
    assert library.ingest(as_of)[-1] == newest


def test_a_second_run_changes_nothing_at_all(library: Library) -> None:
    library.ingest("2013-01-21")
    before = library.state()
    assert library.ingest("2013-01-21") == []
    assert library.state() == before


def test_a_later_run_adds_the_weeks_since_and_leaves_the_others_alone(library: Library) -> None:
    assert library.ingest("2013-01-07") == WEEKS[:3]
    before = library.state()
    library.exports(loans("2012-12-17", 42))
    assert library.ingest("2013-01-28") == [*WEEKS[3:], "2013-W04"]
    assert {name: state for name, state in library.state().items() if name in before} == before


def test_a_delivered_batch_stays_as_it_is_although_the_source_has_thought_better_of_it(library: Library) -> None:
    library.ingest("2013-01-07")
    before = library.state()
    library.exports(loans("2012-12-17", 35).assign(pages=1))
    assert library.ingest("2013-01-14") == ["2013-W02"]
    assert {name: state for name, state in library.state().items() if name in before} == before
    assert set(library.batch("2013-W02")["pages"]) == {1}


def test_an_earlier_as_of_does_not_see_later_batches_and_does_not_touch_them(library: Library) -> None:
    library.ingest("2013-01-21")
    before = library.state()
    assert library.ingest("2013-01-07") == []
    assert library.delivered("2013-01-07") == WEEKS[:3]
    assert library.state() == before


def test_a_week_without_rows_is_no_batch_and_its_neighbours_are(library: Library) -> None:
    frame = loans("2012-12-17", 35)
    library.exports(frame[(frame["at"] < utc("2012-12-24")) | (frame["at"] >= utc("2012-12-31"))])
    assert library.ingest("2013-01-21") == [WEEKS[0], *WEEKS[2:]]


def test_rows_without_a_time_travel_with_the_newest_batch_for_validation_to_find(library: Library) -> None:
    frame = loans("2012-12-17", 35)
    library.exports(frame.assign(at=frame["at"].mask(frame.index < 3)))
    library.ingest("2013-01-14")
    untimed = {batch_id: int(library.batch(batch_id)["at"].isna().sum()) for batch_id in WEEKS[:4]}
    assert untimed == {"2012-W51": 0, "2012-W52": 0, "2013-W01": 0, "2013-W02": 3}
    assert set(library.batch("2013-W02")["loan_id"].head(3)) == set(frame["loan_id"].head(3))


def test_a_source_with_nothing_up_to_the_as_of_has_delivered_nothing_and_says_so(library: Library) -> None:
    with pytest.raises(
        EmptyDelivery, match=r"holds no rows for any week whose labels are in by 2012-12-23 12:00Z\. Nothing was"
    ):
        library.ingest("2012-12-23T12:00:00")
    assert list(library.files.deliveries.iterdir()) == []
    assert library.ingest("2012-12-24") == ["2012-W51"]


def test_a_source_with_nothing_new_is_not_empty(library: Library) -> None:
    library.ingest("2013-01-21")
    assert library.ingest("2013-03-01") == []


def test_a_source_that_cannot_be_read_leaves_everything_as_it_was(library: Library) -> None:
    library.ingest("2013-01-07")
    before = library.state()
    (library.export / "all.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(SourceUnreadable, match=r"all\.parquet cannot be read: it is damaged"):
        library.ingest("2013-01-21")
    assert library.state() == before


def test_no_part_of_a_file_is_left_beside_the_batches(library: Library) -> None:
    library.ingest("2013-01-21")
    assert sorted(path.name for path in library.files.deliveries.iterdir()) == [f"{week}.parquet" for week in WEEKS]


def test_a_period_taken_again_becomes_its_second_delivery_and_the_first_is_kept(library: Library) -> None:
    library.ingest("2013-01-21")
    before = library.state()
    library.exports(loans("2012-12-17", 35).assign(pages=7))
    assert redeliver(library.project, "loans", "2013-W01") == "2013-W01.2"
    assert {name: state for name, state in library.state().items() if name in before} == before
    assert library.delivered("2013-01-21") == [*WEEKS[:2], "2013-W01.2", *WEEKS[3:]]
    assert set(library.batch("2013-W01.2")["pages"]) == {7}
    assert library.ingest("2013-01-21") == []


@pytest.mark.parametrize("asked", ["2013-W01", "2013-W01.2"])
def test_a_period_can_be_taken_again_and_again_by_any_of_its_names(library: Library, asked: str) -> None:
    library.ingest("2013-01-21")
    redeliver(library.project, "loans", "2013-W01")
    assert redeliver(library.project, "loans", asked) == "2013-W01.3"
    assert library.delivered("2013-01-07")[-1] == "2013-W01.3"


def test_a_period_that_was_never_delivered_cannot_be_delivered_again(library: Library) -> None:
    library.ingest("2013-01-07")
    with pytest.raises(
        SourceUnreadable, match="Delivery 2013-W03 of `loans` cannot be read: it was never delivered, nor was one"
    ):
        redeliver(library.project, "loans", "2013-W03")


def test_a_period_that_the_source_had_late_is_delivered_although_the_next_one_was_before_it(library: Library) -> None:
    whole = loans("2012-12-17", 35)
    missing = (whole["at"] >= "2012-12-31") & (whole["at"] < "2013-01-07")
    library.exports(whole[~missing])
    assert library.ingest("2013-01-14") == [*WEEKS[:2], "2013-W02"]
    library.exports(whole)
    assert library.ingest("2013-01-21") == ["2013-W03"]
    before = library.state()
    assert redeliver(library.project, "loans", "2013-W01") == "2013-W01"
    assert {name: state for name, state in library.state().items() if name in before} == before
    assert library.delivered("2013-01-21") == WEEKS
    pd.testing.assert_frame_equal(library.batch("2013-W01"), whole[missing].reset_index(drop=True))
    assert redeliver(library.project, "loans", "2013-W01") == "2013-W01.2"


@pytest.mark.parametrize("asked", ["2013-W0", "2013-W1", "2013-W54", "2013-01-07", "May"])
def test_the_beginning_of_a_name_is_not_that_name(library: Library, asked: str) -> None:
    library.ingest("2013-01-21")
    before = library.state()
    with pytest.raises(SourceUnreadable, match=f"Delivery {asked} of `loans` cannot be read: it is no week.*2013-W03"):
        redeliver(library.project, "loans", asked)
    assert library.state() == before


def test_a_period_the_source_no_longer_has_keeps_its_delivery(library: Library) -> None:
    library.ingest("2013-01-21")
    before = library.state()
    library.exports(loans("2013-01-07", 14))
    with pytest.raises(EmptyDelivery, match="holds no rows for 2013-W01"):
        redeliver(library.project, "loans", "2013-W01")
    assert library.state() == before


def test_the_recorded_bikes_are_delivered_week_by_week(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2]
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "bikes.yaml").write_bytes((shipped / "configs" / "bikes.yaml").read_bytes())
    project = Project(tmp_path)
    Order(case="bikes", as_of=utc("2011-01-31T02:00:00")).write(project.files("bikes").order)
    assert ingest(project, "bikes") == ["2010-W52", "2011-W01", "2011-W02", "2011-W03", "2011-W04"]


def test_a_batch_is_taken_when_its_labels_are_in_and_then_has_them(library: Library) -> None:
    library.describe(label_delay_hours=48)
    library.exports(loans("2012-12-17", 35).assign(late=None))
    assert library.ingest("2013-01-08T23:59:00") == WEEKS[:2], "the third week's labels come two days after its end"
    library.exports(loans("2012-12-17", 35))
    assert library.ingest("2013-01-09") == ["2013-W01"]
    assert library.batch("2013-W01")["late"].notna().all()


def test_rows_of_which_none_says_when_it_happened_are_not_lost_in_silence(library: Library) -> None:
    library.ingest("2013-01-07")
    library.exports(loans("2013-01-07", 7).assign(at=pd.Series([pd.NaT] * 28, dtype="datetime64[us, UTC]")))
    with pytest.raises(SourceUnreadable, match=r"none of its 28 new rows says when it happened"):
        library.ingest("2013-01-14")
