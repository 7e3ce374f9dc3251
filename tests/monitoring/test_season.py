"""Which hours a window is held against: none of them its own."""

from datetime import UTC, datetime, timedelta

import pytest

from configs.monitoring import ReferenceParams
from tasks.monitoring.season import reference_stretches, windows_in, windows_of

END = datetime(2026, 3, 16, tzinfo=UTC)
DAY = timedelta(days=1)
WEEK = 7 * DAY


@pytest.mark.parametrize(
    ("kind", "windows", "newest"),
    [("rolling", 28, END - 2 * DAY), ("same_hours", 4, END - WEEK - DAY), ("last_year", 22, END - 52 * WEEK + 6 * DAY)],
)
def test_stretches_are_cut_into_windows_before_this_one(kind: str, windows: int, newest: datetime) -> None:
    params = ReferenceParams.model_validate({"kind": kind, "weeks": 4})
    cut = windows_in(reference_stretches(params, END - DAY, END), DAY)
    assert len(cut) == windows
    assert max(start for start, _ in cut) == newest
    assert all(end - start == DAY and end <= END - DAY for start, end in cut)


def test_what_is_less_than_a_window_is_left_out() -> None:
    assert windows_in([(END - 60 * timedelta(hours=1), END)], DAY) == [(END - DAY, END), (END - 2 * DAY, END - DAY)]


def test_what_the_champion_was_accepted_on_is_no_stretch_of_hours() -> None:
    assert reference_stretches(ReferenceParams(), END - DAY, END) == []


def test_hours_lie_in_windows_that_begin_where_others_do() -> None:
    hour, rolling = timedelta(hours=1), ReferenceParams(kind="rolling")
    assert windows_of(rolling, DAY, END - 3 * hour, END + hour) == [(END - DAY, END), (END, END + DAY)]
    assert windows_of(rolling, DAY, END - hour, END) == windows_of(rolling, DAY, END, END) == [(END - DAY, END)]
    assert windows_of(ReferenceParams(), DAY, END - 3 * hour, END + hour) == [(END - 3 * hour, END + hour)]
