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
from tests.flows.conftest import with_prefect

pytestmark = pytest.mark.slow
_PATIENCE = 60
_ASKS = """
import os, sys
from flows.embedded import embedded
{before}
with embedded():
    from prefect import flow
    @flow
    def said(word: str) -> str:
        return word
    assert said("yes") == "yes"
    print(os.environ["PREFECT_API_URL"], "prefect.server" in sys.modules, flush=True)
    {then}
"""


def begun(project: Project, *, before: str = "", then: str = "") -> "subprocess.Popen[str]":
    """A process that runs a flow on a temporary server, and goes on with `then`."""
    code = _ASKS.format(before=before, then=then)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "EVERGREEN_ROOT": str(project.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def servers(project: Project) -> list[Path]:
    """The temporary servers of the project that run."""
    here = f"EVERGREEN_ROOT={project.root}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words, told = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue  # gone meanwhile, or not ours to read
        if b"flows.temporary_server" in words and here in told.split(b"\0"):
            found.append(folder)
    return found


def gone(project: Project) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while servers(project) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not servers(project)


@pytest.fixture
def home(checkout: Project, empty_prefect: Path) -> Project:
    return with_prefect(checkout, empty_prefect)


def test_a_flow_runs_on_it_without_importing_it_and_ends_it(home: Project) -> None:
    process = begun(home)
    out, err = process.communicate(timeout=_PATIENCE)
    assert (process.returncode, err) == (0, "")
    address, imported = out.split()
    assert address.startswith("http://127.0.0.1:")
    assert imported == "False"
    assert servers(home) == []


def test_it_ends_with_a_process_that_is_killed(home: Project) -> None:
    process = begun(home, then="import signal; signal.pause()")
    assert process.stdout is not None
    assert process.stdout.readline(), "the flow has run"
    assert len(servers(home)) == 1
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=_PATIENCE)
    assert gone(home)


def test_what_fails_because_it_is_gone_says_so(home: Project) -> None:
    kill = "os.system(f'pkill -KILL -P {os.getpid()} -f flows.temporary_server')"
    process = begun(home, then=f"{kill}; said('again')")
    _, err = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 1
    assert "Prefect's temporary server cannot be reached" in " ".join(err.split())


def test_a_server_that_the_environment_names_is_used_instead(home: Project) -> None:
    process = begun(home, before="os.environ['PREFECT_API_URL'] = 'http://127.0.0.1:9/api'")
    _, err = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 1
    assert "http://127.0.0.1:9/api" in err
    assert servers(home) == []
