"""What clients ask, and what the source shows at a moment."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from configs.case import Case
from configs.read import read_case
from tasks.ingestion.recorded import recorded
from tasks.replay.feed import as_known, periods, requests
from tasks.replay.plant import KNOWN_AT, planted
from tasks.replay.source import Source

START = datetime(2011, 4, 11, tzinfo=UTC)


@pytest.fixture(scope="module")
def case() -> Case:
    return read_case(Path(__file__).parents[2], "bikes")


@pytest.fixture(scope="module")
def history(case: Case) -> pd.DataFrame:
    rows = recorded("bikes")
    return planted(case, rows[rows["event_time"] < START + timedelta(days=14)], [], 0)


def test_rows_of_one_hour_are_one_request_in_words_of_json(case: Case, history: pd.DataFrame) -> None:
    asked = list(requests(case, history, START, START + timedelta(days=1)))
    assert [one.request_id for one in asked[:2]] == ["20110411T00-0", "20110411T01-0"]
    assert len(asked) == 23, "one hour of that day was never recorded"
    [row] = asked[0].rows
    assert row["event_time"] == "2011-04-11T00:00:00+00:00"
    assert type(row["holiday"]) is bool
    assert set(row) == {"hour_id", "event_time", *case.contract.features}


def test_a_value_that_is_missing_is_null(case: Case, history: pd.DataFrame) -> None:
    nothing = history.assign(humidity=None, wind_speed=float("nan"), holiday=None)
    [first, *_] = requests(case, nothing, START, START + timedelta(hours=1))
    assert (first.rows[0]["humidity"], first.rows[0]["wind_speed"], first.rows[0]["holiday"]) == (None, None, None)


def test_nothing_is_shown_before_it_happened_and_no_outcome_before_it_is_known(
    case: Case, history: pd.DataFrame
) -> None:
    moment = START + timedelta(hours=10)
    shown = as_known(case, history, moment)
    assert shown["event_time"].max() < moment
    hidden = shown["rentals"].isna()
    assert hidden.sum() == 1, "labels come after two hours: that of the hour before is not known yet"
    assert (shown.loc[hidden, KNOWN_AT] > moment).all()
    assert pd.api.types.is_integer_dtype(shown["rentals"])


def test_the_source_shows_whole_files_and_labels_as_they_become_known(
    case: Case, history: pd.DataFrame, tmp_path: Path
) -> None:
    source = Source(case, history, tmp_path / "rows", tmp_path / "labels")
    for folder in ("rows", "labels"):
        (tmp_path / folder).mkdir()
    before, moment = START, START + timedelta(days=1)
    source.show(before, None)
    there = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "rows").iterdir()}
    assert max(there) == "2011-W14.parquet"
    source.show(moment, before)
    newest = pd.read_parquet(tmp_path / "rows/2011-W15.parquet")
    known = pd.read_parquet(tmp_path / "labels/2011-W15.parquet")
    assert (len(newest), len(known)) == (23, 22)
    assert KNOWN_AT not in newest
    assert known[KNOWN_AT].max() <= moment
    changed = [name for name, at in there.items() if (tmp_path / "rows" / name).stat().st_mtime_ns != at]
    assert changed == ["2011-W14.parquet"], "what was known whole is not written again"


def test_rows_belong_to_the_delivery_of_their_week(case: Case, history: pd.DataFrame) -> None:
    assert periods(case, history).iloc[-1] == "2011-W16"
