"""The training flow without a server: one process, real stages, real stores."""

import os
import signal
import time

import pandas as pd
import pytest
import yaml

from configs.project import Project
from tasks.adapters.history import History
from tasks.adapters.locks import acquire
from tasks.adapters.registry import Registry
from tests.command import begun, evergreen
from tests.flows.conftest import AS_OF, SAID, change_place, processes_of

pytestmark = pytest.mark.slow


def change_params(project: Project, section: str, **values: object) -> None:
    path = project.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["bikes"][section] |= values
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def test_a_first_model_serves_by_policy_and_the_same_run_again_changes_nothing(trained: Project) -> None:
    assert "1 is champion" in (trained.stores / SAID).read_text()
    again = evergreen(trained, "train", "bikes", "--as-of", AS_OF)
    assert "this very candidate is version 1" in again.stdout
    assert len(Registry(trained).versions("bikes")) == 1
    tags = Registry(trained).holder("bikes", "champion").tags
    assert (tags["decided_by"], tags["decided_through"]) == ("policy", "policy")
    assert "first_model" in tags["decided_because"]


def test_a_candidate_the_gate_turns_away_ends_the_flow_green_and_is_kept(judged: Project) -> None:
    change_params(judged, "gate", limits=[{"metric": "mae", "at_most": 0.5}])
    ended = evergreen(judged, "train", "bikes", "--as-of", AS_OF)
    assert ended.returncode == 0, ended.stderr
    assert "reject" in ended.stdout
    assert "limit mae" in ended.stdout
    assert Registry(judged).versions("bikes") == []
    assert "kept as MLflow run" in ended.stdout


def test_a_broken_delivery_ends_the_flow_red_and_is_kept_whole(judged: Project) -> None:
    newest = max(judged.files("bikes").deliveries.glob("*.parquet"))
    broken = pd.read_parquet(newest).assign(humidity=17.0)
    period = f"{newest.stem}.2"
    broken.to_parquet(newest.with_stem(period), index=False)
    ended = evergreen(judged, "train", "bikes", "--as-of", AS_OF)
    assert ended.returncode == 1
    assert f"Batch {period} rejected" in ended.stderr
    assert "`humidity`" in ended.stderr
    kept = judged.files("bikes").quarantine / f"{period}.parquet"
    assert kept.read_bytes() == newest.with_stem(period).read_bytes()
    assert Registry(judged).versions("bikes") == []


def test_a_flow_killed_in_the_middle_is_finished_by_the_next_without_a_second_version(checkout: Project) -> None:
    started = begun(checkout, "train", "bikes", "--as-of", AS_OF)
    deadline = time.monotonic() + 120
    while not checkout.files("bikes").windows.is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(started.pid, signal.SIGKILL)
    started.wait(30)
    assert checkout.files("bikes").windows.is_file(), "it was to be killed after validation"
    delivered = {path: path.stat().st_mtime_ns for path in checkout.files("bikes").deliveries.iterdir()}

    ended = evergreen(checkout, "train", "bikes", "--as-of", AS_OF)
    assert ended.returncode == 0, ended.stderr
    assert {path: path.stat().st_mtime_ns for path in delivered} == delivered, "a finished stage is not done twice"
    assert len(Registry(checkout).versions("bikes")) == 1
    assert [event.what for event in History(checkout).events("bikes")] == ["registered", "approving", "approved"]
    while processes_of(checkout):
        assert time.monotonic() < deadline + 240, "the flow that was killed left something behind"
        time.sleep(0.1)


def test_a_second_training_run_is_refused_where_the_place_says_so(judged: Project) -> None:
    change_place(judged, when_busy="refuse")
    handle = acquire(judged.stores / "bikes.training.lock", wait=False)
    ended = evergreen(judged, "train", "bikes", "--as-of", AS_OF)
    os.close(handle)
    assert ended.returncode == 1
    assert "A training run of `bikes` is under way" in ended.stderr
    assert Registry(judged).versions("bikes") == []


def test_an_unreachable_prefect_server_is_named_before_anything_starts(clone: Project) -> None:
    change_place(clone, prefect={"api_url": "http://127.0.0.1:9/api"})
    ended = evergreen(clone, "train", "bikes", "--as-of", AS_OF)
    assert ended.returncode == 1
    assert "The Prefect server cannot be reached at http://127.0.0.1:9/api" in " ".join(ended.stderr.split())
    assert not clone.files("bikes").order.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "bike"], r"There is no case `bike`. Did you mean `bikes`?"),
        (["approve", "9", "--case", "bikes", "--reason", "why not"], "Version 9 of `bikes` cannot be decided on"),
        (
            ["rollback", "9", "--case", "bikes", "--reason", "why not"],
            "Version 9 of `bikes` cannot be rolled back: it does not",
        ),
        (["reproduce", "9", "--case", "bikes"], "there is no such version"),
    ],
)
def test_a_command_that_cannot_be_carried_out_says_why_in_one_line(clone: Project, arguments, said) -> None:
    ended = evergreen(clone, *arguments)
    assert ended.returncode == 1
    assert said in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr
