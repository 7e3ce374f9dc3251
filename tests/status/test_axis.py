"""The axes: which time is shown comes from the data, and every moment and value lies on the picture."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from tasks.status.axis import TimeAxis, span, value_axis

APRIL, DECEMBER = datetime(2013, 4, 1, tzinfo=UTC), datetime(2013, 12, 30, tzinfo=UTC)
TODAY = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)


def test_nothing_has_no_axis() -> None:
    assert span([], []) is None


def test_the_year_ends_with_the_data_not_with_today() -> None:
    assert span([APRIL, DECEMBER], [APRIL + DAY]) == (APRIL, DECEMBER)


def test_decisions_of_another_time_do_not_stretch_the_axis() -> None:
    assert span([APRIL, DECEMBER], [TODAY]) == (APRIL, DECEMBER)


def test_a_decision_about_the_newest_data_is_on_the_axis() -> None:
    assert span([APRIL, DECEMBER], [DECEMBER + 45 * DAY]) == (APRIL, DECEMBER + 45 * DAY)
    assert span([APRIL, DECEMBER], [DECEMBER + 46 * DAY]) == (APRIL, DECEMBER)


def test_where_no_monitor_has_looked_the_decisions_make_the_axis() -> None:
    assert span([], [TODAY, TODAY + 9 * DAY]) == (TODAY, TODAY + 9 * DAY)


def test_no_more_than_a_year_is_shown_and_no_less_than_two_days() -> None:
    long = span([APRIL, APRIL + 2000 * DAY], [])
    assert long == (APRIL + 1634 * DAY, APRIL + 2000 * DAY)
    assert span([APRIL], []) == (APRIL - 2 * DAY, APRIL)


def test_a_moment_outside_lies_on_the_edge() -> None:
    axis = TimeAxis(APRIL, DECEMBER, 100, 900)
    assert axis.x(APRIL) == 100
    assert axis.x(DECEMBER) == 900
    assert axis.x(APRIL - DAY) == 100
    assert axis.x(TODAY) == 900
    assert axis.shows(APRIL - DAY, APRIL)
    assert not axis.shows(APRIL - 2 * DAY, APRIL - DAY)


@pytest.mark.parametrize(
    ("days", "pixels", "words"),
    [
        (274, 60, ["Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]),
        (274, 140, ["May", "Jul", "Sep", "Nov"]),
        (21, 60, ["1 Apr", "8 Apr", "15 Apr", "22 Apr"]),
        (1, 150, ["1 Apr", "06:00", "12:00", "18:00", "2 Apr"]),
    ],
)
def test_ticks_have_room_for_their_names(days: int, pixels: float, words: list[str]) -> None:
    axis = TimeAxis(APRIL, APRIL + days * DAY, 0, 800)
    ticks = axis.ticks(pixels)
    assert [name for _, name in ticks] == words
    places = [axis.x(moment) for moment, _ in ticks]
    assert all(later - earlier >= pixels for earlier, later in pairwise(places))


@pytest.mark.parametrize("values", [[0.65, 0.75], [40.0, 41.0, 44.5], [0.7], [0.0], [-3.0, 2.0], [1e6, 3e6]])
def test_every_value_lies_between_top_and_bottom_and_ticks_are_round(values: list[float]) -> None:
    axis = value_axis(values, 10, 200)
    assert all(10 < axis.y(value) < 200 for value in values)
    ticks = axis.ticks()
    assert 1 <= len(ticks) <= 6
    assert all(float(words) == pytest.approx(value, abs=1e-9) for value, words in ticks)
