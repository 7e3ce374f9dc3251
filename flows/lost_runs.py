"""A run whose process is gone, told by its silence."""

import logging
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Crashed

log = logging.getLogger(__name__)

RESOURCE = "prefect.flow-run."


@flow(name="lost-runs", flow_run_name="{resource}")
def end_lost_run(resource: str) -> bool:
    """Mark a run as crashed if it still runs as far as the server knows; whether it did.

    Silence alone proves nothing: a run that waits for a person sends no heartbeats either, and the event that says so
    may be late.
    """
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(resource.removeprefix(RESOURCE)))
        if run.state is None or not run.state.is_running():
            log.info("%s is %s: nothing to do", run.name, run.state_name)
            return False
        client.set_flow_run_state(run.id, Crashed(message="no heartbeat for 90 seconds"), force=True)
        return True
