"""What a note of a running stack is worth when its process is gone."""

import os
from pathlib import Path

import pytest

from configs.project import Project
from flows.server import Stack, running_stack, stack_file

CLOSED = "http://127.0.0.1:9"


def test_a_number_that_a_process_of_somebody_else_has_since_is_no_stack_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path)
    project.stores.mkdir(parents=True)
    stack = Stack(pid=1, prefect_api=f"{CLOSED}/api", prefect_ui=CLOSED, mlflow_ui=CLOSED, gateway=CLOSED)
    stack_file(project).write_text(stack.model_dump_json(), encoding="utf-8")
    asked: list[int] = []

    def of_somebody_else(pid: int, signal: int) -> None:
        asked.append(pid)
        raise PermissionError(1, f"Operation not permitted: {signal}")

    monkeypatch.setattr(os, "kill", of_somebody_else)  # what the system says of such a process, whoever runs this test
    assert running_stack(project) is None
    assert asked == [1]
