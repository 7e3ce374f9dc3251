"""History is cut into whole weeks; what it does not hold is refused before anything is trained."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from configs.project import Project
from tasks.backtest.errors import OutsideHistory, TooShort
from tasks.backtest.weeks import History, between, collect
from tests.backtest.conftest import AS_OF, BEGAN, WEEKS, ships


def history(project: Project, as_of: datetime = AS_OF) -> History:
    return collect(project, "harbour", project.stores / "backtest", as_of)


def test_weeks_are_whole_and_in_order(harbour: Project) -> None:
    found = history(harbour)
    assert [week.start for week in found.weeks] == [BEGAN + timedelta(weeks=n) for n in range(WEEKS)]
    assert len(found.rows(3).frame) == 210


def test_a_week_that_is_not_over_is_left_out(harbour: Project) -> None:
    ships(9.5).to_parquet(harbour.root / "ships.parquet")
    assert len(history(harbour).weeks) == 9


def test_a_delivery_counts_before_the_source(harbour: Project) -> None:
    deliveries = harbour.files("harbour").deliveries
    deliveries.mkdir(parents=True)
    ships(1).head(50).to_parquet(deliveries / "2025-W02.parquet")
    assert len(history(harbour).rows(0).frame) == 50


def test_labels_count_when_their_delay_is_over(harbour: Project) -> None:
    found = history(harbour)
    week = found.weeks[6]
    assert found.decides_at(week) == week.start + timedelta(hours=24)
    assert found.labelled(found.decides_at(week)) == 6
    assert found.labelled(found.decides_at(week) - timedelta(seconds=1)) == 5


def test_all_weeks_after_the_warm_up_are_taken_by_default(harbour: Project) -> None:
    assert [week.first for week in between(history(harbour), None, None, 6)] == list(range(6, WEEKS))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (BEGAN, None),
        (None, AS_OF + timedelta(days=1)),
        (datetime(2031, 1, 1, tzinfo=UTC), datetime(2031, 6, 1, tzinfo=UTC)),
        (BEGAN + timedelta(weeks=8), BEGAN + timedelta(weeks=8, days=3)),
    ],
)
def test_dates_outside_are_refused_with_those_that_are_possible(
    harbour: Project, start: datetime | None, end: datetime | None
) -> None:
    with pytest.raises(OutsideHistory, match=r"Its history allows 2025-02-17 to 2025-04-14 \(14 whole weeks"):
        between(history(harbour), start, end, 6)


def test_a_history_that_is_too_short_is_refused(harbour: Project, tmp_path: Path) -> None:
    with pytest.raises(TooShort, match="holds 14 whole weeks, and a back-test takes at least 15"):
        between(history(harbour), None, None, WEEKS)
