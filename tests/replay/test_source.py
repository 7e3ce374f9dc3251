"""What a replay refuses before anything starts."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from configs.faults import read_faults
from configs.overlay import overlay
from configs.project import Project
from tasks.replay.errors import FaultUnfit, NotReplayable, NotToBeKilled, OutsideRows, TooLittleBefore
from tasks.replay.plant import KNOWN_AT
from tasks.replay.source import history_of
from tasks.replay.steps import Plan

ROOT = Path(__file__).parents[2]


def plan(start: str, end: str, *faults: str, **more: bool) -> Plan:
    first, last = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (start, end))
    return Plan(case="bikes", start=first, end=last, faults=read_faults(faults), **more)


def test_history_ends_with_the_replay_and_says_when_labels_are_known() -> None:
    found = history_of(Project(ROOT), plan("2011-04-11", "2011-04-18"))
    assert found["event_time"].max() < datetime(2011, 4, 18, tzinfo=UTC)
    assert (found[KNOWN_AT] > found["event_time"]).all()


@pytest.mark.parametrize(
    ("start", "end"),
    [("2010-06-01", "2011-04-01"), ("2011-12-01", "2012-02-01"), ("2011-05-01", "2011-04-01")],
    ids=["before the first row", "after the last", "backwards"],
)
def test_dates_outside_the_data_are_refused(start: str, end: str) -> None:
    with pytest.raises(OutsideRows, match=r"the source has rows from 20.*Nothing was started"):
        history_of(Project(ROOT), plan(start, end))


def test_a_replay_needs_batches_to_train_a_first_model_on() -> None:
    with pytest.raises(TooLittleBefore, match=r"Before 2011-01-24 the source of `bikes` has 3 .*needs 5"):
        history_of(Project(ROOT), plan("2011-01-24", "2011-04-18"))
    history_of(Project(ROOT), plan("2011-02-01", "2011-04-18"))


def test_a_fault_for_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(FaultUnfit, match="`bikes` has no feature `distance`"):
        history_of(Project(ROOT), plan("2011-04-11", "2011-04-18", "units:distance@2011-04-12"))


def test_a_gateway_in_this_process_is_not_killed_alone() -> None:
    with pytest.raises(NotToBeKilled, match="leave out `--in-process`"):
        history_of(Project(ROOT), plan("2011-04-11", "2011-04-18", "kill@2011-04-12", in_process=True))


def test_labels_of_a_source_of_their_own_cannot_be_replayed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    source = {"kind": "file", "url": "labels", "format": "csv"}
    labels = {"source": source, "entity": "hour_id", "event_time": "event_time", "label": "rentals"}
    overlay(tmp_path / "configs/bikes.yaml", {"labels": labels})
    with pytest.raises(NotReplayable, match="The labels of `bikes` come from a source of their own"):
        history_of(Project(tmp_path), plan("2011-04-11", "2011-04-18"))
