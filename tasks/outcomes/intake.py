"""Labels into the label log: only what is new, with the moment from which on each was known."""

# ruff: noqa: S608 - the names in this SQL are ours, and every value goes through `text`

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.compute as pc

from configs.labels import LabelKey
from tasks.ingestion.sources import BEGINNING
from tasks.outcomes.join import FILE, against, best, moment, one, parquet, text
from tasks.outcomes.labels import KEYS, Delivered
from tasks.outcomes.shelf import Shelf
from tasks.outcomes.state import LabelFile, Span, State, span

FRESH = "fresh_labels"
"""The view of the labels that came in."""
TRUTH = "truth"
"""The view of what counts by now of each key that labels came in for."""


@dataclass(frozen=True)
class Taken:
    """The labels one run took, as views of its connection, and where they are kept."""

    key: LabelKey
    as_of: datetime
    since: datetime
    serial: int
    file: LabelFile | None
    counts: dict[str, Any]


def take(
    connection: duckdb.DuckDBPyConnection, shelf: Shelf, state: State | None, delivered: Delivered, as_of: datetime
) -> Taken:
    """Write the labels that are new to the label log, and count how they stand to those before.

    A label counts as known from the moment it was made; or from this run on, if the run before should have seen it and
    did not. So what was known at any earlier moment is what a run of that moment knew.
    """
    since, serial = (state.as_of, state.serial + 1) if state else (BEGINNING, 1)
    connection.register("came", delivered.table)
    before = label_files(shelf, state, delivered.key, _events(delivered))
    _make_old(connection, before, delivered.key)
    new = "came" if not before else _unseen(connection, delivered, since, as_of)
    made = shelf.scratch / "labels.parquet"
    connection.execute(
        f"COPY (SELECT *, CASE WHEN labelled_at > {text(since)} THEN labelled_at ELSE {text(as_of)} END AS known_at, "
        f"{text(as_of)} AS taken_at FROM {new}) TO {text(made)} ({FILE})"
    )
    connection.unregister("came")
    name = f"labels/date={as_of:%Y-%m-%d}/{serial:06d}.parquet"
    file = describe_labels(connection, made, name)
    if file:
        shelf.keep(made, name)
        made = shelf.folder / name
    counts = settle(connection, parquet([made]), delivered.key)
    return Taken(delivered.key, as_of, since, serial, file, {"new_labels": file.rows if file else 0, **counts})


def settle(connection: duckdb.DuckDBPyConnection, fresh: str, key: LabelKey) -> dict[str, Any]:
    """Make the views FRESH and TRUTH, and count how the fresh labels stand to those before. Needs `old_labels`."""
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {FRESH} AS SELECT * FROM {fresh}")
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW with_old AS SELECT *, true AS fresh FROM {FRESH} "
        f"UNION ALL BY NAME SELECT *, false AS fresh FROM old_labels"
    )
    best(connection, "with_old", key, TRUTH)
    columns = ", ".join(KEYS[key])
    connection.execute(f"CREATE OR REPLACE TEMP TABLE standings AS {against(f'{TRUTH}_again', key)}")
    found = connection.execute("SELECT standing, count(*) FROM standings GROUP BY standing").fetchall()
    number = dict(found)
    about = connection.execute(
        f"SELECT DISTINCT concat_ws(' ', {columns}) AS about FROM standings WHERE standing = 'contradiction' "
        f"ORDER BY about LIMIT 5"
    ).fetchall()
    return {
        "corrections": number.get("correction", 0),
        "contradictions": number.get("contradiction", 0),
        "duplicates": number.get("duplicate", 0),
        "contradicting": tuple(row[0] for row in about),
    }


def label_files(shelf: Shelf, state: State | None, key: LabelKey, events: Span | None) -> list[Path]:
    """The files of the label log that may hold labels of these events; all of them, where labels name no event time."""
    files = state.labels if state else ()
    if key is LabelKey.event:
        files = tuple(file for file in files if events and file.events and file.events.meets(events))
    return [shelf.fetch(file.name) for file in files]


def describe_labels(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> LabelFile | None:
    """What the store is to know of a file of labels; None if there are none in it."""
    spans = ", ".join(f"epoch_us(min({name})), epoch_us(max({name}))" for name in ("labelled_at", "event_time"))
    rows, *moments = one(connection, f"SELECT count(*), {spans} FROM {parquet([path])}")
    first, last, first_event, last_event = map(moment, moments)
    labelled = span(first, last)
    return (
        LabelFile(name=name, rows=rows, labelled=labelled, events=span(first_event, last_event)) if labelled else None
    )


def _events(delivered: Delivered) -> Span | None:
    times = delivered.table.column("event_time")
    least = pc.min_max(times)
    return span(least["min"].as_py(), least["max"].as_py())


def _make_old(connection: duckdb.DuckDBPyConnection, before: list[Path], key: LabelKey) -> None:
    """The table `old_labels`: labels of the log that are of the same keys as those that came."""
    schema = "SELECT *, NULL::TIMESTAMPTZ AS known_at, NULL::TIMESTAMPTZ AS taken_at FROM came LIMIT 0"
    of_the_keys = f"SELECT * FROM {parquet(before)} SEMI JOIN came USING ({', '.join(KEYS[key])})" if before else schema
    connection.execute(f"CREATE OR REPLACE TEMP TABLE old_labels AS {of_the_keys}")


def _unseen(connection: duckdb.DuckDBPyConnection, delivered: Delivered, since: datetime, as_of: datetime) -> str:
    """Those that came and are not in the log, as a relation; those that say no moment get one."""
    same = " AND ".join(f"c.{name} = o.{name}" for name in (*KEYS[delivered.key], "label", "labelled_at"))
    if delivered.timed:
        return f"(SELECT c.* FROM came c ANTI JOIN old_labels o ON {same} AND c.version IS NOT DISTINCT FROM o.version)"
    # Without a moment of its own, a label that differs from what is known was changed, and is known from now on; so is
    # one that was due before and was not there. Two of one key that came together contradict each other, as they did.
    best(connection, "old_labels", delivered.key, "known_before")
    key = " AND ".join(f"c.{name} = b.{name}" for name in KEYS[delivered.key])
    return (
        f"(SELECT c.* REPLACE (CASE WHEN b.label IS NULL AND c.labelled_at > {text(since)} THEN c.labelled_at "
        f"ELSE {text(as_of)} END AS labelled_at) FROM came c LEFT JOIN known_before b ON {key} "
        f"WHERE b.label IS NULL OR (b.label <> c.label AND NOT (b.labelled_at = c.labelled_at "
        f"AND EXISTS (FROM old_labels o WHERE {same}))))"
    )
