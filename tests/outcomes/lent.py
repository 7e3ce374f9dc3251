"""Loans that were answered: calibrated scores, a reference of them, and a log in memory that gives large batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from configs.case import Problem
from configs.project import Project
from tasks.adapters.registry import ModelVersion
from tasks.monitoring.grid import Grid
from tasks.monitoring.profile import profile_of
from tasks.monitoring.reference import About, Reference, ScoredBatch, kept_at
from tests.outcomes.loans import DAY, START


class Champion:
    """A registry in which one version is champion of every case."""

    version: str | None = "1"

    def __init__(self, project: Project) -> None:
        self.project = project

    def holder(self, case: str, alias: str) -> ModelVersion | None:
        if self.version is None:
            return None
        return ModelVersion(case=case, version=self.version, run_id="r", source="s", tags={})


def loans(draw: np.random.Generator, rows: int) -> pd.DataFrame:
    """Loans with a calibrated score and what became of them."""
    region = draw.integers(20, size=rows)
    income = draw.normal(size=rows)
    score = 1 / (1 + np.exp(-(0.5 + 1.5 * income + 0.1 * (region - 10))))
    told = {"region": [f"r{number}" for number in region], "income": income, "score": score}
    return pd.DataFrame(told | {"label": (draw.random(rows) < score).astype(float)})


@dataclass
class Frame:
    """A log in memory, in large batches."""

    rows: pd.DataFrame
    case: str = "loans"

    def batches(self, start: datetime, end: datetime, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        found = self.rows[(self.rows["answered_at"] >= start) & (self.rows["answered_at"] < end)]
        if len(found):
            yield from pa.Table.from_pandas(found[list(columns or found)], preserve_index=False).to_batches()

    def rows_by_day(self, first: date, last: date) -> dict[date, int]:
        days = self.rows["answered_at"].dt.date
        return dict(days[(days >= first) & (days <= last)].value_counts())


def refer(clone: Project, rows: int = 8000, version: str = "1") -> None:
    """Leave a reference of eight days."""
    case = clone.case("loans")
    frame = loans(np.random.default_rng(1), rows)
    numbers = np.arange(rows) * 8 // rows
    batch = pa.RecordBatch.from_pandas(frame[["income", "region", "score"]], preserve_index=False)
    grid = Grid.fit(case.contract, case.problem, [batch], 1)
    scores = pd.DataFrame(
        {
            "batch_id": [f"b{number}" for number in numbers],
            "event_time": pd.Timestamp(START - 20 * DAY) + pd.to_timedelta(numbers, unit="D"),
            "score": frame["score"],
            "label": frame["label"],
            "sampled": True,
        }
    )
    batches = tuple(
        ScoredBatch(
            batch_id=f"b{n}", start=START, end=START + DAY, rows=rows // 8, labelled=rows // 8, out_of_fold=True
        )
        for n in range(8)
    )
    about = About(
        case="loans", version=version, contract_version=1, problem=Problem.binary, features=("income", "region"),
        used=("income", "region"), model_sha256="0" * 64, rows=rows, batches=batches,
    )  # fmt: skip
    sample = frame[["income", "region", "score"]]
    Reference(about, grid, profile_of([batch], grid), sample, scores).write(kept_at(clone, "loans", version))
