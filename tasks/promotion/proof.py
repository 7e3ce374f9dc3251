"""The proof of a registered model: its stored file is the one that was judged, and still answers as it did."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from tasks.adapters.registry import ModelVersion, Registry
from tasks.errors import AnswersDiffer
from tasks.features.artifact import load_model
from tasks.features.example import RECORDED_WITH_MODEL, answers_identically, read_example
from tasks.records import Candidate


def prove(registry: Registry, version: ModelVersion) -> tuple[pd.DataFrame, np.ndarray]:
    """Load the stored model and ask it its input example; returns the rows and the answers to them.

    Raises ArtifactMissing, ArtifactAltered, or AnswersDiffer when an answer is not the recorded one, bit for bit.
    """
    digest = version.tags["model_sha256"]
    with TemporaryDirectory() as folder:
        model = load_model(registry.download_model(version.source, Path(folder), digest), digest)
        kept = [registry.download_file(version.run_id, f"model/{name}", Path(folder)) for name in RECORDED_WITH_MODEL]
        if not answers_identically(model, kept[0].parent):
            raise AnswersDiffer(version.case, version.version)
        return read_example(kept[0].parent)


def training_record(registry: Registry, version: ModelVersion) -> Candidate:
    """What was recorded when the version was trained. Raises ArtifactMissing."""
    with TemporaryDirectory() as folder:
        return Candidate.read(registry.download_file(version.run_id, f"model/{RECORDED_WITH_MODEL[0]}", Path(folder)))
