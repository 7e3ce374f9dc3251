"""The table of a replay: what became of candidates and challengers can be read off it."""

from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from flows.replay_cli import table
from tasks.replay.steps import Plan
from tasks.replay.told import Happened, Step

BEGAN, END = datetime(2013, 6, 3, tzinfo=UTC), datetime(2013, 7, 1, tzinfo=UTC)


def shown(**told: Any) -> str:
    step = Step(at=BEGAN, looked=True, champion="1", **told)
    paper = StringIO()
    Console(file=paper, width=200).print(table(Plan(case="flights", start=BEGAN, end=END), [step]))
    return paper.getvalue()


def happened(what: str, standing: str = "") -> Happened:
    return Happened(at=BEGAN, what=what, version="2", by="rollout", standing=standing)


def test_a_candidate_that_the_gate_did_not_accept_is_named() -> None:
    assert "candidate turned away" in shown(turned_away=1)
    assert "turned away" not in shown()


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (happened("registered"), "2 registered"),
        (happened("rollout", "canary 5 % (3 of 7), going"), "2 canary 5 %"),
        (happened("rollout", "canary 5 % (3 of 7), stopped"), "2 canary 5 %, stopped"),
        (happened("rollout", "warm (7 of 7), done"), "2 warm, done"),
    ],
)
def test_what_became_of_a_version_is_said(event: Happened, words: str) -> None:
    assert f" {words} " in f"{shown(events=(event,))} "


def test_that_a_decision_began_is_nothing_to_tell() -> None:
    assert "approving" not in shown(events=(happened("approving"),))
