"""What earlier windows teach about an estimate: where it was wrong, and whether that went with the window's scores.

Truth less estimate of the windows whose labels are in is regressed on the mean score and on the estimate itself (ridge
regression; Hoerl and Kennard 1970, Technometrics 12:55). The correction is used only where it would have come closer to
the truth of each window had that window been left out (the leave-one-out residual r / (1 - h)): over all windows, and
over those the champion was live in, since the reference alone says nothing about a world that moved on. It is never
carried beyond the windows it was learnt from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.evaluation.predictions import Floats
from tasks.monitoring.conformal import Residual

_PENALTY = 1.0
_FEWEST = 8
_FEWEST_LIVE = 3
_WORTH_IT = 0.9
"""A correction must bring the mean squared error below this share of what it is without."""


@dataclass(frozen=True)
class Past:
    """One window whose labels are in."""

    mean_score: float
    estimated: float
    """Before any correction."""
    realised: float
    error: float
    """Standard error that the truth of so many rows has by itself."""
    live: bool = False
    """After the champion was accepted; else a stretch of its reference."""


@dataclass(frozen=True)
class Correction:
    """How an estimate is corrected, and how far from the truth it was in each earlier window."""

    residuals: tuple[Residual, ...]
    centre: Floats
    scale: Floats
    slopes: Floats
    shift: float
    reach: float = 0.0
    """So many times its scale a window may be away from the centre."""

    def __call__(self, mean_score: float, estimated: float) -> float:
        """The estimate, corrected."""
        along = np.clip((np.array([mean_score, estimated]) - self.centre) / self.scale, -self.reach, self.reach)
        return estimated + self.shift + float(along @ self.slopes)


def learn_correction(past: Sequence[Past]) -> Correction:
    """The correction that earlier windows ask for: none, unless it would have helped in them."""
    features = np.array([[one.mean_score, one.estimated] for one in past]).reshape(len(past), 2)
    wrong = np.array([one.realised - one.estimated for one in past])
    errors = [one.error for one in past]
    none = Correction(_residuals(wrong, errors), np.zeros(2), np.ones(2), np.zeros(2), 0.0)
    if len(past) < _FEWEST:
        return none
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    along = (features - centre) / scale
    solved = np.linalg.solve(along.T @ along + _PENALTY * np.eye(2), along.T)
    slopes, shift = solved @ wrong, float(wrong.mean())
    leverage = np.einsum("ij,ji->i", along, solved) + 1 / len(past)
    left_out = (wrong - shift - along @ slopes) / (1 - leverage)
    live = np.array([one.live for one in past])
    if live.sum() < _FEWEST_LIVE or not (_helps(left_out, wrong) and _helps(left_out[live], wrong[live])):
        return none
    return Correction(_residuals(left_out, errors), centre, scale, slopes, shift, float(np.abs(along).max()))


def _helps(corrected: Floats, plain: Floats) -> bool:
    return bool(np.mean(corrected**2) < _WORTH_IT * np.mean(plain**2))


def _residuals(values: Floats, errors: Sequence[float]) -> tuple[Residual, ...]:
    return tuple(Residual(float(value), error) for value, error in zip(values, errors, strict=True))
