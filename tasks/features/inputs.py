"""From contract columns to model inputs: the first step of every pipeline, so serving cannot do it differently."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from configs.case import Case, ColumnType
from configs.errors import ConfigError
from configs.params import FeatureParams

_PARTS = {
    "minute_of_day": lambda time: time.hour * 60 + time.minute,
    "hour": lambda time: time.hour,
    "weekday": lambda time: time.dayofweek,
    "day_of_month": lambda time: time.day,
    "day_of_year": lambda time: time.dayofyear,
    "month": lambda time: time.month,
}


class ContractInputs(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn ships no types
    """Takes the contract's feature columns and gives strings as text, the rest as float64, times as calendar parts.

    A row gives the same inputs whether it comes alone as JSON integers or in a table of floats. A missing column
    raises ValueError; other columns are dropped. An input that had no value in any row of training is 0 ever after:
    a model can learn nothing from it, and gradient boosting would refuse to.
    """

    def __init__(self, strings: list[str], numbers: list[str], calendar: dict[str, list[str]]) -> None:
        self.strings = strings
        self.numbers = numbers
        self.calendar = calendar

    def fit(self, frame: pd.DataFrame, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learn nothing but the columns, and which of them are empty."""
        self.feature_names_in_ = np.array([*self.strings, *self.numbers, *self.calendar], dtype=object)
        self.empty_: list[str] = []
        inputs = self.transform(frame).drop(columns=self.strings)
        self.empty_ = [str(name) for name in inputs if inputs[name].isna().all()]
        return self

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A new frame of model inputs with the index of `frame`."""
        check_is_fitted(self)
        missing = [name for name in self.feature_names_in_ if name not in frame]
        if missing:
            raise ValueError(f"columns are missing: {', '.join(missing)}")
        # Arrays of one kind at a time: of one row, which is what a user sends, pandas would take longer than a model.
        texts = {name: _text(frame[name]) for name in self.strings}
        numbers: dict[str, Any] = {name: _number(frame[name]) for name in self.numbers}
        for name, parts in self.calendar.items():
            time = _time(frame[name])
            numbers |= {f"{name}_{part}": _PARTS[part](time).astype("float64") for part in parts}
        numbers |= dict.fromkeys(self.empty_, 0.0)
        tables = [pd.DataFrame(texts, frame.index, dtype=object), pd.DataFrame(numbers, frame.index)]
        return pd.concat(tables, axis=1) if texts else tables[1]

    def get_feature_names_out(self, _names: object = None) -> np.ndarray:
        """Names of the model inputs, in order."""
        parts = [f"{name}_{part}" for name, parts in self.calendar.items() for part in parts]
        return np.array([*self.strings, *self.numbers, *parts], dtype=object)


def _time(values: pd.Series) -> Any:
    # Told nothing, pandas takes the format of the first text for all: 02:00:00 beside 02:00:00.5 would raise.
    return (values if values.dtype.kind == "M" else pd.to_datetime(values, format="ISO8601")).array


def _number(values: pd.Series) -> np.ndarray:
    return (values if values.dtype == np.float64 else values.astype("float64")).to_numpy()


def _text(values: pd.Series) -> np.ndarray:
    texts = values.to_numpy(dtype=object)
    return np.where(pd.isna(texts), np.nan, texts)


def used_features(case: Case, features: FeatureParams) -> tuple[str, ...]:
    """The contract columns this model takes, in the contract's order. Raises ConfigError for one it does not have."""
    for name in features.leave_out:
        if name not in case.contract.features:
            raise ConfigError(f"params.yaml: `{case.name}.features.leave_out` names `{name}`, which is no feature.")
    return tuple(name for name in case.contract.features if name not in features.leave_out)


def contract_inputs(case: Case, features: FeatureParams) -> ContractInputs:
    """The first step of the case's pipeline, not yet fitted. Raises ConfigError for a calendar of what is no time."""
    used = used_features(case, features)
    times = [name for name in case.contract.features if case.contract.columns[name].type is ColumnType.timestamp]
    for entry in features.calendar:
        if entry.column not in times:
            raise ConfigError(
                f"params.yaml: `{case.name}.features.calendar` names `{entry.column}`, which is no timestamp feature."
            )
    kinds = {name: case.contract.columns[name].type for name in used}
    parts: dict[str, list[str]] = {entry.column: [*entry.parts] for entry in features.calendar if entry.column in used}
    return ContractInputs(
        strings=[name for name in used if kinds[name] is ColumnType.string],
        numbers=[name for name in used if kinds[name] not in (ColumnType.string, ColumnType.timestamp)],
        calendar={name: parts.get(name, ["hour", "weekday"]) for name in used if kinds[name] is ColumnType.timestamp},
    )
