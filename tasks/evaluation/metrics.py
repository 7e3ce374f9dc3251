"""Metrics, each with its rows' influence values: what `intervals` needs to say how sure we are.

A metric that is not defined on the rows at hand (an AUC where only one class occurs) is left out, never invented.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from configs.case import Problem
from tasks.evaluation.predictions import Floats, Predictions, unusable
from tasks.evaluation.ranking import rank_auc

HIGHER_IS_BETTER = frozenset({"auc", "accuracy", "brier_skill", "r2"})

_CALIBRATION_BINS = 10
_SMALLEST = float(np.finfo(np.float64).eps)
"""A probability of 0 for what happened would make the log loss infinite; scikit-learn clips at the same value."""


@dataclass(frozen=True)
class Estimate:
    """A metric's value, and for each row its influence on it (mean 0); None where no interval is known."""

    value: float
    influence: Floats | None = None


def estimates(problem: Problem, labels: np.ndarray, predictions: Predictions) -> dict[str, Estimate]:
    """Every metric that is defined on these rows; none at all where a row has no usable prediction."""
    if len(labels) == 0 or unusable(problem, predictions.answers):
        return {}
    match problem:
        case Problem.binary:
            found = _binary(labels.astype(np.float64), predictions.answers)
        case Problem.multiclass:
            found = _multiclass(labels, predictions)
        case Problem.regression:
            found = _regression(labels.astype(np.float64), predictions.answers)
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def row_losses(problem: Problem, labels: np.ndarray, predictions: Predictions) -> Floats:
    """Each row's loss: its Brier score for probabilities, its absolute error for a regression."""
    match problem:
        case Problem.binary:
            return np.square(labels.astype(np.float64) - predictions.answers)
        case Problem.multiclass:
            return _multiclass_brier(predictions.answers, _codes(labels, predictions.classes))
        case Problem.regression:
            return np.abs(labels.astype(np.float64) - predictions.answers)


def auc(positive: NDArray[np.bool_], scores: Floats) -> Estimate | None:
    """Chance that a positive row outranks a negative one, ties counted half; None unless both kinds are there.

    The influences are the placement values of DeLong, DeLong and Clarke-Pearson (1988, Biometrics 44:837), found
    by ranks in O(n log n) (Sun and Xu 2014, IEEE Signal Processing Letters 21:1389).
    """
    ranks = stats.rankdata(scores)
    value = rank_auc(positive, ranks)
    if value is None:
        return None
    rows, positives = len(scores), int(positive.sum())
    negatives = rows - positives
    above = (ranks[positive] - stats.rankdata(scores[positive])) / negatives
    below = 1 - (ranks[~positive] - stats.rankdata(scores[~positive])) / positives
    influence = np.empty(rows)
    influence[positive] = (above - value) * (rows / positives)
    influence[~positive] = (below - value) * (rows / negatives)
    return Estimate(value, influence)


