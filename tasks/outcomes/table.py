"""The outcome table: what was answered, and what came true, as it was known at any moment."""

# ruff: noqa: S608 - the names in this SQL are ours, and every value goes through `text`

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import duckdb
import pandas as pd
import pyarrow as pa

from configs.case import Case
from configs.labels import LabelKey
from configs.project import Project
from tasks.outcomes.errors import OutcomesAltered
from tasks.outcomes.intake import label_files
from tasks.outcomes.join import DAY, LABELLED, NEAR, ROW, best, late_rows, parquet, reader, text, with_late
from tasks.outcomes.labels import label_key
from tasks.outcomes.logged import logged_schema
from tasks.outcomes.shelf import Shelf
from tasks.outcomes.state import Day, Span, State, around


def outcome_schema(case: Case) -> pa.Schema:
    """The columns of an outcome: those of the log, `score`, `label` and `labelled_at`.

    `score` is P(positive), the probability of the predicted class, or the number. `label` is as `labels()` says: 1.0 or
    0.0, the class as text, or the number; null as long as there is none.
    """
    log = logged_schema(case)
    label = pa.string() if "probabilities" in log.names else pa.float64()
    return pa.schema(
        [
            *log,
            pa.field("score", pa.float64()),
            pa.field("label", label),
            pa.field("labelled_at", log.field("answered_at").type),
        ]
    )


def read_outcomes(  # noqa: PLR0913
    project: Project,
    case_name: str,
    start: datetime,
    end: datetime,
    columns: Sequence[str] | None = None,
    *,
    as_of: datetime | None = None,
    at_most: int | None = None,
) -> pd.DataFrame:
    """The rows answered in `[start, end)`, in the order of their answers, labelled or not; none before `gather` ran.

    With `as_of`, only labels that were known then, corrected as they were by then. With `at_most`, where there are more
    rows, about so many of them, drawn by hash. `columns` as `outcome_schema` names them. Raises OutcomesAltered,
    StoreUnreachable.
    """
    wanted = _wanted(project.case(case_name), columns)
    with _opened(project, case_name, start, end, as_of) as found:
        if found is None:
            return _frame(wanted.empty_table())
        every = 1 if at_most is None else max(1, round(found.rows / at_most))
        drawn = "" if every == 1 else f" AND hash(request_id, row) % {every} = 0"
        order = f" ORDER BY answered_at, {', '.join(ROW)}"
        return _frame(found.ask(f"SELECT {found.columns(wanted)} FROM {found.known} {drawn}{order}").cast(wanted))


def count_labels(project: Project, case_name: str, start: datetime, end: datetime, as_of: datetime) -> pd.DataFrame:
    """How many rows got their label after how many hours: `day` of the answer, `hours` (null: none yet), `rows`."""
    with _opened(project, case_name, start, end, as_of) as found:
        if found is None:
            return pd.DataFrame({"day": [], "hours": [], "rows": []}).astype({"day": "datetime64[us]"})
        # What was answered after its label was known (history scored again) had it at once.
        hours = "greatest(floor((epoch_us(known_at) - epoch_us(answered_at)) / 3.6e9), 0)"
        return _frame(
            found.ask(
                f"SELECT CAST({DAY} AS TIMESTAMP) AS day, CASE WHEN label IS NOT NULL THEN {hours} END AS hours, "
                f"count(*) AS rows FROM {found.known} GROUP BY ALL ORDER BY ALL"
            )
        )


@dataclass(frozen=True)
class _Found:
    connection: duckdb.DuckDBPyConnection
    case: Case
    known: str
    """The outcomes, as a relation named `p` with its condition."""
    rows: int
    """Of the days they are in."""

    def ask(self, query: str) -> pa.Table:
        return self.connection.sql(query).to_arrow_table()

    def columns(self, wanted: pa.Schema) -> str:
        """What is asked for, as SQL; a column that no contract of these days had is null."""
        has = set(self.connection.sql(f"SELECT * FROM {self.known} LIMIT 0").columns)
        said = {name: f'"{name}"' if name in has else f'NULL::VARCHAR AS "{name}"' for name in wanted.names}
        if "score" in said:
            answer = "probability" if self.case.problem.gives_probabilities else "prediction"
            said["score"] = f"CAST({answer} AS DOUBLE) AS score"
        return ", ".join(said.values())


