"""A policy's walk through history: at each week the verdicts that could be known, the rule that fits, what it leads to.

Rules and guards are those of triage, called as in production. A candidate answers from `lead` after the decision on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np

from configs.params import GateParams, Params
from configs.policies import Policy
from configs.triage import Triage
from tasks.backtest.fits import Fits, Model
from tasks.backtest.known import Known, Reign
from tasks.backtest.scores import Turn
from tasks.backtest.weeks import History, Week
from tasks.evaluation.comparison import compare
from tasks.evaluation.fresh import fresh_rows, joined
from tasks.evaluation.gate import Measured, decide
from tasks.evaluation.predictions import Predictions, unusable
from tasks.features.inputs import used_features
from tasks.records import Candidate, Decision, Reason, Ruling
from tasks.triage.choice import Choice, choose
from tasks.triage.guards import TRAININGS, Changed, Held, Past, hold_back
from tasks.triage.rules import Facts, Ruled, changed_at, fitting
from tasks.validation.windows import labelled, only_since, spans
from tasks.verdicts import Action, Monitor, Verdict

_HOUR = timedelta(hours=1)
FIRST = "1"
"""The version every policy begins with."""


@dataclass(frozen=True)
class Step:
    """What was decided in a week."""

    week: Week
    as_of: datetime
    action: Action
    rule: str
    reasons: tuple[str, ...]
    champion: Model
    """Who answered when it was decided."""
    candidate: Model | None = None
    """What was trained, or would have been."""
    served: Model | None = None
    """What answers if the gate lets it: the candidate, or it fitted again."""
    trained: bool = False
    decision: Decision | None = None
    """The gate's answer to it."""

    @property
    def promoted(self) -> bool:
        return self.trained and (self.decision is None or self.decision.promote)


@dataclass(frozen=True)
class Walk:
    """A policy's year: what it decided, and who answered from when on."""

    policy: str
    steps: tuple[Step, ...]
    turns: tuple[Turn, ...]


@dataclass
class _State:
    """Where a walk stands."""

    params: Params
    """The case's, with the policy's gate."""
    reign: Reign
    turns: list[Turn]
    trained_for: datetime
    retired: Reign | None = None
    said: list[Verdict] = field(default_factory=list)
    """Of this reign, newest first."""
    trainings: list[datetime] = field(default_factory=list)
    rejected_in_a_row: int = 0
    versions: int = 1


