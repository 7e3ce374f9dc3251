"""alert: a version that was taken away from users is an incident, of which the place's channels are told."""

import logging
from datetime import datetime

from configs.project import Project
from tasks.adapters.history import History
from tasks.adapters.incidents import Incidents
from tasks.adapters.turns import alone
from tasks.rollout.fallen import told
from tasks.triage.incident import Incident, alerts_about

log = logging.getLogger(__name__)


def alert(project: Project, case: str, at: datetime) -> list[Incident]:
    """Bring the case's incidents in line with its history; returns those that changed. Again, it changes nothing.

    Raises StoreUnreachable.
    """
    with alone(project, f"{case}.triage"):
        incidents = Incidents(project)
        events, known = History(project).events(case), incidents.all(case)
        with incidents.numbering() as next_id:
            changes = told(events, known, next_id)
            incidents.keep([change.incident for change in changes], alerts_about(changes, project.place.alerts, at))
    for change in changes:
        log.info("alert %s: incident %s %s: %s", case, change.incident.id, change.moment, change.incident.cause)
    return [change.incident for change in changes]
