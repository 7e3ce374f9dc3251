"""The loop closed: traffic that changed, a verdict, triage, one training, a new challenger; on real components."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from configs.project import Project
from tasks.adapters.incidents import Incidents
from tasks.adapters.journal import Acted, Journal
from tasks.adapters.registry import Registry
from tasks.records import Approval
from tasks.verdicts import Action, Answer, Monitor
from tests.conftest import ASKED, change_params, commit, move_in
from tests.flows.conftest import RunningStack, _ask_always, _on_free_ports, with_prefect
from tests.flows.test_embedded import evergreen
from tests.flows.traffic import answer_recorded

pytestmark = pytest.mark.slow

WEEK = timedelta(days=7)
ENTRYPOINTS = ("flows/drift.py:drift", "flows/ground_truth.py:ground_truth")
LATER = datetime(2011, 6, 22, 2, tzinfo=UTC)
"""The first days of summer, which the champion of the winter has not seen."""
MOMENT = f"{LATER:%Y-%m-%dT%H:%M}"


def as_it_was(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


def in_other_units(frame: pd.DataFrame) -> pd.DataFrame:
    """The caller sends half of every temperature."""
    return frame.assign(temperature=frame["temperature"] / 2)


def change_case(root: Path, **values: Any) -> None:
    path = root / "configs/bikes.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}, sort_keys=False))


def train_never(project: Project) -> None:
    """Have triage note what it would train for."""
    triage = project.case("bikes").triage.model_dump(mode="json", exclude_defaults=True)
    rules = [
        {**rule, "action": rule["action"].replace("retrain", "note").removesuffix("_recent")}
        for rule in triage["rules"]
    ]
    change_case(project.root, triage={**triage, "rules": rules})


@pytest.fixture(scope="session")
def watched_bikes(once: Callable[[str, Any], Path], registered_bikes: Path) -> Path:
    """The folder that `watched` is copied from."""

    def make(folder: Path) -> None:
        from tasks.promotion.decide import decide  # noqa: PLC0415 - MLflow takes seconds

        project = move_in(registered_bikes, folder)
        at = ASKED + timedelta(hours=1)
        yes = {"case": "bikes", "approve": True, "by": "Ada", "reason": "the figures hold", "channel": "cli"}
        decide(project, Approval(version="1", at=at, **yes))
        change_params(folder, "bikes", {"training.settings.max_iter": 25, "monitoring.reference.expected": []})
        # What was answered in 2011 is older than what the log keeps; and a training that is due anyway is no trigger.
        triage = project.case("bikes").triage.model_dump(mode="json", exclude_defaults=True)
        triage["rules"] = [rule for rule in triage["rules"] if "hours_since_training" not in rule]
        serving = {"fallback": {"prior": {"prediction": 144}}, "log": {"retention_days": 40_000}}
        change_case(folder, serving=serving, triage=triage)
        commit(folder, "more trees")

    return once("watched", make)


@pytest.fixture
def watched(tmp_path: Path, at_home: Callable[[Project], Project], watched_bikes: Path, empty_prefect: Path) -> Project:
    """A clone in which version 1 of the bike model serves, and the next candidate will be clearly better."""
    return with_prefect(at_home(move_in(watched_bikes, tmp_path / "clone")), empty_prefect)


@pytest.fixture
def stack(watched: Project) -> Iterator[RunningStack]:
    """`evergreen up` in that clone, where every version waits for a person; not started yet."""
    _on_free_ports(watched)
    _ask_always(watched)
    environment = {**os.environ, "EVERGREEN_ROOT": str(watched.root), "PYTHONPATH": str(watched.root)}
    running = RunningStack(watched, environment)
    yield running
    running.stop()


def acted(project: Project) -> Acted:
    return Journal(project).actions("bikes")[0]


def test_traffic_that_changed_leads_to_one_training_and_a_new_challenger(stack: RunningStack) -> None:
    project = stack.project
    assert answer_recorded(project, "bikes", LATER - WEEK, LATER, as_it_was) > 150
    stack.start()

    first = stack.evergreen("drift", "bikes", "--as-of", MOMENT)
    assert first.returncode == 0, first.stdout + first.stderr
    standing = Journal(project).standing("bikes", LATER)
    assert standing[Monitor.inputs].answer is Answer.alarm
    assert {"temperature", "local_hour"} & set(standing[Monitor.inputs].subjects)
    done = acted(project)
    assert done.triaged.action is Action.retrain, done.triaged.reasons
    assert done.run is not None

    again = stack.evergreen("drift", "bikes", "--as-of", MOMENT)
    assert again.returncode == 0, again.stdout + again.stderr
    assert [each.run for each in Journal(project).actions("bikes")] == [done.run], "the same event again"

    stack.wait_for(lambda: stack.api(f"/flow_runs/{done.run}", get=True)["state_name"] == "Suspended", 240)
    challenger = Registry(project).holder("bikes", "challenger")
    assert challenger is not None
    assert (challenger.version, challenger.status) == ("2", "awaiting approval")
    assert challenger.tags["as_of"] == LATER.isoformat()

    trainings = [run for run in stack.api("/flow_runs/filter") if "trigger" in run["parameters"] and run["start_time"]]
    assert [run["id"] for run in trainings] == [done.run]
    assert done.triaged.rule in trainings[0]["name"], "the run shows what triggered it"
    assert "triage" in trainings[0]["tags"]

    [incident, *_] = Incidents(project).all("bikes")
    assert incident.run == done.run, "the incident shows the run"
    assert all(alert.sent for alert in Incidents(project).alerts())
    events = stack.api("/events/filter", {"filter": {"event": {"name": ["evergreen.verdict.inputs.alarm"]}}})
    assert {event["resource"]["evergreen.case"] for event in events["events"]} == {"bikes"}
    artifacts = stack.api("/artifacts/filter", {"artifacts": {"key": {"any_": ["bikes-verdicts"]}}})
    assert "| ✗ | inputs |" in artifacts[0]["data"]

    watching = [each for each in stack.api("/deployments/filter") if each["entrypoint"] in ENTRYPOINTS]
    assert len(watching) == 4, "two flows for each of two cases"
    for deployment in watching:
        planned = {"deployment_id": {"any_": [deployment["id"]]}, "state": {"type": {"any_": ["SCHEDULED"]}}}
        assert stack.wait_for(lambda wanted=planned: stack.api("/flow_runs/filter", {"flow_runs": wanted, "limit": 1}))


def test_without_a_server_the_same_chain_runs_in_one_process(watched: Project) -> None:
    answer_recorded(watched, "bikes", LATER - WEEK, LATER, as_it_was)
    for _ in range(2):
        ended = evergreen(watched, "drift", "bikes", "--as-of", MOMENT)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    done = acted(watched)
    assert done.triaged.action is Action.retrain, done.triaged.reasons
    assert [version.version for version in Registry(watched).versions("bikes")] == ["2", "1"]
    assert [trained.run for trained in Journal(watched).trainings("bikes")] == [done.run], "started once"


def test_features_that_arrive_in_other_units_block_training_until_somebody_lifts_it(watched: Project) -> None:
    answer_recorded(watched, "bikes", LATER - WEEK, LATER, in_other_units)
    ended = evergreen(watched, "drift", "bikes", "--as-of", MOMENT)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert acted(watched).triaged.action is Action.block
    assert "temperature" in Incidents(watched).one(1).cause
    assert "[bikes] incident 1 opened" in ended.stderr, "without a channel the log tells"

    refused = evergreen(watched, "train", "bikes", "--as-of", MOMENT)
    assert refused.returncode == 1
    assert "Training of `bikes` is blocked by incident 1" in refused.stderr
    assert "blocks training" in evergreen(watched, "incidents").stdout
    words = ["--by", "Ada", "--reason", "a new sensor"]
    assert evergreen(watched, "unblock", "bikes", *words).returncode == 0
    assert evergreen(watched, "incidents", "ack", "1", "--by", "Ada").stdout.rstrip().endswith("taken by Ada")
    trained = evergreen(watched, "train", "bikes", "--as-of", MOMENT)
    assert trained.returncode == 0, trained.stderr


def test_a_monitor_that_fails_silences_no_other_and_ends_the_run_red(watched: Project) -> None:
    answer_recorded(watched, "bikes", LATER - WEEK, LATER, as_it_was)
    train_never(watched)
    broken = watched.root / "tasks/monitoring/rescore.py"
    broken.write_text(
        broken.read_text().replace("    case, params = ", "    raise OSError('no such disk')\n    case, params = ", 1)
    )
    ended = evergreen(watched, "drift", "bikes", "--as-of", MOMENT)
    assert ended.returncode == 1
    assert "MonitorsFailed" in ended.stderr
    standing = Journal(watched).standing("bikes", LATER)
    assert standing[Monitor.skew].answer is Answer.unknown
    assert "no such disk" in standing[Monitor.skew].text
    assert {Monitor.freshness, Monitor.contract, Monitor.inputs, Monitor.hourly, Monitor.score} <= set(standing)
    causes = {incident.cause for incident in Incidents(watched).all("bikes")}
    assert "skew: could not compute" in causes
    assert acted(watched).triaged.action is Action.note, "the others were acted on"


def test_labels_that_come_in_are_judged_and_triaged(watched: Project) -> None:
    answer_recorded(watched, "bikes", LATER - WEEK, LATER, as_it_was)
    train_never(watched)
    ended = evergreen(watched, "truth", "bikes", "--as-of", f"{LATER + timedelta(days=1):%Y-%m-%dT%H:%M}")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = Journal(watched).standing("bikes", LATER + timedelta(days=1))
    assert {Monitor.labels, Monitor.realised, Monitor.concept} <= set(said)
    assert said[Monitor.concept].answer is not Answer.unknown, "a champion is judged before its drift was looked at"
    assert Journal(watched).figures("bikes", "realised", "mae")
