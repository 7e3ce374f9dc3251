"""The training flow on a real Prefect server, killed and asked as users do."""

import pytest

from tasks.adapters.history import History
from tasks.adapters.registry import Registry
from tests.flows.conftest import RunningStack

pytestmark = pytest.mark.slow
AS_OF = "2011-04-11T02:00"
"""What the clone's chain was run for, so that the server finds it done."""


def waiting_runs(stack: RunningStack) -> list[dict]:
    return [run for run in stack.api("/flow_runs/filter") if run["state_name"] == "Suspended"]


def run_state(stack: RunningStack, run_id: str) -> str:
    return stack.api(f"/flow_runs/{run_id}", get=True)["state_name"]


def test_an_approval_waits_through_a_power_cut_and_is_answered_by_the_form(stack: RunningStack) -> None:
    asked = stack.evergreen("train", "bikes", "--as-of", AS_OF, "--trigger", "test")
    assert asked.returncode == 0, asked.stderr
    [run] = waiting_runs(stack)
    stack.kill_everything()
    stack.start()
    assert run_state(stack, run["id"]) == "Suspended"

    refused = stack.api(f"/flow_runs/{run['id']}/resume", {"run_input": {"approve": True, "reviewer": "x"}})
    assert refused["status"] == "REJECT", "a form without a reason must not be taken"
    assert Registry(stack.project).version("bikes", "1").status == "awaiting approval"

    form = {"approve": True, "reviewer": "ada", "reason": "as good as it gets", "share": 0.25}
    stack.wait_for(lambda: stack.api(f"/flow_runs/{run['id']}/resume", {"run_input": form})["status"] == "ACCEPT", 30)
    stack.wait_for(lambda: run_state(stack, run["id"]) == "Completed")

    version = Registry(stack.project).version("bikes", "1")
    assert version.status == "champion"
    assert (version.tags["decided_by"], version.tags["decided_through"]) == ("ada", "form")
    assert (version.tags["decided_because"], version.tags["starting_share"]) == ("as good as it gets", "0.25")
    assert len(Registry(stack.project).versions("bikes")) == 1, "what was done before the power cut is not done again"
    assert [event.what for event in History(stack.project).events("bikes")] == ["registered", "approving", "approved"]

    scheduled = stack.wait_for(
        lambda: stack.api("/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})
    )
    weekly = [run for run in scheduled if run["parameters"].get("trigger") == "weekly"]
    assert {run["parameters"]["case"] for run in weekly} == {"bikes", "flights"}, "a cron that schedules nothing is silent"


@pytest.mark.parametrize("stack", ["sqlite"], indirect=True)
def test_the_command_line_answers_the_waiting_run_like_the_form(stack: RunningStack) -> None:
    stack.evergreen("train", "bikes", "--as-of", AS_OF)
    [run] = waiting_runs(stack)
    answered = stack.evergreen("approve", "1", "--case", "bikes", "--by", "ada", "--reason", "from the shell")
    assert "version 1 is champion" in answered.stdout, answered.stdout + answered.stderr
    assert run_state(stack, run["id"]) == "Completed"
    assert Registry(stack.project).version("bikes", "1").tags["decided_by"] == "ada"

    again = stack.evergreen("approve", "1", "--case", "bikes", "--by", "eve", "--reason", "me too")
    assert again.returncode == 0
    assert Registry(stack.project).version("bikes", "1").tags["decided_by"] == "ada", "a second answer changes nothing"
