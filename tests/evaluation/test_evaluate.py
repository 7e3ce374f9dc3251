"""The verb on a small shop: planted models do not pass, and the evidence is kept."""

import json
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs.errors import ConfigError
from tasks.errors import ArtifactAltered, ArtifactMissing
from tasks.evaluation.predictions import digest
from tasks.records import ChampionRef, Evaluation, Ruling


def against(evaluation: Evaluation) -> list[str]:
    return [reason.rule for reason in evaluation.decision.against]


@pytest.fixture(scope="session")
def modest(history: pd.DataFrame) -> pd.DataFrame:
    """Training rows that teach a modest model: half of the labels are drawn anew."""
    rows = history[(history["at"] < "2024-01-29T00:00Z") & history["bought"].notna()]
    draw = np.random.default_rng(0)
    anew = draw.permutation(rows["bought"].to_numpy(dtype=bool))
    return rows.assign(bought=rows["bought"].to_numpy(dtype=bool) ^ (anew & (draw.random(len(rows)) < 0.5)))


def test_a_good_first_model_is_promoted(shop: Any) -> None:
    shop.candidate(shop.fit())
    evaluation = shop.evaluate()
    assert evaluation.decision.ruling is Ruling.promote
    assert evaluation.champion_version is None
    assert evaluation.differences == {}


def test_a_better_candidate_is_promoted(shop: Any, modest: pd.DataFrame) -> None:
    shop.champion(shop.fit(modest, leave_out=("budget",)))
    shop.candidate(shop.fit())
    evaluation = shop.evaluate()
    assert evaluation.decision.promote
    assert evaluation.differences["auc"].low > 0.02


def test_the_champion_itself_is_not_promoted_again(shop: Any) -> None:
    model = shop.fit()
    shop.champion(model)
    shop.candidate(model)
    evaluation = shop.evaluate()
    assert (evaluation.decision.ruling, against(evaluation)) == (Ruling.reject, ["comparison"])
    assert evaluation.differences["auc"].value == 0
    assert evaluation.decision.against[0].text.endswith("; the two answer every row alike")


@pytest.mark.parametrize("seed", range(3))
def test_a_champion_retrained_on_another_draw_of_its_rows_is_not_promoted(seed: int, shop: Any) -> None:
    rows = shop.training_rows
    shop.champion(shop.fit(rows.sample(frac=0.7, random_state=seed)))
    shop.candidate(shop.fit(rows.sample(frac=0.7, random_state=100 + seed)))
    assert against(shop.evaluate()) == ["comparison"]


def test_a_model_of_shuffled_labels_is_rejected(shop: Any) -> None:
    rows = shop.training_rows
    shuffled = rows["bought"].sample(frac=1, random_state=0).to_numpy()
    shop.candidate(shop.fit(rows.assign(bought=shuffled)))
    evaluation = shop.evaluate()
    assert (evaluation.decision.ruling, against(evaluation)) == (Ruling.reject, ["limit auc"])


def test_a_model_with_a_leaked_feature_is_rejected_and_the_feature_named(shop: Any) -> None:
    leaked = shop.frame["bought"].fillna(value=False).astype(float)
    shop.frame = shop.frame.assign(rain=leaked)
    shop.deliver(shop.frame)
    shop.candidate(shop.fit())
    evaluation = shop.evaluate()
    assert (evaluation.decision.ruling, against(evaluation)) == (Ruling.reject, ["leakage"])
    assert "`rain`" in evaluation.decision.against[0].text


def test_a_better_model_with_one_bad_slice_is_rejected(shop: Any) -> None:
    rows = shop.training_rows
    north = (rows["region"] == "north").to_numpy()
    truth = rows["bought"].to_numpy(dtype=bool)
    shop.champion(shop.fit(rows.assign(bought=truth), leave_out=("budget",)))
    turned = north & (np.random.default_rng(0).random(len(rows)) < 0.3)
    shop.candidate(shop.fit(rows.assign(bought=truth ^ turned)))
    evaluation = shop.evaluate()
    assert evaluation.differences["auc"].low > 0
    assert against(evaluation) == ["slices"]
    assert [group.value for group in evaluation.slices if group.refused] == ["north"]


def test_a_model_slower_than_its_budget_is_rejected(shop: Any) -> None:
    shop.configure(max_latency_ms=0.001)
    shop.candidate(shop.fit())
    assert against(shop.evaluate()) == ["latency"]


