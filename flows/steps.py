"""The stages as Prefect tasks: retried where the outside can fail, kept so that a resumed run repeats nothing."""

import importlib
import logging
import os
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prefect import runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import INPUTS, NO_CACHE, RUN_ID, CachePolicy
from prefect.client.schemas.objects import FlowRun
from prefect.context import TaskRunContext

from configs.case import Case
from configs.project import Project
from configs.sources import RecordedSource
from flows.clock import in_utc, not_ahead, now
from flows.runs import start_run
from flows.status_page import draw_now
from tasks.adapters import dvc, turns
from tasks.adapters.history import History
from tasks.adapters.journal import Journal, Trained
from tasks.adapters.locks import Held
from tasks.adapters.registry import Registry
from tasks.errors import AlreadyTraining, OrderChanged, StageFailed, StoreUnreachable
from tasks.promotion.decide import decide as decide_on
from tasks.promotion.decide import expire
from tasks.promotion.evidence import comparison_table, reasons_list
from tasks.promotion.order import place_order
from tasks.promotion.policy import approval_by_policy
from tasks.promotion.register import known_version
from tasks.promotion.register import register as register_candidate
from tasks.records import Approval, Candidate, Evaluation, Order, Refit, Registered, Status, Windows
from tasks.triage.block import refuse_blocked


@dataclass
class _StepName(CachePolicy):
    """Tells apart two steps with equal inputs, which RUN_ID and INPUTS alone do not."""

    def compute_key(self, task_ctx: TaskRunContext, *_: object, **__: object) -> str:
        return task_ctx.task.name


# Prefect's default policy contains the task's source: editing code while a person thinks would train again.
ONCE_A_RUN = RUN_ID + INPUTS + _StepName()
LEFT_UNANSWERED = (Status.expired, Status.superseded)
"""What becomes of a version that nobody decides on."""
_HOURS = 3600
# PREFECT_LOGGING_EXTRA_LOGGERS gives these loggers a handler, but leaves their level at WARNING.
logging.getLogger("tasks").setLevel(logging.INFO)
_turns: dict[str, turns.Turn] = {}
_KEPT: dict[str, Any] = {
    "persist_result": True,
    "cache_policy": ONCE_A_RUN,
    "timeout_seconds": 6 * _HOURS,
}


def _outside_failed(_task: object, _run: object, state: Any) -> bool:
    """Whether trying again can help: a store or a source was away, not a batch or a rule."""
    error = state.result(raise_on_failure=False)
    unreadable = isinstance(error, StageFailed) and str(error).startswith("SourceUnreadable")
    return unreadable or isinstance(error, StoreUnreachable)


_RETRIED: dict[str, Any] = {"retries": 2, "retry_delay_seconds": [2, 10], "retry_condition_fn": _outside_failed}


@task(**_KEPT)
def take_turn(case: str) -> int:
    """Make this run the only one that trains `case`; gives the process id. Raises AlreadyTraining, TrainingBlocked."""
    refuse_blocked(_in_turn(case), case)
    return os.getpid()


def end_turn(flow: object, flow_run: FlowRun, state: object) -> None:  # noqa: ARG001 - what Prefect passes
    """Let the next run of the case begin; Prefect calls it when a run ends, however it does."""
    turn = _turns.pop(str(flow_run.id), None)
    if turn is not None:
        turn.end()
        dvc.stand_down(Project.here())


def moment_of(case: Case, as_of: datetime | None) -> datetime:
    """The moment a run is about: that asked for, else recorded history's own, else what it was scheduled for.

    Raises AsOfAhead.
    """
    source = case.source
    default = source.as_of if isinstance(source, RecordedSource) else runtime.flow_run.scheduled_start_time
    return not_ahead(as_of or default)


@task(**_KEPT, **_RETRIED)
def order(case: str, as_of: datetime | None, recent: bool = False, since: datetime | None = None) -> Order:
    """What is asked for."""
    project = _in_turn(case)
    described = project.case(case)
    batches = described.triage.recent_batches if recent else None
    return place_order(project, case, moment_of(described, as_of), batches, in_utc(since) if since else None)


@task(**_KEPT, **_RETRIED)
def ingest(ordered: Order) -> bool:
    """Take the deliveries that are due; says whether there was anything to do."""
    return _stage("ingest", ordered)


@task(**_KEPT)
def validate(ordered: Order) -> Windows:
    """Hold the deliveries against the contract; a broken one stops the flow here."""
    project = _chain(ordered)
    dvc.verify_deliveries(project, ordered.case)
    _stage("validate", ordered)
    return Windows.read(project.files(ordered.case).windows)


