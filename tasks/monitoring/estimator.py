"""What estimates performance: a calibration or a second opinion for classifications, a loss model for regressions.

The calibration is learnt on the reference, whose rows are weighted where the window's inputs move it (`weighting.py`);
the second opinion (`opinion.py`) has labels since then, too. The loss model predicts each row's absolute and squared
error from its inputs (direct loss estimation): it is fitted on errors that the champion's pipeline made on rows it had
not seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs.case import Case, Problem
from configs.params import Params, TrainingParams
from tasks.evaluation.predictions import Floats
from tasks.monitoring.estimate import (
    Answers,
    Calibration,
    Expected,
    Judged,
    back_test,
    expected,
    expected_errors,
)
from tasks.monitoring.weighting import Weights, moves, weigh
from tasks.training.pipeline import build_pipeline

Estimator = Callable[[Answers, pd.DataFrame], dict[str, Expected]]
"""From answers, and the features of the first of their rows, a sample, to the metrics that are to be expected."""

Probabilities = Callable[[pd.DataFrame], Floats]
"""Of rows, in the shape of the scores."""

QUICK = TrainingParams(
    estimator="hist_gradient_boosting", settings={"max_iter": 60, "max_leaf_nodes": 15, "min_samples_leaf": 40}
)
"""For models that serve nobody."""
_LOSS_FOLDS = 4


@dataclass(frozen=True)
class Known:
    """The rows of a reference that have a label."""

    answers: Answers
    truth: Floats
    units: NDArray[np.intp]
    """The stretch of time each lies in; -1 for none."""
    sample: pd.DataFrame
    """Features of some of them."""
    sampled: NDArray[np.intp]
    """Which rows these are."""


@dataclass(frozen=True)
class _LossModel:
    """Expected errors of a regression from its inputs."""

    absolute: Any
    squared: Any

    def __call__(self, answers: Answers, sample: pd.DataFrame) -> dict[str, Expected]:
        if sample.empty:
            return {}
        absolute, squared = (np.maximum(model.predict(sample), 0.0) for model in (self.absolute, self.squared))
        return _of_all(expected_errors(absolute, np.maximum(squared, absolute**2)), answers, sample)


def learn_estimator(
    case: Case, params: Params, known: Known, opinion: Probabilities | None = None, weights: Weights | None = None
) -> tuple[Estimator, list[Judged]]:
    """The estimator, and how it would have done on each stretch of the reference without the labels of that stretch.

    With an `opinion` a classification is expected to come out as that says; on the reference, where it has seen all
    labels, the calibration stands in for it. With `weights` of the sampled rows the calibration is that of rows like
    the window's.
    """
    if case.problem is Problem.regression:
        return _learn_loss(case, params, known)
    judged = back_test(known.answers, known.truth, known.units)
    if opinion is not None:
        return _by_opinion(opinion), judged
    calibration = _calibration(known, weights)
    return lambda answers, _: expected(answers, calibration(answers)), judged


def weights_for(known: Known, window: pd.DataFrame, seed: int) -> Weights | None:
    """Weights that make the reference like the window; None where it need not be, or cannot be.

    It need not be where the calibration holds for rows like the window's, too.
    """
    weights = weigh(known.sample, window, seed)
    if not weights.usable:
        return None
    sampled = known.answers.at(known.sampled)
    chances = Calibration.learn(known.answers, known.truth)(sampled)
    return weights if moves(weights, sampled.scores, chances, known.truth[known.sampled]) else None


def _calibration(known: Known, weights: Weights | None) -> Calibration:
    if weights is None:
        return Calibration.learn(known.answers, known.truth)
    return Calibration.learn(known.answers.at(known.sampled), known.truth[known.sampled], weights.of_rows)


def _by_opinion(opinion: Probabilities) -> Estimator:
    def estimate(answers: Answers, sample: pd.DataFrame) -> dict[str, Expected]:
        if sample.empty:
            return {}
        return _of_all(expected(answers.at(np.arange(len(sample))), opinion(sample)), answers, sample)

    return estimate


def _of_all(found: dict[str, Expected], answers: Answers, sample: pd.DataFrame) -> dict[str, Expected]:
    """What a sample says, with the error of all rows: the truth will be theirs."""
    smaller = float(np.sqrt(len(sample) / max(len(answers), len(sample))))
    return {name: Expected(one.value, one.error * smaller) for name, one in found.items()}


def _learn_loss(case: Case, params: Params, known: Known) -> tuple[Estimator, list[Judged]]:
    error = known.answers.scores - known.truth
    units = known.units[known.sampled]
    each = np.unique(units[units >= 0])
    judged = []
    for held in np.array_split(each, min(_LOSS_FOLDS, len(each))) if len(each) > 1 else []:
        rest = ~np.isin(units, held)
        model = _fit_loss(case, params, known.sample[rest], error[known.sampled][rest])
        for unit in held:
            rows = known.units == unit
            own = np.abs(error[rows])
            answers = known.answers.at(rows)
            told = model(answers, known.sample[units == unit])
            judged.append(Judged(int(unit), answers.mean_score, told, expected_errors(own, own**2)))
    return _fit_loss(case, params, known.sample, error[known.sampled]), judged


def _fit_loss(case: Case, params: Params, sample: pd.DataFrame, error: Floats) -> _LossModel:
    missing = tuple(name for name in case.contract.features if name not in sample)
    features = params.features.model_copy(update={"leave_out": missing})
    models = [
        build_pipeline(case, features, QUICK, params.seed).fit(sample, target) for target in (np.abs(error), error**2)
    ]
    return _LossModel(*models)
