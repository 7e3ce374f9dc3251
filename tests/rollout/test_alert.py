"""A version that was taken back is shown, taken and closed like any other incident."""

from datetime import timedelta

import pytest

from configs.project import Project
from tasks.adapters.history import History
from tasks.adapters.incidents import Incidents
from tasks.errors import DecisionUnexplained
from tasks.promotion.decide import roll_back
from tasks.records import Event
from tasks.rollout.alert import alert
from tasks.triage.block import acknowledge, close
from tasks.triage.errors import ClosesByItself
from tasks.triage.incident import Incident
from tests.command import told
from tests.rollout.test_carry import AT, FAILED, GRACE, approved, look

__all__ = ["approved"]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bikes")]


def test_a_stopped_rollout_is_an_incident_once_and_the_channels_are_told_once(approved: Project) -> None:
    assert alert(approved, "bikes", AT) == [], "a rollout that goes on needs nobody"
    look(approved)
    look(approved, FAILED)
    [incident] = alert(approved, "bikes", AT)
    assert (incident.cause, incident.rule) == ("rollout: version 3", "stopped rollout")
    assert incident.reasons == ("shadow: errors: 2 % of 400 (decided by rollout)",)
    assert alert(approved, "bikes", AT) == []
    book = Incidents(approved)
    assert [(each.incident, each.moment, each.channel) for each in book.alerts(unsent=True)] == [(1, "opened", "log")]
    assert acknowledge(approved, 1, "Ada").acknowledged_by == "Ada"


def test_a_rollback_from_the_command_line_is_shown_and_a_person_closes_it(approved: Project) -> None:
    signed = ("--by", "Grace", "--reason", "complaints from downtown")
    assert "2 is champion" in told(approved, "rollback", "3", "--case", "bikes", *signed)
    shown = told(approved, "incidents")
    assert "1 bikes rollout: version 3 roll_back (stopped rollout), open" in shown
    assert "complaints from downtown (decided by Grace)" in shown
    assert "taken by Ada" in told(approved, "incidents", "ack", "1", "--by", "Ada")
    closed = told(approved, "incidents", "close", "1", "--by", "Ada", "--reason", "the next one is in training")
    assert "closed" in closed
    assert told(approved, "incidents") == "No incident is open."
    assert Incidents(approved).one(1).closed_by == "Ada: the next one is in training"
    assert alert(approved, "bikes", AT) == [], "closed is closed"


def test_the_next_promotion_closes_it(approved: Project) -> None:
    roll_back(approved, "bikes", "2", GRACE)
    first = alert(approved, "bikes", AT)
    assert [each.version for each in first] == ["3", "2"]
    later = GRACE.at + timedelta(days=1)
    promoted = Event(case="bikes", at=later, what="approved", version="4", by="Ada", reason="a new one", before="1")
    History(approved).append(promoted)
    closed = alert(approved, "bikes", later)
    assert {(each.version, each.closed_at) for each in closed} == {("3", later), ("2", later)}
    assert [each.moment for each in Incidents(approved).alerts()] == ["opened", "opened", "closed", "closed"]


def test_only_what_no_verdict_closes_is_closed_by_a_person_and_with_a_reason(approved: Project) -> None:
    plain = {"id": 1, "case": "bikes", "cause": "realised: mae", "version": "2", "opened_at": AT, "seen_at": AT}
    alarm = Incident.model_validate(
        {**plain, "monitor": "realised", "action": "alert", "rule": "loss", "key": "k", "reasons": ["why"]}
    )
    Incidents(approved).keep([alarm])
    with pytest.raises(ClosesByItself, match="because `realised` alarms, and closes when its verdict clears"):
        close(approved, 1, "Ada", "known", AT)
    with pytest.raises(DecisionUnexplained):
        close(approved, 1, "Ada", " ", AT)
    assert Incidents(approved).one(1).closed_at is None
