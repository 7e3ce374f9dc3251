"""Labels come late, out of order, twice, corrected, contradictory, about nobody, or never; each is joined once."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import yaml

from configs.errors import ConfigError
from configs.project import Project
from tasks.outcomes import gather as gathering
from tasks.outcomes import join as joining
from tasks.outcomes.errors import LabelsUnjoinable, LabelsUnreadable, OutcomesAltered
from tasks.outcomes.gather import Gathered, gather
from tasks.outcomes.increment import Increment
from tasks.outcomes.shelf import Shelf
from tasks.outcomes.table import read_outcomes
from tests.outcomes.loans import DAY, HOUR, START, Log, answer, label_file, project

NOON = START + 12 * HOUR
Row = tuple[str, datetime, Any, datetime]


class Watched(Log):
    """A log that knows which windows of it were read."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        super().__init__(*rows)
        self.read: list[tuple[datetime, datetime]] = []

    def batches(self, start: datetime, end: datetime, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        self.read.append((start, end))
        return super().batches(start, end, columns)


@pytest.fixture
def log() -> Log:
    """Three loans asked for at noon, one, and two."""
    return Log(*[answer(number, NOON + number * HOUR) for number in range(3)])


@pytest.fixture
def loans(tmp_path: Path) -> Project:
    loans = project(tmp_path, label_file(tmp_path))
    tell(loans, "none")
    return loans


def tell(loans: Project, name: str, *rows: Row) -> None:
    """A file of labels in the source, which is never empty: far from now it holds one more."""
    rows = (*rows, ("L99", NOON, rows[0][2] if rows else True, START + 99 * DAY))
    frame = pd.DataFrame(rows, columns=["loan", "asked_at", "paid", "told_at"])
    frame.to_parquet(loans.root / "labels" / f"{name}.parquet")


def paid(number: int, value: Any, told_at: datetime) -> Row:
    return (f"L{number}", NOON + number * HOUR, value, told_at)


def known(loans: Project, **asked: Any) -> dict[str, float | None]:
    """The label of each request."""
    rows = read_outcomes(loans, "loans", START, START + 100 * DAY, ["request_id", "label"], **asked)
    return {request: None if pd.isna(label) else label for request, label in rows.itertuples(index=False)}


def test_labels_meet_the_predictions_they_are_about(loans: Project, log: Log) -> None:
    tell(loans, "a", paid(0, True, NOON + DAY), paid(1, False, NOON + DAY))
    gathered = gather(loans, "loans", START + 3 * DAY, log)
    assert known(loans) == {"r0": 1.0, "r1": 0.0, "r2": None}
    assert (gathered.predictions, gathered.new_labels, gathered.joined, gathered.orphans) == (3, 2, 2, 0)


def test_an_outcome_has_what_was_logged_and_what_came_true(loans: Project, log: Log) -> None:
    log.rows[0]["probability"] = 0.25
    tell(loans, "a", paid(0, True, NOON + DAY))
    gather(loans, "loans", START + 3 * DAY, log)
    first = read_outcomes(loans, "loans", START, START + DAY).iloc[0]
    assert first[["request_id", "entity", "income", "region", "score", "prediction", "label"]].tolist() == [
        "r0", "L0", 0.0, "south", 0.25, 1, 1.0
    ]  # fmt: skip
    assert (first["labelled_at"], first["role"], first["model_version"]) == (NOON + DAY, "champion", "1")


def test_a_late_label_joins_the_prediction_of_long_ago(loans: Project, log: Log) -> None:
    gather(loans, "loans", START + 2 * DAY, log)
    assert known(loans) == {"r0": None, "r1": None, "r2": None}
    tell(loans, "late", paid(2, True, START + 40 * DAY))
    gathered = gather(loans, "loans", START + 41 * DAY, log)
    assert known(loans)["r2"] == 1.0
    assert (gathered.predictions, gathered.joined) == (0, 1)


def test_labels_out_of_order_end_with_the_one_made_last(loans: Project, log: Log) -> None:
    tell(loans, "b", paid(0, False, NOON + 2 * DAY))
    gather(loans, "loans", START + 4 * DAY, log)
    tell(loans, "a", paid(0, True, NOON + DAY))
    gather(loans, "loans", START + 5 * DAY, log)
    assert known(loans)["r0"] == 0.0


def test_a_label_that_comes_twice_counts_once(loans: Project, log: Log) -> None:
    tell(loans, "a", paid(0, True, NOON + DAY), paid(0, True, NOON + DAY))
    first = gather(loans, "loans", START + 3 * DAY, log)
    tell(loans, "again", paid(0, True, NOON + DAY), paid(0, True, NOON + 3 * DAY))
    second = gather(loans, "loans", START + 5 * DAY, log)
    assert len(read_outcomes(loans, "loans", START, START + DAY)) == 3
    assert known(loans)["r0"] == 1.0
    assert (first.joined, first.duplicates, first.corrections) == (1, 1, 0)
    assert (second.joined, second.new_labels, second.duplicates, second.corrections) == (0, 1, 1, 0)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_corrected_label_replaces_the_one_before(loans: Project, log: Log, at_once: bool) -> None:
    tell(loans, "a", paid(0, True, NOON + DAY))
    if not at_once:
        gather(loans, "loans", START + 2 * DAY, log)
    tell(loans, "b", paid(0, False, NOON + 2 * DAY))
    gathered = gather(loans, "loans", START + 4 * DAY, log)
    assert known(loans)["r0"] == 0.0
    assert (gathered.corrections, gathered.contradictions) == (1, 0)


def test_what_comes_twice_is_found_however_little_is_looked_at_at_once(
    loans: Project, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "_HASHES_AT_ONCE", 2)
    again = [paid(number, True, NOON + DAY) for number in range(3)]
    tell(loans, "a", *again, *again, paid(1, False, NOON + 2 * DAY))
    gathered = gather(loans, "loans", START + 3 * DAY, log)
    assert (gathered.duplicates, gathered.corrections, gathered.joined) == (3, 1, 3)
    assert known(loans) == {"r0": 1.0, "r1": 0.0, "r2": 1.0}


def test_contradictory_labels_are_named_and_the_one_known_first_stays(loans: Project, log: Log) -> None:
    tell(loans, "a", paid(1, True, NOON + DAY))
    gather(loans, "loans", START + 3 * DAY, log)
    tell(loans, "b", paid(1, False, NOON + DAY))
    gathered = gather(loans, "loans", START + 4 * DAY, log)
    assert known(loans)["r1"] == 1.0
    assert gathered.contradictions == 1
    assert gathered.contradicting[0].startswith("L1 2024-03-04 13:00")


def test_a_larger_version_counts_whatever_the_clock_says(tmp_path: Path, log: Log) -> None:
    loans = project(tmp_path, label_file(tmp_path, version="revision"))
    frame = pd.DataFrame(
        [(*paid(0, True, NOON + 2 * DAY), 1), (*paid(0, False, NOON + DAY), 2)],
        columns=["loan", "asked_at", "paid", "told_at", "revision"],
    )
    frame.to_parquet(tmp_path / "labels" / "a.parquet")
    gather(loans, "loans", START + 4 * DAY, log)
    assert known(loans)["r0"] == 0.0


def test_a_label_about_nobody_is_kept_until_its_prediction_is_there(loans: Project, log: Log) -> None:
    tell(loans, "a", paid(0, True, NOON + DAY), ("L9", NOON + 9 * HOUR, True, NOON + DAY))
    first = gather(loans, "loans", START + 3 * DAY, log)
    assert (first.orphans, first.joined) == (1, 1)
    assert first.orphaned[0].startswith("L9")
    log.add(answer(9, START + 3 * DAY + HOUR, event_time=NOON + 9 * HOUR))
    second = gather(loans, "loans", START + 4 * DAY, log)
    assert known(loans)["r9"] == 1.0
    assert (second.predictions, second.joined, second.new_labels) == (1, 1, 0)


def test_the_second_run_counts_orphans_too(loans: Project, log: Log) -> None:
    gather(loans, "loans", START + 2 * DAY, log)
    tell(loans, "a", paid(0, True, START + 3 * DAY), ("L8", NOON, True, START + 3 * DAY))
    gathered = gather(loans, "loans", START + 4 * DAY, log)
    assert (gathered.orphans, gathered.orphaned[0][:2]) == (1, "L8")


def test_a_row_without_a_value_is_no_label(loans: Project, log: Log) -> None:
    tell(loans, "a", paid(0, None, NOON + DAY), paid(1, 1.0, NOON + DAY), (None, NOON, 1.0, NOON + DAY))
    gathered = gather(loans, "loans", START + 3 * DAY, log)
    assert known(loans) == {"r0": None, "r1": 1.0, "r2": None}
    assert (gathered.empty, gathered.unnamed) == (1, 1)


def test_nothing_is_known_before_it_was_said(loans: Project, log: Log) -> None:
    tell(loans, "a", paid(0, True, NOON + DAY), paid(0, False, NOON + 5 * DAY), paid(1, True, NOON + 9 * DAY))
    gather(loans, "loans", START + 3 * DAY, log)
    assert known(loans) == {"r0": 1.0, "r1": None, "r2": None}
    gather(loans, "loans", START + 20 * DAY, log)
    assert known(loans) == {"r0": 0.0, "r1": 1.0, "r2": None}


def test_what_was_known_at_a_moment_is_the_same_ever_after(loans: Project, log: Log) -> None:
    tell(loans, "a", paid(0, True, NOON + DAY), paid(0, False, NOON + 5 * DAY), paid(1, True, NOON + 9 * DAY))
    then = {}
    for days in (3, 7, 12):
        gather(loans, "loans", START + days * DAY, log)
        then[days] = known(loans)
        if days == 3:
            tell(loans, "inserted", paid(2, True, NOON + DAY))  # the source was late with it
    assert then[3]["r2"] is None
    assert then[7]["r2"] == 1.0
    assert {days: known(loans, as_of=START + days * DAY) for days in then} == then


def test_one_run_over_all_of_history_knows_of_each_moment_what_many_runs_knew(tmp_path: Path, log: Log) -> None:
    rows = [paid(0, True, NOON + DAY), paid(0, False, NOON + 5 * DAY), paid(1, True, NOON + 9 * DAY)]
    once, often = (project(tmp_path / name, label_file(tmp_path / name)) for name in ("once", "often"))
    for loans in (once, often):
        tell(loans, "a", *rows)
    for days in range(2, 13):
        gather(often, "loans", START + days * DAY, log)
    gather(once, "loans", START + 12 * DAY, log)
    for days in range(2, 13):
        moment = START + days * DAY
        assert known(once, as_of=moment) == known(often, as_of=moment)


def test_a_clock_that_went_back_changes_nothing(loans: Project, log: Log) -> None:
    tell(loans, "a", paid(0, True, NOON + DAY), paid(1, True, NOON + 5 * DAY))
    gather(loans, "loans", START + 9 * DAY, log)
    before = known(loans)
    back = gather(loans, "loans", START + 3 * DAY, log)
    assert (back.new_labels, back.predictions) == (0, 0)
    assert known(loans) == before
    assert known(loans, as_of=START + 3 * DAY) == {"r0": 1.0, "r1": None, "r2": None}


def test_the_same_moment_again_changes_nothing(loans: Project, log: Log) -> None:
    tell(loans, "a", paid(0, True, NOON + DAY))
    gather(loans, "loans", START + 3 * DAY, log)
    again = gather(loans, "loans", START + 3 * DAY, log)
    assert (again.predictions, again.new_labels, again.joined) == (0, 0, 0)
    assert len(read_outcomes(loans, "loans", START, START + DAY)) == 3


def test_shadows_get_the_same_label_and_each_row_gets_one(loans: Project, log: Log) -> None:
    log.add(answer(0, NOON, role="shadow", model_version="2"), answer(0, NOON, request_id="again"))
    tell(loans, "a", paid(0, True, NOON + DAY), paid(0, True, NOON + 2 * DAY))
    gather(loans, "loans", START + 4 * DAY, log)
    rows = read_outcomes(loans, "loans", START, START + DAY)
    assert sorted(zip(rows["request_id"], rows["role"], strict=True)) == [
        ("again", "champion"), ("r0", "champion"), ("r0", "shadow"), ("r1", "champion"), ("r2", "champion")
    ]  # fmt: skip
    assert rows.loc[rows["entity"] == "L0", "label"].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("later", [False, True])
def test_a_request_id_used_twice_counts_as_it_was_answered_first(loans: Project, log: Log, later: bool) -> None:
    if later:
        gather(loans, "loans", START + DAY, log)
    log.add(answer(1, NOON + 20 * HOUR, request_id="r0"))
    gathered = gather(loans, "loans", START + 2 * DAY, log)
    assert gathered.repeated == 1
    rows = read_outcomes(loans, "loans", START, START + 2 * DAY)
    assert rows.loc[rows["request_id"] == "r0", "entity"].tolist() == ["L0"]


def test_rows_that_reach_the_log_late_are_found(loans: Project, log: Log) -> None:
    gather(loans, "loans", START + DAY, log)
    log.add(answer(7, NOON + 5 * HOUR))
    assert gather(loans, "loans", START + 2 * DAY, log).predictions == 1


def test_rows_that_reach_the_log_weeks_late_get_their_labels_and_other_days_are_not_read_again(loans: Project) -> None:
    """A host whose store of predictions was away for weeks: its segments wait, and land when it is back."""
    log = Watched(answer(0, NOON))
    for days in range(1, 31):
        log.add(answer(100 + days, START + days * DAY))
        gather(loans, "loans", START + days * DAY + HOUR, log)
    log.add(answer(1, NOON + HOUR), answer(0, NOON))
    tell(loans, "a", paid(0, True, NOON + 2 * DAY), paid(1, False, NOON + 2 * DAY))
    log.read.clear()
    gathered = gather(loans, "loans", START + 31 * DAY, log)
    assert (gathered.predictions, gathered.joined, gathered.orphans, gathered.repeated) == (1, 2, 0, 0)
    assert (known(loans)["r0"], known(loans)["r1"]) == (1.0, 0.0)
    assert log.read == [(START, START + DAY)]

    log.read.clear()
    log.add(answer(2, START + 31 * DAY + HOUR))
    assert gather(loans, "loans", START + 32 * DAY, log).predictions == 1
    assert log.read == [(START + 31 * DAY, START + 32 * DAY)], "what came twice was read once"


def test_a_day_that_was_not_over_is_read_again_when_it_has_more_rows(loans: Project, log: Log) -> None:
    assert gather(loans, "loans", NOON + HOUR, log).predictions == 1
    assert gather(loans, "loans", NOON + 2 * HOUR, log).predictions == 1
    assert gather(loans, "loans", START + 2 * DAY, log).predictions == 1
    assert sorted(known(loans)) == ["r0", "r1", "r2"]


def test_outcomes_last_as_long_as_the_log_they_are_made_of(tmp_path: Path) -> None:
    loans = project(tmp_path, label_file(tmp_path), serving={"log": {"retention_days": 30}})
    tell(loans, "a", paid(0, True, NOON + DAY))
    log = Watched(answer(0, NOON), answer(1, NOON + DAY))
    gather(loans, "loans", START + 30 * DAY, log)
    assert known(loans) == {"r0": 1.0, "r1": None}
    log.read.clear()
    for days in (31, 32, 33):  # what nobody names any more goes with the next run
        gather(loans, "loans", START + days * DAY, log)
    assert log.read == [], "what the log will remove is not read again"
    assert known(loans) == {}
    assert list((Shelf(loans, "loans").folder / "table").rglob("*.parquet")) == []


def test_a_row_without_event_time_takes_its_entitys_nearest_event(loans: Project) -> None:
    log = Log(answer(1, NOON, event_time=None), answer(2, NOON + 5 * DAY, event_time=None, entity="L1"))
    tell(loans, "a", ("L1", NOON + HOUR, True, NOON + 6 * DAY), ("L1", NOON + 5 * DAY, False, NOON + 6 * DAY))
    gather(loans, "loans", START + 2 * DAY, log)
    gather(loans, "loans", START + 9 * DAY, log)
    assert known(loans) == {"r1": 1.0, "r2": 0.0}


def test_labels_may_name_the_request_and_its_row(tmp_path: Path) -> None:
    loans = project(tmp_path, label_file(tmp_path, entity=None, event_time=None, request_id="asked", row="place"))
    log = Log(answer(0, NOON), answer(0, NOON, row=1, entity=None))
    frame = pd.DataFrame({"asked": ["r0"], "place": [1], "paid": [True], "told_at": [NOON + DAY]})
    frame.to_parquet(tmp_path / "labels" / "a.parquet")
    gather(loans, "loans", START + 3 * DAY, log)
    rows = read_outcomes(loans, "loans", START, START + DAY)
    assert rows.sort_values("row")["label"].fillna(-1).tolist() == [-1, 1.0]


def test_a_label_of_an_entity_alone_is_about_what_was_answered_before_it(tmp_path: Path, log: Log) -> None:
    loans = project(tmp_path, label_file(tmp_path, event_time=None))
    log.add(answer(5, NOON + 3 * DAY, entity="L0"))
    frame = pd.DataFrame({"loan": ["L0"], "paid": [True], "told_at": [NOON + DAY]})
    frame.to_parquet(tmp_path / "labels" / "a.parquet")
    gather(loans, "loans", START + 5 * DAY, log)
    assert known(loans) == {"r0": 1.0, "r1": None, "r2": None, "r5": None}


# The case's own source


def test_without_a_label_source_the_target_is_taken_when_it_is_due(tmp_path: Path, log: Log) -> None:
    loans = project(tmp_path)
    asked = {"loan_id": ["L0", "L1", "L2"], "asked_at": [NOON + i * HOUR for i in range(3)], "region": "north"}
    source = pd.DataFrame({**asked, "paid_back": pd.array([True, None, False], dtype="boolean")})
    source.to_parquet(tmp_path / "source" / "a.parquet")
    gather(loans, "loans", NOON + 25 * HOUR, log)
    assert known(loans) == {"r0": 1.0, "r1": None, "r2": None}
    assert gather(loans, "loans", START + 3 * DAY, log).empty == 1
    assert known(loans) == {"r0": 1.0, "r1": None, "r2": 0.0}
    source.assign(paid_back=[False, True, False]).to_parquet(tmp_path / "source" / "a.parquet")
    changed = gather(loans, "loans", START + 4 * DAY, log)
    assert known(loans) == {"r0": 0.0, "r1": 1.0, "r2": 0.0}
    assert (changed.new_labels, changed.corrections) == (2, 1)
    assert known(loans, as_of=START + 3 * DAY) == {"r0": 1.0, "r1": None, "r2": 0.0}
    assert gather(loans, "loans", START + 5 * DAY, log).new_labels == 0


def test_labels_come_from_a_database_too(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOANS_DB", f"sqlite:///{tmp_path}/loans.db")
    query = "SELECT * FROM paid WHERE told_at >= :start AND told_at < :end"
    named = {"entity": "loan", "event_time": "asked_at", "target": "paid", "labelled_at": "told_at"}
    loans = project(tmp_path, {"source": {"kind": "sql", "url_from": "LOANS_DB", "query": query}, **named})
    with closing(sqlite3.connect(tmp_path / "loans.db")) as database, database:
        database.execute("CREATE TABLE paid (loan TEXT, asked_at TEXT, paid BOOLEAN, told_at TEXT)")
        database.execute("INSERT INTO paid VALUES ('L0', '2024-03-04 12:00:00', 1, '2024-03-05 12:00:00')")
    gather(loans, "loans", START + 2 * DAY, log)
    assert known(loans) == {"r0": 1.0, "r1": None, "r2": None}
    with closing(sqlite3.connect(tmp_path / "loans.db")) as database, database:
        database.execute("INSERT INTO paid VALUES ('L1', '2024-03-04 13:00:00', 0, '2024-03-05 13:00:00')")
        database.execute("INSERT INTO paid VALUES ('L0', '2024-03-04 12:00:00', 0, '2024-03-07 12:00:00')")
    gathered = gather(loans, "loans", START + 5 * DAY, log)
    assert known(loans) == {"r0": 0.0, "r1": 0.0, "r2": None}
    assert (gathered.new_labels, gathered.corrections) == (2, 1)


@pytest.mark.parametrize(
    ("problem", "told", "expected"),
    [("multiclass", ["gold", "tin", None], ["gold", "tin", None]), ("regression", [1.5, 2, None], [1.5, 2.0, None])],
)
def test_classes_and_numbers_are_labels_too(tmp_path: Path, problem: str, told: list[Any], expected: list[Any]) -> None:
    kind = "string" if problem == "multiclass" else "number"
    columns = {"loan_id": {"type": "string", "role": "entity"}, "asked_at": {"type": "timestamp", "role": "event_time"},
        "income": {"type": "number", "role": "feature"}, "worth": {"type": kind, "role": "target"}}  # fmt: skip
    loans = project(tmp_path, label_file(tmp_path), problem=problem, contract={"version": 1, "columns": columns})
    shapes = {"prediction": "gold", "probabilities": [0.7, 0.3], "classes": ["gold", "tin"]} if kind == "string" else {}
    log = Log(*[answer(n, NOON + n * HOUR, 0.7, **shapes) for n in range(3)])
    tell(loans, "a", *[paid(n, value, NOON + DAY) for n, value in enumerate(told)])
    gather(loans, "loans", START + 3 * DAY, log)
    rows = read_outcomes(loans, "loans", START, START + DAY)
    assert [None if pd.isna(label) else label for label in rows["label"]] == expected
    assert rows["score"].tolist() == ([0.7] * 3 if problem == "multiclass" else [1.0] * 3)


# Bad input


def test_a_label_that_is_no_label_is_named(loans: Project, log: Log) -> None:
    tell(loans, "a", paid(0, "perhaps", NOON + DAY))
    with pytest.raises(LabelsUnreadable, match=r"2 are neither true nor false \(for example 'perhaps'\)"):
        gather(loans, "loans", START + 3 * DAY, log)


def test_a_column_that_is_not_there_is_named(tmp_path: Path, log: Log) -> None:
    loans = project(tmp_path, label_file(tmp_path, labelled_at="when"))
    tell(loans, "a", paid(0, True, NOON + DAY))
    with pytest.raises(LabelsUnreadable, match="no column `when`"):
        gather(loans, "loans", START + 3 * DAY, log)


def test_a_label_that_names_nothing_is_a_mistake_of_the_file(tmp_path: Path) -> None:
    loans = project(tmp_path, label_file(tmp_path, entity=None, event_time=None))
    with pytest.raises(ConfigError, match="need `request_id` or `entity`"):
        loans.case("loans")


def test_a_hidden_entity_cannot_be_joined(tmp_path: Path, log: Log) -> None:
    loans = project(tmp_path, label_file(tmp_path), serving={"log": {"hashed": ["entity"]}})
    with pytest.raises(LabelsUnjoinable, match="name `entity`, which the prediction log hashes"):
        gather(loans, "loans", START + 3 * DAY, log)


def test_a_damaged_file_of_outcomes_is_named(loans: Project, log: Log) -> None:
    gather(loans, "loans", START + 3 * DAY, log)
    (part,) = Shelf(loans, "loans").folder.rglob("part-*.parquet")
    part.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(OutcomesAltered, match="outcome store cannot be read"):
        read_outcomes(loans, "loans", START, START + DAY)


# Whole or not at all


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("where", ["_add_rows", "_describe", "_add_late", "_count"])
def test_killed_in_the_middle_nothing_changed_and_the_next_run_does_it_all(
    loans: Project, log: Log, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(loans, "a", paid(0, True, NOON + DAY))
    gather(loans, "loans", START + 2 * DAY, log)
    before = known(loans)
    log.add(answer(5, NOON + 2 * DAY))
    tell(loans, "b", paid(1, True, START + 3 * DAY), ("L5", NOON + 2 * DAY, False, START + 3 * DAY))
    done = getattr(Increment, where)

    def dies(self: Increment, *arguments: Any) -> None:
        done(self, *arguments)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Increment, where, dies)
        with pytest.raises(Killed):
            gather(loans, "loans", START + 4 * DAY, log)
    assert known(loans) == before
    again = gather(loans, "loans", START + 4 * DAY, log)
    assert known(loans) == {"r0": 1.0, "r1": 1.0, "r2": None, "r5": 0.0}
    assert (again.predictions, again.new_labels, again.joined) == (1, 2, 2)


def test_what_nobody_names_is_removed(loans: Project, log: Log) -> None:
    gather(loans, "loans", START + DAY, log)
    shelf = Shelf(loans, "loans")
    left = shelf.folder / "table" / "date=2024-03-04" / "part-000009-0.parquet"
    left.write_bytes(b"half of a file")
    gather(loans, "loans", START + 2 * DAY, log)
    assert not left.exists()
    assert len(read_outcomes(loans, "loans", START, START + DAY)) == 3


def test_a_day_with_many_late_files_is_written_anew_and_says_the_same(
    loans: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.outcomes.increment._MOST_LATE_FILES", 2)
    log = Log(*[answer(n, NOON + n * timedelta(minutes=1)) for n in range(6)])
    rows = [(f"L{n}", NOON + n * timedelta(minutes=1), True, START + (2 + n) * DAY) for n in range(5)]
    tell(loans, "a", *rows)
    for days in range(1, 9):
        gather(loans, "loans", START + days * DAY, log)
    (day,) = Shelf(loans, "loans").state().days  # type: ignore[union-attr]
    assert len(day.parts) == 1
    assert day.parts[0].name.startswith("table/date=2024-03-04/whole-")
    assert len(day.late) <= 2
    assert list(known(loans).values()) == [1.0] * 5 + [None]
    assert list(known(loans, as_of=START + 3 * DAY).values()) == [1.0, 1.0, None, None, None, None]


def test_outcomes_lie_beside_predictions_in_an_object_store(tmp_path: Path, log: Log) -> None:
    one, other = (project(tmp_path / name, label_file(tmp_path)) for name in ("one", "other"))
    for loans in (one, other):
        path = loans.root / "configs/places/local.yaml"
        place = yaml.safe_load(path.read_text())
        place["stores"]["predictions"] = f"memory://{os.getpid()}-{tmp_path.name}/predictions"
        path.write_text(yaml.safe_dump(place))
    tell(Project(tmp_path), "a", paid(0, True, NOON + DAY))
    gather(one, "loans", START + 3 * DAY, log)
    tell(Project(tmp_path), "b", paid(1, False, START + 4 * DAY))
    gather(other, "loans", START + 5 * DAY, log)
    assert known(one) == known(other) == {"r0": 1.0, "r1": 0.0, "r2": None}


def test_before_the_first_run_there_are_no_outcomes(loans: Project) -> None:
    rows = read_outcomes(loans, "loans", START, START + DAY)
    assert rows.empty
    assert {"request_id", "income", "score", "label"} <= set(rows.columns)


def test_without_predictions_labels_wait(loans: Project) -> None:
    tell(loans, "a", paid(0, True, NOON + DAY))
    first = gather(loans, "loans", START + 3 * DAY, Log())
    assert (first.predictions, first.orphans) == (0, 1)
    assert isinstance(first, Gathered)
    assert (
        gathering.gather(loans, "loans", START + 4 * DAY, Log(answer(0, START + 3 * DAY, event_time=NOON))).joined == 1
    )
