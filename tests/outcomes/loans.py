"""A small case whose labels come late: loans, and whether they were paid back; with a log of answers in memory."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml

from configs.project import Project

START = datetime(2024, 3, 4, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
CASE = {
    "question": "Will the loan be paid back?",
    "problem": "binary",
    "label_delay_hours": 24,
    "batch_every": "day",
    "contract": {
        "version": 1,
        "columns": {
            "loan_id": {"type": "string", "role": "entity"},
            "asked_at": {"type": "timestamp", "role": "event_time"},
            "income": {"type": "number", "role": "feature"},
            "region": {"type": "string", "role": "feature"},
            "paid_back": {"type": "boolean", "role": "target"},
        },
    },
}


def project(root: Path, labels: dict[str, Any] | None = None, **changes: Any) -> Project:
    """A project with the one case `loans`, its source a folder of Parquet files."""
    (root / "configs" / "places").mkdir(parents=True)
    (root / "source").mkdir()
    here = Path(__file__).parents[2]
    (root / "configs" / "places" / "local.yaml").write_text((here / "configs/places/local.yaml").read_text())
    params = yaml.safe_load((here / "params.yaml").read_text())["flights"]
    params["features"] = {}
    params["gate"]["slices"] = {"columns": []}
    (root / "params.yaml").write_text(yaml.safe_dump({"loans": params}))
    source = {"kind": "file", "url": str(root / "source"), "format": "parquet"}
    content = {**CASE, "source": source, **({"labels": labels} if labels else {}), **changes}
    (root / "configs" / "loans.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return Project(root)


def label_file(root: Path, **changes: Any) -> dict[str, Any]:
    """`labels:` that reads the Parquet files of `root`/labels."""
    (root / "labels").mkdir(parents=True, exist_ok=True)
    source = {"kind": "file", "url": str(root / "labels"), "format": "parquet"}
    named = {"entity": "loan", "event_time": "asked_at", "label": "paid", "labelled_at": "told_at"}
    return {"source": source, **named, **changes}


def labels(
    rows: Sequence[tuple[Any, ...]], columns: Sequence[str] = ("loan", "asked_at", "paid", "told_at")
) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(columns))


def answer(number: int, answered_at: datetime, probability: float = 0.5, **changes: Any) -> dict[str, Any]:
    """One row of the log: the loan of that number, asked about as it was answered."""
    return {
        "request_id": f"r{number}",
        "row": 0,
        "entity": f"L{number}",
        "event_time": answered_at,
        "received_at": answered_at,
        "answered_at": answered_at,
        "income": float(number),
        "region": "north" if number % 2 else "south",
        "prediction": int(probability >= 0.5),
        "probability": probability,
        "model_version": "1",
        "role": "champion",
        "fallback": None,
        "contract_version": 1,
        **changes,
    }


class Log:
    """Answers in memory, given as the prediction log gives them."""

    case = "loans"

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = list(rows)

    def add(self, *rows: dict[str, Any]) -> None:
        self.rows += rows

    def rows_by_day(self, first: date, last: date) -> Mapping[date, int]:
        days = Counter(row["answered_at"].date() for row in self.rows)
        return {day: rows for day, rows in days.items() if first <= day <= last}

    def batches(self, start: datetime, end: datetime, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        found = [row for row in self.rows if start <= row["answered_at"] < end]
        for some in (found[i : i + 7] for i in range(0, len(found), 7)):
            names = columns or list(some[0])
            yield pa.RecordBatch.from_pydict({name: pa.array([row.get(name) for row in some]) for name in names})
