"""A small shop: 300 visits a day over eight weeks, four to train on and four to judge by."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from configs.case import Case, Problem
from configs.params import GateParams, Params
from configs.project import Project
from tasks.evaluation.evaluate import evaluate
from tasks.evaluation.fresh import FreshRows
from tasks.features.artifact import save_model, score
from tasks.features.labels import labels
from tasks.ingestion.batches import period_id
from tasks.records import Batch, Candidate, ChampionRef, Evaluation, Window, Windows
from tasks.training.pipeline import build_pipeline

START = datetime(2024, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
CUTOFF = START + 4 * WEEK
END = START + 8 * WEEK
DAILY = 300
LABELS = {Problem.binary: int, Problem.multiclass: str, Problem.regression: float}

CASE: dict[str, Any] = {
    "question": "Will a visitor buy?",
    "problem": "binary",
    "label_delay_hours": 0,
    "batch_every": "week",
    "source": {"kind": "file", "url": "nowhere", "format": "parquet"},
    "contract": {
        "version": 3,
        "columns": {
            "visit": {"type": "string", "role": "entity"},
            "at": {"type": "timestamp", "role": "event_time"},
            "interest": {"type": "number", "role": "feature"},
            "budget": {"type": "number", "role": "feature"},
            "region": {"type": "string", "role": "feature"},
            "rain": {"type": "number", "role": "feature"},
            "bought": {"type": "boolean", "role": "target", "may_be_missing": 0.1},
        },
    },
}
GATE = {
    "metric": "auc",
    "rule": "superiority",
    "margin": 0.0,
    "block": "day",
    "min_rows": 5000,
    "min_blocks": 14,
    "limits": [{"metric": "auc", "at_least": 0.65}, {"metric": "ece", "at_most": 0.1}],
    "slices": {"columns": ["region"], "min_share": 0.05, "tolerance": 0.05},
    "suspicious_score": 0.95,
    "max_latency_ms": 2000,
    "max_model_mb": 20,
}
PARAMS = {
    "seed": 7,
    "window": {"train_batches": 4, "evaluate_batches": 4, "min_train_rows": 100, "max_left_out": 0.25},
    "validation": {
        "min_rows": 10,
        "volume_change": 0.5,
        "volume_batches": 4,
        "stale_after_batches": 2,
        "leakage_score": 0.95,
    },
    "features": {},
    "training": {"estimator": "hist_gradient_boosting", "settings": {"max_iter": 25, "min_samples_leaf": 100}},
    "approval": {},
}


def visits(seed: int = 1) -> pd.DataFrame:
    """Interest and budget decide, rain moves whole days, one label in a hundred never comes."""
    draw = np.random.default_rng(seed)
    rows = DAILY * (END - START).days
    day = np.arange(rows) // DAILY
    interest, budget = draw.normal(size=(2, rows))
    rain = draw.normal(size=day.max() + 1)[day]
    region = draw.choice(["east", "north", "south", "west"], size=rows, p=[0.3, 0.2, 0.3, 0.2])
    chance = 1 / (1 + np.exp(-(1.2 * interest + 0.8 * budget - 0.4 * rain - 1)))
    return pd.DataFrame(
        {
            "visit": [f"v{number}" for number in range(rows)],
            "at": pd.Timestamp(START) + pd.to_timedelta(np.arange(rows) * (86400 // DAILY), unit="s"),
            "interest": interest,
            "budget": budget,
            "region": region,
            "rain": rain,
            "bought": pd.array(draw.random(rows) < chance, dtype="boolean"),
        }
    ).assign(bought=lambda frame: frame["bought"].mask(draw.random(rows) < 0.01))


@dataclass
class Shop:
    """A project with one case, whose models can be planted."""

    root: Path
    frame: pd.DataFrame

    @property
    def project(self) -> Project:
        return Project(self.root)

    @property
    def case(self) -> Case:
        return self.project.case("shop")

    @property
    def params(self) -> Params:
        return self.project.params("shop")

    @property
    def training_rows(self) -> pd.DataFrame:
        return self.frame[(self.frame["at"] < CUTOFF) & self.frame["bought"].notna()]

    def configure(self, **gate: Any) -> None:
        params = {**PARAMS, "gate": {**GATE, **gate}}
        (self.root / "params.yaml").write_text(yaml.safe_dump({"shop": params}, sort_keys=False))

    def ask_instead(self, problem: str, target: str, values: pd.Series, **gate: Any) -> None:
        """Turn the case into another problem, with a target of another type."""
        columns = CASE["contract"]["columns"] | {"bought": {"type": target, "role": "target", "may_be_missing": 0.1}}
        case = CASE | {"problem": problem, "contract": {"version": 3, "columns": columns}}
        (self.root / "configs" / "shop.yaml").write_text(yaml.safe_dump(case, sort_keys=False))
        self.configure(**gate)
        self.frame = self.frame.assign(bought=values)
        self.deliver(self.frame)

    def deliver(self, frame: pd.DataFrame) -> None:
        files = self.project.files("shop")
        files.deliveries.mkdir(parents=True, exist_ok=True)
        for batch in _batches():
            rows = frame[(frame["at"] >= batch.start) & (frame["at"] < batch.end)]
            rows.to_parquet(files.deliveries / batch.file, index=False)

    def fit(self, rows: pd.DataFrame | None = None, leave_out: tuple[str, ...] = ()) -> Any:
        rows = self.training_rows if rows is None else rows
        features = self.params.features.model_copy(update={"leave_out": leave_out})
        model = build_pipeline(self.case, features, self.params.training, self.params.seed)
        return model.fit(rows, labels(self.case, rows).to_numpy(dtype=LABELS[self.case.problem]))

    def candidate(self, model: Any, **changes: Any) -> Candidate:
        return self._keep(model, self.project.files("shop").model, **changes)

    def champion(self, model: Any, **changes: Any) -> None:
        folder = self.project.files("shop").champion
        record = self._keep(model, folder, **changes)
        ref = ChampionRef(version="4", model_sha256=record.model_sha256, candidate=record)
        ref.write(folder / "champion.json")

    def evaluate(self) -> Evaluation:
        return evaluate(self.project, "shop")

    def _keep(self, model: Any, folder: Path, **changes: Any) -> Candidate:
        features = tuple(str(name) for name in model[0].feature_names_in_)
        ordered = tuple(name for name in self.case.contract.features if name in features)
        record = Candidate(
            case="shop",
            contract_version=3,
            estimator="hist_gradient_boosting",
            calibration="none",
            seed=7,
            features=ordered,
            classes=() if self.case.problem is Problem.regression else tuple(model.classes_.tolist()),
            train_start=START,
            train_end=CUTOFF,
            batches=(),
            model_sha256=save_model(model, folder / "model.skops"),
        )
        example = self.frame.loc[:4, list(ordered)]
        example.to_parquet(folder / "input_example.parquet")
        np.save(folder / "input_example_predictions.npy", score(model, example, record))
        record = record.model_copy(update=changes)
        record.write(folder / "candidate.json")
        return record


def _batches() -> tuple[Batch, ...]:
    starts = [START + number * WEEK for number in range(8)]
    named = [(period_id("week", start), start) for start in starts]
    return tuple(Batch(batch_id=name, start=start, end=start + WEEK, file=f"{name}.parquet") for name, start in named)


@pytest.fixture(scope="session")
def history() -> pd.DataFrame:
    return visits()


@pytest.fixture
def shop(tmp_path: Path, history: pd.DataFrame) -> Shop:
    """A shop without a champion; its deliveries are written, and nothing is trained."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "shop.yaml").write_text(yaml.safe_dump(CASE, sort_keys=False))
    shop = Shop(tmp_path, history)
    shop.configure()
    shop.deliver(history)
    files, batches = shop.project.files("shop"), _batches()
    Windows(
        as_of=END,
        train=Window(start=START, end=CUTOFF, batches=batches[:4]),
        evaluate=Window(start=CUTOFF, end=END, batches=batches[4:]),
    ).write(files.windows)
    ChampionRef(version=None).write(files.champion / "champion.json")
    return shop


@pytest.fixture
def gate() -> Callable[..., GateParams]:
    """The shop's gate, with some values changed."""
    return lambda **changes: GateParams.model_validate({**GATE, **changes})


@pytest.fixture
def rows_of() -> Callable[..., FreshRows]:
    """Rows spread evenly over `days`, with the columns given."""

    def build(labels: np.ndarray, days: int = 28, **columns: Any) -> FreshRows:
        day = np.arange(len(labels)) * days // max(len(labels), 1)
        moments = pd.Series(pd.Timestamp(START) + pd.to_timedelta(day, unit="D"))
        return FreshRows(pd.DataFrame(columns, index=moments.index), labels, moments)

    return build
