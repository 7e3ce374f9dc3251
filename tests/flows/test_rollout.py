"""Rollouts with real models, a real registry and a real gateway: to all users, and out again."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pandas as pd
import pytest

from configs.project import Project
from flows import rollout_steps as steps
from flows.smoke import smoke
from serving.ledger.places import predictions_url, segments_folder
from serving.ledger.windows import LoggedAnswers
from tasks.adapters.history import History
from tasks.adapters.registry import Registry
from tasks.outcomes.gather import gather
from tasks.promotion.decide import decide
from tasks.records import Approval, Reason, Rollout, Status
from tasks.rollout.shares import served
from tests.command import told
from tests.conftest import change_params
from tests.promotion.conftest import aliases, standing
from tests.serving.conftest import RunningGateway, gateway, running

__all__ = ["gateway"]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bikes")]

QUICK: dict[str, Any] = {
    "steps": [0.5, 1.0],
    "shadow": {"hours": 0, "requests": 30},
    "canary": {"hours": 0, "requests": 30},
    "warm_hours": 0,
    "technical": {"latency_ratio": 20},
    "load": {"latency_ms": 2000, "rows": 20},
    "model": {"dust": 0.9, "shift": 0.9},
}
FOR_EVER = 1e7
"""Hours: the versions of this clone were asked about in 2011, and are decided on today."""


def staged(project: Project, strategy: str, **changes: Any) -> Project:
    rollout = {**QUICK, "strategy": strategy, **changes}
    change_params(project.root, "bikes", {"rollout": rollout, "approval.expires_after_hours": FOR_EVER})
    return Project(project.root)


def approve(project: Project, version: str) -> Status | None:
    said = {"by": "ada", "reason": "the figures hold", "channel": "cli", "at": datetime.now(UTC)}
    return decide(project, Approval(case="bikes", version=version, approve=True, share=0.5, **said)).status


def delivered(project: Project, rows: int) -> list[dict[str, Any]]:
    """Hours as they were delivered, with the names that their labels come under."""
    case = project.case("bikes")
    columns = [case.contract.entity, case.contract.event_time, *case.contract.features]
    files = sorted(project.files("bikes").deliveries.glob("*.parquet"))
    frame = pd.concat([pd.read_parquet(path, columns=columns) for path in files]).tail(rows)
    for name in (case.contract.event_time, "local_hour"):
        frame[name] = [moment.isoformat() for moment in frame[name]]
    return frame.to_dict("records")


def ask(gateway: RunningGateway, rows: Sequence[dict[str, Any]]) -> None:
    with httpx.Client(base_url=gateway.url, timeout=20) as client:
        for row in rows:
            assert client.post("/predict/bikes", json=row).status_code == 200


def look() -> tuple[Rollout, Rollout, tuple[Reason, ...]]:
    before = steps.where.fn("bikes")
    assert before is not None
    reasons = steps.look.fn("bikes", before)
    return before, steps.decide.fn("bikes", before, reasons), reasons


def settled(gateway: RunningGateway, share: float) -> None:
    gateway.wait_for(lambda: gateway.status()["cases"]["bikes"]["share"] == share, f"share of {share:g}")


def _shadowed(project: Project) -> int:
    answers = LoggedAnswers(predictions_url(project), "bikes", fresh=segments_folder(project))
    now = datetime.now(UTC)
    roles = [batch.column("role").to_pylist() for batch in answers.batches(now - timedelta(days=1), now, ["role"])]
    return sum(role == "shadow" for batch in roles for role in batch)


def test_a_challenger_reaches_all_users_step_by_step(served_before: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project = staged(served_before, "shadow-canary")
    rows = delivered(project, 120)
    with running(project) as gateway:
        monkeypatch.setenv("EVERGREEN_GATEWAY_URL", gateway.url)
        assert approve(project, "3") is Status.rolling_out
        _, shadow, checked = look()
        assert shadow.stage.name == "shadow", checked
        gateway.wait_for(lambda: gateway.status()["cases"]["bikes"]["shadow"], "shadow")
        ask(gateway, rows)
        gateway.wait_for(lambda: _shadowed(project) >= len(rows), "the shadow's rows")
        _, canary, compared = look()
        assert canary.stage.name == "canary 50 %", compared
        assert {"errors", "p95", "p99", "disagreement", "shift"} <= {reason.rule for reason in compared}
        assert [reason.rule for reason in checked][:4] == [
            "registered artifact",
            "recorded requests",
            "latency budget",
            "memory budget",
        ]
        settled(gateway, 0.5)
        _, waiting, _ = look()
        assert waiting == canary, "nobody was answered yet"
        ask(gateway, rows)
        _, full, smoked = look()
        assert full.stage.name == "canary 100 %", smoked
        assert smoked[-1].rule == "smoke test"
        settled(gateway, 1.0)
        ask(gateway, rows)
        _, warm, smoked = look()
        assert warm.stage.name == "warm", smoked
        gateway.wait_for(lambda: gateway.status()["cases"]["bikes"]["champion"]["version"] == "3", "the champion")
        _, done, _ = look()
        assert done.standing == "done"
        assert steps.where.fn("bikes") is None
    assert aliases(project) == {"champion": "3", "retired": "2"}
    told = [str(entry) for entry in served(History(project).events("bikes"))]
    assert told[1:] == ["2: 100 %", "2: 100 %; 3 in the shadow", "2: 50 %, 3: 50 %", "3: 100 %", "3: 100 %"]


def test_a_planted_bad_challenger_is_rolled_back_by_itself_before_it_answers_anybody(
    served_before: Project, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 2, with a quarter of the trees, against 3: made to look as if it had passed the gate."""
    decide(served_before, answer("3"))
    registry = Registry(served_before)
    registry.move_alias("bikes", "retired", "1")
    registry.tag("bikes", "2", {"status": "awaiting approval", "champion_then": "3"})
    registry.move_alias("bikes", "challenger", "2")
    project = staged(served_before, "shadow-canary", shadow={"hours": 0, "requests": 30, "labels": 5000})
    with running(project) as gateway:
        monkeypatch.setenv("EVERGREEN_GATEWAY_URL", gateway.url)
        assert approve(project, "2") is Status.rolling_out
        _, shadow, checked = look()
        assert shadow.stage.name == "shadow", checked
        gateway.wait_for(lambda: gateway.status()["cases"]["bikes"]["shadow"], "shadow")
        ask(gateway, delivered(project, 1500))
        answers = LoggedAnswers(predictions_url(project), "bikes", fresh=segments_folder(project))
        gather(project, "bikes", datetime.now(UTC), answers)
        _, stopped, reasons = look()
        assert stopped.standing == "stopped", reasons
        gateway.wait_for(lambda: not gateway.status()["cases"]["bikes"]["shadow"], "its end")
    assert [reason.rule for reason in reasons if not reason.passed and not reason.inconclusive] == ["loss"]
    assert standing(project)["2"] == "rolled back"
    assert aliases(project)["champion"] == "3"
    last = History(project).events("bikes")[-1]
    assert (last.by, last.what) == ("rollout", "rollout")
    assert last.reason.startswith("shadow: loss: absolute error +")