def test_a_model_larger_than_its_budget_is_rejected(shop: Any) -> None:
    shop.configure(max_model_mb=0.001)
    shop.candidate(shop.fit())
    assert against(shop.evaluate()) == ["size"]


def test_a_model_of_other_features_is_rejected(shop: Any) -> None:
    shop.candidate(shop.fit(leave_out=("rain",)))
    assert against(shop.evaluate()) == ["features"]


def test_a_model_that_needs_a_column_nobody_delivers_is_rejected_not_crashed_on(shop: Any) -> None:
    shop.candidate(shop.fit())
    shop.deliver(shop.frame.drop(columns="rain"))
    evaluation = shop.evaluate()
    assert evaluation.decision.ruling is Ruling.reject
    assert "predictions" in against(evaluation)


def test_a_champion_that_needs_a_column_nobody_delivers_leaves_the_decision_open(shop: Any) -> None:
    shop.champion(shop.fit(), features=("interest", "speed"))
    shop.candidate(shop.fit())
    evaluation = shop.evaluate()
    assert (evaluation.decision.ruling, against(evaluation)) == (Ruling.inconclusive, ["comparison"])
    assert "`speed`" in evaluation.decision.against[0].text


def test_an_artifact_that_answers_its_example_differently_is_rejected(shop: Any) -> None:
    shop.candidate(shop.fit())
    kept = shop.project.files("shop").model / "input_example_predictions.npy"
    np.save(kept, np.nextafter(np.load(kept), 1))
    assert against(shop.evaluate()) == ["artifact"]


def test_both_are_judged_on_rows_later_than_both_cut_offs(shop: Any) -> None:
    later = shop.candidate(shop.fit()).train_end + timedelta(days=7)
    shop.champion(shop.fit(), train_end=later)
    evaluation = shop.evaluate()
    table = pd.read_parquet(shop.project.files("shop").evaluation / "predictions.parquet")
    assert evaluation.start == later
    assert table["event_time"].min() == pd.Timestamp(later)
    assert evaluation.blocks == 21


def test_a_window_the_champion_has_seen_to_its_end_is_inconclusive(shop: Any) -> None:
    candidate = shop.candidate(shop.fit())
    shop.champion(shop.fit(), train_end=candidate.train_end + timedelta(days=28))
    evaluation = shop.evaluate()
    assert evaluation.rows == 0
    assert evaluation.decision.ruling is Ruling.inconclusive
    assert evaluation.start <= evaluation.end


def test_where_the_champion_has_learned_from_part_of_the_window_one_is_told_how_long_to_wait(shop: Any) -> None:
    candidate = shop.candidate(shop.fit())
    shop.champion(shop.fit(), train_end=candidate.train_end + timedelta(days=21))
    evaluation = shop.evaluate()
    assert evaluation.decision.ruling is Ruling.inconclusive
    (rows, blocks) = evaluation.decision.against[:2]
    assert blocks.text == (
        "7 days with labelled rows later than both training cut-offs, at least 14 wanted; the champion has learned "
        "from all before 2024-02-19, which is inside the window that judges: too early, wait until 2024-03-18 00:00 UTC"
    )
    assert rows.rule == "rows"


def test_enough_rows_after_the_champions_cut_off_judge_at_once(shop: Any) -> None:
    candidate = shop.candidate(shop.fit())
    shop.champion(shop.fit(), train_end=candidate.train_end + timedelta(days=7))
    texts = [reason.text for reason in shop.evaluate().decision.reasons]
    assert not [text for text in texts if "too early" in text]


def test_rows_without_a_label_are_counted_and_not_judged(shop: Any) -> None:
    shop.candidate(shop.fit())
    evaluation = shop.evaluate()
    fresh = shop.frame[shop.frame["at"] >= pd.Timestamp(evaluation.start)]
    assert evaluation.rows_without_label == fresh["bought"].isna().sum() > 0
    assert evaluation.rows == fresh["bought"].notna().sum()


