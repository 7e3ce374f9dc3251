"""How a case is watched: what counts as a change, and with which error rates (`monitoring` in params.yaml)."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from configs.frozen import Frozen

Rate = Annotated[float, Field(gt=0, lt=0.5)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class ReferenceParams(Frozen):
    """What the current window is compared with, its inputs and its scores."""

    kind: Literal["accepted", "rolling", "same_hours", "last_year"] = "accepted"
    """`accepted`: what the champion was accepted on. `rolling`: the weeks before the window. `same_hours`: the same
    weekday and hours of the weeks before. `last_year`: the same weeks a year ago."""
    weeks: Annotated[int, Field(ge=1, le=104)] = 8
    """How many weeks `rolling` and `same_hours` go back; `last_year` takes so many around the same date."""
    expected: tuple[str, ...] = ()
    """Features that drive expected change (weather, month): their drift is shown, and alarms nobody; that they are
    missing hour after hour does."""


class InputParams(Frozen):
    """The scan of the inputs."""

    error_rate: Rate = 0.05
    """Of false alarms a scan, over all columns and all tests."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    least_effect: Annotated[float, Field(ge=0)] = 0.02
    """A difference smaller than this (largest gap between the two distributions, as a share) is dust, however sure."""
    sample_rows: Annotated[int, Field(ge=1000)] = 20_000
    """At most so many rows of each side are drawn for the joint test and for reports."""
    persistence: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (1, 1)
    """`[k, n]`: alarm when k of the last n scans found something."""
    text: tuple[str, ...] = ()
    """Features that are free text, compared by their terms."""

    @model_validator(mode="after")
    def _k_of_n(self) -> "InputParams":
        if self.persistence[0] > self.persistence[1]:
            raise ValueError(f"persistence asks for {self.persistence[0]} of {self.persistence[1]} scans")
        return self


class HourlyParams(Frozen):
    """The watch over every hour: time-uniform, so that looking often costs nothing."""

    error_rate: Rate = 0.05
    """Of any false alarm within the horizon, over all columns and all looks."""
    horizon_days: Annotated[int, Field(ge=1)] = 28
    tolerance: Annotated[float, Field(ge=0)] = 0.02
    """A shift of at most this many standard deviations is not looked for."""


class EstimateParams(Frozen):
    """Performance estimated before labels arrive, and judged when they have."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.9
    """Of the intervals around estimated and realised performance."""
    largest_drop: Positive = 0.05
    """Fall of AUC (or accuracy), or relative rise of MAE, against the reference, from which on the model is worse."""
    alarm_chance: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """From this chance of such a fall on an estimate alarms: what a needless alarm costs, as a share of what it and an
    alarm that is missed cost together."""


class OutcomeParams(Frozen):
    """Realised performance."""

    mature_share: Annotated[float, Field(gt=0, le=1)] = 0.9
    """A window is judged when this share of its labels that will ever come is in."""
    min_labels: Annotated[int, Field(ge=1)] = 200
    error_rate: Rate = 0.05
    """Of false alarms: of one sequential test over its whole life, and of one scan over all slices."""
    slices: tuple[str, ...] = ()


class SkewParams(Frozen):
    """Answers scored again, and features taken from the source again."""

    rows: Annotated[int, Field(ge=0)] = 2000
    """So many logged rows a scan; 0 turns the check off."""


class MonitoringParams(Frozen):
    """One case's `monitoring` section."""

    window_hours: Positive = 168
    """Length of the window that is watched."""
    stale_hours: Positive = 24
    """Nothing answered for this long is an alarm."""
    volume_change: Positive = 0.5
    """Largest change of the number of rows against the median of the windows before, as a share of it."""
    reference: ReferenceParams = ReferenceParams()
    inputs: InputParams = InputParams()
    hourly: HourlyParams = HourlyParams()
    estimate: EstimateParams = EstimateParams()
    outcomes: OutcomeParams = OutcomeParams()
    skew: SkewParams = SkewParams()

    @property
    def window(self) -> timedelta:
        return timedelta(hours=self.window_hours)
