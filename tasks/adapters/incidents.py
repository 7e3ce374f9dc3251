"""The door to the incidents and the alerts about them: tables `incidents` and `alerts` beside the journal."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import sqlalchemy as sql

from configs.project import Project
from tasks.adapters.database import Database, Moment
from tasks.adapters.turns import alone
from tasks.triage.errors import NoSuchIncident
from tasks.triage.incident import Alert, Incident

_TABLES = sql.MetaData()
_INCIDENTS = sql.Table(
    "incidents",
    _TABLES,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("case", sql.String(64), nullable=False),
    sql.Column("monitor", sql.String(32), nullable=False),
    sql.Column("cause", sql.Text, nullable=False),
    sql.Column("version", sql.String(32)),
    sql.Column("action", sql.String(16), nullable=False),
    sql.Column("rule", sql.String(64), nullable=False),
    sql.Column("opened_at", Moment, nullable=False),
    sql.Column("seen_at", Moment, nullable=False),
    sql.Column("closed_at", Moment),
    sql.Column("alarms", sql.Integer, nullable=False),
    sql.Column("blocks", sql.Boolean, nullable=False),
    sql.Column("acknowledged_by", sql.Text),
    sql.Column("run", sql.String(64)),
    sql.Column("body", sql.Text, nullable=False),
)
_ALERTS = sql.Table(
    "alerts",
    _TABLES,
    sql.Column("incident", sql.Integer, primary_key=True),
    sql.Column("moment", sql.String(16), primary_key=True),
    sql.Column("channel", sql.String(128), primary_key=True),
    sql.Column("made_at", Moment, primary_key=True),
    sql.Column("sent", sql.Boolean, nullable=False),
    sql.Column("tries", sql.Integer, nullable=False),
    sql.Column("error", sql.Text, nullable=False),
)
_PLAIN = {column.name for column in _INCIDENTS.columns if column.name != "body"}


class Incidents:
    """What needed attention in a project, and who was told."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._database = Database(project, _TABLES, "The journal's incidents")

    def keep(self, incidents: Sequence[Incident], alerts: Sequence[Alert] = ()) -> None:
        """Write incidents and alerts as they are now, all or none of them."""
        rows = [incident.model_dump(include=_PLAIN) | {"body": incident.model_dump_json()} for incident in incidents]
        self._database.put({_INCIDENTS: rows, _ALERTS: [alert.model_dump() for alert in alerts]})

    @contextmanager
    def numbering(self) -> Iterator[int]:
        """The number of the next incident, which nobody else gives away while the block lasts: keep it in there.

        Cases share the numbers, so the turn of one case would not do.
        """
        with alone(self._project, "incidents"):
            newest = self._database.read(sql.select(sql.func.max(_INCIDENTS.c.id).label("id")))
            yield int(newest[0].id or 0) + 1

    def all(self, case: str | None = None, *, only_open: bool = False, limit: int | None = None) -> list[Incident]:
        """Incidents, the newest first."""
        query = sql.select(_INCIDENTS.c.body).order_by(_INCIDENTS.c.id.desc()).limit(limit)
        if case is not None:
            query = query.where(_INCIDENTS.c.case == case)
        if only_open:
            query = query.where(_INCIDENTS.c.closed_at.is_(None))
        return [Incident.model_validate_json(row.body) for row in self._database.read(query)]

    def one(self, number: int) -> Incident:
        """The incident with this number. Raises NoSuchIncident."""
        rows = self._database.read(sql.select(_INCIDENTS.c.body).where(_INCIDENTS.c.id == number))
        if not rows:
            raise NoSuchIncident(number, [incident.id for incident in self.all(only_open=True)])
        return Incident.model_validate_json(rows[0].body)

    def blocking(self, case: str) -> Incident | None:
        """The incident that keeps a case from being trained, if there is one."""
        return next((incident for incident in self.all(case, only_open=True) if incident.blocks), None)

    def alerts(self, *, unsent: bool = False, since: datetime | None = None) -> list[Alert]:
        """Alerts, the oldest first."""
        query = sql.select(_ALERTS).order_by(_ALERTS.c.made_at, *_ALERTS.primary_key.columns)
        if unsent:
            query = query.where(_ALERTS.c.sent.is_(False))
        if since is not None:
            query = query.where(_ALERTS.c.made_at >= since)
        rows = self._database.read(query)
        return [Alert.model_validate(dict(row._mapping)) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name
