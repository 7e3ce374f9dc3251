"""The champion of a real clone answers the hours of its own source, as the gateway would have logged them."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from configs.project import Project
from tasks.adapters.registry import Registry
from tasks.features.artifact import load_model, score
from tasks.ingestion.sources import rows
from tasks.records import Candidate
from tests.monitoring.conftest import FrameAnswers


def answered(  # noqa: PLR0917
    project: Project, folder: Path, start: datetime, end: datetime, version: str, role: str, **changes: Any
) -> pa.Table:
    """What version `version` of the bike model answers the hours of `[start, end)`; `changes` take columns' places."""
    case, registry = project.case("bikes"), Registry(project)
    entry = registry.version("bikes", version)
    assert entry is not None
    folder.mkdir(parents=True, exist_ok=True)
    digest = entry.tags["model_sha256"]
    model = load_model(registry.download_model(entry.source, folder, digest), digest)
    candidate = Candidate.read(registry.download_file(entry.run_id, "model/candidate.json", folder))
    hours = rows(case, start, end)
    features = {name: changes.get(name, hours[name]) for name in case.contract.features}
    frame = pd.DataFrame(features)
    kept = {name: values.astype("float64") if values.dtype.kind == "i" else values for name, values in frame.items()}
    told = pd.DataFrame({
        "request_id": hours["hour_id"], "row": 0, "entity": hours["hour_id"], "event_time": hours["event_time"],
        "answered_at": hours["event_time"], **kept, "prediction": score(model, frame, candidate), "probability": None,
        "model_version": version, "role": role, "fallback": None, "contract_version": case.contract.version,
    })  # fmt: skip
    return pa.Table.from_pandas(
        told.assign(**{n: v for n, v in changes.items() if n == "prediction"}), preserve_index=False
    )


def log_of(*tables: pa.Table) -> FrameAnswers:
    return FrameAnswers("bikes", tables)
