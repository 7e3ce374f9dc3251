"""What the reference promises about labels: which events are watched, how often each happens, and what loss to expect.

Binary: a positive, whose chance is the calibrated score. Several classes: a right answer, whose chance is the
calibrated top score. A regression: an error larger than half, or nine tenths, of those the reference made at such
predictions, and a number above its prediction.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from configs.case import Problem
from tasks.evaluation.predictions import Floats
from tasks.outcomes.calibration import Calibration, Groups
from tasks.outcomes.concept import Change, Events, changes_of

POSITIVE, RIGHT = "a positive", "a right answer"
LARGE, HUGE, ABOVE = "an error above the usual", "a large error", "a number above its prediction"
_LEVELS = {LARGE: 0.5, HUGE: 0.9}
_MOST_BINS, _ROWS_OF_A_BIN = 10, 200


@dataclass(frozen=True)
class Told:
    """Rows with what was answered and what came true; NaN or None where no label is known."""

    scores: Floats
    """P(positive), the top probability, or the number."""
    labels: pd.Series
    predicted: pd.Series | None = None
    """The class answered, where there are several."""

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def known(self) -> np.ndarray:
        return self.labels.notna().to_numpy()


@dataclass(frozen=True)
class Errors:
    """How large a regression's errors were in the reference, by prediction."""

    edges: Floats
    quantiles: dict[str, Floats]
    means: Floats

    @classmethod
    def of(cls, scores: Floats, errors: Floats) -> "Errors":
        count = int(np.clip(len(scores) // _ROWS_OF_A_BIN, 1, _MOST_BINS))
        edges = np.unique(np.quantile(scores, np.linspace(0, 1, count + 1)[1:-1])) if count > 1 else np.empty(0)
        bins = np.searchsorted(edges, scores, side="right")
        # A bin that ties left empty holds nothing that could be asked about.
        parts = [errors[bins == index] if (bins == index).any() else errors for index in range(len(edges) + 1)]
        quantiles = {name: np.array([np.quantile(part, level) for part in parts]) for name, level in _LEVELS.items()}
        return cls(edges, quantiles, np.array([part.mean() for part in parts]))

    def at(self, values: Floats, scores: Floats) -> Floats:
        found: Floats = values[np.searchsorted(self.edges, scores, side="right")]
        return found


@dataclass(frozen=True)
class Promise:
    """The calibration of each event, as the reference has it."""

    problem: Problem
    calibrations: dict[str, Calibration]
    errors: Errors | None
    loss: float
    """Expected of the reference's own scores, per row."""

    @classmethod
    def learn(cls, problem: Problem, told: Told, batches: Groups, error_rate: float) -> "Promise":
        """From the reference's rows, each with its label; rows of one batch, numbered from 0, may be alike."""
        errors = Errors.of(told.scores, np.abs(_numbers(told) - told.scores)) if problem is Problem.regression else None
        calibrations = {
            name: Calibration.fit(told.scores, hits, batches, error_rate, follows=problem.gives_probabilities)
            for name, hits in _hits(problem, told, errors).items()
        }
        learnt = cls(problem, calibrations, errors, 0.0)
        return cls(problem, calibrations, errors, float(learnt.expected_losses(told.scores).mean()))

    def events(self, told: Told) -> tuple[Events, ...]:
        """The events of some rows, in their order."""
        found = _hits(self.problem, told, self.errors)
        return tuple(Events(name, told.scores, hits, self.calibrations[name]) for name, hits in found.items())

    @property
    def changes(self) -> list[Change]:
        """All ways the events are watched for, in their order."""
        return [change for name, expected in self.calibrations.items() for change in changes_of(name, expected)]

    def losses(self, told: Told) -> Floats:
        """Each row's loss: Brier score of the event, or absolute error; NaN without a label."""
        if self.problem is Problem.regression:
            return np.abs(_numbers(told) - told.scores)
        (hits,) = _hits(self.problem, told, None).values()
        return np.square(hits - told.scores)

    def expected_losses(self, scores: Floats) -> Floats:
        """What loss the reference leads one to expect of such scores."""
        if self.errors is not None:
            return self.errors.at(self.errors.means, scores)
        (calibration,) = self.calibrations.values()
        chance = calibration.chances(scores)
        return chance * np.square(1 - scores) + (1 - chance) * np.square(scores)


def _hits(problem: Problem, told: Told, errors: Errors | None) -> dict[str, Floats]:
    known = told.known
    if problem is Problem.binary:
        return {POSITIVE: told.labels.to_numpy(dtype=np.float64, na_value=np.nan)}
    if problem is Problem.multiclass:
        assert told.predicted is not None
        right = told.predicted.astype("string").to_numpy() == told.labels.astype("string").to_numpy()
        return {RIGHT: np.where(known, np.where(known, right, False).astype(np.float64), np.nan)}
    assert errors is not None
    numbers = _numbers(told)
    size = np.abs(numbers - told.scores)
    larger = {name: size > errors.at(limits, told.scores) for name, limits in errors.quantiles.items()}
    found = larger | {ABOVE: numbers > told.scores}
    return {name: np.where(known, hits.astype(np.float64), np.nan) for name, hits in found.items()}


def _numbers(told: Told) -> Floats:
    return told.labels.to_numpy(dtype=np.float64, na_value=np.nan)
