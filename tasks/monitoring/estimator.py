"""What estimates performance, learnt on the reference: a calibration for classifications, a loss model for regressions.

The loss model predicts each row's absolute and squared error from its inputs (direct loss estimation): it is fitted on
errors that the champion's pipeline made on rows it had not seen.
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
from tasks.training.pipeline import build_pipeline

Estimator = Callable[[Answers, pd.DataFrame], dict[str, Expected]]
"""From answers, and the features of a sample of their rows, to the metrics that are to be expected."""

_LOSS_FOLDS = 4
_LOSS = TrainingParams(
    estimator="hist_gradient_boosting", settings={"max_iter": 60, "max_leaf_nodes": 15, "min_samples_leaf": 40}
)


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
        found = expected_errors(absolute, np.maximum(squared, absolute**2))
        # The truth will be that of all rows, of which these are a sample.
        smaller = float(np.sqrt(len(sample) / max(len(answers), len(sample))))
        return {name: Expected(one.value, one.error * smaller) for name, one in found.items()}


def learn_estimator(case: Case, params: Params, known: Known) -> tuple[Estimator, list[Judged]]:
    """The estimator, and how it would have done on each stretch of the reference without the labels of that stretch."""
    if case.problem is Problem.regression:
        return _learn_loss(case, params, known)
    calibration = Calibration.learn(known.answers, known.truth)
    judged = back_test(known.answers, known.truth, known.units)
    return lambda answers, _: expected(answers, calibration(answers)), judged


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
        build_pipeline(case, features, _LOSS, params.seed).fit(sample, target) for target in (np.abs(error), error**2)
    ]
    return _LossModel(*models)
