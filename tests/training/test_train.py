"""The step as a whole: one window in, one candidate out, the same bits whenever it is made of the same things."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score

from configs.errors import ConfigError
from tasks.errors import SourceUnreadable, TooLittleData
from tasks.features.artifact import MODEL_FILE
from tasks.features.example import RECORDED_WITH_MODEL
from tasks.files import sha256
from tasks.records import Candidate

from .dairy import A_WEEK, TRAINING, WEEKS, Dairy

ROOT = Path(__file__).parents[2]
ESTIMATORS = {"hist_gradient_boosting": {"max_iter": 8}, "random_forest": {"n_estimators": 5}, "linear": {}}
QUICK = TRAINING["settings"]


def in_another_process(dairy: Dairy) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", "-m", "tasks", "train", "milk"],
        cwd=ROOT,
        env={
            **os.environ,
            "EVERGREEN_ROOT": str(dairy.root),
            "EVERGREEN_PLACE": "local",
            "PYTHONHASHSEED": "4711",
            "OMP_NUM_THREADS": "2",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_candidate_is_described_by_what_it_was_made_of(dairy: Dairy) -> None:
    candidate = dairy.train()
    assert Candidate.read(dairy.files.model / "candidate.json") == candidate
    assert (candidate.case, candidate.contract_version, candidate.seed) == ("milk", 1, 11)
    assert candidate.batches == WEEKS[:4]
    assert (f"{candidate.train_start:%F}", f"{candidate.train_end:%F}") == ("2024-01-01", "2024-01-29")
    assert candidate.features == ("milked", "farm", "age", "warmth")
    assert candidate.settings == QUICK
    assert candidate.model_sha256 == sha256(dairy.files.model / MODEL_FILE)
    assert sorted(path.name for path in dairy.files.model.iterdir()) == sorted([MODEL_FILE, *RECORDED_WITH_MODEL])


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    ("problem", "classes"), [("binary", (0, 1)), ("multiclass", ("fresh", "old", "sour")), ("regression", ())]
)
def test_every_estimator_learns_every_kind_of_problem(
    dairy: Dairy, problem: str, classes: tuple[Any, ...], estimator: str
) -> None:
    dairy.ask(problem)
    dairy.tune(training={"estimator": estimator, "settings": ESTIMATORS[estimator]})
    candidate = dairy.train()
    assert candidate.classes == classes
    known = dairy.truth().notna()
    answers, truth = dairy.answers(candidate)[known], dairy.truth()[known]
    if problem == "binary":
        assert roc_auc_score(truth >= 4.5, answers) > 0.85
    elif problem == "multiclass":
        assert accuracy_score(truth, np.array(classes)[answers.argmax(axis=1)]) > 0.6
    else:
        assert r2_score(truth, answers) > 0.4


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_same_window_parameters_and_seed_give_the_same_bits(dairy: Dairy, estimator: str) -> None:
    dairy.tune(training={"estimator": estimator, "settings": ESTIMATORS[estimator]})
    first = dairy.answers(dairy.train())
    assert dairy.answers(dairy.train()).tobytes() == first.tobytes()


def test_another_process_gives_the_same_bits(dairy: Dairy) -> None:
    here = dairy.answers(dairy.train())
    done = in_another_process(dairy)
    assert done.returncode == 0, done.stderr
    assert dairy.answers(Candidate.read(dairy.files.model / "candidate.json")).tobytes() == here.tobytes()


def test_another_seed_draws_another_forest(dairy: Dairy) -> None:
    forest = {"estimator": "random_forest", "settings": {"n_estimators": 5}}
    dairy.tune(training=forest)
    first = dairy.answers(dairy.train())
    dairy.tune(training=forest, seed=12)
    assert not np.array_equal(dairy.answers(dairy.train()), first)


def test_the_evaluation_window_is_not_even_read(dairy: Dairy) -> None:
    candidate = dairy.train()
    answers = dairy.answers(candidate)
    (dairy.files.deliveries / f"{WEEKS[-1]}.parquet").rename(dairy.root / "kept")
    again = dairy.train()
    (dairy.root / "kept").rename(dairy.files.deliveries / f"{WEEKS[-1]}.parquet")
    assert (again.rows, again.batches) == (candidate.rows, WEEKS[:4])
    assert dairy.answers(again).tobytes() == answers.tobytes()


def test_rows_without_a_label_are_counted_and_not_learnt_from(dairy: Dairy) -> None:
    spilt = sum(
        int(pd.read_parquet(dairy.files.deliveries / f"{week}.parquet")["sour"].isna().sum()) for week in WEEKS[:4]
    )
    candidate = dairy.train()
    assert candidate.rows_without_label == spilt > 0
    assert candidate.rows == 4 * A_WEEK - spilt
    before = dairy.answers(candidate)
    dairy.change(WEEKS[0], warmth=lambda frame: frame["warmth"].where(frame["sour"].notna(), 999.0))
    assert dairy.answers(dairy.train()).tobytes() == before.tobytes()


def test_a_feature_that_is_left_out_does_not_reach_the_model(dairy: Dairy) -> None:
    dairy.tune(features={"leave_out": ["age", "milked"]})
    candidate = dairy.train()
    assert candidate.features == ("farm", "warmth")
    assert len(dairy.answers(candidate)) == A_WEEK


def test_a_misspelt_feature_to_leave_out_is_refused(dairy: Dairy) -> None:
    dairy.tune(features={"leave_out": ["ages"]})
    with pytest.raises(
        ConfigError, match=r"params\.yaml: `milk\.features\.leave_out` names `ages`, which is no feature"
    ):
        dairy.train()


@pytest.mark.parametrize(
    ("estimator", "named"),
    [
        ("hist_gradient_boosting", "HistGradientBoostingClassifier has no setting `max_iters`; it has .*max_iter"),
        ("random_forest", "RandomForestClassifier has no setting `max_iters`; it has .*n_estimators"),
        ("linear", "LogisticRegression has no setting `max_iters`; it has C, .*max_iter"),
    ],
)
def test_a_setting_the_estimator_lacks_is_refused_with_those_it_has(dairy: Dairy, estimator: str, named: str) -> None:
    dairy.tune(training={"estimator": estimator, "settings": {"max_iters": 3}})
    with pytest.raises(ConfigError, match=rf"params\.yaml: {named}"):
        dairy.train()
    assert not dairy.files.model.exists()


@pytest.mark.parametrize(("wanted", "enough"), [(0, True), (1, False)])
def test_a_candidate_needs_as_many_labelled_rows_as_the_parameters_say(dairy: Dairy, wanted: int, enough: bool) -> None:
    labelled = len(dairy.rows.y)
    dairy.tune(window={"min_train_rows": labelled + wanted})
    if enough:
        assert dairy.train().rows == labelled
    else:
        with pytest.raises(TooLittleData, match=f"found {labelled} labelled rows, wanted {labelled + 1}"):
            dairy.train()


@pytest.mark.parametrize(("problem", "value", "label"), [("binary", 1.0, "0"), ("multiclass", "old", "old")])
def test_one_label_alone_teaches_nothing(dairy: Dairy, problem: str, value: Any, label: str) -> None:
    dairy.ask(problem)
    for week in WEEKS[:4]:
        dairy.change(week, sour=value)
    with pytest.raises(TooLittleData, match=rf"one label only \({label}\), wanted at least two"):
        dairy.train()


def test_a_regression_may_see_one_value_only(dairy: Dairy) -> None:
    dairy.ask("regression")
    for week in WEEKS[:4]:
        dairy.change(week, sour=3.0)
    assert dairy.answers(dairy.train()) == pytest.approx(3.0)


def test_a_damaged_delivery_is_named_and_the_candidate_of_before_is_kept(dairy: Dairy) -> None:
    before = dairy.train()
    (dairy.files.deliveries / f"{WEEKS[1]}.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceUnreadable, match=r"2024-W02\.parquet cannot be read"):
        dairy.train()
    assert sha256(dairy.files.model / MODEL_FILE) == before.model_sha256


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_feature_nobody_has_delivered_yet_does_not_stop_training(dairy: Dairy, estimator: str) -> None:
    for week in WEEKS[:4]:
        dairy.change(week, warmth=np.nan, farm=None)
    dairy.tune(training={"estimator": estimator, "settings": ESTIMATORS[estimator]})
    answers = dairy.answers(dairy.train())
    assert np.isfinite(answers).all()
    assert len(np.unique(answers)) > 5


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_text_with_more_values_than_boosting_has_categories_can_be_learnt_from(dairy: Dairy, estimator: str) -> None:
    for week in WEEKS[:4]:
        dairy.change(week, farm=lambda frame: frame["sample"])
    dairy.tune(training={"estimator": estimator, "settings": ESTIMATORS[estimator]})
    assert np.isfinite(dairy.answers(dairy.train())).all()


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("problem", ["binary", "multiclass"])
def test_a_calibrated_candidate_is_kept_and_answers_like_a_probability(dairy: Dairy, problem: str, method: str) -> None:
    dairy.ask(problem)
    dairy.tune(training={**TRAINING, "calibration": method})
    candidate = dairy.train()
    answers = dairy.answers(candidate)
    assert candidate.calibration == method
    assert ((answers >= 0) & (answers <= 1)).all()
    if problem == "binary":
        known = dairy.truth().notna()
        assert answers[known].mean() == pytest.approx((dairy.truth()[known] >= 4.5).mean(), abs=0.1)


def test_calibration_is_learnt_from_the_newest_batch_and_the_model_from_those_before(dairy: Dairy) -> None:
    dairy.tune(training={**TRAINING, "calibration": "sigmoid"})
    before = dairy.answers(dairy.train())
    dairy.change(WEEKS[3], sour=lambda frame: 9.0 - frame["sour"])
    turned = dairy.answers(dairy.train())
    # The ranking is the model's and stays; what it is worth is the calibration's and is turned round.
    assert np.corrcoef(before, turned)[0, 1] < -0.9


def test_calibration_has_nothing_to_do_with_a_regression(dairy: Dairy) -> None:
    dairy.ask("regression")
    plain = dairy.answers(dairy.train())
    dairy.tune(training={**TRAINING, "calibration": "isotonic"})
    assert dairy.answers(dairy.train()).tobytes() == plain.tobytes()


@pytest.mark.parametrize(("kept_back", "enough"), [(3, True), (4, False)])
def test_calibration_must_leave_a_batch_to_learn_from(dairy: Dairy, kept_back: int, enough: bool) -> None:
    dairy.tune(training={**TRAINING, "calibration": "sigmoid", "calibration_batches": kept_back})
    if enough:
        assert dairy.train().calibration == "sigmoid"
    else:
        with pytest.raises(TooLittleData, match="to calibrate: found the label 0 0 times before the batches kept back"):
            dairy.train()


@pytest.mark.parametrize(("rare", "enough"), [(5, True), (4, False)])
def test_calibration_needs_every_label_five_times(dairy: Dairy, rare: int, enough: bool) -> None:
    dairy.ask("multiclass")
    dairy.change(WEEKS[3], sour=["old"] * rare + ["fresh"] * 130 + ["sour"] * (A_WEEK - 130 - rare))
    dairy.tune(training={**TRAINING, "calibration": "sigmoid"})
    if enough:
        assert dairy.answers(dairy.train()).shape == (A_WEEK, 3)
    else:
        with pytest.raises(TooLittleData, match=r"the label old .* 4 times in them, wanted at least once and 5 times"):
            dairy.train()
