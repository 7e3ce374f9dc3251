"""What the Prefect server does by itself."""

import logging
from datetime import timedelta

from prefect.automations import Automation
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture

log = logging.getLogger(__name__)


async def watch_for_dead_runs() -> None:
    """A run whose heartbeats stop is marked as crashed; without this, one killed with its worker stays `Running`."""
    ended = {
        f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed", "Suspended", "Paused")
    }
    watch = Automation(
        name="evergreen: dead runs",
        description="A run without a heartbeat for 90 seconds has crashed.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *ended},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=90),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="no heartbeat for 90 seconds")],
    )
    try:
        existing = await Automation.aread(name=watch.name)
    except ValueError:
        await watch.acreate()
    else:
        log.debug("the watch over dead runs is there (%s)", existing.id)
