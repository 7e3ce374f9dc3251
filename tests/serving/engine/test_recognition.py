"""Only what training builds is compiled; whatever else comes is left to the pipeline, and it is said why."""

import copy
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from configs.case import ColumnType
from serving.engine.compile import CompiledPlan, Unrecognised, compile_plan
from serving.engine.frame import frame_of
from tasks.features.inputs import ContractInputs

from .orchard import Ask, Fitted, fitted

BOOSTING = Ask("hist_gradient_boosting", "binary", (("max_iter", 5), ("min_samples_leaf", 5)))
FOREST = Ask("random_forest", "binary", (("n_estimators", 3),))
LINEAR = Ask("linear", "binary", growers=25, without=("picked",))


def reason(model: Fitted, pipeline: Any, **changes: Any) -> str:
    """Why no plan is made of `pipeline`."""
    found = compile_plan(pipeline, model.candidate.model_copy(update=changes), model.case.contract)
    assert isinstance(found, Unrecognised)
    return found.reason


def refitted(model: Fitted, *steps: tuple[str, Any]) -> Pipeline:
    """The model's pipeline with some steps replaced or added, fitted again."""
    kept = {name: clone(step) for name, step in model.model.steps}
    frame = frame_of(model.rows, model.case.contract)[list(model.candidate.features)]
    return Pipeline([*(kept | dict(steps)).items()]).fit(frame, np.arange(model.rows.count) % 2)


@pytest.mark.parametrize("estimator", [ExtraTreesClassifier(2), GradientBoostingClassifier(n_estimators=2)], ids=repr)
def test_another_estimator_is_not_recognised(estimator: Any) -> None:
    model = fitted(LINEAR)
    said = reason(model, refitted(model, ("model", estimator)))
    assert said == f"it is made of ContractInputs, ColumnTransformer, {type(estimator).__name__}"


def test_a_subclass_of_what_training_builds_is_not_recognised() -> None:
    class Inputs(ContractInputs):
        """Might do anything."""

    model = fitted(BOOSTING)
    kept: ContractInputs = model.model.steps[0][1]
    changed = refitted(model, ("inputs", Inputs(kept.strings, kept.numbers, kept.calendar)))
    assert reason(model, changed).startswith("it is made of Inputs, CategoryCodes")


def test_a_further_step_is_not_recognised() -> None:
    model = fitted(LINEAR)
    scaled = Pipeline([*model.model.steps[:2], ("scale", StandardScaler()), *model.model.steps[2:]])
    assert "ContractInputs, ColumnTransformer, StandardScaler, LogisticRegression" in reason(model, scaled)


@pytest.mark.parametrize("model", ["a text", None, 3, object()])
def test_what_is_no_pipeline_is_not_recognised(model: Any) -> None:
    assert reason(fitted(BOOSTING), model).startswith("it is made of ")


def test_a_forest_that_adds_up_in_any_order_is_not_recognised() -> None:
    model = fitted(FOREST)
    several = refitted(model, ("model", clone(model.model.steps[-1][1]).set_params(n_jobs=2)))
    assert reason(model, several) == "its forest adds up its trees in any order (n_jobs=2)"


def test_encoders_that_training_does_not_build_are_not_recognised() -> None:
    model = fitted(LINEAR)
    encode = model.model.steps[1][1]
    (name, hot, texts), numbers = encode.transformers
    dropping = ColumnTransformer([(name, OneHotEncoder(drop="first", handle_unknown="ignore"), texts), numbers])
    assert reason(model, refitted(model, ("encode", dropping))) == "it has a one-hot encoder that drops categories"
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    assert reason(model, refitted(model, ("encode", ColumnTransformer([(name, ordinal, texts), numbers])))) == (
        "it has `categories` in a OrdinalEncoder"
    )
    renamed = ColumnTransformer([("others", hot, texts), numbers])
    assert reason(model, refitted(model, ("encode", renamed))) == "it has an encoder for `others`"
    only_scaled = ColumnTransformer([(name, hot, texts), ("numbers", StandardScaler(), numbers[2])])
    frame = frame_of(model.rows, model.case.contract)[list(model.candidate.features)]
    only_scaled.fit(model.model.steps[0][1].transform(frame))
    changed = Pipeline([model.model.steps[0], ("encode", only_scaled), model.model.steps[2]])
    assert reason(model, changed) == "it has `numbers` in a StandardScaler"


