"""Every value that changes a model or a verdict (`params.yaml`, one section per case)."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from configs.frozen import Frozen
from configs.monitoring import MonitoringParams
from configs.rollout import RolloutParams

Share = Annotated[float, Field(ge=0, le=1)]
Scalar = str | int | float | bool | None
Metric = Literal["auc", "log_loss", "brier", "accuracy", "mae", "rmse"]


class WindowParams(Frozen):
    """Which batches train a candidate, and which judge it."""

    train_batches: int | None = Field(ge=1)
    """How many batches before the evaluation window; `null` takes all of them."""
    evaluate_batches: int = Field(ge=1)
    min_train_rows: int = Field(ge=10)
    max_left_out: Share
    """Refuse to train when more than this share of the window's batches is quarantined."""


class ValidationParams(Frozen):
    """When a delivery counts as broken although every value is in range."""

    min_rows: int = Field(ge=1)
    volume_change: Annotated[float, Field(gt=0)]
    """Largest change of the number of rows against the median of recent batches, as a share of it."""
    volume_batches: int = Field(ge=1)
    """How many recent batches make that median; fewer than three are not enough to judge."""
    stale_after_batches: float = Field(ge=1)
    """The newest batch may have ended at most so many batch lengths before the as-of."""
    leakage_score: Annotated[float, Field(gt=0.5, le=1)]
    """A feature that alone ranks the target this well (AUC, or rank correlation for a regression) knows it."""


class CalendarParams(Frozen):
    """Which parts of a timestamp feature a model sees."""

    column: str
    parts: tuple[Literal["minute_of_day", "hour", "weekday", "day_of_month", "day_of_year", "month"], ...]


class FeatureParams(Frozen):
    """How delivered features become model inputs."""

    calendar: tuple[CalendarParams, ...] = ()
    leave_out: tuple[str, ...] = ()
    """Features of the contract that this model does not use."""


class SearchRange(Frozen):
    """Where a numeric setting may lie."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range must start above 0, not at {self.low}")
        return self


class SearchParams(Frozen):
    """A search over settings on time-ordered folds inside the training window; off with 0 trials."""

    trials: int = Field(0, ge=0)
    folds: int = Field(3, ge=2)
    space: dict[str, SearchRange | tuple[Scalar, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_a_space(self) -> Self:
        if self.trials and not self.space:
            raise ValueError(f"{self.trials} trials are asked for, but the search space is empty")
        return self


class TrainingParams(Frozen):
    """The estimator and its settings."""

    estimator: Literal["hist_gradient_boosting", "random_forest", "linear"]
    settings: dict[str, Scalar] = Field(default_factory=dict)
    calibration: Literal["none", "sigmoid", "isotonic"] = "none"
    calibration_batches: int = Field(1, ge=1)
    """How many of the newest training batches are kept back to calibrate on."""
    search: SearchParams = SearchParams()


class LimitParams(Frozen):
    """An absolute limit on one metric."""

    metric: Metric | Literal["ece", "brier_skill", "r2"]
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give exactly one of at_least and at_most")
        return self


class SliceParams(Frozen):
    """Groups of rows that must not lose while the whole gains."""

    columns: tuple[str, ...] = ()
    min_share: Share = 0.02
    """Groups with a smaller share of the rows are too small to be important."""
    tolerance: Annotated[float, Field(ge=0)] = 0.05
    """How much larger a group's mean loss may be than the champion's there, as a share of the champion's."""


class GateParams(Frozen):
    """The rules a candidate must pass."""

    metric: Metric
    rule: Literal["superiority", "non_inferiority"]
    margin: float = Field(ge=0)
    """Superiority: better by more than this. Non-inferiority: not worse by as much as this."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Two-sided; each rule that has to be proven spends (1 - confidence) / 2."""
    block: Literal["hour", "day", "week"] = "day"
    """Rows of one block may resemble each other; blocks are taken as independent."""
    min_rows: int = Field(ge=1)
    min_blocks: int = Field(8, ge=3)
    limits: tuple[LimitParams, ...]
    slices: SliceParams = SliceParams()
    suspicious_score: Annotated[float, Field(gt=0.5, le=1)]
    """A candidate this good (AUC, accuracy or R²) has seen the answer."""
    max_latency_ms: Annotated[float, Field(gt=0)]
    """Median time of a one-row prediction."""
    max_model_mb: Annotated[float, Field(gt=0)]
    refit: bool = False
    """Fit an accepted candidate again, with the same settings and seed, on the rows that judged it too; that model is
    registered, unless it turns out unlike the one that was judged."""
    refit_change: Annotated[float, Field(gt=0)] = 1.0
    """How far the predictions may move by that, on average over the rows that judged, as a share of the distance
    between prediction and label before."""

    @model_validator(mode="after")
    def _has_limits(self) -> Self:
        if not self.limits:
            raise ValueError("a gate without absolute limits lets the first model pass unseen; give at least one")
        return self


class ApprovalParams(Frozen):
    """Who may say yes, and for how long we ask."""

    auto_approve: tuple[Literal["first_model", "place_ci", "always"], ...] = ()
    expires_after_hours: Annotated[float, Field(gt=0)] = 168
    starting_share: Share = 0.05
    """The share of traffic that the form offers as the first step of a rollout."""

    @property
    def expires_after(self) -> timedelta:
        return timedelta(hours=self.expires_after_hours)


class Params(Frozen):
    """One case's section of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    window: WindowParams
    validation: ValidationParams
    features: FeatureParams
    training: TrainingParams
    gate: GateParams
    approval: ApprovalParams
    monitoring: MonitoringParams = MonitoringParams()
    rollout: RolloutParams = RolloutParams()
