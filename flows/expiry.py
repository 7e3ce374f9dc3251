"""The expiry flow: a question nobody answers in time is answered with no."""

from datetime import UTC, datetime

from prefect import flow

from configs.project import Project
from tasks.promotion.decide import expire


@flow(name="expiry")
def expiry() -> dict[str, list[str]]:
    """Reject the versions of every case that waited too long for an approval; returns which."""
    project = Project.here()
    return {case: expire(project, case, datetime.now(UTC)) for case in project.cases}
