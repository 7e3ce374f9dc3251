"""Decisions on versions: who may make them, what they change, and what is left when they are interrupted."""

from datetime import timedelta
from functools import partial

import pytest

from configs.project import Project
from tasks.adapters.history import History
from tasks.adapters.registry import Registry
from tasks.errors import (
    AnswersDiffer,
    ArtifactAltered,
    ArtifactMissing,
    DecidedNotDone,
    DecisionUnexplained,
    NotApprovable,
    NothingToRollBackTo,
    NotServing,
)
from tasks.promotion.decide import Why, decide, expire, roll_back
from tasks.promotion.policy import approval_by_policy
from tasks.promotion.register import known_version
from tasks.records import Event, Status
from tests.conftest import ASKED, Answer, change_params

from .conftest import Dies, aliases, events, last_event, refusing, run_folder, standing, stored_model

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bikes")]

LATER = ASKED + timedelta(days=30)
WORSE = Why(by="Grace", reason="the new one answers nonsense", at=LATER)


def tags(project: Project, version: str) -> dict[str, str]:
    entry = Registry(project).version("bikes", version)
    assert entry
    return entry.tags


def test_the_first_model_is_approved_by_policy_which_says_so_in_tags_and_history(registered: Project) -> None:
    approval = approval_by_policy(registered, "bikes", "1", ASKED, first=True)
    assert approval
    assert decide(registered, approval).status is Status.champion
    assert aliases(registered) == {"champion": "1"}
    assert events(registered) == [("registered", "1"), ("approving", "1"), ("approved", "1")]
    assert (last_event(registered).by, last_event(registered).before) == ("policy", None)
    assert last_event(registered).reason.startswith("auto_approve: first_model")
    assert tags(registered, "1")["decided_by"] == "policy"
    assert tags(registered, "1")["decided_through"] == "policy"


def test_a_second_model_is_left_to_a_person(registered: Project) -> None:
    assert approval_by_policy(registered, "bikes", "2", ASKED, first=False) is None


def test_in_ci_every_model_that_passed_the_gate_is_approved(registered: Project) -> None:
    approval = approval_by_policy(Project(registered.root, "ci"), "bikes", "2", ASKED, first=False)
    assert approval
    assert approval.reason.startswith("auto_approve: place_ci")


def test_no_policy_no_approval_even_of_a_first_model(registered: Project) -> None:
    change_params(registered.root, "bikes", {"approval.auto_approve": []})
    assert approval_by_policy(registered, "bikes", "1", ASKED, first=True) is None


def test_an_approval_moves_the_champion_and_retires_the_former(succession: Project, answer: Answer) -> None:
    at = ASKED + timedelta(days=14)
    done = decide(succession, answer("3", at=at, share=0.25, channel="form"))
    assert (done.version, done.status) == ("3", Status.champion)
    assert aliases(succession) == {"champion": "3", "retired": "2"}
    assert standing(succession) == {"3": "champion", "2": "retired", "1": "retired"}
    written = tags(succession, "3")
    assert {key: written[key] for key in written if key.startswith("decided") or key == "starting_share"} == {
        "decided_by": "Ada",
        "decided_at": at.isoformat(),
        "decided_because": "the figures hold",
        "decided_through": "form",
        "starting_share": "0.25",
    }
    assert last_event(succession) == Event(
        case="bikes", at=at, what="approved", version="3", by="Ada", reason="the figures hold", before="2"
    )


def test_approving_twice_changes_nothing_and_is_written_once(succession: Project, answer: Answer) -> None:
    decide(succession, answer("3"))
    before = (aliases(succession), standing(succession), events(succession), tags(succession, "3"))
    again = decide(succession, answer("3", by="Eve", reason="me too", at=LATER))
    assert again.status is Status.champion
    assert (aliases(succession), standing(succession), events(succession), tags(succession, "3")) == before


