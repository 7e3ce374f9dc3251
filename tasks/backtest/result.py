"""What a back-test found: for each policy its weeks, and what they add up to."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

import numpy as np
from pydantic import AwareDatetime

from configs.policies import ORACLE, BackTestParams
from tasks.backtest.fits import Model
from tasks.backtest.scores import SHOWN, Scores, Turn
from tasks.backtest.walk import Step, Walk
from tasks.backtest.weeks import Week
from tasks.monitoring.estimate import worse_by
from tasks.records import Record

Gate = Literal["case", "own", "off"]
"""`own`: the case's, changed by the policy."""


class WeekResult(Record):
    """One week under one policy."""

    week: str
    start: AwareDatetime
    rows: int
    """That have a label."""
    metrics: dict[str, float]
    champion: str
    """The last batch that the model learned from which answered at the week's end."""
    action: str
    rule: str
    reasons: tuple[str, ...]
    trained: bool
    promoted: bool
    gate: tuple[str, ...] = ()
    """What the gate had against the candidate."""
    helped: float | None
    """What a training here gains, or would have gained, over the weeks ahead; None where nothing could be trained."""
    lost: float | None
    """Against the oracle."""
    errors: float


class PolicyResult(Record):
    """One policy over all weeks."""

    policy: str
    gate: Gate
    means: dict[str, float]
    """Of each metric, over the weeks in which it is defined."""
    area_lost: float
    """Sum over the weeks of what was lost against the oracle."""
    trainings: int
    promotions: int
    false_actions: int
    """Trainings that gained less than they are worth."""
    missed_actions: int
    """Weeks in which a training would have gained as much and more, and none was begun."""
    weeks_of_damage: int
    training_cost: float
    error_cost: float
    weeks: tuple[WeekResult, ...]

    @property
    def cost(self) -> float:
        return self.training_cost + self.error_cost


class BackTest(Record):
    """All policies over the same weeks."""

    case: str
    start: AwareDatetime
    end: AwareDatetime
    metric: str
    unit: Literal["week", "month"]
    params: BackTestParams
    results: tuple[PolicyResult, ...]
    """In the order of the file, the oracle last."""

    @property
    def policies(self) -> tuple[PolicyResult, ...]:
        """All but the oracle."""
        return tuple(result for result in self.results if result.policy != ORACLE)

    @property
    def best(self) -> PolicyResult:
        """The cheapest; among equals the one that lost least."""
        return min(self.policies, key=lambda result: (result.cost, result.area_lost, result.policy))

    def of(self, policy: str) -> PolicyResult:
        return next(result for result in self.results if result.policy == policy)


class Reckoning:
    """Adds up what policies' walks were worth."""

    def __init__(self, scores: Scores, params: BackTestParams, weeks: Sequence[Week], names: Sequence[str]) -> None:
        self._scores, self._params, self._weeks = scores, params, weeks
        self._names = names
        """Of the history's batches."""

    def result(self, walk: Walk, gate: Gate, oracle: Sequence[Turn]) -> PolicyResult:
        """What the walk comes to, beside the oracle's turns."""
        weeks = tuple(self._week(step, place, walk.turns, oracle) for place, step in enumerate(walk.steps))
        worth = self._params.worth
        return PolicyResult(
            policy=walk.policy,
            gate=gate,
            means={name: _mean([week.metrics.get(name) for week in weeks]) for name in SHOWN[self._scores.problem]},
            area_lost=sum(week.lost or 0.0 for week in weeks),
            trainings=sum(week.trained for week in weeks),
            promotions=sum(week.promoted for week in weeks),
            false_actions=sum(week.trained and (week.helped or 0.0) < worth for week in weeks),
            missed_actions=sum(not week.trained and (week.helped or 0.0) >= worth for week in weeks),
            weeks_of_damage=sum((week.lost or 0.0) > self._params.damage for week in weeks),
            training_cost=self._params.prices.training * sum(week.trained for week in weeks),
            error_cost=self._params.prices.error * sum(week.errors for week in weeks),
            weeks=weeks,
        )

    def _week(self, step: Step, place: int, turns: Sequence[Turn], oracle: Sequence[Turn]) -> WeekResult:
        week, scores = step.week, self._scores
        ceiling, found = scores.headline(week, oracle), scores.headline(week, turns)
        return WeekResult(
            week=week.name,
            start=week.start,
            rows=len(scores.answered(week, turns).labels),
            metrics=scores.metrics(week, turns),
            champion=self._name([turn for turn in turns if turn.since < week.end][-1].model),
            action=step.action,
            rule=step.rule,
            reasons=step.reasons,
            trained=step.trained,
            promoted=step.promoted,
            gate=tuple(reason.text for reason in step.decision.against) if step.decision else (),
            helped=self._helped(step, place),
            lost=None if ceiling is None or found is None else worse_by(scores.metric, found, ceiling),
            errors=scores.errors(week, turns),
        )

    def _helped(self, step: Step, place: int) -> float | None:
        """How much better what would answer does than the champion, on average over the weeks ahead."""
        if step.served is None:
            return None
        kept = [Turn(step.week.start, step.champion)]
        ahead = self._weeks[place : place + self._params.ahead]
        ready = Turn(step.as_of + self._lead, step.served)
        gains = []
        for week in ahead:
            old, new = (self._scores.headline(week, turns) for turns in (kept, [*kept, ready]))
            if old is not None and new is not None:
                gains.append(worse_by(self._scores.metric, old, new))
        return float(np.mean(gains)) if gains else None

    @property
    def _lead(self) -> timedelta:
        return timedelta(hours=self._params.lead_hours)

    def _name(self, model: Model) -> str:
        return self._names[model.stop - 1]


def front(results: Sequence[PolicyResult]) -> tuple[PolicyResult, ...]:
    """The policies that no other beats both in what training costs and in what is lost (Pareto), the cheapest first."""
    ranked = sorted(results, key=lambda result: (result.training_cost, result.area_lost))
    best: list[PolicyResult] = []
    for result in ranked:
        if not best or result.area_lost < best[-1].area_lost:
            best.append(result)
    return tuple(best)


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")
