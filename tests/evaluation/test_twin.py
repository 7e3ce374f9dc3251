"""Each rule about a model that was fitted again refuses on the wrong side of its boundary."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from configs.params import GateParams
from tasks.evaluation.contender import Contender
from tasks.evaluation.twin import like_its_twin, liken
from tasks.records import Candidate, Interval, Likeness

Gate = Callable[..., GateParams]
TWIN = Candidate(
    case="shop", contract_version=3, estimator="linear", settings={"C": 1.0}, calibration="none", seed=7,
    features=("interest", "budget"), classes=(0, 1), train_start="2024-01-01T00:00Z", train_end="2024-01-29T00:00Z",
    batches=(),
)  # fmt: skip


def likeness(**changes: Any) -> Likeness:
    fine = {
        "rows": 5000,
        "difference": Interval(value=0.01, low=0.005, high=0.015, confidence=0.95),
        "change": 0.1,
        "latency_ms": 10.0,
        "model_mb": 1.0,
        "faithful": True,
        "predictions_sha256": "0",
    }
    return Likeness.model_validate(fine | changes)


def against(gate: GateParams, found: Likeness, **changes: Any) -> list[str]:
    refitted = TWIN.model_copy(update=changes)
    return [reason.rule for reason in like_its_twin(gate, refitted, TWIN, found) if not reason.passed]


def about(low: float, high: float) -> dict[str, float]:
    return {"value": (low + high) / 2, "low": low, "high": high, "confidence": 0.95}


def test_a_model_that_learned_a_little_more_stands(gate: Gate) -> None:
    assert against(gate(), likeness(), train_end="2024-02-26T00:00Z", rows=9000) == []


@pytest.mark.parametrize(
    "changed",
    [{"seed": 8}, {"settings": {"C": 2.0}}, {"features": ("budget", "interest")}, {"classes": (0, 1, 2)},
     {"estimator": "random_forest"}, {"calibration": "sigmoid"}, {"contract_version": 4}],
)  # fmt: skip
def test_another_recipe_is_another_model(gate: Gate, changed: dict[str, Any]) -> None:
    assert against(gate(), likeness(), **changed) == ["recipe"]


@pytest.mark.parametrize(
    ("found", "rules"),
    [
        ({"change": 0.5}, []),
        ({"change": 0.501}, ["change"]),
        ({"change": None}, ["change"]),
        ({"difference": about(-0.02, 0.0)}, []),
        ({"difference": about(-0.02, -0.001)}, ["no worse"]),
        ({"difference": None}, ["no worse"]),
        ({"unusable_predictions": 1}, ["predictions"]),
        ({"faithful": False}, ["artifact"]),
        ({"latency_ms": 2000.0, "model_mb": 20.0}, []),
        ({"latency_ms": 2000.1}, ["latency"]),
        ({"model_mb": 20.1}, ["size"]),
    ],
)
def test_each_rule_has_its_boundary(gate: Gate, found: dict[str, Any], rules: list[str]) -> None:
    assert against(gate(refit_change=0.5), likeness(**found)) == rules


def test_of_an_error_a_rise_is_a_loss(gate: Gate) -> None:
    found = likeness(difference=about(0.001, 0.02))
    assert against(gate(metric="log_loss"), found) == ["no worse"]


def test_the_change_is_told_in_the_twins_own_errors(shop: Any, rows_of: Callable[..., Any]) -> None:
    rows = shop.frame[shop.frame["bought"].notna()].tail(800)
    fresh = rows_of(rows["bought"].to_numpy(dtype="int64"), **{name: rows[name].to_numpy() for name in COLUMNS})
    folders = shop.project.files("shop").model, shop.project.files("shop").champion
    twin = Contender.load(shop.case.problem, shop.candidate(shop.fit()), folders[0])
    same = twin.predict(fresh.frame)
    assert liken(shop.params.gate, fresh, twin, same, same).change == 0
    less = shop.training_rows.head(1000)
    shop.champion(shop.fit(less))
    other = Contender.load(shop.case.problem, Candidate.read(folders[1] / "candidate.json"), folders[1])
    ours = other.predict(fresh.frame)
    moved = np.abs(ours.answers - same.answers).mean() / np.abs(same.answers - fresh.labels).mean()
    assert liken(shop.params.gate, fresh, other, ours, same).change == pytest.approx(moved)


COLUMNS = ("interest", "budget", "region", "rain")
