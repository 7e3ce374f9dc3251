"""The model: one scikit-learn pipeline that contains all feature code."""

from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from configs.case import Case, Problem
from configs.errors import ConfigError
from configs.params import FeatureParams, TrainingParams
from tasks.features.categories import CategoryCodes
from tasks.features.inputs import ContractInputs, contract_inputs

_ESTIMATORS = {
    "hist_gradient_boosting": (HistGradientBoostingClassifier, HistGradientBoostingRegressor),
    "random_forest": (RandomForestClassifier, RandomForestRegressor),
    "linear": (LogisticRegression, Ridge),
}


def build_pipeline(case: Case, features: FeatureParams, training: TrainingParams, seed: int) -> Pipeline:
    """The pipeline params.yaml asks for, not yet fitted. Raises ConfigError for a setting the estimator lacks."""
    inputs = contract_inputs(case, features)
    fixed: dict[str, Any] = {}
    if training.estimator == "linear":
        encode: Any = _one_hot(inputs)
    elif training.estimator == "random_forest":
        encode, fixed = CategoryCodes(inputs.strings), {"n_jobs": 1}
    else:
        # Early stopping would hold back a random tenth, which on rows ordered in time judges the past by the future.
        texts_first = [*range(len(inputs.strings))]
        encode, fixed = CategoryCodes(inputs.strings), {"early_stopping": False, "categorical_features": texts_first}
    estimator = _estimator(case, training.estimator, {**fixed, **training.settings, "random_state": seed})
    return Pipeline([("inputs", inputs), ("encode", encode), ("model", estimator)])


def _estimator(case: Case, name: str, settings: dict[str, Any]) -> Any:
    chosen = _ESTIMATORS[name][case.problem is Problem.regression]
    unknown = sorted(set(settings) - set(chosen().get_params()))
    if unknown:
        known = ", ".join(sorted(chosen().get_params()))
        raise ConfigError(f"params.yaml: {chosen.__name__} has no setting `{unknown[0]}`; it has {known}.")
    return chosen(**settings)


def _one_hot(inputs: ContractInputs) -> ColumnTransformer:
    numbers = [name for name in inputs.get_feature_names_out() if name not in inputs.strings]
    return ColumnTransformer(
        [
            ("categories", OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20), list(inputs.strings)),
            ("numbers", make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
        ]
    )
