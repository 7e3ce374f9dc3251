"""Linear models over dense inputs: the same matrix, multiplied by the same BLAS that scikit-learn uses."""

from typing import Any, Literal

import numpy as np

from serving.engine.errors import CannotScore, PlanCorrupt
from serving.engine.kernel import CLink, kernel
from serving.engine.scoring import HOT, MISSING, TERM, Arrays, Scorer
from serving.engine.structure import Link

Array = np.ndarray[Any, np.dtype[Any]]


class Product(Scorer):
    """A row's last bits depend on how many rows it is scored with, here as in the pipeline itself: BLAS works so."""

    def __init__(self, arrays: Arrays, inputs: int, outputs: int, link: Link) -> None:
        super().__init__(outputs)
        if not {"term", "coefficients", "intercept", "by_column"} <= set(arrays) or arrays["term"].dtype != TERM:
            raise PlanCorrupt("a part of a linear model is missing")
        self._terms = arrays["term"].tolist()
        self._coefficients, self._intercept = arrays["coefficients"], arrays["intercept"]
        self._order: Literal["C", "F"] = "F" if arrays["by_column"].any() else "C"
        self._width = self._coefficients.shape[-1]
        self._link = CLink(*link.model_dump().values())
        if any(not self._fits(term, inputs) for term in self._terms):
            raise PlanCorrupt("a term of a linear model lies outside")

    def many(self, x: Array) -> Array:
        scores = self._matrix(x) @ self._coefficients.T + self._intercept
        out = np.ascontiguousarray(scores.reshape(x.shape[1], self.outputs).T)
        kernel().answer_all(self._link, out.ctypes.data, out.size)
        return out

    def _fits(self, term: tuple[Any, ...], inputs: int) -> bool:
        _, column, first, count, *_ = term
        return bool(0 <= column < inputs and 0 <= first <= first + count <= self._width)

    def _matrix(self, x: Array) -> Array:
        matrix: Array = np.zeros((x.shape[1], self._width), order=self._order)
        for kind, column, first, count, fill, mean, scale in self._terms:
            values = x[column]
            if kind == HOT:
                known = np.flatnonzero((values >= 0) & (values < count))
                matrix[known, first + values[known].astype(np.intp)] = 1.0
                continue
            values = np.isnan(values) if kind == MISSING else np.where(np.isnan(values), fill, values)
            with np.errstate(over="ignore"):
                matrix[:, first] = (values - mean) / scale
        refused = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
        if len(refused):
            raise CannotScore(int(refused[0]))
        return matrix