def test_an_ab_test_says_its_size_before_it_begins_and_the_winner_of_all_its_rows_is_promoted(
    served_before: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    sized = {"effect": 0.25, "hours": 0}
    project = staged(served_before, "ab", ab=sized)
    with running(project) as gateway:
        monkeypatch.setenv("EVERGREEN_GATEWAY_URL", gateway.url)
        approve(project, "3")
        _, test, checked = look()
        assert test.stage.name == "A/B 50 %", checked
        stated = next(reason.text for reason in checked if reason.rule == "sample size")
        rows = int(stated.split()[1].replace(",", ""))
        settled(gateway, 0.5)
        answers = LoggedAnswers(predictions_url(project), "bikes", fresh=segments_folder(project))
        ask(gateway, delivered(project, rows))
        gather(project, "bikes", datetime.now(UTC), answers)
        _, waiting, reasons = look()
        assert waiting == test
        [judged] = [reason for reason in reasons if reason.rule == "A/B"]
        assert "not judged before all are in" in judged.text
        ask(gateway, delivered(project, 4 * rows)[:-rows])
        gather(project, "bikes", datetime.now(UTC), answers)
        _, warm, reasons = look()
        assert warm.stage.name == "warm", reasons
    [judged] = [reason for reason in reasons if reason.rule == "A/B"]
    assert judged.text.startswith("the challenger won: mean loss -")
    assert f"over {rows:,} rows in each arm" in judged.text
    assert aliases(project)["champion"] == "3"


def test_a_challenger_whose_file_was_altered_fails_the_load_check(succession: Project) -> None:
    from tests.promotion.conftest import stored_model  # noqa: PLC0415

    project = staged(succession, "canary")
    approve(project, "3")
    path = stored_model(project, "3")
    path.write_bytes(path.read_bytes() + b"x")
    _, stopped, reasons = look()
    assert stopped.standing == "stopped"
    assert "is not the file that was recorded" in reasons[0].text
    assert standing(project)["3"] == "rolled back"


def test_a_place_that_wants_keys_and_certificates_holds_no_load_check_up(succession: Project) -> None:
    place = succession.root / "configs/places/local.yaml"
    locked = (
        "  keys: data/keys.json\n  tls: {certificate: none.pem, key: none.pem}\n  limits: {requests_per_second: 1}\n"
    )
    place.write_text(place.read_text() + locked)
    assert approve(staged(succession, "shadow-canary"), "3") is Status.rolling_out
    _, shadow, checked = look()
    assert shadow.stage.name == "shadow", checked


def test_without_a_gateway_the_smoke_test_waits_and_blames_nobody(succession: Project) -> None:
    rows = [{"season": "spring"}]
    reason = smoke("http://127.0.0.1:9", succession.case("bikes"), rows, "3", pinned=True)
    assert (reason.passed, reason.inconclusive) == (False, True)
    assert "the gateway cannot be reached at http://127.0.0.1:9" in reason.text


def test_a_smoke_test_sees_an_endpoint_that_somebody_else_answers(gateway: RunningGateway) -> None:
    case = gateway.project.case("bikes")
    rows = [{name: row[name] for name in case.contract.features} for row in delivered(gateway.project, 2)]
    assert smoke(gateway.url, case, rows, "2", pinned=False).passed
    assert smoke(gateway.url, case, rows, "3", pinned=True).passed, "a challenger without a share can be asked"
    wrong = smoke(gateway.url, case, rows, "3", pinned=False, patience=0.5)
    assert not wrong.passed
    assert "is answered by version 2" in wrong.text


def test_the_command_carries_a_rollout_on_as_far_as_it_goes_and_lets_people_step_in(succession: Project) -> None:
    project = staged(succession, "blue-green", approvals=["start", "full"])
    approve(project, "3")

    command = partial(told, project, EVERGREEN_GATEWAY_URL="http://127.0.0.1:9")
    waits = command("rollout", "bikes")
    assert "version 3: load check (1 of 2), going" in waits
    signed = ("--by", "Grace", "--reason", "not before the weekend")
    assert "load check (1 of 2), paused" in command("rollout", "bikes", "--pause", *signed)
    assert "stopped" in command("rollout", "bikes", "--abort", *signed)
    history = command("history", "bikes", "--verify")
    assert "not before the weekend" in history
    assert "nothing was changed" in history
