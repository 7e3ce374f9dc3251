"""No model of a shipped case is given what is only known afterwards: real contracts and training, made-up rows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.case import Case, Column, ColumnType, Role
from configs.project import Project
from configs.read import case_names
from tasks.features.artifact import MODEL_FILE, load_model, score
from tasks.features.inputs import contract_inputs
from tasks.features.labels import labels
from tasks.ingestion.batches import batch_of
from tasks.records import Candidate, Window, Windows
from tasks.training.pipeline import build_pipeline
from tasks.training.train import train

ROOT = Path(__file__).parents[2]
CASES = case_names(ROOT)
PROJECT = Project(ROOT)
FORBIDDEN = (Role.entity, Role.event_time, Role.target, Role.hindsight, Role.info)


def made_up(case: Case, rows: int) -> pd.DataFrame:
    """Rows that keep the types of any contract, and in which everything is drawn at random."""
    draw = np.random.default_rng(rows)
    return pd.DataFrame({name: _values(column, rows, draw) for name, column in case.contract.columns.items()})


def _values(column: Column, rows: int, draw: np.random.Generator) -> object:
    low, high = column.range or (0, 1000)
    match column.type:
        case ColumnType.string:
            return draw.choice(column.categories or ["a", "b", "c"], rows)
        case ColumnType.boolean:
            return draw.random(rows) < 0.5
        case ColumnType.timestamp:
            return pd.Timestamp("2013-05-13") + pd.to_timedelta(draw.integers(0, 7 * 24 * 60, rows), unit="min")
        case ColumnType.integer:
            return draw.integers(int(low or 0), int(high or 1000), rows)
        case _:
            return draw.uniform(low, high, rows)


def project_of(name: str, root: Path) -> Project:
    """A project with the shipped case `name`, its parameters, and one made-up delivery in its training window."""
    (root / "configs").mkdir()
    for file in (f"configs/{name}.yaml", "params.yaml"):
        (root / file).write_bytes((ROOT / file).read_bytes())
    project = Project(root)
    case, files = project.case(name), project.files(name)
    files.deliveries.mkdir(parents=True)
    batch = batch_of(case, "2013-W20")
    made_up(case, project.params(name).window.min_train_rows).to_parquet(files.deliveries / batch.file)
    window = Window(start=batch.start, end=batch.end, batches=(batch,))
    Windows(as_of=batch.end, train=window, evaluate=window).write(files.windows)
    return project


@pytest.mark.parametrize("name", CASES)
def test_a_trained_model_takes_features_and_nothing_else(name: str, tmp_path: Path) -> None:
    project = project_of(name, tmp_path)
    candidate = train(project, name)
    model = load_model(project.files(name).model / MODEL_FILE, candidate.model_sha256)
    contract = project.case(name).contract
    assert set(candidate.features) == set(contract.features) - set(project.params(name).features.leave_out)
    assert set(model.feature_names_in_) == set(candidate.features)
    assert not set(candidate.features) & set(contract.names(*FORBIDDEN))
    assert candidate == Candidate.read(project.files(name).model / "candidate.json")


@pytest.mark.parametrize("name", CASES)
def test_predictions_do_not_move_with_anything_a_model_may_not_know(name: str) -> None:
    case, params = PROJECT.case(name), PROJECT.params(name)
    frame = made_up(case, 400)
    y = labels(case, frame).to_numpy()
    training = params.training.model_copy(update={"settings": {"max_iter": 10}})
    model = build_pipeline(case, params.features, training, params.seed).fit(frame, y)
    candidate = Candidate(
        case=name,
        contract_version=1,
        estimator="",
        calibration="none",
        seed=0,
        features=case.contract.features,
        classes=tuple(model.classes_.tolist()) if hasattr(model, "classes_") else (),
        train_start="2013-05-13T00:00:00Z",
        train_end="2013-05-20T00:00:00Z",
        batches=(),
    )
    hidden = list(case.contract.names(*FORBIDDEN))
    scrambled = frame.assign(**{column: frame[column].to_numpy()[::-1] for column in hidden})
    expected = score(model, frame, candidate)
    assert np.array_equal(score(model, scrambled, candidate), expected)
    assert np.array_equal(score(model, frame.drop(columns=hidden), candidate), expected)
    assert np.ptp(expected) > 0


@pytest.mark.parametrize("name", CASES)
def test_the_inputs_of_a_pipeline_are_made_of_features_alone(name: str) -> None:
    case = PROJECT.case(name)
    inputs = contract_inputs(case, PROJECT.params(name).features)
    taken = [*inputs.strings, *inputs.numbers, *inputs.calendar]
    assert sorted(taken) == sorted(case.contract.features)


def test_what_only_the_end_of_a_flight_tells_is_hindsight() -> None:
    contract = PROJECT.case("flights").contract
    known_afterwards = {"departure_minute", "departure_delay", "arrival_minute", "air_time"}
    assert set(contract.names(Role.hindsight)) == known_afterwards
    assert contract.names(Role.target) == ("arrival_delay",)


def test_the_parts_of_a_count_of_bikes_are_hindsight_like_the_count() -> None:
    contract = PROJECT.case("bikes").contract
    assert set(contract.names(Role.hindsight)) == {"casual", "registered"}
