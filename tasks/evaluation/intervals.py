"""Confidence intervals that hold when rows of one block (an hour, a day, a week) resemble each other.

An estimate differs from the truth by about the mean of its rows' influence values. Summed per block, these are
independent again, so the variance of the estimate is that of a sum of B independent block sums (the
cluster-robust variance of Liang and Zeger 1986, Biometrika 73:13). For the AUC this is the clustered form of
DeLong's method by Obuchowski (1997, Biometrics 53:567), with one small-sample factor B / (B - 1) for both classes.
"""

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tasks.evaluation.predictions import Floats
from tasks.records import Interval

Blocks = NDArray[np.intp]


def in_utc(moments: pd.Series) -> pd.Series:
    """The moments in UTC. They hardly repeat: pandas' own look for those that do takes longer than reading each."""
    return pd.to_datetime(moments, utc=True, cache=False)


def blocks_of(event_time: pd.Series, every: Literal["hour", "day", "week"]) -> Blocks:
    """For each row the number, from 0, of the hour, day or week (from Monday) in UTC that it lies in."""
    moments = in_utc(event_time)
    starts = moments.dt.floor("h" if every == "hour" else "D")
    if every == "week":
        starts -= pd.to_timedelta(starts.dt.weekday, unit="D")
    numbers: Blocks = pd.factorize(starts)[0]
    return numbers


def count_blocks(blocks: Blocks) -> int:
    """How many blocks have at least one row."""
    return int(np.count_nonzero(np.bincount(blocks))) if len(blocks) else 0


def standard_error(influence: Floats, blocks: Blocks) -> float:
    """Standard error of an estimate from its rows' influence values; infinite with fewer than two blocks."""
    filled = np.bincount(blocks) > 0
    count = int(filled.sum())
    if count < 2:
        return float("inf")
    sums = np.bincount(blocks, weights=influence)[filled] / len(influence)
    return float(np.sqrt(count / (count - 1) * np.sum((sums - sums.mean()) ** 2)))


def interval(value: float, influence: Floats, blocks: Blocks, confidence: float) -> Interval:
    """Two-sided interval by Student's t with B - 1 degrees of freedom; unbounded with fewer than two blocks."""
    freedom = max(count_blocks(blocks) - 1, 1)
    reach = float(stats.t.ppf(0.5 + confidence / 2, freedom)) * standard_error(influence, blocks)
    return Interval(value=value, low=value - reach, high=value + reach, confidence=confidence)


def p_above_zero(value: float, influence: Floats, blocks: Blocks) -> float:
    """One-sided p-value of "the truth is at most 0": small when the truth is shown to be above 0."""
    error = standard_error(influence, blocks)
    if error == 0:
        return 0.0 if value > 0 else 1.0
    return float(stats.t.sf(value / error, max(count_blocks(blocks) - 1, 1)))
