"""Concept drift: whether what happens, given the score, is still what the reference says.

A flow of labels is watched by e-processes, one for each way the world may have changed: events more or less frequent
than the scores promise, scores that rank worse, not at all, or upside down. A change of the inputs alone leaves all of
them where they are: "this week is harder" is no change of concept. They are averaged, and the average exceeds 1 / alpha
with chance at most alpha over the champion's whole life, however often one looks (`tasks/monitoring/sequential.py`).

The rows are added up by the stretch of time they were answered in, so a label may come as late as it likes, as long as
its delay does not depend on it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import logsumexp

from tasks.evaluation.predictions import Floats
from tasks.monitoring.sequential import log_ratios_against_band, started_anywhere
from tasks.outcomes.calibration import Calibration, Groups, ranked_pairs

_MOVES = (-1.0, -0.5, 0.0, 0.5, 1.0)
_SLOPES = (1.0, 0.5, 0.0, -1.0)
_FINE = ((-0.25, 1.0), (0.25, 1.0), (0.0, 0.75))
_CHANGES = tuple((move, slope) for move in _MOVES for slope in _SLOPES if (move, slope) != (0.0, 1.0)) + _FINE
"""Cox's recalibrations (1958, Biometrika 45:562): log odds moved by the first, and stretched by the second number."""
_RANKS = (0.75, 0.5, 0.25, 0.0, -1.0)

Kind = Literal["rows", "pairs"]


@dataclass(frozen=True)
class Change:
    """One way the world may have changed."""

    event: str
    kind: Kind
    move: float
    slope: float

    @property
    def text(self) -> str:
        if self.slope < 0:
            how = "the scores rank upside down"
        elif self.slope == 0:
            how = "the scores say nothing any more"
        elif self.slope < 1:
            how = "the scores rank worse"
        else:
            return f"{self.event} is {'more' if self.move > 0 else 'less'} frequent than the scores promise"
        if self.move:
            how += f", and {self.event} is {'more' if self.move > 0 else 'less'} frequent"
        return how


@dataclass(frozen=True)
class Events:
    """What happened to rows, in the order they were answered: 1.0, 0.0, or NaN where no label is known yet."""

    name: str
    scores: Floats
    hits: Floats
    expected: Calibration

    def changes(self) -> tuple[Change, ...]:
        return changes_of(self.name, self.expected)

    def log_ratios(self, stretches: Groups, count: int) -> Floats:
        """Log likelihood ratios (stretches, changes) against the nearest truth the reference allows, summed."""
        ratios = self._of_rows(stretches, count)
        return np.concatenate([ratios, self._of_pairs(stretches, count)], axis=1) if self.expected.follows else ratios

    def _of_rows(self, stretches: Groups, count: int) -> Floats:
        told = ~np.isnan(self.hits)
        hits, scores, where = self.hits[told], self.scores[told], stretches[told]
        logits, reach, pivot = self.expected.logits(scores), self.expected.reach(scores), self.expected.pivot
        return _summed(
            hits,
            [pivot + move + slope * (logits - pivot) for move, slope in _changes(self.expected)],
            (logits - reach, logits + reach),
            where,
            count,
        )

    def _of_pairs(self, stretches: Groups, count: int) -> Floats:
        pairs = ranked_pairs(self.expected.logits(self.scores), self.hits, stretches)
        wavers = self.expected.reach_apart(self.scores[pairs.rows], self.scores[pairs.rows + 1])
        return _summed(
            pairs.hits,
            [slope * pairs.gap for slope in _RANKS],
            (pairs.gap - wavers, pairs.gap + wavers),
            stretches[pairs.rows],
            count,
        )


def changes_of(event: str, expected: Calibration) -> tuple[Change, ...]:
    """The ways an event is watched for, in the order of its `log_ratios`."""
    rows = tuple(Change(event, "rows", *change) for change in _changes(expected))
    pairs = tuple(Change(event, "pairs", 0.0, slope) for slope in _RANKS) if expected.follows else ()
    return rows + pairs


@dataclass(frozen=True)
class ConceptTest:
    """What the labels so far say."""

    log_e: float
    """Logarithm of the evidence against "nothing has changed"."""
    log_threshold: float
    labels: int
    change: Change | None
    """The way that explains the labels best; None without labels."""
    began: int
    """The stretch in which it began, if it did."""

    @property
    def alarm(self) -> bool:
        return self.log_e >= self.log_threshold


def concept_test(streams: tuple[Events, ...], stretches: Groups, error_rate: float) -> ConceptTest:
    """The test over all labels so far; `stretches` numbers the stretch of time, from 0, each row was answered in."""
    count = int(stretches.max()) + 1 if len(stretches) else 0
    ratios = [stream.log_ratios(stretches, count) for stream in streams]
    changes = [change for stream in streams for change in stream.changes()]
    return settle(np.concatenate(ratios, axis=1), changes, _labels(streams), error_rate)


def settle(log_ratios: Floats, changes: list[Change], labels: int, error_rate: float) -> ConceptTest:
    """The answer from sums (stretches, changes): each stream's kinds get an equal share of the money."""
    wealth, starts = started_anywhere(log_ratios)
    kinds = [(change.event, change.kind) for change in changes]
    weights = np.array([1 / (len(set(kinds)) * kinds.count(kind)) for kind in kinds])
    best = int(np.argmax(wealth + np.log(weights)))
    return ConceptTest(
        log_e=float(logsumexp(wealth, b=weights)),
        log_threshold=float(-np.log(0.9 * error_rate)),
        labels=labels,
        change=changes[best] if labels else None,
        began=int(starts[best]),
    )


def _labels(streams: tuple[Events, ...]) -> int:
    return max((int((~np.isnan(stream.hits)).sum()) for stream in streams), default=0)


def _changes(expected: Calibration) -> tuple[tuple[float, float], ...]:
    if expected.follows:
        return _CHANGES
    return tuple((move, 1.0) for move in (-1.0, -0.5, -0.25, 0.25, 0.5, 1.0))


def _summed(hits: Floats, alternatives: list[Floats], band: tuple[Floats, Floats], where: Groups, count: int) -> Floats:
    sums = [
        np.bincount(where, weights=log_ratios_against_band(hits, alternative, *band), minlength=count)
        for alternative in alternatives
    ]
    return np.array(sums, dtype=np.float64).T.reshape(count, len(alternatives))
