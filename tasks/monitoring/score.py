"""Drift of the champion's score, against its own change from window to window while it was accepted.

The distance of two samples is Jensen and Shannon's (Lin 1991, IEEE Trans. Inf. Theory 37:145), in base 2, between their
counts in bins of equal share. Two samples of one distribution have a distance too, which shrinks as they grow; what it
is expected to be is taken off, so that small windows can be held against the same threshold as large ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tasks.evaluation.predictions import Floats

Counts = NDArray[np.int64]

_BINS = 48
_BINS_OF_A_CLASS = 6
_FEWEST_BINS, _ROWS_A_BIN = 4, 5
FEWEST_UNITS = 5
"""With fewer windows of the reference nobody can say what change is usual."""


@dataclass(frozen=True)
class Bins:
    """Where the scores are cut: `edges` ascending; class by class where there are several."""

    edges: Floats
    classes: int = 1

    @classmethod
    def of(cls, scores: Floats, classes: int = 1) -> "Bins":
        """Bins of about equal share of `scores` (n,), and one on each side for what lies outside."""
        number = _BINS if classes == 1 else _BINS_OF_A_CLASS
        inner = np.quantile(scores, np.linspace(0, 1, number + 1), method="inverted_cdf")
        return cls(np.unique([*inner, np.nextafter(inner[-1], np.inf)]), classes)

    def count(self, scores: Floats, group: NDArray[np.intp] | None = None) -> Counts:
        """How many of `scores` fall in each bin; `group` (n,) says of which class each is the score."""
        width = len(self.edges) + 1
        places = np.searchsorted(self.edges, scores, side="right")
        if group is not None:
            # A class nobody knows is counted apart from all others.
            places = places + width * np.where((group < 0) | (group >= self.classes), self.classes, group)
        return np.bincount(places, minlength=width * (self.classes + (group is not None))).astype(np.int64)


def coarser(windows: Sequence[Counts]) -> list[Counts]:
    """Counts of several windows in the same fine bins, in fewer: neighbours joined to about equal shares of all.

    As few as leave the smallest window some rows a bin: with more, windows differ by chance alone.
    """
    whole = np.cumsum(np.sum(windows, axis=0))
    bins = int(np.clip(min(counts.sum() for counts in windows) // _ROWS_A_BIN, _FEWEST_BINS, _BINS))
    group = np.searchsorted(np.linspace(0, whole[-1], bins + 1)[1:-1], whole, side="left")
    return [np.bincount(group, weights=counts, minlength=bins).astype(np.int64) for counts in windows]


@dataclass(frozen=True)
class ScoreDrift:
    """How far the score of a window is from the reference, and how far it usually is."""

    distance: float
    threshold: float
    usual: float
    """Median distance of the reference's own windows, each from the others."""
    p_value: float
    """Of "the rows come from the reference's distribution", by the chi-squared test of both samples."""
    error_rate: float
    units: int
    """Windows of the reference that made the threshold."""

    @property
    def alarm(self) -> bool:
        """Farther than usual, and more than this many rows would show by chance."""
        return self.distance > self.threshold and self.p_value < self.error_rate


def drift(units: Sequence[Counts], current: Counts, error_rate: float) -> ScoreDrift:
    """The drift of `current` from `units`, the windows of the reference; at least FEWEST_UNITS of them.

    The threshold is the upper prediction bound of a normal sample for one more window, at `error_rate` over as many
    windows as the reference has (Bonferroni): a stretch as long as the reference alarms falsely with at most that rate,
    as far as change from window to window is what it was.
    """
    whole = np.sum(units, axis=0)
    distances = np.array([distance(unit, whole - unit) for unit in units])
    return ScoreDrift(
        distance=distance(current, whole),
        threshold=_bound(distances, error_rate / len(units)),
        usual=float(np.median(distances)),
        p_value=p_value(current, whole),
        error_rate=error_rate,
        units=len(units),
    )


def left_out(units: Sequence[Counts], error_rate: float) -> list[ScoreDrift]:
    """The drift of each window of the reference from the others, judged by the others."""
    return [drift([*units[:i], *units[i + 1 :]], unit, error_rate) for i, unit in enumerate(units)]


def distance(one: Counts, other: Counts) -> float:
    """Jensen-Shannon distance of two counts, 0 to 1, less what chance makes of their sizes; 0 if either is empty."""
    sizes = one.sum(), other.sum()
    if not all(sizes):
        return 0.0
    filled = (one + other) > 0
    p, q = one[filled] / sizes[0], other[filled] / sizes[1]
    middle = (p + q) / 2
    divergence = (_entropy(middle) - (_entropy(p) + _entropy(q)) / 2) / np.log(2)
    by_chance = (filled.sum() - 1) / 8 * (1 / sizes[0] + 1 / sizes[1]) / np.log(2)
    return float(np.sqrt(max(divergence - by_chance, 0.0)))


def p_value(one: Counts, other: Counts) -> float:
    """Chi-squared test that two counts come from one distribution; bins too thin to judge are joined with the next."""
    table = _thick_enough(np.array([one, other], dtype=np.float64))
    if table.shape[1] < 2 or not all(table.sum(axis=1)):
        return 1.0
    return float(stats.chi2_contingency(table, correction=False).pvalue)


def units_of(moments: pd.Series, length: timedelta) -> NDArray[np.intp]:
    """For each row the number of the stretch of `length` it lies in, counted back from the last row."""
    back = ((moments.max() - moments) // pd.Timedelta(length)).to_numpy(dtype=np.intp)
    units: NDArray[np.intp] = back.max() - back
    return units


def _entropy(shares: Floats) -> float:
    some = shares[shares > 0]
    return float(-(some * np.log(some)).sum())


def _bound(distances: Floats, rate: float) -> float:
    count = len(distances)
    spread = float(distances.std(ddof=1)) * np.sqrt(1 + 1 / count)
    return float(distances.mean() + stats.t.ppf(1 - rate, count - 1) * spread)


def _thick_enough(table: Floats) -> Floats:
    """Neighbouring bins joined until five rows are expected in each of both samples (Cochran 1954)."""
    share = table.sum(axis=1).min() / max(table.sum(), 1.0)
    joined: list[Floats] = []
    gathered = np.zeros(2)
    for column in table.T:
        gathered = gathered + column
        if gathered.sum() * share >= 5:
            joined.append(gathered)
            gathered = np.zeros(2)
    if joined:
        joined[-1] = joined[-1] + gathered
    return np.array(joined).T if joined else table.sum(axis=1, keepdims=True)
