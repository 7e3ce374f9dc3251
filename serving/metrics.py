"""What a worker counts: cheap to add to, and summed over workers when it is asked for."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from configs.case import Problem
from serving.records import Part, Role, Scores

LATENCY_BOUNDS = tuple(20e-6 * 1.12**step for step in range(126))
"""Seconds, 20 µs to 28 s; each bound is 12 % above the one before, so a quantile is off by at most 6 %."""
PROBABILITY_BOUNDS = tuple(step / 20 for step in range(1, 21))
NUMBER_BOUNDS = (
    *(-(10 ** (step / 3)) for step in range(24, -7, -1)),
    0.0,
    *(10 ** (step / 3) for step in range(-6, 25)),
)
BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

Labels = tuple[str, ...]


class Histogram:
    """Counts between bounds; two of the same bounds add up."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def add_all(self, values: Sequence[float]) -> None:
        for value in values:
            self.counts[bisect_left(self.bounds, value)] += 1
        self.total += sum(values)

    def merge(self, counts: Sequence[int], total: float) -> None:
        """Add what another process counted between the same bounds."""
        self.counts = [mine + other for mine, other in zip(self.counts, counts, strict=True)]
        self.total += total


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """The upper bound of the bucket in which `share` of the values is reached; None without values."""
    wanted, seen = share * sum(counts), 0
    if not wanted:
        return None
    for bound, count in zip((*bounds, bounds[-1]), counts, strict=True):
        seen += count
        if seen >= wanted:
            return bound
    return bounds[-1]


class ArmCounts:
    """What one version answered in one role."""

    __slots__ = ("answers", "latency", "predictions", "rows")

    def __init__(self, problem: Problem) -> None:
        self.answers = 0
        self.rows = 0
        self.latency = Histogram(LATENCY_BOUNDS)
        self.predictions = Histogram(PROBABILITY_BOUNDS if problem.gives_probabilities else NUMBER_BOUNDS)

    def add(self, seconds: float, rows: int, scores: Scores, answers: int = 1) -> None:
        """Answers, each of which took `seconds` from the first byte read to the last byte written."""
        self.answers += answers
        self.rows += rows
        self.latency.add(seconds, answers)
        self.predictions.add_all([one if isinstance(one, float) else max(one) for one in scores])


@dataclass(slots=True)
class Metrics:
    """Everything one worker has counted since it started."""

    problems: Mapping[str, Problem]
    requests: defaultdict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    """By case, protocol and HTTP status."""
    refused: defaultdict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    """By case and the error's code."""
    fields_refused: defaultdict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    """Rows refused, by case and contract column."""
    fallbacks: defaultdict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    """Rows answered by another than the first choice, by case and why."""
    shadow_dropped: defaultdict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    swaps: defaultdict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    """Models taken into service (`taken`) or refused at loading (`refused`), by case."""
    arms: dict[Labels, ArmCounts] = field(default_factory=dict)
    """By case, version and role."""
    batches: dict[Labels, Histogram] = field(default_factory=dict)
    """Rows in a micro-batch, by case."""
    in_flight: int = 0

    def answered(self, case: str, parts: Sequence[Part], count: int, seconds: float) -> None:
        """Count an answer, under each version that had a part in it."""
        for part in parts:
            rows = count if part.rows is None else len(part.rows)
            self.arm(case, part.version, part.role).add(seconds, rows, part.scores)
            if part.fallback:
                self.fallbacks[case, part.fallback] += rows

    def arm(self, case: str, version: str | None, role: Role) -> ArmCounts:
        labels = (case, version or "none", role.value)
        found = self.arms.get(labels)
        if found is None:
            found = self.arms[labels] = ArmCounts(self.problems[case])
        return found

    def batch(self, case: str, rows: int) -> None:
        self.batches.setdefault((case,), Histogram(BATCH_BOUNDS)).add(rows)

    def snapshot(self) -> dict[str, Any]:
        """Everything as JSON values, for `exposition` to add up over the workers."""
        counters = ("requests", "refused", "fields_refused", "fallbacks", "shadow_dropped", "swaps")
        return {
            "counters": {name: [[*labels, n] for labels, n in getattr(self, name).items()] for name in counters},
            "arms": [
                [*labels, arm.answers, arm.rows, *(_plain(arm.latency)), *(_plain(arm.predictions))]
                for labels, arm in self.arms.items()
            ],
            "batches": [[*labels, *_plain(histogram)] for labels, histogram in self.batches.items()],
            "in_flight": self.in_flight,
        }


def _plain(histogram: Histogram) -> tuple[list[int], float]:
    return list(histogram.counts), histogram.total
