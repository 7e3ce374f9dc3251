"""Intervals around an estimate, from how far earlier estimates were from the truth (split-conformal prediction).

Vovk, Gammerman and Shafer 2005, Algorithmic Learning in a Random World; the residuals are divided by their expected
size first (Lei et al. 2018, JASA 113:1094), because a window, a slice and an hour differ in rows. That size has two
parts: the sampling error that so many rows have, and what windows differ by beyond it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

_FEWEST = 3


@dataclass(frozen=True)
class Residual:
    """Truth less estimate in one window whose labels are in."""

    value: float
    error: float
    """Standard error that the truth of so many rows has by itself."""


@dataclass(frozen=True)
class Reach:
    """How far the truth may be from an estimate."""

    beyond: float
    """Standard deviation of residuals beyond their sampling error."""
    factor: float
    """Largest residual to reckon with, as a multiple of its expected size."""
    confidence: float
    windows: int
    """How many residuals it was learnt from."""

    def around(self, value: float, error: float) -> tuple[float, float]:
        """Low and high, for an estimate whose rows have the sampling error `error`."""
        reach = self.factor * float(np.hypot(self.beyond, error))
        return value - reach, value + reach


def learn(residuals: Sequence[Residual], confidence: float) -> Reach | None:
    """What the residuals say; None if there are fewer than three, who say nothing.

    With n residuals of which the k-th smallest is taken, k = ceil((n + 1) confidence), the truth is covered with at
    least `confidence` if the next window resembles the ones before. Where n is too small for that, the bound is that
    of a normal sample: Student's t with n - 1 degrees of freedom.
    """
    if len(residuals) < _FEWEST:
        return None
    values = np.array([residual.value for residual in residuals])
    errors = np.array([residual.error for residual in residuals])
    beyond = float(np.sqrt(max(np.mean(values**2 - errors**2), 0.0)))
    sizes = np.hypot(beyond, errors)
    relative = np.sort(np.divide(np.abs(values), sizes, out=np.zeros_like(values), where=sizes > 0))
    rank = int(np.ceil((len(relative) + 1) * confidence - 1e-9))
    normal = float(stats.t.ppf(0.5 + confidence / 2, len(relative) - 1))
    factor = float(relative[rank - 1]) if rank <= len(relative) else max(float(relative[-1]), normal)
    return Reach(beyond, factor, confidence, len(residuals))
