"""The history that ships with the project is real, whole, in the right time, and tells no model what comes after."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from configs.case import Case, ColumnType
from configs.project import Project
from tasks.ingestion.sources import BEGINNING, rows

PROJECT = Project(Path(__file__).parents[2])


def flight(flights: pd.DataFrame, flight_id: str) -> pd.Series:
    (found,) = flights.loc[flights["flight_id"] == flight_id].to_dict("records")
    return pd.Series(found)


def columns_of(case: Case, *types: ColumnType) -> list[str]:
    return [name for name, column in case.contract.columns.items() if column.type in types]


def test_all_flights_of_2013_are_there_each_once(flights: pd.DataFrame) -> None:
    assert len(flights) == 336_776
    assert flights["flight_id"].is_unique
    assert flights["flight_id"].notna().all()


def test_all_hours_of_2011_are_there_each_once(bikes: pd.DataFrame) -> None:
    assert len(bikes) == 8_645
    assert bikes["hour_id"].is_unique
    assert bikes["event_time"].is_monotonic_increasing


@pytest.mark.parametrize("name", ["flights", "bikes"])
def test_a_recorded_table_has_the_columns_of_its_contract_in_their_order(
    name: str, request: pytest.FixtureRequest
) -> None:
    frame: pd.DataFrame = request.getfixturevalue(name)
    case = PROJECT.case(name)
    assert tuple(frame.columns) == case.contract.names()
    assert all(pd.api.types.is_string_dtype(frame[name]) for name in columns_of(case, ColumnType.string))
    numbers = columns_of(case, ColumnType.integer, ColumnType.number)
    assert all(pd.api.types.is_numeric_dtype(frame[name]) for name in numbers)


@pytest.mark.parametrize("name", ["flights", "bikes"])
def test_event_times_are_in_utc_and_none_is_missing(name: str, request: pytest.FixtureRequest) -> None:
    frame: pd.DataFrame = request.getfixturevalue(name)
    assert str(frame["event_time"].dtype) == "datetime64[us, UTC]"
    assert frame["event_time"].notna().all()


def test_new_york_is_four_hours_behind_in_july_and_five_in_january(flights: pd.DataFrame) -> None:
    local = flights["scheduled_departure"]
    behind = flights["event_time"].dt.tz_localize(None) - local
    assert list(behind[local.dt.month == 7].unique()) == [pd.Timedelta(hours=4)]
    assert list(behind[local.dt.month == 1].unique()) == [pd.Timedelta(hours=5)]
    assert sorted(behind.unique()) == [pd.Timedelta(hours=4), pd.Timedelta(hours=5)]


def test_clocks_change_on_the_night_they_did_in_2013(flights: pd.DataFrame) -> None:
    local = flights["scheduled_departure"]
    behind = flights["event_time"].dt.tz_localize(None) - local
    summer = (local >= "2013-03-10 03:00") & (local < "2013-11-03 02:00")
    assert (behind[summer] == pd.Timedelta(hours=4)).all()
    assert (behind[~summer] == pd.Timedelta(hours=5)).all()


def test_the_first_flight_of_the_year_is_the_one_in_the_books(flights: pd.DataFrame) -> None:
    first = flight(flights, "UA1545-EWRIAH-20130101T0515")
    assert first["event_time"] == pd.Timestamp("2013-01-01 10:15", tz="UTC")
    assert first["scheduled_arrival_minute"] == 8 * 60 + 19
    assert first["departure_minute"] == 5 * 60 + 17
    assert first["arrival_delay"] == 11
    assert (first["tail_number"], first["plane_year"], first["plane_manufacturer"]) == ("N14228", 1999, "BOEING")


def test_weather_is_that_of_the_hour_of_the_scheduled_departure_and_never_of_a_later_one(flights: pd.DataFrame) -> None:
    first = flight(flights, "UA1545-EWRIAH-20130101T0515")
    assert (first["temperature"], first["wind_direction"]) == (39.02, 260)
    assert flights["temperature"].notna().mean() > 0.99


def test_a_cancelled_flight_is_kept_without_arrival_or_delay(flights: pd.DataFrame) -> None:
    cancelled = flights[flights["departure_delay"].isna()]
    assert len(cancelled) == 8_255
    assert cancelled[["departure_minute", "arrival_minute", "arrival_delay"]].isna().all(axis=None)


def test_the_hour_that_spring_skips_did_not_happen_and_others_are_hours_of_washington(bikes: pd.DataFrame) -> None:
    behind = bikes["event_time"].dt.tz_localize(None) - bikes["local_hour"]
    summer = (bikes["local_hour"] >= "2011-03-13 03:00") & (bikes["local_hour"] < "2011-11-06 01:00")
    assert (behind[summer] == pd.Timedelta(hours=4)).all()
    assert (behind[bikes["local_hour"] < "2011-03-13 02:00"] == pd.Timedelta(hours=5)).all()


def test_a_count_of_bikes_is_the_sum_of_its_parts_which_is_why_no_model_may_see_them(bikes: pd.DataFrame) -> None:
    assert (bikes["casual"] + bikes["registered"] == bikes["rentals"]).all()


@pytest.mark.parametrize("name", ["flights", "bikes"])
def test_no_feature_is_the_target_or_one_of_the_columns_known_only_afterwards(
    name: str, request: pytest.FixtureRequest
) -> None:
    frame: pd.DataFrame = request.getfixturevalue(name)
    case = PROJECT.case(name)
    numbers = [f for f in case.contract.features if case.contract.columns[f].type in ("integer", "number")]
    correlation = frame[numbers].corrwith(frame[case.target].astype("float64"), method="pearson").abs()
    assert correlation.max() < 0.6


def test_recorded_rows_are_cut_to_the_bounds_asked_for_the_end_not_included() -> None:
    case = PROJECT.case("bikes")
    found = rows(case, datetime(2011, 1, 3, 5, tzinfo=UTC), datetime(2011, 1, 3, 7, tzinfo=UTC))["event_time"]
    assert list(found) == [pd.Timestamp("2011-01-03 05:00", tz="UTC"), pd.Timestamp("2011-01-03 06:00", tz="UTC")]
    assert rows(case, BEGINNING, datetime(2011, 1, 1, 5, tzinfo=UTC)).empty