def test_a_rejection_leaves_the_champion_and_frees_the_challenger(succession: Project, answer: Answer) -> None:
    done = decide(succession, answer("3", approve=False, reason="too slow"))
    assert done.status is Status.rejected
    assert aliases(succession) == {"champion": "2", "retired": "1"}
    assert standing(succession)["3"] == "rejected"
    assert (last_event(succession).what, last_event(succession).reason) == ("rejected", "too slow")


def test_rejecting_twice_changes_nothing_and_is_written_once(succession: Project, answer: Answer) -> None:
    decide(succession, answer("3", approve=False))
    written = events(succession)
    assert decide(succession, answer("3", approve=False)).status is Status.rejected
    assert events(succession) == written


def test_a_champion_cannot_be_rejected_afterwards(succession: Project, answer: Answer) -> None:
    with pytest.raises(NotApprovable, match=r"Version 2 of `bikes` .* it is champion\. Waiting for an answer: 3\."):
        decide(succession, answer("2", approve=False))
    assert aliases(succession)["champion"] == "2"


def test_a_rejected_version_cannot_be_approved_afterwards(succession: Project, answer: Answer) -> None:
    decide(succession, answer("3", approve=False))
    with pytest.raises(NotApprovable, match=r"it is rejected\. No version waits for an answer\."):
        decide(succession, answer("3"))


def test_a_retired_version_comes_back_by_rollback_only(succession: Project, answer: Answer) -> None:
    with pytest.raises(NotApprovable, match="it is retired"):
        decide(succession, answer("1"))


def test_an_unknown_version_is_refused_naming_those_that_wait(succession: Project, answer: Answer) -> None:
    with pytest.raises(NotApprovable, match=r"Version 7 .* it does not exist\. Waiting for an answer: 3\."):
        decide(succession, answer("7"))


def test_without_any_model_there_is_nothing_to_decide_on(clone: Project, answer: Answer) -> None:
    with pytest.raises(NotApprovable, match=r"it does not exist\. No version waits"):
        decide(clone, answer("1"))
    with pytest.raises(NotServing, match=r"Version 1 of `bikes` cannot be rolled back: it does not exist\..*: none\."):
        roll_back(clone, "bikes", "1", WORSE)


def test_only_approvers_approve_or_reject_where_a_place_names_them(succession: Project, answer: Answer) -> None:
    local = succession.root / "configs/places/local.yaml"
    local.write_text(local.read_text() + "approvers: [grace, linus]\n")
    place = Project(succession.root)
    for approve in (True, False):
        with pytest.raises(NotApprovable, match=r"`Ada` may not decide here; approvers are grace, linus"):
            decide(place, answer("3", approve=approve))
    assert standing(place)["3"] == "awaiting approval"
    assert decide(place, answer("3", by="grace")).status is Status.champion


def test_a_policy_needs_no_approver(registered: Project) -> None:
    local = registered.root / "configs/places/local.yaml"
    local.write_text(local.read_text() + "approvers: [grace]\n")
    place = Project(registered.root)
    approval = approval_by_policy(place, "bikes", "1", ASKED, first=True)
    assert approval
    assert decide(place, approval).status is Status.champion


def test_a_version_expires_after_exactly_the_configured_hours(registered: Project, answer: Answer) -> None:
    limit = ASKED + registered.params("bikes").approval.expires_after
    assert expire(registered, "bikes", limit - timedelta(seconds=1)) == []
    assert standing(registered) == {"1": "awaiting approval"}
    assert expire(registered, "bikes", limit) == ["1"]
    assert standing(registered) == {"1": "rejected: expired"}
    assert aliases(registered) == {}
    assert (last_event(registered).by, last_event(registered).at) == ("expiry", limit)
    assert last_event(registered).reason == "expired: nobody answered within 168 hours"
    assert expire(registered, "bikes", limit + timedelta(days=1)) == []
    with pytest.raises(NotApprovable, match="it is rejected: expired"):
        decide(registered, answer("1"))


