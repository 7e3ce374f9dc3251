"""What a window's performance is expected to be, with its interval, from what earlier windows taught."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from scipy import stats

from tasks.monitoring.conformal import Reach, learn
from tasks.monitoring.correction import Correction, Past, learn_correction
from tasks.monitoring.estimate import BETTER_WHEN_LOWER, Expected, Judged, past_of, usual

REMEMBERED = 26
"""Windows whose labels are in, that teach beside those of the reference."""
_FADES = 0.7
"""What a window's error counts for beside that of the window after it, if both are asked what the next will be."""
_NOTHING_LATELY = 4.0
"""Windows without an error that are reckoned in before any came true."""


@dataclass(frozen=True)
class CameTrue:
    """An estimate of an earlier window, and what its labels said."""

    start: datetime
    end: datetime
    past: Past
    told: float
    """As it was told, corrected."""
    low: float | None
    high: float | None

    @property
    def held(self) -> bool:
        """Whether its interval held the truth."""
        return self.low is not None and self.high is not None and self.low <= self.past.realised <= self.high


@dataclass(frozen=True)
class Foreseen:
    """One metric of a window."""

    value: float
    low: float
    high: float
    chance_of_loss: float
    """That the truth is worse than the reference by what is tolerated, or more."""


@dataclass(frozen=True)
class Outlook:
    """One metric, and what is known of estimates of it."""

    metric: str
    before: float
    """Its mean over the windows of the reference."""
    tolerated: float
    """The loss that is an alarm: so much of a fall, or of a rise as a share."""
    correction: Correction
    lately: float
    """What estimates were too low by in the windows that came true last: what they missed does not end at once."""
    reach: Reach

    def see(self, mean_score: float, now: Expected) -> Foreseen:
        """What `now`, an estimate before correction, comes to."""
        value = self.correction(mean_score, now.value) + self.lately
        low, high = self.reach.around(value, now.error)
        return Foreseen(value, low, high, self._chance(value, now.error))

    def _chance(self, value: float, error: float) -> float:
        """By Student's t around the estimate."""
        lower = self.metric in BETTER_WHEN_LOWER
        limit = self.before * (1 + self.tolerated) if lower else self.before - self.tolerated
        beyond = (value - limit) if lower else (limit - value)
        size = float(np.hypot(self.reach.beyond, error))
        return float(stats.t.cdf(beyond / size, self.reach.windows - 1)) if size else float(beyond >= 0)


def look_out(
    metric: str, judged: list[Judged], came: Sequence[CameTrue], tolerated: float, confidence: float
) -> Outlook | None:
    """The outlook for a metric; None where fewer than three windows say how far an estimate is from the truth."""
    past = [*past_of(judged, metric), *(one.past for one in came)]
    correction = learn_correction(past)
    live = len(past) - len(came)
    before, lately = _smoothed([one.value for one in correction.residuals[live:]])
    missed = [
        replace(one, value=one.value - less) for one, less in zip(correction.residuals[live:], before, strict=True)
    ]
    reach = learn([*correction.residuals[:live], *missed], confidence)
    reference = usual(judged).get(metric)
    if reach is None or reference is None:
        return None
    return Outlook(metric, reference, tolerated, correction, lately, reach)


def _smoothed(errors: Sequence[float]) -> tuple[list[float], float]:
    """What was to be expected of each error by those before it, and of the next (exponential smoothing; Brown 1959)."""
    expected, total, counted = [0.0], 0.0, 0.0
    for error in errors:
        total, counted = _FADES * total + error, _FADES * counted + 1
        expected.append(total / (counted + _NOTHING_LATELY))
    return expected[:-1], expected[-1]


def apart(came: Sequence[CameTrue]) -> list[CameTrue]:
    """The newest windows that do not overlap, the oldest first: others would say the same twice."""
    taken: list[CameTrue] = []
    for one in sorted(came, key=lambda one: one.end, reverse=True):
        if len(taken) < REMEMBERED and (not taken or one.end <= taken[-1].start):
            taken.append(one)
    return taken[::-1]
