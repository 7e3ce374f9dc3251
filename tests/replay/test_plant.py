"""What each fault does to the rows, and that it does nothing else."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.case import Case
from configs.faults import read_faults
from configs.read import read_case
from tasks.features.labels import labels
from tasks.replay.errors import FaultUnfit
from tasks.replay.plant import KNOWN_AT, must_fit, planted

ROOT = Path(__file__).parents[2]
START = datetime(2013, 8, 5, tzinfo=UTC)
MIDDLE = datetime(2013, 8, 12, tzinfo=UTC)
END = datetime(2013, 8, 19, tzinfo=UTC)


@pytest.fixture(scope="module")
def case() -> Case:
    return read_case(ROOT, "flights")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Two weeks of made-up flights, one every hour."""
    draw, hours = np.random.default_rng(1), 14 * 24
    when = pd.date_range(START, periods=hours, freq="h").as_unit("us")
    return pd.DataFrame(
        {
            "flight_id": [f"AA{i}" for i in range(hours)],
            "event_time": when,
            "scheduled_departure": when.tz_localize(None),
            "scheduled_arrival_minute": draw.integers(0, 1440, hours),
            "carrier": draw.choice(["AA", "UA"], hours),
            "origin": draw.choice(["JFK", "EWR"], hours),
            "destination": "ORD",
            "distance": draw.integers(100, 2000, hours),
            "temperature": draw.normal(60, 10, hours),
            **dict.fromkeys(
                ("plane_year", "plane_seats", "dew_point", "humidity", "wind_direction", "wind_speed"), 1.0
            ),
            **dict.fromkeys(("wind_gust", "precipitation", "pressure", "visibility"), 1.0),
            **dict.fromkeys(("plane_manufacturer", "plane_engine"), "x"),
            "arrival_delay": draw.normal(5, 30, hours),
        }
    )


def with_fault(case: Case, rows: pd.DataFrame, word: str, seed: int = 0) -> pd.DataFrame:
    return planted(case, rows, read_faults([word]), seed)


def halves(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    return frame[frame["event_time"] < MIDDLE], frame[frame["event_time"] >= MIDDLE]


def test_without_faults_nothing_changes_and_labels_are_known_when_they_are_due(case: Case, rows: pd.DataFrame) -> None:
    found = planted(case, rows.sample(frac=1, random_state=1), [], 0)
    pd.testing.assert_frame_equal(found.drop(columns=KNOWN_AT), rows)
    assert (found[KNOWN_AT] == found["event_time"] + timedelta(hours=24)).all()


def test_a_column_in_other_units_stays_of_its_type(case: Case, rows: pd.DataFrame) -> None:
    before, after = halves(with_fault(case, rows, "units:distance=1.609@2013-08-12"))
    pd.testing.assert_series_equal(before["distance"], halves(rows)[0]["distance"])
    assert (after["distance"] == (halves(rows)[1]["distance"] * 1.609).round()).all()
    assert after["distance"].dtype == rows["distance"].dtype


def test_a_fault_ends_where_it_is_said_to(case: Case, rows: pd.DataFrame) -> None:
    found = with_fault(case, rows, "nulls:temperature@2013-08-12..2013-08-13")
    assert found["temperature"].isna().sum() == 24
    assert found.loc[found["temperature"].isna(), "event_time"].dt.day.unique().tolist() == [12]


def test_a_share_of_the_values_is_missing_the_same_with_one_seed(case: Case, rows: pd.DataFrame) -> None:
    one, again, other = (with_fault(case, rows, "nulls:distance=0.5@2013-08-12", seed) for seed in (1, 1, 2))
    assert 0.35 < halves(one)[1]["distance"].isna().mean() < 0.65
    pd.testing.assert_frame_equal(one, again)
    assert not one["distance"].equals(other["distance"])
    assert pd.api.types.is_integer_dtype(one["distance"])  # no row becomes a number with a decimal point


def test_a_shift_stays_in_the_contracts_range(case: Case, rows: pd.DataFrame) -> None:
    after = halves(with_fault(case, rows, "shift:temperature=20@2013-08-12"))[1]
    assert (after["temperature"] == 130).all()


def test_a_stale_feed_repeats_the_rows_before_but_not_who_is_asked_about(case: Case, rows: pd.DataFrame) -> None:
    before, after = halves(with_fault(case, rows, "stale@2013-08-12"))
    assert after["distance"].tolist() == before["distance"].tolist()
    assert after["scheduled_departure"].tolist() == before["scheduled_departure"].tolist()
    assert after["flight_id"].tolist() == halves(rows)[1]["flight_id"].tolist()
    assert after["arrival_delay"].tolist() == halves(rows)[1]["arrival_delay"].tolist()


def test_in_an_outage_there_are_no_rows(case: Case, rows: pd.DataFrame) -> None:
    found = with_fault(case, rows, "outage@2013-08-12..2013-08-14")
    assert len(rows) - len(found) == 48
    assert not found["event_time"].between(MIDDLE, MIDDLE + timedelta(hours=47)).any()


def test_a_concept_turns_the_labels_of_its_slice_alone(case: Case, rows: pd.DataFrame) -> None:
    was, now = labels(case, rows), labels(case, with_fault(case, rows, "concept:origin=JFK@2013-08-12"))
    touched = ((rows["origin"] == "JFK") & (rows["event_time"] >= MIDDLE)).to_numpy()
    assert (was[~touched] == now[~touched]).all()
    assert 0.35 < (was[touched] != now[touched]).mean() < 0.65


def test_late_labels_are_known_later(case: Case, rows: pd.DataFrame) -> None:
    before, after = halves(with_fault(case, rows, "late_labels=72@2013-08-12"))
    assert (before[KNOWN_AT] - before["event_time"] == timedelta(hours=24)).all()
    assert (after[KNOWN_AT] - after["event_time"] == timedelta(hours=96)).all()


def test_what_happens_to_models_and_gateways_changes_no_row(case: Case, rows: pd.DataFrame) -> None:
    words = ["bad_candidate@2013-08-12", "bad_challenger@2013-08-12", "kill@2013-08-12"]
    pd.testing.assert_frame_equal(planted(case, rows, read_faults(words), 0), planted(case, rows, [], 0))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("units:distances@2013-08-12", r"`flights` has no feature `distances`; it has: scheduled_departure"),
        ("units:arrival_delay@2013-08-12", r"has no feature `arrival_delay`"),
        ("shift:carrier@2013-08-12", r"`carrier` is string, not a number"),
        ("concept:origin=SFO@2013-08-12", r"no row has `origin` = SFO; some of its values: (JFK, EWR|EWR, JFK)"),
        ("kill@2013-09-12", r"the replay goes from 2013-08-05 to 2013-08-19"),
    ],
)
def test_a_fault_that_fits_nothing_is_refused(case: Case, rows: pd.DataFrame, word: str, said: str) -> None:
    with pytest.raises(FaultUnfit, match=said):
        must_fit(case, rows, read_faults([word])[0], START, END)
