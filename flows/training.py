"""The training flow: from deliveries to a champion."""

from datetime import datetime

from prefect import flow

from flows import steps
from flows.approval import ask_person
from flows.status_page import redraw
from tasks.records import Registered, Status


@flow(
    name="training",
    flow_run_name="{case}: {trigger}",
    persist_result=True,
    on_completion=[steps.end_turn, redraw],
    on_failure=[steps.end_turn, redraw],
    on_crashed=[steps.end_turn, redraw],
)
def training(
    case: str = "flights",
    as_of: datetime | None = None,
    trigger: str = "by hand",  # noqa: ARG001 - the run is named after it
    recent: bool = False,
    since: datetime | None = None,
) -> Registered:
    """Validate what was delivered, train on it, judge the result against the champion, and ask whether it may serve.

    A candidate that the gate turns away ends the flow green, and the champion stays; a broken delivery ends it red.
    `recent`: train on the last `triage.recent_batches` alone, because the world before them is gone; on those of them
    that came `since` then, where it is known when that was.
    """
    steps.take_turn(case)
    ordered = steps.order(case, as_of, recent, since)
    steps.ingest(ordered)
    steps.validate(ordered)
    steps.train(ordered)

    registered = steps.known(ordered)
    if registered is None:
        steps.evaluate(ordered)
        steps.refit(ordered)
        steps.push(ordered)
        registered = steps.register(ordered)

    if registered.status is not Status.awaiting:
        return registered
    approval = steps.ask_policy(registered)
    return steps.decide(approval) if approval else ask_person(registered)
