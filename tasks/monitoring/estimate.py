"""Performance that is to be expected where labels are not in yet.

Calibrated probabilities say how often each answer will be right (confidence-based performance estimation). The
calibration is isotonic, learnt on scores of rows their model had not seen. The same formulas give the realised
performance where the probability is the label itself, 0 or 1.

What it cannot see: a change of what happens given the inputs (concept drift). Only labels show that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from configs.case import Problem
from tasks.evaluation.predictions import Floats
from tasks.monitoring.correction import Past

BETTER_WHEN_LOWER = frozenset({"brier", "mae", "rmse"})
HEADLINE = {Problem.binary: "auc", Problem.multiclass: "accuracy", Problem.regression: "mae"}
"""The metric whose fall or rise is judged."""
_MOST_FITS = 10
"""Back-testing leaves out a tenth of the units at a time."""


@dataclass(frozen=True)
class Expected:
    """A metric's expected value, and the standard error that the truth of so many rows has by itself."""

    value: float
    error: float


@dataclass(frozen=True)
class Answers:
    """What a model answered: a number for each row (n,), or a probability of each class (n, k)."""

    problem: Problem
    scores: Floats
    predicted: NDArray[np.bool_] | None = None
    """Binary: whether the positive label was predicted; 0.5 divides where nobody says."""

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def mean_score(self) -> float:
        """What the window's scores are like: their mean; of several classes that of the largest."""
        return float((self.scores if self.scores.ndim == 1 else self.scores.max(axis=1)).mean())

    def at(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Answers":
        predicted = None if self.predicted is None else self.predicted[rows]
        return Answers(self.problem, self.scores[rows], predicted)


@dataclass(frozen=True)
class Curve:
    """A calibration: how often what got a score happened."""

    scores: Floats
    happened: Floats

    @classmethod
    def learn(cls, scores: Floats, happened: Floats, weights: Floats | None = None) -> "Curve":
        """The isotonic curve through `happened` (n,), 0 or 1, given `scores` (n,)."""
        fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, happened, weights)
        return cls(np.asarray(fitted.X_thresholds_), np.asarray(fitted.y_thresholds_))

    def __call__(self, scores: Floats) -> Floats:
        calibrated: Floats = np.interp(scores, self.scores, self.happened)
        return calibrated


@dataclass(frozen=True)
class Calibration:
    """A curve for each probability a model gives."""

    curves: tuple[Curve, ...]

    @classmethod
    def learn(cls, answers: Answers, truth: Floats, weights: Floats | None = None) -> "Calibration":
        """From answers and what was true of them, in the form of `as_probability`; rows may count by `weights` (n,)."""
        columns = zip(_columns(answers.scores), _columns(truth), strict=True)
        return cls(tuple(Curve.learn(scores, happened, weights) for scores, happened in columns))

    def __call__(self, answers: Answers) -> Floats:
        """Calibrated probabilities in the shape of the scores; those of several classes add up to 1."""
        if answers.scores.ndim == 1:
            return self.curves[0](answers.scores)
        each = np.column_stack([curve(answers.scores[:, k]) for k, curve in enumerate(self.curves)])
        total = each.sum(axis=1, keepdims=True)
        shares: Floats = np.divide(each, total, out=np.full_like(each, 1 / each.shape[1]), where=total > 0)
        return shares


def as_probability(problem: Problem, labels: NDArray[np.generic], classes: tuple[str, ...]) -> Floats:
    """Labels as probabilities of 0 and 1: (n,) for two labels, (n, k) for classes; a regression's stay numbers."""
    if problem is not Problem.multiclass:
        return labels.astype(np.float64)
    found = labels.astype(str)[:, None] == np.array(classes, dtype=str)[None, :]
    return np.asarray(found, dtype=np.float64)


def expected(answers: Answers, probability: Floats) -> dict[str, Expected]:
    """The metrics of classifications to be expected when `probability` holds; one that is undefined is left out."""
    if len(answers) == 0:
        return {}
    if answers.problem is Problem.multiclass:
        found = _of_classes(answers.scores, probability)
    else:
        predicted = answers.scores >= 0.5 if answers.predicted is None else answers.predicted
        found = _of_two(answers.scores, predicted, probability)
    return {name: one for name, one in found.items() if one is not None}


def expected_errors(absolute: Floats, squared: Floats) -> dict[str, Expected]:
    """MAE and RMSE of a regression from each row's expected absolute (n,) and squared (n,) error."""
    if len(absolute) == 0:
        return {}
    mae, mean = float(absolute.mean()), float(squared.mean())
    # A row's squared error differs from its expected one about as much as that of a normal error: by 2 mean².
    spread = float(np.sqrt(2 * np.mean(squared**2) / len(squared)))
    rmse = float(np.sqrt(mean))
    return {
        "mae": Expected(mae, float(np.sqrt(max(float(np.mean(squared - absolute**2)), 0.0) / len(absolute)))),
        "rmse": Expected(rmse, spread / (2 * rmse) if rmse else 0.0),
    }


