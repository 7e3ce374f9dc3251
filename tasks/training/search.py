"""The search for settings: Optuna on time-ordered folds inside the training window, never on evaluation rows."""

import logging
from typing import Any

import numpy as np
import optuna
from sklearn.base import clone
from sklearn.metrics import get_scorer
from sklearn.pipeline import Pipeline

from configs.case import Problem
from configs.params import Scalar, SearchParams, SearchRange
from tasks.training.rows import TrainingRows

log = logging.getLogger(__name__)

_SCORERS = {
    Problem.binary: "neg_log_loss",
    Problem.multiclass: "neg_log_loss",
    Problem.regression: "neg_mean_absolute_error",
}


def time_ordered_folds(batch_of_row: np.ndarray, folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Row numbers to fit and to judge on, `folds` times: each judges on batches later than all it fits on.

    `batch_of_row` holds each row's batch number, shape (n,), and must have more distinct values than `folds`.
    """
    blocks = np.array_split(np.unique(batch_of_row), folds + 1)
    if len(blocks[-1]) == 0:
        raise ValueError(f"{folds} folds need at least {folds + 1} batches, found {len(np.unique(batch_of_row))}")
    return [
        (np.flatnonzero(batch_of_row < block[0]), np.flatnonzero(np.isin(batch_of_row, block))) for block in blocks[1:]
    ]


def search_settings(
    problem: Problem, search: SearchParams, base: Pipeline, rows: TrainingRows, seed: int
) -> dict[str, Scalar]:
    """The best settings found, by mean score over the folds; the same seed finds the same ones."""
    folds = time_ordered_folds(rows.batch, search.folds)
    scorer = get_scorer(_SCORERS[problem])

    def objective(trial: optuna.Trial) -> float:
        settings = {name: _suggest(trial, name, space) for name, space in search.space.items()}
        scores = []
        for fit, judge in folds:
            model = clone(base).set_params(**{f"model__{name}": value for name, value in settings.items()})
            scores.append(scorer(model.fit(rows.frame.iloc[fit], rows.y[fit]), rows.frame.iloc[judge], rows.y[judge]))
        log.info("search: trial %d of %d scores %.5f", trial.number + 1, search.trials, np.mean(scores))
        return float(np.mean(scores))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=search.trials)
    return dict(study.best_params)


def _suggest(trial: optuna.Trial, name: str, space: SearchRange | tuple[Scalar, ...]) -> Any:
    if not isinstance(space, SearchRange):
        return trial.suggest_categorical(name, list(space))
    if space.whole:
        return trial.suggest_int(name, int(space.low), int(space.high), log=space.log)
    return trial.suggest_float(name, space.low, space.high, log=space.log)
