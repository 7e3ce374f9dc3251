"""Time and memory of evaluating 1,000,000 rows: the whole verb, on deliveries as wide as those of `flights`.

`python benchmarks/evaluate_million.py [ROWS]` prints a table; training the two models is not counted.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from configs.case import Case, ColumnType, Role
from configs.project import Project
from tasks.evaluation.evaluate import evaluate
from tasks.features.artifact import save_model, score
from tasks.features.inputs import used_features
from tasks.features.labels import labels
from tasks.ingestion.batches import period_id
from tasks.records import Batch, Candidate, ChampionRef, Window, Windows
from tasks.training.pipeline import build_pipeline

HERE = Path(__file__).parent.parent
START = datetime(2013, 1, 7, tzinfo=UTC)
WEEK = timedelta(days=7)
WEEKS, TRAIN_ROWS = 4, 100_000


def made_up(case: Case, start: datetime, rows: int, draw: np.random.Generator) -> pd.DataFrame:
    """One week of rows with every column of the contract; two features and the day decide the target."""
    moments = pd.Timestamp(start) + pd.to_timedelta(np.sort(draw.integers(WEEK.total_seconds(), size=rows)), unit="s")
    frame = pd.DataFrame({name: _column(case, name, rows, moments, draw) for name in case.contract.columns})
    day = (moments - pd.Timestamp(START)).days.to_numpy()
    luck = draw.normal(size=100)[day]
    late = 25 * (frame["temperature"] - 50) / 30 + 10 * luck + draw.normal(0, 30, size=rows)
    return frame.assign(**{case.target: late.where(draw.random(rows) > 0.02)})


def _column(case: Case, name: str, rows: int, moments: pd.DatetimeIndex, draw: np.random.Generator) -> object:
    column = case.contract.columns[name]
    if column.role is Role.entity:
        return [f"{draw.integers(10**9)}-{number}" for number in range(rows)]
    if column.type is ColumnType.timestamp:
        return moments if column.role is Role.event_time else moments.tz_localize(None)
    if column.type is ColumnType.string:
        return draw.choice(column.categories or [f"{name}{number}" for number in range(100)], size=rows)
    if column.range is None or None in column.range:
        return draw.normal(size=rows)
    numbers = draw.uniform(*column.range, size=rows)  # type: ignore[misc] # neither end is open
    return numbers.astype("int64") if column.type is ColumnType.integer else numbers


def prepare(root: Path, rows: int) -> None:
    """A project with four weeks of deliveries, a candidate and a champion."""
    for name in ("configs", "params.yaml"):
        (root / name).symlink_to(HERE / name)
    project, draw = Project(root), np.random.default_rng(1)
    case, files = project.case("flights"), project.files("flights")
    batches = []
    files.deliveries.mkdir(parents=True)
    for start in (START + number * WEEK for number in range(WEEKS)):
        name = period_id("week", start)
        batches.append(Batch(batch_id=name, start=start, end=start + WEEK, file=f"{name}.parquet"))
        made_up(case, start, rows // WEEKS, draw).to_parquet(files.deliveries / batches[-1].file, index=False)
    end = START + WEEKS * WEEK
    before = Window(start=START - WEEK, end=START, batches=())
    Windows(as_of=end, train=before, evaluate=Window(start=START, end=end, batches=tuple(batches))).write(files.windows)
    history = made_up(case, START, TRAIN_ROWS, draw).dropna(subset=[case.target])
    fit(project, history, files.model, seed=1)
    champion = fit(project, history.sample(frac=0.5, random_state=0), files.champion, seed=2)
    ref = ChampionRef(version="1", model_sha256=champion.model_sha256, candidate=champion)
    ref.write(files.champion / "champion.json")


def fit(project: Project, rows: pd.DataFrame, folder: Path, seed: int) -> Candidate:
    """The flights pipeline fitted on `rows` and kept in `folder`, as training keeps it."""
    case, params = project.case("flights"), project.params("flights")
    model = build_pipeline(case, params.features, params.training, seed)
    features = used_features(case, params.features)
    model.fit(rows[list(features)], labels(case, rows).to_numpy().astype(int))
    record = Candidate(
        case=case.name,
        contract_version=case.contract.version,
        estimator="hist_gradient_boosting",
        calibration="none",
        seed=seed,
        features=features,
        classes=(0, 1),
        train_start=START - WEEK,
        train_end=START,
        batches=(),
        model_sha256=save_model(model, folder / "model.skops"),
    )
    example = rows.loc[:, list(features)].head(5)
    example.to_parquet(folder / "input_example.parquet", index=False)
    np.save(folder / "input_example_predictions.npy", score(model, example, record))
    record.write(folder / "candidate.json")
    return record


def measure(root: Path) -> None:
    """Print what one evaluation took; run in a process of its own, so that its peak memory is its own."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    evaluation = evaluate(Project(root), "flights")
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("| evaluation, two models of the flights pipeline | found | bar |\n|---|---|---|")
    print(f"| rows judged | {evaluation.rows:,} | |")
    print(f"| seconds | {seconds:.1f} | 60 |")
    print(f"| peak memory, GiB | {peak / 2**20:.2f} | 2 |")
    print(f"| of which before it began (imports), GiB | {before / 2**20:.2f} | |")
    print(f"| decision | {evaluation.decision.ruling} | |")


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        for work, argument in ((prepare, (Path(folder), rows)), (measure, (Path(folder),))):
            process = get_context("spawn").Process(target=work, args=argument)
            process.start()
            process.join()


if __name__ == "__main__":
    main()