def test_an_overdue_version_cannot_be_approved_even_before_anybody_looked(registered: Project, answer: Answer) -> None:
    limit = ASKED + registered.params("bikes").approval.expires_after
    with pytest.raises(NotApprovable, match="it is rejected: expired"):
        decide(registered, answer("1", at=limit))
    assert standing(registered) == {"1": "rejected: expired"}


def test_only_approvers_roll_back_where_a_place_names_them(succession: Project) -> None:
    local = succession.root / "configs/places/local.yaml"
    local.write_text(local.read_text() + "approvers: [linus]\n")
    with pytest.raises(NotApprovable, match=r"`Grace` may not decide here; approvers are linus"):
        roll_back(Project(succession.root), "bikes", "2", WORSE)
    assert aliases(succession)["champion"] == "2"


@pytest.mark.parametrize(("by", "reason"), [(" ", "why not"), ("Grace", "")])
def test_a_decision_needs_a_name_and_a_reason(by: str, reason: str) -> None:
    with pytest.raises(DecisionUnexplained, match="needs a name and a reason"):
        Why(by=by, reason=reason, at=LATER)


def test_a_version_superseded_by_a_newer_challenger_cannot_be_approved(succession: Project, answer: Answer) -> None:
    Registry(succession).tag("bikes", "3", {"status": Status.superseded.value})
    with pytest.raises(NotApprovable, match="it is superseded"):
        decide(succession, answer("3"))


def test_a_rollback_puts_the_retired_back_and_marks_the_one_that_leaves(succession: Project) -> None:
    done = roll_back(succession, "bikes", "2", WORSE)
    assert (done.version, done.status) == ("1", Status.champion)
    assert aliases(succession) == {"champion": "1", "challenger": "3"}
    assert standing(succession) == {"1": "champion", "2": "rolled back", "3": "awaiting approval"}
    assert last_event(succession) == Event(
        case="bikes", at=LATER, what="rolled back", version="1", by="Grace", reason=WORSE.reason, before="2"
    )


def test_rollbacks_go_back_one_champion_at_a_time_until_none_is_left(succession: Project, answer: Answer) -> None:
    decide(succession, answer("3"))
    roll_back(succession, "bikes", "3", WORSE)
    assert aliases(succession) == {"champion": "2", "retired": "1"}
    assert standing(succession) == {"1": "retired", "2": "champion", "3": "rolled back"}
    roll_back(succession, "bikes", "2", WORSE)
    assert aliases(succession) == {"champion": "1"}
    assert standing(succession) == {"1": "champion", "2": "rolled back", "3": "rolled back"}
    with pytest.raises(NothingToRollBackTo, match="no retired champion to go back to"):
        roll_back(succession, "bikes", "1", WORSE)
    assert aliases(succession) == {"champion": "1"}


@pytest.mark.parametrize(
    ("version", "said"), [("1", "it is retired"), ("3", "it is awaiting approval"), ("9", "exist")]
)
def test_a_version_that_answers_nobody_cannot_be_rolled_back(succession: Project, version: str, said: str) -> None:
    before = (aliases(succession), standing(succession), events(succession))
    with pytest.raises(NotServing, match=rf"{said}.*\. Nothing was changed\. Those that can be: 2 \(champion\)\."):
        roll_back(succession, "bikes", version, WORSE)
    assert (aliases(succession), standing(succession), events(succession)) == before


def test_a_version_judged_against_a_champion_that_left_must_be_judged_again(
    succession: Project, answer: Answer
) -> None:
    roll_back(succession, "bikes", "2", Why(by="Grace", reason="nonsense", at=ASKED + timedelta(days=13)))
    with pytest.raises(NotApprovable, match=r"judged against champion 2, and 1 serves now; train again"):
        decide(succession, answer("3", at=ASKED + timedelta(days=14)))
    assert aliases(succession)["champion"] == "1"
    assert known_version(succession, "bikes") is None, "the same candidate is compared with who serves now"


