"""Policies of retraining that a back-test compares (`configs/backtests/*.yaml`, or a file of one's own).

Every policy is a table of rules with guards, as a case's `triage` is. Triggers are a short way to write one.
"""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from configs.errors import ConfigError
from configs.frozen import Frozen
from configs.params import Params
from configs.read import build, mapping
from configs.triage import Guards, Line, Rule, Span, Triage

_UNGUARDED = Guards(cool_down_hours=0, trainings_a_month=10_000, rejected_in_a_row=10_000, until_learnable=False)
_WEEK = 168
_TRAIN = frozenset({"retrain", "retrain_recent"})

PolicyName = Annotated[str, StringConstraints(min_length=1, max_length=40)]
Persistence = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]


def _switch(value: Any) -> Any:
    """YAML takes `off` for false."""
    return {False: "off", True: "case"}.get(value, value) if isinstance(value, bool) else value


class Trigger(Frozen):
    """One reason to train."""

    trigger: str
    weeks: int | None = Field(None, ge=1)
    """Of `time`: so many since the last training."""
    rows: int | None = Field(None, ge=1)
    """Of `new rows`: answered since the last training."""
    persistence: Persistence = (1, 1)
    """Of a monitor's alarm: it stood in k of the last n weeks."""
    recent: bool = False
    """Train on the case's `triage.recent_batches` alone."""

    @model_validator(mode="after")
    def _says_how_much(self) -> Self:
        for trigger, key in (("time", "weeks"), ("new rows", "rows")):
            if (self.trigger == trigger) is (getattr(self, key) is None):
                raise ValueError(f"`{key}` belongs to the trigger `{trigger}`, and that needs it")
        return self

    def rule(self, number: int) -> Rule:
        """The rule that it stands for."""
        return Rule(
            rule=f"{number}. {self.trigger}",
            action="retrain_recent" if self.recent else "retrain",
            persistence=self.persistence,
            **TRIGGERS[self.trigger](self),
        )


def _alarm(monitor: str) -> Callable[[Trigger], dict[str, Any]]:
    line: Line = {monitor: ("alarm",)}  # type: ignore[dict-item] # checked when the rule is made
    return lambda _: {"when": (line,)}


TRIGGERS: dict[str, Callable[[Trigger], dict[str, Any]]] = {
    "time": lambda trigger: {"hours_since_training": Span(at_least=_WEEK * (trigger.weeks or 1))},
    "new rows": lambda trigger: {"new_rows": Span(at_least=trigger.rows)},
    "drift": _alarm("inputs"),
    "score drift": _alarm("score"),
    "estimated loss": _alarm("estimated"),
    "realised loss": _alarm("realised"),
    "concept drift": _alarm("concept"),
    "concept drift of a slice": _alarm("slices"),
}
"""What may start a training. `drift`: any column of the inputs differs from what the champion was accepted on."""


class GateChange(Frozen):
    """The case's gate, but for what is said here."""

    rule: Literal["superiority", "non_inferiority"] | None = None
    margin: float | None = Field(None, ge=0)
    evaluate_batches: int | None = Field(None, ge=1)
    refit: bool | None = None


