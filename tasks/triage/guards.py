"""What holds a training back although its rule fits: cool-down, budget, one in flight, rejections, too new a world."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from configs.case import Case
from configs.triage import Guards
from tasks.validation.windows import learnable_at
from tasks.verdicts import Action

TRAININGS = frozenset({Action.retrain, Action.retrain_recent})
MONTH = timedelta(days=30)


@dataclass(frozen=True)
class Past:
    """What triage did before, and what goes on."""

    trainings: Sequence[datetime] = ()
    """As-ofs of the trainings that triage started."""
    rejected_in_a_row: int = 0
    """Of the candidates it had trained because of an alarm, the last ones that were turned away."""
    in_flight: bool = False
    awaiting: str | None = None
    """The version that waits for a person's answer."""
    rolling_out: str | None = None
    """The version that was approved, and is on its way to users."""
    blocked_by: int | None = None
    """The incident that blocks training."""


@dataclass(frozen=True)
class Changed:
    """A world that is another since a moment."""

    at: datetime
    learnable_at: Mapping[Action, datetime]
    """From when on the model that each training would put before users can know it."""

    @classmethod
    def since(cls, at: datetime | None, case: Case, judged_by: int, *, refit: bool) -> "Changed | None":
        """`judged_by`: batches that are kept from the candidate; with `refit` who is accepted learns them, too.

        What a training on recent rows alone puts forward has to prove itself by what it knows of the new world, and
        waits for that in any case.
        """
        if at is None:
            return None
        proven = learnable_at(case, judged_by, at)
        return cls(at, {Action.retrain: learnable_at(case, 0, at) if refit else proven, Action.retrain_recent: proven})


@dataclass(frozen=True)
class Held:
    """What is done instead, and why."""

    action: Action
    reason: str


def hold_back(  # noqa: PLR0913 - what is asked for, by whom, and what is known
    action: Action, guards: Guards, past: Past, as_of: datetime, *, alarmed: bool, changed: Changed | None = None
) -> Held | None:
    """What keeps a training from being started now; None if nothing does. Other actions are not held back.

    `alarmed`: it is asked for because of an alarm, not because time has passed or data have come in. `changed`: the
    world, where a monitor says since when.
    """
    if action not in TRAININGS:
        return None
    return (
        _busy(past)
        or _too_often_rejected(guards, past, alarmed=alarmed)
        or (_too_early(action, changed, as_of) if alarmed and guards.until_learnable else None)
        or _too_often(guards, past, as_of)
    )


def _busy(past: Past) -> Held | None:
    if past.blocked_by is not None:
        return Held(Action.wait, f"training is blocked by incident {past.blocked_by}")
    if past.in_flight:
        return Held(Action.wait, "a training is on its way")
    if past.awaiting is not None:
        return Held(Action.wait, f"version {past.awaiting} waits for an answer")
    if past.rolling_out is not None:
        return Held(Action.wait, f"version {past.rolling_out} is rolling out")
    return None


def _too_often_rejected(guards: Guards, past: Past, *, alarmed: bool) -> Held | None:
    if not alarmed or past.rejected_in_a_row < guards.rejected_in_a_row:
        return None
    return Held(
        Action.escalate,
        f"the last {past.rejected_in_a_row} candidates were turned away (people are asked after "
        f"{guards.rejected_in_a_row}); training again by itself has not helped",
    )


def _too_early(action: Action, changed: Changed | None, as_of: datetime) -> Held | None:
    """What is trained before only knows the world that is gone."""
    if changed is None or as_of >= changed.learnable_at[action]:
        return None
    until = changed.learnable_at[action]
    return Held(Action.wait, f"what changed about {changed.at:%Y-%m-%d} can be learned from {until:%Y-%m-%d %H:%M}Z on")


def _too_often(guards: Guards, past: Past, as_of: datetime) -> Held | None:
    cool_down = timedelta(hours=guards.cool_down_hours)
    before = [started for started in past.trainings if started <= as_of]
    if before and as_of - max(before) < cool_down:
        ago = (as_of - max(before)) / timedelta(hours=1)
        return Held(Action.wait, f"the last training began {ago:.0f} h ago (cool-down {guards.cool_down_hours:g} h)")
    spent = sum(as_of - started < MONTH for started in before)
    if spent >= guards.trainings_a_month:
        return Held(
            Action.escalate,
            f"{spent} trainings within 30 days have used up the budget of {guards.trainings_a_month}",
        )
    return None
