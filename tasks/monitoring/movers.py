"""Which columns moved the champion's score: its drift, shared out over them.

Columns are changed one after another from the rows of the reference to those of the window, in random orders; what
each change adds to the drift, averaged over the orders, is the column's share (Shapley values by sampled permutations,
Castro et al. 2009, Computers & Operations Research 36:1726). The shares add up to the whole drift.

Rows half of one time and half of another need not exist: of columns that say the same, the share may go to either.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.evaluation.predictions import Floats

ROWS = 400
_ORDERS = 12
"""With ROWS rows and 20 columns: about 100,000 predictions."""

_KINDS = (
    ("floating", "integer", "mixed-integer-float", "decimal", "boolean"),
    ("string", "categorical"),
    ("datetime64", "datetime", "date"),
)

Score = Callable[[pd.DataFrame], Floats]


@dataclass(frozen=True)
class Moved:
    """What one column adds to the drift of the score."""

    column: str
    by: float
    """In units of the score; below 0 where it drew the score back."""
    share: float
    """Of the whole drift."""


def movers(
    score: Score, reference: pd.DataFrame, current: pd.DataFrame, columns: Sequence[str], seed: int
) -> tuple[Moved, ...]:
    """`columns` by what they added to the drift of `score`, the largest first.

    The drift is the mean distance between the sorted scores of both (Wasserstein's), averaged over classes. Columns of
    `reference` that are not named stay as they were. At most ROWS rows of each are drawn; empty where either has none.
    """
    draw = np.random.default_rng(seed)
    rows = min(ROWS, len(reference), len(current))
    if not rows or not columns:
        return ()
    both = _stacked(_drawn(reference, rows, draw), _drawn(current, rows, draw), columns)
    before = score(both.iloc[:rows])
    added = np.zeros(len(columns))
    orders = _orders(len(columns), draw)
    for order in orders:
        drifts = _drifts(before, score(_hybrids(both, rows, [columns[place] for place in order])), len(columns))
        added[order] += np.diff(drifts, prepend=0.0)
    by = added / len(orders)
    whole = float(by.sum())
    ranked = sorted(zip(columns, by.tolist(), strict=True), key=lambda pair: -pair[1])
    return tuple(Moved(str(name), value, value / whole if whole else 0.0) for name, value in ranked)


def comparable(reference: pd.DataFrame, current: pd.DataFrame) -> tuple[tuple[str, ...], dict[str, str]]:
    """The columns of `reference` that `current` can take the place of, and why not the others."""
    why = {str(name): _why_not(reference[name], current.get(name)) for name in reference}
    return tuple(name for name, reason in why.items() if not reason), {n: reason for n, reason in why.items() if reason}


def _why_not(one: pd.Series, other: pd.Series | None) -> str:
    if other is None:
        return "the log does not have it"
    if other.isna().all() or one.isna().all():
        return ""
    kinds = [pd.api.types.infer_dtype(values.dropna()) for values in (one, other)]
    alike = [next((group for group in _KINDS if kind in group), (kind,)) for kind in kinds]
    return "" if alike[0] == alike[1] else f"{kinds[1]} in the log, {kinds[0]} in the reference"


def _orders(columns: int, draw: np.random.Generator) -> Sequence[NDArray[np.intp]]:
    """Random orders, each with its reverse: together they vary less."""
    forth = [draw.permutation(columns) for _ in range(_ORDERS // 2)]
    return [order for one in forth for order in (one, one[::-1])]


def _drawn(frame: pd.DataFrame, rows: int, draw: np.random.Generator) -> pd.DataFrame:
    return frame.iloc[np.sort(draw.choice(len(frame), rows, replace=False))]


def _stacked(reference: pd.DataFrame, current: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The rows of both; a column that is not to change has the reference's values twice."""
    stacked = {}
    for name in reference:
        one, other = reference[name], current[name] if name in columns else reference[name]
        if pd.api.types.is_numeric_dtype(one.dtype) or pd.api.types.is_bool_dtype(one.dtype):
            parts = [values.astype("float64") for values in (one, other)]
        elif pd.api.types.is_datetime64_any_dtype(one.dtype):
            parts = [one, other.astype(one.dtype)]
        else:
            parts = [values.astype(object).where(values.notna(), None) for values in (one, other)]
        stacked[str(name)] = pd.concat(parts, ignore_index=True)
    return pd.DataFrame(stacked)


def _hybrids(both: pd.DataFrame, rows: int, order: Sequence[str]) -> pd.DataFrame:
    """The reference's rows with the first column of `order` changed, then the first two, and so on to all."""
    steps = np.repeat(np.arange(len(order)), rows)
    row = np.tile(np.arange(rows), len(order))
    place = {name: number for number, name in enumerate(order)}
    taken = {name: both[name].take(row + rows * (place.get(str(name), len(order)) <= steps)).array for name in both}
    return pd.DataFrame(taken)


def _drifts(before: Floats, after: Floats, steps: int) -> Floats:
    """The drift after each step."""
    sorted_before = np.sort(before, axis=0)
    return np.array([np.abs(np.sort(part, axis=0) - sorted_before).mean() for part in np.split(after, steps)])
