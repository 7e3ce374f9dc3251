"""A few rows and the answers the candidate gave them: how a loaded copy proves that it is the same model."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.features.artifact import score
from tasks.files import write_whole
from tasks.records import Candidate

_ROWS = "input_example.parquet"
_ANSWERS = "input_example_predictions.npy"
_CANDIDATE = "candidate.json"

RECORDED_WITH_MODEL = (_CANDIDATE, _ROWS, _ANSWERS)
"""The files that go wherever the model goes."""


def write_example(folder: Path, model: Any, candidate: Candidate, rows: pd.DataFrame) -> None:
    """Keep `rows` and the answers `model` gives to them."""
    answers = score(model, rows, candidate)
    write_whole(folder / _ROWS, lambda part: rows.to_parquet(part, index=False))
    write_whole(folder / _ANSWERS, lambda part: _save_array(part, answers))


def read_example(folder: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows, and the answers to them."""
    return pd.read_parquet(folder / _ROWS), np.load(folder / _ANSWERS, allow_pickle=False)


def answers_identically(model: Any, folder: Path) -> bool:
    """Whether `model` gives the recorded answers, bit for bit."""
    rows, answers = read_example(folder)
    return bool(np.array_equal(score(model, rows, Candidate.read(folder / _CANDIDATE)), answers))


def _save_array(path: Path, values: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, values)
