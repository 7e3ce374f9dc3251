"""The door to the journal: what the monitors said, what triage made of it, and what they remember.

Tables `verdicts`, `figures`, `actions`, `trainings` and `states`, with plain columns, in the history's database.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sql
from pydantic import AwareDatetime

from configs.frozen import Frozen
from configs.project import Project
from tasks.adapters.database import Database, Moment
from tasks.verdicts import Figure, Findings, Monitor, Triaged, Verdict

_TABLES = sql.MetaData()
_VERDICTS = sql.Table(
    "verdicts",
    _TABLES,
    sql.Column("case", sql.String(64), primary_key=True),
    sql.Column("monitor", sql.String(32), primary_key=True),
    sql.Column("version", sql.String(32), primary_key=True),
    sql.Column("window_end", Moment, primary_key=True),
    sql.Column("as_of", Moment, primary_key=True),
    sql.Column("window_start", Moment, nullable=False),
    sql.Column("answer", sql.String(16), nullable=False),
    sql.Column("rows", sql.BigInteger, nullable=False),
    sql.Column("statistic", sql.Float),
    sql.Column("threshold", sql.Float),
    sql.Column("error_rate", sql.Float),
    sql.Column("cause", sql.Text, nullable=False),
    sql.Column("text", sql.Text, nullable=False),
    sql.Column("report", sql.Text),
    sql.Column("body", sql.Text, nullable=False),
)
_FIGURES = sql.Table(
    "figures",
    _TABLES,
    sql.Column("case", sql.String(64), primary_key=True),
    sql.Column("kind", sql.String(16), primary_key=True),
    sql.Column("metric", sql.String(64), primary_key=True),
    sql.Column("window_start", Moment, primary_key=True),
    sql.Column("window_end", Moment, primary_key=True),
    sql.Column("version", sql.String(32), primary_key=True),
    sql.Column("role", sql.String(16), primary_key=True),
    sql.Column("slice", sql.String(256), primary_key=True),
    sql.Column("value", sql.Float),
    sql.Column("low", sql.Float),
    sql.Column("high", sql.Float),
    sql.Column("rows", sql.BigInteger, nullable=False),
)
_ACTIONS = sql.Table(
    "actions",
    _TABLES,
    sql.Column("case", sql.String(64), primary_key=True),
    sql.Column("key", sql.String(64), primary_key=True),
    sql.Column("as_of", Moment, nullable=False),
    sql.Column("action", sql.String(16), nullable=False),
    sql.Column("held_back", sql.String(16)),
    sql.Column("rule", sql.String(64), nullable=False),
    sql.Column("reasons", sql.Text, nullable=False),
    sql.Column("run", sql.String(64)),
    sql.Column("body", sql.Text, nullable=False),
)
_TRAININGS = sql.Table(
    "trainings",
    _TABLES,
    sql.Column("case", sql.String(64), primary_key=True),
    sql.Column("run", sql.String(64), primary_key=True),
    sql.Column("as_of", Moment, nullable=False),
    sql.Column("ruling", sql.String(16), nullable=False),
    sql.Column("version", sql.String(32)),
)
_STATES = sql.Table(
    "states",
    _TABLES,
    sql.Column("case", sql.String(64), primary_key=True),
    sql.Column("name", sql.String(128), primary_key=True),
    sql.Column("body", sql.Text, nullable=False),
)
_NONE = ""
"""A version that is not there, in a key: SQL has no keys of nothing."""


class Acted(Frozen):
    """An action as the journal keeps it."""

    triaged: Triaged
    run: str | None = None
    """The flow run that was started for it."""


class Trained(Frozen):
    """What became of one training, as the journal keeps it."""

    case: str
    run: str
    """The flow run."""
    as_of: AwareDatetime
    ruling: str
    """The gate's answer."""
    version: str | None
    """None where the gate turned the candidate away."""


class Turn(Frozen):
    """A verdict that says something else than the one before it of the same monitor, and how long that stood."""

    verdict: Verdict
    last: AwareDatetime
    """As-of of the last verdict in a row that said so."""
    looks: int
    """How many in a row did."""


