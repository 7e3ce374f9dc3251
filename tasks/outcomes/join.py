"""Labels meet predictions, once each: the SQL of it, in DuckDB, whose memory is bounded and which spills to disk.

Which of several labels counts: the largest version, then the one labelled last. Two that differ at the same version and
moment contradict each other; the one known first stays, so that what was told does not change back and forth.
"""

# ruff: noqa: S608 - the names in this SQL are ours, and every value goes through `text`

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from configs.labels import LabelKey
from tasks.outcomes.labels import KEYS

MEMORY = "1500MB"
THREADS = 2
ROW = ("request_id", "row", "role")
"""What an outcome is about: one row of one request, and who answered it."""
LABELLED = ("label", "labelled_at", "known_at", "label_version", "label_apart")
"""What a label adds to a row of the prediction log."""
FILE = "FORMAT parquet, PARQUET_VERSION V2, COMPRESSION zstd, COMPRESSION_LEVEL 1, DICTIONARY_SIZE_LIMIT 4096"
"""How rows are written: ids that never repeat cost a dictionary in vain, and moments are small as differences."""
_HASHES_AT_ONCE = 20_000_000
NEAR = timedelta(days=31)
"""A row that says no event time is about its entity's event nearest to the answer, if that is not farther than this."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BETTER = "version DESC NULLS LAST, labelled_at DESC, known_at, label"
DAY = "make_date(CAST(epoch_us(p.answered_at) // 86400000000 AS INTEGER))"


@contextlib.contextmanager
def engine(scratch: Path, memory: str = MEMORY, threads: int = THREADS) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB of its own that keeps to `memory`, and spills to `scratch` what does not fit."""
    with _database(scratch, memory, threads) as connection:
        yield _set(connection)


@contextlib.contextmanager
def reader() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the DuckDB that all questions of this process share; raises what DuckDB raises.

    To open one for each would take longer than most of them do.
    """
    with _shared(os.getpid()).cursor() as connection:
        try:
            yield _set(connection)
        except duckdb.Error:  # some leave a database that answers nothing any more
            _shared.cache_clear()
            raise


@lru_cache(maxsize=1)
def _shared(process: int) -> duckdb.DuckDBPyConnection:  # noqa: ARG001 - a copy of a process needs its own
    scratch = tempfile.mkdtemp(prefix="evergreen-outcomes-")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    return _database(Path(scratch), MEMORY, THREADS)


def _set(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    # Which side of a join is built is said below: of a stream of predictions nothing knows how long it is.
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _database(scratch: Path, memory: str, threads: int) -> duckdb.DuckDBPyConnection:
    scratch.mkdir(parents=True, exist_ok=True)
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory,
        "threads": threads,
        "temp_directory": str(scratch / "spilled"),
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    return duckdb.connect(":memory:", config=settings)


def text(value: object) -> str:
    """A value as SQL."""
    if isinstance(value, datetime):
        return f"make_timestamptz({round(value.timestamp() * 1_000_000)})"
    return "'" + str(value).replace("'", "''") + "'"


def parquet(paths: Sequence[Path]) -> str:
    """The rows of some files; columns that only some have are null in the others."""
    listed = ", ".join(text(path) for path in paths)
    # In parentheses, because two sides of a join may not both be called read_parquet.
    return f"(FROM read_parquet([{listed}], union_by_name = true, hive_partitioning = false))"


def best(connection: duckdb.DuckDBPyConnection, labels: str, key: LabelKey, name: str) -> None:
    """Make the view `name`: of the labels in the view `labels` the one that counts of each key.

    Only keys that occur more than once are looked at closely: hashes find them in one pass, and a few others at worst.
    The table `<name>_again` holds all labels of these.
    """
    columns = ", ".join(KEYS[key])
    _find_repeated(connection, labels, columns, f"{name}_repeated")
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {name}_again AS "
        f"SELECT * FROM {labels} SEMI JOIN {name}_repeated ON hash({columns}) = h"
    )
    kept = ", ".join(dict.fromkeys((*KEYS[key], "label", "labelled_at", "known_at", "version")))
    once = f"SELECT {kept} FROM {labels} ANTI JOIN {name}_repeated ON hash({columns}) = h"
    ranked = f"SELECT {kept}, row_number() OVER (PARTITION BY {columns} ORDER BY {_BETTER}) AS place FROM {name}_again"
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW {name} AS {once} UNION ALL SELECT {kept} FROM ({ranked}) WHERE place = 1"
    )


def outcome_rows(rows: str, labels: str, key: LabelKey, join: str = "LEFT") -> str:
    """The rows of the prediction log `rows` with the labels of the view `labels`, which has one of each key."""
    before = "" if key is not LabelKey.entity else " AND l.labelled_at >= p.answered_at"
    on = " AND ".join(f"p.{name} = l.{name}" for name in KEYS[key]) + before
    named = ", ".join(f"coalesce(p.{name}, l.{name}) AS {name}" for name in KEYS[key])
    mine = f"p.* REPLACE ({named})" if join == "FULL" else "p.*"
    return (
        f"SELECT {mine}, l.label, l.labelled_at, l.known_at, l.version AS label_version, "
        f"CASE WHEN l.label IS NULL THEN NULL ELSE 0 END AS label_apart, {DAY} AS answered_on "
        f"FROM {rows} p {join} JOIN {labels} l ON {on}"
    )


def timeless_rows(rows: str, labels: str) -> str:
    """For rows that say no event time: the label of their entity's nearest event. `labels` has one of each event."""
    apart = "abs(epoch_us(l.event_time) - epoch_us(p.answered_at))"
    mine = ", ".join(f"p.{name}" for name in ROW)
    return (
        f"SELECT {mine}, l.label, l.labelled_at, l.known_at, l.version AS label_version, {apart} AS label_apart, "
        f"p.entity, l.event_time, p.was, p.answered_on "
        f"FROM (SELECT {mine}, entity, answered_at, was, {DAY} AS answered_on FROM {rows} p "
        f"WHERE event_time IS NULL) p JOIN {labels} l ON p.entity = l.entity "
        f"WHERE {apart} <= {round(NEAR.total_seconds() * 1e6)} "
        f"QUALIFY row_number() OVER (PARTITION BY {mine} ORDER BY label_apart, l.event_time) = 1"
    )


