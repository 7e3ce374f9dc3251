"""The monitors as Prefect tasks: each kept, retried where the outside can fail, and written to the journal at once."""

import logging
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from pydantic import AwareDatetime

from configs.frozen import Frozen
from configs.project import Project
from flows.parallel import parallel_map
from flows.steps import ONCE_A_RUN, moment_of
from serving.ledger.places import predictions_url, segments_folder
from serving.ledger.windows import LoggedAnswers
from tasks.adapters.incidents import Incidents
from tasks.adapters.journal import Journal
from tasks.adapters.refusals import read_refused
from tasks.adapters.registry import Registry
from tasks.errors import StoreUnreachable
from tasks.monitoring.draw import draw_report
from tasks.monitoring.foresee import foresee as foresee_performance
from tasks.monitoring.refer import refer as refer_to
from tasks.monitoring.rescore import rescore as rescore_answers
from tasks.monitoring.scan import scan as scan_window
from tasks.monitoring.watch import watch as watch_hours
from tasks.notification.page import page
from tasks.outcomes.detect import detect as detect_change
from tasks.outcomes.gather import Gathered
from tasks.outcomes.gather import gather as gather_labels
from tasks.outcomes.realise import realise as realise_performance
from tasks.triage.failed import could_not_compute
from tasks.triage.triage import triage as triage_case
from tasks.verdicts import Findings, Monitor, Triaged

logging.getLogger("tasks").setLevel(logging.INFO)

ANSWERED_BY: Mapping[str, tuple[Monitor, ...]] = {
    "refer": (Monitor.inputs,),
    "scan": (Monitor.freshness, Monitor.contract, Monitor.inputs),
    "watch": (Monitor.hourly,),
    "foresee": (Monitor.score, Monitor.estimated),
    "rescore": (Monitor.skew,),
    "gather": (Monitor.labels,),
    "realise": (Monitor.labels, Monitor.realised),
    "detect": (Monitor.concept, Monitor.slices),
}
"""Whose verdict is missing when a step fails."""
_EVENTS = uuid.UUID("6c1f0d0e-3f43-4a1d-9a1c-2b8a1f0f6a55")


class Look(Frozen):
    """What one run of the monitors looks at."""

    case: str
    as_of: AwareDatetime


def _outside_failed(_task: object, _run: object, state: Any) -> bool:
    """Whether trying again can help."""
    return isinstance(state.result(raise_on_failure=False), StoreUnreachable)


_STEP: dict[str, Any] = {
    "persist_result": True,
    "cache_policy": ONCE_A_RUN,
    "timeout_seconds": 2 * 3600,
    "retries": 2,
    "retry_delay_seconds": [2, 10],
    "retry_condition_fn": _outside_failed,
}


@task(**_STEP)
def look(case: str, as_of: datetime | None) -> Look:
    """What is looked at."""
    return Look(case=case, as_of=moment_of(Project.here().case(case), as_of))


@task(**_STEP)
def refer(look: Look) -> None:
    """The champion's reference, built when it is first met."""
    refer_to(Project.here(), look.case)


@task(**_STEP)
def scan(look: Look) -> Findings:
    """Freshness, contract and inputs of the window."""
    project = Project.here()
    newest = timedelta(hours=project.params(look.case).monitoring.stale_hours + 1)
    refused = read_refused(predictions_url(project), look.case, look.as_of - newest, look.as_of)
    with parallel_map(project.place.monitoring) as parallel:
        answers = _answers(project, look)
        found = scan_window(project, look.case, look.as_of, answers, refused=refused, parallel=parallel)
        return _heard(project, found)


@task(**_STEP)
def watch(look: Look) -> Findings:
    """The inputs, hour by hour."""
    project = Project.here()
    with parallel_map(project.place.monitoring) as parallel:
        return _heard(project, watch_hours(project, look.case, look.as_of, _answers(project, look), parallel=parallel))


