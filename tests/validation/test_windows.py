"""Which batches train and which judge: never the same, none before its labels, none that was rejected."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from configs.params import Params, WindowParams
from configs.read import read_case, read_params
from tasks.errors import TooLittleData
from tasks.records import Batch, BatchReport, Finding, LeftOut, Severity, Windows
from tasks.validation.windows import labelled, learnable_at, only_since, refuse_too_many, spans, why, windows

from .conftest import WINDOW

ROOT = Path(__file__).parents[2]
START = datetime(2024, 1, 1, tzinfo=UTC)
AS_OF = START + timedelta(weeks=20)


def weeks(*numbers: int) -> list[Batch]:
    return [
        Batch(
            batch_id=f"2024-W{n:02}",
            start=START + timedelta(weeks=n - 1),
            end=START + timedelta(weeks=n),
            file=f"2024-W{n:02}.parquet",
        )
        for n in numbers
    ]


def params(**changed: Any) -> WindowParams:
    return WindowParams.model_validate({**WINDOW, **changed})


def training(min_train_rows: int, **changed: Any) -> Params:
    """The parameters of flights, with a training that needs so many rows."""
    flights = read_params(ROOT, "flights")
    window = flights.window.model_copy(update={"min_train_rows": min_train_rows})
    return flights.model_copy(update={"window": window, "training": flights.training.model_copy(update=changed)})


def finding(severity: Severity, found: str = "9 of 100 rows outside") -> Finding:
    return Finding(
        check="range", column="distance", severity=severity, passed=False, expected="0 to 6000 miles", found=found
    )


def report(batch: Batch, *findings: Finding, rows: int = 100) -> BatchReport:
    return BatchReport(
        case="parcels", batch_id=batch.batch_id, contract_version=1, rows=rows, digest="", findings=findings
    )


def cut(batches: list[Batch], rejected: Collection[str] = (), **changed: Any) -> Windows:
    chosen = params(**changed)
    reports = {
        batch.batch_id: report(batch, *([finding(Severity.critical)] if batch.batch_id in rejected else []))
        for batch in batches
    }
    train, evaluate = spans(batches, rejected, chosen)
    return windows(train, evaluate, reports, chosen, AS_OF)


def ids(batches: Any) -> list[str]:
    return [batch.batch_id for batch in batches]


def test_the_newest_batches_judge_and_those_before_them_train() -> None:
    found = cut(weeks(*range(1, 9)))
    assert ids(found.evaluate.batches) == ["2024-W07", "2024-W08"]
    assert ids(found.train.batches) == ["2024-W04", "2024-W05", "2024-W06"]
    assert (found.train.start, found.train.end) == (weeks(4)[0].start, weeks(6)[0].end)


def test_without_a_number_all_earlier_batches_train() -> None:
    assert ids(cut(weeks(*range(1, 9)), train_batches=None).train.batches) == ids(weeks(*range(1, 7)))


@pytest.mark.parametrize("train_batches", [None, 2, 3, 50])
@pytest.mark.parametrize("evaluate_batches", [1, 2, 5])
@pytest.mark.parametrize("rejected", [set(), {"2024-W08"}, {"2024-W06", "2024-W09"}])
def test_windows_never_overlap(train_batches: int | None, evaluate_batches: int, rejected: set[str]) -> None:
    shares = {"max_left_out": 1.0, "min_train_rows": 10}
    found = cut(
        weeks(*range(1, 11)), rejected, train_batches=train_batches, evaluate_batches=evaluate_batches, **shares
    )
    assert found.train.end <= found.evaluate.start
    assert not set(ids(found.train.batches)) & set(ids(found.evaluate.batches))
    assert len(found.evaluate.batches) == evaluate_batches


def test_a_rejected_batch_is_left_out_of_both_and_evaluation_reaches_further_back() -> None:
    found = cut(weeks(*range(1, 10)), {"2024-W04", "2024-W08"}, max_left_out=0.5)
    assert ids(found.evaluate.batches) == ["2024-W07", "2024-W09"]
    assert ids(found.train.batches) == ["2024-W05", "2024-W06"]
    assert ids(found.left_out) == ["2024-W04", "2024-W08"]
    assert "`distance`: 9 of 100 rows outside (expected 0 to 6000 miles)" in found.left_out[0].why


@pytest.mark.parametrize(("hours", "counts"), [(-0.1, False), (0, True)])
def test_a_batch_counts_when_the_label_delay_after_its_end_is_over(hours: float, counts: bool) -> None:
    delay = timedelta(hours=36)
    as_of = weeks(3)[0].end + delay + timedelta(hours=hours)
    assert ids(labelled(weeks(1, 2, 3), delay, as_of)) == ids(weeks(1, 2, 3) if counts else weeks(1, 2))


@pytest.mark.parametrize(
    ("since", "train"),
    [
        (START, (2, 3, 4, 5, 6)),
        (START + timedelta(weeks=3), (4, 5, 6)),
        (START + timedelta(weeks=5), (5, 6)),  # week 6 alone has too few rows
        (START + timedelta(weeks=6), (2, 3, 4, 5, 6)),  # nothing to train on is that new
    ],
)
def test_after_a_change_only_what_came_since_trains_if_it_is_enough(since: datetime, train: tuple[int, ...]) -> None:
    before = weeks(2, 3, 4, 5, 6)
    only = only_since(before, since, lambda batch: 150 if batch == weeks(5)[0] else 90, training(200))
    assert ids(only) == ids(weeks(*train))


@pytest.mark.parametrize(("batches", "train"), [(1, (5, 6)), (2, (4, 5, 6))])
def test_calibration_keeps_back_none_of_what_a_candidate_needs(batches: int, train: tuple[int, ...]) -> None:
    calibrated = training(100, calibration="sigmoid", calibration_batches=batches)
    only = only_since(weeks(2, 3, 4, 5, 6), START + timedelta(weeks=5), lambda _: 1000, calibrated)
    assert ids(only) == ids(weeks(*train))


def test_a_week_is_new_if_most_of_it_is_and_rejected_ones_count_for_nothing() -> None:
    middle = START + timedelta(weeks=2, days=3, hours=12)
    everything = weeks(2, 3, 4, 5)
    assert ids(only_since(everything, middle, lambda _: 100, training(100))) == ids(weeks(3, 4, 5))
    later = middle + timedelta(seconds=1)
    assert ids(only_since(everything, later, lambda _: 100, training(100))) == ids(weeks(4, 5))
    assert ids(only_since(everything, later, lambda _: 0, training(100))) == ids(everything)


@pytest.mark.parametrize(
    ("every", "changed", "judged_by", "learnable"),
    [
        ("week", "2013-06-12T00:00", 2, "2013-07-02T00:00"),
        ("week", "2013-06-12T00:00", 0, "2013-06-18T00:00"),
        ("week", "2013-06-13T12:00", 2, "2013-07-02T00:00"),
        ("week", "2013-06-13T12:01", 2, "2013-07-09T00:00"),
        ("day", "2013-06-12T13:00", 7, "2013-06-22T00:00"),
        ("month", "2013-06-12T00:00", 1, "2013-08-02T00:00"),
    ],
)
def test_a_change_can_be_learned_when_a_batch_of_it_and_those_that_judge_have_their_labels(
    every: str, changed: str, judged_by: int, learnable: str
) -> None:
    case = read_case(ROOT, "flights").model_copy(update={"batch_every": every})  # labels come a day later
    at, wanted = (datetime.fromisoformat(moment).replace(tzinfo=UTC) for moment in (changed, learnable))
    assert learnable_at(case, judged_by, at) == wanted


def test_too_few_batches_to_judge_by_are_refused() -> None:
    with pytest.raises(TooLittleData, match=r"judge a candidate: found 1 accepted batch.*wanted 2.*evaluate_batches"):
        cut(weeks(1))


def test_no_batch_at_all_is_refused() -> None:
    with pytest.raises(TooLittleData, match="found 0 accepted batches"):
        cut([])


def test_no_batch_to_train_on_is_refused() -> None:
    with pytest.raises(TooLittleData, match="train a candidate: found no accepted batch"):
        cut(weeks(1, 2))


@pytest.mark.parametrize(("wanted", "refused"), [(300, False), (301, True)])
def test_training_needs_min_train_rows(wanted: int, refused: bool) -> None:
    if not refused:
        assert len(cut(weeks(*range(1, 6)), min_train_rows=wanted).train.batches) == 3
        return
    with pytest.raises(TooLittleData, match=r"found 300 rows in 3 batches, wanted 301"):
        cut(weeks(*range(1, 6)), min_train_rows=wanted)


def test_more_than_max_left_out_is_refused_and_just_as_much_is_not() -> None:
    def left(count: int) -> Any:
        return cut(weeks(*range(1, 9)), set(ids(weeks(*range(3, 3 + count)))), train_batches=6).left_out

    assert len(left(2)) == 2  # of eight
    with pytest.raises(TooLittleData, match=r"3 of 8 batches in quarantine \(2024-W03, 2024-W04, 2024-W05\)"):
        left(3)


def test_nothing_left_out_is_never_too_much() -> None:
    refuse_too_many((), 0, 0.0)
    with pytest.raises(TooLittleData, match="1 of 1 batches in quarantine"):
        refuse_too_many((LeftOut(batch_id="2024-W03", why="it broke"),), 1, 0.0)


def test_failed_checks_that_did_not_block_are_worded_as_warnings() -> None:
    batches = weeks(1, 2, 3)
    reports = {batch.batch_id: report(batch, finding(Severity.warning), finding(Severity.info)) for batch in batches}
    found = windows(batches[:1], batches[1:], reports, params(min_train_rows=10), AS_OF)
    assert found.warnings[0] == "2024-W01: `distance`: 9 of 100 rows outside (expected 0 to 6000 miles)"
    assert len(found.warnings) == 3


def test_warnings_are_as_many_as_a_person_reads() -> None:
    batches = weeks(1, 2, 3)
    reports = {batch.batch_id: report(batch, *[finding(Severity.warning)] * 10) for batch in batches}
    found = windows(batches[:1], batches[1:], reports, params(min_train_rows=10), AS_OF)
    assert (len(found.warnings), found.warnings[-1]) == (21, "and 10 more, see the batches' reports")


def test_a_period_that_was_never_delivered_is_said() -> None:
    assert cut(weeks(1, 2, 3, 5, 6)).warnings == ("nothing was delivered between 2024-W03 and 2024-W05",)


def test_why_names_the_first_reason_and_counts_the_rest() -> None:
    (batch,) = weeks(1)
    broken = report(batch, finding(Severity.warning), finding(Severity.critical), finding(Severity.critical))
    assert why(broken) == "`distance`: 9 of 100 rows outside (expected 0 to 6000 miles), and 1 more"