def test_a_version_that_was_rolled_back_cannot_be_approved_again(succession: Project, answer: Answer) -> None:
    roll_back(succession, "bikes", "2", WORSE)
    with pytest.raises(NotApprovable, match="it is rolled back"):
        decide(succession, answer("2"))


def test_an_altered_model_cannot_be_approved(succession: Project, answer: Answer) -> None:
    path = stored_model(succession, "3")
    path.write_bytes(path.read_bytes() + b"x")
    before = (aliases(succession), standing(succession), events(succession))
    with pytest.raises(ArtifactAltered, match="is not the file that was recorded"):
        decide(succession, answer("3"))
    assert (aliases(succession), standing(succession), events(succession)) == before


def test_another_valid_model_in_its_place_is_an_altered_model(succession: Project, answer: Answer) -> None:
    stored_model(succession, "3").write_bytes(stored_model(succession, "2").read_bytes())
    with pytest.raises(ArtifactAltered, match="is not the file that was recorded"):
        decide(succession, answer("3"))


def test_a_model_whose_file_is_gone_cannot_be_approved(succession: Project, answer: Answer) -> None:
    stored_model(succession, "3").unlink()
    with pytest.raises(ArtifactMissing, match=r"has no file at .*\. Restore it from a backup"):
        decide(succession, answer("3"))
    assert aliases(succession) == {"champion": "2", "challenger": "3", "retired": "1"}


def test_a_model_that_answers_otherwise_than_when_it_was_judged_cannot_be_approved(
    succession: Project, answer: Answer
) -> None:
    answers = {v: run_folder(succession, v) / "model/input_example_predictions.npy" for v in ("2", "3")}
    answers["3"].write_bytes(answers["2"].read_bytes())
    with pytest.raises(AnswersDiffer, match="Version 3 of `bikes` loads, but answers its input example otherwise"):
        decide(succession, answer("3"))
    assert aliases(succession)["champion"] == "2"


def test_an_altered_retired_model_refuses_the_rollback(succession: Project) -> None:
    path = stored_model(succession, "1")
    path.write_bytes(path.read_bytes()[:-1])
    before = (aliases(succession), standing(succession), events(succession))
    with pytest.raises(ArtifactAltered, match="is not the file that was recorded"):
        roll_back(succession, "bikes", "2", WORSE)
    assert (aliases(succession), standing(succession), events(succession)) == before


@pytest.mark.parametrize(
    "death",
    [(Registry, "move_alias", 1), (Registry, "move_alias", 2)],
    ids=["before the switch", "in the middle of the switch"],
)
def test_an_approval_killed_between_intent_and_done_is_finished_by_the_next_decision(
    succession: Project, answer: Answer, dies: Dies, death: tuple[type, str, int]
) -> None:
    dies(partial(decide, succession, answer("3")), *death)
    assert last_event(succession).what == "approving"
    with pytest.raises(NotApprovable, match="it is champion"):
        decide(succession, answer("3", approve=False, by="Eve"))
    assert aliases(succession) == {"champion": "3", "retired": "2"}
    assert standing(succession) == {"1": "retired", "2": "retired", "3": "champion"}
    assert events(succession)[-2:] == [("approving", "3"), ("approved", "3")]
    assert (last_event(succession).by, last_event(succession).before) == ("Ada", "2")
    assert History(succession).verify("bikes") == len(events(succession))


def test_an_approval_killed_after_the_switch_is_written_once(succession: Project, answer: Answer, dies: Dies) -> None:
    dies(partial(decide, succession, answer("3")), History, "append", 2)
    assert aliases(succession) == {"champion": "3", "retired": "2"}
    assert expire(succession, "bikes", LATER) == []
    assert events(succession)[-2:] == [("approving", "3"), ("approved", "3")]


