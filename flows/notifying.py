"""Telling people: alerts that are due go to the place's notification blocks, or to the log where there is none."""

import logging
from typing import Any

from prefect import task
from prefect.blocks.core import Block
from prefect.cache_policies import NO_CACHE

from configs.alerts import MAIL
from configs.project import Project
from flows.clock import now
from tasks.adapters.incidents import Incidents
from tasks.notification.mail import mail
from tasks.notification.message import body, subject
from tasks.rollout.alert import alert as alert_of_rollouts
from tasks.triage.incident import Alert

log = logging.getLogger(__name__)

LOG = "log"


def tell(case: str) -> None:
    """Send what has not been sent about a case. A channel that fails is named in the log and in the journal.

    It fails nothing else, and is tried again by the next run; which also finds a rollback whose run died before this.
    """
    alert_of_rollouts(Project.here(), case, now())
    incidents = Incidents(Project.here())
    about = {incident.id for incident in incidents.all(case)}
    for alert in incidents.alerts(unsent=True):
        if alert.incident in about:
            state = send(alert, return_state=True)
            error = state.result(raise_on_failure=False)
            failed = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else ""
            if failed:
                log.error("alert about incident %s was not sent to %s: %s", alert.incident, alert.channel, failed)
            tried = {"tries": alert.tries + 1, "sent": not failed, "error": failed}
            incidents.keep([], [alert.model_copy(update=tried)])


@task(retries=2, retry_delay_seconds=[2, 5], cache_policy=NO_CACHE, task_run_name="tell {alert.channel}")
def send(alert: Alert) -> None:
    """Send one alert through one channel."""
    project = Project.here()
    incident = Incidents(project).one(alert.incident)
    head, text = subject(incident, alert.moment), body(incident, alert.moment, project.place.alerts.runbook)
    deliver(alert.channel, head, text)


def deliver(channel: str, head: str, text: str) -> None:
    """Send one message through one channel. Raises what the channel raises."""
    if channel == LOG:
        log.warning("%s\n%s", head, text)
        return
    server = Project.here().place.alerts.mail if channel == MAIL else None
    if server:
        mail(server, head, text)
        return
    block: Any = Block.load(channel)
    # Without this, a block that could not send says nothing.
    with block.raise_on_failure():
        block.notify(text, head, _sync=True)
