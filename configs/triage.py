"""How verdicts become one action: the table of rules and its guards (`triage` in a case's YAML)."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from configs.frozen import Frozen

MonitorName = Literal[
    "freshness", "contract", "inputs", "hourly", "score", "estimated", "skew", "labels", "realised", "concept", "slices"
]
Said = Literal["clear", "alarm", "waiting", "unknown", "silent"]
"""What a monitor may say; `silent`: it has said nothing about this champion yet."""
ActionName = Literal["none", "wait", "note", "alert", "block", "retrain", "retrain_recent", "roll_back", "escalate"]
RuleName = Annotated[str, StringConstraints(min_length=1, max_length=64)]


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Answers = Annotated[tuple[Said, ...], BeforeValidator(_several), Field(min_length=1)]
Line = Annotated[dict[MonitorName | Literal["any"], Answers], Field(min_length=1)]
"""Holds when at least one of its monitors says one of its answers; `any` stands for every monitor."""


class Span(Frozen):
    """Bounds of a number, both included."""

    at_least: float | None = Field(None, ge=0)
    at_most: float | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("give at_least, at_most, or both")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"nothing is at least {self.at_least:g} and at most {self.at_most:g}")
        return self

    def holds(self, value: float | None) -> bool:
        """Whether a number lies inside; one that is not known does not."""
        low = value is not None and (self.at_least is None or value >= self.at_least)
        return low and value is not None and (self.at_most is None or value <= self.at_most)


class Rule(Frozen):
    """One line of the table: it fits when everything it names holds."""

    rule: RuleName
    action: ActionName
    when: tuple[Line, ...] = ()
    """Every line must hold."""
    persistence: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (1, 1)
    """`[k, n]`: an alarm counts here when it stood in k of its monitor's last n verdicts."""
    only_expected: tuple[MonitorName, ...] = ()
    """These monitors found something, and all of it on columns that drive expected change."""
    hours_since_promotion: Span | None = None
    """Of the champion; one that came back by a rollback was not promoted."""
    hours_since_training: Span | None = None
    """Between the as-of the case's last candidate was trained for and now."""
    new_rows: Span | None = None
    """Answered since then."""

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not (self.when or self.only_expected or self.hours_since_training or self.new_rows):
            raise ValueError(f"the rule `{self.rule}` fits always, so that no rule after it could; say when")
        if self.persistence[0] > self.persistence[1]:
            raise ValueError(f"persistence asks for {self.persistence[0]} of {self.persistence[1]} verdicts")
        return self


class Guards(Frozen):
    """What holds an action back although its rule fits."""

    cool_down_hours: float = Field(72, ge=0)
    """Between two trainings that triage starts."""
    trainings_a_month: int = Field(6, ge=0)
    """Within 30 days, by triage; beyond it people are asked."""
    until_learnable: bool = True
    """After a change of the world a training for an alarm waits until it can have learned what changed."""
    rejected_in_a_row: int = Field(3, ge=1)
    """Of those trained because of an alarm: after so many that were turned away, people are asked."""


_DRIFT: Line = {"inputs": ("alarm",), "hourly": ("alarm",), "score": ("alarm",)}
_NO_LABELS_YET: Line = {"realised": ("waiting", "silent", "unknown")}

RULES = (
    Rule(rule="broken data", when=({"contract": ("alarm",)},), action="block"),
    Rule(rule="stale data", when=({"freshness": ("alarm",)},), action="block"),
    Rule(rule="answers differ", when=({"skew": ("alarm",)},), action="block"),
    Rule(
        rule="worse since its promotion",
        when=({"realised": ("alarm",)}, {"concept": ("alarm",)}),
        hours_since_promotion=Span(at_most=336),
        action="roll_back",
    ),
    Rule(rule="the world changed", when=({"concept": ("alarm",)},), action="retrain_recent"),
    Rule(
        rule="a part of the world changed and it costs",
        when=({"realised": ("alarm",)}, {"slices": ("alarm",)}),
        action="retrain_recent",
    ),
    Rule(rule="loss that drift explains", when=({"realised": ("alarm",)}, _DRIFT), action="retrain"),
    Rule(rule="loss", when=({"realised": ("alarm",)},), action="retrain"),
    Rule(rule="estimated loss", when=({"estimated": ("alarm",)}, _NO_LABELS_YET), action="retrain"),
    Rule(rule="drift of the score", when=({"score": ("alarm",)}, _NO_LABELS_YET), action="retrain"),
    # After the alarms that train, which say why; before what only notes or waits, which would put it off for ever.
    Rule(rule="a month without training", hours_since_training=Span(at_least=672), action="retrain"),
    # People are told where; a training on all rows learns little of a part of them.
    Rule(rule="a part of the world changed", when=({"slices": ("alarm",)},), action="alert"),
    Rule(rule="season", only_expected=("inputs", "hourly"), action="none"),
    Rule(rule="drift without loss", when=({**_DRIFT, "estimated": ("alarm",)},), action="note"),
    Rule(rule="labels are late", when=({"labels": ("alarm",)},), action="wait"),
    Rule(rule="could not compute", when=({"any": ("unknown",)},), action="alert"),
    Rule(rule="too little evidence", when=({"any": ("waiting",)},), action="wait"),
)
"""The table of a case that has none of its own."""


class Triage(Frozen):
    """From verdicts to one action: the first rule that fits decides; when none does, nothing is done.

    Where a guard holds its training back, the next rule that fits and trains decides. The other rules that fit are told
    of in the reasons, and open their incidents.
    """

    rules: tuple[Rule, ...] = RULES
    guards: Guards = Guards()
    recent_batches: int = Field(8, ge=1)
    """How many batches `retrain_recent` trains on at most, before those that judge the candidate: on those since the
    change, where the verdict says when that was."""
    verdicts_hold_hours: float = Field(192, gt=0)
    """A verdict older than this says nothing any more: its monitor has stopped."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [rule.rule for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rules are called `{twice[0]}`; the journal tells them apart by name")
        return self
