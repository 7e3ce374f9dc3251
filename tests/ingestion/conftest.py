"""A lending library: four loans a day, exported to files or tables as a library would export them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from fsspec.implementations.memory import MemoryFileSystem

from configs.case import Case
from configs.project import CaseFiles, Project
from tasks.ingestion.batches import delivered
from tasks.ingestion.ingest import ingest
from tasks.ingestion.recorded import recorded
from tasks.records import Order

CASE: dict[str, Any] = {
    "question": "Will the book come back late?",
    "problem": "binary",
    "label_delay_hours": 0,
    "batch_every": "week",
    "source": {"kind": "file", "url": "export", "format": "parquet"},
    "contract": {
        "version": 1,
        "columns": {
            "loan_id": {"type": "string", "role": "entity"},
            "at": {"type": "timestamp", "role": "event_time"},
            "opened": {"type": "timestamp", "role": "feature"},
            "branch": {"type": "string", "role": "feature"},
            "pages": {"type": "integer", "role": "feature"},
            "late": {"type": "boolean", "role": "target"},
        },
    },
}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def loans(start: str, days: int, a_day: int = 4) -> pd.DataFrame:
    """`a_day` loans on each of `days` days, the first at midnight."""
    at = pd.date_range(start, periods=days * a_day, freq=pd.Timedelta(days=1) / a_day, tz="UTC").as_unit("us")
    number = np.arange(len(at))
    return pd.DataFrame(
        {
            "loan_id": [f"{moment:%Y%m%dT%H%M}" for moment in at],
            "at": at,
            "opened": at.tz_localize(None) - pd.Timedelta(days=400),
            "branch": np.where(number % 3 == 0, "north", "south"),
            "pages": number % 700,
            "late": number % 5 == 0,
        }
    )


def case_of(**changes: Any) -> Case:
    return Case.model_validate({**CASE, "name": "loans", **changes})


@dataclass(frozen=True)
class Library:
    """A project with one case, `loans`."""

    root: Path

    @property
    def project(self) -> Project:
        return Project(self.root)

    @property
    def files(self) -> CaseFiles:
        return self.project.files("loans")

    @property
    def export(self) -> Path:
        return self.root / "export"

    def describe(self, **changes: Any) -> None:
        source = {"kind": "file", "url": str(self.export), "format": "parquet"}
        (self.root / "configs").mkdir(parents=True, exist_ok=True)
        (self.root / "configs" / "loans.yaml").write_text(yaml.safe_dump({**CASE, "source": source, **changes}))

    def exports(self, frame: pd.DataFrame, name: str = "all") -> None:
        """The library exports `frame`, instead of what it exported under this name before."""
        self.export.mkdir(exist_ok=True)
        frame.to_parquet(self.export / f"{name}.parquet", index=False)

    def order(self, as_of: str) -> None:
        Order(case="loans", as_of=utc(as_of)).write(self.files.order)

    def ingest(self, as_of: str) -> list[str]:
        self.order(as_of)
        return ingest(self.project, "loans")

    def delivered(self, as_of: str) -> list[str]:
        return [batch.batch_id for batch in delivered(self.project.case("loans"), self.files.deliveries, utc(as_of))]

    def batch(self, batch_id: str) -> pd.DataFrame:
        return pd.read_parquet(self.files.deliveries / f"{batch_id}.parquet")

    def state(self) -> dict[str, tuple[bytes, int]]:
        """Bytes and time of change of every file among the deliveries."""
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in self.files.deliveries.iterdir()}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Has exported its loans of 17 December 2012 to 20 January 2013, five weeks; nothing is ingested."""
    library = Library(tmp_path)
    library.describe()
    library.exports(loans("2012-12-17", 35))
    return library


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    """The store behind `memory://`, empty before and after."""
    store = MemoryFileSystem()
    MemoryFileSystem.store.clear()
    yield store
    MemoryFileSystem.store.clear()


@pytest.fixture(scope="session")
def flights() -> pd.DataFrame:
    return recorded("flights")


@pytest.fixture(scope="session")
def bikes() -> pd.DataFrame:
    return recorded("bikes")
