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
    for name in project.params(case).approval.auto_approve:
        applies, why = grounds[name]
        if applies:
            reason = f"auto_approve: {name} ({why})"
            return Approval(
                case=case, version=version, approve=True, by="policy", reason=reason, channel="policy", at=at
            )
    return None
