"""Hours are counted once, kept, and add up to the window; what runs them in parallel changes nothing."""

import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from configs.case import Case
from configs.params import Params
from tasks.adapters.profiles import Profiles
from tasks.errors import StoreUnreachable
from tasks.monitoring.errors import ProfileUnreadable
from tasks.monitoring.grid import Grid
from tasks.monitoring.hours import STAND_IN, Hour, Sample, count_hours, rows_by_hour, together
from tests.monitoring.conftest import HOUR, NOON, FrameAnswers, birds, logged

LATER = NOON + timedelta(days=7)


@dataclass(frozen=True)
class Counted(FrameAnswers):
    """Answers that remember what was read."""

    reads: list[tuple[datetime, datetime]] = field(default_factory=list)

    def batches(self, start: datetime, end: datetime, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        self.reads.append((start, end))
        return super().batches(start, end, columns)


@dataclass(frozen=True)
class Scene:
    """As much of a project as a store of profiles asks for."""

    stores: Path
    the_case: Case
    the_params: Params
    predictions: str = "data/predictions"

    @property
    def place(self) -> Any:
        return type("Place", (), {"stores": type("Stores", (), {"predictions": self.predictions})})

    def case(self, _: str) -> Case:
        return self.the_case

    def params(self, _: str) -> Any:
        return self.the_params


@pytest.fixture
def profiles(tmp_path: Path, case: Case, grid: Grid) -> Profiles:
    from configs.monitoring import MonitoringParams  # noqa: PLC0415

    params: Any = type("Params", (), {"monitoring": MonitoringParams()})
    return Profiles(Scene(tmp_path, case, params), "birds", grid)  # type: ignore[arg-type]


def answers(hours: int = 6) -> Counted:
    return Counted("birds", (logged(birds(60 * hours), NOON, hours),))


def equal(one: Hour, other: Hour) -> bool:
    same_sample = np.array_equal(np.sort(one.sample.hashes), np.sort(other.sample.hashes))
    return (one.start, one.rows, one.profiles) == (other.start, other.rows, other.profiles) and same_sample


def test_each_hour_has_its_own_rows(case: Case, grid: Grid) -> None:
    hours = count_hours(answers(), grid, case.problem, 500, (NOON, NOON + 6 * HOUR))
    assert [hour.start for hour in hours] == [NOON + n * HOUR for n in range(6)]
    assert [hour.rows for hour in hours] == [60] * 6


def test_an_hour_reads_back_as_it_was_written(case: Case, grid: Grid) -> None:
    (hour,) = count_hours(answers(), grid, case.problem, 20, (NOON, NOON + HOUR))
    again = Hour.from_bytes(hour.to_bytes())
    assert equal(again, hour)
    assert again.sample.limit == hour.sample.limit
    assert again.sample.rows.equals(hour.sample.rows)
    assert Hour.rows_of(hour.to_bytes()) == 60


def test_a_file_that_is_no_hour_is_named() -> None:
    with pytest.raises(ProfileUnreadable, match=r"12\.hour cannot be read"):
        Hour.from_bytes(b"no hour", "12.hour")
    with pytest.raises(ProfileUnreadable, match=r"12\.hour cannot be read"):
        Hour.rows_of(b"no hour", "12.hour")


def test_an_hour_is_read_from_the_log_once(profiles: Profiles) -> None:
    log = answers()
    first = profiles.hours(log, NOON, NOON + 6 * HOUR, LATER)
    second = profiles.hours(log, NOON, NOON + 6 * HOUR, LATER)
    assert len(log.reads) == 1
    assert list(first) == list(second)
    assert all(equal(first[begin], second[begin]) for begin in first)
    assert profiles.rows(log, NOON, NOON + 6 * HOUR, LATER) == dict.fromkeys(first, 60)


def test_an_hour_that_may_still_get_rows_is_counted_again(profiles: Profiles) -> None:
    early = answers(6)
    as_of = NOON + timedelta(hours=5, minutes=30)
    profiles.hours(early, NOON, as_of, as_of)
    assert early.reads.pop() == (NOON, as_of)
    log = Counted("birds", (*early.tables, logged(birds(10, 5), NOON + 4 * HOUR)))
    found = profiles.hours(log, NOON, NOON + 6 * HOUR, NOON + 7 * HOUR)
    assert log.reads[-1] == (NOON + 4 * HOUR, NOON + 6 * HOUR), "hours that ended an hour before the as-of are kept"
    assert [hour.rows for hour in found.values()] == [60, 60, 60, 60, 70, 60]


def test_an_hour_without_rows_is_looked_for_again(profiles: Profiles) -> None:
    assert profiles.hours(answers(1), NOON, NOON + 3 * HOUR, LATER).keys() == {NOON}
    assert len(profiles.hours(answers(3), NOON, NOON + 3 * HOUR, LATER)) == 3


def test_a_row_that_comes_late_reopens_its_hour_and_no_other(
    profiles: Profiles, case: Case, grid: Grid, caplog: pytest.LogCaptureFixture
) -> None:
    log = answers(30)
    window = (NOON, NOON + 30 * HOUR)
    profiles.hours(log, *window, LATER)
    more = Counted("birds", (*log.tables, logged(birds(5, 9), NOON + 2 * HOUR)))
    found = profiles.hours(more, *window, LATER)
    anew = {hour.start: hour for hour in count_hours(more, grid, case.problem, 2000, window)}
    assert found.keys() == anew.keys()
    assert all(equal(found[begin], anew[begin]) for begin in anew)
    assert found[NOON + 2 * HOUR].rows == 65
    assert more.reads[:2] == [(NOON, NOON + 12 * HOUR), (NOON + 2 * HOUR, NOON + 3 * HOUR)], "the other day is not read"
    assert "5 rows came late to" in caplog.text
    more.reads.clear()
    assert profiles.rows(more, *window, LATER)[NOON + 2 * HOUR] == 65
    assert more.reads == []


def test_a_late_row_of_an_hour_that_had_none_is_found(profiles: Profiles) -> None:
    profiles.hours(answers(1), NOON, NOON + 3 * HOUR, LATER)
    more = Counted("birds", (*answers(1).tables, logged(birds(7, 9), NOON + HOUR)))
    assert profiles.rows(more, NOON, NOON + 3 * HOUR, LATER) == {NOON: 60, NOON + HOUR: 7}


def test_hours_outlive_the_rows_they_were_counted_from(profiles: Profiles) -> None:
    profiles.hours(answers(2), NOON, NOON + 2 * HOUR, LATER)
    gone = Counted("birds", ())
    assert profiles.rows(gone, NOON, NOON + 2 * HOUR, LATER) == {NOON: 60, NOON + HOUR: 60}


@pytest.mark.parametrize("of", ["hours", "rows"])
def test_a_file_that_cannot_be_read_is_counted_again_from_the_log_and_said_to_be(
    profiles: Profiles, of: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = answers(2)
    first = profiles.hours(log, NOON, NOON + 2 * HOUR, LATER)
    path = Path(profiles._path(NOON))
    path.write_bytes(path.read_bytes()[:100])
    found = getattr(profiles, of)(log, NOON, NOON + 2 * HOUR, LATER)
    assert found == {NOON: 60, NOON + HOUR: 60} if of == "rows" else equal(found[NOON], first[NOON])
    assert "12.hour cannot be read" in caplog.text
    assert "counted again from the log" in caplog.text
    assert log.reads[-1] == (NOON, NOON + HOUR)
    log.reads.clear()
    assert equal(profiles.hours(log, NOON, NOON + 2 * HOUR, LATER)[NOON], first[NOON])
    assert log.reads == [], "it is whole again"


def test_what_the_log_had_of_a_day_may_be_unreadable_too(profiles: Profiles) -> None:
    log = answers(1)
    profiles.hours(log, NOON, NOON + HOUR, LATER)
    (Path(profiles._path(NOON)).parent / "rows").write_bytes(b"\xff many")
    more = Counted("birds", (*log.tables, logged(birds(5, 9), NOON)))
    assert profiles.rows(more, NOON, NOON + HOUR, LATER) == {NOON: 65}


def test_days_in_parallel_give_what_one_after_the_other_gives(profiles: Profiles, case: Case, grid: Grid) -> None:
    log = Counted("birds", (logged(birds(2000), NOON, 72),))
    window = (NOON, NOON + 72 * HOUR)
    one_by_one = {hour.start: hour for hour in count_hours(log, grid, case.problem, 2000, window)}
    log.reads.clear()
    with ThreadPoolExecutor(4) as pool:
        parallel = profiles.hours(log, *window, LATER, pool.map)
    assert len(log.reads) == 4, "noon to noon: four days, each read once"
    assert all(equal(parallel[begin], one_by_one[begin]) for begin in one_by_one)
    assert together(parallel.values(), grid, "1") == together(one_by_one.values(), grid, "1")


def test_counting_can_be_sent_to_another_process(case: Case, grid: Grid) -> None:
    span = (NOON, NOON + HOUR)
    count = partial(count_hours, answers(1), grid, case.problem, 500)
    ((one,), (other,)) = count(span), pickle.loads(pickle.dumps(count))(span)
    assert equal(one, other)


def test_two_grids_do_not_share_their_hours(profiles: Profiles, case: Case, tmp_path: Path) -> None:
    from tests.monitoring.conftest import batch  # noqa: PLC0415

    log = answers(1)
    profiles.hours(log, NOON, NOON + HOUR, LATER)
    other = Grid.fit(case.contract, case.problem, [batch(300, 4)], 2)
    again = Profiles(Scene(tmp_path, case, profiles_params()), "birds", other)  # type: ignore[arg-type]
    again.hours(log, NOON, NOON + HOUR, LATER)
    assert len(log.reads) == 2


def profiles_params() -> Any:
    from configs.monitoring import MonitoringParams  # noqa: PLC0415

    return type("Params", (), {"monitoring": MonitoringParams()})


def test_profiles_lie_beside_a_log_at_a_url(case: Case, grid: Grid) -> None:
    scene = Scene(Path("/nowhere"), case, profiles_params(), "memory://bucket/predictions")
    kept = Profiles(scene, "birds", grid)  # type: ignore[arg-type]
    log = answers(1)
    for _ in range(2):
        kept.hours(log, NOON, NOON + HOUR, LATER)
    assert len(log.reads) == 1
    kept._forget(NOON)


def test_a_store_that_is_away_is_named(case: Case, grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Profiles(Scene(tmp_path, case, profiles_params()), "birds", grid)  # type: ignore[arg-type]

    def away(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(type(kept._files), "ls", away)
    with pytest.raises(StoreUnreachable, match=r"profiles cannot be reached at .*: no route"):
        kept.hours(answers(), NOON, NOON + HOUR, LATER)


def test_answers_of_two_versions_are_kept_apart_and_their_inputs_together(case: Case, grid: Grid) -> None:
    log = FrameAnswers("birds", (logged(birds(100), NOON), logged(birds(50, 4), NOON, model_version="2"),
                                 logged(birds(7, 5), NOON, role="fallback", model_version="1")))  # fmt: skip
    (hour,) = count_hours(log, grid, case.problem, 500, (NOON, NOON + HOUR))
    assert {version: profile.rows for version, profile in hour.profiles.items()} == {"1": 100, "2": 50, STAND_IN: 7}
    of_two = together([hour], grid, "2")
    assert (of_two.columns["weight"].present, of_two.columns["score"].present) == (157, 50)
    place = grid.paired.index("score")
    assert of_two.pairs.rows[place].max() == 50


def test_what_a_challenger_answered_is_counted_and_not_looked_at(case: Case, grid: Grid) -> None:
    log = FrameAnswers("birds", (logged(birds(100), NOON), logged(birds(40, 4), NOON, role="challenger"),
                                 logged(birds(30, 5), NOON + HOUR, role="challenger"),
                                 logged(birds(20, 6), NOON, role="shadow")))  # fmt: skip
    hours = count_hours(log, grid, case.problem, 500, (NOON, NOON + 2 * HOUR))
    assert [(hour.rows, hour.of_challenger, list(hour.profiles)) for hour in hours] == [(140, 40, ["1"]), (30, 30, [])]
    assert {hour.start: hour.rows for hour in hours} == rows_by_hour(log, NOON, NOON + 2 * HOUR)
    again = [Hour.from_bytes(hour.to_bytes()) for hour in hours]
    assert [(hour.rows, hour.of_challenger) for hour in again] == [(140, 40), (30, 30)]
    assert together(hours, grid, "1").rows == 100


def test_rows_of_another_contract_are_counted_apart(case: Case, grid: Grid) -> None:
    log = FrameAnswers("birds", (logged(birds(100), NOON), logged(birds(30), NOON, contract_version=2)))
    (hour,) = count_hours(log, grid, case.problem, 500, (NOON, NOON + HOUR))
    assert (hour.of_another_contract, hour.profiles["1"].rows, hour.rows) == (30, 100, 130)


def test_every_row_of_a_window_has_the_same_chance_to_be_sampled(case: Case, grid: Grid) -> None:
    """A busy hour and a quiet one: the share of each in the sample is its share of the rows."""
    tables = (logged(birds(4000, 1), NOON), logged(birds(400, 2), NOON + HOUR))
    hours = count_hours(FrameAnswers("birds", tables), grid, case.problem, 600, (NOON, NOON + 2 * HOUR))
    sample = Sample.together([hour.sample for hour in hours], grid)
    quiet = len(set(sample.hashes) & set(hours[1].sample.hashes))
    assert len(sample.hashes) - quiet == 600
    assert quiet == pytest.approx(60, abs=25)
    assert len(sample.at_most(100).hashes) == sample.at_most(100).rows.num_rows == 100


def test_the_sample_does_not_depend_on_how_the_rows_came(case: Case, grid: Grid) -> None:
    table = logged(birds(900), NOON)
    halves = FrameAnswers("birds", (table.slice(500), table.slice(0, 500)))
    span = (NOON, NOON + HOUR)
    (one,), (other,) = (count_hours(log, grid, case.problem, 100, span) for log in (FrameAnswers("", (table,)), halves))
    assert equal(one, other)


def test_sampled_rows_are_numbers_and_texts_whatever_they_came_as(case: Case, grid: Grid) -> None:
    broken = birds(50) | {"weight": np.array(["x"] * 50, dtype=object), "species": np.arange(50), "seen": None}
    tables = (logged(birds(50), NOON, 0.4), logged(broken, NOON + HOUR / 2, 0.4))
    (hour,) = count_hours(FrameAnswers("birds", tables), grid, case.problem, 500, (NOON, NOON + HOUR))
    rows: pd.DataFrame = hour.sample.rows.to_pandas()
    assert rows["weight"].isna().sum() == rows["seen"].isna().sum() == 50
    assert len(rows) == 100
