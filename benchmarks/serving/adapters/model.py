"""The registered model as any Python server has it: loaded from its artifact, asked with a frame."""

import os
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.features.artifact import MODEL_FILE, load_model, score
from tasks.records import Candidate


class Model:
    """The model in a folder, left out: the one that EVERGREEN_MODEL names."""

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or Path(os.environ["EVERGREEN_MODEL"])
        self.candidate = Candidate.read(folder / "candidate.json")
        self.pipeline = load_model(folder / MODEL_FILE, self.candidate.model_sha256)

    def probabilities(self, rows: list[dict[str, Any]]) -> list[float]:
        """Of the positive label, for each row."""
        answers: list[float] = score(self.pipeline, pd.DataFrame(rows), self.candidate).tolist()
        return answers
