"""Carrying a rollout on: what is decided, who may step in, what is refused, and what is left when the process dies."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import yaml

from configs.project import Project
from tasks.adapters.history import History
from tasks.adapters.registry import Registry
from tasks.errors import ArtifactAltered, DecidedNotDone, NotAnApprover, NotApprovable
from tasks.promotion.decide import Desk, Why, decide, roll_back
from tasks.promotion.register import known_version, register
from tasks.promotion.traffic import set_traffic
from tasks.records import Candidate, Order, Reason, Rollout, Status
from tasks.rollout.carry import carry_on, control, under_way
from tasks.rollout.contract import breaking
from tasks.rollout.errors import ContractDiffers, NothingRollsOut, NotInThisState, RolloutUnderWay, RolloutUnfit
from tasks.rollout.shares import served
from tests.conftest import AS_OF, ASKED, Answer, change_params
from tests.promotion.conftest import Dies, aliases, events, refusing, standing, stored_model

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bikes")]

AT = ASKED + timedelta(days=13)
PASSED = (Reason(rule="errors", passed=True, text="none"),)
HARMS = (Reason(rule="loss", passed=False, inconclusive=True, text="log loss +0.08"),)
FAILED = (Reason(rule="errors", passed=False, text="2 % of 400"),)
GRACE = Why(by="Grace", reason="the holidays first", at=AT + timedelta(hours=1))
STAGES = {"strategy": "shadow-canary", "steps": [0.25, 1.0], "shadow": {"hours": 0}, "canary": {"hours": 0}}


def staged(project: Project, **changes: Any) -> Project:
    change_params(project.root, "bikes", {"rollout": {**STAGES, "warm_hours": 0, **changes}})
    return Project(project.root)


@pytest.fixture
def approved(succession: Project, answer: Answer) -> Project:
    """Version 3 was approved, and has all its stages before it; 2 is champion."""
    project = staged(succession)
    assert decide(project, answer("3", at=AT, share=0.25)).status is Status.rolling_out
    return project


def state(project: Project) -> Rollout:
    found = Desk(project, "bikes").rollout()
    assert found is not None
    return found


def look(project: Project, reasons: tuple[Reason, ...] = PASSED) -> Rollout:
    return carry_on(project, state(project), "bikes", reasons, state(project).since + timedelta(minutes=1))


def shared(project: Project) -> tuple[float, float]:
    traffic = Registry(project).traffic("bikes")
    return traffic.share, traffic.shadow


def who_answers(project: Project) -> list[str]:
    return [str(entry) for entry in served(History(project).events("bikes"))]


def test_an_approval_begins_a_rollout_and_changes_nothing_for_users(approved: Project) -> None:
    assert (state(approved).stage.name, shared(approved)) == ("load check", (0, False))
    assert aliases(approved) == {"champion": "2", "challenger": "3", "retired": "1"}
    assert standing(approved)["3"] == "rolling out"


def test_stage_by_stage_the_challenger_reaches_everybody_and_the_history_says_so(approved: Project) -> None:
    names = []
    while not state(approved).over:
        names.append((look(approved).stage.name, *shared(approved)))
    assert names == [
        ("shadow", 0, True),
        ("canary 25 %", 0.25, False),
        ("canary 100 %", 1, False),
        ("warm", 0, False),
        ("warm", 0, False),
    ]
    assert aliases(approved) == {"champion": "3", "retired": "2"}
    assert standing(approved) == {"1": "retired", "2": "retired", "3": "champion"}
    assert who_answers(approved)[1:] == [
        "2: 100 %",
        "2: 100 %; 3 in the shadow",
        "2: 75 %, 3: 25 %",
        "3: 100 %",
        "3: 100 %",
    ]
    assert History(approved).verify("bikes") == len(events(approved))
    assert events(approved)[-3:] == [("approving", "3"), ("approved", "3"), ("rollout", "3")]


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_a_failed_rule_takes_the_challenger_away_from_users_and_marks_it(approved: Project, stages: int) -> None:
    for _ in range(stages):
        look(approved)
    assert look(approved, FAILED).standing == "stopped"
    assert (shared(approved), aliases(approved)) == ((0, False), {"champion": "2", "retired": "1"})
    assert standing(approved)["3"] == "rolled back"
    last = History(approved).events("bikes")[-1]
    assert (last.by, last.reason) == ("rollout", f"{state(approved).stage.name}: errors: 2 % of 400")


def test_a_failed_rule_after_the_promotion_puts_the_former_champion_back(approved: Project) -> None:
    for _ in range(4):
        look(approved)
    assert aliases(approved)["champion"] == "3"
    assert look(approved, FAILED).standing == "stopped"
    assert aliases(approved) == {"champion": "2", "retired": "1"}
    assert standing(approved)["3"] == "rolled back"


def test_a_rolled_back_version_is_not_offered_again_by_itself(approved: Project, answer: Answer) -> None:
    look(approved, FAILED)
    known = known_version(approved, "bikes")
    assert known is not None
    assert (known.version, known.status) == ("3", Status.rolled_back)
    with pytest.raises(NotApprovable, match="it is rolled back"):
        decide(approved, answer("3", at=AT))


def test_a_rollback_by_hand_ends_the_rollout_and_leaves_the_champion(approved: Project) -> None:
    look(approved)
    look(approved)
    assert roll_back(approved, "bikes", "3", GRACE).version == "2"
    assert (shared(approved), state(approved).standing, standing(approved)["3"]) == (
        (0, False),
        "stopped",
        "rolled back",
    )


def test_a_rollback_that_fails_in_the_middle_and_is_run_again_leaves_the_champion_alone(approved: Project) -> None:
    look(approved)
    look(approved)
    with (
        refusing(approved, "registered_model_tags"),
        pytest.raises(
            DecidedNotDone, match=r"gone\. Decided and kept .*: `rollout` version 3; .*`evergreen rollout bikes`"
        ),
    ):
        roll_back(approved, "bikes", "3", GRACE)
    assert (state(approved).standing, shared(approved)) == ("stopped", (0.25, 0)), "decided, and users still meet it"
    for _ in range(2):
        assert roll_back(approved, "bikes", "3", GRACE).version == "2"
        assert (aliases(approved), shared(approved)) == ({"champion": "2", "retired": "1"}, (0, 0))
        assert standing(approved) == {"1": "retired", "2": "champion", "3": "rolled back"}


def test_a_champion_that_cannot_be_replaced_leaves_the_rollout_against_it_alone(approved: Project) -> None:
    look(approved)
    path = stored_model(approved, "1")
    path.write_bytes(path.read_bytes() + b"x")
    written = events(approved)
    with pytest.raises(ArtifactAltered):
        roll_back(approved, "bikes", "2", GRACE)
    assert (events(approved), shared(approved)) == (written, (0, 1))


def test_where_the_champion_itself_has_to_leave_the_rollout_against_it_ends_too(approved: Project) -> None:
    look(approved)
    assert roll_back(approved, "bikes", "2", GRACE).version == "1"
    assert aliases(approved) == {"champion": "1"}
    assert (state(approved).standing, shared(approved)) == ("stopped", (0, False))
    assert standing(approved) == {"1": "champion", "2": "rolled back", "3": "rolled back"}


def test_one_decision_by_two_lookers_is_made_once(approved: Project) -> None:
    seen = state(approved)
    first = carry_on(approved, seen, "bikes", PASSED, AT)
    written = events(approved)
    assert carry_on(approved, seen, "bikes", FAILED, AT) == first, "what was seen is not what is"
    assert events(approved) == written


def test_a_person_pauses_goes_on_skips_and_aborts(approved: Project) -> None:
    look(approved)
    assert control(approved, "bikes", "pause", GRACE).standing == "paused"
    assert (look(approved).standing, shared(approved)) == ("paused", (0, True)), "traffic stays where it was"
    assert control(approved, "bikes", "go on", GRACE).standing == "going"
    assert control(approved, "bikes", "skip", GRACE).stage.name == "canary 25 %"
    assert control(approved, "bikes", "abort", GRACE).standing == "stopped"
    assert shared(approved) == (0, False)
    assert [event.by for event in History(approved).events("bikes")[-4:]] == ["Grace"] * 4


def test_a_paused_rollout_is_stopped_all_the_same_when_a_rule_fails(approved: Project) -> None:
    look(approved)
    control(approved, "bikes", "pause", GRACE)
    assert look(approved, FAILED).standing == "stopped"


def test_a_stage_that_is_held_is_decided_once_and_goes_on_when_it_no_longer_is(approved: Project) -> None:
    look(approved)
    look(approved)
    held = look(approved, HARMS)
    assert (held.standing, held.stage.name, shared(approved)) == ("held", "canary 25 %", (0.25, False))
    assert [reason.text for reason in held.reasons if not reason.passed] == ["log loss +0.08"]
    written = events(approved)
    assert look(approved, HARMS) == held
    assert events(approved) == written
    waits = Reason(rule="labels", passed=False, inconclusive=True, text="3 in this stage")
    assert look(approved, (waits,)).standing == "going"
    assert look(approved, HARMS).standing == "held"
    assert look(approved).stage.name == "canary 100 %"


def test_a_person_may_pause_skip_or_abort_what_is_held(approved: Project) -> None:
    look(approved)
    assert look(approved, HARMS).standing == "held"
    assert control(approved, "bikes", "pause", GRACE).standing == "paused"
    assert control(approved, "bikes", "go on", GRACE).standing == "going"
    assert look(approved, HARMS).standing == "held"
    assert control(approved, "bikes", "skip", GRACE).stage.name == "canary 25 %"
    assert look(approved, HARMS).standing == "held"
    assert look(approved, FAILED).standing == "stopped"


def test_a_person_is_asked_before_full_traffic_where_the_case_wants_it(succession: Project, answer: Answer) -> None:
    project = staged(succession, approvals=["start", "full"])
    decide(project, answer("3", at=AT, share=0.25))
    for _ in range(2):
        look(project)
    assert (look(project).standing, shared(project)) == ("asking", (0.25, False))
    assert look(project).standing == "asking"
    assert control(project, "bikes", "go on", GRACE).stage.name == "canary 100 %"


def test_without_a_start_to_be_approved_the_policy_begins_the_rollout(succession: Project) -> None:
    from tasks.promotion.policy import approval_by_policy  # noqa: PLC0415

    project = staged(succession, approvals=["full"])
    approval = approval_by_policy(project, "bikes", "3", AT, first=False)
    assert approval is not None
    assert (approval.by, approval.share) == ("policy", 0.05)
    assert approval_by_policy(staged(succession), "bikes", "3", AT, first=False) is None


@pytest.mark.parametrize(
    ("wish", "before", "said"),
    [
        ("go on", 1, "cannot go on: it is shadow"),
        ("skip", 0, "cannot skip: it is load check"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(approved: Project, wish: Any, before: int, said: str) -> None:
    for _ in range(before):
        look(approved)
    with pytest.raises(NotInThisState, match=said):
        control(approved, "bikes", wish, GRACE)


def test_only_approvers_step_in_but_a_gate_needs_no_name(approved: Project) -> None:
    path = approved.root / "configs/places/local.yaml"
    path.write_text(path.read_text() + "approvers: [Ada]\n")
    place = Project(approved.root)
    with pytest.raises(NotAnApprover, match="`Grace` may not decide here"):
        control(place, "bikes", "abort", GRACE)
    assert look(place, FAILED).standing == "stopped"


def test_nothing_rolls_out_without_an_approval(succession: Project) -> None:
    assert under_way(staged(succession), "bikes") is None
    with pytest.raises(NothingRollsOut, match="begins when a version that passed the gate is approved"):
        control(succession, "bikes", "skip", GRACE)


def test_a_second_rollout_of_the_case_is_refused(approved: Project, answer: Answer) -> None:
    Registry(approved).tag(
        "bikes", "1", {"status": "awaiting approval", "champion_then": "2", "asked_at": AT.isoformat()}
    )
    with pytest.raises(RolloutUnderWay, match="Version 3 of `bikes` is rolling out: load check"):
        decide(approved, answer("1", at=AT))


def test_a_share_by_hand_is_refused_while_a_rollout_decides_on_it(approved: Project) -> None:
    look(approved)
    with pytest.raises(RolloutUnderWay, match="One rollout at a time"):
        set_traffic(approved, "bikes", "3", share=0.5, shadow=False, why=GRACE)


def test_a_challenger_on_its_way_keeps_its_place_when_the_next_one_is_registered(approved: Project) -> None:
    change_params(approved.root, "bikes", {"training.settings.max_iter": 40})
    from tests.conftest import commit, run_chain  # noqa: PLC0415

    commit(approved.root, "40 trees")
    order: Order = run_chain(Project(approved.root), AS_OF)
    register(Project(approved.root), order, AT)
    assert aliases(approved)["challenger"] == "3"


def test_an_altered_model_never_becomes_champion(approved: Project) -> None:
    for _ in range(3):
        look(approved)
    path = stored_model(approved, "3")
    path.write_bytes(path.read_bytes() + b"x")
    assert look(approved).standing == "stopped"
    assert "is not the file that was recorded" in History(approved).events("bikes")[-1].reason
    assert (aliases(approved)["champion"], shared(approved)) == ("2", (0, False))


def test_an_altered_model_begins_no_rollout(succession: Project, answer: Answer) -> None:
    project = staged(succession)
    path = stored_model(project, "3")
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ArtifactAltered):
        decide(project, answer("3", at=AT))
    assert standing(project)["3"] == "awaiting approval"


def candidate(**changes: Any) -> Candidate:
    made = {"case": "bikes", "contract_version": 1, "estimator": "linear", "calibration": "none", "seed": 1}
    times = {"train_start": ASKED, "train_end": ASKED, "batches": ()}
    return Candidate.model_validate({**made, **times, "features": ("season", "humidity"), **changes})


@pytest.mark.parametrize(
    ("challenger", "problem"),
    [
        ({}, None),
        ({"features": ("season",)}, None),
        ({"features": ("season", "tide")}, "it needs `tide`, which the contract does not promise"),
        ({"features": ("season", "holiday"), "contract_version": 2}, "`holiday`, which contract 1 did not ask for"),
        ({"classes": ("few", "many")}, "it answers few, many, the champion a number"),
    ],
)
def test_a_contract_that_breaks_clients_is_told_from_one_that_does_not(
    succession: Project, challenger: dict[str, Any], problem: str | None
) -> None:
    found = breaking(candidate(), candidate(**challenger), succession.case("bikes").contract)
    assert (found == []) if problem is None else (problem in found[0])


def test_a_breaking_contract_is_refused_at_the_approval(succession: Project, answer: Answer) -> None:
    project = staged(succession)
    path = project.root / "configs/bikes.yaml"
    described = yaml.safe_load(path.read_text())
    del described["contract"]["columns"]["humidity"]
    path.write_text(yaml.safe_dump(described, sort_keys=False))
    with pytest.raises(ContractDiffers, match="it needs `humidity`, which the contract does not promise"):
        decide(Project(project.root), answer("3", at=AT))
    assert standing(project)["3"] == "awaiting approval"


@pytest.mark.parametrize(
    ("not_enough", "standing_then", "stage"),
    [("abort", "stopped", "shadow"), ("hold", "going", "shadow"), ("promote", "going", "canary 25 %")],
)
def test_not_enough_evidence_in_time_follows_the_configured_choice(
    succession: Project, answer: Answer, not_enough: str, standing_then: str, stage: str
) -> None:
    project = staged(succession, not_enough=not_enough, shadow={"hours": 0, "at_most_hours": 2})
    decide(project, answer("3", at=AT, share=0.25))
    look(project)
    waits = Reason(rule="requests", passed=False, inconclusive=True, text="3 of 500")
    before = state(project)
    assert carry_on(project, before, "bikes", [waits], before.since + timedelta(hours=1.9)).stage.name == "shadow"
    after = carry_on(project, state(project), "bikes", [waits], before.since + timedelta(hours=2))
    assert (after.standing, after.stage.name) == (standing_then, stage)


@pytest.mark.parametrize(
    ("changes", "log", "said"),
    [
        ({"costs": {"false_negative": 3}}, {}, "`costs` judges yes and no, and this is a regression case"),
        ({"shadow": {"share": 0.5}}, {"hashed": ["entity"]}, "the prediction log does not keep them as they are"),
    ],
)
def test_a_rollout_that_its_case_cannot_have_is_refused_before_it_begins(
    succession: Project, answer: Answer, changes: dict[str, Any], log: dict[str, Any], said: str
) -> None:
    project = staged(succession, **changes)
    path = project.root / "configs/bikes.yaml"
    described = yaml.safe_load(path.read_text())
    described.setdefault("serving", {})["log"] = log
    path.write_text(yaml.safe_dump(described, sort_keys=False))
    with pytest.raises(RolloutUnfit, match=said):
        decide(Project(project.root), answer("3", at=AT))
    assert standing(project)["3"] == "awaiting approval"


def test_a_share_in_the_shadow_reaches_the_registry_and_the_history(succession: Project, answer: Answer) -> None:
    project = staged(succession, shadow={"hours": 0, "share": 0.2})
    decide(project, answer("3", at=AT, share=0.25))
    look(project)
    assert shared(project) == (0, 0.2)
    assert who_answers(project)[-1] == "2: 100 %; 3 in the shadow of 20 %"


MOVES: dict[str, tuple[int, Callable[[Project], object]]] = {
    "into the shadow": (0, look),
    "into the canary": (1, look),
    "to the champion": (3, look),
    "out again": (2, partial(look, reasons=FAILED)),
    "back after the promotion": (4, partial(look, reasons=FAILED)),
}


@pytest.mark.parametrize(
    ("moved", "holder", "what", "nth"),
    [
        ("into the shadow", History, "append", 1),
        ("into the shadow", Registry, "set_traffic", 1),
        ("into the canary", History, "append", 1),
        ("into the canary", Registry, "set_traffic", 1),
        ("to the champion", History, "append", 1),
        ("to the champion", Registry, "move_alias", 1),
        ("to the champion", Registry, "move_alias", 2),
        ("to the champion", History, "append", 2),
        ("out again", History, "append", 1),
        ("out again", Registry, "set_traffic", 1),
        ("out again", Registry, "move_alias", 1),
        ("out again", Registry, "tag", 1),
        ("back after the promotion", Registry, "move_alias", 1),
        ("back after the promotion", History, "append", 2),
    ],
    ids=lambda given: getattr(given, "__name__", str(given)),
)
def test_killed_at_any_write_traffic_is_at_a_decided_state_and_a_rerun_ends_as_if_nothing_had_happened(  # noqa: PLR0917
    approved: Project, dies: Dies, moved: str, holder: type, what: str, nth: int
) -> None:
    before, move = MOVES[moved]
    for _ in range(before):
        look(approved)
    decided = [shared(approved), (0.0, False)]
    dies(partial(move, approved), holder, what, nth)
    if not state(approved).over:
        decided.append((state(approved).stage.share, state(approved).stage.shadow))
    assert shared(approved) in decided

    going = under_way(approved, "bikes")
    if going is not None and going.number == before:
        move(approved)  # it died before anything was decided
    ends = {"to the champion": "champion", "into the shadow": "rolling out", "into the canary": "rolling out"}
    assert standing(approved)["3"] == ends.get(moved, "rolled back")
    assert aliases(approved)["champion"] == ("3" if moved == "to the champion" else "2")
    assert shared(approved) == {"into the shadow": (0, True), "into the canary": (0.25, False)}.get(moved, (0, False))
    assert History(approved).verify("bikes") == len(events(approved))