@task(**_STEP)
def foresee(look: Look) -> Findings:
    """The champion's score, and the performance it promises before labels arrive."""
    project = Project.here()
    return _heard(project, foresee_performance(project, look.case, look.as_of, _answers(project, look)))


@task(**_STEP)
def rescore(look: Look) -> Findings:
    """Logged answers, scored again."""
    project = Project.here()
    return _heard(project, rescore_answers(project, look.case, look.as_of, _answers(project, look)))


@task(**_STEP)
def gather(look: Look) -> Gathered:
    """The labels that came in, joined with the log."""
    project = Project.here()
    return gather_labels(project, look.case, look.as_of, _answers(project, look))


@task(**_STEP)
def realise(look: Look) -> Findings:
    """Performance as labels show it."""
    project = Project.here()
    return _heard(project, realise_performance(project, look.case, look.as_of))


@task(**_STEP)
def detect(look: Look) -> Findings:
    """Whether the loss given the inputs changed."""
    project = Project.here()
    return _heard(project, detect_change(project, look.case, look.as_of))


@task(**_STEP)
def settle(look: Look, failures: dict[str, str]) -> Findings:
    """What failed to compute, as verdicts: unknown, with the error, and never taken for clear."""
    project = Project.here()
    champion = Registry(project).holder(look.case, "champion")
    window = (look.as_of - project.params(look.case).monitoring.window, look.as_of)
    verdicts = tuple(
        could_not_compute(look.case, monitor, window, champion.version if champion else None, why)
        for step, why in failures.items()
        for monitor in ANSWERED_BY.get(step, ())
    )
    return _heard(project, Findings(verdicts=verdicts))


@task(**_STEP)
def draw(look: Look) -> Path:
    """The report for people; the verdicts it shows point to it."""
    project, journal = Project.here(), Journal(Project.here())
    verdicts = [each for each in journal.standing(look.case, look.as_of).values() if each.as_of == look.as_of]
    report = draw_report(project, look.case, look.as_of, _answers(project, look), verdicts)
    shown = [verdict.model_copy(update={"report": str(report)}) for verdict in verdicts]
    journal.record(Findings(verdicts=tuple(shown)))
    return report


@task(**_STEP)
def triage(look: Look, in_flight: bool) -> Triaged:
    """The one action."""
    return triage_case(Project.here(), look.case, look.as_of, in_flight=in_flight)


@task(**_STEP)
def show(look: Look, triaged: Triaged) -> str:
    """The page of this run: what stands, what was done, and what is open."""
    project = Project.here()
    standing = Journal(project).standing(look.case, look.as_of)
    shown = page(triaged, list(standing.values()), Incidents(project).all(look.case, only_open=True))
    create_markdown_artifact(
        shown, key=f"{look.case}-verdicts", description=f"Verdicts of {look.case}, as of {look.as_of:%Y-%m-%d %H:%M}Z"
    )
    return shown


def failures(ended: Mapping[str, State[Any]]) -> dict[str, str]:
    """The steps that failed, and how."""
    errors = {name: state.result(raise_on_failure=False) for name, state in ended.items() if not state.is_completed()}
    return {name: f"{type(error).__name__}: {error}" for name, error in errors.items()}


def _answers(project: Project, look: Look) -> LoggedAnswers:
    return LoggedAnswers(predictions_url(project), look.case, fresh=segments_folder(project))


def _heard(project: Project, findings: Findings) -> Findings:
    """Write the findings down, and say each verdict as an event that users can hang automations on."""
    Journal(project).record(findings)
    for verdict in findings.verdicts:
        same = f"{verdict.case} {verdict.monitor} {verdict.version} {verdict.end} {verdict.as_of} {verdict.answer}"
        emit_event(
            event=f"evergreen.verdict.{verdict.monitor}.{verdict.answer}",
            resource={"prefect.resource.id": f"evergreen.case.{verdict.case}", "evergreen.case": verdict.case},
            payload=verdict.model_dump(mode="json", exclude={"evidence"}),
            id=uuid.uuid5(_EVENTS, same),
        )
    return findings