def encoded_as_before(model: Fitted, **how: Any) -> ColumnTransformer:
    """How texts were encoded before there were CategoryCodes."""
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", **how)
    parts = [("categories", encoder, model.model.steps[1][1].strings)]
    encode = ColumnTransformer(parts, remainder="passthrough", verbose_feature_names_out=False)
    return encode.set_output(transform="pandas")


def test_a_model_from_before_there_were_category_codes_has_the_plan_it_had() -> None:
    model = fitted(BOOSTING)
    encode = encoded_as_before(model, unknown_value=np.nan, encoded_missing_value=np.nan, max_categories=254)
    by_name = clone(model.model.steps[2][1]).set_params(categorical_features=encode.transformers[0][2])
    found = compile_plan(refitted(model, ("encode", encode), ("model", by_name)), model.candidate, model.case.contract)
    now = compile_plan(refitted(model), model.candidate, model.case.contract)
    assert isinstance(found, CompiledPlan)
    assert isinstance(now, CompiledPlan)
    assert found.structure == now.structure
    assert {name: one.tobytes() for name, one in found.arrays.items()} == {
        name: one.tobytes() for name, one in now.arrays.items()
    }


def test_an_encoder_that_codes_unknown_texts_as_numbers_is_compiled_as_it_is() -> None:
    model = fitted(FOREST)
    encode = encoded_as_before(model, unknown_value=-7, encoded_missing_value=-3)
    found = compile_plan(refitted(model, ("encode", encode)), model.candidate, model.case.contract)
    assert isinstance(found, CompiledPlan)
    variety = next(one for one in found.structure.inputs if getattr(one, "feature", "") == "variety")
    assert (getattr(variety, "unknown", None), getattr(variety, "missing", None)) == (-7.0, -7.0)


def test_a_mean_of_several_calibrations_is_not_recognised() -> None:
    model = fitted(BOOSTING)
    frame = frame_of(model.rows, model.case.contract)[list(model.candidate.features)]
    several = CalibratedClassifierCV(clone(model.model), cv=3).fit(frame, np.arange(model.rows.count) % 2)
    assert "mean of several calibrations" in reason(model, several)


def test_a_calibration_of_another_kind_is_not_recognised() -> None:
    model = fitted(Ask("hist_gradient_boosting", "binary", BOOSTING.settings, calibration="temperature"))
    assert "of the kind temperature" in reason(model, model.model)


def test_a_record_that_does_not_fit_the_model_is_not_compiled() -> None:
    model = fitted(BOOSTING)
    assert "its classes are not those of its record" in reason(model, model.model, classes=(1, 0))
    assert "other features than its record" in reason(model, model.model, features=("sugar",))


def test_a_contract_that_changed_a_type_makes_no_plan() -> None:
    model = fitted(BOOSTING)
    columns = dict(model.case.contract.columns)
    columns["spots"] = columns["spots"].model_copy(update={"type": ColumnType.string, "range": None})
    contract = model.case.contract.model_copy(update={"columns": columns})
    found = compile_plan(model.model, model.candidate, contract)
    assert found == Unrecognised("it takes a feature as another type than the contract says")


def test_a_model_that_another_library_made_is_not_compiled() -> None:
    model = fitted(BOOSTING)
    strange = copy.deepcopy(model.model)
    del strange.steps[-1][1]._bin_mapper
    assert "it looks otherwise inside than expected (AttributeError: " in reason(model, strange)


def test_a_contract_without_a_feature_of_the_model_makes_no_plan() -> None:
    model, smaller = fitted(BOOSTING), fitted(LINEAR)
    found = compile_plan(model.model, model.candidate, smaller.case.contract)
    assert isinstance(found, Unrecognised)
    assert "other features than its record or the contract says" in found.reason
