"""When a version may be approved without a person, and what the record then says."""

from datetime import datetime

from configs.project import Project
from tasks.records import Approval


def approval_by_policy(project: Project, case: str, version: str, at: datetime, *, first: bool) -> Approval | None:
    """The approval that `approval.auto_approve` of params.yaml gives, or None: then a person is asked."""
    grounds = {
        "first_model": (first, "the case's first model: nobody is served by another"),
        "place_ci": (project.place_name == "ci", "this place is ci"),
        "always": (True, "every model that passes the gate"),
    }
    params = project.params(case)
    reasons = [
        f"auto_approve: {name} ({grounds[name][1]})" for name in params.approval.auto_approve if grounds[name][0]
    ]
    if "start" not in params.rollout.approvals:
        reasons.append("rollout.approvals names no `start`: the rollout itself decides")
    if not reasons:
        return None
    return Approval(
        case=case,
        version=version,
        approve=True,
        by="policy",
        reason=reasons[0],
        share=params.approval.starting_share,
        channel="policy",
        at=at,
    )