@contextmanager
def _opened(
    project: Project, case_name: str, start: datetime, end: datetime, as_of: datetime | None
) -> Iterator[_Found | None]:
    case = project.case(case_name)
    shelf = Shelf(project, case.name)
    state = shelf.state()
    days = state.on(start.date(), (end - datetime.resolution).date()) if state else ()
    if state is None or not days:
        yield None
        return
    try:
        with reader() as connection:
            known = _as_known(connection, shelf, state, days, label_key(case), as_of)
            answered = f"answered_at >= {text(start)} AND answered_at < {text(end)}"
            rows = sum(part.rows for day in days for part in day.parts)
            yield _Found(connection, case, f"{known} p WHERE {answered}", rows)
    except duckdb.Error as error:
        raise OutcomesAltered(str(shelf.folder), str(error).splitlines()[0]) from error


def _wanted(case: Case, columns: Sequence[str] | None) -> pa.Schema:
    schema = outcome_schema(case)
    return schema if columns is None else pa.schema([schema.field(name) for name in columns])


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _as_known(  # noqa: PLR0913, PLR0917
    connection: duckdb.DuckDBPyConnection,
    shelf: Shelf,
    state: State,
    days: Sequence[Day],
    key: LabelKey,
    as_of: datetime | None,
) -> str:
    """The outcomes of some days with the labels known by `as_of`, as a relation."""
    as_of = as_of or state.as_of
    parts = [part for day in days for part in day.parts]
    rows = parquet([shelf.fetch(part.name) for part in parts])
    if any(as_of < part.as_of for part in parts):
        # What a part says was chosen among labels of which some were not known yet: they are chosen again from the log.
        return _from_the_log(connection, shelf, state, days, key, as_of, rows)
    late = [shelf.fetch(name) for day in days for name in day.late]
    return f"({with_late(rows, parquet(late), as_of)})" if late else rows


def _from_the_log(  # noqa: PLR0913, PLR0917
    connection: duckdb.DuckDBPyConnection,
    shelf: Shelf,
    state: State,
    days: Sequence[Day],
    key: LabelKey,
    as_of: datetime,
    rows: str,
) -> str:
    files = label_files(shelf, state, key, _events(days))
    said, mine = ", ".join(LABELLED), ", ".join(ROW)
    bare = f"(SELECT * EXCLUDE ({said}) FROM {rows})"
    unlabelled = f"(SELECT *, NULL AS label FROM {bare})"
    if not files:
        return f"(SELECT * REPLACE (NULL AS label, NULL AS labelled_at) FROM {rows})"
    connection.execute(
        f"CREATE TEMP TABLE known_labels AS SELECT * FROM {parquet(files)} "
        f"SEMI JOIN (SELECT request_id AS r, entity AS e FROM {rows}) ON "
        f"{'request_id = r' if key is LabelKey.request else 'entity = e'} WHERE known_at <= {text(as_of)}"
    )
    best(connection, "known_labels", key, "known_truth")
    chosen = f"SELECT {mine}, {said} FROM ({late_rows(unlabelled, 'known_truth', key)})"
    return f"(SELECT p.*, {said} FROM {bare} p LEFT JOIN ({chosen}) USING ({mine}))"


def _events(days: Sequence[Day]) -> Span | None:
    """The event times that labels of these days may have."""
    named: Span | None = None
    for day in days:
        for events in (day.events, around([day], NEAR) if day.timeless else None):
            named = events.with_(named) if events else named
    return named
