"""A case of birds at a feeder, and its answers in memory."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from configs.case import Case
from tasks.monitoring.grid import Grid
from tasks.monitoring.profile import profile_of

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""A Monday."""
HOUR = timedelta(hours=1)
FEATURES = ("weight", "wing", "species", "ringed", "seen")


@dataclass(frozen=True)
class FrameAnswers:
    """A log in memory: tables with the columns of a prediction log."""

    case: str
    tables: tuple[pa.Table, ...]

    def batches(self, start: datetime, end: datetime, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        for table in self.tables:
            when = table.column("answered_at")
            found = table.filter(pc.and_(pc.greater_equal(when, pa.scalar(start)), pc.less(when, pa.scalar(end))))
            for batch in found.combine_chunks().to_batches(max_chunksize=1000):
                names = columns or batch.schema.names
                there = set(batch.schema.names)
                arrays = [batch.column(n) if n in there else pa.nulls(batch.num_rows) for n in names]
                yield pa.RecordBatch.from_arrays(arrays, names=list(names))

    def rows_by_day(self, first: date, last: date) -> dict[date, int]:
        days = [moment.date() for table in self.tables for moment in table.column("answered_at").to_pylist()]
        return {day: count for day, count in Counter(days).items() if first <= day <= last}


def birds(rows: int, seed: int = 1, **changed: Any) -> dict[str, Any]:
    """Columns of some birds; `changed` ones take the place of what they would be."""
    random = np.random.default_rng(seed)
    weight = random.normal(20, 4, rows)
    columns = {
        "weight": weight,
        "wing": 60 + 2 * (weight - 20) + random.normal(0, 8, rows),
        "species": random.choice(["robin", "wren", "tit"], rows, p=[0.5, 0.3, 0.2]).astype(object),
        "ringed": random.random(rows) < 0.3,
        "seen": pd.Timestamp("2026-03-02") + pd.to_timedelta(random.integers(0, 7 * 1440, rows), unit="min"),
        "score": random.beta(2, 5, rows),
    }
    return columns | changed


def batch(rows: int, seed: int = 1, **changed: Any) -> pa.RecordBatch:
    """Some birds as the monitors see them; a column that is None is not there."""
    columns = {name: values for name, values in birds(rows, seed, **changed).items() if values is not None}
    return pa.record_batch({name: values if isinstance(values, pa.Array) else pa.array(values)
                            for name, values in columns.items()})  # fmt: skip


def logged(columns: dict[str, Any], start: datetime, hours: float = 1.0, **constant: Any) -> pa.Table:
    """These rows as the log has them, answered evenly over some hours."""
    rows = len(columns["score"])
    answered = [start + HOUR * hours * n / rows for n in range(rows)]
    told = {
        "request_id": [f"{start:%d%H}-{n}" for n in range(rows)],
        "row": np.zeros(rows, np.int64),
        "answered_at": pa.array(answered, pa.timestamp("us", "UTC")),
        **{name: values for name, values in columns.items() if name != "score" and values is not None},
        "prediction": pa.array((np.asarray(columns["score"]) > 0.5).astype(np.int64)),
        "probability": columns["score"],
    }
    about = {"role": "champion", "model_version": "1", "contract_version": 1, "fallback": None} | constant
    told |= {name: pa.array([value] * rows) for name, value in about.items()}
    return pa.table({name: values if isinstance(values, pa.Array) else pa.array(values)
                     for name, values in told.items()})  # fmt: skip


@pytest.fixture(scope="session")
def case() -> Case:
    return Case.model_validate(
        {
            "name": "birds",
            "question": "Will it come back?",
            "problem": "binary",
            "label_delay_hours": 1,
            "batch_every": "day",
            "source": {"kind": "file", "url": "birds.csv", "format": "csv"},
            "contract": {
                "version": 1,
                "columns": {
                    "bird": {"type": "string", "role": "entity"},
                    "moment": {"type": "timestamp", "role": "event_time"},
                    "weight": {"type": "number", "role": "feature", "range": [0, 100], "may_be_missing": 0.1},
                    "wing": {"type": "number", "role": "feature"},
                    "species": {
                        "type": "string", "role": "feature", "unseen": 0.02, "categories": ["robin", "wren", "tit"],
                    },
                    "ringed": {"type": "boolean", "role": "feature"},
                    "seen": {"type": "timestamp", "role": "feature"},
                    "back": {"type": "boolean", "role": "target"},
                },
            },
        }
    )  # fmt: skip


@pytest.fixture(scope="session")
def grid(case: Case) -> Grid:
    return Grid.fit(case.contract, case.problem, [batch(5000)], version=1)


@pytest.fixture(scope="session")
def reference(grid: Grid) -> Any:
    return profile_of([batch(5000)], grid)
