"""A harbour whose ships are late for one reason until summer, and for another from then on."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from configs.policies import BackTestParams
from configs.project import Project
from tasks.backtest.backtest import Asked, backtest
from tests.conftest import ROOT, Make

BEGAN = datetime(2025, 1, 6, tzinfo=UTC)
"""A Monday."""
WEEKS, ROWS, CHANGED = 14, 210, 9
AS_OF = BEGAN + timedelta(weeks=WEEKS)
CASE = {
    "question": "Will the ship be late?",
    "problem": "binary",
    "positive": None,
    "label_delay_hours": 24,
    "batch_every": "week",
    "source": {"kind": "file", "url": "ships.parquet", "format": "parquet"},
    "contract": {
        "version": 1,
        "columns": {
            "ship": {"type": "string", "role": "entity"},
            "asked": {"type": "timestamp", "role": "event_time"},
            "wind": {"type": "number", "role": "feature"},
            "cargo": {"type": "number", "role": "feature"},
            "quay": {"type": "string", "role": "feature", "categories": ["north", "south"]},
            "late": {"type": "boolean", "role": "target"},
        },
    },
}
PARAMS = {
    "seed": 7,
    "window": {"train_batches": None, "evaluate_batches": 2, "min_train_rows": 100, "max_left_out": 0.25},
    "validation": {
        "min_rows": 10, "volume_change": 0.5, "volume_batches": 8, "stale_after_batches": 2, "leakage_score": 0.99,
    },
    "features": {},
    "training": {"estimator": "linear", "settings": {"C": 1.0}},
    "gate": {
        "metric": "auc", "rule": "superiority", "margin": 0.0, "min_rows": 50, "min_blocks": 5,
        "limits": [{"metric": "auc", "at_least": 0.5}], "suspicious_score": 0.999, "max_latency_ms": 100,
        "max_model_mb": 20,
    },
    "approval": {},
    "monitoring": {"outcomes": {"min_labels": 100}},
}  # fmt: skip
POLICIES = {
    "warm_up": 6,
    "policies": [
        {"policy": "never", "gate": False},
        {"policy": "weekly", "triggers": [{"trigger": "time", "weeks": 1}], "gate": False},
        {"policy": "on realised loss", "triggers": [{"trigger": "realised loss"}], "gate": False},
        {"policy": "triage", "triage": "case"},
    ],
}


@pytest.fixture
def harbour(tmp_path: Path) -> Project:
    """The harbour's project: nothing was delivered or trained."""
    return settle(tmp_path / "harbour")


@pytest.fixture
def policies() -> BackTestParams:
    return BackTestParams.model_validate(POLICIES)


@pytest.fixture(scope="session")
def looked_back(once: Callable[[str, Make], Path]) -> Project:
    """The harbour after a back-test of POLICIES; not to be changed."""

    def make(folder: Path) -> None:
        backtest(settle(folder), "harbour", Asked(BackTestParams.model_validate(POLICIES), AS_OF))

    return Project(once("harbour", make))


@pytest.fixture
def warm(tmp_path: Path, looked_back: Project) -> Project:
    """A copy of it, in which what was fitted is found again."""
    shutil.copytree(looked_back.root, tmp_path / "harbour")
    return settle(tmp_path / "harbour")


def settle(folder: Path) -> Project:
    """The harbour's files, at this place."""
    case = {**CASE, "source": {**CASE["source"], "url": str(folder / "ships.parquet")}}
    (folder / "configs" / "places").mkdir(parents=True, exist_ok=True)
    (folder / "configs" / "places" / "local.yaml").write_text((ROOT / "configs/places/local.yaml").read_text())
    (folder / "configs" / "harbour.yaml").write_text(yaml.safe_dump(case, sort_keys=False))
    (folder / "params.yaml").write_text(yaml.safe_dump({"harbour": PARAMS}, sort_keys=False))
    ships().to_parquet(folder / "ships.parquet")
    return Project(folder)


def ships(weeks: float = WEEKS) -> pd.DataFrame:
    """Ships of some weeks: wind makes them late, from the week CHANGED on cargo does."""
    random = np.random.default_rng(3)
    rows = int(weeks * ROWS)
    week = np.arange(rows) / ROWS
    wind, cargo = random.normal(size=rows), random.normal(size=rows)
    odds = np.where(week < CHANGED, 2 * wind, 2 * cargo) - 0.5
    return pd.DataFrame({
        "ship": [f"S{number}" for number in range(rows)],
        "asked": pd.to_datetime(BEGAN) + pd.to_timedelta(week * 7 * 24 * 3600, unit="s"),
        "wind": wind,
        "cargo": cargo,
        "quay": random.choice(["north", "south"], rows),
        "late": random.random(rows) < 1 / (1 + np.exp(-odds)),
    })  # fmt: skip
