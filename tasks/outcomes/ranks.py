"""Whether the scores still rank within a slice: how steep what happens is in them, however often it happens there.

Where the rate of a slice wavers from week to week, half of its outcomes may be turned around and the rate, and with it
the loss, stay within what is usual. What is lost is the order. So the level of a slice is fitted, day by day, and only
the slope is asked: Cox's second recalibration (1958, Biometrika 45:562), by its score test.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from scipy.special import expit, logit, ndtri_exp

from tasks.evaluation.predictions import Floats
from tasks.monitoring.wavering import excess
from tasks.outcomes.calibration import DUST, Groups
from tasks.outcomes.tail import Sums, log_upper_tail

_TURNS, _FARTHEST, _NEAR_ENOUGH = 12, 30.0, 1e-9
_FLATTEST = 0.1
"""A slice that never ranked is taken to have ranked a little: there is no order to lose."""
_FEWEST_ROWS = 8
"""Of a slice on one day."""
_LEAST_KNOWN = 1.0
"""A slope that is known no better than to within 1 is not asked for."""


@dataclass(frozen=True)
class Cells:
    """What happened, by group (rows of the arrays) and bin of the score."""

    rows: Floats
    chances: Floats
    """Of an event, as what all rows have in common says."""
    events: Floats

    @property
    def odds(self) -> Floats:
        return np.asarray(logit(np.clip(self.chances, 1e-9, 1 - 1e-9)), dtype=np.float64)

    def enough(self) -> "Cells":
        """Without groups of so few rows that their own level cannot be told."""
        enough = self.rows.sum(axis=1, keepdims=True) >= _FEWEST_ROWS
        return replace(self, rows=self.rows * enough, events=self.events * enough)


@dataclass(frozen=True)
class Slopes:
    """How steep slices usually are, and what they may differ by without any change."""

    usual: Floats
    unsure: Floats
    """Variance, for what the reference is too small to know."""
    wavers: float
    """Variance of slices from batch to batch, beyond chance."""
    of_a_day: float
    """Variance of days beside their batch: a slice of one day has all of it, one spread over a week a seventh."""
    freedom: int
    """How many batches less one tell of the two."""

    @classmethod
    def unknown(cls, slices: int) -> "Slopes":
        """Each slice is taken to be as steep as all rows are."""
        return cls(np.ones(slices), np.zeros(slices), 0.0, 0.0, 1)


@dataclass(frozen=True)
class Seen:
    """Slices in batches of the reference: how much steeper than all rows, times what is known of it; and that."""

    slices: Groups
    """Which slice each is of."""
    surprise: Floats
    known: Floats

    @classmethod
    def of(cls, days: Cells, batches: Groups, slices: Groups) -> "Seen":
        """`days` has slices day by day; of these, `batches` and `slices` number the batch and the slice."""
        found = _fitted(days.enough(), np.ones(len(slices)))
        count = int(slices.max()) + 1 if len(slices) else 1
        there, places = np.unique(batches * count + slices, return_inverse=True)
        return cls(there % count, _sums(places, found.surprise, len(there)), _sums(places, found.known, len(there)))


def spread_of(columns: Sequence[Seen]) -> float:
    """Variance of slopes from batch to batch, over the slices of all columns: one alone has too few to tell."""
    if not columns:
        return 0.0
    return excess(np.concatenate([one.surprise for one in columns]), np.concatenate([one.known for one in columns]))


def learn(seen: Seen, count: int, spread: float, of_a_day: float, batches: int) -> Slopes:
    """The slopes of `count` slices of one column; `spread` is the least that slices are taken to waver."""
    known, off = (_sums(seen.slices, values, count) for values in (seen.known, seen.surprise))
    # A slice the reference hardly has is taken to be as steep as the others are.
    alike = 1 / max(excess(off, known), DUST**2)
    off = off / (known + alike)
    wavers = max(excess(seen.surprise - off[seen.slices] * seen.known, seen.known), spread)
    return Slopes(np.maximum(1 + off, _FLATTEST), 1 / (known + alike), wavers, of_a_day, max(batches - 1, 1))


def _sums(places: Groups, values: Floats, count: int) -> Floats:
    return np.bincount(places, weights=values, minlength=count).astype(np.float64)


@dataclass(frozen=True)
class Window:
    """Slices of a window, day by day."""

    days: Cells
    """(slices x days, bins)."""
    slices: int

    def newest_half(self) -> "Window":
        """Its newer days alone."""
        count = len(self.days.rows) // self.slices
        kept = np.tile(np.arange(count) >= count - max(count // 2, 1), self.slices)[:, None]
        return replace(self, days=replace(self.days, rows=self.days.rows * kept, events=self.days.events * kept))

    def log_p_flatter(self, slopes: Slopes) -> Floats:
        """Logarithm of the chance that a slice of unchanged slope looks as flat, or as much upside down, as this."""
        days = self.days.enough()
        fitted = _fitted(days, self._of_days(slopes.usual - DUST))
        known_days = fitted.known.reshape(self.slices, -1)
        known = known_days.sum(axis=1)
        sums = Sums(*(self._flat(values) for values in (days.rows, fitted.chances, -fitted.apart)))
        log_p = log_upper_tail(sums, (self._flat(days.events) * sums.weights).sum(axis=1), counts=False)
        asked = (log_p < np.log(0.5)) & (known >= _LEAST_KNOWN)
        chance = 1 / np.maximum(known, _LEAST_KNOWN)
        wavers = slopes.wavers + slopes.of_a_day * np.square(known_days).sum(axis=1) * np.square(chance)
        variance = chance + slopes.unsure + wavers
        # What the tail says of chance alone, in standard deviations, is that much less of all that may differ.
        deviations = -ndtri_exp(np.minimum(log_p, -1e-12)) * np.sqrt(chance / variance)
        # Few batches tell how much slopes waver (Satterthwaite 1946, Biometrics Bulletin 2:110).
        freedom = slopes.freedom * np.square(variance / np.maximum(wavers, 1e-9))
        result: Floats = np.where(asked, stats.t.logsf(deviations, np.minimum(freedom, 1e6)), 0.0)
        return result

    def steepness(self, slopes: Slopes) -> Floats:
        """How steep each slice is, as a share of what is usual: 1 is as usual, 0 no order, below 0 upside down."""
        fitted = _fitted(self.days.enough(), self._of_days(slopes.usual))
        surprise, known = (self._flat(values).sum(axis=1) for values in (fitted.surprise, fitted.known))
        found: Floats = 1 + surprise / np.maximum(known, _LEAST_KNOWN) / slopes.usual
        return found

    def _of_days(self, values: Floats) -> Floats:
        return np.repeat(values, len(self.days.rows) // self.slices)

    def _flat(self, values: Floats) -> Floats:
        return values.reshape(self.slices, -1)


@dataclass(frozen=True)
class _Fitted:
    """Slices with their own level, at a given slope."""

    chances: Floats
    apart: Floats
    """Log odds of each cell beside the slice's middle."""
    surprise: Floats
    """The score: above 0 where the slice is steeper."""
    known: Floats
    """Its information, 1 / variance of the slope."""


def _fitted(cells: Cells, slopes: Floats) -> _Fitted:
    odds, events = cells.odds, cells.events
    level = np.zeros(len(odds))
    for _ in range(_TURNS):
        chances = expit(level[:, None] + slopes[:, None] * odds)
        weight = (cells.rows * chances * (1 - chances)).sum(axis=1)
        missing = (events - cells.rows * chances).sum(axis=1)
        step = np.clip(missing / np.maximum(weight, 1e-9), -2, 2)
        level = np.clip(level + step, -_FARTHEST, _FARTHEST)
        if np.abs(step).max(initial=0.0) < _NEAR_ENOUGH:
            break
    chances = expit(level[:, None] + slopes[:, None] * odds)
    weights = cells.rows * chances * (1 - chances)
    middle = (weights * odds).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-12)
    apart = odds - middle[:, None]
    return _Fitted(
        chances=chances,
        apart=apart,
        surprise=((events - cells.rows * chances) * apart).sum(axis=1),
        known=(weights * np.square(apart)).sum(axis=1),
    )
