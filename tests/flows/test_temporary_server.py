"""Prefect's temporary server: there for the flows of one process, and gone with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from configs.project import Project
from tests.conftest import ROOT
from tests.flows.conftest import processes_of, with_prefect

pytestmark = pytest.mark.slow
_PATIENCE = 60
_OWN = '["-P", str(os.getpid()), "-f", "flows.temporary_server"]'
"""For pgrep and pkill: the server that a process has begun."""
_SAYS = """
import os, subprocess, sys, time
from flows.embedded import embedded
with embedded():
    from prefect import flow
    @flow
    def said(word):
        return word
    assert said("yes") == "yes"
"""


def process(project: Project, code: str, **environment: str) -> "subprocess.Popen[str]":
    """A process of the project that runs this code."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "EVERGREEN_ROOT": str(project.root), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(begun: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = begun.communicate(timeout=_PATIENCE)
    return begun.returncode, out, " ".join(err.split())


def gone(project: Project) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while processes_of(project) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not processes_of(project)


@pytest.fixture
def home(checkout: Project, empty_prefect: Path) -> Project:
    return with_prefect(checkout, empty_prefect)


def test_a_flow_runs_on_one_server_that_nothing_else_takes_for_the_place_s_own(home: Project) -> None:
    tells = f"""
    print(subprocess.check_output(["pgrep", *{_OWN}], text=True).count("\\n"))
    print("prefect.server" in sys.modules, os.environ.get("PREFECT_API_URL"))
"""
    assert ended(process(home, _SAYS + tells)) == (0, "1\nFalse None\n", "")
    assert processes_of(home) == [], "the command waits for its server's end"


def test_it_ends_with_a_process_that_is_killed(home: Project) -> None:
    begun = process(home, f"{_SAYS}    print('said', flush=True)\n    time.sleep(600)\n")
    assert begun.stdout is not None
    assert begun.stdout.readline() == "said\n"
    assert len(processes_of(home)) == 2
    begun.send_signal(signal.SIGKILL)
    begun.communicate(timeout=_PATIENCE)
    assert gone(home)


def test_a_command_that_is_interrupted_while_it_gets_ready_leaves_nothing_behind(home: Project) -> None:
    begun = process(home, "from flows.embedded import embedded\nwith embedded():\n    import time; time.sleep(600)\n")
    deadline = time.monotonic() + _PATIENCE
    while len(processes_of(home)) < 2:
        assert time.monotonic() < deadline
    begun.send_signal(signal.SIGINT)
    code, _, err = ended(begun)
    assert code != 0
    assert "KeyboardInterrupt" in err
    assert processes_of(home) == []


def test_what_fails_because_it_is_gone_says_so(home: Project) -> None:
    kills = f'    subprocess.run(["pkill", "-KILL", *{_OWN}])\n    said("again")\n'
    code, _, err = ended(process(home, _SAYS + kills))
    assert code == 1
    assert "Prefect's temporary server cannot be reached" in err
    assert "it ended with -9" in err


def test_what_fails_for_another_reason_is_told_as_it_is(home: Project) -> None:
    code, _, err = ended(process(home, f"{_SAYS}    raise KeyError('rentals')\n"))
    assert (code, err.endswith("KeyError: 'rentals'")) == (1, True)


def test_a_server_that_the_environment_names_is_used_instead(home: Project) -> None:
    code, _, err = ended(process(home, _SAYS, PREFECT_API_URL="http://127.0.0.1:9/api"))
    assert code == 1
    assert "http://127.0.0.1:9/api" in err


def test_it_cannot_come_after_prefect(home: Project) -> None:
    code, _, err = ended(process(home, f"import prefect.settings\n{_SAYS}"))
    assert code == 1
    assert "Prefect was imported before its temporary server was begun" in err
