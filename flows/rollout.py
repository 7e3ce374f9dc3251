"""The rollout flow: from an approval to all users, one decided stage after the other; and two ways to step in."""

from prefect import flow

from flows import rollout_steps as steps
from flows.notifying import tell
from flows.rollout_question import ask_how_to_go_on
from flows.status_page import redraw
from tasks.records import Rollout
from tasks.rollout.carry import Wish


@flow(
    name="rollout",
    flow_run_name="{case}",
    on_completion=[steps.end_turn, redraw],
    on_failure=[steps.end_turn, redraw],
    on_crashed=[steps.end_turn, redraw],
)
def rollout(case: str = "flights", follow: bool = True) -> str:
    """Carry the case's rollout on from the state that was decided last, until it ends or a person is asked.

    Without `follow`, it does not wait for evidence either. Killed at any point and run again, it goes on where it was.
    """
    if not steps.take_turn(case):
        return "another run carries it on"
    told = "nothing rolls out"
    while state := steps.where(case):
        after = steps.decide(case, state, steps.look(case, state))
        told = f"version {after.version}: {after}"
        if after.standing == "done":
            steps.announce(case, "rollout done", steps.last_reason(case))
        elif after.standing in {"paused", "asking"}:
            if not ask_how_to_go_on(case, after):
                break
        elif after.standing == "held" and after != state:
            tell(case)
        elif after == state:
            if not follow:
                break
            steps.wait(case, state)
    tell(case)
    return told


@flow(name="rollback", flow_run_name="{case}: version {version}: {reason}", on_completion=[redraw], on_failure=[redraw])
def rollback(case: str, version: str, by: str, reason: str) -> str:
    """Take a version away from users, in one write: a challenger that rolls out, or the champion."""
    told = steps.take_out(case, version, by, reason)
    tell(case)
    return told


@flow(name="control", flow_run_name="{case}: {wish}", on_completion=[redraw], on_failure=[redraw])
def control(case: str, wish: Wish, by: str, reason: str) -> Rollout:
    """Pause a rollout, let it go on, skip to the next stage, or abort it."""
    state = steps.control(case, wish, by, reason)
    tell(case)
    return state
