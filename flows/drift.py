"""The drift flow: from the prediction log to verdicts, before any label is there, and to the one action."""

from datetime import datetime
from typing import Any

from prefect import State, flow

from flows import monitoring_steps as steps
from flows.notifying import tell
from flows.status_page import redraw
from flows.triggering import act, conclude, training_in_flight
from tasks.verdicts import Triaged


@flow(
    name="drift",
    flow_run_name="{case}: drift",
    persist_result=True,
    on_completion=[redraw],
    on_failure=[redraw],
)
def drift(case: str = "flights", as_of: datetime | None = None) -> Triaged:
    """Compare the window that ends at the as-of with the champion's reference, and do what the verdicts ask for.

    A monitor that fails silences no other: its verdict is `unknown`, all else goes on, and the run ends red.
    """
    look = steps.look(case, as_of)
    monitors = (steps.refer, steps.scan, steps.watch, steps.foresee, steps.rescore)
    ended: dict[str, State[Any]] = {step.name: step(look, return_state=True) for step in monitors}
    steps.settle(look, steps.failures(ended))
    ended |= {"draw": steps.draw(look, return_state=True)}

    triaged = steps.triage(look, training_in_flight(case))
    ended |= {"act": act(triaged, return_state=True)}
    tell(case)
    steps.show(look, triaged)
    return conclude(triaged, steps.failures(ended))
