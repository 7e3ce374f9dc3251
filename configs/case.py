"""A case: one table, one target, one contract, one model name (`configs/<case>.yaml`)."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from configs.frozen import Frozen
from configs.labels import LabelSource
from configs.serving import ServingParams
from configs.sources import Source
from configs.triage import Triage

CaseName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,40}$")]


class Problem(StrEnum):
    """What kind of question the case asks."""

    binary = "binary"
    multiclass = "multiclass"
    regression = "regression"

    @property
    def gives_probabilities(self) -> bool:
        return self is not Problem.regression


class ColumnType(StrEnum):
    """The type a column is delivered in."""

    string = "string"
    integer = "integer"
    number = "number"
    boolean = "boolean"
    timestamp = "timestamp"


class Role(StrEnum):
    """What a column may be used for."""

    entity = "entity"
    """Names the thing a prediction is about; unique within a batch."""
    event_time = "event_time"
    """When the prediction is asked for, in UTC."""
    feature = "feature"
    """Known when the prediction is asked for: a model may use it."""
    target = "target"
    """What the label is made from."""
    hindsight = "hindsight"
    """Known only afterwards: kept in the data, never given to a model."""
    info = "info"
    """Carried along for people; never given to a model."""


class Column(Frozen):
    """One promised column."""

    type: ColumnType
    role: Role
    unit: str | None = None
    range: tuple[float | None, float | None] | None = None
    """Smallest and largest value that can be true; `null` leaves a side open."""
    categories: tuple[str, ...] | None = None
    may_be_missing: float = Field(0.0, ge=0, le=1)
    """The share of rows, 0 to 1, in which the value may be missing."""
    unseen: float = Field(0.0, ge=0, le=1)
    """The share of rows, 0 to 1, that may carry a category not listed."""
    description: str = ""

    @model_validator(mode="after")
    def _bounds_fit_the_type(self) -> Self:
        if self.range and self.type not in (ColumnType.integer, ColumnType.number):
            raise ValueError(f"a range needs type integer or number, not {self.type}")
        low, high = self.range or (None, None)
        if low is not None and high is not None and low > high:
            raise ValueError(f"the range starts at {low}, above its end {high}")
        if self.categories is not None and self.type is not ColumnType.string:
            raise ValueError(f"categories need type string, not {self.type}")
        return self


class Contract(Frozen):
    """The columns we were promised."""

    version: int = Field(ge=1)
    columns: dict[str, Column]

    def names(self, *roles: Role) -> tuple[str, ...]:
        """Names of the columns with one of `roles`, in the contract's order; all columns if none is given."""
        return tuple(name for name, column in self.columns.items() if not roles or column.role in roles)

    @property
    def features(self) -> tuple[str, ...]:
        return self.names(Role.feature)

    @property
    def entity(self) -> str:
        return self.names(Role.entity)[0]

    @property
    def event_time(self) -> str:
        return self.names(Role.event_time)[0]

    @model_validator(mode="after")
    def _has_what_every_case_needs(self) -> Self:
        for role in (Role.entity, Role.event_time, Role.target):
            found = self.names(role)
            if len(found) != 1:
                raise ValueError(f"exactly one column must have the role `{role}`, found {list(found)}")
        if self.columns[self.event_time].type is not ColumnType.timestamp:
            raise ValueError(f"the event time `{self.event_time}` must be a timestamp")
        if not self.features:
            raise ValueError("no column has the role `feature`")
        return self


class AtLeast(Frozen):
    """Positive when the target is at or above a number."""

    at_least: float


class Equals(Frozen):
    """Positive when the target is this value."""

    equals: str | bool | int


class ExtraExpectation(Frozen):
    """One Great Expectations check a case adds to those made from its contract."""

    type: Annotated[str, StringConstraints(pattern=r"^expect_[a-z_]+$")]
    severity: Literal["critical", "warning", "info"] = "critical"
    arguments: dict[str, Any] = Field(default_factory=dict)


