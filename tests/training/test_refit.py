"""An accepted candidate learns from the rows that judged it too, unless it turns into another model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.project import Project
from tasks.evaluation.evaluate import evaluate
from tasks.features.artifact import MODEL_FILE, load_model
from tasks.records import Candidate, Decision, Evaluation, Refit, Ruling, Window, Windows
from tasks.training.fit import fit
from tasks.training.refit import refit
from tasks.training.rows import read_rows

from .dairy import WEEKS, Dairy

GATE = {"min_blocks": 3, "refit": True}


def judge(dairy: Dairy, problem: str = "regression", ruling: Ruling = Ruling.promote, **sections: Any) -> Candidate:
    """Train and evaluate; the gate answers as it is told to."""
    metric = "mae" if problem == "regression" else "log_loss"
    gate = {"metric": metric, "limits": [{"metric": metric, "at_most": 5}], **GATE, **sections.pop("gate", {})}
    dairy.tune(gate=gate, **sections)
    dairy.ask(problem)
    (dairy.files.champion).mkdir(parents=True, exist_ok=True)
    dairy.files.champion_record.write_text('{"version": null}')
    candidate = dairy.train()
    path = dairy.files.evaluation / "evaluation.json"
    decision = Decision(ruling=ruling, reasons=evaluate(dairy.project, "milk").decision.reasons)
    Evaluation.read(path).model_copy(update={"decision": decision}).write(path)
    return candidate


def kept(project: Project) -> list[str]:
    return sorted(path.name for path in project.files("milk").refit.iterdir())


def test_it_is_off_unless_the_gate_asks_for_it(dairy: Dairy) -> None:
    judge(dairy, gate={"refit": False})
    said = refit(dairy.project, "milk")
    assert (said.stands, str(said)) == (False, "no: gate.refit is off")
    assert kept(dairy.project) == ["refit.json"]


@pytest.mark.parametrize("ruling", [Ruling.reject, Ruling.inconclusive])
def test_a_candidate_that_was_not_accepted_is_not_fitted_again(dairy: Dairy, ruling: Ruling) -> None:
    judge(dairy, ruling=ruling)
    said = refit(dairy.project, "milk")
    assert (said.stands, str(said)) == (False, "no: the candidate was not accepted")
    assert kept(dairy.project) == ["refit.json"]


@pytest.mark.parametrize("problem", ["regression", "multiclass", "binary"])
def test_an_accepted_candidate_learns_from_both_windows_and_nothing_else_changes(dairy: Dairy, problem: str) -> None:
    twin = judge(dairy, problem)
    said = refit(dairy.project, "milk")
    assert said.stands, said.against
    assert said.candidate
    assert said.likeness
    assert said.candidate.batches == WEEKS
    assert (said.candidate.train_start, said.candidate.train_end) == (
        twin.train_start, Windows.read(dairy.files.windows).evaluate.end
    )  # fmt: skip
    assert said.candidate.rows > twin.rows
    same = ("settings", "features", "classes", "seed", "estimator", "contract_version", "calibration")
    assert all(getattr(said.candidate, name) == getattr(twin, name) for name in same)
    assert Refit.read(dairy.files.refit / "refit.json") == said
    assert Candidate.read(dairy.files.refit / "candidate.json") == said.candidate
    # What was judged is still there, whole.
    load_model(dairy.files.model / MODEL_FILE, twin.model_sha256)
    assert 0 < (said.likeness.change or 0) < 1


def test_the_same_rows_and_settings_give_the_same_model_bit_for_bit(dairy: Dairy) -> None:
    twin = judge(dairy, "regression")
    said = refit(dairy.project, "milk")
    assert said.candidate
    windows = Windows.read(dairy.files.windows)
    both = Window(
        start=windows.train.start, end=windows.evaluate.end, batches=(*windows.train.batches, *windows.evaluate.batches)
    )
    rows = read_rows(dairy.case, dairy.params, dairy.files.deliveries, both)
    by_hand = fit(dairy.case, dairy.params, twin.settings, rows)
    stored = load_model(dairy.files.refit / MODEL_FILE, said.candidate.model_sha256)
    assert np.array_equal(stored.predict(rows.frame), by_hand.predict(rows.frame))
    again = refit(dairy.project, "milk")
    assert again.likeness
    assert said.likeness
    assert again.likeness.predictions_sha256 == said.likeness.predictions_sha256


def test_settings_that_a_search_found_are_not_searched_for_again(dairy: Dairy) -> None:
    search = {"trials": 2, "folds": 2, "space": {"max_leaf_nodes": {"low": 3, "high": 30, "whole": True}}}
    twin = judge(dairy, "regression", training={"search": search})
    dairy.tune(gate=GATE, training={"search": {**search, "space": {"max_leaf_nodes": [2]}}})
    said = refit(dairy.project, "milk")
    assert said.candidate
    assert said.candidate.settings == twin.settings
    assert twin.settings["max_leaf_nodes"] != 2


def test_a_model_that_moves_too_far_is_turned_down_and_its_twin_takes_its_place(dairy: Dairy) -> None:
    judge(dairy, "regression", gate={"refit_change": 1e-6})
    said = refit(dairy.project, "milk")
    assert not said.stands
    assert [reason.rule for reason in said.against] == ["change"]
    assert str(said).startswith("no: change: predictions moved by ")
    assert str(said).endswith("The model that was judged takes its place")


def test_a_label_that_was_never_met_before_makes_it_another_model(dairy: Dairy) -> None:
    judge(dairy, "multiclass")
    truth = dairy.truth()
    dairy.change(WEEKS[-1], sour=truth.mask(truth == "sour", "spoilt").to_numpy())
    said = refit(dairy.project, "milk")
    assert not said.stands
    assert "recipe" in [reason.rule for reason in said.against]


def test_too_little_to_calibrate_on_leaves_the_model_that_was_judged(dairy: Dairy) -> None:
    judge(dairy, "binary", training={"calibration": "sigmoid"})
    dairy.change(WEEKS[-1], sour=9.0)
    said = refit(dairy.project, "milk")
    assert not said.stands
    assert said.candidate is None
    (reason,) = said.against
    assert reason.rule == "fit"
    assert "0 times in them" in reason.text


def test_what_an_earlier_run_left_is_gone(dairy: Dairy, tmp_path: Path) -> None:
    judge(dairy, "regression")
    refit(dairy.project, "milk")
    judge(dairy, "regression", gate={"refit": False})
    refit(dairy.project, "milk")
    assert kept(dairy.project) == ["refit.json"]
