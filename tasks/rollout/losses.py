"""What one answer cost by what came true: bounded, so that it can be tested at any time; pure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from configs.case import Problem
from configs.rollout import Costs
from tasks.evaluation.predictions import Floats

_LEAST = 0.01
"""Probabilities are clipped here: a log loss without bounds could not be tested sequentially."""


@dataclass(frozen=True)
class Loss:
    """A loss of rows between 0 and `highest`."""

    name: str
    highest: float
    lowest: float = 0.0


def loss_of(problem: Problem, scale: float) -> Loss:
    """Log loss where there are probabilities; for a regression the absolute error, cut at eight times `scale`.

    `scale` is the champion's mean absolute error at evaluation.
    """
    if problem.gives_probabilities:
        return Loss("log loss", float(-np.log(_LEAST)))
    return Loss("absolute error", 8 * scale)


def row_losses(problem: Problem, loss: Loss, answers: pd.DataFrame, labels: pd.Series) -> Floats:
    """The loss of each row; `answers` has the prediction log's columns."""
    if problem is Problem.regression:
        errors = np.abs(answers["prediction"].to_numpy(np.float64) - labels.to_numpy(np.float64))
        cut: Floats = np.minimum(errors, loss.highest)
        return cut
    losses: Floats = -np.log(np.clip(_of_what_came_true(problem, answers, labels), _LEAST, 1.0))
    return losses


def row_costs(costs: Costs, probabilities: Floats, labels: Floats) -> Floats:
    """What acting on each answer cost, by the case's cost matrix."""
    acted, true = probabilities >= costs.threshold, labels > 0.5
    return np.select(
        [acted & true, acted & ~true, ~acted & true],
        [costs.true_positive, costs.false_positive, costs.false_negative],
        costs.true_negative,
    ).astype(np.float64)


def cost_bounds(costs: Costs) -> Loss:
    matrix = (costs.true_positive, costs.false_positive, costs.false_negative, costs.true_negative)
    return Loss("cost", max(matrix), min(matrix))


def _of_what_came_true(problem: Problem, answers: pd.DataFrame, labels: pd.Series) -> Floats:
    if problem is Problem.binary:
        positive = answers["probability"].to_numpy(np.float64)
        return np.where(labels.to_numpy(np.float64) > 0.5, positive, 1 - positive)
    rows = zip(answers["probabilities"], answers["classes"], labels, strict=True)
    return np.array([dict(zip(classes, chances, strict=True)).get(str(label), 0.0) for chances, classes, label in rows])
