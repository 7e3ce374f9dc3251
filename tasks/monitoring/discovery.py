"""One error rate for a scan, split between its parts, and control of false discoveries over the columns.

Where nothing drifted, Benjamini and Hochberg's procedure (1995, JRSS B 57:289) alarms at all with at most its rate;
where something did, at most that share of the columns it names is wrong. The parts' rates add up to no more than the
scan's.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Split:
    """The error rate of each part of a scan."""

    columns: float
    pairs: float
    together: float

    @classmethod
    def of(cls, error_rate: float) -> "Split":
        """Most of it for the columns one by one, where drift usually is; a tenth is kept for approximate p-values."""
        return cls(0.58 * error_rate, 0.16 * error_rate, 0.16 * error_rate)


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Each p-value so that it may be compared with the rate itself: the smallest rate at which it is a discovery."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index], reverse=True)
    told = [1.0] * len(p_values)
    least = 1.0
    for place, index in enumerate(order):
        least = min(least, p_values[index] * len(p_values) / (len(p_values) - place))
        told[index] = least
    return told
