"""What the Prefect server does by itself."""

import logging
from datetime import timedelta

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture

log = logging.getLogger(__name__)


async def refuse_second_runs() -> None:
    """Start a second training run at once, for its turn to refuse it, instead of keeping it until the first has ended.

    Prefect's own way to refuse, CANCEL_NEW, also cancels a run that a person has just answered, and the answer is lost.
    """
    async with get_client() as client:
        for deployment in await client.read_deployments(flow_filter=FlowFilter(name=FlowFilterName(any_=["training"]))):
            await client.update_deployment(deployment.id, DeploymentUpdate(concurrency_limit=None))


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
