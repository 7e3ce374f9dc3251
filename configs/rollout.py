"""How an approved challenger reaches users: its stages, and what it has to show at each (`rollout` in params.yaml)."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from configs.frozen import Frozen

Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, lt=0.5)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Strategy = Literal["shadow-canary", "canary", "blue-green", "ab", "direct"]


class Hold(Frozen):
    """What a stage waits for. All of it must be there before the next stage."""

    hours: NotNegative = 1
    requests: Annotated[int, Field(ge=0)] = 500
    """Rows that the challenger scored in this stage."""
    labels: Annotated[int, Field(ge=0)] = 0
    """Labelled rows (pairs of rows in a canary). Above 0, the challenger must also prove that it is not worse than
    `margin`; with 0, labels that do arrive can stop it, and it waits for none."""
    at_most_hours: Positive = 168
    """After so long, `not_enough` decides."""


class ShadowHold(Hold):
    """The shadow: for how long, and for how many."""

    share: Annotated[float, Field(gt=0, le=1)] = 1
    """Of the entities, by the same keyed hash on every replica, whose requests the challenger scores too."""


class LoadLimits(Frozen):
    """The load check, in a gateway process of its own."""

    latency_ms: Positive = 50
    """The 99th percentile of requests of one row."""
    memory_mb: Positive = 1500
    """Of that process, with the champion and the challenger in it."""
    rows: Annotated[int, Field(ge=1)] = 200
    """So many recorded requests are asked again; none may fail."""


class TechnicalLimits(Frozen):
    """What a challenger may cost in operation, whatever it predicts."""

    error_rate: Rate = 0.002
    """Of its rows that it failed to answer (error, timeout, overload), beyond the champion's own share. In the shadow,
    five times as many may go unscored: a gateway under load drops them."""
    fallback_rate: Rate = 0.05
    """Of its rows that somebody else answered, for whatever reason, beyond the champion's own share."""
    latency_ratio: Annotated[float, Field(gt=1)] = 1.5
    """Of its 95th and 99th percentiles to the champion's; in the shadow, of what those of the champion's requests that
    were timed would have taken, had the challenger scored them."""


class ModelLimits(Frozen):
    """What the predictions may look like before labels arrive."""

    disagreement: NotNegative = 0.5
    """How much larger the mean difference of the two models' predictions may be than at evaluation, as a share."""
    dust: NotNegative = 0.02
    """And by how much in any case: in probability, or as a share of eight mean absolute errors for a regression."""
    shift: NotNegative = 0.1
    """How far the challenger's mean prediction may lie from where evaluation expected it, relative to the champion's;
    on the same scale, and beyond what the hours of the evaluation differ by from one another."""


class Costs(Frozen):
    """What an answer costs (or, below 0, brings) by what came true: the case's cost matrix for a binary question."""

    true_positive: float = 0
    false_positive: float = 1
    false_negative: float = 1
    true_negative: float = 0
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """From this probability on, one acts as if the answer were yes."""

    @model_validator(mode="after")
    def _tells_answers_apart(self) -> Self:
        matrix = (self.true_positive, self.false_positive, self.false_negative, self.true_negative)
        if len(set(matrix)) == 1:
            raise ValueError("a cost matrix of one number makes every model equal")
        return self


class Arms(Frozen):
    """The two sides of an A/B test."""

    champion: Share = 0.5
    challenger: Share = 0.5

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        if abs(self.champion + self.challenger - 1) > 1e-9:
            raise ValueError(f"the arms' shares must add up to 1; {self.champion:g} and {self.challenger:g} do not")
        if not 0 < self.challenger < 1:
            raise ValueError("both arms of an A/B test need a share")
        return self


class AbParams(Frozen):
    """An A/B test: how much is looked for, how surely, and for how long at the least."""

    arms: Arms = Arms()
    effect: Positive = 0.03
    """The smallest difference of the mean loss worth finding, as a share of the champion's."""
    power: Annotated[float, Field(ge=0.5, lt=1)] = 0.8
    hours: NotNegative = 24
    at_most_hours: Positive = 672


class RolloutParams(Frozen):
    """One case's `rollout` section."""

    strategy: Strategy = "shadow-canary"
    shadow: ShadowHold = ShadowHold()
    steps: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.05, 0.25, 0.5, 1.0)
    """Of the entities, step by step; the last is all of them."""
    canary: Hold = Hold()
    ab: AbParams = AbParams()
    warm_hours: NotNegative = 24
    """How long a promoted challenger is still watched, and the former champion is there to take over."""
    error_rate: Rate = 0.05
    """Of stopping a challenger that is as good as the champion: over the whole rollout, all gates and all looks."""
    margin: NotNegative = 0.05
    """A mean loss higher by at most this share of the champion's passes as not worse, where labels are waited for."""
    load: LoadLimits = LoadLimits()
    technical: TechnicalLimits = TechnicalLimits()
    model: ModelLimits = ModelLimits()
    costs: Costs | None = None
    """Judges the business value too; binary cases only."""
    not_enough: Literal["promote", "hold", "abort"] = "hold"
    """What not enough evidence in time means: the next stage (the end, where labels show harm that is not proven yet),
    waiting on, or the end of the rollout."""
    approvals: tuple[Literal["start", "full"], ...] = ("start",)
    """When a person is asked: before the rollout, before full traffic."""
    sample: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of the requests, by a hash of their ids, that evidence is made of: a look holds those of a stage in memory, about
    300 bytes each."""
    look_seconds: Positive = 30
    """How often the evidence is looked at."""

    @model_validator(mode="after")
    def _steps_rise_to_all(self) -> Self:
        if self.steps[0] <= 0 or any(
            later <= earlier for earlier, later in zip(self.steps, self.steps[1:], strict=False)
        ):
            raise ValueError(f"the steps must rise from above 0; {list(self.steps)} do not")
        if self.steps[-1] != 1:
            raise ValueError(f"the last step must be 1.0 (all of the traffic), not {self.steps[-1]:g}")
        return self
