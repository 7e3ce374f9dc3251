"""What triage decided on is done once, however often its run dies and is run again."""

from functools import partial

import pytest

from configs.project import Project
from flows.triggering import act
from tasks.adapters.incidents import Incidents
from tasks.adapters.registry import Registry
from tasks.errors import NothingToRollBackTo
from tasks.promotion.decide import Why, decide, roll_back
from tasks.rollout.fallen import TRIAGE
from tasks.verdicts import Action, Triaged
from tests.adapters.test_journal import incident
from tests.conftest import ASKED, Answer
from tests.promotion.conftest import Dies, aliases, dies, standing, unspoilt

__all__ = ["dies", "unspoilt"]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bikes")]

WORSE = Triaged(
    case="bikes",
    as_of=ASKED,
    action=Action.roll_back,
    rule="worse since its promotion",
    reasons=("realised alarms",),
    version="3",
    key="k" * 32,
)


@pytest.mark.parametrize(("what", "nth"), [("move_alias", 1), ("tag", 2)])
def test_a_champion_is_put_back_once(succession: Project, answer: Answer, dies: Dies, what: str, nth: int) -> None:
    decide(succession, answer("3"))
    why = Why(TRIAGE, WORSE.reasons[0], ASKED, automatic=True)
    dies(partial(roll_back, succession, "bikes", "3", why), Registry, what, nth)
    for _ in range(2):
        act.fn(WORSE)
        assert aliases(succession) == {"champion": "2", "retired": "1"}
        assert standing(succession) == {"1": "retired", "2": "champion", "3": "rolled back"}


def test_what_could_not_be_done_is_said_once_however_often_it_is_tried(checkout: Project) -> None:
    book = Incidents(checkout)
    with book.numbering() as number:
        book.keep([incident(number, key=WORSE.key, action="roll_back")])
    for _ in range(2):
        with pytest.raises(NothingToRollBackTo, match="`bikes`"):
            act.fn(WORSE.model_copy(update={"version": None}))
    [left] = book.all("bikes")
    assert (left.action, left.held_back, left.run) == (Action.escalate, Action.roll_back, None)
    assert [reason.startswith("`roll_back` could not be done: ") for reason in left.reasons] == [True, False]