def late_rows(rows: str, labels: str, key: LabelKey) -> str:
    """Which rows of `rows` the labels of the view `labels` are about, and what they say; one line for each.

    With the keys of the labels, and `was`: whether the row had a label before.
    """
    mine, said = ", ".join(ROW), ", ".join(LABELLED)
    keys = ", ".join(dict.fromkeys(name for name in ("entity", *KEYS[key]) if name not in ROW))
    narrow = f"(SELECT {mine}, entity, event_time, answered_at, label IS NOT NULL AS was FROM {rows})"
    exact = f"SELECT {mine}, {said}, {keys}, was, answered_on FROM ({outcome_rows(narrow, labels, key, 'INNER')})"
    if key is not LabelKey.event:
        return exact
    return f"{exact} UNION ALL SELECT {mine}, {said}, {keys}, was, answered_on FROM ({timeless_rows(narrow, labels)})"


def with_late(rows: str, late: str, as_of: datetime) -> str:
    """The outcomes `rows` with what the late labels `late` that were known by `as_of` change in them."""
    mine, said = ", ".join(ROW), ", ".join(LABELLED)
    better = f"label_apart, {_BETTER.replace('version', 'label_version')}"
    known = f"known_at <= {text(as_of)}"
    own = f"SELECT {mine}, {said} FROM {rows} SEMI JOIN {late} USING ({mine}) WHERE label IS NOT NULL AND {known}"
    chosen = (
        f"SELECT {mine}, {said} FROM (SELECT {mine}, {said} FROM {late} WHERE {known} UNION ALL {own}) "
        f"QUALIFY row_number() OVER (PARTITION BY {mine} ORDER BY {better}) = 1"
    )
    picked = ", ".join(
        f"CASE WHEN c.label IS NOT NULL THEN c.{name} WHEN p.{known} THEN p.{name} END AS {name}" for name in LABELLED
    )
    return (
        f"SELECT p.* EXCLUDE ({said}), {picked} FROM {rows} p LEFT JOIN ({chosen}) c "
        f"ON p.request_id = c.request_id AND p.row = c.row AND p.role = c.role"
    )


def repeated_rows(connection: duckdb.DuckDBPyConnection, rows: str) -> int:
    """How many rows too many `rows` has: a request's id was used twice."""
    mine = ", ".join(ROW)
    _find_repeated(connection, rows, mine, "repeated_requests")
    found = one(
        connection,
        f"SELECT coalesce(sum(times - 1), 0) FROM (SELECT count(*) AS times FROM {rows} "
        f"SEMI JOIN repeated_requests ON hash({mine}) = h GROUP BY {mine})",
    )
    return int(found[0])


def _find_repeated(connection: duckdb.DuckDBPyConnection, rows: str, columns: str, name: str) -> None:
    """Make the table `name`: the hashes `h` of what `columns` of `rows` hold more than once.

    Sorted in numpy, so many at a time as memory allows: to group them takes DuckDB more than twice as long.
    """
    (number,) = one(connection, f"SELECT count(*) FROM {rows}")
    parts = max(-(-number // _HASHES_AT_ONCE), 1)
    hashes = f"SELECT h FROM (SELECT hash({columns}) AS h FROM {rows}) WHERE h % {parts} = "
    found = (connection.execute(f"{hashes}{part}").fetchnumpy()["h"] for part in range(parts))
    twice = [_twice(np.asarray(each, np.uint64)) for each in found]
    connection.register("found_twice", pa.table({"h": np.concatenate(twice)}))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT h FROM found_twice")
    connection.unregister("found_twice")


def _twice(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    hashes.sort()
    return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])


def first_of_each(rows: str) -> str:
    """`rows` with each request's row once for each role: as it was answered first."""
    return f"SELECT * FROM {rows} QUALIFY row_number() OVER (PARTITION BY {', '.join(ROW)} ORDER BY answered_at) = 1"


def against(labels: str, key: LabelKey) -> str:
    """How each label stands to the one of its key before it: `duplicate`, `correction`, `contradiction` or null.

    `labels` has a column `fresh`; only fresh labels are told about.
    """
    columns = ", ".join(KEYS[key])
    order = f"PARTITION BY {columns} ORDER BY version NULLS FIRST, labelled_at, known_at, fresh, label"
    before = (
        f"SELECT *, lag(label) OVER w AS label_before, lag(labelled_at) OVER w AS moment_before, "
        f"lag(version) OVER w AS version_before FROM {labels} WINDOW w AS ({order})"
    )
    return (
        f"SELECT *, CASE WHEN label_before IS NULL THEN NULL WHEN label_before = label THEN 'duplicate' "
        f"WHEN moment_before = labelled_at AND version_before IS NOT DISTINCT FROM version THEN 'contradiction' "
        f"ELSE 'correction' END AS standing FROM ({before}) WHERE fresh"
    )


def moment(microseconds: int | None) -> datetime | None:
    """A moment from what DuckDB's epoch_us gives; exact, as a float of seconds would not be."""
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


def one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The only row of an answer."""
    found = connection.execute(query).fetchone()
    assert found is not None
    return found
