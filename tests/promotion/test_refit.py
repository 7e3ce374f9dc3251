"""A version that was fitted again: what is registered, what it is rebuilt by, and what its monitors are given."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.case import Problem
from configs.project import Project
from tasks.adapters.registry import ModelVersion, Registry
from tasks.features.artifact import MODEL_FILE, load_model, score
from tasks.monitoring.refer import refer
from tasks.monitoring.reference import kept_at
from tasks.promotion.decide import decide
from tasks.promotion.proof import prove, training_record
from tasks.promotion.register import known_version, register
from tasks.promotion.reproduce import reproduce
from tasks.records import Candidate, ChampionRef, Evaluation, Order, Refit, Ruling, Windows
from tasks.rollout.expected import expected
from tasks.rollout.find_out import evaluated
from tasks.rollout.stages import begin
from tests.conftest import AS_OF, ASKED, Answer, Make, change_params, commit, move_in, run_chain

from .conftest import run_folder, standing

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bikes")]

ORDER = Order(case="bikes", as_of=AS_OF)
WEEK = timedelta(days=7)


@pytest.fixture(scope="session")
def refitted_bikes(once: Callable[[str, Make], Path], judged_bikes: Path) -> Path:
    """The folder that `refitted` is copied from."""

    def make(folder: Path) -> None:
        project = move_in(judged_bikes, folder)
        change_params(folder, "bikes", {"gate.refit": True})
        commit(folder, "fitted again")
        register(project, run_chain(project), ASKED)

    return once("refitted", make)


@pytest.fixture
def refitted(tmp_path: Path, at_home: Callable[[Project], Project], refitted_bikes: Path) -> Project:
    """A clone in which version 1, fitted again on the rows that judged it, waits for an answer."""
    return at_home(move_in(refitted_bikes, tmp_path / "clone"))


def first(project: Project) -> ModelVersion:
    version = Registry(project).version("bikes", "1")
    assert version
    return version


def test_the_model_fitted_again_is_registered_and_its_twin_kept_beside_it(refitted: Project) -> None:
    files, version = refitted.files("bikes"), first(refitted)
    refit, twin = Refit.read(files.refit / "refit.json"), Candidate.read(files.model / "candidate.json")
    assert refit.stands
    assert refit.candidate
    assert refit.likeness
    expected = {
        "train_window": "2011-01-03 to 2011-04-11",
        "twin_train_window": "2011-01-03 to 2011-03-14",
        "evaluate_window": "2011-03-14 to 2011-04-11",
        "twin_sha256": twin.model_sha256,
        "predictions_sha256": refit.likeness.predictions_sha256,
        "twin_predictions_sha256": Evaluation.read(files.evaluation / "evaluation.json").predictions_sha256,
        "refit": str(refit),
        "status": "awaiting approval",
    }
    assert {key: version.tags.get(key) for key in expected} == expected
    assert version.tags["predictions_sha256"] != version.tags["twin_predictions_sha256"]
    assert training_record(Registry(refitted), version) == refit.candidate
    rows, answers = prove(Registry(refitted), version)
    assert np.array_equal(
        answers, score(load_model(files.refit / MODEL_FILE, refit.candidate.model_sha256), rows, refit.candidate)
    )
    kept = run_folder(refitted, "1") / "twin"
    assert Candidate.read(kept / "candidate.json") == twin
    load_model(kept / MODEL_FILE, twin.model_sha256)
    said = Registry(refitted).description("bikes", "1")
    assert "the figures above are those of its twin, which had not seen the rows" in said


def test_registering_it_again_changes_nothing_and_it_is_known(refitted: Project) -> None:
    assert register(refitted, ORDER, ASKED + WEEK).version == "1"
    assert standing(refitted) == {"1": "awaiting approval"}
    known = known_version(refitted, "bikes")
    assert known
    assert known.version == "1"


def test_the_same_candidate_without_being_fitted_again_is_another_version(refitted: Project) -> None:
    change_params(refitted.root, "bikes", {"gate.refit": False})
    run_chain(refitted, stages=("evaluate", "refit"))
    assert known_version(refitted, "bikes") is None
    assert register(refitted, ORDER, ASKED + WEEK).version == "2"
    second = Registry(refitted).version("bikes", "2")
    assert second
    assert "twin_sha256" not in second.tags
    assert second.tags["predictions_sha256"] == first(refitted).tags["twin_predictions_sha256"]


def test_a_model_turned_down_leaves_its_twin_registered_and_says_why(refitted: Project) -> None:
    change_params(refitted.root, "bikes", {"gate.refit_change": 1e-6})
    run_chain(refitted, stages=("evaluate", "refit"))
    done = register(refitted, ORDER, ASKED + WEEK)
    assert (done.version, done.ruling) == ("2", Ruling.promote)
    version = Registry(refitted).version("bikes", "2")
    assert version
    assert version.tags["refit"].startswith("no: change: predictions moved by ")
    assert version.tags["train_window"] == "2011-01-03 to 2011-03-14"
    assert "twin_sha256" not in version.tags
    judged = Candidate.read(refitted.files("bikes").model / "candidate.json")
    assert training_record(Registry(refitted), version) == judged
    assert "**Fitted again**: no: change" in Registry(refitted).description("bikes", "2")


def test_it_is_rebuilt_bit_for_bit(refitted: Project) -> None:
    found = reproduce(refitted, "bikes", "1")
    assert found.identical
    assert found.recorded == first(refitted).tags["predictions_sha256"]


def test_a_twin_that_comes_out_otherwise_is_told(refitted: Project) -> None:
    Registry(refitted).tag("bikes", "1", {"twin_predictions_sha256": "0" * 64})
    assert not reproduce(refitted, "bikes", "1").identical


def test_the_next_candidate_is_not_judged_on_rows_the_champion_has_learned_from(
    refitted: Project, answer: Answer
) -> None:
    decide(refitted, answer("1"))
    run_chain(refitted, AS_OF + WEEK, stages=("ingest", "validate", "train", "evaluate", "refit"))
    files = refitted.files("bikes")
    champion = ChampionRef.read(files.champion_record)
    assert champion.candidate
    assert champion.candidate.train_end == AS_OF.replace(hour=0)
    evaluation = Evaluation.read(files.evaluation / "evaluation.json")
    assert evaluation.start == champion.candidate.train_end
    assert evaluation.decision.ruling is Ruling.inconclusive
    assert any("too early, wait until 2011-05-0" in reason.text for reason in evaluation.decision.against)
    assert str(Refit.read(files.refit / "refit.json")) == "no: the candidate was not accepted"


def test_a_rollout_expects_the_model_that_is_rolled_out_not_its_twin(refitted: Project, answer: Answer) -> None:
    decide(refitted, answer("1"))
    change_params(refitted.root, "bikes", {"gate.rule": "non_inferiority", "gate.margin": 5})
    later = ASKED + 4 * WEEK
    assert register(refitted, run_chain(refitted, AS_OF + 4 * WEEK), later).version == "2"
    # One evaluation window after the champion, its candidate is the champion.
    evaluation = Evaluation.read(refitted.files("bikes").evaluation / "evaluation.json")
    assert any(reason.text.endswith("the two answer every row alike") for reason in evaluation.decision.reasons)
    state = begin("2", "1", refitted.params("bikes").rollout, 0.05, later)
    hoped = evaluated(refitted, "bikes", state)
    assert hoped.rows == evaluation.rows
    assert hoped.disagreement > 0
    judged = pd.read_parquet(refitted.files("bikes").evaluation / "predictions.parquet")
    assert expected(Problem.regression, judged, None).disagreement == 0
    assert hoped.champion_loss == expected(Problem.regression, judged, None).champion_loss


def test_its_reference_holds_what_its_twin_answered_to_the_rows_that_judged_it(
    refitted: Project, answer: Answer
) -> None:
    decide(refitted, answer("1"))
    reference = refer(refitted, "bikes")
    assert reference is not None
    files = refitted.files("bikes")
    judged = {batch.batch_id for batch in Windows.read(files.windows).evaluate.batches}
    assert {batch.batch_id for batch in reference.batches if not batch.out_of_fold} == judged
    assert reference.about.model_sha256 == first(refitted).tags["model_sha256"]
    said = pd.read_parquet(files.evaluation / "predictions.parquet").set_index("event_time")["candidate"].sort_index()
    held = reference.scores[reference.scores["batch_id"].isin(judged) & reference.scores["label"].notna()]
    scores = held.set_index("event_time")["score"].sort_index()
    assert np.array_equal(scores.to_numpy(), said.to_numpy())
    # The model beside the reference, which logged answers are scored again with, is the one that serves.
    model = kept_at(refitted, "bikes", "1").parent / MODEL_FILE
    load_model(model, first(refitted).tags["model_sha256"])