@task(**_KEPT)
def train(ordered: Order) -> Candidate:
    """Fit a candidate on the training window."""
    # While this process waits, it imports what `register` will read the model with.
    threading.Thread(target=importlib.import_module, args=("skops.io",), daemon=True).start()
    _stage("train", ordered)
    return Candidate.read(Project.here().files(ordered.case).model / "candidate.json")


@task(**_KEPT, **_RETRIED)
def known(ordered: Order) -> Registered | None:
    """The version that is this very candidate, if it was registered before."""
    return known_version(_chain(ordered), ordered.case)


@task(**_KEPT)
def evaluate(ordered: Order) -> Evaluation:
    """Score candidate and champion on the same fresh rows, and decide."""
    _stage("evaluate", ordered)
    evaluation = Evaluation.read(Project.here().files(ordered.case).evaluation / "evaluation.json")
    decision = evaluation.decision
    create_markdown_artifact(
        f"# {decision.ruling.value}\n\n{comparison_table(evaluation)}\n\n{reasons_list(decision.reasons)}",
        key=f"{ordered.case}-decision",
        description=f"Candidate against champion, as of {ordered.as_of:%Y-%m-%d}",
    )
    return evaluation


@task(**_KEPT)
def refit(ordered: Order) -> Refit:
    """Fit an accepted candidate again, on the rows that judged it too, where the case asks for it."""
    _stage("refit", ordered)
    return Refit.read(Project.here().files(ordered.case).refit / "refit.json")


@task(**_KEPT, **_RETRIED)
def push(ordered: Order) -> None:
    """Copy the deliveries to the remote, before anything points at them."""
    dvc.push(_chain(ordered), [ordered.case])


@task(**_KEPT, **_RETRIED)
def register(ordered: Order) -> Registered:
    """Keep the candidate with its evidence; if it passed the gate, as a version."""
    project = _chain(ordered)
    registered = register_candidate(project, ordered, now())
    Journal(project).note_training(
        Trained(
            case=ordered.case,
            run=str(runtime.flow_run.id),
            as_of=ordered.as_of,
            ruling=registered.ruling,
            version=registered.version,
        )
    )
    return registered


@task(**_KEPT, **_RETRIED)
def ask_policy(registered: Registered) -> Approval | None:
    """The approval that the case's policy gives, if it gives one."""
    project = Project.here()
    # The history, not the alias: an alias somebody removed does not make the next model the first.
    first = not any(event.what == "approved" for event in History(project).events(registered.case))
    return approval_by_policy(project, registered.case, str(registered.version), now(), first=first)


@task(cache_policy=NO_CACHE, **_RETRIED)
def left_unanswered(registered: Registered) -> Registered | None:
    """The version as it stands, if nobody needs to answer any more: it was too late, or a newer one took its place."""
    project = Project.here()
    expire(project, registered.case, now())
    version = Registry(project).version(registered.case, str(registered.version))
    if version is None or version.status not in LEFT_UNANSWERED:
        return None
    return registered.model_copy(update={"status": Status(version.status)})


@task(**_KEPT, **_RETRIED)
def decide(approval: Approval) -> Registered:
    """Carry out what was answered; a rollout that begins so is carried on by a run of its own."""
    decided = decide_on(Project.here(), approval)
    if decided.status is Status.rolling_out and runtime.deployment.id is not None:
        start_run(f"rollout/{decided.case}", {"case": decided.case})
    return decided


@task(cache_policy=NO_CACHE)
def draw_page() -> None:
    """Draw the status page before a person is asked; asked for its state, it fails alone."""
    draw_now(Project.here())


def _in_turn(case: str) -> Project:
    """The project, while this run is the only one that trains `case`. Raises AlreadyTraining.

    A run that is retried goes on in another process, in which the kept `take_turn` is not run: its first step that is
    not kept takes the turn there.
    """
    project, run = Project.here(), str(runtime.flow_run.id)
    if run not in _turns:
        try:
            _turns[run] = turns.take_turn(project, f"{case}.training", wait=project.place.when_busy == "wait")
        except Held as held:
            raise AlreadyTraining(case, str(held)) from held
        dvc.keep_ready(project)
    return project


def _chain(ordered: Order) -> Project:
    """The project, in this run's turn, with the chain as this run ordered it. Raises AlreadyTraining, OrderChanged."""
    project = _in_turn(ordered.case)
    if Order.read(project.files(ordered.case).order) != ordered:
        raise OrderChanged(ordered.case)
    return project


def _stage(name: str, ordered: Order) -> bool:
    return dvc.reproduce_stage(_chain(ordered), name, ordered.case)