def test_the_evidence_is_kept_and_agrees_with_itself(shop: Any) -> None:
    model = shop.fit()
    shop.champion(model)
    shop.candidate(model)
    evaluation = shop.evaluate()
    folder = shop.project.files("shop").evaluation
    table = pd.read_parquet(folder / "predictions.parquet")
    flat = json.loads((folder / "metrics.json").read_text())
    assert Evaluation.read(folder / "evaluation.json") == evaluation
    assert list(table) == ["entity", "event_time", "label", "candidate", "champion"]
    assert digest(table["candidate"].to_numpy()) == evaluation.predictions_sha256
    assert flat["auc"] == flat["champion_auc"] == evaluation.metrics["auc"].value
    assert flat["difference_auc"] == 0
    pictures = {path.stem for path in (folder / "plots").iterdir()}
    assert pictures == {"roc", "precision_recall", "calibration", "importance"}


def test_the_same_evaluation_twice_differs_in_nothing_but_time(shop: Any) -> None:
    shop.candidate(shop.fit())
    first, second = (shop.evaluate().model_dump(exclude={"latency_ms", "decision"}) for _ in range(2))
    assert first == second


def test_what_an_earlier_evaluation_left_is_gone(shop: Any) -> None:
    shop.candidate(shop.fit())
    left = shop.project.files("shop").evaluation / "plots" / "left_over.png"
    left.parent.mkdir(parents=True)
    left.touch()
    shop.evaluate()
    assert not left.exists()


def _spent(frame: pd.DataFrame) -> pd.Series:
    return 20 + 5 * frame["interest"] + 3 * frame["budget"] + np.random.default_rng(0).normal(size=len(frame))


def test_a_regression_is_judged_by_its_errors(shop: Any, history: pd.DataFrame) -> None:
    gate = {"metric": "mae", "limits": [{"metric": "r2", "at_least": 0.5}], "suspicious_score": 0.99}
    shop.ask_instead("regression", "number", _spent(history), **gate)
    shop.champion(shop.fit(leave_out=("budget",)))
    shop.candidate(shop.fit())
    evaluation = shop.evaluate()
    assert evaluation.decision.promote
    assert evaluation.differences["mae"].high < -0.5


@pytest.mark.parametrize("classes", [2, 3])
def test_a_multiclass_problem_is_judged_on_all_its_classes(classes: int, shop: Any, history: pd.DataFrame) -> None:
    spent = pd.qcut(_spent(history), classes, labels=list("abc")[:classes]).astype("str")
    gate = {"metric": "log_loss", "limits": [{"metric": "accuracy", "at_least": 0.5}], "suspicious_score": 0.99}
    shop.ask_instead("multiclass", "string", spent, **gate)
    shop.champion(shop.fit(leave_out=("budget",)))
    shop.candidate(shop.fit())
    evaluation = shop.evaluate()
    table = pd.read_parquet(shop.project.files("shop").evaluation / "predictions.parquet")
    assert evaluation.decision.promote
    assert [name for name in table if name.startswith("candidate_")] == [f"candidate_{c}" for c in "abc"[:classes]]


def test_an_altered_candidate_is_not_loaded(shop: Any) -> None:
    shop.candidate(shop.fit())
    model = shop.project.files("shop").model / "model.skops"
    model.write_bytes(model.read_bytes() + b"x")
    with pytest.raises(ArtifactAltered, match="is not the file that was"):
        shop.evaluate()


def test_an_altered_champion_is_not_loaded(shop: Any) -> None:
    shop.champion(shop.fit())
    shop.candidate(shop.fit())
    model = shop.project.files("shop").champion / "model.skops"
    model.write_bytes(model.read_bytes() + b"x")
    with pytest.raises(ArtifactAltered, match="is not the file that was"):
        shop.evaluate()


def test_a_missing_candidate_is_said_to_be_missing(shop: Any) -> None:
    with pytest.raises(ArtifactMissing, match=r"The candidate has no file at .*candidate\.json"):
        shop.evaluate()


def test_a_champion_without_its_training_record_is_said_to_be_incomplete(shop: Any) -> None:
    shop.candidate(shop.fit())
    ChampionRef(version="4").write(shop.project.files("shop").champion / "champion.json")
    with pytest.raises(ArtifactMissing, match="training record of champion 4"):
        shop.evaluate()


def test_a_slice_column_that_no_contract_has_is_a_mistake_in_the_parameters(shop: Any) -> None:
    shop.configure(slices={"columns": ["regoin"]})
    shop.candidate(shop.fit())
    with pytest.raises(ConfigError, match="`regoin`"):
        shop.evaluate()
