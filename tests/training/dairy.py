"""A small dairy: forty samples of milk a day for five weeks, and a question that can be asked in three ways."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from configs.case import Case
from configs.params import Params
from configs.project import CaseFiles, Project
from tasks.features.artifact import MODEL_FILE, load_model, score
from tasks.ingestion.batches import batch_of
from tasks.records import Batch, Candidate, Window, Windows
from tasks.training.rows import TrainingRows, read_rows
from tasks.training.train import train

WEEKS = ("2024-W01", "2024-W02", "2024-W03", "2024-W04", "2024-W05")
A_WEEK = 7 * 40
TARGETS: dict[str, dict[str, Any]] = {
    "binary": {"type": "number", "positive": {"at_least": 4.5}},
    "multiclass": {"type": "string", "positive": None},
    "regression": {"type": "number", "positive": None},
}
TRAINING = {"estimator": "hist_gradient_boosting", "settings": {"max_iter": 8, "min_samples_leaf": 10}}
PARAMS: dict[str, Any] = {
    "seed": 11,
    "window": {"train_batches": None, "evaluate_batches": 1, "min_train_rows": 100, "max_left_out": 0.25},
    "validation": {
        "min_rows": 10,
        "volume_change": 0.5,
        "volume_batches": 4,
        "stale_after_batches": 2,
        "leakage_score": 0.95,
    },
    "features": {},
    "training": TRAINING,
    "gate": {
        "metric": "mae",
        "rule": "superiority",
        "margin": 0.0,
        "min_rows": 10,
        "limits": [{"metric": "mae", "at_most": 5}],
        "suspicious_score": 0.99,
        "max_latency_ms": 1000,
        "max_model_mb": 10,
    },
    "approval": {},
}


def samples(batch: Batch, problem: str) -> pd.DataFrame:
    """A week of milk: how sour it is follows from its age and its warmth; one sample in twenty is spilt, unmeasured."""
    draw = np.random.default_rng(batch.start.toordinal())
    age, warmth = draw.integers(0, 72, A_WEEK), draw.normal(8, 3, A_WEEK)
    sour = age / 18 + warmth / 4 + draw.normal(0, 0.7, A_WEEK)
    measured = {"multiclass": np.array(["fresh", "old", "sour"])[np.digitize(sour, [3, 5])]}.get(problem, sour)
    at = pd.Timestamp(batch.start) + pd.to_timedelta(np.arange(A_WEEK) * 36, unit="min")
    return pd.DataFrame(
        {
            "sample": [f"{batch.batch_id}-{number}" for number in range(A_WEEK)],
            "at": at,
            "milked": at.tz_localize(None) - pd.to_timedelta(age, unit="h"),
            "farm": draw.choice(["hill", "valley", "shore"], A_WEEK),
            "age": age,
            "warmth": warmth,
            "smell": sour,
            "sour": pd.Series(measured).mask(draw.random(A_WEEK) < 0.05),
        }
    )


@dataclass(frozen=True)
class Dairy:
    """A project with one case, `milk`; all but the last of its weeks are the training window."""

    root: Path

    @property
    def project(self) -> Project:
        return Project(self.root)

    @property
    def case(self) -> Case:
        return self.project.case("milk")

    @property
    def params(self) -> Params:
        return self.project.params("milk")

    @property
    def files(self) -> CaseFiles:
        return self.project.files("milk")

    @property
    def rows(self) -> TrainingRows:
        return read_rows(self.case, self.params, self.files.deliveries, Windows.read(self.files.windows).train)

    def ask(self, problem: str) -> None:
        """Describe the case as this problem, and deliver its five weeks."""
        target = TARGETS[problem]
        columns = {
            "sample": {"type": "string", "role": "entity"},
            "at": {"type": "timestamp", "role": "event_time"},
            "milked": {"type": "timestamp", "role": "feature"},
            "farm": {"type": "string", "role": "feature"},
            "age": {"type": "integer", "role": "feature"},
            "warmth": {"type": "number", "role": "feature"},
            "smell": {"type": "number", "role": "hindsight"},
            "sour": {"type": target["type"], "role": "target", "may_be_missing": 0.1},
        }
        case = {
            "question": "Is it sour?",
            "problem": problem,
            "positive": target["positive"],
            "label_delay_hours": 0,
            "batch_every": "week",
            "source": {"kind": "file", "url": "nowhere", "format": "parquet"},
            "contract": {"version": 1, "columns": columns},
        }
        (self.root / "configs" / "milk.yaml").write_text(yaml.safe_dump(case, sort_keys=False))
        for week in WEEKS:
            self.deliver(week, samples(batch_of(self.case, week), problem))
        self.window(WEEKS[:-1])

    def tune(self, **changes: Any) -> None:
        """Write params.yaml with these sections changed."""
        sections = {
            name: {**PARAMS[name], **change} if isinstance(change, dict) else change for name, change in changes.items()
        }
        (self.root / "params.yaml").write_text(yaml.safe_dump({"milk": {**PARAMS, **sections}}))

    def deliver(self, week: str, frame: pd.DataFrame) -> None:
        self.files.deliveries.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(self.files.deliveries / f"{week}.parquet", index=False)

    def change(self, week: str, **columns: Any) -> None:
        """Deliver a week with some of its columns changed."""
        self.deliver(week, pd.read_parquet(self.files.deliveries / f"{week}.parquet").assign(**columns))

    def window(self, weeks: tuple[str, ...]) -> None:
        """Let these weeks train."""
        training = tuple(batch_of(self.case, week) for week in weeks)
        judging = batch_of(self.case, WEEKS[-1])
        Windows(
            as_of=judging.end + timedelta(hours=1),
            train=Window(start=training[0].start, end=training[-1].end, batches=training),
            evaluate=Window(start=judging.start, end=judging.end, batches=(judging,)),
        ).write(self.files.windows)

    def train(self) -> Candidate:
        return train(self.project, "milk")

    def answers(self, candidate: Candidate) -> np.ndarray:
        """What the kept model answers to the week that no candidate has seen."""
        model = load_model(self.files.model / MODEL_FILE, candidate.model_sha256)
        return score(model, pd.read_parquet(self.files.deliveries / f"{WEEKS[-1]}.parquet"), candidate)

    def truth(self) -> pd.Series:
        return pd.read_parquet(self.files.deliveries / f"{WEEKS[-1]}.parquet")["sour"]
