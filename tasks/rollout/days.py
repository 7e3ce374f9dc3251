"""Evidence of differences between two models that differ from day to day; pure.

Rows of one day resemble each other, in their weather, their prices, their users: a model that is better in the long run
is worse on some days. How far the mean of a day strays is known from the days of the evaluation, and allowed for here.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import log_ndtr

from tasks.evaluation.intervals import in_utc
from tasks.evaluation.predictions import Floats

Days = NDArray[np.int64]
"""The day of each value, as a number."""

_SMALL = 0.1
"""What harm is looked for, in standard deviations of a row's difference; how much of it decides little."""


def days_of(moments: pd.Series) -> Days:
    """The UTC day of each moment."""
    days: Days = in_utc(moments).dt.floor("D").to_numpy("datetime64[D]").astype(np.int64)
    return days


def straying(values: Floats, groups: NDArray[Any], fewest: int) -> float:
    """Standard deviation of the mean of a group, beyond what chance within groups explains.

    0 where less than `fewest` groups have more than one row.
    """
    found = pd.Series(values).groupby(groups).agg(["mean", "var", "size"]).dropna()
    if len(found) < fewest:
        return 0.0
    by_chance = float((found["var"] / found["size"]).mean())
    return float(np.sqrt(max(float(found["mean"].var()) - by_chance, 0.0)))


def log_evidence(values: Floats, days: Days, between: float) -> float:
    """Logarithm of an e-value against "the mean over all days is at most 0", where a day strays by `between`.

    The mean of a day of n rows is normal around that of all days, with variance `between² + within² / n`. The
    likelihood ratio of a mean above 0 to 0, averaged over a half-normal prior of such means, is at most 1 in
    expectation, in whatever order rows come in (Robbins 1970, Annals of Mathematical Statistics 41:1397). Normality
    is assumed, and `within` taken from the values: this stands beside a test that does neither, never alone.
    """
    found = pd.Series(values).groupby(days).agg(["mean", "var", "size"])
    spare = int((found["size"] - 1).sum())
    within = float((found["var"] * (found["size"] - 1)).sum()) / spare if spare else 0.0
    if not within:
        return 0.0
    precision = (1 / (between**2 + within / found["size"])).to_numpy(np.float64)
    drawn, known, prior = float((precision * found["mean"]).sum()), float(precision.sum()), 1 / (_SMALL**2 * within)
    reach = drawn / np.sqrt(known + prior)
    return float(np.log(2) + 0.5 * np.log(prior / (known + prior)) + reach**2 / 2 + log_ndtr(reach))
