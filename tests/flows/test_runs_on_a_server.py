"""Runs that were retried, refused or left without an answer, on a real Prefect server of a place that refuses."""

import os
from typing import Any

import pytest

from tasks.adapters.history import History
from tasks.adapters.locks import acquire
from tasks.adapters.registry import ModelVersion, Registry
from tests.conftest import change_params
from tests.flows.conftest import AS_OF, RunningStack

pytestmark = pytest.mark.slow
ENDED = {"Completed", "Failed", "Crashed", "Cancelled", "Suspended"}


def run_now(stack: RunningStack, deployment: str, **parameters: str) -> str:
    """Start a run of a deployment, as the Prefect UI does; gives its id."""
    found = stack.api(f"/deployments/name/{deployment}", get=True)
    asked = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
    return str(stack.api(f"/deployments/{found['id']}/create_flow_run", asked)["id"])


def retry(stack: RunningStack, run: str) -> None:
    """What the button Retry of the Prefect UI does."""
    again = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}}
    assert stack.api(f"/flow_runs/{run}/set_state", again)["status"] == "ACCEPT"


def ended(stack: RunningStack, run: str) -> tuple[str, str]:
    """The state in which a run ends or waits for a person, and what it says."""

    def state() -> Any:
        now = stack.api(f"/flow_runs/{run}", get=True)["state"]
        return now if now["name"] in ENDED else None

    found = stack.wait_for(state, 180)
    return found["name"], found["message"] or ""


def version_1(stack: RunningStack) -> ModelVersion | None:
    return Registry(stack.project).version("bikes", "1")


@pytest.mark.parametrize("stack", ["refusing"], indirect=True)
def test_runs_that_are_retried_refused_or_left_unanswered_end_as_they_should(stack: RunningStack) -> None:
    remote, turn = stack.project.stores / "dvc-remote", stack.project.stores / "bikes.training.lock"
    remote.write_text("a file where the folder should be")
    run = run_now(stack, "training/bikes", case="bikes", as_of=AS_OF, trigger="test")
    name, message = ended(stack, run)
    assert (name, "The DVC remote cannot be reached" in message) == ("Failed", True), message

    # Retried while another run has the turn: the kept steps are not repeated, but the turn is taken, so it is refused.
    remote.unlink()
    other = acquire(turn, wait=False)
    refused = f"AlreadyTraining: A training run of `bikes` is under way (process {os.getpid()})"
    retry(stack, run)
    name, message = ended(stack, run)
    assert (name, refused in message) == ("Failed", True), message
    assert version_1(stack) is None
    os.close(other)
    retry(stack, run)
    assert ended(stack, run)[0] == "Suspended"
    asked = version_1(stack)
    assert asked is not None
    assert asked.status == "awaiting approval"

    # A second run is refused in the same words as without a server; who was asked may answer meanwhile.
    other = acquire(turn, wait=True)  # the process of the suspended run ends a moment after it says so
    name, message = ended(stack, run_now(stack, "training/bikes", case="bikes", as_of=AS_OF, trigger="second"))
    assert (name, refused in message) == ("Failed", True), message

    change_params(stack.project.root, "bikes", {"approval.expires_after_hours": 1e-6})
    assert ended(stack, run_now(stack, "expiry/hourly"))[0] == "Completed"
    name, message = ended_after_suspension(stack, run)
    assert name == "Completed", message
    os.close(other)
    left = version_1(stack)
    assert left is not None
    assert left.status == "rejected: expired"
    assert (left.tags["decided_by"], left.tags["decided_through"]) == ("expiry", "expiry")
    assert [event.what for event in History(stack.project).events("bikes")] == ["registered", "rejected"]


def ended_after_suspension(stack: RunningStack, run: str) -> tuple[str, str]:
    stack.wait_for(lambda: stack.api(f"/flow_runs/{run}", get=True)["state"]["name"] != "Suspended")
    return ended(stack, run)
