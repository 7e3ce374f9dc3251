"""A plan gives the pipeline's bits: for every estimator and problem, on ordinary rows and on those made to differ."""

import dataclasses
import struct

import numpy as np
import pytest

from serving.engine.errors import CannotScore
from serving.engine.frame import frame_of
from serving.engine.prove import edge_rows, first_difference
from serving.records import Rows
from tasks.features.artifact import score

from .orchard import Ask, fitted

BOOSTING, FOREST, LINEAR = "hist_gradient_boosting", "random_forest", "linear"
SMALL = (("max_iter", 15), ("min_samples_leaf", 5))
FEW_TREES = (("n_estimators", 7),)
SPARSE = ("picked",)
"""Without it most inputs of a linear model are zeros, which scikit-learn then leaves out of its sums."""
NO_TEXTS = ("variety", "grower")
ONLY_TEXTS = ("picked", "weight", "spots", "bruised", "acid", "sugar")

ASKED = [
    (Ask(BOOSTING, "binary", SMALL), "scan"),
    (Ask(BOOSTING, "regression", SMALL), "scan"),
    (Ask(BOOSTING, "regression", (*SMALL, ("loss", "poisson"))), "scan"),
    (Ask(BOOSTING, "regression", (*SMALL, ("loss", "gamma"))), "scan"),
    (Ask(BOOSTING, "regression", (*SMALL, ("loss", "absolute_error"))), "scan"),
    (Ask(BOOSTING, "multiclass", SMALL, classes=3), "scan"),
    (Ask(BOOSTING, "multiclass", SMALL, classes=11), "scan"),
    (Ask(BOOSTING, "binary", (*SMALL[:1], ("min_samples_leaf", 2), ("max_leaf_nodes", 64))), "scan"),
    (Ask(BOOSTING, "binary", (*SMALL[:1], ("min_samples_leaf", 2), ("max_leaf_nodes", 200))), "walk"),
    (Ask(BOOSTING, "multiclass", (*SMALL[:1], ("min_samples_leaf", 1), ("max_leaf_nodes", 300)), classes=3), "walk"),
    (Ask(BOOSTING, "binary", SMALL, growers=700), "scan"),
    (Ask(BOOSTING, "binary", SMALL, without=NO_TEXTS), "scan"),
    (Ask(BOOSTING, "binary", SMALL, without=ONLY_TEXTS), "scan"),
    (Ask(BOOSTING, "binary", (("max_iter", 3), ("max_depth", 1), ("min_samples_leaf", 5))), "scan"),
    (Ask(BOOSTING, "binary", (("max_iter", 3), ("min_samples_leaf", 5000))), "scan"),
    (Ask(BOOSTING, "binary", SMALL, calibration="sigmoid"), "scan"),
    (Ask(BOOSTING, "binary", SMALL, calibration="isotonic"), "scan"),
    (Ask(BOOSTING, "multiclass", SMALL, classes=3, calibration="sigmoid"), "scan"),
    (Ask(BOOSTING, "multiclass", SMALL, classes=11, calibration="isotonic"), "scan"),
    (Ask(FOREST, "binary", FEW_TREES), "walk"),
    (Ask(FOREST, "binary", (*FEW_TREES, ("max_depth", 4)), growers=700), "walk"),
    (Ask(FOREST, "regression", FEW_TREES), "walk"),
    (Ask(FOREST, "multiclass", FEW_TREES, classes=3), "walk"),
    (Ask(FOREST, "multiclass", (("n_estimators", 12),), classes=11), "walk"),
    (Ask(FOREST, "binary", FEW_TREES, calibration="sigmoid"), "walk"),
    (Ask(FOREST, "multiclass", FEW_TREES, classes=3, calibration="isotonic"), "walk"),
    (Ask(LINEAR, "binary", growers=25, without=SPARSE), "sum"),
    (Ask(LINEAR, "regression", growers=25, without=SPARSE), "sum"),
    (Ask(LINEAR, "multiclass", classes=3, growers=25, without=SPARSE), "sum"),
    (Ask(LINEAR, "multiclass", classes=11, growers=25, without=SPARSE), "sum"),
    (Ask(LINEAR, "binary", growers=25, without=SPARSE, calibration="sigmoid"), "sum"),
    (Ask(LINEAR, "binary", growers=25, without=SPARSE, calibration="isotonic"), "sum"),
    (Ask(LINEAR, "multiclass", classes=3, growers=25, without=SPARSE, calibration="isotonic"), "sum"),
    (Ask(LINEAR, "binary", without=ONLY_TEXTS), "sum"),
    (Ask(LINEAR, "binary"), "product"),
    (Ask(LINEAR, "regression"), "product"),
    (Ask(LINEAR, "multiclass", classes=11), "product"),
    (Ask(LINEAR, "regression", without=NO_TEXTS), "product"),
    (Ask(LINEAR, "multiclass", without=NO_TEXTS, classes=3), "product"),
    (Ask(LINEAR, "binary", without=NO_TEXTS, calibration="sigmoid"), "product"),
]


