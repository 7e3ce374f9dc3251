"""Drift that no column shows alone: correlations from the cross-products, and a classifier of the two samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tasks.monitoring.bins import SCORE_SCALE, Floats
from tasks.monitoring.profile import Pairs

_FEWEST_ROWS = 30
_BINS = 64
_MOST_CODES = _BINS - 2
"""The largest code of a category; the rarest share it. scikit-learn takes no more categories than bins."""
_NAMED = 3
_MOST_TIMES = 5


@dataclass(frozen=True, slots=True)
class PairTest:
    """The correlation of two columns in both samples."""

    pair: tuple[str, str]
    before: float
    """Spearman's correlation in the reference, and in the current rows."""
    now: float
    p_value: float
    effect: float
    """The share of rows that would have to be different: the difference over pi, as for two normal columns."""


def correlations(
    reference: Pairs, current: Pairs, names: Sequence[str], leave_out: frozenset[str] = frozenset()
) -> list[PairTest]:
    """Whether each pair of columns goes together as before; a p-value for each pair, not corrected for their number.

    The mean product of the rank scores is compared, with the variance that the products have in both samples together.
    """
    found = []
    for (i, one), (j, other) in combinations(enumerate(names), 2):
        n, m = int(reference.rows[i, j]), int(current.rows[i, j])
        if min(n, m) < _FEWEST_ROWS or leave_out & {one, other}:
            continue
        before, now = reference.products[i, j] / n, current.products[i, j] / m
        mean = (reference.products[i, j] + current.products[i, j]) / (n + m)
        variance = (float(reference.squares[i, j]) + float(current.squares[i, j])) / (n + m) - mean**2
        if variance <= 0:
            continue
        score = (now - before) / np.sqrt(variance * (1 / n + 1 / m))
        spearman = 3 / SCORE_SCALE**2
        found.append(
            PairTest(
                pair=(one, other),
                before=float(before * spearman),
                now=float(now * spearman),
                p_value=float(2 * stats.norm.sf(abs(score))),
                effect=float(abs(now - before) * spearman / np.pi),
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Told:
    """How well the two samples can be told apart, row by row."""

    auc: float
    p_value: float
    columns: tuple[str, ...]
    """What gives it away, the most telling first; empty where the p-value is above the rate asked for."""

    @property
    def effect(self) -> float:
        """Gini: 0 for samples that cannot be told apart, 1 for samples that share no row."""
        return max(2 * self.auc - 1, 0.0)


def tell_apart(reference: pd.DataFrame, current: pd.DataFrame, error_rate: float, seed: int) -> Told:
    """Learn on one half of the rows to tell current from reference rows, test on the other; then the other way round.

    A half's p-value is that of Wilcoxon's rank sum on rows the classifier has never seen, so it holds whatever the
    classifier has learnt; twice the smaller of the two holds for both. Both frames have the same columns. Where one has
    many times more rows than the other, the rest of them are not used: they would tell hardly more.
    """
    reference, current = reference.head(_MOST_TIMES * len(current)), current.head(_MOST_TIMES * len(reference))
    rows = pd.concat([reference, current], ignore_index=True)
    labels = np.repeat([0, 1], [len(reference), len(current)])
    inputs, categorical = _coded(rows)
    half = _halves(labels, seed)
    # On a busy machine the threads of one small fit wait for each other longer than they work.
    with threadpool_limits(limits=1, user_api="openmp"):
        sides = [_side(inputs, labels, half == side, categorical, seed) for side in (0, 1)]
    p_value = min(1.0, 2 * min(side.p_value for side in sides))
    auc = float(np.mean([side.auc for side in sides]))
    if p_value > error_rate:
        return Told(auc, p_value, ())
    best = min(sides, key=lambda side: side.p_value)
    return Told(auc, p_value, tuple(str(rows.columns[place]) for place in best.telling(seed)))


@dataclass(frozen=True, slots=True)
class _Side:
    model: HistGradientBoostingClassifier
    inputs: Floats
    labels: NDArray[np.intp]
    auc: float
    p_value: float

    def telling(self, seed: int) -> list[int]:
        """Columns without which the rows can be told apart less well, by how much."""
        random = np.random.default_rng(seed)
        losses = []
        for place in range(self.inputs.shape[1]):
            shuffled = self.inputs.copy()
            shuffled[:, place] = random.permutation(shuffled[:, place])
            losses.append(self.auc - _auc(self.model.decision_function(shuffled), self.labels)[0])
        order = sorted(range(len(losses)), key=lambda place: losses[place], reverse=True)
        return [place for place in order[:_NAMED] if losses[place] > max(0.0, 0.2 * losses[order[0]])]


def odds_of_current(reference: pd.DataFrame, current: pd.DataFrame, seed: int) -> Floats:
    """For each row of `reference` the odds that it is of `current`, told by the half of all rows that it is not in.

    Both frames have the same columns, and at least two rows.
    """
    inputs, categorical = _coded(pd.concat([reference, current], ignore_index=True))
    labels = np.repeat([0, 1], [len(reference), len(current)])
    half = _halves(labels, seed)
    log_odds = np.empty(len(labels))
    with threadpool_limits(limits=1, user_api="openmp"):
        for side in (0, 1):
            model = _classifier(categorical, seed).fit(inputs[half == side], labels[half == side])
            log_odds[half != side] = model.decision_function(inputs[half != side])
    return np.asarray(np.exp(log_odds[: len(reference)]), dtype=np.float64)


def _side(
    inputs: Floats, labels: NDArray[np.intp], learn: NDArray[np.bool_], categorical: list[bool], seed: int
) -> _Side:
    model = _classifier(categorical, seed).fit(inputs[learn], labels[learn])
    unseen, truth = inputs[~learn], labels[~learn]
    auc, p_value = _auc(model.decision_function(unseen), truth)
    return _Side(model, unseen, truth, auc, p_value)


def _classifier(categorical: list[bool], seed: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=40,
        max_leaf_nodes=8,
        learning_rate=0.1,
        min_samples_leaf=10,
        max_bins=_BINS,
        categorical_features=categorical,
        early_stopping=False,
        random_state=seed,
    )


def _auc(scores: Floats, labels: NDArray[np.intp]) -> tuple[float, float]:
    """The area under the curve, and the p-value of "no more than a half" by Wilcoxon's rank sum with ties."""
    ranks = stats.rankdata(scores)
    ours = int(labels.sum())
    theirs = len(labels) - ours
    auc = float((ranks[labels == 1].sum() - ours * (ours + 1) / 2) / (ours * theirs))
    spread = np.sqrt(ranks.var(ddof=1) * ours * theirs / len(labels)) / (ours * theirs)
    return auc, float(stats.norm.sf((auc - 0.5) / spread)) if spread > 0 else 1.0


def _halves(labels: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """0 or 1 for each row, each for half of the rows of either label."""
    random = np.random.default_rng(seed)
    half = np.empty(len(labels), np.intp)
    for label in (0, 1):
        places = random.permutation(np.flatnonzero(labels == label))
        half[places] = np.arange(len(places)) % 2
    return half


def _coded(rows: pd.DataFrame) -> tuple[Floats, list[bool]]:
    """Numbers as they are; categories as the code of their frequency, the rarest as one."""
    columns, categorical = [], []
    for name in rows.columns:
        column = rows[name]
        is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        categorical.append(not is_number)
        if is_number:
            values = column.to_numpy(np.float64, na_value=np.nan)
            columns.append(np.where(np.isinf(values), np.nan, values))
        elif pd.api.types.is_datetime64_any_dtype(column):
            categorical[-1] = False
            columns.append(_week_minutes(column))
        else:
            columns.append(_codes(column))
    return np.column_stack(columns), categorical


def _week_minutes(column: pd.Series) -> Floats:
    minutes = column.dt.dayofweek * 1440.0 + column.dt.hour * 60 + column.dt.minute
    return np.asarray(minutes.to_numpy(np.float64, na_value=np.nan))


def _codes(column: pd.Series) -> Floats:
    """The place of each value among the names it goes by, the most frequent first."""
    places, values = pd.factorize(column.astype(object))
    named, names = pd.factorize(np.array([str(value) for value in values], dtype=object))
    known = places >= 0
    coded = named[places[known]]
    order = np.argsort(-np.bincount(coded, minlength=len(names)), kind="stable")
    rank = np.empty(len(names))
    rank[order] = np.minimum(np.arange(len(names)), _MOST_CODES)
    codes = np.full(len(column), np.nan)
    codes[known] = rank[coded]
    return codes
