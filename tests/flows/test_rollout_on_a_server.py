"""A rollout on a real Prefect server: started by an approval, asked about in a form, stepped into from the UI."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from configs.project import Project
from tasks.adapters.history import History
from tasks.promotion.decide import Desk
from tasks.records import Rollout
from tests.conftest import change_params
from tests.flows.conftest import RunningStack, _on_free_ports
from tests.promotion.conftest import aliases, standing

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bikes")]

QUICK: dict[str, Any] = {
    "strategy": "shadow-canary",
    "steps": [0.5, 1.0],
    "shadow": {"hours": 0, "requests": 0},
    "canary": {"hours": 0, "requests": 0},
    "load": {"latency_ms": 5000, "rows": 5},
    "warm_hours": 0,
    "look_seconds": 1,
    "approvals": ["start", "full"],
}
SIGNED = {"reviewer": "ada", "reason": "as good as it gets"}


@pytest.fixture
def stack(served_before: Project) -> Iterator[RunningStack]:
    """A clone in which `evergreen up` runs, and bike model 3 waits for an approval."""
    change_params(served_before.root, "bikes", {"rollout": QUICK, "approval.expires_after_hours": 1e7})
    _on_free_ports(served_before)
    running = RunningStack(
        served_before, {**os.environ, "EVERGREEN_ROOT": str(served_before.root), "PYTHONPATH": str(served_before.root)}
    )
    running.start()
    yield running
    running.stop()


def state(stack: RunningStack) -> Rollout | None:
    return Desk(stack.project, "bikes").rollout()


def standing_of(stack: RunningStack) -> str:
    found = state(stack)
    return found.standing if found else ""


def runs(stack: RunningStack, name: str) -> list[dict[str, Any]]:
    wanted = {"flow_runs": {"state": {"name": {"any_": [name]}}}, "flows": {"name": {"any_": ["rollout"]}}}
    return list(stack.api("/flow_runs/filter", wanted))


def started(stack: RunningStack, deployment: str, parameters: dict[str, Any]) -> str:
    found = stack.api(f"/deployments/name/{deployment}", get=True)
    run = stack.api(f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters})
    return str(run["id"])


def test_an_approval_starts_the_run_a_form_asks_before_full_traffic_and_a_button_takes_it_back(
    stack: RunningStack,
) -> None:
    stack.wait_for(lambda: stack.predict("bikes"))
    approved = stack.evergreen("approve", "3", "--case", "bikes", "--by", "ada", "--reason", "better everywhere")
    assert approved.returncode == 0, approved.stderr
    assert "3 is rolling out" in approved.stdout

    stack.wait_for(lambda: standing_of(stack) == "asking", 180)
    asking = state(stack)
    assert asking is not None
    assert asking.stage.name == "canary 50 %"
    [run] = stack.wait_for(lambda: runs(stack, "Suspended"))
    wrong = stack.api(f"/flow_runs/{run['id']}/resume", {"run_input": {"wish": "perhaps", **SIGNED}})
    assert wrong["status"] == "REJECT", "a form that was not filled in"
    # As the form does; and tried again where SQLite under load answers 503.
    answered = stack.evergreen("rollout", "bikes", "--go-on", "--by", "ada", "--reason", "as good as it gets")
    assert answered.returncode == 0, answered.stderr
    stack.wait_for(lambda: standing_of(stack) == "done", 120)
    assert aliases(stack.project) == {"champion": "3", "retired": "2"}
    who = [(event.what, event.by) for event in History(stack.project).events("bikes")[-7:]]
    assert ("rollout", "ada") in who
    assert who[-3:] == [("approving", "rollout"), ("approved", "rollout"), ("rollout", "rollout")]
    artifacts = stack.api("/artifacts/filter", {"artifacts": {"key": {"any_": ["bikes-rollout"]}}})
    assert any("| errors | passed |" in artifact["data"] for artifact in artifacts)

    back = {"case": "bikes", "version": "3", "by": "grace", "reason": "complaints"}
    rollback = started(stack, "rollback/bikes", back)
    stack.wait_for(lambda: stack.api(f"/flow_runs/{rollback}", get=True)["state_name"] == "Completed")
    assert aliases(stack.project)["champion"] == "2"
    assert standing(stack.project)["3"] == "rolled back"
    stack.wait_for(lambda: stack.predict("bikes")["model_version"] == "2")
