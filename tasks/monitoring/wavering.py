"""How far hours, and whole batches, of a reference are usually off: rows of one hour are alike, and no change.

The weather is the same for all of an hour, and mornings are no evenings. Where hours of the reference differ by more
than so many rows would by chance, a watch over hours must not take such differences for news.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy import stats

from tasks.evaluation.predictions import Floats
from tasks.monitoring.bins import CategoryBins, NumberBins
from tasks.monitoring.grid import Bins

Groups = NDArray[np.intp]


def excess(sums: NDArray[Any], weights: NDArray[Any]) -> float:
    """The variance of what groups are off by beyond chance; 0 where chance alone may well make as much of it.

    A group's sum varies by its weight through chance, and by its weight squared through what its rows have in common
    (method of moments, as DerSimonian and Laird 1986, Controlled Clinical Trials 7:177).
    """
    squares = float(np.square(weights).sum())
    variance = float((np.square(sums) - weights).sum()) / squares if squares else 0.0
    return variance if squares and variance > 2 * np.sqrt(2 / squares) else 0.0


def bound(variance: float, groups: int, error_rate: float) -> float:
    """What as many groups all keep within, but for `error_rate`."""
    if groups < 2 or not variance:
        return 0.0
    return float(stats.t.ppf(1 - error_rate / (2 * groups), groups - 1) * np.sqrt(variance))


@dataclass(frozen=True)
class Usual:
    """A sample of the reference, and which rows of it belong together."""

    rows: pd.DataFrame
    groupings: tuple[Groups, ...]
    """Each numbers the groups from 0: hours, batches."""
    error_rate: float

    def of_numbers(self, column: str, bins: Bins, weights: Floats) -> float:
        """How far means of a standardised score are usually off, in standard deviations."""
        if column not in self.rows or not isinstance(bins, NumberBins):
            return 0.0
        values = bins.values(pa.Array.from_pandas(self.rows[column]))
        if values is None:
            return 0.0
        known = np.isfinite(values)
        return self._of(weights[np.searchsorted(bins.edges, values[known], side="right")], known)

    def of_share(self, column: str, bins: Bins, name: str) -> float:
        """How far the share of a category is usually off, in its standard deviations."""
        if column not in self.rows or not isinstance(bins, CategoryBins):
            return 0.0
        values = self.rows[column]
        named = values.astype("boolean") == (name == "true") if bins.of_truth else values == name
        known = values.notna().to_numpy()
        return self._of_events(named.to_numpy(dtype=np.float64, na_value=0.0)[known], known)

    def of_missing(self, column: str) -> float:
        """The same of the share of missing values."""
        if column not in self.rows:
            return 0.0
        missing = self.rows[column].isna().to_numpy(dtype=np.float64)
        return self._of_events(missing, np.ones(len(missing), dtype=np.bool_))

    def _of_events(self, events: NDArray[Any], known: NDArray[np.bool_]) -> float:
        share = float(events.mean()) if len(events) else 0.0
        return self._of((events - share) / np.sqrt(share * (1 - share)), known) if 0 < share < 1 else 0.0

    def _of(self, values: Floats, known: NDArray[np.bool_]) -> float:
        if not len(values):
            return 0.0
        centred = values - values.mean()
        return max((self._within(centred, grouping[known]) for grouping in self.groupings), default=0.0)

    def _within(self, values: Floats, groups: Groups) -> float:
        sizes = np.bincount(groups)
        return bound(excess(np.bincount(groups, weights=values), sizes), int((sizes > 0).sum()), self.error_rate)
