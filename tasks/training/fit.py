"""The fit: from a recipe and rows to a model, and the files that a model is kept as."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from configs.case import Case, Problem
from configs.params import Params, Scalar
from tasks.errors import TooLittleData
from tasks.features.artifact import MODEL_FILE, save_model
from tasks.features.example import write_example
from tasks.records import Candidate, Window
from tasks.training.pipeline import build_pipeline
from tasks.training.rows import TrainingRows

Settings = dict[str, Scalar]
"""What the estimator is set to."""

_EXAMPLE_ROWS = 5
_CALIBRATION_FOLDS = 5
"""CalibratedClassifierCV's own, which it makes of the rows that are kept back."""


def settings_for(case: Case, params: Params, rows: TrainingRows) -> Settings:
    """The settings params.yaml gives, with those that a search on `rows` finds. Raises ConfigError, TooLittleData."""
    training = params.training
    if not training.search.trials:
        return dict(training.settings)
    from tasks.training.search import search_settings  # noqa: PLC0415 - Optuna takes a second that most runs need not pay

    base = build_pipeline(case, params.features, training, params.seed)
    return {**training.settings, **search_settings(case.problem, training.search, base, rows, params.seed)}


def fit(case: Case, params: Params, settings: Settings, rows: TrainingRows) -> Any:
    """The case's pipeline with these settings, fitted and, where asked for, calibrated on the newest batches.

    The same rows, parameters and settings give bit-identical predictions. Raises ConfigError for a setting the
    estimator lacks, and TooLittleData when too little is left to calibrate on.
    """
    training = params.training.model_copy(update={"settings": settings})
    pipeline = build_pipeline(case, params.features, training, params.seed)
    if training.calibration == "none" or case.problem is Problem.regression:
        return pipeline.fit(rows.frame, rows.y)
    before, newest = rows.split_newest(training.calibration_batches)
    _must_be_enough_to_calibrate(rows.y[before], rows.y[newest])
    pipeline.fit(rows.frame.iloc[before], rows.y[before])
    calibrated = CalibratedClassifierCV(FrozenEstimator(pipeline), method=training.calibration)
    return calibrated.fit(rows.frame.iloc[newest], rows.y[newest])


def describe(case: Case, params: Params, window: Window, settings: Settings, rows: TrainingRows) -> Candidate:
    """The record of a model that is fitted so, as far as it is known before."""
    return Candidate(
        case=case.name,
        contract_version=case.contract.version,
        estimator=params.training.estimator,
        settings=settings,
        calibration=params.training.calibration,
        seed=params.seed,
        features=tuple(rows.frame.columns),
        train_start=window.start,
        train_end=window.end,
        batches=tuple(batch.batch_id for batch in window.batches),
        rows=len(rows.y),
        rows_without_label=rows.rows_without_label,
        search_trials=params.training.search.trials,
    )


def keep(problem: Problem, described: Candidate, model: Any, rows: TrainingRows, folder: Path) -> Candidate:
    """Write a fitted model to `folder`, with what loaded copies of it prove themselves by; its whole record comes last.

    Returns that record: as described, with the model's classes and digest.
    """
    classes = () if problem is Problem.regression else tuple(model.classes_.tolist())
    digest = save_model(model, folder / MODEL_FILE)
    candidate = described.model_copy(update={"classes": classes, "model_sha256": digest})
    write_example(folder, model, candidate, rows.frame.head(_EXAMPLE_ROWS))
    candidate.write(folder / "candidate.json")
    return candidate


def _must_be_enough_to_calibrate(before: np.ndarray, newest: np.ndarray) -> None:
    """Each label must be there to learn from and, often enough to be dealt into folds, to calibrate on."""
    for label in np.unique(np.concatenate([before, newest])):
        learnt, kept_back = int((before == label).sum()), int((newest == label).sum())
        if not learnt or kept_back < _CALIBRATION_FOLDS:
            raise TooLittleData(
                "calibrate",
                f"the label {label} {learnt} times before the batches kept back and {kept_back} times in them",
                f"at least once and {_CALIBRATION_FOLDS} times",
                "Change `training.calibration_batches` in params.yaml, or do without calibration.",
            )
