"""A DVC kept ready does what one started anew does, and leaves nothing behind whoever is killed."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from configs.project import Project
from tasks.adapters import dvc
from tasks.errors import StageFailed

from .conftest import Start

RUN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts tests with & has it ignored
from configs.project import Project
from tasks.adapters import dvc
dvc.keep_ready(Project.here())
dvc.reproduce_stage(Project.here(), "ingest", "bikes")
"""


@pytest.fixture
def ready(chain: Project) -> Iterator[Project]:
    """The small chain, with a DVC kept ready for it."""
    dvc.keep_ready(chain)
    yield chain
    dvc.stand_down(chain)


def log(project: Project) -> list[str]:
    path = project.root / "stage.log"
    return path.read_text().split() if path.is_file() else []


def wait_until(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not what():
        assert time.monotonic() < until
        time.sleep(0.05)


def standbys(project: Project) -> list[int]:
    """Every standby of the clone, and every copy of one, that is alive."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command, where = (folder / "cmdline").read_bytes(), (folder / "cwd").readlink()
            except OSError:
                continue  # gone meanwhile, or not ours to read
            if b"tasks.adapters.dvc_standby" in command and where == project.root:
                found.append(int(folder.name))
    return found


def kill_standby(project: Project) -> None:
    oldest = min(standbys(project))
    os.kill(oldest, signal.SIGKILL)


def test_a_stage_runs_once_and_again_only_when_what_it_depends_on_has_changed(ready: Project) -> None:
    assert dvc.reproduce_stage(ready, "ingest", "bikes")
    assert not dvc.reproduce_stage(ready, "ingest", "bikes")
    (ready.root / "seconds.txt").write_text("0.0")
    assert dvc.reproduce_stage(ready, "ingest", "bikes")
    assert log(ready) == ["begins", "ends"] * 2
    assert len(standbys(ready)) == 1, "all by one standby, and its copies are gone"


def test_a_changed_chain_is_read_anew(ready: Project) -> None:
    dvc.reproduce_stage(ready, "ingest", "bikes")
    chain = ready.root / "dvc.yaml"
    chain.write_text(chain.read_text().replace("seconds.txt", "params.yaml"))
    assert dvc.reproduce_stage(ready, "ingest", "bikes")


def test_a_delivery_is_pushed_and_what_stands_in_its_way_is_told(ready: Project) -> None:
    dvc.reproduce_stage(ready, "ingest", "bikes")
    dvc.push(ready, ["bikes"])
    assert dvc.data_version(ready.root, "bikes").removesuffix(".dir")[2:] in {
        path.name.removesuffix(".dir") for path in (ready.stores / "dvc-remote").rglob("*")
    }


def test_a_failed_stage_is_told_in_its_own_words(ready: Project) -> None:
    words = "BatchRejected: Batch 2011-W02 rejected, nothing after it was run. `rentals`: 3 of 168 rows outside"
    (ready.root / "fails.txt").write_text(f"Loading: a moment\n{words}\n")
    with pytest.raises(StageFailed, match=r"^BatchRejected: Batch 2011-W02 rejected") as told:
        dvc.reproduce_stage(ready, "ingest", "bikes")
    assert str(told.value) == words
    (ready.root / "fails.txt").unlink()
    assert dvc.reproduce_stage(ready, "ingest", "bikes")


def test_a_stage_nobody_described_is_an_error(ready: Project) -> None:
    with pytest.raises(StageFailed, match="deliver"):
        dvc.reproduce_stage(ready, "deliver", "bikes")


def test_what_a_stage_says_is_passed_on_while_it_runs(ready: Project, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tasks.adapters.dvc")
    dvc.reproduce_stage(ready, "ingest", "bikes")
    assert "the stage says what it did" in caplog.messages


def test_one_that_is_kept_for_several_runs_goes_with_the_last(ready: Project) -> None:
    with dvc.kept_ready(ready):
        dvc.reproduce_stage(ready, "ingest", "bikes")
        first = standbys(ready)
    assert standbys(ready) == first, "somebody else wants it"
    dvc.stand_down(ready)
    assert standbys(ready) == []


def test_a_standby_that_was_killed_is_done_without(ready: Project, caplog: pytest.LogCaptureFixture) -> None:
    kill_standby(ready)
    assert dvc.reproduce_stage(ready, "ingest", "bikes")
    assert "the DVC that was kept ready is gone; going on without it" in caplog.messages
    assert not dvc.reproduce_stage(ready, "ingest", "bikes")


def test_a_command_goes_on_and_counts_although_its_standby_is_killed(ready: Project, started: Start) -> None:
    (ready.root / "seconds.txt").write_text("2")
    run = started(RUN, cwd=ready.root)
    dvc.stand_down(ready)
    wait_until(lambda: log(ready) == ["begins"])
    kill_standby(ready)
    assert run.wait(30) == 0
    assert log(ready) == ["begins", "ends"]
    assert not dvc.reproduce_stage(ready, "ingest", "bikes")


def test_a_command_that_is_killed_itself_has_failed(ready: Project, started: Start) -> None:
    (ready.root / "seconds.txt").write_text("2")
    dvc.stand_down(ready)
    run = started(RUN, cwd=ready.root)
    wait_until(lambda: log(ready) == ["begins"])
    os.kill(max(standbys(ready)), signal.SIGKILL)
    assert run.wait(30) == 1


def test_stage_and_standby_go_with_the_process_that_is_stopped(ready: Project, started: Start) -> None:
    dvc.stand_down(ready)
    (ready.root / "seconds.txt").write_text("3")
    run = started(RUN, cwd=ready.root)
    wait_until(lambda: log(ready) == ["begins"])
    run.send_signal(signal.SIGINT)
    run.wait(20)
    assert standbys(ready) == []
    time.sleep(3.5)
    assert log(ready) == ["begins"]


def test_a_run_waits_for_a_stage_that_outlived_its_killed_flow(ready: Project, started: Start) -> None:
    (ready.root / "seconds.txt").write_text("3")
    run = started(RUN, cwd=ready.root)
    wait_until(lambda: log(ready) == ["begins"])
    run.send_signal(signal.SIGKILL)
    run.wait(20)
    dvc.reproduce_stage(ready, "ingest", "bikes")
    assert log(ready)[:2] == ["begins", "ends"], "the second began beside the first"
    wait_until(lambda: len(standbys(ready)) == 1)  # ours; that of the killed run is gone


def test_an_idle_standby_ends_when_its_flow_is_killed(chain: Project, started: Start) -> None:
    run = started(RUN.replace("dvc.reproduce", "import time; time.sleep(60); dvc.reproduce"), cwd=chain.root)
    wait_until(lambda: len(standbys(chain)) == 1)
    run.send_signal(signal.SIGKILL)
    wait_until(lambda: standbys(chain) == [])
