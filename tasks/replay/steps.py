"""The plan of a replay and its steps: at which moments of history something is done; pure."""

from datetime import datetime, timedelta
from typing import Literal

from configs.replays import Script
from tasks.records import Record, Rollout

_NO_TIME = timedelta()
_LIKELY = 0.25
"""Share of the requests from which on a challenger is taken for the next champion: most that are stopped are before."""


class Plan(Script, Record):
    """What is replayed, and how."""

    case: str
    approve: Literal["auto", "ask"] = "auto"
    in_process: bool = False
    """Requests go through the gateway's core in this process, not over HTTP to processes of its own."""


def first_look(plan: Plan, label_delay: timedelta) -> datetime:
    """The monitors look first when the labels of a whole span between two looks have just come in."""
    every = timedelta(hours=plan.look_hours)
    return plan.start + every + label_delay % every


def looks_at(plan: Plan, label_delay: timedelta, moment: datetime) -> bool:
    """Whether the monitors look at this moment."""
    since = moment - first_look(plan, label_delay)
    return moment == plan.end or (since >= _NO_TIME and since % timedelta(hours=plan.look_hours) == _NO_TIME)


def next_step(plan: Plan, label_delay: timedelta, moment: datetime, *, rolling: bool) -> datetime | None:
    """The step after the one at `moment`: the next look, or sooner while a rollout is under way; None at the end."""
    if moment >= plan.end:
        return None
    first, every = first_look(plan, label_delay), timedelta(hours=plan.look_hours)
    look = first if moment < first else first + ((moment - first) // every + 1) * every
    soon = moment + timedelta(hours=plan.rollout_hours) if rolling else look
    return min(look, soon, plan.end)


def is_looked_at(plan: Plan, rollout: Rollout, moment: datetime) -> bool:
    """Whether a look is to be expected at which the challenger of a rollout under way is champion."""
    stages = (
        len(rollout.plan) - 1 - rollout.number
    )  # each takes a step, and the look of a step comes before its rollout
    return rollout.stage.share >= _LIKELY and moment + stages * timedelta(hours=plan.rollout_hours) < plan.end