class Case(Frozen):
    """Everything about a use case that is not a tuning value."""

    name: CaseName
    question: str
    problem: Problem
    positive: AtLeast | Equals | None = None
    """For a binary problem whose target is not already true or false: when the label is positive."""
    label_delay_hours: float = Field(ge=0)
    batch_every: Literal["day", "week", "month"]
    source: Source
    contract: Contract
    expectations: tuple[ExtraExpectation, ...] = ()
    serving: ServingParams = ServingParams()
    triage: Triage = Triage()
    labels: LabelSource | None = None
    """Where labels come from when not from the target in `source`, once the batch is there."""

    @property
    def label_delay(self) -> timedelta:
        return timedelta(hours=self.label_delay_hours)

    @property
    def target(self) -> str:
        return self.contract.names(Role.target)[0]

    @model_validator(mode="after")
    def _problem_fits_the_target(self) -> Self:
        target = self.contract.columns[self.target]
        if self.problem is Problem.binary:
            if self.positive is None and target.type is not ColumnType.boolean:
                raise ValueError(f"`positive` must say when `{self.target}` ({target.type}) makes the label positive")
        elif self.positive is not None:
            raise ValueError(f"`positive` belongs to binary problems, not to {self.problem}")
        numeric = (ColumnType.integer, ColumnType.number)
        if self.problem is Problem.regression and target.type not in numeric:
            raise ValueError(f"a regression needs a numeric target; `{self.target}` is {target.type}")
        if isinstance(self.positive, Equals) and not _can_equal(self.positive.equals, target.type):
            raise ValueError(f"`equals: {self.positive.equals!r}` can never be true of `{self.target}` ({target.type})")
        if isinstance(self.positive, AtLeast) and target.type not in numeric:
            raise ValueError(f"`at_least` needs a numeric target; `{self.target}` is {target.type}")
        return self

    @model_validator(mode="after")
    def _serving_fits_the_contract(self) -> Self:
        fallback, kept = self.serving.fallback, self.serving.log
        for column in (rule.column for rule in fallback.rules):
            if column not in self.contract.features:
                raise ValueError(f"a fallback rule asks for `{column}`, which is no feature of the contract")
        for column in (*kept.hashed, *kept.dropped):
            if column not in (*self.contract.features, "entity"):
                raise ValueError(f"the prediction log is to hash or drop `{column}`, which is no feature, nor `entity`")
        wanted = {Problem.binary: "probability", Problem.multiclass: "probabilities", Problem.regression: "prediction"}
        answers = [rule.answer for rule in fallback.rules] + ([fallback.prior] if fallback.prior else [])
        if any(getattr(answer, wanted[self.problem]) is None for answer in answers):
            raise ValueError(f"a stand-in answer for a {self.problem} case gives `{wanted[self.problem]}`")
        if fallback.min_confidence is not None and self.problem is Problem.regression:
            raise ValueError("`min_confidence` needs probabilities; a regression has none")
        return self

    @model_validator(mode="after")
    def _log_columns_are_free(self) -> Self:
        taken = sorted(set(self.contract.features) & LOG_COLUMNS)
        if taken:
            raise ValueError(f"`{taken[0]}` cannot be a feature: the prediction log has a column of that name")
        taken = sorted(set(self.contract.features) & OUTCOME_COLUMNS)
        if taken:
            raise ValueError(f"`{taken[0]}` cannot be a feature: an outcome has a column of that name")
        return self


LOG_COLUMNS = frozenset({
    "request_id", "row", "entity", "event_time", "received_at", "answered_at", "prediction", "probability",
    "probabilities", "classes", "model_version", "role", "fallback", "contract_version", "trace",
    "scoring_seconds", "champion_scoring_seconds",
})  # fmt: skip
"""Columns of the prediction log beside the features."""
OUTCOME_COLUMNS = frozenset({
    "score", "label", "labelled_at", "known_at", "label_version", "label_apart", "answered_on",
})  # fmt: skip
"""What a prediction joined with its label has beside them."""


def _can_equal(value: str | bool | int, column: ColumnType) -> bool:
    if isinstance(value, bool):
        return column is ColumnType.boolean
    return column in ((ColumnType.integer, ColumnType.number) if isinstance(value, int) else (ColumnType.string,))