@pytest.mark.parametrize(("ask", "method"), ASKED, ids=[str(ask) for ask, _ in ASKED])
def test_a_plan_gives_the_pipelines_bits(ask: Ask, method: str) -> None:
    model = fitted(ask)
    compiled = model.compiled()
    assert compiled.structure.method == method
    plan, contract = compiled.plan(model.features), model.case.contract
    for rows in (model.rows, edge_rows(compiled, contract, model.rows, seed=5, count=1000)):
        assert first_difference(plan, model.model, model.candidate, contract, rows) is None


@pytest.mark.parametrize(
    "ask", [Ask(BOOSTING, "binary", SMALL), Ask(LINEAR, "multiclass", classes=3, growers=25, without=SPARSE)], ids=str
)
def test_the_bits_are_those_of_offline_scoring(ask: Ask) -> None:
    model = fitted(ask)
    offline = score(model.model, frame_of(model.rows, model.case.contract), model.candidate)
    assert np.array(model.plan().score(model.rows)).tobytes() == offline.tobytes()


COMPANY_MATTERS = [ask for ask, method in ASKED if method == "product" or ask == Ask(BOOSTING, "multiclass", SMALL, 11)]


@pytest.mark.parametrize("ask", COMPANY_MATTERS, ids=str)
def test_where_a_plan_says_that_company_matters_no_promise_is_made_for_a_row_alone(ask: Ask) -> None:
    assert fitted(ask).compiled().structure.company_matters


@pytest.mark.parametrize("ask", [ask for ask, _ in ASKED if ask not in COMPANY_MATTERS], ids=str)
def test_a_row_has_the_same_answer_alone_and_in_a_batch_of_any_size(ask: Ask) -> None:
    model = fitted(ask)
    plan = model.plan()
    assert not plan.structure.company_matters
    whole = np.array(plan.score(model.rows))
    for size in (1, 3, 7, 8, 9, 63, 64, 65):
        parts = [model.rows.take(range(first, first + size)) for first in range(0, 5 * size, size)]
        told = np.array([answer for part in parts for answer in plan.score(part)])
        assert told.tobytes() == whole[: 5 * size].tobytes()


def test_plans_that_share_what_was_made_of_rows_answer_as_each_would_alone() -> None:
    models = [fitted(ask) for ask in (Ask(BOOSTING, "binary", SMALL), Ask(BOOSTING, "binary", SMALL, growers=5))]
    shared, some = models[0].rows.take(range(300)), [*range(0, 300, 7)]
    for _ in range(2):
        for model in models:
            alone = np.array(model.plan().score(models[0].rows.take(range(300))))
            assert np.array(model.plan().score(shared)).tobytes() == alone.tobytes()
            assert np.array(model.plan().score(shared, some)).tobytes() == alone[some].tobytes()


