"""From scores to answers where scikit-learn leaves that to numpy: the same calls on arrays laid out alike.

numpy's exponential has other last bits than C's, and it adds up a row in an order that follows from how it lies in
memory.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from serving.engine.errors import CannotScore
from serving.engine.kernel import CLink, kernel
from serving.engine.structure import Calibrator, Isotonic, Structure

Array = np.ndarray[Any, np.dtype[Any]]
Finish = Callable[[Array], Array]
"""From scores (outputs, n) to answers (n,) or (n, classes)."""


def finish(structure: Structure) -> Finish:
    """What is still to do with the scores of this plan."""
    if structure.calibrators:
        return partial(_calibrated, structure.calibrators)
    if structure.finish == "softmax":
        return partial(_softmax, by_row=structure.by == "row")
    if structure.finish == "exponential":
        return lambda scores: np.exp(scores[0])
    return lambda scores: scores[0] if len(scores) == 1 else scores.T


def _softmax(scores: Array, *, by_row: bool) -> Array:
    x: Array = np.ascontiguousarray(scores.T) if by_row else scores.T
    x -= np.max(x, axis=1).reshape(-1, 1)
    np.exp(x, out=x)
    x /= np.sum(x, axis=1).reshape(-1, 1)
    return x


def _calibrated(calibrators: Sequence[Calibrator], scores: Array) -> Array:
    found: Array = np.stack([_calibrate(one, series) for one, series in zip(calibrators, scores, strict=True)], axis=1)
    if len(calibrators) > 1:
        total = np.sum(found, axis=1)[:, np.newaxis]
        found = np.divide(found, total, out=np.full_like(found, 1 / len(calibrators)), where=total != 0)
    found[(found > 1.0) & (found <= 1.0 + 1e-5)] = 1.0
    return found if len(calibrators) > 1 else found[:, 0]


def _calibrate(calibrator: Calibrator, scores: Array) -> Array:
    if isinstance(calibrator, Isotonic):
        return _between(calibrator, scores)
    found = -(calibrator.slope * scores + calibrator.offset)
    kernel().answer_all(CLink(logistic=1), found.ctypes.data, len(found))
    return found


def _between(calibrator: Isotonic, scores: Array) -> Array:
    if not np.isfinite(scores).all():
        raise CannotScore(int(np.argmin(np.isfinite(scores))))
    if len(calibrator.y) == 1:
        return np.repeat(np.array(calibrator.y), len(scores))
    found: Array = np.interp(np.clip(scores, calibrator.x[0], calibrator.x[-1]), calibrator.x, calibrator.y)
    return found
