"""A lock ends with the process that holds it, however that ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tasks.adapters.locks import Held, acquire, exclusive

from .conftest import Start

HOLD = """
import sys, time
from pathlib import Path
from tasks.adapters.locks import acquire
acquire(Path(sys.argv[1]), wait=True)
print("held", flush=True)
time.sleep(60)
"""
BEQUEATH = """
import subprocess, sys, time
from pathlib import Path
from tasks.adapters.locks import acquire
lock = acquire(Path(sys.argv[1]), wait=True)
child = subprocess.Popen(["sleep", "60"], pass_fds=[lock], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stores" / "a.lock"


def is_free(path: Path) -> bool:
    try:
        os.close(acquire(path, wait=False))
    except Held:
        return False
    return True


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_a_second_holder_that_does_not_wait_is_refused_naming_the_first(path: Path, started: Start) -> None:
    holder = started(HOLD, path)
    assert said(holder) == "held"
    with pytest.raises(Held, match=rf"^process {holder.pid}$"):
        acquire(path, wait=False)


def test_a_second_holder_that_waits_comes_after_the_first(path: Path) -> None:
    order: list[str] = []
    first = acquire(path, wait=True)

    def second() -> None:
        with exclusive(path):
            order.append("second")

    waiting = threading.Thread(target=second)
    waiting.start()
    waiting.join(0.5)
    order.append("first ends")
    os.close(first)
    waiting.join(10)
    assert order == ["first ends", "second"]


def test_a_lock_is_given_back_when_the_work_under_it_fails(path: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="division"), exclusive(path):
        _ = 1 / 0
    assert is_free(path)


def test_a_lock_is_free_when_its_holder_is_killed(path: Path, started: Start) -> None:
    holder = started(HOLD, path)
    assert said(holder) == "held"
    assert not is_free(path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert is_free(path)


def test_a_child_that_inherited_the_lock_keeps_it_when_its_parent_is_killed(path: Path, started: Start) -> None:
    parent = started(BEQUEATH, path)
    child = int(said(parent))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert not is_free(path)
    os.kill(child, signal.SIGKILL)
    with exclusive(path):  # the kernel frees it as soon as the child is gone
        pass


def test_a_child_that_was_not_given_the_lock_does_not_keep_it(path: Path) -> None:
    with exclusive(path):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
    deadline = time.monotonic() + 5
    try:
        # The kernel lets the parent go on a moment before it closes the child's files.
        while not is_free(path) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert is_free(path)
    finally:
        child.kill()
        child.wait()


def test_two_locks_do_not_wait_for_each_other(path: Path) -> None:
    with exclusive(path):
        assert is_free(path.with_name("another.lock"))
