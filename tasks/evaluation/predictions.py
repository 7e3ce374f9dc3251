"""What a model answered on a set of rows."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs.case import Problem

Floats = NDArray[np.float64]

_PART = 200_000
"""Rows scored at once: bounds the memory that encoding takes, whatever the number of rows."""


@dataclass(frozen=True)
class Predictions:
    """P(positive), a row of class probabilities, or a number, for each row."""

    answers: Floats
    classes: tuple[str | int | bool, ...] = ()
    """Labels in the order of the probability columns."""


def columns_of(name: str, predictions: Predictions) -> dict[str, np.ndarray]:
    """One column `name`, or one for each class: `name_AA`."""
    if predictions.answers.ndim == 1:
        return {name: predictions.answers}
    return {f"{name}_{label}": predictions.answers[:, column] for column, label in enumerate(predictions.classes)}


def predict_in_parts(score: Callable[[pd.DataFrame], Floats], frame: pd.DataFrame, columns: int = 1) -> Floats:
    """The predictions of `score` on `frame`, part by part; `columns` above 1 for class probabilities."""
    parts = [score(frame.iloc[start : start + _PART]) for start in range(0, len(frame), _PART)]
    return np.concatenate(parts) if parts else np.empty((0, columns) if columns > 1 else 0)


def digest(predictions: np.ndarray) -> str:
    """SHA-256 over shape and values as little-endian float64: equal for equal predictions, bit for bit."""
    bits = np.ascontiguousarray(predictions, dtype="<f8")
    return hashlib.sha256(f"{bits.shape}".encode() + bits.tobytes()).hexdigest()


def unusable(problem: Problem, answers: Floats) -> int:
    """How many rows got no usable answer: not finite, or not a probability."""
    grid = answers.reshape(len(answers), math.prod(answers.shape[1:]))
    usable = np.isfinite(grid).all(axis=1)
    if problem.gives_probabilities:
        usable &= ((grid >= 0) & (grid <= 1)).all(axis=1)
    if problem is Problem.multiclass:
        usable &= np.abs(grid.sum(axis=1) - 1) < 1e-6
    return int((~usable).sum())
