"""A model that is judged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from configs.case import Problem
from tasks.errors import ArtifactMissing
from tasks.evaluation.latency import median_ms
from tasks.evaluation.predictions import Predictions, digest, predict_in_parts
from tasks.features.artifact import MODEL_FILE, load_model, score
from tasks.records import Candidate


@dataclass(frozen=True)
class Contender:
    """A candidate or champion: its record, itself, and the folder its files lie in."""

    record: Candidate
    model: Any
    problem: Problem
    folder: Path
    version: str | None = None
    """Its registered version; a candidate has none yet."""

    @classmethod
    def load(cls, problem: Problem, record: Candidate, folder: Path, version: str | None = None) -> "Contender":
        """The model of `record` in `folder`. Raises ArtifactMissing, or ArtifactAltered by its digest."""
        return cls(record, load_model(folder / MODEL_FILE, record.model_sha256), problem, folder, version)

    def predict(self, frame: pd.DataFrame) -> Predictions:
        """Its answers; NaN where `frame` lacks a column it needs."""
        columns = len(self.record.classes) if self.problem is Problem.multiclass else 1
        if self.lacks(frame):
            return Predictions(np.full((len(frame), columns)[: 1 + (columns > 1)], np.nan), self.record.classes)
        return Predictions(predict_in_parts(self._score, frame, columns), self.record.classes)

    def lacks(self, frame: pd.DataFrame) -> tuple[str, ...]:
        """The columns it needs that `frame` does not have."""
        return tuple(name for name in self.record.features if name not in frame)

    def answers_as_trained(self) -> bool:
        """Whether the loaded model answers the example kept at training identically, bit for bit."""
        expected = np.load(self._file("input_example_predictions.npy"), allow_pickle=False)
        return digest(score(self.model, self._example(), self.record)) == digest(expected)

    def latency_ms(self) -> float:
        """Median time of a one-row prediction."""
        row = self._example().head(1)
        return median_ms(lambda: score(self.model, row, self.record))

    @property
    def megabytes(self) -> float:
        return self._file(MODEL_FILE).stat().st_size / 1e6

    def _example(self) -> pd.DataFrame:
        return pd.read_parquet(self._file("input_example.parquet"))

    def _file(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise ArtifactMissing(f"The model's {name}", str(path))
        return path

    def _score(self, frame: pd.DataFrame) -> np.ndarray:
        """One column for each class of a multiclass problem, also where training saw only two of them."""
        values = score(self.model, frame, self.record)
        if self.problem is Problem.multiclass and values.ndim == 1:
            return np.column_stack([1 - values, values])
        return values
