"""The search for settings looks at training rows only, always judges by later ones, and finds the same again."""

import numpy as np
import pytest

from configs.errors import ConfigError
from tasks.errors import TooLittleData
from tasks.training.search import time_ordered_folds

from .dairy import A_WEEK, TRAINING, WEEKS, Dairy

SPACE = {
    "learning_rate": {"low": 0.01, "high": 0.5, "log": True},
    "max_leaf_nodes": {"low": 3, "high": 9, "whole": True},
}
FOREST = {"estimator": "random_forest", "settings": {"n_estimators": 10}}
SEARCH = {"trials": 3, "folds": 2, "space": SPACE}


def searching(dairy: Dairy, **changes: object) -> None:
    dairy.tune(training={**TRAINING, "search": {**SEARCH, **changes}})


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_every_fold_is_judged_by_batches_later_than_all_it_was_fitted_on(folds: int) -> None:
    batch = np.repeat(np.arange(11), np.arange(11) % 3 + 1)
    found = time_ordered_folds(np.random.default_rng(0).permutation(batch), folds)
    shuffled = np.random.default_rng(0).permutation(batch)
    assert len(found) == folds
    for fit, judge in found:
        assert len(fit) > 0
        assert len(judge) > 0
        assert shuffled[fit].max() < shuffled[judge].min()


def test_folds_judge_every_batch_but_the_oldest_once() -> None:
    batch = np.repeat(np.arange(9), 4)
    judged = np.concatenate([judge for _, judge in time_ordered_folds(batch, 2)])
    assert sorted(judged) == list(range(12, 36))


def test_a_batch_is_never_split_between_fitting_and_judging() -> None:
    batch = np.repeat(np.arange(7), 3)
    for fit, judge in time_ordered_folds(batch, 3):
        assert not set(batch[fit]) & set(batch[judge])


@pytest.mark.parametrize(("batches", "enough"), [(4, True), (3, False)])
def test_folds_need_one_batch_more_than_there_are_of_them(batches: int, enough: bool) -> None:
    batch = np.repeat(np.arange(batches) * 10, 5)
    if enough:
        assert len(time_ordered_folds(batch, 3)) == 3
    else:
        with pytest.raises(TooLittleData, match="search with 3 folds: found 3 batches with labels, wanted at least 4"):
            time_ordered_folds(batch, 3)


def test_the_same_seed_finds_the_same_settings_and_makes_the_same_model(dairy: Dairy) -> None:
    searching(dairy)
    first = dairy.train()
    answers = dairy.answers(first)
    second = dairy.train()
    assert second.settings == first.settings
    assert dairy.answers(second).tobytes() == answers.tobytes()


def test_what_was_found_lies_in_the_space_and_joins_the_settings_that_were_given(dairy: Dairy) -> None:
    searching(dairy)
    candidate = dairy.train()
    assert candidate.search_trials == 3
    assert candidate.settings.keys() == {*TRAINING["settings"], *SPACE}
    assert candidate.settings["max_iter"] == 8
    assert 0.01 <= candidate.settings["learning_rate"] <= 0.5
    assert candidate.settings["max_leaf_nodes"] in range(3, 10)


def test_what_was_found_overrules_a_setting_of_the_same_name(dairy: Dairy) -> None:
    searching(dairy, space={"max_iter": [2, 3]})
    assert dairy.train().settings["max_iter"] in (2, 3)


def test_without_trials_there_is_no_search(dairy: Dairy) -> None:
    searching(dairy, trials=0)
    assert dairy.train().settings == TRAINING["settings"]


def test_a_search_never_sees_the_evaluation_window(dairy: Dairy) -> None:
    searching(dairy)
    first = dairy.train()
    (dairy.files.deliveries / f"{WEEKS[-1]}.parquet").unlink()
    assert dairy.train().settings == first.settings


def test_a_search_prefers_what_does_better_on_later_batches(dairy: Dairy) -> None:
    searching(dairy, trials=4, space={"learning_rate": [0.000001, 0.3]})
    assert dairy.train().settings["learning_rate"] == 0.3


def test_a_search_judges_by_what_comes_later_and_not_by_what_it_was_fitted_on(dairy: Dairy) -> None:
    # Half of what is measured is noise: a forest with small leaves knows the past by heart and the future less well.
    dairy.ask("regression")
    for week in WEEKS[:4]:
        noise = np.random.default_rng(int(week[-2:])).normal(0, 6, A_WEEK)
        dairy.change(week, sour=lambda frame, noise=noise: frame["sour"] + noise)
    dairy.tune(training=FOREST | {"search": {**SEARCH, "trials": 6, "space": {"min_samples_leaf": [1, 60]}}})
    assert dairy.train().settings["min_samples_leaf"] == 60


@pytest.mark.parametrize("problem", ["binary", "multiclass", "regression"])
def test_every_kind_of_problem_can_be_searched(dairy: Dairy, problem: str) -> None:
    dairy.ask(problem)
    searching(dairy, trials=2)
    assert set(SPACE) <= dairy.train().settings.keys()


def test_a_label_may_be_absent_from_the_rows_a_fold_is_judged_by(dairy: Dairy) -> None:
    dairy.change(WEEKS[3], sour=1.0)
    searching(dairy, trials=2)
    assert set(SPACE) <= dairy.train().settings.keys()


@pytest.mark.parametrize("weeks", [WEEKS[:2], WEEKS[2:4]])
def test_a_class_may_be_absent_from_some_of_the_batches(dairy: Dairy, weeks: tuple[str, ...]) -> None:
    dairy.ask("multiclass")
    for week in weeks:
        dairy.change(week, sour=lambda frame: frame["sour"].replace("old", "sour"))
    searching(dairy, trials=2)
    candidate = dairy.train()
    assert set(SPACE) <= candidate.settings.keys()
    assert candidate.classes == ("fresh", "old", "sour")


def test_the_oldest_fold_must_hold_more_than_one_label(dairy: Dairy) -> None:
    for week in WEEKS[:2]:
        dairy.change(week, sour=1.0)
    searching(dairy, trials=2)
    with pytest.raises(TooLittleData, match=r"to search: found one label only \(0\) in the oldest fold"):
        dairy.train()


@pytest.mark.parametrize("name", ["learning_rates", "n_estimators"])
def test_a_setting_to_search_that_the_estimator_lacks_is_refused(dairy: Dairy, name: str) -> None:
    searching(dairy, space={name: [1, 2]})
    named = rf"params\.yaml: training\.search\.space names `{name}`; HistGradientBoostingClassifier has no such setting"
    with pytest.raises(ConfigError, match=named):
        dairy.train()


def test_a_search_needs_enough_batches_for_its_folds(dairy: Dairy) -> None:
    searching(dairy, folds=4)
    with pytest.raises(TooLittleData, match="search with 4 folds: found 4 batches with labels, wanted at least 5"):
        dairy.train()
