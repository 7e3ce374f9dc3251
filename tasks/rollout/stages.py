"""The stages of a rollout, and the rules by which it moves from one to the next; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from configs.rollout import Hold, RolloutParams
from tasks.records import Reason, Rollout, Stage, Traffic

Move = Literal["stay", "go on", "stop", "ask"]
HARM = frozenset({"loss", "value"})
"""Rules about what labels show. One that waits has seen harm, if not yet enough of it to stop."""


@dataclass(frozen=True)
class Next:
    """What follows from a look at the evidence, with every reason."""

    move: Move
    reasons: tuple[Reason, ...]

    @property
    def held(self) -> bool:
        """Whether harm was seen that does not stop it yet."""
        return any(reason.inconclusive and reason.rule in HARM for reason in self.reasons)

    @property
    def why(self) -> str:
        """The reasons that decided, in one line."""
        against = [reason for reason in self.reasons if not reason.passed]
        decisive = [reason for reason in against if self.move != "stop" or not reason.inconclusive]
        if not decisive:
            return f"all {len(self.reasons)} rules passed"
        return "; ".join(f"{reason.rule}: {reason.text}" for reason in decisive)


def plan(params: RolloutParams, starting_share: float) -> tuple[Stage, ...]:
    """The stages of the case's strategy. Steps below `starting_share` are left out, and it becomes the first."""
    load = Stage(name="load check", kind="load")
    shadow = Stage(name="shadow", kind="shadow", shadow=params.shadow.share, **_hold(params.shadow))
    warm = Stage(name="warm", kind="warm", hours=params.warm_hours)
    steps = dict.fromkeys(
        (*([starting_share] if starting_share else []), *(s for s in params.steps if s > starting_share))
    )
    canary = [_step(params.canary, share) for share in steps]
    match params.strategy:
        case "shadow-canary":
            stages = [load, shadow, *canary, warm]
        case "canary":
            stages = [load, *canary, warm]
        case "ab":
            share, hours = params.ab.arms.challenger, params.ab.hours
            name = f"A/B {100 * share:g} %"
            test = Stage(name=name, kind="ab", share=share, hours=hours, at_most_hours=params.ab.at_most_hours)
            stages = [load, test, warm]
        case "blue-green":
            stages = [load, warm]
        case "direct":
            stages = []
    return _asking(stages) if "full" in params.approvals else tuple(stages)


def begin(version: str, champion: str, params: RolloutParams, starting_share: float, at: datetime) -> Rollout:
    """The state an approval starts."""
    return Rollout(
        version=version,
        champion=champion,
        strategy=params.strategy,
        plan=plan(params, starting_share),
        number=0,
        began=at,
        since=at,
        evidence_since=at,
    )


def traffic_of(case: str, state: Rollout) -> Traffic:
    """How traffic is shared in a state; none of it for a challenger that is stopped, or has become champion."""
    given = not state.over and not state.promoted
    return Traffic(
        challenger=state.version,
        share=state.stage.share if given else 0.0,
        shadow=state.stage.shadow if given else 0.0,
        # Each challenger draws its own entities: not the same people are the first to meet every new model.
        salt=f"{case}/{state.version}",
    )


def following(state: Rollout, reasons: tuple[Reason, ...], at: datetime) -> Rollout:
    """The state after this stage was passed."""
    if state.number + 1 == len(state.plan):
        return state.model_copy(update={"standing": "done", "reasons": reasons})
    after = state.plan[state.number + 1]
    same_way = after.kind == state.stage.kind
    return state.model_copy(
        update={
            "number": state.number + 1,
            "standing": "going",
            "since": at,
            "evidence_since": state.evidence_since if same_way else at,
            "reasons": reasons,
        }
    )


def asks_before_next(state: Rollout) -> bool:
    return state.number + 1 < len(state.plan) and state.plan[state.number + 1].asks


def judged(
    state: Rollout, reasons: Sequence[Reason], not_enough: Literal["promote", "hold", "abort"], now: datetime
) -> Next:
    """What follows: one failed rule stops; a rule that cannot be judged yet waits, as long as the plan allows."""
    every = (*reasons, _held_long_enough(state, now))
    if any(not reason.passed and not reason.inconclusive for reason in every):
        return Next("stop", every)
    if any(not reason.passed for reason in every):
        return _out_of_time(state, every, not_enough) if _is_late(state, now) else Next("stay", every)
    return Next("ask" if asks_before_next(state) else "go on", every)


def _out_of_time(state: Rollout, reasons: tuple[Reason, ...], not_enough: str) -> Next:
    # Whose labels show harm is not sent on to more users for want of proof.
    if not_enough == "promote" and Next("stay", reasons).held:
        text = f"{state.stage.at_most_hours:g} hours have passed, and nothing has made good for the harm that was seen"
        return Next("stop", (*reasons, Reason(rule="evidence in time", passed=False, text=text)))
    meant = {"promote": "the rollout goes on", "hold": "the rollout waits on", "abort": "the rollout ends"}[not_enough]
    text = f"{state.stage.at_most_hours:g} hours have passed; as configured (`not_enough: {not_enough}`), {meant}"
    rule = "evidence in time"
    if not_enough == "abort":
        return Next("stop", (*reasons, Reason(rule=rule, passed=False, text=text)))
    told = (*reasons, Reason(rule=rule, passed=True, text=text))
    if not_enough == "hold":
        return Next("stay", told)
    return Next("ask" if asks_before_next(state) else "go on", told)


def _held_long_enough(state: Rollout, now: datetime) -> Reason:
    hours = (now - state.since) / timedelta(hours=1)
    text = f"{hours:.2f} hours in this stage, at least {state.stage.hours:g} wanted"
    passed = hours >= state.stage.hours
    return Reason(rule="time", passed=passed, inconclusive=not passed, text=text)


def _is_late(state: Rollout, now: datetime) -> bool:
    most = state.stage.at_most_hours
    return most is not None and now - state.since >= timedelta(hours=most)


def _step(hold: Hold, share: float) -> Stage:
    # Where everybody is answered by the challenger, there is nobody to set its labels against.
    hold = hold.model_copy(update={"labels": 0}) if share == 1 else hold
    return Stage(name=f"canary {100 * share:g} %", kind="canary", share=share, **_hold(hold))


def _hold(hold: Hold) -> dict[str, float]:
    return {name: getattr(hold, name) for name in Hold.model_fields}


def _asking(stages: list[Stage]) -> tuple[Stage, ...]:
    """The same stages; a person is asked before the first that answers everybody."""
    full = next((i for i, stage in enumerate(stages) if stage.share == 1 or stage.kind == "warm"), None)
    return tuple(stage.model_copy(update={"asks": i == full}) for i, stage in enumerate(stages))