def test_no_rows_have_no_answers() -> None:
    model = fitted(ASKED[0][0])
    assert model.plan().score(model.rows.take([])) == []


def test_one_bit_in_one_leaf_is_a_difference() -> None:
    model = fitted(ASKED[0][0])
    compiled, contract = model.compiled(), model.case.contract
    leaves = compiled.arrays["leaves"].copy()
    leaves[4] = np.nextafter(leaves[4], np.inf)
    wrong = dataclasses.replace(compiled, arrays={**compiled.arrays, "leaves": leaves}).plan(model.features)
    found = first_difference(wrong, model.model, model.candidate, contract, model.rows)
    assert found is not None
    assert found.startswith("row ")
    assert "the plan answers 0." in found
    assert "the pipeline 0." in found


def test_a_row_that_the_pipeline_refuses_is_refused_by_the_plan_and_named() -> None:
    model = fitted(Ask(FOREST, "binary", FEW_TREES))
    plan, rows = model.plan(), model.rows.take(range(50))
    rows.columns[model.features.index("weight")][17] = 1e300
    with pytest.raises(CannotScore, match="Row 17 has a number this model cannot take"):
        plan.score(rows)
    with pytest.raises(CannotScore, match="Row 0 has"):
        plan.score(rows.take([17]))
    assert len(plan.score(rows.take([16]))) == 1


def test_a_plan_that_answers_what_the_pipeline_refuses_is_a_difference() -> None:
    model = fitted(Ask(FOREST, "binary", FEW_TREES))
    compiled, rows = model.compiled(), model.rows.take(range(50))
    rows.columns[model.features.index("weight")][17] = 1e300
    flags = np.array([0, 1], dtype="<i8")
    careless = dataclasses.replace(compiled, arrays={**compiled.arrays, "flags": flags}).plan(model.features)
    found = first_difference(careless, model.model, model.candidate, model.case.contract, rows)
    assert found is not None
    assert "the pipeline refuses what the plan answers" in found


def test_a_plan_that_refuses_what_the_pipeline_answers_is_a_difference() -> None:
    model = fitted(Ask(FOREST, "binary", FEW_TREES))
    compiled = model.compiled()
    flags = np.array([1, 0], dtype="<i8")
    timid = dataclasses.replace(compiled, arrays={**compiled.arrays, "flags": flags}).plan(model.features)
    found = first_difference(timid, model.model, model.candidate, model.case.contract, model.rows)
    assert found is not None
    assert "the plan refuses what the pipeline answers" in found


def test_edge_rows_hold_what_a_plan_would_first_get_wrong() -> None:
    model = fitted(ASKED[0][0])
    compiled = model.compiled()
    rows = edge_rows(compiled, model.case.contract, model.rows, seed=5, count=3000)
    column = dict(zip(model.features, rows.columns, strict=True))
    assert rows.count == 3000
    assert {None, "unheard of", *VARIETIES_SEEN} <= set(column["variety"])
    weights = [weight for weight in column["weight"] if isinstance(weight, float)]
    assert {0.0, 1000.0, 5e-324} <= set(weights)
    assert any(abs(weight) > 1e300 for weight in weights)
    assert any(weight == 0 and struct.pack("<d", weight) == struct.pack("<d", -0.0) for weight in weights)
    sugar = [number for number in column["sugar"] if isinstance(number, float)]
    cuts = compiled.arrays["cuts"]
    assert len(set(cuts) & set(sugar)) > 3
    assert len(set(np.nextafter(cuts, np.inf)) & set(sugar)) > 3


def test_edge_rows_follow_from_their_seed_alone() -> None:
    model = fitted(ASKED[0][0])
    made: list[Rows] = [edge_rows(model.compiled(), model.case.contract, model.rows, 5, 200) for _ in range(2)]
    assert repr(made[0]) == repr(made[1])


VARIETIES_SEEN = ("Boskoop", "Elstar", "Gala", "Jonagold", "Topaz")