def calibration_bins(observed: Floats, probability: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean probability, mean observed and rows of ten bins of about equal count; equal probabilities stay together."""
    edges = np.quantile(probability, np.linspace(0, 1, _CALIBRATION_BINS + 1)[1:-1])
    bins = np.searchsorted(edges, probability, side="right")
    rows = np.bincount(bins).astype(np.float64)
    filled = rows > 0
    said, was = (np.bincount(bins, weights=values)[filled] / rows[filled] for values in (probability, observed))
    return said, was, rows[filled]


def calibration_error(observed: Floats, probability: Floats) -> Estimate:
    """Expected calibration error: mean distance of said and observed frequency (Naeini et al. 2015, AAAI)."""
    said, was, rows = calibration_bins(observed, probability)
    return Estimate(float(np.average(np.abs(said - was), weights=rows)))


def _binary(labels: Floats, probability: Floats) -> dict[str, Estimate | None]:
    positive = labels == 1
    of_the_truth = np.where(positive, probability, 1 - probability)
    squared = np.square(labels - probability)
    return {
        "auc": auc(positive, probability),
        "log_loss": _mean(_log_loss(of_the_truth)),
        "brier": _mean(squared),
        "accuracy": _mean(((probability >= 0.5) == positive).astype(np.float64)),
        "ece": calibration_error(labels, probability),
        "brier_skill": _explained(squared, np.square(labels - labels.mean())),
    }


def _multiclass(labels: np.ndarray, predictions: Predictions) -> dict[str, Estimate | None]:
    probability, codes = predictions.answers, _codes(labels, predictions.classes)
    hit = (probability.argmax(axis=1) == codes).astype(np.float64)
    brier = _multiclass_brier(probability, codes)
    return {
        "auc": _macro_auc(labels, predictions),
        "log_loss": _mean(_log_loss(_of_the_truth(probability, codes))),
        "brier": _mean(brier),
        "accuracy": _mean(hit),
        "ece": calibration_error(hit, probability.max(axis=1)),
        "brier_skill": _explained(brier, _brier_of_base_rates(labels)),
    }


def _regression(labels: Floats, predicted: Floats) -> dict[str, Estimate | None]:
    error = labels - predicted
    return {
        "mae": _mean(np.abs(error)),
        "rmse": _root(_mean(np.square(error))),
        "r2": _explained(np.square(error), np.square(labels - labels.mean())),
    }


def _mean(values: Floats) -> Estimate:
    value = float(values.mean())
    return Estimate(value, values - value)


def _root(mean: Estimate) -> Estimate:
    """The square root of a mean, by the delta method."""
    assert mean.influence is not None
    value = float(np.sqrt(mean.value))
    return Estimate(value, mean.influence / (2 * value) if value else mean.influence)


def _explained(error: Floats, deviation: Floats) -> Estimate | None:
    """One minus mean error over the mean deviation of a constant answer (R², Brier skill), by the delta method.

    That the constant is estimated on the same rows has no first-order effect: it minimises the deviation.
    """
    reference = float(deviation.mean())
    if reference == 0:
        return None
    ratio = float(error.mean()) / reference
    return Estimate(1 - ratio, (ratio * deviation - error) / reference)


def _log_loss(of_the_truth: Floats) -> Floats:
    losses: Floats = -np.log(np.clip(of_the_truth, _SMALLEST, 1))
    return losses


def _codes(labels: np.ndarray, classes: tuple[str | int | bool, ...]) -> NDArray[np.intp]:
    """Each label's probability column; -1 for a class the model has never seen."""
    return pd.Index(list(classes), dtype=object).get_indexer(pd.Index(labels, dtype=object))


def _of_the_truth(probability: Floats, codes: NDArray[np.intp]) -> Floats:
    return np.where(codes >= 0, probability[np.arange(len(codes)), codes], 0.0)


def _multiclass_brier(probability: Floats, codes: NDArray[np.intp]) -> Floats:
    """Sum over classes of squared distances (Brier 1950), from 0 to 2."""
    losses: Floats = np.square(probability).sum(axis=1) - 2 * _of_the_truth(probability, codes) + 1
    return losses


def _brier_of_base_rates(labels: np.ndarray) -> Floats:
    codes = pd.factorize(labels)[0]
    rates = np.bincount(codes) / len(codes)
    losses: Floats = 1 - 2 * rates[codes] + np.square(rates).sum()
    return losses


def _macro_auc(labels: np.ndarray, predictions: Predictions) -> Estimate | None:
    """Mean over the classes that occur of "this class against the rest"."""
    codes, present = pd.factorize(labels)
    columns = _codes(np.asarray(present), predictions.classes)
    nowhere = np.zeros(len(labels))
    each = [
        auc(codes == code, predictions.answers[:, column] if column >= 0 else nowhere)
        for code, column in enumerate(columns)
    ]
    known = [(one.value, one.influence) for one in each if one is not None and one.influence is not None]
    if not known:
        return None
    values, influences = zip(*known, strict=True)
    return Estimate(float(np.mean(values)), np.sum(influences, axis=0) / len(known))
