"""Metrics agree with scikit-learn, and their influence values with the textbook."""

import numpy as np
import pytest
from sklearn import metrics as sk

from configs.case import Problem
from tasks.evaluation.metrics import auc, calibration_error, estimates, row_losses
from tasks.evaluation.predictions import Predictions
from tasks.evaluation.ranking import rank_auc


def scored(rows: int = 500, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    chance = draw.beta(1, 3, size=rows)
    labels = (draw.random(rows) < chance).astype(float)
    return labels, np.round(chance, 1) if ties else chance


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_auc_is_scikit_learns_with_and_without_ties(ties: bool, seed: int) -> None:
    labels, chance = scored(seed=seed, ties=ties)
    found = auc(labels == 1, chance)
    assert found is not None
    assert found.value == pytest.approx(sk.roc_auc_score(labels, chance), abs=1e-12)


def test_a_tie_between_the_two_kinds_counts_half() -> None:
    assert rank_auc(np.array([False, False, True, True]), np.array([1, 2.5, 2.5, 4])) == pytest.approx(3.5 / 4)


@pytest.mark.parametrize("ties", [False, True])
def test_auc_influences_are_the_placement_values_counted_pair_by_pair(ties: bool) -> None:
    labels, chance = scored(80, ties=ties)
    up, down = chance[labels == 1], chance[labels == 0]
    wins = (up[:, None] > down) + 0.5 * (up[:, None] == down)
    expected = np.empty(80)
    expected[labels == 1] = (wins.mean(axis=1) - wins.mean()) * 80 / len(up)
    expected[labels == 0] = (wins.mean(axis=0) - wins.mean()) * 80 / len(down)
    found = auc(labels == 1, chance)
    assert found is not None
    np.testing.assert_allclose(found.influence, expected, atol=1e-12)


def test_binary_metrics_are_scikit_learns() -> None:
    labels, chance = scored()
    found = estimates(Problem.binary, labels, Predictions(chance))
    assert found["log_loss"].value == pytest.approx(sk.log_loss(labels, chance))
    assert found["brier"].value == pytest.approx(sk.brier_score_loss(labels, chance))
    assert found["accuracy"].value == pytest.approx(sk.accuracy_score(labels, chance >= 0.5))
    assert found["brier_skill"].value == pytest.approx(1 - np.mean((labels - chance) ** 2) / labels.var())


def test_multiclass_metrics_are_scikit_learns() -> None:
    draw = np.random.default_rng(3)
    probability = draw.dirichlet([1, 2, 3], size=400)
    labels = np.array([draw.choice(["a", "b", "c"], p=p) for p in probability], dtype=object)
    found = estimates(Problem.multiclass, labels, Predictions(probability, ("a", "b", "c")))
    assert found["log_loss"].value == pytest.approx(sk.log_loss(labels, probability))
    assert found["auc"].value == pytest.approx(sk.roc_auc_score(labels, probability, multi_class="ovr"))
    answers = np.array(["a", "b", "c"])[probability.argmax(axis=1)]
    assert found["accuracy"].value == pytest.approx(sk.accuracy_score(labels.astype(str), answers))
    hits = np.stack([labels == name for name in "abc"], axis=1)
    assert found["brier"].value == pytest.approx(np.square(hits - probability).sum(axis=1).mean())


def test_regression_metrics_are_scikit_learns() -> None:
    draw = np.random.default_rng(4)
    labels = draw.normal(size=300)
    answers = labels + draw.normal(size=300)
    found = estimates(Problem.regression, labels, Predictions(answers))
    assert found["mae"].value == pytest.approx(sk.mean_absolute_error(labels, answers))
    assert found["rmse"].value == pytest.approx(sk.root_mean_squared_error(labels, answers))
    assert found["r2"].value == pytest.approx(sk.r2_score(labels, answers))


@pytest.mark.parametrize("metric", ["auc", "log_loss", "brier", "accuracy", "brier_skill"])
def test_an_influence_value_says_what_one_more_such_row_does_to_a_binary_metric(metric: str) -> None:
    labels, chance = scored(2000)
    whole = estimates(Problem.binary, labels, Predictions(chance))[metric]
    again = np.append(np.arange(2000), 17)
    more = estimates(Problem.binary, labels[again], Predictions(chance[again]))[metric]
    assert whole.influence is not None
    assert whole.influence.mean() == pytest.approx(0, abs=1e-9)
    assert (more.value - whole.value) * 2001 == pytest.approx(whole.influence[17], rel=0.01, abs=1e-3)


@pytest.mark.parametrize("metric", ["mae", "rmse", "r2"])
def test_an_influence_value_says_what_one_more_such_row_does_to_a_regression_metric(metric: str) -> None:
    draw = np.random.default_rng(5)
    labels = draw.normal(size=2000)
    answers = labels + draw.normal(size=2000)
    whole = estimates(Problem.regression, labels, Predictions(answers))[metric]
    again = np.append(np.arange(2000), 17)
    more = estimates(Problem.regression, labels[again], Predictions(answers[again]))[metric]
    assert whole.influence is not None
    assert (more.value - whole.value) * 2001 == pytest.approx(whole.influence[17], rel=0.01, abs=1e-3)


def test_a_calibrated_model_has_a_small_calibration_error_and_a_shifted_one_its_shift() -> None:
    labels, chance = scored(50_000)
    assert calibration_error(labels, chance).value < 0.01
    assert calibration_error(labels, np.clip(chance + 0.1, 0, 1)).value == pytest.approx(0.1, abs=0.01)


def test_equal_probabilities_share_a_bin_whatever_the_order_of_rows() -> None:
    labels = np.repeat([0.0, 1.0], [800, 200])
    assert calibration_error(labels, np.full(1000, 0.2)).value == pytest.approx(0, abs=1e-12)


def test_an_auc_of_one_class_and_the_skill_against_certainty_are_left_out() -> None:
    found = estimates(Problem.binary, np.ones(10), Predictions(np.full(10, 0.9)))
    assert sorted(found) == ["accuracy", "brier", "ece", "log_loss"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.2, -0.1])
def test_one_unusable_prediction_leaves_no_metric(bad: float) -> None:
    labels, chance = scored()
    chance[3] = bad
    assert estimates(Problem.binary, labels, Predictions(chance)) == {}


def test_a_class_the_model_never_saw_counts_as_given_no_probability() -> None:
    labels = np.array(["a", "b", "unseen"], dtype=object)
    answers = Predictions(np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]), ("a", "b"))
    losses = row_losses(Problem.multiclass, labels, answers)
    np.testing.assert_allclose(losses, [0.02, 0.08, 1.5])
    assert estimates(Problem.multiclass, labels, answers)["accuracy"].value == pytest.approx(2 / 3)
