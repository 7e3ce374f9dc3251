"""The expiry flow: a question nobody answers in time is answered with no."""

from uuid import UUID

from prefect import flow

from configs.project import Project
from flows import steps
from flows.clock import now
from flows.runs import answer_run, still_waiting
from tasks.adapters.registry import Registry
from tasks.promotion.decide import expire


@flow(name="expiry")
def expiry() -> dict[str, list[str]]:
    """Reject the versions of every case that waited too long for an approval; returns which.

    A run that waits for an answer about a version that has left is told so, and ends completed.
    """
    project = Project.here()
    expired = {case: expire(project, case, now()) for case in project.cases}
    for case in project.cases:
        _tell_waiting_runs(project, case)
    return expired


def _tell_waiting_runs(project: Project, case: str) -> None:
    left = {
        UUID(version.tags["flow_run_id"]): f"version {version.version} is {version.status}"
        for version in Registry(project).versions(case)
        if version.status in steps.LEFT_UNANSWERED and "flow_run_id" in version.tags
    }
    for run in still_waiting(list(left)):
        answer_run(run, {"approve": "no", "reviewer": "expiry", "reason": left[run], "share": 0.0})
