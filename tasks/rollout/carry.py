"""carry: move a rollout on, from what was found out about it or because a person says so; one decision at a time."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal

from configs.project import Project
from tasks.errors import ArtifactError
from tasks.promotion.decide import Desk, Why, must_be_an_approver, take_back
from tasks.promotion.proof import prove
from tasks.records import Reason, Rollout
from tasks.rollout.errors import NothingRollsOut, NotInThisState
from tasks.rollout.stages import following, judged

log = logging.getLogger(__name__)

Wish = Literal["pause", "go on", "skip", "abort"]
WHO = "rollout"
"""Who decides where the evidence does."""


def under_way(project: Project, case: str) -> Rollout | None:
    """The case's rollout, in the state that was decided last; traffic is brought to that state if it is not there."""
    desk = Desk(project, case)
    with desk.alone():
        return desk.under_way()


def carry_on(project: Project, seen: Rollout, case: str, reasons: Sequence[Reason], at: datetime) -> Rollout:
    """Decide what follows for the state that was `seen` from what was found out about it; returns the state now.

    Whatever was decided meanwhile goes first. That a stage is held, or no longer, is decided too: people are told.
    Somebody who paused the rollout, or is asked, stops only its progress: a rule that fails ends it all the same. So
    does a model whose file is not what was judged when it is to be promoted.
    Raises NothingRollsOut.
    """
    desk = Desk(project, case)
    with desk.alone():
        state = desk.rollout()
        if state is None:
            raise NothingRollsOut(case)
        if state != seen or state.over:
            return state
        found = judged(state, reasons, project.params(case).rollout.not_enough, at)
        log.info("rollout %s: %s: %s: %s", case, state, found.move, found.why)
        why = Why(by=WHO, reason=f"{state.stage.name}: {found.why}", at=at, automatic=True)
        moves = state.standing in {"going", "held"}
        standing = "held" if found.held else "going"
        if found.move == "stop":
            take_back(desk, state.version, why)
        elif found.move == "ask" and moves:
            desk.move(state.model_copy(update={"standing": "asking", "reasons": found.reasons}), why)
        elif found.move == "stay" and moves and state.standing != standing:
            desk.move(state.model_copy(update={"standing": standing, "reasons": found.reasons}), why)
        elif found.move == "go on" and moves:
            try:
                _enter(desk, following(state, found.reasons, at), why)
            except ArtifactError as error:
                take_back(desk, state.version, replace(why, reason=f"{state.stage.name}: {error}"))
        return desk.rollout() or state


def control(project: Project, case: str, wish: Wish, why: Why) -> Rollout:
    """Do what a person wants of the rollout; returns its state then.

    `pause` holds it where it is; `go on` ends a pause, or says yes where it asks; `skip` enters the next stage now;
    `abort` takes the challenger away from users. Raises NothingRollsOut, NotInThisState, NotAnApprover.
    """
    desk = Desk(project, case)
    with desk.alone():
        state = desk.under_way()
        if state is None:
            raise NothingRollsOut(case)
        must_be_an_approver(desk, why, state.version)
        match wish, state.standing:
            case "abort", _:
                take_back(desk, state.version, why)
            case "pause", "going" | "held" | "asking":
                desk.move(state.model_copy(update={"standing": "paused", "reasons": ()}), why)
            case "go on", "paused":
                desk.move(state.model_copy(update={"standing": "going", "reasons": ()}), why)
            case ("go on", "asking") | ("skip", _) if state.stage.kind != "load":
                _enter(desk, following(state, (), why.at), why)
            case _:
                raise NotInThisState(case, wish, str(state))
        return desk.rollout() or state


def _enter(desk: Desk, state: Rollout, why: Why) -> None:
    before = desk.registry.holder(desk.case, "champion")
    if state.promoted and not state.over and before and before.version != state.version:
        challenger = desk.version(state.version)
        prove(desk.registry, challenger)
        desk.promote(state, why)
    else:
        desk.move(state, why)
    log.info("rollout %s: version %s: %s", desk.case, state.version, state)
