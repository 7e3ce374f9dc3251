"""Tests that may be looked at whenever one likes, and as often: their error rate is that of all looks together.

An e-process is a gambler's wealth in a game that is fair, or worse, as long as the hypothesis holds. The chance that it
ever exceeds 1 / alpha is then at most alpha (Ville 1939). Wealth of bets made side by side may be averaged, whatever
the dependence between them: that is how several stakes, columns or alternatives are combined here, instead of by
correcting many p-values. The states are sums of logarithms: they are kept as JSON, and added to each other.

To find a change, a new game is begun at each look, and the wealth of all games is added: the Shiryaev-Roberts sum M.
Without a change it grows by at most one a look, so that P(M >= A within H looks) <= H / A (Shin, Ramdas and Rinaldo
2024, New England Journal of Statistics in Data Science 2:229, "E-detectors").
"""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator
from scipy.special import expit

from configs.errors import EvergreenError
from tasks.evaluation.predictions import Floats
from tasks.records import Interval, Record

_STAKES = 0.96 * 0.5 ** np.arange(12)
"""Bets, as shares of the largest that cannot ruin: 0.96 for what is obvious, 0.0005 for what takes long."""
_RATES = 0.8 * 0.5 ** np.arange(14)
_PART = 100_000


class OutOfBounds(EvergreenError):
    """A value that the test was not made for."""

    def __init__(self, found: float, low: float, high: float) -> None:
        super().__init__(
            f"A sequential test of values from {low:g} to {high:g} was given {found:g}; its error rate holds only "
            "within these bounds. Clip the values before, or start a test with wider bounds."
        )


class _Bounded(Record):
    """Values known to lie in `[low, high]`."""

    low: float
    high: float
    rows: int = 0
    total: float = 0.0

    @model_validator(mode="after")
    def _has_a_width(self) -> Self:
        if not self.low < self.high or not np.isfinite([self.low, self.high]).all():
            raise ValueError(f"values cannot lie in [{self.low}, {self.high}]")
        return self

    @property
    def mean(self) -> float:
        """Mean of the values seen; NaN before the first."""
        return self.total / self.rows if self.rows else float("nan")

    def _scaled(self, values: ArrayLike) -> Floats:
        given = np.asarray(values, dtype=np.float64).ravel()
        wrong = ~((given >= self.low) & (given <= self.high))
        if wrong.any():
            raise OutOfBounds(float(given[wrong][0]), self.low, self.high)
        return (given - self.low) / (self.high - self.low)


class BoundedMeanTest(_Bounded):
    """Tests "each value's mean, given those before it, is at most `threshold`" by betting against it.

    Wealth is the product of `1 + stake * (value - threshold)`, averaged over stakes (Waudby-Smith and Ramdas 2024,
    Journal of the Royal Statistical Society B 86:1). To test "at least", give the negated values, bounds and threshold.
    Paired: give differences.
    """

    threshold: float
    error_rate: float = Field(gt=0, lt=1)
    log_wealth: tuple[float, ...] = (0.0,) * len(_STAKES)
    highest: float = 0.0
    """Largest logarithm of the mean wealth so far."""

    @model_validator(mode="after")
    def _can_be_refuted(self) -> Self:
        if not self.low < self.threshold < self.high:
            raise ValueError(f"the threshold {self.threshold} must lie between {self.low} and {self.high}")
        return self

    def seen(self, values: ArrayLike) -> Self:
        """The test after these values, in the order they came. Raises OutOfBounds."""
        scaled = self._scaled(values)
        wealth, highest = np.array(self.log_wealth), self.highest
        for start in range(0, len(scaled), _PART):
            path = wealth + np.cumsum(_payoffs(scaled[start : start + _PART], self._null), axis=0)
            highest = max(highest, float(_mean_of_logs(path).max()))
            wealth = path[-1]
        rows = self.rows + len(scaled)
        total = self.total + float(np.asarray(values, dtype=np.float64).sum())
        return self.model_copy(
            update={"rows": rows, "total": total, "log_wealth": tuple(wealth.tolist()), "highest": highest}
        )

    @property
    def e_value(self) -> float:
        """The wealth now: evidence against the hypothesis; 1 is none."""
        return float(np.exp(np.minimum(_mean_of_logs(np.array(self.log_wealth)), 700)))

    @property
    def p_value(self) -> float:
        """Anytime-valid: the chance that the wealth ever gets as high as it was."""
        return float(min(1.0, np.exp(-self.highest)))

    @property
    def rejected(self) -> bool:
        """The mean was shown to be above the threshold; once so, always so."""
        return self.highest >= float(-np.log(self.error_rate))

    @property
    def _null(self) -> float:
        return (self.threshold - self.low) / (self.high - self.low)


