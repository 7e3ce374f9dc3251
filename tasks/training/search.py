"""The search for settings: Optuna on time-ordered folds inside the training window, never on evaluation rows."""

import logging
from typing import Any

import numpy as np
import optuna
import pandas as pd
from sklearn.base import clone
from sklearn.metrics import log_loss, mean_absolute_error
from sklearn.pipeline import Pipeline

from configs.case import Problem
from configs.errors import ConfigError
from configs.params import Scalar, SearchParams, SearchRange
from tasks.errors import TooLittleData
from tasks.training.rows import TrainingRows

log = logging.getLogger(__name__)


def time_ordered_folds(batch_of_row: np.ndarray, folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Row numbers to fit and to judge on, `folds` times: each judges on batches later than all it fits on.

    `batch_of_row` holds each row's batch number, shape (n,). Raises TooLittleData unless there are more batches than
    folds.
    """
    blocks = np.array_split(np.unique(batch_of_row), folds + 1)
    if len(blocks[-1]) == 0:
        raise TooLittleData(
            f"search with {folds} folds",
            f"{len(np.unique(batch_of_row))} batches with labels",
            f"at least {folds + 1}",
            "Wait for more deliveries, or change `training.search` in params.yaml.",
        )
    return [
        (np.flatnonzero(batch_of_row < block[0]), np.flatnonzero(np.isin(batch_of_row, block))) for block in blocks[1:]
    ]


def search_settings(
    problem: Problem, search: SearchParams, base: Pipeline, rows: TrainingRows, seed: int
) -> dict[str, Scalar]:
    """The best settings found, by mean loss over the folds; the same seed finds the same ones.

    Raises ConfigError for a setting the estimator lacks, and TooLittleData.
    """
    _must_be_settings(base, search)
    folds = time_ordered_folds(rows.batch, search.folds)
    _must_have_two_labels(problem, rows.y[folds[0][0]])
    known = np.unique(rows.y)

    def objective(trial: optuna.Trial) -> float:
        settings = {name: _suggest(trial, name, space) for name, space in search.space.items()}
        losses = []
        for fit, judge in folds:
            model = clone(base).set_params(**{f"model__{name}": value for name, value in settings.items()})
            model.fit(rows.frame.iloc[fit], rows.y[fit])
            losses.append(_loss(problem, model, rows.frame.iloc[judge], rows.y[judge], known))
        log.info("search: trial %d of %d loses %.5f", trial.number + 1, search.trials, np.mean(losses))
        return float(np.mean(losses))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=search.trials)
    return dict(study.best_params)


def _loss(problem: Problem, model: Pipeline, frame: pd.DataFrame, y: np.ndarray, known: np.ndarray) -> float:
    """Mean absolute error, or log loss over all `known` labels: a fold need not hold every one of them."""
    if problem is Problem.regression:
        return float(mean_absolute_error(y, model.predict(frame)))
    given = pd.DataFrame(model.predict_proba(frame), columns=model.classes_)
    return float(log_loss(y, given.reindex(columns=known, fill_value=0.0).to_numpy(), labels=known))


def _must_be_settings(base: Pipeline, search: SearchParams) -> None:
    estimator = base.named_steps["model"]
    for name in search.space:
        if name not in estimator.get_params():
            raise ConfigError(
                f"params.yaml: training.search.space names `{name}`; {type(estimator).__name__} has no such setting. "
                f"It has {', '.join(sorted(estimator.get_params()))}."
            )


def _must_have_two_labels(problem: Problem, y: np.ndarray) -> None:
    if problem is not Problem.regression and len(np.unique(y)) < 2:
        raise TooLittleData(
            "search",
            f"one label only ({y[0]}) in the oldest fold",
            "at least two",
            "Wait for more deliveries, or change `training.search` in params.yaml.",
        )


def _suggest(trial: optuna.Trial, name: str, space: SearchRange | tuple[Scalar, ...]) -> Any:
    if not isinstance(space, SearchRange):
        return trial.suggest_categorical(name, list(space))
    if space.whole:
        return trial.suggest_int(name, int(space.low), int(space.high), log=space.log)
    return trial.suggest_float(name, space.low, space.high, log=space.log)
