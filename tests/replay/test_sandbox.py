"""A sandbox is a copy of its own, for one plan and one process at a time."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from configs.project import Project
from flows.replay_sandbox import Sandbox
from tasks.replay.errors import AnotherReplay, UnderWay
from tasks.replay.steps import Plan

ROOT = Path(__file__).parents[2]
PLAN = Plan(case="bikes", start=datetime(2011, 4, 11, tzinfo=UTC), end=datetime(2011, 4, 18, tzinfo=UTC))


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    made = Sandbox(tmp_path / "replay")
    made.furnish(Project(ROOT), PLAN, fresh=False)
    return made


def test_a_sandbox_has_its_own_stores_source_and_clock(sandbox: Sandbox) -> None:
    project = sandbox.project
    case, place = project.case("bikes"), project.place
    assert (case.source.kind, case.source.url) == ("file", str(sandbox.rows))
    assert case.labels is not None
    assert case.labels.labelled_at == "known_at"
    assert place.gateway.clock == "event_time"
    assert place.stores.history == "sqlite:///data/stores/history.db"
    assert case.contract == Project(ROOT).case("bikes").contract
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=project.root, capture_output=True, check=True)
    assert changed.stdout == b"", "every version can name the code it was made with"


def test_speed_judges_nobody_and_all_else_is_as_the_case_has_it(sandbox: Sandbox) -> None:
    own, here = Project(ROOT).params("bikes"), sandbox.project.params("bikes")
    assert here.rollout.load.latency_ms > 1000 * own.rollout.load.latency_ms
    assert here.rollout.shadow == own.rollout.shadow
    assert here.training == own.training
    assert here.gate.limits == own.gate.limits


def test_the_same_plan_goes_on_and_another_is_refused(sandbox: Sandbox) -> None:
    sandbox.steps.write_text("kept\n")
    sandbox.furnish(Project(ROOT), PLAN, fresh=False)
    assert sandbox.steps.read_text() == "kept\n"
    other = PLAN.model_copy(update={"seed": 1})
    with pytest.raises(AnotherReplay, match=r"There is a replay `replay` already.*--fresh"):
        sandbox.furnish(Project(ROOT), other, fresh=False)
    sandbox.furnish(Project(ROOT), other, fresh=True)
    assert not sandbox.steps.exists()


def test_two_processes_do_not_replay_in_one_sandbox(sandbox: Sandbox) -> None:
    with sandbox.alone(), pytest.raises(UnderWay, match="Another process replays `replay`"), sandbox.alone():
        pass
    with sandbox.alone():
        pass


def test_what_is_badly_trained_does_not_stay(sandbox: Sandbox) -> None:
    case, before = sandbox.project.case("bikes"), sandbox.project.params("bikes")
    with sandbox.badly_trained(case, gate=True):
        bad = sandbox.project.params("bikes")
        assert bad.features.leave_out == case.contract.features[:-1]
        assert bad.gate == before.gate
        assert bad.window.train_batches == case.triage.recent_batches
    with sandbox.badly_trained(case, gate=False):
        bad = sandbox.project.params("bikes")
        assert bad.gate.rule == "non_inferiority"
        assert bad.window.train_batches == case.triage.recent_batches
    assert sandbox.project.params("bikes") == before
    params = sandbox.project.root / "params.yaml"
    params.write_text("{}")  # as a replay leaves it that was killed while something was planted
    sandbox.furnish(Project(ROOT), PLAN, fresh=False)
    assert sandbox.project.params("bikes") == before