def test_an_approval_killed_before_its_intent_never_happened(succession: Project, answer: Answer, dies: Dies) -> None:
    dies(partial(decide, succession, answer("3")), History, "append")
    assert expire(succession, "bikes", ASKED) == []
    assert aliases(succession) == {"champion": "2", "challenger": "3", "retired": "1"}
    assert standing(succession)["3"] == "awaiting approval"


@pytest.mark.parametrize(("what", "nth"), [("move_alias", 1), ("move_alias", 2), ("tag", 2)])
def test_a_rollback_killed_anywhere_is_finished_by_the_next_decision(
    succession: Project, dies: Dies, what: str, nth: int
) -> None:
    dies(partial(roll_back, succession, "bikes", "2", WORSE), Registry, what, nth)
    assert last_event(succession).what == "rolling back"
    assert expire(succession, "bikes", ASKED) == []
    assert aliases(succession) == {"champion": "1", "challenger": "3"}
    assert standing(succession) == {"1": "champion", "2": "rolled back", "3": "awaiting approval"}
    assert events(succession)[-2:] == [("rolling back", "1"), ("rolled back", "1")]


def test_a_rollback_that_fails_in_the_middle_says_that_it_is_decided(succession: Project) -> None:
    with (
        refusing(succession, "registered_model_aliases"),
        pytest.raises(
            DecidedNotDone, match=r"Decided and kept .*: `rolling back` version 1 instead of 2; who answers may"
        ),
    ):
        roll_back(succession, "bikes", "2", WORSE)
    assert (aliases(succession)["champion"], last_event(succession).what) == ("2", "rolling back")
    assert roll_back(succession, "bikes", "2", WORSE).version == "1"
    assert aliases(succession) == {"champion": "1", "challenger": "3"}


@pytest.mark.parametrize(
    ("holder", "what", "nth"),
    [(History, "append", 1), *[(Registry, "move_alias", n) for n in (1, 2)], *[(Registry, "tag", n) for n in (1, 2)]],
)
def test_a_rollback_that_was_killed_and_is_run_again_takes_nobody_else_away(  # noqa: PLR0917
    succession: Project, answer: Answer, dies: Dies, holder: type, what: str, nth: int
) -> None:
    decide(succession, answer("3"))
    again = partial(roll_back, succession, "bikes", "3", WORSE)
    dies(again, holder, what, nth)
    for _ in range(2):
        assert again().version == "2"
        assert aliases(succession) == {"champion": "2", "retired": "1"}
        assert standing(succession) == {"1": "retired", "2": "champion", "3": "rolled back"}
    assert events(succession)[-2:] == [("rolling back", "2"), ("rolled back", "2")]
    assert [event for event, _ in events(succession)].count("rolled back") == 1


@pytest.mark.parametrize(("what", "nth"), [("move_alias", 1), ("tag", 2)])
def test_a_rejection_killed_after_it_was_written_is_finished_by_the_next_decision(
    succession: Project, answer: Answer, dies: Dies, what: str, nth: int
) -> None:
    # The first call of tag signs the version, the second sets its status.
    dies(partial(decide, succession, answer("3", approve=False)), Registry, what, nth)
    assert last_event(succession).what == "rejected"
    with pytest.raises(NotApprovable, match=r"it is rejected\."):
        decide(succession, answer("3"))
    assert aliases(succession) == {"champion": "2", "retired": "1"}
    assert [what for what, version in events(succession) if version == "3"] == ["registered", "rejected"]


def test_an_expiry_killed_after_it_was_written_is_finished_as_an_expiry(
    registered: Project, answer: Answer, dies: Dies
) -> None:
    dies(partial(expire, registered, "bikes", LATER), Registry, "tag", 2)
    with pytest.raises(NotApprovable, match="it is rejected: expired"):
        decide(registered, answer("1"))


def test_an_answer_needs_a_name_and_a_reason(answer: Answer) -> None:
    for missing in ({"by": " "}, {"reason": ""}):
        with pytest.raises(ValueError, match="needs a name and a reason"):
            answer("1", **missing)