class Walker:
    """Walks policies over one table of answers."""

    def __init__(self, fits: Fits, params: Params, lead: timedelta) -> None:
        self._fits, self._params, self._lead = fits, params, lead
        self._known = Known(fits, params)
        self._decisions: dict[tuple[GateParams, Model, Model, datetime], Decision] = {}

    @property
    def _history(self) -> History:
        return self._fits.history

    def walk(self, policy: Policy, weeks: Sequence[Week]) -> Walk:
        """The policy from the first of `weeks` on, which a model answers that was trained at its start."""
        table = policy.table(self._history.case.triage)
        start = weeks[0].start
        first = first_model(self._history, self._params, start)
        state = _State(policy.params(self._params), Reign(first, FIRST, start, start), [Turn(start, first)], start)
        return Walk(policy.policy, tuple(self._step(state, table, policy, week) for week in weeks), tuple(state.turns))

    def _step(self, state: _State, table: Triage, policy: Policy, week: Week) -> Step:
        as_of = self._history.decides_at(week)
        standing = self._known.verdicts(monitors_of(table), state.reign, as_of, state.said)
        state.said[:0] = standing.values()
        choice = self._choose(state, policy, table, standing, as_of)
        ruled, action = choice.decides.ruled, choice.action
        recent = Recent(table.recent_batches, ruled.since) if action is Action.retrain_recent else None
        candidate = trainable(self._history, state.params, as_of, gated=policy.gated, recent=recent)
        served = fitted_again(self._history, candidate, as_of) if policy.refits(state.params) else candidate
        step = Step(week, as_of, action, ruled.rule, choice.reasons, state.reign.model, candidate, served)
        if action in TRAININGS and candidate is not None:
            return self._train(state, step, gated=policy.gated, alarmed=bool(ruled.primary))
        if action is Action.roll_back and state.retired is not None:
            self._begins(state, replace(state.retired, since=as_of, promoted=False))
        return step

    def _choose(
        self, state: _State, policy: Policy, table: Triage, standing: dict[Monitor, Verdict], as_of: datetime
    ) -> Choice:
        fits = fitting(table.rules, self._facts(state, table, standing, as_of))
        judged_by = state.params.window.evaluate_batches if policy.gated else 0
        past = Past(trainings=state.trainings, rejected_in_a_row=state.rejected_in_a_row)

        def held(ruled: Ruled) -> Held | None:
            since, refit = changed_at(ruled, fits), policy.refits(state.params)
            changed = Changed.since(since, self._history.case, judged_by, refit=refit)
            alarmed = bool(ruled.primary)
            return hold_back(ruled.action, table.guards, past, as_of, alarmed=alarmed, changed=changed)

        return choose(fits, held)

    def _train(self, state: _State, step: Step, *, gated: bool, alarmed: bool) -> Step:
        assert step.candidate is not None
        assert step.served is not None
        state.trainings.append(step.as_of)
        state.trained_for = step.as_of
        decision = self._judge(state.params, step.candidate, step.champion, step.as_of) if gated else None
        if decision is None or decision.promote:
            state.rejected_in_a_row = 0
            state.versions += 1
            self._begins(state, Reign(step.served, str(state.versions), step.as_of + self._lead, step.as_of))
        elif alarmed:
            state.rejected_in_a_row += 1
        return replace(step, trained=True, decision=decision)

    def _begins(self, state: _State, reign: Reign) -> None:
        # One that comes back by a rollback has nobody behind it: whom it replaces has just failed.
        state.retired = state.reign if reign.promoted else None
        state.reign = reign
        state.turns.append(Turn(reign.since, reign.model))
        state.said = []

    def _facts(self, state: _State, table: Triage, standing: dict[Monitor, Verdict], as_of: datetime) -> Facts:
        reign = state.reign
        asks_rows = any(rule.new_rows for rule in table.rules)
        return Facts(
            standing=standing,
            recent={monitor: [one for one in state.said if one.monitor is monitor] for monitor in standing},
            hours_since_promotion=(as_of - reign.since) / _HOUR if reign.promoted else None,
            hours_since_training=(as_of - state.trained_for) / _HOUR,
            new_rows=self._rows_between(state.trained_for, as_of) if asks_rows else None,
            can_roll_back=state.retired is not None,
        )

    def _rows_between(self, start: datetime, end: datetime) -> int:
        over = [number for number, batch in enumerate(self._history.batches) if batch.end > start and batch.start < end]
        moments = [self._history.rows(number).event_time for number in over]
        return sum(int(((moment >= start) & (moment < end)).sum()) for moment in moments)

    def _judge(self, params: Params, candidate: Model, champion: Model, as_of: datetime) -> Decision:
        key = params.gate, candidate, champion, as_of
        if key not in self._decisions:
            judges = range(max(candidate.stop, champion.stop), self._history.labelled(as_of))
            self._decisions[key] = (
                self._ask_gate(params, candidate, champion, judges) if judges else _NOTHING_TO_JUDGE_ON
            )
        return self._decisions[key]

    def _ask_gate(self, params: Params, candidate: Model, champion: Model, judges: range) -> Decision:
        """The case's gate on the batches that neither has seen.

        The model's file and its latency are not judged: nothing is kept but answers.
        """
        case, gate, batches = self._history.case, params.gate, self._history.batches
        cutoff, columns = batches[judges[0]].start, gate.slices.columns
        rows = joined([fresh_rows(case, self._history.rows(number).frame, cutoff, columns) for number in judges])
        ours, theirs = (
            Predictions(
                np.concatenate([self._fits.answers(model, n)[self._history.rows(n).known] for n in judges]),
                self._fits.classes,
            )
            for model in (candidate, champion)
        )
        found = compare(case.problem, gate, rows, ours, theirs)
        measured = Measured(
            rows=len(rows), blocks=found.blocks, unusable_predictions=unusable(case.problem, ours.answers),
            metrics=found.metrics, champion_version=batches[champion.stop - 1].batch_id, differences=found.differences,
            slices=found.slices, latency_ms=0, model_mb=0, faithful=True,
        )  # fmt: skip
        return decide(case, params, self._described(candidate), measured)

    def _described(self, model: Model) -> Candidate:
        case, params, learnt = self._history.case, self._params, self._history.batches[model.first : model.stop]
        return Candidate(
            case=case.name, contract_version=case.contract.version, estimator=params.training.estimator,
            calibration=params.training.calibration, seed=params.seed, features=used_features(case, params.features),
            train_start=learnt[0].start, train_end=learnt[-1].end, batches=tuple(batch.batch_id for batch in learnt),
        )  # fmt: skip


_NOTHING_TO_JUDGE_ON = Decision(
    ruling=Ruling.inconclusive,
    reasons=(Reason(rule="rows", passed=False, inconclusive=True, text="no row that neither model has seen"),),
)


def first_model(history: History, params: Params, start: datetime) -> Model:
    """What every policy begins with: trained on what was labelled when the back-test begins."""
    model = trainable(history, params, start, gated=False)
    assert model is not None
    return model


@dataclass(frozen=True)
class Recent:
    """The window of a training on what is recent."""

    batches: int
    """At most."""
    since: datetime | None


def trainable(
    history: History, params: Params, as_of: datetime, *, gated: bool, recent: Recent | None = None
) -> Model | None:
    """The model that could be trained at a moment; a gated one leaves the evaluation window out."""
    ready = labelled(history.batches, history.case.label_delay, as_of)
    window = params.window.model_copy(update={"train_batches": recent.batches}) if recent else params.window
    if gated:
        train, _ = spans(ready, (), window)
        stop = len(ready) - window.evaluate_batches
    else:
        train, stop = ready[-(window.train_batches or len(ready)) :], len(ready)
    if recent and recent.since:
        train = only_since(train, recent.since, history.rows_of, params)
    return Model(stop - len(train), stop) if train else None


def fitted_again(history: History, candidate: Model | None, as_of: datetime) -> Model | None:
    """The candidate, when it has learned from the window that judged it too."""
    return candidate and Model(candidate.first, history.labelled(as_of))


def monitors_of(table: Triage) -> tuple[Monitor, ...]:
    """Whom the rules ask."""
    named = {name for rule in table.rules for line in rule.when for name in line}
    named |= {name for rule in table.rules for name in rule.only_expected}
    return tuple(monitor for monitor in Monitor if monitor in named or "any" in named)