class ConfidenceSequence(_Bounded):
    """An interval for a mean that covers it at all times at once, with probability `confidence`.

    The empirical-Bernstein e-process `exp(rate * (sum - n * mean) - psi(rate) * spread)` with
    `psi(rate) = -log(1 - rate) - rate` (Howard, Ramdas, McAuliffe and Sekhon 2021, Annals of Statistics 49:1055,
    theorem 4), averaged over rates and solved for the mean. The state is three numbers.
    """

    confidence: float = Field(gt=0, lt=1)
    spread: float = 0.0
    """Sum of squared distances of each value from the mean of those before it, on the scale 0 to 1."""

    def seen(self, values: ArrayLike) -> Self:
        """The sequence after these values, in the order they came. Raises OutOfBounds."""
        scaled = self._scaled(values)
        total, rows = (self.total - self.rows * self.low) / (self.high - self.low), self.rows
        before = total + np.concatenate([[0.0], np.cumsum(scaled)[:-1]]) if len(scaled) else scaled
        expected = (0.5 + before) / (rows + 1 + np.arange(len(scaled)))
        return self.model_copy(
            update={
                "rows": rows + len(scaled),
                "total": self.total + float(np.asarray(values, dtype=np.float64).sum()),
                "spread": self.spread + float(np.square(scaled - expected).sum()),
            }
        )

    @property
    def interval(self) -> Interval:
        """Mean and bounds now; the bounds of the values themselves before the first."""
        width = self.high - self.low
        if not self.rows:
            return Interval(value=self.low + width / 2, low=self.low, high=self.high, confidence=self.confidence)
        mean = (self.mean - self.low) / width
        below, above = mean - self._reach(mean), mean + self._reach(1 - mean)
        return Interval(
            value=self.mean,
            low=self.low + width * max(below, 0.0),
            high=self.low + width * min(above, 1.0),
            confidence=self.confidence,
        )

    def _reach(self, mean: float) -> float:
        """How far below `mean` the truth may lie, found by bisection: the wealth falls as the truth comes nearer."""
        wanted = np.log(2 / (1 - self.confidence))
        cost = (-np.log1p(-_RATES) - _RATES) * self.spread
        near, far = 0.0, mean
        if _mean_of_logs(_RATES * self.rows * far - cost) < wanted:
            return mean
        for _ in range(40):
            middle = (near + far) / 2
            if _mean_of_logs(_RATES * self.rows * middle - cost) < wanted:
                near = middle
            else:
                far = middle
        return far


def restarted(log_sums: Floats, since: Floats, log_ratios: Floats, now: float) -> tuple[Floats, Floats]:
    """One look of Shiryaev-Roberts sums, each with the mean start of the games in it, weighted by their wealth."""
    fresh = expit(-log_sums)
    return np.logaddexp(log_sums, 0.0) + log_ratios, since + (now - since) * fresh


def log_threshold(horizon: int, error_rate: float) -> float:
    """What the logarithm of a (weighted mean of) Shiryaev-Roberts sums must reach: horizon / error_rate."""
    return float(np.log(horizon / error_rate))


def started_anywhere(log_ratios: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """For games that begin at an unknown stretch: each column's log wealth after all, and its most likely start.

    `log_ratios` (stretches, alternatives). A share `f(k) - f(k + 1)` of the money is for a start at stretch k, with
    f(k) = log 2 / log(k + 1), so that it suffices for ever: this is one e-process over the whole life of the stream,
    without a horizon, and rows of an old stretch may still be added when they come late.
    """
    count = len(log_ratios)
    kept = np.log(2) / np.log(np.arange(1, count + 2) + 1)
    suffixes = np.cumsum(log_ratios[::-1], axis=0)[::-1] + np.log(-np.diff(kept))[:, None]
    unspent = np.full((1, log_ratios.shape[1]), np.log(kept[-1]))
    wealth: Floats = np.logaddexp.reduce(np.concatenate([suffixes, unspent]), axis=0)
    best = suffixes.argmax(axis=0) if count else np.zeros(log_ratios.shape[1], dtype=np.intp)
    return wealth, best


def log_ratios_against_band(hits: Floats, alternative: Floats, low: Floats, high: Floats) -> Floats:
    """For each event (1.0 or 0.0) the log likelihood ratio of an alternative against the nearest truth in a band.

    All three are log odds. The exponential has a mean of at most 1 whichever log odds within their bands are true, row
    by row: the ratio is monotone in the event, so its mean is largest at the edge (the reverse information projection
    of Grünwald, de Heide and Koolen 2024, Journal of the Royal Statistical Society B 86:1091).
    """
    sign = np.where(hits > 0.5, -1.0, 1.0)
    null = np.clip(alternative, low, high)
    ratios: Floats = np.logaddexp(0.0, sign * null) - np.logaddexp(0.0, sign * alternative)
    return ratios


def _payoffs(scaled: Floats, null: float) -> Floats:
    """Log of what each value (rows) pays on each stake (columns)."""
    return np.log1p((scaled - null)[:, None] * (_STAKES / null))


def _mean_of_logs(logs: Floats) -> Floats:
    """Log of the mean of the exponentials along the last axis."""
    mean: Floats = np.logaddexp.reduce(logs, axis=-1) - np.log(logs.shape[-1])
    return mean
