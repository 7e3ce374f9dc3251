"""How large a regression's errors are expected to be: a loss model, fitted once on the reference and kept beside it.

It predicts each row's absolute and squared error from its inputs (direct loss estimation): it is fitted on errors that
the champion's pipeline made on rows it had not seen, and back-tested on stretches of time whose errors it did not see.
"""

import hashlib
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from configs.case import Case
from configs.params import Params
from configs.project import Project
from tasks.evaluation.predictions import Floats
from tasks.features.artifact import MODEL_FILE, save_model
from tasks.monitoring.estimate import Answers, Expected, Judged, expected_errors
from tasks.monitoring.estimator import QUICK, Estimator, Known, of_all
from tasks.monitoring.kept import KeptModel, recall
from tasks.monitoring.reference import Reference, digest_of, kept_at
from tasks.training.pipeline import build_pipeline

log = logging.getLogger(__name__)

_FOLDS = 4
_RECORD = "loss.json"


@dataclass(frozen=True)
class LossModel:
    """Expected errors of a regression from its inputs."""

    absolute: Any
    squared: Any

    def __call__(self, answers: Answers, sample: pd.DataFrame) -> dict[str, Expected]:
        if sample.empty:
            return {}
        absolute, squared = (np.maximum(model.predict(sample), 0.0) for model in (self.absolute, self.squared))
        return of_all(expected_errors(absolute, np.maximum(squared, absolute**2)), answers, sample)


class Kept(KeptModel):
    """A loss model that was kept, what it was learnt from, and how it did on the reference."""

    basis: str
    """Digest of the reference and of the settings; learnt from anything else, it would be another."""
    judged: tuple[Judged, ...]


def loss_estimator(project: Project, case: Case, reference: Reference) -> tuple[Estimator, list[Judged]]:
    """The loss model of a regression, and how it would have done on each stretch of the reference: kept, or fitted."""
    params = project.params(case.name)
    folder = kept_at(project, case.name, reference.version)
    basis, folder = _basis(params, digest_of(folder)), folder.parent / "loss"
    found = recall(Kept, folder / _RECORD, lambda kept: kept.basis == basis)
    if found:
        kept, models = found
        return LossModel(**models), list(kept.judged)
    model, judged = learn_loss(case, params, reference.known(reference.units(params.monitoring.window)))
    log.info("foresee %s: a loss model of version %s, judged on %d windows", case.name, reference.version, len(judged))
    digest = save_model({"absolute": model.absolute, "squared": model.squared}, folder / MODEL_FILE)
    Kept(basis=basis, judged=tuple(judged), model_sha256=digest).write(folder / _RECORD)
    return model, judged


def _basis(params: Params, reference: str) -> str:
    length = f"{params.monitoring.window_hours} {params.seed}"
    told = [reference, length, params.features.model_dump_json(), QUICK.model_dump_json()]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def learn_loss(case: Case, params: Params, known: Known) -> tuple[LossModel, list[Judged]]:
    """The loss model, and how it would have done on each stretch of the reference without that stretch's errors."""
    error = known.answers.scores - known.truth
    units = known.units[known.sampled]
    each = np.unique(units[units >= 0])
    judged = []
    for held in np.array_split(each, min(_FOLDS, len(each))) if len(each) > 1 else []:
        rest = ~np.isin(units, held)
        model = _fit(case, params, known.sample[rest], error[known.sampled][rest])
        for unit in held:
            rows = known.units == unit
            own = np.abs(error[rows])
            answers = known.answers.at(rows)
            told = model(answers, known.sample[units == unit])
            judged.append(Judged(int(unit), answers.mean_score, told, expected_errors(own, own**2)))
    return _fit(case, params, known.sample, error[known.sampled]), judged


def _fit(case: Case, params: Params, sample: pd.DataFrame, error: Floats) -> LossModel:
    missing = tuple(name for name in case.contract.features if name not in sample)
    features = params.features.model_copy(update={"leave_out": missing})
    models = [
        build_pipeline(case, features, QUICK, params.seed).fit(sample, target) for target in (np.abs(error), error**2)
    ]
    return LossModel(*models)
