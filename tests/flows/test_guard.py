"""The guard of an embedded flow: it ends Prefect's temporary server when nobody else can."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

_PATIENCE = 60


@pytest.fixture
def server() -> "Iterator[subprocess.Popen[bytes]]":
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


def guarding(server: "subprocess.Popen[bytes]", last_word: bytes) -> None:
    """A guard whose starter is gone, with a last word or without."""
    command = [sys.executable, "-m", "flows.guard", str(server.pid)]
    subprocess.run(command, input=last_word, cwd=ROOT, check=True, timeout=_PATIENCE)


def test_a_server_whose_flow_was_killed_is_ended(server: "subprocess.Popen[bytes]") -> None:
    guarding(server, b"")
    assert server.wait(_PATIENCE) < 0, "by a signal"


def test_a_flow_that_ends_in_order_ends_its_server_itself(server: "subprocess.Popen[bytes]") -> None:
    guarding(server, b"in order")
    assert server.poll() is None


def test_a_server_that_is_gone_already_is_no_error(server: "subprocess.Popen[bytes]") -> None:
    server.kill()
    server.wait(_PATIENCE)
    guarding(server, b"")
