"""The training flow on a real Prefect server, killed and asked as users do."""

import pytest

from tasks.adapters.history import History
from tasks.adapters.registry import ModelVersion, Registry
from tests.flows.conftest import AS_OF, RunningStack

pytestmark = pytest.mark.slow


def waiting_run(stack: RunningStack) -> str:
    [run] = [run for run in stack.api("/flow_runs/filter") if run["state_name"] == "Suspended"]
    return run["id"]


def run_state(stack: RunningStack, run_id: str) -> str:
    return stack.api(f"/flow_runs/{run_id}", get=True)["state_name"]


def first_version(stack: RunningStack) -> ModelVersion:
    version = Registry(stack.project).version("bikes", "1")
    assert version is not None
    return version


def answer_in_form(stack: RunningStack, run_id: str) -> None:
    incomplete = {"run_input": {"approve": "yes", "reviewer": "ada"}}
    assert stack.api(f"/flow_runs/{run_id}/resume", incomplete)["status"] == "REJECT", "a form without a reason"
    assert first_version(stack).status == "awaiting approval"
    form = {"approve": "yes", "reviewer": "ada", "reason": "as good as it gets", "share": 0.25}
    stack.wait_for(lambda: stack.api(f"/flow_runs/{run_id}/resume", {"run_input": form})["status"] == "ACCEPT")


def answer_in_shell(stack: RunningStack, run_id: str) -> None:
    words = ["--case", "bikes", "--by", "ada", "--reason", "as good as it gets", "--share", "0.25"]
    answered = stack.evergreen("approve", "1", *words)
    assert "version 1 is champion" in answered.stdout, answered.stdout + answered.stderr
    again = stack.evergreen("approve", "1", "--case", "bikes", "--by", "eve", "--reason", "me too")
    assert again.returncode == 0, "the same answer again changes nothing, and is no mistake"


@pytest.mark.parametrize(
    ("stack", "answer"), [("sqlite", answer_in_form), ("postgresql", answer_in_shell)], indirect=["stack"]
)
def test_a_question_waits_through_a_power_cut_and_takes_its_answer_from_anywhere(stack: RunningStack, answer) -> None:
    asked = stack.evergreen("train", "bikes", "--as-of", AS_OF, "--trigger", "test")
    assert asked.returncode == 0, asked.stderr
    run_id = waiting_run(stack)
    stack.kill_everything()
    stack.start()
    assert run_state(stack, run_id) == "Suspended"

    answer(stack, run_id)
    stack.wait_for(lambda: run_state(stack, run_id) == "Completed")

    tags = first_version(stack).tags
    assert tags["status"] == "champion"
    assert (tags["decided_by"], tags["starting_share"]) == ("ada", "0.25")
    assert tags["decided_because"] == "as good as it gets"
    assert len(Registry(stack.project).versions("bikes")) == 1, "what was done before the power cut is not done again"
    assert [event.what for event in History(stack.project).events("bikes")] == ["registered", "approving", "approved"]

    told = stack.wait_for(lambda: stack.predict("bikes"))
    assert (told["model_version"], told["role"]) == ("1", "champion"), "what was approved answers users"

    only_scheduled = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    scheduled = stack.wait_for(lambda: stack.api("/flow_runs/filter", only_scheduled))
    weekly = {run["parameters"]["case"] for run in scheduled if run["parameters"].get("trigger") == "weekly"}
    assert weekly == {"bikes", "flights"}, "an orchestrator that schedules nothing says nothing"
