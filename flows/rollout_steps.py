"""The steps of a rollout as Prefect tasks. What was decided is in the history, so none of them needs to be kept."""

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
from prefect import runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, TaskRun

from configs.project import Project
from flows.clock import now
from flows.load_check import load_check
from flows.notifying import LOG, deliver
from flows.recorded_rows import recorded_rows
from flows.smoke import public_address, smoke
from serving.ledger.places import predictions_url, segments_folder
from serving.ledger.windows import LoggedAnswers
from tasks.adapters import turns
from tasks.adapters.history import History
from tasks.adapters.locks import Held
from tasks.errors import StoreUnreachable
from tasks.monitoring.answers import Answers
from tasks.outcomes.table import read_outcomes
from tasks.promotion.decide import Why, roll_back
from tasks.records import Reason, Rollout
from tasks.rollout import carry
from tasks.rollout.find_out import find_out, stated
from tasks.rollout.stages import judged

log = logging.getLogger(__name__)

_turns: dict[str, turns.Turn] = {}
_TURN_SECONDS = 60
"""A run that only looks in is done by then, and a run that was answered can go on."""
_SMOKE_ROWS = 5
_LOOKS_A_STAGE = 100
_STEP: dict[str, Any] = {"persist_result": False, "cache_policy": NO_CACHE}


def _outside_failed(_task: object, run: TaskRun, state: Any) -> bool:
    """A store that is away is asked again: by a run that stays with its rollout until it is back, by others a while."""
    away = isinstance(state.result(raise_on_failure=False), StoreUnreachable)
    return away and (bool(runtime.flow_run.parameters.get("follow")) or run.run_count <= _TRIES)


_TRIES = 3
_RETRIED: dict[str, Any] = {
    "retries": 1_000_000,
    "retry_delay_seconds": [1, 5, 20],
    "retry_condition_fn": _outside_failed,
}


def take_turn(case: str) -> bool:
    """Make this the only run that carries the case's rollout on; false while another one does."""
    project = Project.here()
    deadline = time.monotonic() + _TURN_SECONDS
    while True:
        try:
            _turns[case] = turns.take_turn(project, f"{case}.rollout", wait=False)
        except Held:
            if time.monotonic() > deadline:
                return False
            time.sleep(1)
        else:
            return True


def end_turn(flow: object, flow_run: FlowRun, state: object) -> None:  # noqa: ARG001 - what Prefect passes
    """Let the next run begin; Prefect calls it when a run ends, however it does."""
    turn = _turns.pop(flow_run.parameters.get("case", "flights"), None)
    if turn:
        turn.end()


@task(**_STEP, **_RETRIED)
def where(case: str) -> Rollout | None:
    """The rollout under way, with traffic at what was decided last; None if there is none."""
    return carry.under_way(Project.here(), case)


@task(**_STEP, **_RETRIED, task_run_name="look: {state.stage.name}")
def look(case: str, state: Rollout) -> tuple[Reason, ...]:
    """Find out how the challenger does in this stage."""
    project = Project.here()
    answers = _answers(project, case)
    at = now()
    params = project.params(case).rollout
    if state.stage.kind == "load":
        rows = recorded_rows(project, project.case(case), answers, at, params.load.rows)
        loaded = (*load_check(project, project.case(case), state, rows, params), *stated(project, case, state))
        return (*loaded, *_smoke(project, case, state, loaded, at))

    def outcomes(start: datetime, end: datetime, columns: Sequence[str]) -> pd.DataFrame:
        return read_outcomes(project, case, start, end, columns)

    reasons = find_out(project, case, state, answers, outcomes, at)
    return (*reasons, *_smoke(project, case, state, reasons, at))


@task(**_STEP, **_RETRIED, task_run_name="decide: {state.stage.name}")
def decide(case: str, state: Rollout, reasons: tuple[Reason, ...]) -> Rollout:
    """Go on, wait, ask or stop; one record with the reasons, in the history and on the run's page."""
    after = carry.carry_on(Project.here(), state, case, reasons, now())
    if after != state:
        _show(case, state, after, reasons)
    return after


@task(**_STEP)
def take_out(case: str, version: str, by: str, reason: str) -> str:
    """Take a version away from users, a challenger that rolls out or the champion; returns who serves."""
    standing = roll_back(Project.here(), case, version, Why(by, reason, now()))
    return f"version {standing.version} of {case} serves"


@task(**_STEP)
def control(case: str, wish: carry.Wish, by: str, reason: str) -> Rollout:
    """What a person wants of the rollout."""
    return carry.control(Project.here(), case, wish, Why(by, reason, now()))


def announce(case: str, head: str, text: str) -> None:
    """Say good news to the place's channels, or the log. A channel that fails stops nothing."""
    for channel in Project.here().place.alerts.channels or (LOG,):
        send(channel, f"[{case}] {head}", text, return_state=True)


@task(**_STEP, retries=2, retry_delay_seconds=[2, 5], task_run_name="tell {channel}")
def send(channel: str, head: str, text: str) -> None:
    """Send one message through one channel."""
    deliver(channel, head, text)


def last_reason(case: str) -> str:
    """Why the case's last event happened, and who decided it."""
    last = History(Project.here()).events(case)[-1]
    return f"version {last.version}: {last.what} by {last.by}: {last.reason}"


def wait(case: str, state: Rollout) -> None:
    """Until the next look: the more seldom, the longer the stage has to last."""
    pause = max(Project.here().params(case).rollout.look_seconds, state.stage.hours * 3600 / _LOOKS_A_STAGE)
    time.sleep(pause)


def _smoke(
    project: Project, case_name: str, state: Rollout, reasons: tuple[Reason, ...], at: datetime
) -> tuple[Reason, ...]:
    """Before full traffic, when all else has passed; and after it, for as long as it is fresh."""
    full = state.stage.share == 1 or state.promoted
    after = state.plan[state.number + 1] if state.number + 1 < len(state.plan) else None
    nearly_full = after is not None and (after.share == 1 or after.kind == "warm")
    if full:
        due = at - state.since < timedelta(minutes=10) or judged(state, reasons, "hold", at).move != "stay"
    else:
        due = nearly_full and judged(state, reasons, "hold", at).move != "stay"
    if not due:
        return ()
    case = project.case(case_name)
    rows = recorded_rows(project, case, _answers(project, case_name), at, _SMOKE_ROWS)
    return (smoke(public_address(project), case, rows, state.version, pinned=not full),)


def _answers(project: Project, case: str) -> Answers:
    return LoggedAnswers(predictions_url(project), case, fresh=segments_folder(project))


def _show(case: str, before: Rollout, after: Rollout, reasons: tuple[Reason, ...]) -> None:
    marks = [(r, "passed" if r.passed else "waits" if r.inconclusive else "**failed**") for r in reasons]
    table = "\n".join(f"| {reason.rule} | {mark} | {reason.text.replace('|', '/')} |" for reason, mark in marks)
    if runtime.flow_run.id is None:
        return
    create_markdown_artifact(
        f"# Version {after.version}: {before.stage.name} → {after}\n\n| rule | | found |\n|---|---|---|\n{table}",
        key=f"{case}-rollout",
        description=f"{before.stage.name} → {after.stage.name}, {after.standing}",
    )
