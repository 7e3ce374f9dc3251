"""Runs on a Prefect server: starting them, following them, and answering the ones that wait for a person."""

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import TaskRunSort
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from tasks.errors import StoreUnreachable

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_RESUME_TRIES = 8
_WORKER_SECONDS = 60
_AT_ONCE = 200
"""As many runs as the server tells in one answer."""


def start_run(deployment: str, parameters: dict[str, Any]) -> UUID:
    """Start a deployment's run; returns its id."""
    run = run_deployment(deployment, parameters=parameters, timeout=0, as_subflow=False)
    return run.id  # type: ignore[union-attr]


def follow_run(run_id: UUID, say: Callable[[str], None]) -> str:
    """Report a run's state and steps as they change, until it ends or waits for a person; returns that state's name."""
    told: set[str] = set()
    patience = time.monotonic() + _WORKER_SECONDS
    with get_client(sync_client=True) as client:
        while True:
            run = client.read_flow_run(run_id)
            only_this = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
            steps = client.read_task_runs(flow_run_filter=only_this, sort=TaskRunSort.EXPECTED_START_TIME_ASC)
            lines = [f"{step.name}: {step.state_name}" for step in steps]
            for line in [*lines, f"run {run.name}: {run.state_name}"]:
                if line not in told:
                    told.add(line)
                    say(line)
            if not run.start_time and time.monotonic() > patience:
                say("no worker has taken it yet: is one running for its work pool? (Ctrl-C leaves it waiting)")
                patience = math.inf
            if run.state and (run.state.is_final() or run.state.is_paused()):
                return str(run.state_name)
            time.sleep(_POLL_SECONDS)


def waits_for_answer(run_id: UUID) -> bool:
    """Whether the run is suspended, waiting for a person."""
    with get_client(sync_client=True) as client, suppress(ObjectNotFound):
        state = client.read_flow_run(run_id).state
        return bool(state and state.is_paused())
    return False


def still_waiting(run_ids: Sequence[UUID]) -> list[UUID]:
    """Those of the runs that are suspended."""
    suspended = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED]))
    found = []
    with get_client(sync_client=True) as client:
        for first in range(0, len(run_ids), _AT_ONCE):
            some = FlowRunFilterId(any_=list(run_ids[first : first + _AT_ONCE]))
            found += client.read_flow_runs(flow_run_filter=FlowRunFilter(id=some, state=suspended))
    return [run.id for run in found]


def answer_run(run_id: UUID, answer: dict[str, Any]) -> None:
    """Give a suspended run its answer, as the form would. Raises StoreUnreachable when it is not taken."""
    refused = "no answer"
    for attempt in range(_RESUME_TRIES):
        with get_client(sync_client=True) as client:
            try:
                response = client.resume_flow_run(run_id, run_input=answer)
            except httpx.HTTPStatusError as error:
                refused = f"HTTP {error.response.status_code}"  # SQLite under load says 503; it passes
            else:
                if response.status.value == "ACCEPT":
                    return
                refused = json.dumps(response.details.model_dump(mode="json"))
                if response.status.value == "REJECT":
                    break
        log.info("the server did not take the answer yet (%s), trying again", refused)
        time.sleep(_POLL_SECONDS * (attempt + 1))
    raise StoreUnreachable("The waiting run", str(run_id), refused, "Answer in the Prefect UI, or try again.")
