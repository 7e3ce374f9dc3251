"""Performance as labels show it: how sure it is, how it stands to the reference, and whether the week was harder.

What a model loses against its reference has two parts. One is to be expected of the scores it gave: if each still
meant what it meant on the reference, this would be its performance (the rows are harder). The other is not: the same
scores mean something else now (the model got worse). Another model that answered the same rows tells the two apart too.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from configs.case import Problem
from tasks.evaluation.intervals import Blocks, blocks_of, count_blocks, interval, standard_error
from tasks.evaluation.metrics import Estimate, estimates
from tasks.evaluation.predictions import Floats, Predictions
from tasks.monitoring.estimate import BETTER_WHEN_LOWER, Answers, Calibration, as_probability, expected
from tasks.records import Interval

_FEWEST_BLOCKS = 5
"""Rows seen on fewer days are taken as independent from hour to hour."""
_FEWEST_UNITS = 3


@dataclass(frozen=True)
class Measured:
    """A metric on labelled rows."""

    interval: Interval
    error: float
    """Standard error, of rows that resemble each other within a day."""
    rows: int


def measure(problem: Problem, rows: pd.DataFrame, confidence: float) -> dict[str, Measured]:
    """Every metric that is defined on labelled outcomes, all of one model version."""
    blocks = day_blocks(rows["answered_at"])
    return {
        name: Measured(
            interval(found.value, found.influence, blocks, confidence)
            if found.influence is not None
            else Interval(value=found.value, low=found.value, high=found.value, confidence=confidence),
            standard_error(found.influence, blocks) if found.influence is not None else float("inf"),
            len(rows),
        )
        for name, found in _estimates(problem, rows).items()
    }


def _estimates(problem: Problem, rows: pd.DataFrame) -> Mapping[str, Estimate]:
    return estimates(problem, rows["label"].to_numpy(), predictions(problem, rows)) if len(rows) else {}


def predictions(problem: Problem, rows: pd.DataFrame) -> Predictions:
    """What the rows were answered, as metrics take it."""
    if problem is not Problem.multiclass:
        return Predictions(rows["score"].to_numpy(dtype=np.float64))
    return Predictions(np.stack(rows["probabilities"].to_list()), tuple(rows["classes"].iloc[0]))


def day_blocks(answered_at: pd.Series) -> Blocks:
    """The days rows were answered on; the hours, where the days are few."""
    days = blocks_of(answered_at, "day")
    return days if count_blocks(days) >= _FEWEST_BLOCKS else blocks_of(answered_at, "hour")


@dataclass(frozen=True)
class Standard:
    """A metric on the reference."""

    value: float
    error: float


def standard(
    metric: str, answers: Answers, truth: Floats, units: np.ndarray, classes: tuple[str, ...] = ()
) -> Standard | None:
    """The metric in an ordinary stretch of the reference: the mean over `units` (-1 for none); None if undefined.

    A stretch as long as the window, because an AUC over months also ranks the months. With fewer than three stretches,
    over all rows, which are then taken as independent.
    """
    labels = (
        truth if answers.problem is not Problem.multiclass else np.array(classes, dtype=object)[truth.argmax(axis=1)]
    )

    def value(rows: np.ndarray) -> Estimate | None:
        return estimates(answers.problem, labels[rows], Predictions(answers.scores[rows], classes)).get(metric)

    found = [one.value for unit in np.unique(units[units >= 0]) if (one := value(units == unit))]
    if len(found) >= _FEWEST_UNITS:
        return Standard(float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(len(found))))
    whole = value(np.ones(len(labels), dtype=bool))
    if whole is None or whole.influence is None:
        return None
    return Standard(whole.value, float(np.std(whole.influence) / np.sqrt(len(labels))))


@dataclass(frozen=True)
class Fall:
    """How much worse a metric is than on the reference: a fall, or for errors the rise as a share of the reference."""

    worse_by: Interval
    harder_by: float | None
    """What of it was to be expected of the scores; None where that cannot be said."""

    def alarm(self, largest_drop: float) -> bool:
        """It is at least as large as that, and shown to be there at all."""
        return self.worse_by.value >= largest_drop and self.worse_by.low > 0

    @property
    def harder(self) -> bool:
        """Whether more than half of it was to be expected of the scores."""
        return self.harder_by is not None and self.harder_by > self.worse_by.value / 2


def fall(metric: str, measured: Measured, reference: Standard, expected_value: float | None) -> Fall:
    """How much worse `measured` is than the reference; `expected_value` is what its scores let expect."""
    sign = 1.0 if metric in BETTER_WHEN_LOWER else -1.0
    scale = abs(reference.value) if metric in BETTER_WHEN_LOWER and reference.value else 1.0
    found = measured.interval
    value = sign * (found.value - reference.value) / scale
    # The t quantile is that of the window's own interval; the reference adds its error.
    half = (found.high - found.low) / 2
    quantile = half / measured.error if np.isfinite(measured.error) and measured.error else 1.0
    reach = quantile * float(np.hypot(measured.error, reference.error)) / scale
    worse_by = Interval(value=value, low=value - reach, high=value + reach, confidence=found.confidence)
    harder_by = None if expected_value is None else sign * (expected_value - reference.value) / scale
    return Fall(worse_by, harder_by)


def expected_of_scores(metric: str, learnt_on: Answers, truth: Floats, given: Answers) -> float | None:
    """The metric if the scores `given` meant what they meant on the reference; None where that is not defined."""
    if given.problem is Problem.regression or not len(truth) or not len(given):
        return None
    found = expected(given, Calibration.learn(learnt_on, truth)(given)).get(metric)
    return None if found is None else found.value


def same_rows(
    problem: Problem, metric: str, mine: pd.DataFrame, others: pd.DataFrame, confidence: float
) -> Measured | None:
    """How much better (above 0) another model is on the rows that both answered; None without such rows."""
    key = ["request_id", "row"]
    both = mine[key].merge(others[key], on=key)
    if both.empty:
        return None
    my, their = (both.merge(rows, on=key, how="left") for rows in (mine, others))
    one, other = _estimates(problem, my).get(metric), _estimates(problem, their).get(metric)
    if one is None or other is None or one.influence is None or other.influence is None:
        return None
    sign = -1.0 if metric in BETTER_WHEN_LOWER else 1.0
    blocks = day_blocks(my["answered_at"])
    influence = sign * (other.influence - one.influence)
    found = interval(sign * (other.value - one.value), influence, blocks, confidence)
    return Measured(found, standard_error(influence, blocks), len(both))


def base_rate(problem: Problem, label: pd.Series) -> float | None:
    """The share of positive labels, or the mean of a regression's; classes have none."""
    return None if problem is Problem.multiclass or label.empty else float(label.mean())


def given_answers(problem: Problem, rows: pd.DataFrame) -> Answers:
    """What the rows were answered, as an estimate takes it."""
    return Answers(problem, predictions(problem, rows).answers)


def truth_of(problem: Problem, rows: pd.DataFrame, classes: tuple[str, ...]) -> Floats:
    """Labels as `as_probability` gives them."""
    return as_probability(problem, rows["label"].to_numpy(), classes)


def labels_needed(measured: Measured, largest_drop: float) -> int:
    """About how many more labels make the interval narrow enough to show a fall of `largest_drop`."""
    half = (measured.interval.high - measured.interval.low) / 2
    if not np.isfinite(half):
        return measured.rows
    return max(int(np.ceil(measured.rows * ((half / largest_drop) ** 2 - 1))), 0)
