"""`python -m serving.ledger`: one compactor for a folder, niced, until it is told to end."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from configs.project import Project
from configs.serving import GatewayLog
from serving.ledger.entry import encode_entry
from serving.ledger.header import logged_cases
from serving.ledger.ledger import Ledger
from serving.ledger.places import predictions_url, segments_folder
from serving.ledger.read import read_predictions
from serving.ledger.segment import SEALED
from serving.ledger.status import Status
from serving.records import Part, Role, Rows

ROOT = Path(__file__).parents[3]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "configs").mkdir()
    shutil.copytree(ROOT / "configs" / "places", tmp_path / "configs" / "places")
    shutil.copy(ROOT / "configs" / "bikes.yaml", tmp_path / "configs")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return Project(tmp_path)


@pytest.fixture
def start(project: Project) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, pass_fds: tuple[int, ...] = ()) -> "subprocess.Popen[str]":
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "serving.ledger", *arguments],
                cwd=ROOT,
                env={**os.environ, "EVERGREEN_ROOT": str(project.root), "EVERGREEN_PLACE": "local"},
                stderr=subprocess.PIPE,
                text=True,
                pass_fds=pass_fds,
            )
        )
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def soon(true: Callable[[], bool], what: str) -> None:
    for _ in range(1500):
        if true():
            return
        time.sleep(0.02)
    pytest.fail(f"after half a minute: {what}")


def open_ledger(project: Project) -> Ledger:
    cases = logged_cases([project.case("bikes")])
    return Ledger(segments_folder(project), "w0", cases, GatewayLog())


def answer(project: Project, ledger: Ledger, request_id: str) -> None:
    case, now = project.case("bikes"), time.time()
    rows = Rows(1, [[None] for _ in case.contract.features], ["e"], [None])
    parts = [Part(None, "1", Role.champion, [42.0], ())]
    ledger.record(encode_entry("bikes", case.contract.version, request_id, now, now, rows, parts, None))


def logged(project: Project) -> list[str]:
    now = datetime.now(UTC)
    table = read_predictions(
        predictions_url(project), "bikes", now - timedelta(days=1), now + timedelta(days=1), ["request_id"]
    )
    return sorted(table["request_id"].to_pylist())


def status(project: Project) -> Status | None:
    try:
        return Status.read(segments_folder(project) / "status.json")
    except FileNotFoundError:
        return None


def test_one_turn_turns_what_is_sealed_into_parquet_in_the_projects_folder(project: Project, start: Start) -> None:
    ledger = open_ledger(project)
    answer(project, ledger, "a")
    ledger.close()
    process = start("--once")
    assert process.wait(60) == 0
    assert logged(project) == ["a"]
    assert (project.root / "data" / "predictions" / "case=bikes").is_dir()
    assert list(segments_folder(project).glob(f"*{SEALED}")) == []


def test_it_works_niced_until_sigterm_and_takes_what_was_sealed_last(project: Project, start: Start) -> None:
    process = start()
    soon(lambda: status(project) is not None, "no status was written")
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == 10 + os.getpriority(os.PRIO_PROCESS, 0)
    ledger = open_ledger(project)
    answer(project, ledger, "last")
    ledger.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert logged(project) == ["last"]


def test_a_second_compactor_waits_for_the_first(project: Project, start: Start) -> None:
    first = start()
    soon(lambda: status(project) is not None, "no status was written")
    second = start()
    assert second.stderr is not None
    line = second.stderr.readline()
    assert f"waiting for compactor.lock (process {first.pid})" in line
    first.kill()
    first.wait(10)
    ledger = open_ledger(project)
    answer(project, ledger, "a")
    ledger.close()
    soon(lambda: logged(project) == ["a"], "the second did not take over")


def test_it_ends_with_whoever_started_it(project: Project, start: Start) -> None:
    read_end, write_end = os.pipe()
    process = start("--lifeline", str(read_end), pass_fds=(read_end,))
    soon(lambda: status(project) is not None, "no status was written")
    os.close(write_end)
    assert process.wait(60) == 0
    os.close(read_end)


def test_a_project_that_cannot_be_read_ends_it_in_plain_words(project: Project, start: Start) -> None:
    (project.root / "configs" / "bikes.yaml").write_text("question: why?\n")
    process = start()
    assert process.wait(60) == 1
    assert process.stderr is not None
    assert process.stderr.read().startswith("ConfigError: bikes.yaml")
