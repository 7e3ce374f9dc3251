"""The status page is written at the end of a run and by a command; one that cannot be written turns no run red."""

import json
import os
import subprocess
import sys

import pytest

from configs.project import Project
from flows import status_page
from flows.server import Stack, stack_file
from flows.status_page import _addresses, draw_now
from tasks.files import write_text
from tests.command import evergreen
from tests.flows.conftest import SAID

UP = Stack(
    pid=os.getpid(),
    prefect_api="http://127.0.0.1:4200/api",
    prefect_ui="http://127.0.0.1:4200",
    mlflow_ui="http://127.0.0.1:5000",
    gateway="http://127.0.0.1:8080",
)


def at(project: Project, prefect: str, mlflow: str) -> Project:
    place = project.root / "configs/places/local.yaml"
    text = place.read_text().replace("sqlite:///data/stores/mlflow.db", mlflow)
    place.write_text(f"{text}prefect:\n  api_url: {prefect}\n")
    return Project(project.root)


def test_without_servers_there_are_no_links_to_them(checkout: Project) -> None:
    assert (_addresses(checkout).prefect, _addresses(checkout).mlflow) == (None, None)


def test_a_running_stack_is_linked_to(checkout: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(stack_file(checkout), json.dumps(UP.model_dump()))
    monkeypatch.setattr(status_page, "running_stack", lambda _: UP)
    found = _addresses(checkout)
    assert (found.prefect, found.mlflow) == ("http://127.0.0.1:4200", "http://127.0.0.1:5000")


def test_the_servers_of_a_place_are_linked_to_without_their_passwords(checkout: Project) -> None:
    place = at(checkout, "https://ada:hunter2@prefect.example/api", "https://ada:hunter2@mlflow.example/")
    found = _addresses(place)
    assert (found.prefect, found.mlflow) == ("https://prefect.example", "https://mlflow.example")


def test_the_page_of_a_new_clone_is_written_where_the_gateway_looks(clone: Project) -> None:
    assert draw_now(clone) == clone.status_page
    assert "Nothing has happened yet." in clone.status_page.read_text()


@pytest.mark.slow
def test_a_training_leaves_a_page_that_tells_of_it_and_the_command_writes_another(trained: Project) -> None:
    assert "the status page" in (trained.stores / SAID).read_text()
    drawn = trained.status_page.read_text()
    assert "Training passed the gate: version 1" in drawn
    assert "version 1 became champion: auto_approve: first_model" in drawn
    output = trained.root / "elsewhere.html"
    told = evergreen(trained, "page", "--output", str(output))
    assert told.returncode == 0, told.stderr
    assert "Training passed the gate: version 1" in output.read_text()
    assert "data/stores/status/index.html" in evergreen(trained, "status", "bikes").stdout


@pytest.mark.slow
def test_a_page_that_cannot_be_written_is_an_error_in_the_log_of_a_run_that_stays_green(clone: Project) -> None:
    clone.status_page.mkdir(parents=True)  # a folder stands where the page should
    script = (
        "from flows.embedded import embedded\n"
        "with embedded():\n"
        "    from prefect import flow\n"
        "    from flows.status_page import redraw\n"
        "    @flow(on_completion=[redraw])\n"
        "    def loop(): return 7\n"
        "    print('gave', loop(return_state=True).name)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "EVERGREEN_ROOT": str(clone.root), "PYTHONPATH": str(clone.root)},
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    assert "gave Completed" in ended.stdout
    assert "An error was encountered while running hook 'redraw'" in ended.stderr
    assert "IsADirectoryError" in ended.stderr
