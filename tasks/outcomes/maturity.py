"""How labels come in: how many will have by which age, whether they are late, and whether those missing differ.

The curve is the estimate of Kaplan and Meier (1958, JASA 53:457): of the rows that were without a label so long, and
are old enough to be asked, the share that got one in this hour. Rows too young to have theirs take part as far as they
are old.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tasks.evaluation.predictions import Floats
from tasks.evaluation.slices import holm
from tasks.verdicts import Evidence

_FEWEST_ROWS = 20
"""Of each kind, for a test of whether they differ."""
_FEWEST_EXPECTED = 5.0
"""With fewer expected rows in a cell, chi-squared p-values are not to be trusted; such categories are put together."""
_FEWEST_DAYS = 3


@dataclass(frozen=True)
class Curve:
    """What share of rows has its label by which age."""

    shares: Floats
    """By the end of hour 0, 1, …"""

    def at(self, hours: Floats) -> Floats:
        """The share by an age in whole hours; beyond what was seen, the last."""
        if not len(self.shares):
            return np.zeros(len(hours))
        reached = np.clip(hours.astype(int) - 1, -1, len(self.shares) - 1)
        return np.where(reached >= 0, self.shares[reached], 0.0)

    @property
    def ever(self) -> float:
        """The share that ever gets one, as far as was seen."""
        return float(self.shares[-1]) if len(self.shares) else 0.0


def ages(days: pd.Series, as_of: datetime) -> Floats:
    """For each day of answers the hours from its end to `as_of`: the age of its youngest row."""
    ended = pd.to_datetime(days, utc=True) + pd.Timedelta(days=1)
    old = (pd.Timestamp(as_of) - ended).dt.total_seconds().to_numpy(dtype=np.float64)
    return np.maximum(np.floor(old / 3600), 0)


def curve(counts: pd.DataFrame, as_of: datetime) -> Curve:
    """The curve of `count_labels` as of the moment they were counted for."""
    old = ages(counts["day"], as_of)
    hours, rows = counts["hours"].to_numpy(dtype=np.float64), counts["rows"].to_numpy(dtype=np.float64)
    seen = ~np.isnan(hours) & (hours < old)
    length = int(old.max()) if len(old) else 0
    came = np.bincount(hours[seen].astype(int), weights=rows[seen], minlength=length)[:length]
    # A row is asked for the last time in the hour in which it got its label, or in the last one it lived to see.
    last = np.where(seen, hours, old - 1).astype(int)
    leaving = np.bincount(last[last >= 0], weights=rows[last >= 0], minlength=length)
    asked = np.cumsum(leaving[::-1])[::-1][:length]
    still = np.cumprod(1 - np.divide(came, asked, out=np.zeros(length), where=asked > 0))
    return Curve(1 - still)


@dataclass(frozen=True)
class Maturity:
    """How far the labels of some rows are."""

    rows: int
    labelled: int
    ever: float
    """The share of such rows that will ever have a label."""

    @property
    def share(self) -> float:
        """Of the labels that will ever come, those that are in."""
        expected = self.rows * self.ever
        return min(self.labelled / expected, 1.0) if expected else 0.0

    def more(self, wanted: float) -> int:
        """How many more labels make the share `wanted`."""
        return max(int(np.ceil(wanted * self.rows * self.ever)) - self.labelled, 0)


@dataclass(frozen=True)
class Lateness:
    """Whether fewer labels are in than there were at the same age before."""

    share: float
    expected: float
    p_value: float
    """One-sided, of "as many as before"; days differ from each other as they did before."""
    days: int
    days_before: int


def lateness(before: pd.DataFrame, now: pd.DataFrame, as_of: datetime) -> Lateness | None:
    """Labels of the days in `now` against the curve of the days in `before`; None with fewer than three days before.

    A t-test between the days' shortfalls: labels of one day come together, so its rows are not independent; days are.
    """
    usual = curve(before, as_of)
    was, current = _shortfall(before, usual, as_of), _shortfall(now, usual, as_of)
    if len(was) < _FEWEST_DAYS or not len(current):
        return None
    weights = current["rows"].to_numpy(dtype=np.float64)
    share = float(np.average(current["share"], weights=weights))
    expected = float(np.average(current["expected"], weights=weights))
    spread = max(float(np.var(was["missing"], ddof=1)), 1e-8)
    error = float(np.sqrt(spread * (1 / len(was) + 1 / len(current))))
    p_value = float(stats.t.sf((expected - share) / error, len(was) - 1))
    return Lateness(share, expected, p_value, len(current), len(was))


def _shortfall(counts: pd.DataFrame, usual: Curve, as_of: datetime) -> pd.DataFrame:
    """Each day's share of labels, and what the curve says of a day so old."""
    old = ages(counts["day"], as_of)
    within = counts["hours"].to_numpy(dtype=np.float64) < old
    by_day = pd.DataFrame({
        "day": counts["day"].to_numpy(),
        "rows": counts["rows"].to_numpy(dtype=np.float64),
        "labelled": counts["rows"].to_numpy(dtype=np.float64) * within,
        "old": old,
    })  # fmt: skip
    found = by_day.groupby("day").agg(rows=("rows", "sum"), labelled=("labelled", "sum"), old=("old", "first"))
    share = found["labelled"] / found["rows"]
    expected = usual.at(found["old"].to_numpy())
    judged = found.assign(share=share, expected=expected, missing=expected - share)
    return judged[expected > 0]


