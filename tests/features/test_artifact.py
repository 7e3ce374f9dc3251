"""A model's file: it is used only if it is the recorded one and of known types, and then answers bit for bit."""

import math
import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from configs.case import Case, Problem
from configs.errors import EvergreenError
from configs.params import FeatureParams, TrainingParams
from tasks.errors import ArtifactAltered, ArtifactMissing
from tasks.features.artifact import MODEL_FILE, TRUSTED_TYPES, load_model, save_model, score
from tasks.features.example import answers_identically, read_example, write_example
from tasks.files import sha256
from tasks.records import Candidate
from tasks.training.pipeline import build_pipeline

ROWS = 240
QUICK = {"hist_gradient_boosting": {"max_iter": 5}, "random_forest": {"n_estimators": 4}, "linear": {}}
TARGETS = {"binary": "boolean", "multiclass": "string", "regression": "number"}


def case_of(problem: str) -> Case:
    columns = {
        "id": {"type": "string", "role": "entity"},
        "at": {"type": "timestamp", "role": "event_time"},
        "opened": {"type": "timestamp", "role": "feature"},
        "kind": {"type": "string", "role": "feature"},
        "size": {"type": "number", "role": "feature"},
        "new": {"type": "boolean", "role": "feature"},
        "y": {"type": TARGETS[problem], "role": "target"},
    }
    source = {"kind": "file", "url": "x", "format": "csv"}
    return Case.model_validate(
        {
            "name": "things",
            "question": "?",
            "problem": problem,
            "label_delay_hours": 0,
            "batch_every": "day",
            "source": source,
            "contract": {"version": 1, "columns": columns},
        }
    )


def things() -> pd.DataFrame:
    draw = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "opened": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(ROWS), unit="h"),
            "kind": draw.choice(["a", "b", "c", None], ROWS),
            "size": np.where(draw.random(ROWS) < 0.1, np.nan, draw.normal(size=ROWS)),
            "new": draw.random(ROWS) < 0.5,
        }
    )


THINGS = things()


def targets(problem: str) -> np.ndarray:
    signal = THINGS["size"].fillna(0).to_numpy() + np.random.default_rng(6).normal(size=ROWS)
    if problem == "regression":
        return signal
    if problem == "binary":
        return (signal > 0).astype("int64")
    return np.array(["low", "middle", "top"])[np.digitize(signal, [-0.5, 0.5])]


def fitted(problem: str, estimator: str, calibration: str = "none") -> Any:
    training = TrainingParams(estimator=estimator, settings=QUICK[estimator])
    model = build_pipeline(case_of(problem), FeatureParams(), training, 3)
    y = targets(problem)
    if calibration == "none":
        return model.fit(THINGS, y)
    model.fit(THINGS.head(120), y[:120])
    return CalibratedClassifierCV(FrozenEstimator(model), method=calibration).fit(THINGS.tail(120), y[120:])


def candidate_of(model: Any, problem: str) -> Candidate:
    return Candidate(
        case="things",
        contract_version=1,
        estimator="",
        calibration="none",
        seed=3,
        features=tuple(THINGS.columns),
        classes=() if problem == Problem.regression else tuple(model.classes_.tolist()),
        train_start=datetime(2024, 1, 1, tzinfo=UTC),
        train_end=datetime(2024, 2, 1, tzinfo=UTC),
        batches=(),
    )


@pytest.fixture(scope="session")
def linear() -> Any:
    return fitted("binary", "linear")


@pytest.mark.parametrize("estimator", QUICK)
@pytest.mark.parametrize(
    ("problem", "calibration"),
    [
        ("binary", "none"),
        ("binary", "sigmoid"),
        ("binary", "isotonic"),
        ("multiclass", "none"),
        ("multiclass", "sigmoid"),
        ("multiclass", "isotonic"),
        ("regression", "none"),
    ],
)
def test_a_model_that_was_kept_answers_bit_for_bit(
    tmp_path: Path, problem: str, calibration: str, estimator: str
) -> None:
    model = fitted(problem, estimator, calibration)
    digest = save_model(model, tmp_path / MODEL_FILE)
    candidate = candidate_of(model, problem)
    answers = score(load_model(tmp_path / MODEL_FILE, digest), THINGS, candidate)
    assert answers.dtype == np.float64
    assert answers.tobytes() == score(model, THINGS, candidate).tobytes()
    assert len(np.unique(answers)) > 2


@pytest.mark.parametrize(
    ("problem", "shape"), [("binary", (ROWS,)), ("multiclass", (ROWS, 3)), ("regression", (ROWS,))]
)
def test_the_shape_of_the_answers_follows_the_problem(problem: str, shape: tuple[int, ...]) -> None:
    model = fitted(problem, "linear")
    answers = score(model, THINGS, candidate_of(model, problem))
    assert answers.shape == shape
    if problem == "multiclass":
        assert candidate_of(model, problem).classes == ("low", "middle", "top")
        assert answers.sum(axis=1) == pytest.approx(1)


