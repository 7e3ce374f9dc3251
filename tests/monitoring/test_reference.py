"""From deliveries to verdicts on birds: with two labels, with three, and with a calibrated model."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from configs.case import Problem
from configs.project import Project
from tasks.adapters.registry import Registry
from tasks.features.artifact import MODEL_FILE, save_model
from tasks.features.example import write_example
from tasks.features.labels import labels
from tasks.ingestion.batches import batch_of, period_id
from tasks.monitoring.current import Wanted, read_current
from tasks.monitoring.foresee import foresee
from tasks.monitoring.refer import refer
from tasks.monitoring.reference import Reference, kept_at
from tasks.records import Candidate, Window, Windows
from tasks.training.pipeline import build_pipeline
from tasks.verdicts import Answer, Findings, Monitor, Verdict
from tests.monitoring.conftest import FrameAnswers

MARCH = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
TRAINED, JUDGED, ROWS = 10, 2, 300
NOW = MARCH + (TRAINED + JUDGED + 1) * DAY
CASE = {
    "question": "Will it come back?",
    "label_delay_hours": 1,
    "batch_every": "day",
    "source": {"kind": "file", "url": "birds.parquet", "format": "parquet"},
}
COLUMNS = {
    "bird": {"type": "string", "role": "entity"},
    "moment": {"type": "timestamp", "role": "event_time"},
    "weight": {"type": "number", "role": "feature", "may_be_missing": 0.5},
    "wing": {"type": "number", "role": "feature"},
    "species": {"type": "string", "role": "feature"},
}
PARAMS = {
    "seed": 7,
    "window": {"train_batches": None, "evaluate_batches": JUDGED, "min_train_rows": 100, "max_left_out": 0.5},
    "validation": {
        "min_rows": 10, "volume_change": 1, "volume_batches": 5, "stale_after_batches": 2, "leakage_score": 0.99,
    },
    "features": {},
    "training": {"estimator": "linear"},
    "gate": {
        "metric": "auc", "rule": "superiority", "margin": 0.0, "min_rows": 10, "min_blocks": 3,
        "limits": [{"metric": "auc", "at_least": 0.5}], "suspicious_score": 0.999, "max_latency_ms": 1000,
        "max_model_mb": 10, "slices": {"columns": ["species"]},
    },
    "approval": {},
    "monitoring": {"window_hours": 24},
}  # fmt: skip


@dataclass(frozen=True)
class Aviary:
    """A project with one champion of birds."""

    project: Project
    model: Any
    candidate: Candidate

    def log(self, rows: int = ROWS, **changed: Any) -> FrameAnswers:
        """A day of answers before NOW; some of the inputs changed."""
        birds = hatch(self.project, 99, rows).assign(**changed)
        probabilities = self.model.predict_proba(birds[list(self.candidate.features)])
        answered = [NOW - DAY + n * DAY / max(rows, 1) for n in range(rows)]
        told = {
            "request_id": [f"r{n}" for n in range(rows)],
            "row": np.zeros(rows, np.int64),
            "answered_at": pa.array(answered, pa.timestamp("us", "UTC")),
            **{name: pa.array(birds[name]) for name in self.candidate.features},
            "model_version": ["1"] * rows,
            "role": ["champion"] * rows,
            "fallback": pa.nulls(rows, pa.string()),
            "contract_version": np.ones(rows, np.int64),
        }
        if len(self.candidate.classes) == 2:
            told |= {"probability": probabilities[:, 1], "prediction": (probabilities[:, 1] > 0.5).astype(np.int64)}
        else:
            told |= {
                "probabilities": pa.array(probabilities.tolist(), pa.list_(pa.float64())),
                "classes": pa.array([[str(name) for name in self.candidate.classes]] * rows, pa.list_(pa.string())),
            }
        return FrameAnswers("birds", (pa.table(told),))


def hatch(project: Project, seed: int, rows: int = ROWS) -> pd.DataFrame:
    """Birds of a day, and whether (or where to) they came back."""
    random = np.random.default_rng(seed)
    weight = random.normal(20 + random.normal(0, 0.3), 4, rows)
    species = random.choice(["robin", "wren", "tit"], rows)
    level = 0.3 * (weight - 20) + (species == "wren") + random.logistic(0, 1, rows)
    three = np.select([level < -0.7, level < 0.9], ["never", "once"], "often")
    start = MARCH + seed * DAY
    return pd.DataFrame(
        {
            "bird": [f"{seed}-{n}" for n in range(rows)],
            "moment": pd.to_datetime([start + n * DAY / rows for n in range(rows)]),
            "weight": weight,
            "wing": random.normal(60, 8, rows),
            "species": species,
            "back": level > 0 if project.case("birds").problem is Problem.binary else three,
        }
    )


@pytest.fixture(params=["binary", "multiclass", "calibrated"])
def aviary(request: pytest.FixtureRequest, clone: Project) -> Aviary:
    """A champion that was trained on ten days and judged on two, registered for real."""
    problem = "multiclass" if request.param == "multiclass" else "binary"
    target = {"type": "string" if problem == "multiclass" else "boolean", "role": "target"}
    told = {**CASE, "problem": problem, "contract": {"version": 1, "columns": {**COLUMNS, "back": target}}}
    (clone.root / "configs" / "birds.yaml").write_text(yaml.safe_dump(told))
    params = yaml.safe_load((clone.root / "params.yaml").read_text())
    (clone.root / "params.yaml").write_text(yaml.safe_dump({**params, "birds": PARAMS}))
    return settle(Project(clone.root), calibrated=request.param == "calibrated")


def settle(project: Project, *, calibrated: bool) -> Aviary:
    case, params, files = project.case("birds"), project.params("birds"), project.files("birds")
    batches = [batch_of(case, period_id("day", MARCH + day * DAY)) for day in range(TRAINED + JUDGED)]
    days = [hatch(project, day) for day in range(TRAINED + JUDGED)]
    files.deliveries.mkdir(parents=True)
    for batch, day in zip(batches, days, strict=True):
        day.to_parquet(files.deliveries / batch.file)
    train = Window(start=MARCH, end=batches[TRAINED].start, batches=tuple(batches[:TRAINED]))
    judge = Window(start=train.end, end=batches[-1].end, batches=tuple(batches[TRAINED:]))
    Windows(as_of=NOW, train=train, evaluate=judge).write(files.windows)
    whole = pd.concat(days[:TRAINED], ignore_index=True)
    y = labels(case, whole).to_numpy()
    y = y.astype("int64") if case.problem is Problem.binary else y.astype(str)
    model = build_pipeline(case, params.features, params.training, params.seed).fit(whole[list(COLUMNS)[2:]], y)
    if calibrated:
        model = CalibratedClassifierCV(FrozenEstimator(model), method="isotonic").fit(whole[list(COLUMNS)[2:]], y)
    candidate = Candidate(
        case="birds", contract_version=1, estimator="linear", calibration="none", seed=7,
        features=tuple(COLUMNS)[2:], classes=tuple(model.classes_.tolist()), train_start=train.start,
        train_end=train.end, batches=tuple(batch.batch_id for batch in train.batches),
        model_sha256=save_model(model, files.model / MODEL_FILE),
    )  # fmt: skip
    write_example(files.model, model, candidate, whole[list(candidate.features)].head())
    candidate.write(files.model / "candidate.json")
    register(project, model, whole[list(candidate.features)].head())
    return Aviary(project, model, candidate)


def register(project: Project, model: Any, example: pd.DataFrame) -> None:
    registry, files = Registry(project), project.files("birds")
    run_id = registry.start_run("birds", "birds", {})
    logged = registry.log_model(run_id, model, example, model.predict(example), "1" * 32)
    registry.log_files(run_id, [files.model / "candidate.json"], "model")
    registry.log_files(run_id, [files.windows], "rebuild")
    registry.end_run(run_id)
    version = registry.register("birds", logged, "birds", {"model_sha256": logged.model_sha256})
    registry.move_alias("birds", "champion", version.version)


def said(findings: Findings, monitor: Monitor) -> Verdict:
    return next(verdict for verdict in findings.verdicts if verdict.monitor is monitor)


@pytest.mark.slow
def test_birds_from_deliveries_to_verdicts(aviary: Aviary) -> None:
    reference = refer(aviary.project, "birds")
    assert reference is not None
    assert [batch.out_of_fold for batch in reference.batches] == [True] * TRAINED + [False] * JUDGED
    reread = Reference.read(kept_at(aviary.project, "birds", "1"))
    assert reread.about == reference.about
    assert reread.profile == reference.profile
    pd.testing.assert_frame_equal(reread.scores, reference.scores)

    quiet = foresee(aviary.project, "birds", NOW, aviary.log())
    assert {verdict.answer for verdict in quiet.verdicts} == {Answer.clear}, [v.text for v in quiet.verdicts]
    figures = {(figure.metric, figure.slice) for figure in quiet.figures if figure.kind == "estimated"}
    assert {("auc", ""), ("accuracy", ""), ("f1", ""), ("brier", ""), ("auc", "species=wren")} <= figures

    moved = said(foresee(aviary.project, "birds", NOW, aviary.log(weight=35.0)), Monitor.score)
    assert moved.answer is Answer.alarm, moved.text
    assert moved.cause == "weight"

    blurred = said(foresee(aviary.project, "birds", NOW, aviary.log(weight=20.0)), Monitor.estimated)
    assert blurred.answer is Answer.alarm, blurred.text

    of_others = [aviary.log().tables[0].set_column(i, name, pa.array([value] * ROWS)) for i, name, value in (
        (aviary.log().tables[0].column_names.index("model_version"), "model_version", "9"),
        (aviary.log().tables[0].column_names.index("fallback"), "fallback", "prior"),
    )]  # fmt: skip
    mixed = FrameAnswers("birds", (*of_others, *aviary.log(rows=150).tables))
    wanted = Wanted.of(reference.about, 1000)
    found = read_current(mixed, wanted, NOW - DAY, NOW)
    assert (found.rows, found.others) == (150, 2 * ROWS)
    bounded = read_current(aviary.log(), Wanted.of(reference.about, 40), NOW - DAY, NOW)
    assert (bounded.rows, len(bounded.sample)) == (ROWS, 40)
    top = bounded.sampled_answers.scores
    assert np.array_equal(top if top.ndim == 1 else top.max(axis=1), bounded.sample["score"])


def test_what_a_sample_holds_does_not_depend_on_the_order_of_the_log() -> None:
    wanted = Wanted("1", 1, Problem.regression, (), ("weight",), 30)
    table = pa.table(
        {
            "request_id": [f"r{n}" for n in range(200)],
            "row": np.zeros(200, np.int64),
            "answered_at": pa.array([NOW - DAY / 2] * 200, pa.timestamp("us", "UTC")),
            "weight": np.arange(200.0),
            "prediction": np.arange(200.0),
            "model_version": ["1"] * 200,
            "role": ["champion"] * 200,
            "contract_version": np.ones(200, np.int64),
        }
    )
    backwards = table.take(pa.array(np.arange(200)[::-1]))
    one, other = (
        read_current(FrameAnswers("birds", (some,)), wanted, NOW - DAY, NOW).sample for some in (table, backwards)
    )
    pd.testing.assert_frame_equal(one, other)
    assert len(one) == 30