class Policy(Frozen):
    """When to train, and whether a candidate has to prove itself."""

    policy: PolicyName
    triggers: tuple[Trigger, ...] = ()
    """The first that fits trains; without any, nothing is ever trained."""
    triage: Literal["case"] | Triage | None = None
    """Instead of triggers: the case's own table, or one written here."""
    gate: Annotated[Literal["case", "off"] | GateChange, BeforeValidator(_switch)] = "case"
    """`case`: a candidate is judged against the champion on the case's evaluation window, which it has not seen, by the
    case's rules, or by these with some of them changed; with `refit` an accepted one is fitted again on that window too
    before it answers. `off`: it is trained on all that is labelled, and replaces the champion unseen."""

    @model_validator(mode="after")
    def _either_or(self) -> Self:
        if self.triggers and self.triage is not None:
            raise ValueError(f"policy `{self.policy}` gives both triggers and a triage table; give one")
        return self

    @property
    def gated(self) -> bool:
        return self.gate != "off"

    def refits(self, params: Params) -> bool:
        """Whether an accepted candidate is fitted again; `params` are those of this policy."""
        return self.gated and params.gate.refit

    def params(self, case: Params) -> Params:
        """The case's parameters, with this policy's gate."""
        if not isinstance(self.gate, GateChange):
            return case
        said = self.gate.model_dump(exclude_none=True)
        window = {"evaluate_batches": said.pop("evaluate_batches", case.window.evaluate_batches)}
        return case.model_copy(
            update={"gate": case.gate.model_copy(update=said), "window": case.window.model_copy(update=window)}
        )

    def table(self, case: Triage) -> Triage:
        """The policy as a table of rules; `case` is the case's own."""
        if self.triage is not None:
            return case if self.triage == "case" else self.triage
        return Triage(rules=self._rules, guards=_UNGUARDED, recent_batches=case.recent_batches)

    def adopted(self, case: Triage) -> Triage:
        """The case's table with this policy in it: what blocks, alerts or rolls back stays, and so do the guards."""
        if self.triage is not None:
            return self.table(case)
        trains = [rule.action in _TRAIN for rule in case.rules]
        place = trains.index(True) if any(trains) else len(trains)
        kept = [rule for rule, does in zip(case.rules, trains, strict=True) if not does]
        before = sum(not does for does in trains[:place])
        return case.model_copy(update={"rules": (*kept[:before], *self._rules, *kept[before:])})

    @property
    def _rules(self) -> tuple[Rule, ...]:
        return tuple(trigger.rule(number) for number, trigger in enumerate(self.triggers, 1))


class Prices(Frozen):
    """What it all costs, in one currency."""

    training: float = Field(100, ge=0)
    """One training, with its evaluation, and the people it keeps."""
    error: float = Field(1, ge=0)
    """One unit of the case's cost matrix (`rollout.costs`); else a wrong answer, or one unit of absolute error."""


class BackTestParams(Frozen):
    """What is compared, and how."""

    policies: tuple[Policy, ...] = Field(min_length=1)
    prices: Prices = Prices()
    warm_up: int = Field(13, ge=2)
    """So many weeks (or months) come before the first that is judged, to train a first model on."""
    lead_hours: float = Field(12, ge=0, lt=168)
    """From the decision to train until the new model answers: training, approval, rollout."""
    worth: float = Field(0.005, gt=0)
    """A gain (of AUC or accuracy; of MAE as a share of it) that is worth a training. A smaller one makes a training a
    false action; a larger one that nobody took is a missed action."""
    damage: float = Field(0.02, gt=0)
    """A week is damaged when the policy lost this much against the oracle in it."""
    ahead: int = Field(4, ge=1)
    """So many weeks of a new model's life say whether it was worth its training."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [policy.policy for policy in self.policies]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or ORACLE in names:
            raise ValueError(f"two policies are called `{(twice or [ORACLE])[0]}`; the result tells them apart by name")
        return self


ORACLE = "oracle"
"""The policy that knows what is to come."""


def read_policies(path: Path) -> BackTestParams:
    """The policies of a file. Raises ConfigError, which names the policy that has an unknown trigger."""
    if not path.is_file():
        raise ConfigError(f"There is no file of policies at {path}. See configs/backtests/default.yaml for one.")
    content = mapping(path)
    _must_be_triggers(content, path)
    return build(BackTestParams, content, path)


def _must_be_triggers(content: dict[str, Any], path: Path) -> None:
    policies = content.get("policies")
    for policy in policies if isinstance(policies, list) else []:
        triggers = policy.get("triggers") if isinstance(policy, dict) else None
        for trigger in triggers if isinstance(triggers, list) else []:
            found = trigger.get("trigger") if isinstance(trigger, dict) else trigger
            if found not in TRIGGERS:
                near = difflib.get_close_matches(str(found), TRIGGERS, 1)
                raise ConfigError(
                    f"{path.name}: the policy `{policy.get('policy')}` has the unknown trigger `{found}`. "
                    + (f"Did you mean `{near[0]}`? " if near else "")
                    + f"Known triggers: {', '.join(TRIGGERS)}."
                )