def worse_by(metric: str, value: float, reference: float) -> float:
    """How much worse `value` is: a fall, or for errors the rise as a share of the reference."""
    if metric not in BETTER_WHEN_LOWER:
        return reference - value
    return (value - reference) / reference if reference else float(value > reference)


def _columns(values: Floats) -> list[Floats]:
    return [values] if values.ndim == 1 else list(values.T)


def _of_two(scores: Floats, predicted: NDArray[np.bool_], probability: Floats) -> Mapping[str, Expected | None]:
    chance = probability * (1 - probability)
    right = np.where(predicted, probability, 1 - probability)
    loss = probability * (1 - scores) ** 2 + (1 - probability) * scores**2
    return {
        "auc": _auc(scores, probability),
        "accuracy": _mean(right, chance),
        "f1": _f1(predicted, probability),
        "brier": _mean(loss, chance * (1 - 2 * scores) ** 2),
    }


def _of_classes(scores: Floats, probability: Floats) -> Mapping[str, Expected | None]:
    top = np.arange(len(scores)), scores.argmax(axis=1)
    right = probability[top]
    loss = (scores**2).sum(axis=1) - 2 * (scores * probability).sum(axis=1) + 1
    spread = 4 * ((scores**2 * probability).sum(axis=1) - (scores * probability).sum(axis=1) ** 2)
    classes = range(scores.shape[1])
    return {
        "auc": _average([_auc(scores[:, k], probability[:, k]) for k in classes]),
        "accuracy": _mean(right, right * (1 - right)),
        "f1": _average([_f1(top[1] == k, probability[:, k]) for k in classes]),
        "brier": _mean(loss, np.maximum(spread, 0.0)),
    }


def _mean(values: Floats, variance: Floats) -> Expected:
    return Expected(float(values.mean()), float(np.sqrt(variance.sum()) / len(values)))


def _average(each: list[Expected | None]) -> Expected | None:
    """The mean over the classes that have one; their errors taken as fully dependent, which is the widest."""
    known = [one for one in each if one is not None]
    if not known:
        return None
    return Expected(float(np.mean([one.value for one in known])), float(np.mean([one.error for one in known])))


def _auc(scores: Floats, probability: Floats) -> Expected | None:
    """Chance that a row that will be positive outranks one that will not, ties counted half.

    Its sampling error is that of Hanley and McNeil (1982, Radiology 143:29).
    """
    order = np.argsort(scores)
    ranked, positive = scores[order], probability[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    positives = np.add.reduceat(positive, starts)
    negatives = np.add.reduceat(1 - positive, starts)
    yes, no = float(positives.sum()), float(negatives.sum())
    if min(yes, no) <= 0:
        return None
    below = np.cumsum(negatives) - negatives / 2
    value = min(max(float(positives @ below) / (yes * no), 0.0), 1.0)
    both, either = value / (2 - value), 2 * value**2 / (1 + value)
    rest = max(yes - 1, 0) * (both - value**2) + max(no - 1, 0) * (either - value**2)
    return Expected(value, float(np.sqrt(max(value * (1 - value) + rest, 0.0) / (yes * no))))


def _f1(predicted: NDArray[np.bool_], probability: Floats) -> Expected | None:
    """Twice the hits over predicted and actual positives; its error by the delta method."""
    size = float(predicted.sum() + probability.sum())
    if size <= 0:
        return None
    value = 2 * float(probability[predicted].sum()) / size
    influence = (2 * predicted - value) / size
    return Expected(value, float(np.sqrt((probability * (1 - probability) * influence**2).sum())))


@dataclass(frozen=True)
class Judged:
    """One stretch of the reference: what would have been estimated without its labels, and what they say."""

    unit: int
    mean_score: float
    estimated: dict[str, Expected]
    realised: dict[str, Expected]


def back_test(answers: Answers, truth: Floats, units: NDArray[np.intp]) -> list[Judged]:
    """Each unit (-1: none) as if its labels were not in: calibrated on others alone. Empty for fewer than two units."""
    each = np.unique(units[units >= 0])
    if len(each) < 2:
        return []
    judged = []
    for held in np.array_split(each, min(_MOST_FITS, len(each))):
        out = np.isin(units, held)
        calibration = Calibration.learn(answers.at(~out), truth[~out])
        for unit in held:
            rows = units == unit
            own = answers.at(rows)
            judged.append(
                Judged(int(unit), own.mean_score, expected(own, calibration(own)), expected(own, truth[rows]))
            )
    return judged


def past_of(judged: list[Judged], metric: str) -> list[Past]:
    """The units in which a metric is defined, as windows that came true."""
    return [
        Past(one.mean_score, one.estimated[metric].value, one.realised[metric].value, one.estimated[metric].error)
        for one in judged
        if metric in one.realised and metric in one.estimated
    ]


def usual(judged: list[Judged]) -> dict[str, float]:
    """The mean of each metric over the units: what performance was while the champion was accepted."""
    names = {name for one in judged for name in one.realised}
    return {
        name: float(np.mean([one.realised[name].value for one in judged if name in one.realised]))
        for name in sorted(names)
    }
