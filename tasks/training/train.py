"""train: fit the case's pipeline on the training window and write the candidate down."""

import logging
import time
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from configs.case import Case, Problem
from configs.params import Params, Scalar
from configs.project import Project
from tasks.errors import TooLittleData
from tasks.features.artifact import MODEL_FILE, save_model
from tasks.features.example import write_example
from tasks.records import Candidate, Window, Windows
from tasks.training.pipeline import build_pipeline
from tasks.training.rows import TrainingRows, read_rows

log = logging.getLogger(__name__)

_EXAMPLE_ROWS = 5
_CALIBRATION_FOLDS = 5
"""CalibratedClassifierCV's own, which it makes of the rows that are kept back."""


def train(project: Project, case_name: str) -> Candidate:
    """Fit on the training window; the same data, parameters and seed give bit-identical predictions.

    Raises TooLittleData when too few rows have a label, or they all have the same one, or not enough of them are left
    to search or to calibrate with.
    """
    case, params, files = project.case(case_name), project.params(case_name), project.files(case_name)
    window = Windows.read(files.windows).train
    started = time.perf_counter()
    rows = read_rows(case, params, files.deliveries, window)
    settings = _settings(case, params, rows)
    model = _fit(case, params, settings, rows)
    candidate = _describe(case, params, window).model_copy(
        update={
            "settings": settings,
            "features": tuple(rows.frame.columns),
            "classes": () if case.problem is Problem.regression else tuple(model.classes_.tolist()),
            "rows": len(rows.y),
            "rows_without_label": rows.rows_without_label,
            "model_sha256": save_model(model, files.model / MODEL_FILE),
            "seconds": round(time.perf_counter() - started, 3),
        }
    )
    write_example(files.model, model, candidate, rows.frame.head(_EXAMPLE_ROWS))
    candidate.write(files.model / "candidate.json")
    log.info(
        "train %s: %s on %d rows, %s to %s", case.name, candidate.estimator, candidate.rows, window.start, window.end
    )
    return candidate


def _settings(case: Case, params: Params, rows: TrainingRows) -> dict[str, Scalar]:
    training = params.training
    if not training.search.trials:
        return dict(training.settings)
    from tasks.training.search import search_settings  # noqa: PLC0415 - Optuna takes a second that most runs need not pay

    base = build_pipeline(case, params.features, training, params.seed)
    return {**training.settings, **search_settings(case.problem, training.search, base, rows, params.seed)}


def _fit(case: Case, params: Params, settings: dict[str, Scalar], rows: TrainingRows) -> Any:
    training = params.training.model_copy(update={"settings": settings})
    pipeline = build_pipeline(case, params.features, training, params.seed)
    if training.calibration == "none" or case.problem is Problem.regression:
        return pipeline.fit(rows.frame, rows.y)
    before, newest = rows.split_newest(training.calibration_batches)
    _must_be_enough_to_calibrate(rows.y[before], rows.y[newest])
    pipeline.fit(rows.frame.iloc[before], rows.y[before])
    calibrated = CalibratedClassifierCV(FrozenEstimator(pipeline), method=training.calibration)
    return calibrated.fit(rows.frame.iloc[newest], rows.y[newest])


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


def _describe(case: Case, params: Params, window: Window) -> Candidate:
    return Candidate(
        case=case.name,
        contract_version=case.contract.version,
        estimator=params.training.estimator,
        calibration=params.training.calibration,
        seed=params.seed,
        train_start=window.start,
        train_end=window.end,
        batches=tuple(batch.batch_id for batch in window.batches),
        search_trials=params.training.search.trials,
    )
