"""A scene of parcels: weekly batches of 200, each late or not, in a project of its own."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from configs.case import Case
from configs.params import ValidationParams
from configs.project import CaseFiles, Project
from tasks.ingestion.batches import batch_of
from tasks.records import BatchReport, Finding, Order, Windows
from tasks.validation.findings import findings
from tasks.validation.validate import validate

ROOT = Path(__file__).parents[2]

CASE: dict[str, Any] = {
    "question": "Will the parcel be late?",
    "problem": "binary",
    "positive": {"at_least": 15},
    "label_delay_hours": 24,
    "batch_every": "week",
    "source": {"kind": "file", "url": "parcels.csv", "format": "csv"},
    "contract": {
        "version": 3,
        "columns": {
            "parcel_id": {"type": "string", "role": "entity"},
            "event_time": {"type": "timestamp", "role": "event_time"},
            "handed_in": {"type": "timestamp", "role": "feature"},
            "depot": {
                "type": "string",
                "role": "feature",
                "categories": ["north", "south", "east"],
                "unseen": 0.1,
                "may_be_missing": 0.5,
            },
            "distance": {"type": "integer", "role": "feature", "unit": "miles", "range": [0, 6000]},
            "pieces": {"type": "integer", "role": "feature", "may_be_missing": 0.3, "range": [1, None]},
            "weight": {"type": "number", "role": "feature", "may_be_missing": 0.3},
            "fragile": {"type": "boolean", "role": "feature"},
            "remark": {"type": "string", "role": "info", "may_be_missing": 1.0},
            "minutes_late": {"type": "number", "role": "target", "may_be_missing": 0.3},
        },
    },
}
VALIDATION = {
    "min_rows": 50,
    "volume_change": 0.5,
    "volume_batches": 4,
    "stale_after_batches": 2,
    "leakage_score": 0.95,
}
WINDOW = {"train_batches": 3, "evaluate_batches": 2, "min_train_rows": 100, "max_left_out": 0.25}


def parcels(start: datetime, rows: int = 200) -> pd.DataFrame:
    """A week of parcels that keep the contract, and of which no column gives the delay away."""
    draw = np.random.default_rng(rows + start.toordinal())
    at = pd.Timestamp(start) + pd.to_timedelta(np.sort(draw.integers(0, 7 * 24 * 60, rows)), unit="min")
    return pd.DataFrame(
        {
            "parcel_id": [f"{start:%G-%V}-{i}" for i in range(rows)],
            "event_time": at,
            "handed_in": at.tz_localize(None) - pd.Timedelta(hours=5),
            "depot": draw.choice(["north", "south", "east"], rows),
            "distance": draw.integers(0, 6001, rows),
            "pieces": draw.integers(1, 9, rows),
            "weight": draw.gamma(2.0, 5.0, rows),
            "fragile": draw.random(rows) < 0.2,
            "remark": pd.Series([None] * rows, dtype="str"),
            "minutes_late": draw.normal(10, 15, rows).round(),
        }
    )


@dataclass(frozen=True)
class Scene:
    """A project with one case, `parcels`."""

    project: Project

    @property
    def files(self) -> CaseFiles:
        return self.project.files("parcels")

    def describe(self, case: dict[str, Any], window: dict[str, Any], validation: dict[str, Any]) -> None:
        """Write the case and its parameters."""
        root = self.project.root
        params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["flights"]
        section = {**params, "features": {}, "window": window, "validation": validation}
        (root / "configs").mkdir(parents=True, exist_ok=True)
        (root / "configs" / "parcels.yaml").write_text(yaml.safe_dump(case), encoding="utf-8")
        (root / "params.yaml").write_text(yaml.safe_dump({"parcels": section}), encoding="utf-8")

    def deliver(self, batch_id: str, **changed: Any) -> Path:
        """Deliver a batch that keeps the contract but for the columns in `changed`."""
        self.files.deliveries.mkdir(parents=True, exist_ok=True)
        path = self.files.deliveries / f"{batch_id}.parquet"
        parcels(batch_of(self.project.case("parcels"), batch_id).start).assign(**changed).to_parquet(path)
        return path

    def deliver_weeks(self, first: int, last: int) -> None:
        for week in range(first, last + 1):
            self.deliver(f"2024-W{week:02}")

    def validate(self, as_of: datetime, at_once: int = 1, **asked: Any) -> Windows:
        Order(case="parcels", as_of=as_of, **asked).write(self.files.order)
        return validate(self.project, "parcels", at_once=at_once)

    def report(self, batch_id: str) -> BatchReport:
        return BatchReport.read(self.files.validation / f"{batch_id}.json")


def after_week(week: int, hours: float = 24) -> datetime:
    """So many hours after the end of a week of 2024."""
    return datetime.fromisocalendar(2024, week, 1).replace(tzinfo=UTC) + timedelta(days=7, hours=hours)


@pytest.fixture(scope="session")
def seven_weeks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weeks 1 to 7 of 2024, delivered and validated once: later runs find the reports of the weeks they left alone."""
    scene = Scene(Project(tmp_path_factory.mktemp("seven_weeks")))
    scene.describe(CASE, WINDOW, VALIDATION)
    scene.deliver_weeks(1, 7)
    scene.validate(after_week(7))
    return scene.project.root


@pytest.fixture
def scene(seven_weeks: Path, tmp_path: Path) -> Scene:
    root = tmp_path / "project"
    shutil.copytree(seven_weeks, root)
    return Scene(Project(root))


@pytest.fixture
def bare(tmp_path: Path) -> Scene:
    """The project before anything is delivered."""
    scene = Scene(Project(tmp_path / "bare"))
    scene.describe(CASE, WINDOW, VALIDATION)
    return scene


@pytest.fixture(scope="session")
def case() -> Case:
    return Case.model_validate({**CASE, "name": "parcels"})


@pytest.fixture
def week(case: Case) -> pd.DataFrame:
    return parcels(batch_of(case, "2024-W05").start)


Inspect = Callable[..., tuple[Finding, ...]]


@pytest.fixture(scope="session")
def inspect(case: Case) -> Inspect:
    """Everything found on a frame delivered for week 5 of 2024."""

    def inspected(
        frame: pd.DataFrame, of: Case = case, typical_rows: float | None = None, **rules: Any
    ) -> tuple[Finding, ...]:
        params = ValidationParams.model_validate({**VALIDATION, **rules})
        return findings(of, params, batch_of(of, "2024-W05"), frame, typical_rows)

    return inspected


@pytest.fixture(scope="session")
def failed(inspect: Inspect) -> Inspect:
    """What failed of everything found."""

    def failing(*args: Any, **kwargs: Any) -> tuple[Finding, ...]:
        return tuple(finding for finding in inspect(*args, **kwargs) if not finding.passed)

    return failing