def missing_at_random(
    labelled: NDArray[np.bool_], columns: pd.DataFrame, numeric: Sequence[str], error_rate: float
) -> tuple[Evidence, ...]:
    """Whether rows with and without label differ, column by column; the worst first.

    Two-sample Kolmogorov-Smirnov tests for `numeric` columns, chi-squared tests of both samples for the others and for
    missing numbers; by Holm's procedure the chance of any false finding is at most `error_rate`.
    """
    if min(labelled.sum(), (~labelled).sum()) < _FEWEST_ROWS:
        return ()
    found = [_differs(columns[name], labelled, numeric=name in numeric) for name in columns]
    gaps = [columns[name].isna() for name in numeric if columns[name].isna().any()]
    found += [_categories_differ(str(gap.name), gap, labelled, "of missing values") for gap in gaps]
    refuted = holm([one.p_value if one.p_value is not None else 1.0 for one in found], error_rate)
    told = [one.model_copy(update={"alarm": bad}) for one, bad in zip(found, refuted, strict=True)]
    return tuple(sorted(told, key=lambda one: (not one.alarm, -(one.effect or 0.0), one.p_value or 1.0)))


def _differs(column: pd.Series, labelled: NDArray[np.bool_], *, numeric: bool) -> Evidence:
    subject = str(column.name)
    if numeric:
        values = column.astype("float64").to_numpy()
        with_, without = values[labelled & ~np.isnan(values)], values[~labelled & ~np.isnan(values)]
        if min(len(with_), len(without)) >= _FEWEST_ROWS:
            tested = stats.ks_2samp(with_, without, method="asymp")
            return Evidence(
                subject=subject,
                test="two-sample Kolmogorov-Smirnov, labelled against unlabelled",
                statistic=float(tested.statistic),
                p_value=float(tested.pvalue),
                effect=float(tested.statistic),
            )
        return Evidence(subject=subject, test="too few numbers to compare", p_value=1.0, effect=0.0)
    return _categories_differ(subject, column, labelled)


def _categories_differ(subject: str, column: pd.Series, labelled: NDArray[np.bool_], of: str = "") -> Evidence:
    codes, _ = pd.factorize(column, use_na_sentinel=False)
    table = np.array([np.bincount(codes[kind], minlength=codes.max() + 1) for kind in (labelled, ~labelled)])
    table = _thick_enough(table)
    test = " ".join(("two-sample chi-squared", *([of] if of else []))) + ", labelled against unlabelled"
    if table.shape[1] < 2:
        return Evidence(subject=subject, test=test, p_value=1.0, effect=0.0)
    tested = stats.chi2_contingency(table, correction=False)
    shares = table / table.sum(axis=1, keepdims=True)
    return Evidence(
        subject=subject,
        test=test,
        statistic=float(tested.statistic),
        p_value=float(tested.pvalue),
        effect=float(np.abs(shares[0] - shares[1]).sum() / 2),
    )


def _thick_enough(table: NDArray[np.int64]) -> NDArray[np.int64]:
    """The table with its rare categories put together."""
    least = table.sum(axis=0) * table.sum(axis=1).min() / table.sum()
    rare = least < _FEWEST_EXPECTED
    if not rare.any():
        return table
    together = table[:, rare].sum(axis=1, keepdims=True)
    thick = np.hstack([table[:, ~rare], together])
    return thick if together.sum() * table.sum(axis=1).min() / table.sum() >= _FEWEST_EXPECTED else table[:, ~rare]