class Journal:
    """What a project's monitors found, and what was done about it."""

    def __init__(self, project: Project) -> None:
        self._database = Database(project, _TABLES, "The journal")

    def record(self, findings: Findings) -> None:
        """Write verdicts and figures, all or none; the same again takes the place of what it was.

        A verdict is the same by case, monitor, version, end of window and as-of; a figure by all but its numbers.
        """
        self._database.put(
            {_VERDICTS: _unique(map(_verdict_row, findings.verdicts), _VERDICTS)}
            | {_FIGURES: _unique(map(_figure_row, findings.figures), _FIGURES)}
        )

    def verdicts(
        self,
        case: str,
        as_of: datetime | None = None,
        monitor: Monitor | None = None,
        limit: int | None = 100,
        version: str | None = None,
    ) -> list[Verdict]:
        """What was said until `as_of`, the newest first; by one monitor, and about one version, if named."""
        query = sql.select(_VERDICTS.c.body).where(_VERDICTS.c.case == case)
        if as_of is not None:
            query = query.where(_VERDICTS.c.as_of <= as_of)
        if monitor is not None:
            query = query.where(_VERDICTS.c.monitor == monitor.value)
        if version is not None:
            query = query.where(_VERDICTS.c.version == version)
        query = query.order_by(*_newest_first(_VERDICTS), _VERDICTS.c.monitor).limit(limit)
        return [Verdict.model_validate_json(row.body) for row in self._database.read(query)]

    def standing(self, case: str, as_of: datetime) -> dict[Monitor, Verdict]:
        """The newest verdict of each monitor until `as_of`."""
        place = sql.func.row_number().over(partition_by=_VERDICTS.c.monitor, order_by=_newest_first(_VERDICTS))
        until = sql.select(_VERDICTS.c.body, place.label("place")).where(
            _VERDICTS.c.case == case, _VERDICTS.c.as_of <= as_of
        )
        ranked = until.subquery()
        rows = self._database.read(sql.select(ranked.c.body).where(ranked.c.place == 1))
        verdicts = [Verdict.model_validate_json(row.body) for row in rows]
        return {verdict.monitor: verdict for verdict in verdicts}

    def turns(self, case: str, since: datetime, limit: int) -> list[Turn]:
        """Each verdict since then with another answer, or another cause, than its monitor gave before; newest first."""
        key = (_VERDICTS.c.monitor, _VERDICTS.c.version, _VERDICTS.c.window_end, _VERDICTS.c.as_of)

        def in_order(what: sql.Function[Any]) -> sql.Over[Any]:
            return what.over(partition_by=_VERDICTS.c.monitor, order_by=_oldest_first(_VERDICTS))

        def in_all(what: sql.Function[Any]) -> sql.Over[Any]:
            return what.over(partition_by=_VERDICTS.c.monitor)

        said = (
            sql.select(
                *key,
                _VERDICTS.c.answer,
                _VERDICTS.c.cause,
                in_order(sql.func.row_number()).label("number"),
                in_order(sql.func.lag(_VERDICTS.c.answer)).label("answer_before"),
                in_order(sql.func.lag(_VERDICTS.c.cause)).label("cause_before"),
                in_order(sql.func.lag(_VERDICTS.c.as_of, type_=Moment)).label("as_of_before"),
                in_all(sql.func.max(_VERDICTS.c.as_of, type_=Moment)).label("newest"),
                in_all(sql.func.count()).label("all"),
            )
            .where(_VERDICTS.c.case == case, _VERDICTS.c.as_of >= since)
            .subquery()
        )
        another = sql.or_(said.c.answer != said.c.answer_before, said.c.cause != said.c.cause_before)

        def next_one(what: sql.ColumnElement[Any], last: sql.ColumnElement[Any], kind: Any = None) -> Any:
            following = sql.func.lead(what, type_=kind).over(partition_by=said.c.monitor, order_by=said.c.number)
            return sql.func.coalesce(following, last, type_=kind)

        turns = (
            sql.select(
                *(said.c[column.name] for column in key),
                next_one(said.c.as_of_before, said.c.newest, Moment).label("last"),
                (next_one(said.c.number, said.c["all"] + 1, sql.Integer) - said.c.number).label("looks"),
            )
            .where(sql.or_(said.c.number == 1, another))
            .order_by(said.c.as_of.desc(), said.c.monitor)
            .limit(limit)
            .subquery()
        )
        # What was said is long: it is fetched for the turns alone, not sorted with all the rest.
        same = (_VERDICTS.c[column.name] == turns.c[column.name] for column in key)
        query = (
            sql.select(_VERDICTS.c.body, turns.c.last, turns.c.looks)
            .where(_VERDICTS.c.case == case, *same)
            .order_by(turns.c.as_of.desc(), turns.c.monitor)
        )
        return [
            Turn(verdict=Verdict.model_validate_json(row.body), last=row.last, looks=row.looks)
            for row in self._database.read(query)
        ]

    def figures(
        self,
        case: str,
        kind: str | None = None,
        metric: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        **only: str,
    ) -> list[Figure]:
        """Numbers of the windows inside `[start, end)`, the oldest first.

        `only` may name version, role and slice; `slice=""` gives the numbers of all rows.
        """
        query = sql.select(_FIGURES).where(_FIGURES.c.case == case)
        for name, value in {"kind": kind, "metric": metric, **only}.items():
            if value is not None:
                query = query.where(_FIGURES.c[name] == value)
        if start is not None:
            query = query.where(_FIGURES.c.window_start >= start)
        if end is not None:
            query = query.where(_FIGURES.c.window_end <= end)
        query = query.order_by(_FIGURES.c.window_end, _FIGURES.c.window_start, *_FIGURES.primary_key.columns)
        return [_figure(row) for row in self._database.read(query)]

    def act(self, triaged: Triaged, run: str | None) -> None:
        """Write an action down, with the run that was started for it; the same key again takes its place."""
        row = {
            "case": triaged.case,
            "key": triaged.key,
            "as_of": triaged.as_of,
            "action": triaged.action.value,
            "held_back": triaged.held_back.value if triaged.held_back else None,
            "rule": triaged.rule,
            "reasons": "\n".join(triaged.reasons),
            "run": run,
            "body": triaged.model_dump_json(),
        }
        self._database.put({_ACTIONS: [row]})

    def actions(self, case: str, since: datetime | None = None, until: datetime | None = None) -> list[Acted]:
        """The actions decided on in `[since, until]`, the newest first."""
        query = sql.select(_ACTIONS).where(_ACTIONS.c.case == case)
        if since is not None:
            query = query.where(_ACTIONS.c.as_of >= since)
        if until is not None:
            query = query.where(_ACTIONS.c.as_of <= until)
        return self._acted(query.order_by(_ACTIONS.c.as_of.desc(), _ACTIONS.c.key))

    def action(self, case: str, key: str) -> Acted | None:
        """The action with this key, if it was decided on before."""
        found = self._acted(sql.select(_ACTIONS).where(_ACTIONS.c.case == case, _ACTIONS.c.key == key))
        return found[0] if found else None

    def note_training(self, trained: Trained) -> None:
        """Write down what became of a training."""
        self._database.put({_TRAININGS: [trained.model_dump()]})

    def trainings(self, case: str) -> list[Trained]:
        """What became of each training, the newest first."""
        query = sql.select(_TRAININGS).where(_TRAININGS.c.case == case)
        rows = self._database.read(query.order_by(_TRAININGS.c.as_of.desc(), _TRAININGS.c.run))
        return [Trained.model_validate(dict(row._mapping)) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name

    def state(self, case: str, name: str) -> str | None:
        """What a monitor kept under `name`."""
        query = sql.select(_STATES.c.body).where(_STATES.c.case == case, _STATES.c.name == name)
        rows = self._database.read(query)
        return str(rows[0].body) if rows else None

    def keep_state(self, case: str, name: str, body: str) -> None:
        """Keep `body` under `name`, in place of what was there."""
        self._database.put({_STATES: [{"case": case, "name": name, "body": body}]})

    def _acted(self, query: sql.Select[Any]) -> list[Acted]:
        return [Acted(triaged=Triaged.model_validate_json(row.body), run=row.run) for row in self._database.read(query)]


def _newest_first(table: sql.Table) -> tuple[sql.ColumnElement[Any], ...]:
    return table.c.as_of.desc(), table.c.window_end.desc(), table.c.version.desc()


def _oldest_first(table: sql.Table) -> tuple[sql.ColumnElement[Any], ...]:
    return table.c.as_of, table.c.window_end, table.c.version


def _verdict_row(verdict: Verdict) -> dict[str, Any]:
    plain = verdict.model_dump(include={"case", "as_of", "rows", "statistic", "threshold", "error_rate"})
    return plain | {
        "monitor": verdict.monitor.value,
        "answer": verdict.answer.value,
        "version": verdict.version or _NONE,
        "window_start": verdict.start,
        "window_end": verdict.end,
        "cause": verdict.cause,
        "text": verdict.text,
        "report": verdict.report,
        "body": verdict.model_dump_json(),
    }


def _figure_row(figure: Figure) -> dict[str, Any]:
    plain = figure.model_dump(exclude={"start", "end"})
    return plain | {"version": figure.version or _NONE, "window_start": figure.start, "window_end": figure.end}


def _figure(row: sql.Row[Any]) -> Figure:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    start, end = values.pop("window_start"), values.pop("window_end")
    return Figure.model_validate(values | {"start": start, "end": end, "version": values["version"] or None})


def _unique(rows: Any, table: sql.Table) -> Sequence[dict[str, Any]]:
    """The rows, of two with one key the later."""
    names = [column.name for column in table.primary_key.columns]
    return list({tuple(row[name] for name in names): row for row in rows}.values())
