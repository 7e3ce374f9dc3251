"""Sharing traffic: who may decide it, what it changes, and what of it outlives the challenger it was decided for."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from configs.project import Project
from tasks.adapters.history import History
from tasks.adapters.registry import Registry
from tasks.errors import AnswersDiffer, ArtifactAltered, DecisionUnexplained, NoChallenger, NotAnApprover, NotApprovable
from tasks.promotion.decide import Why, decide, expire, roll_back
from tasks.promotion.traffic import set_traffic
from tasks.records import Traffic
from tests.command import told
from tests.conftest import ASKED, Answer

from .conftest import Dies, aliases, events, last_event, run_folder, stored_model

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bikes")]

WHY = Why(by="Ada", reason="a first look", at=ASKED + timedelta(days=13))
TENTH = Traffic(challenger="3", share=0.1, shadow=False, salt="bikes/3")
NOTHING = Traffic(salt="bikes")


def share(project: Project, version: str | None = "3", **changes: Any) -> Traffic:
    said = {"share": 0.1, "shadow": False, "why": WHY, **changes}
    return set_traffic(project, "bikes", version, **said)


def test_a_challenger_gets_a_share_which_is_written_in_registry_and_history(succession: Project) -> None:
    assert Registry(succession).traffic("bikes") == NOTHING
    assert share(succession) == TENTH
    assert Registry(succession).traffic("bikes") == TENTH
    event = last_event(succession)
    assert (event.what, event.version, event.by, event.at, event.traffic) == ("traffic", "3", "Ada", WHY.at, TENTH)
    assert event.reason == "the challenger answers 10 %: a first look"
    assert History(succession).verify("bikes") == len(events(succession))
    assert aliases(succession) == {"champion": "2", "challenger": "3", "retired": "1"}


def test_a_raise_keeps_the_salt_so_that_nobody_changes_sides(succession: Project) -> None:
    first = share(succession, share=0.1)
    assert share(succession, share=0.2, shadow=True).salt == first.salt
    assert last_event(succession).reason == "the challenger answers 20 %, and shadows the rest: a first look"


def test_sharing_as_it_is_already_changes_nothing_and_is_written_once(succession: Project) -> None:
    share(succession)
    written = events(succession)
    assert share(succession, why=Why("Eve", "me too", WHY.at)) == TENTH
    assert events(succession) == written


def test_a_share_killed_after_it_was_written_is_given_by_the_next_decision(succession: Project, dies: Dies) -> None:
    dies(partial(share, succession), Registry, "set_traffic")
    assert (last_event(succession).what, Registry(succession).traffic("bikes")) == ("traffic", NOTHING)
    assert expire(succession, "bikes", ASKED) == []
    assert Registry(succession).traffic("bikes") == TENTH
    assert share(succession) == TENTH
    assert [what for what, _ in events(succession)].count("traffic") == 1, "asked for again, it is not decided twice"


def test_the_next_challenger_starts_without_a_share(succession: Project) -> None:
    share(succession, share=0.5, shadow=True)
    registry = Registry(succession)
    registry.move_alias("bikes", "challenger", "1")
    assert registry.traffic("bikes") == NOTHING
    registry.move_alias("bikes", "challenger", None)
    assert registry.traffic("bikes") == NOTHING


def test_a_promoted_challenger_leaves_no_share_behind(succession: Project, answer: Answer) -> None:
    share(succession)
    decide(succession, answer("3", at=WHY.at))
    assert Registry(succession).traffic("bikes") == NOTHING
    roll_back(succession, "bikes", "3", WHY)
    assert Registry(succession).traffic("bikes") == NOTHING


def test_without_a_challenger_there_is_nobody_to_give_traffic_to(registered: Project, answer: Answer) -> None:
    decide(registered, answer("1"))
    for asked in ({"share": 0.1}, {"share": 0.0, "shadow": True}):
        with pytest.raises(NoChallenger, match="`bikes` has no challenger that could answer or shadow"):
            share(registered, None, **asked)
    assert share(registered, None, share=0.0) == NOTHING
    assert last_event(registered).what == "approved"


def test_a_version_that_is_not_the_challenger_gets_nothing(succession: Project) -> None:
    with pytest.raises(NotApprovable, match=r"Version 1 of `bikes` .* version 3 is the challenger"):
        share(succession, "1")


def test_only_approvers_share_traffic_where_a_place_names_them(succession: Project) -> None:
    local = succession.root / "configs/places/local.yaml"
    local.write_text(local.read_text() + "approvers: [grace]\n")
    place = Project(succession.root)
    with pytest.raises(NotAnApprover, match="`Ada` may not decide here; approvers are grace"):
        share(place)
    assert Registry(place).traffic("bikes") == NOTHING
    assert share(place, why=Why("grace", "a first look", WHY.at)) == TENTH


@pytest.mark.parametrize("asked", [{"share": 0.1}, {"share": 0.0, "shadow": True}], ids=["share", "shadow"])
def test_an_altered_model_answers_nobody_and_shadows_nobody(succession: Project, asked: dict[str, Any]) -> None:
    path = stored_model(succession, "3")
    path.write_bytes(path.read_bytes() + b"x")
    written = events(succession)
    with pytest.raises(ArtifactAltered, match="is not the file that was recorded"):
        share(succession, **asked)
    assert (Registry(succession).traffic("bikes"), events(succession)) == (NOTHING, written)


def test_a_model_that_answers_otherwise_than_when_it_was_judged_gets_nothing(succession: Project) -> None:
    answers = {v: run_folder(succession, v) / "model/input_example_predictions.npy" for v in ("2", "3")}
    answers["3"].write_bytes(answers["2"].read_bytes())
    with pytest.raises(AnswersDiffer, match="Version 3 of `bikes` loads, but answers its input example otherwise"):
        share(succession)


def test_traffic_is_taken_from_a_challenger_whose_file_is_broken(succession: Project) -> None:
    share(succession, shadow=True)
    stored_model(succession, "3").unlink()
    assert share(succession, share=0.0).share == 0
    assert Registry(succession).traffic("bikes").shadow == 0
    assert last_event(succession).reason.startswith("the challenger answers 0 %: ")


def test_a_share_needs_a_name_and_a_reason(succession: Project) -> None:
    with pytest.raises(DecisionUnexplained, match="needs a name and a reason"):
        share(succession, why=Why("Ada", " ", WHY.at))


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_a_share_is_between_nothing_and_all(succession: Project, wrong: float) -> None:
    with pytest.raises(ValueError, match="share"):
        share(succession, share=wrong)
    assert last_event(succession).what != "traffic"


def test_the_command_shares_shows_and_keeps_what_was_not_asked_for(succession: Project) -> None:
    traffic = partial(told, succession, "traffic", "bikes")
    assert traffic() == "bikes: champion: 2; challenger: 3; retired: 1; the challenger answers 0 %"
    assert traffic("--challenger", "0.1", "--by", "Ada", "--reason", "a look").endswith("the challenger answers 10 %")
    assert traffic("--shadow", "--reason", "more").endswith("the challenger answers 10 %, and shadows the rest")
    assert Registry(succession).traffic("bikes") == TENTH.model_copy(update={"shadow": True})
