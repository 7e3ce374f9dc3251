"""What the Prefect server does by itself."""

from datetime import timedelta

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import EventTrigger, Posture

from flows.lost_runs import RESOURCE


async def refuse_second_runs() -> None:
    """Start a second training run at once, for its turn to refuse it, instead of keeping it until the first has ended.

    Prefect's own way to refuse, CANCEL_NEW, also cancels a run that a person has just answered, and the answer is lost.
    """
    async with get_client() as client:
        for deployment in await client.read_deployments(flow_filter=FlowFilter(name=FlowFilterName(any_=["training"]))):
            await client.update_deployment(deployment.id, DeploymentUpdate(concurrency_limit=None))


async def watch_for_dead_runs() -> None:
    """A run whose heartbeats stop is looked after; without this, one killed with its worker stays `Running`."""
    ended = {
        f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed", "Suspended", "Paused")
    }
    async with get_client() as client:
        deployment = await client.read_deployment_by_name("lost-runs/lost-runs")
    watch = Automation(
        name="evergreen: dead runs",
        description="A run without a heartbeat for 90 seconds that does not wait for anybody has crashed.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *ended},
            match={"prefect.resource.id": f"{RESOURCE}*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=90),
        ),
        actions=[RunDeployment(deployment_id=deployment.id, parameters={"resource": "{{ event.resource.id }}"})],
    )
    try:
        existing = await Automation.aread(name=watch.name)
    except ValueError:
        await watch.acreate()
    else:
        watch.id = existing.id
        await watch.aupdate()
