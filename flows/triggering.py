"""From triage's decision to what it asks for: a training is started once, a champion is put back, a block is there."""

import logging
from collections.abc import Callable, Mapping
from uuid import UUID

from prefect import runtime, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId, FlowRunFilter
from prefect.client.schemas.objects import StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from configs.project import Project
from flows.clock import now
from flows.errors import MonitorsFailed
from flows.training import training
from tasks.adapters.incidents import Incidents
from tasks.adapters.journal import Journal
from tasks.adapters.locks import Held
from tasks.adapters.turns import take_turn
from tasks.errors import NothingToRollBackTo
from tasks.promotion.decide import Why, roll_back
from tasks.rollout.fallen import TRIAGE
from tasks.triage.guards import TRAININGS
from tasks.triage.incident import Incident
from tasks.verdicts import Action, Triaged

log = logging.getLogger(__name__)

_MOST_WORDS = 120
_UNDER_WAY = {StateType.PENDING, StateType.RUNNING, StateType.CANCELLING}


@task(task_run_name="act: {triaged.action}")
def act(triaged: Triaged) -> str | None:
    """Do what triage decided, once: asked again with the same key, it does nothing. Returns the run it started.

    What cannot be done is written into its incidents before the error is raised.
    """
    project = Project.here()
    done = Journal(project).action(triaged.case, triaged.key)
    if done and done.run:
        log.info("act %s: done before, by run %s", triaged.case, done.run)
        return done.run
    try:
        run = _carry_out(project, triaged)
    except Exception as error:  # whatever it was: people are told that it was not done, and the run ends red
        _note_failure(project, triaged, str(error))
        raise
    if run:
        Journal(project).act(triaged, run)
        _note_run(project, triaged, run)
    return run


def training_in_flight(case: str) -> bool:
    """Whether a training of the case runs, or was asked for and waits for a worker."""
    try:
        take_turn(Project.here(), f"{case}.training", wait=False).end()
    except Held:
        return True
    return runtime.deployment.id is not None and _asked_for(case)


def conclude(triaged: Triaged, failures: Mapping[str, str]) -> Triaged:
    """The end of a monitoring run. Raises MonitorsFailed if a step failed, after all the others did their part."""
    if failures:
        raise MonitorsFailed(triaged.case, failures)
    return triaged


def _carry_out(project: Project, triaged: Triaged) -> str | None:
    if triaged.action in TRAININGS:
        return _start_training(project, triaged)
    if triaged.action is Action.roll_back:
        return _put_back(project, triaged)
    return None


def _start_training(project: Project, triaged: Triaged) -> str:
    parameters = {
        "case": triaged.case,
        "as_of": triaged.as_of.isoformat(),
        "trigger": _trigger(triaged),
        "recent": triaged.action is Action.retrain_recent,
        "since": triaged.since.isoformat() if triaged.since else None,
    }
    if runtime.deployment.id is not None:
        run = run_deployment(
            f"training/{triaged.case}",
            parameters=parameters,
            idempotency_key=triaged.key,
            tags=["triage", f"triage-{triaged.key[:8]}"],
            timeout=0,
            as_subflow=False,
        )
        return str(run.id)  # type: ignore[union-attr]
    state = training(**{**parameters, "as_of": triaged.as_of, "since": triaged.since}, return_state=True)
    run_id = str(state.state_details.flow_run_id)
    # Whatever became of it: it was started, and is not started again for the same event.
    Journal(project).act(triaged, run_id)
    state.result()
    return run_id


def _put_back(project: Project, triaged: Triaged) -> str:
    """Put the retired champion back in the place of the one that the verdicts are about."""
    if triaged.version is None:
        raise NothingToRollBackTo(triaged.case)
    reason = f"{triaged.rule}: {triaged.reasons[0]} [triage {triaged.key[:8]}]"
    roll_back(project, triaged.case, triaged.version, Why(TRIAGE, reason, now(), automatic=True))
    return str(runtime.flow_run.id)


def _trigger(triaged: Triaged) -> str:
    """What the training run is named after: the rule, and what its first verdict found."""
    words = f"{triaged.rule}: {triaged.reasons[0]}"
    return f"{words[:_MOST_WORDS].rstrip()} [triage {triaged.key[:8]}]"


def _note_failure(project: Project, triaged: Triaged, error: str) -> None:
    """Write into the incidents of this action that it could not be done, and why; each time in the same words, once."""
    told = f"`{triaged.action}` could not be done: {error}"
    changed: dict[str, object] = {"action": Action.escalate, "held_back": triaged.action}
    _note(project, triaged, lambda each: changed | {"reasons": tuple(dict.fromkeys((told, *each.reasons)))})


def _note_run(project: Project, triaged: Triaged, run: str) -> None:
    """Write the run that did it into the incidents of this action, those of a failure before among them."""
    made_good: dict[str, object] = {"action": triaged.action, "held_back": None}
    _note(project, triaged, lambda each: {"run": run} | (made_good if each.held_back is triaged.action else {}))


def _note(project: Project, triaged: Triaged, change: Callable[[Incident], dict[str, object]]) -> None:
    incidents = Incidents(project)
    concerned = [each for each in incidents.all(triaged.case, only_open=True) if each.key == triaged.key]
    incidents.keep([each.model_copy(update=change(each)) for each in concerned])


def _asked_for(case: str) -> bool:
    """Whether the server has a run of the case's training that somebody asked for and that has not ended."""
    with get_client(sync_client=True) as client:
        try:
            deployment: UUID = client.read_deployment_by_name(f"training/{case}").id
        except ObjectNotFound:
            return False
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate(
                {"state": {"type": {"any_": [*_UNDER_WAY, StateType.SCHEDULED]}}}
            ),
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
        )
    # What the weekly schedule has planned ahead is not on its way yet.
    return any(not run.auto_scheduled or run.state_type in _UNDER_WAY for run in runs)
