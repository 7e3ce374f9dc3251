"""How much each row of the reference counts, so that together they are like the rows of a window.

A calibration says how often what got a score happens; where the inputs changed, the rows that get a score are other
rows, of which it may happen more or less often. Weighted by the ratio of the densities of the inputs (Shimodaira 2000,
Journal of Statistical Planning and Inference 90:227), which is the odds of a classifier that tells the two apart, the
reference's rows are those of the window. Where few of them carry the weight, the window is beyond what the reference
knows, and weights say nothing: Kish's effective sample (1965, Survey Sampling) tells. And where weighted rows happen as
often as the calibration says, there is nothing to mend, and weights would add noise alone.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from tasks.evaluation.predictions import Floats
from tasks.monitoring.joint import odds_of_current

_MOST = 10.0
"""No row counts more often: a few would say it all, and the classifier is least sure of these."""
_MOST_ROWS = 10_000
"""Of the window; more would say hardly more about the ratio."""
_FEWEST, _LEAST_SHARE = 1000, 0.2
_BINS = 10
_ERROR_RATE = 0.01
"""Of calibrations taken to have moved that have not."""


@dataclass(frozen=True)
class Weights:
    """Of the rows of a reference, in their order; 1 on average where nothing changed."""

    of_rows: Floats

    @property
    def effective(self) -> float:
        """So many rows of equal weight would be as sure of the part of the window that the reference accounts for.

        That part is the mean weight: where most of the window is like no row of the reference, all weights are small.
        """
        squares = float(np.square(self.of_rows).sum())
        alike = float(self.of_rows.sum()) ** 2 / squares if squares else 0.0
        return alike * min(float(self.of_rows.mean()), 1.0) if alike else 0.0

    @property
    def usable(self) -> bool:
        """Whether enough of the reference is like the window."""
        return self.effective >= max(_FEWEST, _LEAST_SHARE * len(self.of_rows))


def weigh(reference: pd.DataFrame, current: pd.DataFrame, seed: int) -> Weights:
    """The weights of the rows of `reference` that make them like those of `current`, in the columns of both."""
    shared = [name for name in reference if name in current]
    current = current.head(_MOST_ROWS)
    if min(len(reference), len(current)) < 2 or not shared:
        return Weights(np.zeros(len(reference)))
    odds = odds_of_current(reference[shared], current[shared], seed)
    return Weights(np.minimum(odds * (len(reference) / len(current)), _MOST))


def moves(weights: Weights, scores: Floats, chances: Floats, happened: Floats) -> bool:
    """Whether the weighted rows happen more or less often than their calibrated `chances`, beyond what chance makes.

    A chi-squared test over bins of the score; of several classes (n, k) over each of them.
    """
    each = zip(*(values.T if values.ndim > 1 else [values] for values in (scores, chances, happened)), strict=True)
    p_values = [_p_value(weights.of_rows, *one) for one in each]
    return min(p_values) * len(p_values) < _ERROR_RATE


def _p_value(weights: Floats, scores: Floats, chances: Floats, happened: Floats) -> float:
    bins = np.searchsorted(np.quantile(scores, np.linspace(0, 1, _BINS + 1)[1:-1]), scores, side="right")
    off = np.bincount(bins, weights * (happened - chances))
    variance = np.bincount(bins, np.square(weights) * chances * (1 - chances))
    filled = variance > 0
    return (
        float(stats.chi2.sf(np.sum(np.square(off[filled]) / variance[filled]), filled.sum())) if filled.any() else 1.0
    )
