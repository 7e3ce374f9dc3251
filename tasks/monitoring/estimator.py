"""What estimates a classification's performance: a calibration, or a second opinion.

The calibration is learnt on the reference, whose rows are weighted where the window's inputs move it (`weighting.py`);
the second opinion (`opinion.py`) has labels since then, too. Regressions have a loss model instead (`loss.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs.params import TrainingParams
from tasks.evaluation.predictions import Floats
from tasks.monitoring.estimate import (
    Answers,
    Calibration,
    Expected,
    Judged,
    back_test,
    expected,
)
from tasks.monitoring.weighting import Weights, moves, weigh

Estimator = Callable[[Answers, pd.DataFrame], dict[str, Expected]]
"""From answers, and the features of the first of their rows, a sample, to the metrics that are to be expected."""

Probabilities = Callable[[pd.DataFrame], Floats]
"""Of rows, in the shape of the scores."""

QUICK = TrainingParams(
    estimator="hist_gradient_boosting", settings={"max_iter": 60, "max_leaf_nodes": 15, "min_samples_leaf": 40}
)
"""For models that serve nobody."""


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


def learn_estimator(
    known: Known, opinion: Probabilities | None = None, weights: Weights | None = None
) -> tuple[Estimator, list[Judged]]:
    """The estimator, and how it would have done on each stretch of the reference without the labels of that stretch.

    With an `opinion` the answers are expected to be worth what that says; on the reference, where it has seen all
    labels, the calibration stands in for it. With `weights` of the sampled rows the calibration is that of rows like
    the window's.
    """
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
        return of_all(expected(answers.at(np.arange(len(sample))), opinion(sample)), answers, sample)

    return estimate


def of_all(found: dict[str, Expected], answers: Answers, sample: pd.DataFrame) -> dict[str, Expected]:
    """What a sample says, with the error of all rows: the truth will be theirs."""
    smaller = float(np.sqrt(len(sample) / max(len(answers), len(sample))))
    return {name: Expected(one.value, one.error * smaller) for name, one in found.items()}
