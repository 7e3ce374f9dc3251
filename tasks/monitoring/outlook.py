"""What a window's performance is expected to be, with its interval, from what earlier windows taught."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from scipy import stats

from tasks.monitoring.conformal import Reach, learn
from tasks.monitoring.correction import Correction, Past, learn_correction
from tasks.monitoring.estimate import BETTER_WHEN_LOWER, Expected, Judged, past_of, usual

REMEMBERED = 26
"""Windows whose labels are in, that teach beside those of the reference."""
LIKELY = 0.25
"""From this chance on that performance has fallen by what is tolerated, the estimate is an alarm."""


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
    reach: Reach

    def see(self, mean_score: float, now: Expected) -> Foreseen:
        """What `now`, an estimate before correction, comes to."""
        value = self.correction(mean_score, now.value)
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
    correction = learn_correction([*past_of(judged, metric), *(one.past for one in came)])
    reach = learn(correction.residuals, confidence)
    before = usual(judged).get(metric)
    return None if reach is None or before is None else Outlook(metric, before, tolerated, correction, reach)


def apart(came: Sequence[CameTrue]) -> list[CameTrue]:
    """The newest windows that do not overlap, the oldest first: others would say the same twice."""
    taken: list[CameTrue] = []
    for one in sorted(came, key=lambda one: one.end, reverse=True):
        if len(taken) < REMEMBERED and (not taken or one.end <= taken[-1].start):
            taken.append(one)
    return taken[::-1]
