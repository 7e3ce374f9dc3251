"""block: a blocked case is not trained until the verdict clears or somebody lifts it; taking and closing incidents."""

import logging
from datetime import datetime

from configs.project import Project
from tasks.adapters.incidents import Incidents
from tasks.adapters.turns import alone
from tasks.errors import DecisionUnexplained
from tasks.triage.errors import ClosesByItself, NothingBlocked, TrainingBlocked
from tasks.triage.incident import ROLLOUT, Incident

log = logging.getLogger(__name__)


def refuse_blocked(project: Project, case: str) -> None:
    """Raise TrainingBlocked, which names the incident, if training of the case is blocked."""
    incident = Incidents(project).blocking(case)
    if incident:
        since = f"{incident.opened_at:%Y-%m-%d %H:%M}Z"
        raise TrainingBlocked(case, incident.id, since, "; ".join(incident.reasons))


def unblock(project: Project, case: str, by: str, reason: str) -> list[Incident]:
    """Lift the block of a case although its verdict has not cleared. Raises NothingBlocked, DecisionUnexplained."""
    if not by.strip() or not reason.strip():
        raise DecisionUnexplained
    with alone(project, f"{case}.triage"):
        incidents = Incidents(project)
        blocking = [each for each in incidents.all(case, only_open=True) if each.blocks]
        if not blocking:
            raise NothingBlocked(case)
        lifted = [each.model_copy(update={"blocks": False, "lifted_by": f"{by}: {reason}"}) for each in blocking]
        incidents.keep(lifted)
    log.info("unblock %s: lifted by %s (%s)", case, by, reason)
    return lifted


def acknowledge(project: Project, number: int, by: str) -> Incident:
    """Note who takes care of an incident; the first one stays. Raises NoSuchIncident, DecisionUnexplained."""
    if not by.strip():
        raise DecisionUnexplained
    incidents = Incidents(project)
    with alone(project, f"{incidents.one(number).case}.triage"):
        incident = incidents.one(number)
        taken = incident.model_copy(update={"acknowledged_by": incident.acknowledged_by or by})
        incidents.keep([taken])
    return taken


def close(project: Project, number: int, by: str, reason: str, at: datetime) -> Incident:
    """Close an incident about a version that was taken back; one that is closed stays as it is.

    Raises NoSuchIncident, ClosesByItself, DecisionUnexplained.
    """
    if not by.strip() or not reason.strip():
        raise DecisionUnexplained
    incidents = Incidents(project)
    with alone(project, f"{incidents.one(number).case}.triage"):
        incident = incidents.one(number)
        if incident.monitor != ROLLOUT:
            raise ClosesByItself(number, incident.monitor)
        if incident.closed_at is None:
            incident = incident.model_copy(update={"closed_at": at, "closed_by": f"{by}: {reason}"})
            incidents.keep([incident])
    return incident
