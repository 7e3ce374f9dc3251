"""A stage that is handed over says and does what it would have done by itself, and nothing of it is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from configs.project import Project
from tasks.standby import ADDRESS

ANSWER = "data/stores/stages.socket"
SLOW = """
def validate(project, case, at_once):
    import os, time
    (project.root / "pid.txt").write_text(str(os.getpid()))
    time.sleep(30)
"""


def wait_until(what: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def standby(checkout: Project) -> "Iterator[subprocess.Popen[bytes]]":
    """The standby of the checkout's stages."""
    (checkout.root / ANSWER).parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "tasks.standby", ANSWER], cwd=checkout.root, stdin=subprocess.PIPE
    )
    wait_until((checkout.root / ANSWER).exists)
    yield process
    process.kill()
    process.communicate()


def stage(project: Project, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tasks", *arguments],
        cwd=project.root,
        env={**os.environ, ADDRESS: ANSWER, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def has_imported(process: "subprocess.Popen[bytes]", what: str) -> bool:
    return what in Path(f"/proc/{process.pid}/maps").read_text()


def alive(pid: int) -> bool:
    return "State:\tZ" not in path.read_text() if (path := Path(f"/proc/{pid}/status")).exists() else False


def write_stage(project: Project, code: str) -> None:
    """Put another stage `validate`, and an order for it, in the place of the real ones."""
    (project.root / "tasks/validation/validate.py").write_text(code)
    order = project.files("bikes").order
    order.parent.mkdir(parents=True, exist_ok=True)
    order.write_text("{}")


@pytest.mark.usefixtures("standby")
def test_a_stage_says_the_same_and_ends_with_the_same_code(checkout: Project) -> None:
    alone = stage(checkout, "validate", "bikes", **{ADDRESS: ""})
    handed_over = stage(checkout, "validate", "bikes")
    assert (handed_over.returncode, handed_over.stdout, handed_over.stderr) == (3, alone.stdout, alone.stderr)
    assert "NothingOrdered" in handed_over.stderr


def test_it_runs_in_a_copy_of_the_standby_with_its_own_environment_and_what_it_logs(
    checkout: Project, standby: "subprocess.Popen[bytes]"
) -> None:
    write_stage(
        checkout,
        "import logging, os\n"
        "def validate(project, case, at_once):\n"
        "    logging.getLogger('tasks').info('child of %s, %s', os.getppid(), os.environ['DVC_STAGE'])\n"
        "    print('and printed', flush=False)\n",
    )
    ended = stage(checkout, "validate", "bikes", DVC_STAGE="validate@bikes")
    assert ended.returncode == 0
    assert f"child of {standby.pid}, validate@bikes" in ended.stdout
    assert "and printed" in ended.stdout


@pytest.mark.usefixtures("standby")
def test_a_fault_in_the_code_is_told_and_is_not_a_success(checkout: Project) -> None:
    write_stage(checkout, "def validate(project, case, at_once):\n    raise KeyError('rentals')\n")
    ended = stage(checkout, "validate", "bikes")
    assert ended.returncode == 1
    assert "KeyError: 'rentals'" in ended.stderr


@pytest.mark.usefixtures("standby")
def test_the_code_is_read_when_the_stage_begins(checkout: Project) -> None:
    for word in ("before", "after"):
        write_stage(checkout, f"def validate(project, case, at_once):\n    print('{word}')\n")
        assert stage(checkout, "validate", "bikes").stdout == f"{word}\n"


def test_libraries_are_imported_once_the_first_stage_was_called(
    checkout: Project, standby: "subprocess.Popen[bytes]"
) -> None:
    assert not has_imported(standby, "sklearn")
    stage(checkout, "ingest", "bikes")
    wait_until(lambda: has_imported(standby, "matplotlib"))
    assert has_imported(standby, "sklearn")
    assert stage(checkout, "validate", "bikes").returncode == 3


def test_the_first_stage_is_handed_over_too_once_all_is_imported(
    checkout: Project, standby: "subprocess.Popen[bytes]"
) -> None:
    said = "import os\ndef ingest(project, case):\n    print('child of', os.getppid())\n"
    (checkout.root / "tasks/ingestion/ingest.py").write_text(said)
    write_stage(checkout, "")
    assert stage(checkout, "ingest", "bikes").stdout != f"child of {standby.pid}\n"
    wait_until(lambda: stage(checkout, "ingest", "bikes").stdout == f"child of {standby.pid}\n")


def test_the_copy_ends_with_the_stage_that_was_killed(checkout: Project, standby: "subprocess.Popen[bytes]") -> None:
    write_stage(checkout, SLOW)
    command = [sys.executable, "-m", "tasks", "validate", "bikes"]
    handed_over = subprocess.Popen(command, cwd=checkout.root, env={**os.environ, ADDRESS: ANSWER})
    note = checkout.root / "pid.txt"
    wait_until(lambda: note.exists() and note.read_text())
    copy = int(note.read_text())
    assert copy != handed_over.pid
    handed_over.send_signal(signal.SIGKILL)
    handed_over.wait()
    wait_until(lambda: not alive(copy))
    assert standby.poll() is None


def test_the_stage_ends_with_the_copy_that_was_killed(checkout: Project, standby: "subprocess.Popen[bytes]") -> None:
    write_stage(checkout, SLOW)
    command = [sys.executable, "-m", "tasks", "validate", "bikes"]
    handed_over = subprocess.Popen(command, cwd=checkout.root, env={**os.environ, ADDRESS: ANSWER})
    note = checkout.root / "pid.txt"
    wait_until(lambda: note.exists() and note.read_text())
    os.kill(int(note.read_text()), signal.SIGKILL)
    assert handed_over.wait(30) == 1
    assert standby.poll() is None


def test_a_stage_runs_by_itself_where_nobody_listens(checkout: Project, standby: "subprocess.Popen[bytes]") -> None:
    standby.kill()
    standby.wait()
    assert stage(checkout, "validate", "bikes").returncode == 3


def test_the_standby_ends_with_its_lifeline_and_leaves_no_address(
    checkout: Project, standby: "subprocess.Popen[bytes]"
) -> None:
    assert standby.stdin
    standby.stdin.close()
    assert standby.wait(30) == 0
    assert not (checkout.root / ANSWER).exists()
