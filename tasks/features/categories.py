"""From model inputs to the numbers that trees take: the second step of their pipelines."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import OrdinalEncoder
from sklearn.utils.validation import check_is_fitted

_MOST_CATEGORIES = 254
"""Gradient boosting takes at most 255 categories, one of which stands for the rare ones."""


class CategoryCodes(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn ships no types
    """Takes a table of inputs and gives float64 numbers, in its order: the code of each text, the rest as it is.

    A missing text, and one that no row of training had, is NaN. The codes are those of scikit-learn's encoder; looking
    them up takes a twentieth of the time that it takes for one row, which is what a user sends.
    """

    def __init__(self, strings: list[str]) -> None:
        self.strings = strings

    def fit(self, inputs: pd.DataFrame, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learn the texts, and which of them are too rare for a code of their own."""
        self.feature_names_in_ = np.array(inputs.columns, dtype=object)
        self.encoder_ = OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=np.nan,
            encoded_missing_value=np.nan,
            max_categories=_MOST_CATEGORIES,
        )
        if self.strings:
            self.encoder_.fit(inputs[self.strings])
        return self

    def transform(self, inputs: pd.DataFrame) -> np.ndarray:
        """The numbers, one column for each input."""
        check_is_fitted(self)
        codes = self._known()
        numbers = np.empty((len(inputs), len(self.feature_names_in_)))
        for place, name in enumerate(self.feature_names_in_):
            column = inputs[name].to_numpy()
            known = codes.get(name)
            numbers[:, place] = column if known is None else [known.get(text, np.nan) for text in column]
        return numbers

    def get_feature_names_out(self, _names: object = None) -> np.ndarray:
        """Names of the numbers, in order."""
        return self.feature_names_in_

    def _known(self) -> dict[str, dict[Any, float]]:
        """For each text column the code of each text, asked of the encoder once."""
        found: dict[str, dict[Any, float]] | None = getattr(self, "_codes", None)
        if found is None:
            found = self._codes = {name: self._asked(place) for place, name in enumerate(self.strings)}
        return found

    def _asked(self, place: int) -> dict[Any, float]:
        texts = self.encoder_.categories_[place]
        rows = np.full((len(texts), len(self.strings)), np.nan, dtype=object)
        rows[:, place] = texts
        codes = self.encoder_.transform(pd.DataFrame(rows, columns=self.strings, dtype=object))[:, place]
        return dict(zip(texts.tolist(), codes.tolist(), strict=True))

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_codes"}
