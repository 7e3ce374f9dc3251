"""A model's file: written as skops, which runs no code on load, and read only when its digest is the recorded one."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from configs.errors import EvergreenError
from tasks.errors import ArtifactAltered, ArtifactMissing
from tasks.files import sha256, write_whole
from tasks.records import Candidate

MODEL_FILE = "model.skops"
TWIN_FOLDER = "twin"
"""Of a run whose model was fitted again: where the one lies that was judged, with its record."""

TRUSTED_TYPES = (
    "functools.partial",
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "sklearn.utils.validation.check_array",
    "tasks.features.categories.CategoryCodes",
    "tasks.features.inputs.ContractInputs",
)
"""Types a model of ours may be made of, beyond those skops trusts itself. Never extended from a file."""


def save_model(model: Any, path: Path) -> str:
    """Write `model` to `path`, whole or not at all; returns the file's SHA-256."""
    import skops.io  # noqa: PLC0415 - with scikit-learn it takes two seconds, which who reads no model need not wait for

    write_whole(path, lambda part: skops.io.dump(model, part, compression=zipfile.ZIP_DEFLATED))
    return sha256(path)


def load_model(path: Path, expected_sha256: str) -> Any:
    """The model in `path`. Raises ArtifactMissing, or ArtifactAltered if its digest is not the expected one."""
    if not path.is_file():
        raise ArtifactMissing("The model", str(path))
    found = sha256(path)
    if found != expected_sha256:
        raise ArtifactAltered(f"The model at {path}", found, expected_sha256)
    import skops.io  # noqa: PLC0415

    untrusted = sorted(set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED_TYPES))
    if untrusted:
        raise EvergreenError(
            f"The model at {path} contains types nobody vouched for: {', '.join(untrusted[:5])}. It was not loaded. "
            "If they belong to an estimator you added, add them to TRUSTED_TYPES in tasks/features/artifact.py."
        )
    return skops.io.load(path, trusted=list(TRUSTED_TYPES))


def score(model: Any, frame: pd.DataFrame, candidate: Candidate) -> np.ndarray:
    """Predictions for the rows of `frame`, float64.

    Binary: probability of the positive label, shape (n,). Multiclass: probabilities in the order of
    `candidate.classes`, shape (n, k). Regression: the number, shape (n,).
    """
    features = list(candidate.features)
    inputs = frame if frame.columns.tolist() == features else frame.loc[:, features]
    if not candidate.classes:
        return np.asarray(model.predict(inputs), dtype=np.float64)
    probabilities = np.asarray(model.predict_proba(inputs), dtype=np.float64)
    return probabilities[:, 1] if len(candidate.classes) == 2 else probabilities
