"""Tail probabilities of weighted sums of independent events of unequal chance, small ones too.

By the saddlepoint approximation of Lugannani and Rice (1980, Advances in Applied Probability 12:475), for counts with
Daniels' correction (1987, International Statistical Review 55:37). Its relative error is a few percent where the normal
approximation is off by orders of magnitude: rare events, few rows, far tails.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import expit, log_ndtr, logit

from tasks.evaluation.predictions import Floats

_STEPS = 70
_FARTHEST = 200.0
_SMALLEST = 1e-12
_NEAR_ENOUGH = 1e-11


@dataclass(frozen=True)
class Sums:
    """For each group (rows of the arrays) some cells: `rows` events of chance `chances`, each adding `weights`."""

    rows: Floats
    chances: Floats
    weights: Floats

    def means(self) -> Floats:
        return np.asarray((self.rows * self.chances * self.weights).sum(axis=1), dtype=np.float64)


def log_upper_tail(sums: Sums, found: Floats, *, counts: bool) -> Floats:
    """Logarithm of the chance of a sum of `found` or more, group by group; 0 where `found` is no more than expected.

    `counts` says that all weights are 1.
    """
    odds = logit(np.clip(sums.chances, _SMALLEST, 1 - _SMALLEST))
    most = (sums.rows * np.maximum(sums.weights, 0)).sum(axis=1)
    tilt = _tilts(sums, odds, found, most)
    tilted = expit(odds + tilt[:, None] * sums.weights)
    cumulant = _cumulants(sums, odds, tilt)
    variance = (sums.rows * np.square(sums.weights) * tilted * (1 - tilted)).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(2 * np.maximum(tilt * found - cumulant, 0.0))
        lever = (-np.expm1(-tilt) if counts else tilt) * np.sqrt(variance)
        mills = np.exp(log_ndtr(-root) - stats.norm.logpdf(root))
        approximate = stats.norm.logpdf(root) + np.log(np.maximum(mills + 1 / lever - 1 / root, 0.0))
        all_of_them = np.where(
            sums.weights > 0, np.log(sums.chances), np.where(sums.weights < 0, np.log1p(-sums.chances), 0.0)
        )
    certain = np.nan_to_num((sums.rows * all_of_them).sum(axis=1), nan=0.0, neginf=-np.inf)
    scale = np.sqrt((sums.rows * np.square(sums.weights) * sums.chances * (1 - sums.chances)).sum(axis=1))
    near = found <= sums.means() + 1e-3 * np.maximum(scale, 1e-12)
    beyond = np.where(found >= most - 1e-9 * np.maximum(most, 1), certain, np.minimum(approximate, 0.0))
    result: Floats = np.where(near, 0.0, beyond)
    return result


def _tilts(sums: Sums, odds: Floats, found: Floats, most: Floats) -> Floats:
    """The tilt that makes `found` the expected sum, where that is more than expected and less than all of it; else 0.

    By Newton's steps, and by halves where one would leave what is known to hold the tilt.
    """
    tilt, low, high = np.zeros(len(found)), np.zeros(len(found)), np.full(len(found), _FARTHEST)
    left = np.flatnonzero((found > sums.means()) & (found < most))
    for _ in range(_STEPS):
        if not len(left):
            break
        weighted, weights = sums.rows[left] * sums.weights[left], sums.weights[left]
        tilted = expit(odds[left] + tilt[left, None] * weights)
        missing = found[left] - (weighted * tilted).sum(axis=1)
        slope = (weighted * weights * tilted * (1 - tilted)).sum(axis=1)
        below = missing > 0
        low[left], high[left] = np.where(below, tilt[left], low[left]), np.where(below, high[left], tilt[left])
        step = tilt[left] + missing / np.maximum(slope, _SMALLEST)
        inside = (step > low[left]) & (step < high[left])
        new = np.where(inside, step, (low[left] + high[left]) / 2)
        moves = np.abs(new - tilt[left]) > _NEAR_ENOUGH * (1 + new)
        tilt[left] = new
        left = left[moves]
    return tilt


def _cumulants(sums: Sums, odds: Floats, tilt: Floats) -> Floats:
    each = np.logaddexp(0.0, odds + tilt[:, None] * sums.weights) - np.logaddexp(0.0, odds)
    return np.asarray((sums.rows * each).sum(axis=1), dtype=np.float64)
