"""Asking a person: the form in the Prefect UI, and how an answer reaches the run that waits for it."""

from datetime import timedelta
from typing import Literal

from prefect import runtime, task
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from configs.project import Project
from flows import steps
from flows.clock import now
from flows.server import running_stack
from tasks.adapters.registry import Registry
from tasks.errors import NotAnApprover, NotApprovable
from tasks.records import Approval, Registered

_SAYS_SOMETHING = r"\S"
_GRACE = timedelta(days=30)
"""A question stays open after its time, until the expiry flow answers it: Prefect itself would call the run failed."""


class Answer(RunInput):
    """What the form asks."""

    # A choice without a default: a form sent off half-read must not decide anything.
    approve: Literal["yes", "no"] = Field(description="May this version serve? Where there is a champion, in stages")
    reviewer: str = Field(pattern=_SAYS_SOMETHING, description="Your name")
    reason: str = Field(pattern=_SAYS_SOMETHING, description="Why; kept with the version and in the history")
    share: float = Field(default=1.0, ge=0, le=1, description="Share of traffic to start with, 0 to 1")


def ask_person(registered: Registered) -> Registered:
    """Suspend the run until a person answers, however long that takes, and carry the answer out.

    Without a server nobody can be asked here: the version goes on waiting for `evergreen approve`.
    """
    if runtime.deployment.id is None:
        return registered
    about = announce(registered)
    steps.draw_page(return_state=True)
    refusal = ""
    for attempt in range(1, 10):
        answer = _suspend(registered.case, f"approval-{attempt}", refusal + about)
        if answer.approve == "no" and (left := steps.left_unanswered(registered)):
            return left
        try:
            return steps.decide(_approval(registered, answer))
        except NotAnApprover as error:
            refusal = f"**{error}**\n\n"
    raise NotApprovable(registered.case, str(registered.version), "nine answers in a row were refused", [])


@task(persist_result=True, cache_policy=steps.ONCE_A_RUN)
def announce(registered: Registered) -> str:
    """Note with the version which run waits for its answer; returns what the form says about it."""
    project = Project.here()
    registry = Registry(project)
    registry.tag(registered.case, str(registered.version), {"flow_run_id": str(runtime.flow_run.id)})
    about = registry.description(registered.case, str(registered.version))
    stack = running_stack(project)
    page = registry.page(registered.run_id, stack.mlflow_ui if stack else None)
    return f"[Evidence and plots in MLflow]({page})\n\n{about}" if page else about


def _suspend(case: str, key: str, about: str) -> Answer:
    approval = Project.here().params(case).approval
    form = Answer.with_initial_data(description=about, share=approval.starting_share)
    patience = approval.expires_after + _GRACE
    answer = suspend_flow_run(wait_for_input=form, key=key, timeout=int(patience.total_seconds()))
    if answer is None:
        raise RuntimeError("Prefect resumed the run without an answer")
    return answer


def _approval(registered: Registered, answer: Answer) -> Approval:
    return Approval(
        case=registered.case,
        version=str(registered.version),
        approve=answer.approve == "yes",
        by=answer.reviewer,
        reason=answer.reason,
        share=answer.share,
        channel="form",
        at=now(),
    )
