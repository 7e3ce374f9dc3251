"""Compiled plans against the pipelines they are made of, on real flights: differing answers, and time for a row.

`python benchmarks/exactness.py` trains on flights up to June, and asks about 25,000 later ones, 2,000 rows made to
find a difference, and each row of 2,000 alone. Prints a table; takes two minutes.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from configs.case import Case
from configs.params import Params
from configs.project import Project
from serving.engine.compile import CompiledPlan, compile_plan
from serving.engine.errors import CannotScore
from serving.engine.frame import frame_of, rows_of
from serving.engine.plan import Plan
from serving.engine.prove import edge_rows, first_difference
from serving.records import Rows
from tasks.features.artifact import score
from tasks.features.inputs import used_features
from tasks.features.labels import labels
from tasks.ingestion.recorded import recorded
from tasks.records import Candidate
from tasks.training.pipeline import build_pipeline

SETTINGS: dict[str, dict[str, Any]] = {
    "hist_gradient_boosting": {},
    "random_forest": {"n_estimators": 100, "min_samples_leaf": 5},
    "linear": {"max_iter": 300},
}
"""In place of those in params.yaml, which are for gradient boosting."""
CUT = datetime(2013, 7, 1, tzinfo=UTC)
TRAIN_ROWS, REAL_ROWS, ADVERSARIAL_ROWS = 100_000, 25_000, 2_000
ALONE = 2_000


def fit(case: Case, params: Params, estimator: str, rows: pd.DataFrame) -> tuple[Any, Candidate]:
    """The case's pipeline with this estimator, fitted on `rows`, and its record."""
    settings = SETTINGS[estimator] or params.training.settings
    training = params.training.model_copy(update={"estimator": estimator, "settings": settings})
    features = used_features(case, params.features)
    model = build_pipeline(case, params.features, training, params.seed)
    model.fit(rows[list(features)], labels(case, rows).to_numpy().astype("int64"))
    record = Candidate(
        case=case.name,
        contract_version=case.contract.version,
        estimator=estimator,
        calibration="none",
        seed=params.seed,
        features=features,
        classes=(0, 1),
        train_start=datetime(2013, 1, 1, tzinfo=UTC),
        train_end=CUT,
        batches=(),
    )
    return model, record


def differing(plan: Plan, pipeline: Callable[[Rows], np.ndarray], rows: Rows) -> tuple[int, int]:
    """How many rows are answered otherwise, and how many both refuse, which count as the same."""
    taken = [row for row in range(rows.count) if not refuses(plan.score, rows.take([row]), CannotScore)]
    refused = sorted(set(range(rows.count)) - set(taken))
    otherwise = sum(not refuses(pipeline, rows.take([row]), ValueError) for row in refused)
    if not taken:
        return otherwise, len(refused) - otherwise
    good = rows.take(taken)
    with np.errstate(all="ignore"):
        wanted, found = pipeline(good), np.array(plan.score(good))
    otherwise += int((wanted.view("i8") != found.view("i8")).sum())
    return otherwise, len(refused)


def refuses(answer: Callable[[Rows], Any], rows: Rows, error: type[Exception]) -> bool:
    """Whether one row is refused."""
    try:
        with np.errstate(all="ignore"):
            answer(rows)
    except error:
        return True
    return False


def microseconds(answer: Callable[[Rows], Any], asked: Sequence[Rows], seconds: float = 1.0) -> float:
    """CPU time for a row, which neighbours hardly touch: the median over rounds of different rows."""
    found, several = [], cycle(asked)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        some = [next(several) for _ in range(20)]
        began = time.thread_time_ns()
        for rows in some:
            answer(rows)
        found.append((time.thread_time_ns() - began) / sum(rows.count for rows in some))
    return float(np.median(found)) / 1000


def main() -> None:
    project = Project(Path(__file__).parent.parent)
    case, params = project.case("flights"), project.params("flights")
    flights = recorded("flights")
    train = flights[flights["event_time"] < CUT].dropna(subset=[case.target]).sample(TRAIN_ROWS, random_state=1)
    later = flights[flights["event_time"] >= CUT].sample(REAL_ROWS, random_state=2)
    real = rows_of(later, case.contract)
    alone = [real.take([row]) for row in range(ALONE)]
    thousands = [real.take(range(first, first + 1000)) for first in range(0, 20_000, 1000)]
    print("| pipeline | method | real rows, differing | adversarial rows, differing | refused by both ", end="")
    print("| one row, plan CPU µs | pipeline | of 1,000 rows, plan CPU µs | pipeline | compile ms |")
    print("|---" * 10 + "|")
    for estimator in SETTINGS:
        model, record = fit(case, params, estimator, train)
        began = time.thread_time()
        compiled = compile_plan(model, record, case.contract)
        took = (time.thread_time() - began) * 1000
        assert isinstance(compiled, CompiledPlan), compiled.reason
        plan = compiled.plan(case.contract.features)

        def pipeline(rows: Rows, model: Any = model, record: Candidate = record) -> np.ndarray:
            return score(model, frame_of(rows, case.contract), record)

        edge = edge_rows(compiled, case.contract, real, seed=3, count=ADVERSARIAL_ROWS)
        (real_differ, _), (edge_differ, refused) = differing(plan, pipeline, real), differing(plan, pipeline, edge)
        for rows in (real, edge):
            found = first_difference(plan, model, record, case.contract, rows)
            assert found is None, found
        figures = [
            microseconds(plan.score, alone),
            microseconds(pipeline, alone, 4),
            microseconds(plan.score, thousands),
            microseconds(pipeline, thousands, 4),
        ]
        told = [estimator, compiled.structure.method, f"{real_differ} of {real.count:,}"]
        told += [f"{edge_differ} of {edge.count:,}", str(refused), *(f"{figure:.3g}" for figure in figures)]
        print("| " + " | ".join([*told, f"{took:.0f}"]) + " |", flush=True)


if __name__ == "__main__":
    main()
