"""Asking a person how a rollout goes on: one that was paused, or that asks before full traffic."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from prefect import runtime
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from configs.project import Project
from flows.clock import now
from flows.runs import waits_for_answer
from flows.steps import draw_page
from tasks.adapters.history import History
from tasks.adapters.registry import Registry
from tasks.errors import NotAnApprover, NotApprovable
from tasks.promotion.decide import Why
from tasks.records import Rollout
from tasks.rollout.carry import control
from tasks.rollout.errors import NothingRollsOut, NotInThisState

ASKING_RUN = "rollout_run_id"
"""Tag of a version: the run that asks how its rollout goes on."""
_SAYS_SOMETHING = r"\S"


class HowToGoOn(RunInput):
    """What the form of a rollout asks."""

    wish: Literal["go on", "skip", "abort"] = Field(description="Go on, skip to the next stage, or end the rollout?")
    reviewer: str = Field(pattern=_SAYS_SOMETHING, description="Your name")
    reason: str = Field(pattern=_SAYS_SOMETHING, description="Why; kept in the history")


def ask_how_to_go_on(case: str, state: Rollout) -> bool:
    """Suspend the run until a person says how a rollout goes on that was paused, or that asks; then do it.

    False where nobody can be asked here, or another run asks already: the rollout stays where it is.
    """
    if runtime.deployment.id is None or not _asks_for(case, state):
        return False
    draw_page(return_state=True)
    reasons = "\n".join(f"- {reason.rule}: {reason.text}" for reason in state.reasons)
    about = f"### {case}: version {state.version}, {state}\n\n{reasons}"
    patience = int(Project.here().params(case).approval.expires_after.total_seconds())
    # A second pause of the same stage is another question: it must not find the answer to the first.
    moment = f"{state.standing}-{_decided_at(case):%Y%m%d-%H%M%S-%f}"
    refusal = ""
    for attempt in range(1, 10):
        form = HowToGoOn.with_initial_data(description=refusal + about)
        answer = suspend_flow_run(wait_for_input=form, key=f"{moment}-{attempt}", timeout=patience)
        if answer is None:
            raise RuntimeError("Prefect resumed the run without an answer")
        try:
            control(Project.here(), case, answer.wish, Why(answer.reviewer, answer.reason, now()))
        except NotAnApprover as error:
            refusal = f"**{error}**\n\n"
        except (NotInThisState, NothingRollsOut):
            return True  # somebody else was faster
        else:
            return True
    raise NotApprovable(case, state.version, "nine answers in a row were refused", [])


def _decided_at(case: str) -> datetime:
    """When the rollout came into the state that is asked about."""
    return max(event.at for event in History(Project.here()).events(case) if event.rollout)


def _asks_for(case: str, state: Rollout) -> bool:
    """Whether this run is the one that asks: the first to come, until its question is gone."""
    registry, own = Registry(Project.here()), str(runtime.flow_run.id)
    version = registry.version(case, state.version)
    before = version.tags.get(ASKING_RUN) if version else None
    if before and before != own and waits_for_answer(UUID(before)):
        return False
    registry.tag(case, state.version, {ASKING_RUN: own})
    return True
