"""The workflows keep their promises: pinned actions, few permissions, strict shells, commands that exist."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
import yaml

from configs.project import Project
from flows import cli, github_page

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
NAMES = sorted(path.name for path in FOLDER.glob("*.yml"))
PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
COMMANDS = {
    "evergreen": typer.main.get_command(cli.app),
    "python -m flows.github_page": typer.main.get_command(github_page.app),
}


def workflow(name: str) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true; as strings, everything stays what it is.
    loaded: dict[str, Any] = yaml.load((FOLDER / name).read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    return loaded


def jobs() -> list[Any]:
    return [pytest.param(job, id=f"{name}:{key}") for name in NAMES for key, job in workflow(name)["jobs"].items()]


def scripts() -> list[Any]:
    return [
        pytest.param(step["run"], id=f"{name}:{key}:{number}")
        for name in NAMES
        for key, job in workflow(name)["jobs"].items()
        for number, step in enumerate(job["steps"])
        if "run" in step
    ]


def commands(program: str) -> Iterator[tuple[str, str]]:
    """Every call of `program` in the workflows: the subcommand, and the rest of its line."""
    for parameter in scripts():
        for found in re.finditer(rf"(?:^|[\s/(]){re.escape(program)} ([a-z]+)([^\n]*)", parameter.values[0]):
            yield found[1], found[2]


def test_there_are_checks_and_a_pipeline() -> None:
    assert NAMES == ["checks.yml", "pipeline.yml"]


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_pinned_to_a_commit_and_say_which_version_it_is(name: str) -> None:
    lines = [line.strip().removeprefix("- ") for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]
    used = [line for line in lines if line.startswith("uses:")]

    assert used
    assert [line for line in used if not PINNED.fullmatch(line)] == []


def test_an_action_is_the_same_version_everywhere() -> None:
    used = {
        line.split("uses: ")[1]
        for name in NAMES
        for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()
        if "uses: " in line
    }

    assert len({entry.partition("@")[0] for entry in used}) == len(used)


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_may_only_read_unless_a_job_says_more(name: str) -> None:
    assert workflow(name)["permissions"] == {"contents": "read"}


def test_only_the_comment_may_write_and_it_runs_nothing_of_the_pull_request() -> None:
    writers = {
        key: job["permissions"]
        for name in NAMES
        for key, job in workflow(name)["jobs"].items()
        if "write" in job.get("permissions", {}).values()
    }
    comment = workflow("checks.yml")["jobs"]["comment"]

    assert writers == {"comment": {"pull-requests": "write"}}
    assert "github.event.pull_request.head.repo.full_name == github.repository" in comment["if"]
    assert not any("checkout" in step.get("uses", "") for step in comment["steps"])


def test_no_workflow_runs_a_forks_code_with_our_rights() -> None:
    assert not any({"pull_request_target", "workflow_run"} & set(workflow(name)["on"]) for name in NAMES)


@pytest.mark.parametrize("job", jobs())
def test_a_job_ends_by_itself(job: dict[str, Any]) -> None:
    assert 0 < int(job["timeout-minutes"]) <= 60


@pytest.mark.parametrize("script", scripts())
def test_a_script_of_several_lines_stops_at_the_first_error(script: str) -> None:
    assert "\n" not in script.strip() or script.startswith("set -euo pipefail\n")


@pytest.mark.parametrize("script", scripts())
def test_nothing_is_pasted_into_a_script(script: str) -> None:
    assert "${{" not in script


def test_the_scripts_beside_the_workflows_are_strict_too() -> None:
    for script in (ROOT / ".github").glob("*.sh"):
        assert "\nset -euo pipefail\n" in script.read_text(encoding="utf-8")


def test_the_pipeline_runs_on_main_weekly_and_by_hand() -> None:
    on = workflow("pipeline.yml")["on"]
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    training = [d for d in deployments if d["entrypoint"] == "flows/training.py:training"]
    weekly = {s["cron"] for d in training for s in d["schedules"]}

    assert on["push"] == {"branches": ["main"]}
    assert on["schedule"] == [{"cron": "0 2 * * 1"}]
    assert weekly == {"0 2 * * 1"}
    assert set(on["workflow_dispatch"]["inputs"]) == {"case", "as_of"}


def test_every_case_can_be_chosen() -> None:
    case = workflow("pipeline.yml")["on"]["workflow_dispatch"]["inputs"]["case"]

    assert sorted(case["options"]) == Project(ROOT).cases
    assert case["default"] in case["options"]


def test_a_promotion_comes_after_a_person_and_only_if_a_version_waits() -> None:
    pipeline = workflow("pipeline.yml")["jobs"]
    asking = [key for key, job in pipeline.items() if job.get("environment") == "production"]
    promoting = [
        key for key, job in pipeline.items() if any("evergreen approve" in s.get("run", "") for s in job["steps"])
    ]

    assert asking == ["approval"]
    assert promoting == ["promote"]
    assert set(pipeline["promote"]["needs"]) == {"train", "approval"}
    assert "if" not in pipeline["promote"]  # an `if` could let it run after a refusal
    assert "needs.train.outputs.version != ''" in pipeline["approval"]["if"]
    assert "needs.train.outputs.protected == 'yes'" in pipeline["approval"]["if"]


def test_the_stores_have_one_writer_and_nobody_holds_them_while_a_person_thinks() -> None:
    pipeline = workflow("pipeline.yml")
    holding = {key: job["concurrency"] for key, job in pipeline["jobs"].items() if "concurrency" in job}
    one_writer = {"group": "stores", "cancel-in-progress": "false"}

    assert holding == {"train": one_writer, "promote": one_writer}
    assert "concurrency" not in pipeline


def test_what_could_not_be_restored_is_not_kept() -> None:
    for job in workflow("pipeline.yml")["jobs"].values():
        for step in job["steps"]:
            if "the stores" in step.get("name", "") and step["name"].startswith(("Pack", "Keep")):
                assert step["if"] == "${{ !cancelled() && steps.restore.outcome == 'success' }}"


@pytest.mark.parametrize("program", COMMANDS)
def test_every_command_exists_and_so_do_its_options(program: str) -> None:
    group = COMMANDS[program]
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    called = list(commands(program))

    assert called
    for name, rest in called:
        known = {option for parameter in group.commands[name].params for option in parameter.opts}
        assert set(re.findall(r"(?<=\s)--[a-z-]+", rest)) <= known, f"{program} {name}{rest}"


def test_the_training_step_gives_options_that_exist() -> None:
    known = {option for parameter in COMMANDS["evergreen"].commands["train"].params for option in parameter.opts}  # type: ignore[attr-defined]

    assert {"--as-of", "--trigger"} <= known


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    assert {name for name, _ in commands("make")} <= targets


def test_the_linter_is_locked() -> None:
    folder = ROOT / ".ci" / "lint-workflows"
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))["dependencies"]
    locked = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))["packages"]

    for name, version in wanted.items():
        entry = locked[f"node_modules/{name}"]
        assert entry["version"] == version
        assert entry["integrity"].startswith("sha512-")
        assert "resolved" not in entry
