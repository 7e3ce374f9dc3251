"""The ground-truth flow: from labels, whenever they come, to realised performance and to the one action."""

from datetime import datetime
from typing import Any

from prefect import State, flow

from flows import monitoring_steps as steps
from flows.notifying import tell
from flows.status_page import redraw
from flows.triggering import act, conclude, training_in_flight
from tasks.verdicts import Triaged


@flow(
    name="ground_truth",
    flow_run_name="{case}: ground truth",
    persist_result=True,
    on_completion=[redraw],
    on_failure=[redraw],
)
def ground_truth(case: str = "flights", as_of: datetime | None = None) -> Triaged:
    """Join the labels that came in with the predictions, judge the champion by them, and do what the verdicts ask for.

    A monitor that fails silences no other: its verdict is `unknown`, all else goes on, and the run ends red.
    """
    look = steps.look(case, as_of)
    monitors = (steps.refer, steps.gather, steps.realise, steps.detect)
    ended: dict[str, State[Any]] = {step.name: step(look, return_state=True) for step in monitors}
    steps.settle(look, steps.failures(ended))

    triaged = steps.triage(look, training_in_flight(case))
    ended |= {"act": act(triaged, return_state=True)}
    tell(case)
    steps.show(look, triaged)
    return conclude(triaged, steps.failures(ended))
