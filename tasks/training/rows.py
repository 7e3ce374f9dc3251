"""The labelled rows of a training window."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from configs.case import Case, Problem
from configs.params import Params
from tasks.errors import TooLittleData
from tasks.features.inputs import used_features
from tasks.features.labels import labels
from tasks.ingestion.batches import read_batch
from tasks.records import Window


@dataclass(frozen=True)
class TrainingRows:
    """Inputs `frame` (n rows), targets `y` (n,), and the number of the batch each row came in, `batch` (n,)."""

    frame: pd.DataFrame
    y: np.ndarray
    batch: np.ndarray
    rows_without_label: int

    def split_newest(self, batches: int) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers before the newest `batches` batches, and in them."""
        first = self.batch.max() - batches + 1
        return np.flatnonzero(self.batch < first), np.flatnonzero(self.batch >= first)


def read_rows(case: Case, params: Params, deliveries: Path, window: Window) -> TrainingRows:
    """The rows of `window` that have a label.

    Raises TooLittleData when they are too few, or of a classification only one label is there.
    """
    frames = [read_batch(deliveries, batch) for batch in window.batches]
    whole = pd.concat(frames, ignore_index=True)
    label = labels(case, whole)
    known = label.notna().to_numpy()
    batch = np.repeat(np.arange(len(frames)), [len(frame) for frame in frames])
    rows = TrainingRows(
        frame=whole.loc[known, list(used_features(case, params.features))].reset_index(drop=True),
        y=_targets(case, label[known]),
        batch=batch[known],
        rows_without_label=int((~known).sum()),
    )
    _must_be_enough(case, params, rows)
    return rows


def _targets(case: Case, label: pd.Series) -> np.ndarray:
    if case.problem is Problem.multiclass:
        return label.to_numpy(dtype=object).astype(str)
    return label.to_numpy(dtype="int64" if case.problem is Problem.binary else "float64")


def _must_be_enough(case: Case, params: Params, rows: TrainingRows) -> None:
    remedy = "Wait for more deliveries or labels, or change `window` in params.yaml."
    if len(rows.y) < params.window.min_train_rows:
        raise TooLittleData("train", f"{len(rows.y)} labelled rows", f"{params.window.min_train_rows}", remedy)
    if case.problem is not Problem.regression and len(np.unique(rows.y)) < 2:
        raise TooLittleData("train", f"one label only ({rows.y[0]})", "at least two", remedy)