def test_the_answer_to_a_binary_question_is_the_probability_of_yes(linear: Any) -> None:
    answers = score(linear, THINGS, candidate_of(linear, "binary"))
    yes = targets("binary") == 1
    assert answers[yes].mean() > answers[~yes].mean() + 0.1


def test_the_recorded_digest_is_that_of_the_file(tmp_path: Path, linear: Any) -> None:
    assert save_model(linear, tmp_path / MODEL_FILE) == sha256(tmp_path / MODEL_FILE)


def test_an_altered_model_is_not_even_opened(tmp_path: Path, linear: Any) -> None:
    path = tmp_path / MODEL_FILE
    digest = save_model(linear, path)
    whole = path.read_bytes()
    for altered in (whole + b"\0", whole[:-1], b"no archive at all", b""):
        path.write_bytes(altered)
        with pytest.raises(
            ArtifactAltered, match=rf"is not the file that was recorded: .*{digest[:16]}.*It was not used"
        ):
            load_model(path, digest)
    path.write_bytes(whole)
    assert load_model(path, digest).named_steps["inputs"].strings == ["kind"]


def test_another_model_in_its_place_is_not_used(tmp_path: Path, linear: Any) -> None:
    digest = save_model(linear, tmp_path / MODEL_FILE)
    save_model(fitted("regression", "linear"), tmp_path / MODEL_FILE)
    with pytest.raises(ArtifactAltered, match="is not the file that was recorded"):
        load_model(tmp_path / MODEL_FILE, digest)


@pytest.mark.parametrize("where", ["nowhere", "."])
def test_a_model_without_a_file_is_named_by_where_it_should_be(tmp_path: Path, where: str) -> None:
    with pytest.raises(ArtifactMissing, match=rf"The model has no file at {tmp_path}.*Restore it from a backup"):
        load_model(tmp_path / where, "0" * 64)


@pytest.mark.parametrize("function", [os.system, os.getcwd, math.exp])
def test_a_model_with_a_function_nobody_vouched_for_is_refused(tmp_path: Path, linear: Any, function: Any) -> None:
    harmful = Pipeline([("call", FunctionTransformer(function)), *linear.steps])
    skops.io.dump(harmful, tmp_path / MODEL_FILE)
    named = rf"contains types nobody vouched for: .*{function.__name__}.*It was not loaded"
    with pytest.raises(EvergreenError, match=named):
        load_model(tmp_path / MODEL_FILE, sha256(tmp_path / MODEL_FILE))


def test_types_are_vouched_for_one_by_one_and_none_of_them_runs_a_command() -> None:
    ours = {"tasks.features.categories.CategoryCodes", "tasks.features.inputs.ContractInputs"}
    neutral = {"functools.partial", "numpy.dtype"}
    others = set(TRUSTED_TYPES) - ours - neutral
    assert all(name.startswith("sklearn.") for name in others)
    assert not any("FunctionTransformer" in name or "*" in name for name in TRUSTED_TYPES)


def test_a_file_of_a_model_holds_no_pickle(tmp_path: Path, linear: Any) -> None:
    save_model(linear, tmp_path / MODEL_FILE)
    with zipfile.ZipFile(tmp_path / MODEL_FILE) as archive:
        assert {Path(name).suffix for name in archive.namelist()} <= {".json", ".npy"}


def test_a_failing_save_keeps_the_model_of_before(tmp_path: Path, linear: Any) -> None:
    path = tmp_path / MODEL_FILE
    digest = save_model(linear, path)
    with pytest.raises(Exception, match=r"(?i)generator|unsupported|pickle"):
        save_model(Pipeline([("x", FunctionTransformer(kw_args={"a": (i for i in ())}))]), path)
    assert sha256(path) == digest
    assert [found.name for found in tmp_path.iterdir()] == [MODEL_FILE]


def test_a_loaded_model_proves_itself_by_the_recorded_answers(tmp_path: Path, linear: Any) -> None:
    candidate = candidate_of(linear, "binary")
    candidate.write(tmp_path / "candidate.json")
    write_example(tmp_path, linear, candidate, THINGS.head(5))
    loaded = load_model(tmp_path / MODEL_FILE, save_model(linear, tmp_path / MODEL_FILE))
    assert answers_identically(loaded, tmp_path)
    rows, answers = read_example(tmp_path)
    pd.testing.assert_frame_equal(rows, THINGS.head(5))
    assert answers.tobytes() == score(linear, THINGS.head(5), candidate).tobytes()


def test_a_model_that_answers_otherwise_by_the_last_bit_is_found_out(tmp_path: Path, linear: Any) -> None:
    candidate = candidate_of(linear, "binary")
    candidate.write(tmp_path / "candidate.json")
    write_example(tmp_path, linear, candidate, THINGS.head(5))
    path = tmp_path / "input_example_predictions.npy"
    answers = np.load(path)
    np.save(path, np.nextafter(answers, 1))
    assert not answers_identically(linear, tmp_path)
    assert not answers_identically(fitted("binary", "random_forest"), tmp_path)
