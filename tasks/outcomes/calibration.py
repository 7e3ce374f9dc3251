"""What chance the reference gives an event, given the score; how sure it is, and how much that usually wavers.

A line through the score's log odds, and around it bins of the score, moved as far as they differ from the line for
certain. Around that lies a band, made of three parts: dust; what the reference is too small to know (robust to rows of
one batch resembling each other); and how far whole batches of the reference were off. A change within it is no change.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logit

from tasks.evaluation.predictions import Floats
from tasks.monitoring.wavering import bound, excess

Groups = NDArray[np.intp]

DUST = 0.05
"""Log odds that differ by less are not looked for: at even odds, one and a quarter points."""
_SHARE_OF_ERRORS = 0.1
"""Of the error rate, kept for a reference that is farther from the truth than the band says."""
_MOST_BINS, _ROWS_OF_A_BIN = 10, 500
_SURE = 1e-6
_STRAIGHT = 0.03
"""Log odds by which bins differ from the line in any case."""
_TRACE = 1e-3
_TURNS, _NEAR_ENOUGH = 25, 1e-10
"""Of Newton: at most so many, and fewer once a step is that small."""


@dataclass(frozen=True)
class Calibration:
    """Log odds of an event by score, and the band around them."""

    line: Floats
    """Where the score's own log odds are taken to: `line[0] + line[1] * odds` (Platt 1999)."""
    edges: Floats
    offsets: Floats
    """Added to the line, bin by bin."""
    bends: Floats
    """What the reference is too small to know of each bin: a half-width, simultaneous over the bins."""
    unsure: Floats
    """The same of the line: covariance of its two numbers, scaled to squared half-widths."""
    shift: float
    """How far whole batches are usually off, as a bound for as many batches as the reference has."""
    slope: float
    """How much steeper or flatter whole batches usually are, likewise, relative to 1."""
    pivot: float
    """Log odds of the reference as a whole."""
    follows: bool = True
    """The score is a chance itself; otherwise only the bins count."""

    @classmethod
    def fit(
        cls, scores: Floats, hits: Floats, batches: Groups, error_rate: float, *, follows: bool = True
    ) -> "Calibration":
        """The calibration of a reference of `hits` (1.0 or 0.0) in `batches` numbered from 0."""
        count = int(np.clip(len(scores) // _ROWS_OF_A_BIN, 1, _MOST_BINS))
        edges = np.unique(np.quantile(scores, np.linspace(0, 1, count + 1)[1:-1])) if count > 1 else np.empty(0)
        bins = np.searchsorted(edges, scores, side="right")
        inputs = np.stack([np.ones(len(scores)), odds_of(scores, follows)], axis=1)
        line, unsure = line_of(inputs, hits)
        offsets, alike = _offsets(inputs @ line, hits, bins, len(edges) + 1)
        logits = inputs @ line + offsets[bins]
        surprise, weight = hits - expit(logits), expit(logits) * expit(-logits)
        pairs = ranked_pairs(logits, hits, batches)
        of_slope = pairs.surprise * pairs.gap, pairs.weight * np.square(pairs.gap), batches[pairs.rows]
        alike_in_batches = np.sqrt([inflation(surprise, weight, batches), inflation(*of_slope)])
        reach = float(stats.norm.isf(_SHARE_OF_ERRORS * error_rate / (2 * (len(edges) + 1))))
        return cls(
            line=line,
            edges=edges,
            offsets=offsets,
            bends=reach / np.sqrt(_known(surprise, weight, bins, batches) + alike),
            unsure=reach**2 * unsure * np.outer(alike_in_batches, alike_in_batches),
            shift=usual(surprise, weight, batches, error_rate),
            slope=usual(*of_slope, error_rate),
            pivot=float(logit(np.clip(hits.mean(), _SURE, 1 - _SURE))),
            follows=follows,
        )

    def logits(self, scores: Floats) -> Floats:
        """Log odds of the event for each score."""
        moved: Floats = self.line[0] + self.line[1] * odds_of(scores, self.follows) + self.offsets[self._bins(scores)]
        return moved

    def chances(self, scores: Floats) -> Floats:
        return np.asarray(expit(self.logits(scores)), dtype=np.float64)

    def reach(self, scores: Floats) -> Floats:
        """Half-width of the band around the log odds."""
        own = odds_of(scores, self.follows)
        of_line = self.unsure[0, 0] + 2 * self.unsure[0, 1] * own + self.unsure[1, 1] * np.square(own)
        unknown = np.sqrt(np.square(self.bends[self._bins(scores)]) + of_line)
        return np.asarray(DUST + self.shift + unknown, dtype=np.float64)

    def reach_apart(self, scores: Floats, others: Floats) -> Floats:
        """Half-width of the band around differences of log odds: what all rows have in common is not in it."""
        own = odds_of(scores, self.follows) - odds_of(others, self.follows)
        bends = np.square(self.bends[self._bins(scores)]) + np.square(self.bends[self._bins(others)])
        gap = np.abs(self.logits(scores) - self.logits(others))
        unknown = np.sqrt(bends + self.unsure[1, 1] * np.square(own))
        return np.asarray((DUST + self.slope) * gap + unknown, dtype=np.float64)

    def _bins(self, scores: Floats) -> Groups:
        return np.searchsorted(self.edges, scores, side="right")


@dataclass(frozen=True)
class RankedPairs:
    """Neighbouring rows of which exactly one had the event: did the one with the higher score?"""

    rows: Groups
    """Position of the first row of each pair."""
    gap: Floats
    """Difference of log odds, above 0."""
    hits: Floats

    @property
    def surprise(self) -> Floats:
        return np.asarray(self.hits - expit(self.gap), dtype=np.float64)

    @property
    def weight(self) -> Floats:
        return np.asarray(expit(self.gap) * expit(-self.gap), dtype=np.float64)


def ranked_pairs(logits: Floats, hits: Floats, groups: Groups) -> RankedPairs:
    """Rows two by two, in their order, within a group; `hits` may be NaN where no label is known.

    What all rows of a group have in common cancels: P(the higher one | one of both) depends on the gap of their log
    odds alone (conditional logistic regression; Cox 1958, Journal of the Royal Statistical Society B 20:215).
    """
    first = np.arange(0, len(logits) - 1, 2)
    second = first + 1
    gap = logits[first] - logits[second]
    told = (groups[first] == groups[second]) & (hits[first] + hits[second] == 1) & (gap != 0)
    first, second, gap = first[told], second[told], gap[told]
    higher = np.where(gap > 0, hits[first], hits[second])
    return RankedPairs(first, np.abs(gap), higher)


def usual(surprise: Floats, weight: Floats, batches: Groups, error_rate: float) -> float:
    """How far whole batches are off beyond chance: a bound that as many batches all keep, but for `error_rate`.

    A batch is off by about `sum(surprise) / sum(weight)`, of which 1 / sum(weight) is the variance of chance; what is
    left of the variance is theirs.
    """
    sums, weights = (np.bincount(batches, weights=values) for values in (surprise, weight))
    filled = weights > 0
    return bound(excess(sums[filled], weights[filled]), int(filled.sum()), error_rate)


def inflation(surprise: Floats, weight: Floats, batches: Groups) -> float:
    """How many times more a sum varies than by chance, as rows of one batch are alike; at least 1."""
    sums, known = np.bincount(batches, weights=surprise), float(weight.sum())
    count = int(np.count_nonzero(np.bincount(batches))) if len(batches) else 0
    if count < 2 or not known:
        return 1.0
    return max(count / (count - 1) * float(np.square(sums).sum()) / known, 1.0)


def odds_of(scores: Floats, follows: bool) -> Floats:
    """Log odds of the events by their scores; 0 where a score is no chance (`follows`)."""
    if not follows:
        return np.zeros(len(scores))
    return np.asarray(logit(np.clip(scores, _SURE, 1 - _SURE)), dtype=np.float64)


def line_of(inputs: Floats, hits: Floats) -> tuple[Floats, Floats]:
    """The line of log odds that fits the events best, and the covariance of its two numbers."""
    line, start = np.array([0.0, 1.0]), np.array([0.0, 1.0])
    for _ in range(_TURNS):
        chance = expit(inputs @ line)
        known = inputs.T @ (inputs * (chance * (1 - chance))[:, None]) + _TRACE * np.eye(2)
        # A trace of where it began keeps the line finite where the events are all alike.
        step = np.clip(np.linalg.solve(known, inputs.T @ (hits - chance) - _TRACE * (line - start)), -2, 2)
        line = line + step
        if np.abs(step).max() < _NEAR_ENOUGH:
            break
    return line, np.linalg.inv(known)


def _offsets(base: Floats, hits: Floats, bins: Groups, count: int) -> tuple[Floats, float]:
    """What is added to the line, bin by bin, and how sure one was before that it is nothing: 1 / variance."""
    off = np.bincount(bins, weights=hits - expit(base), minlength=count)
    alike = 1 / max(excess(off, np.bincount(bins, weights=expit(base) * expit(-base), minlength=count)), _STRAIGHT**2)
    offsets = np.zeros(count)
    for _ in range(_TURNS):
        chance = expit(base + offsets[bins])
        missing = np.bincount(bins, weights=hits - chance, minlength=count) - alike * offsets
        weight = np.bincount(bins, weights=chance * (1 - chance), minlength=count) + alike
        step = np.clip(missing / weight, -2, 2)
        offsets += step
        if np.abs(step).max(initial=0.0) < _NEAR_ENOUGH:
            break
    return offsets, alike


def _known(surprise: Floats, weight: Floats, bins: Groups, batches: Groups) -> Floats:
    """What is known of each bin: 1 / variance."""
    known = [
        weight[mine].sum() / inflation(surprise[mine], weight[mine], batches[mine])
        for mine in (bins == number for number in range(int(bins.max()) + 1))
    ]
    return np.array(known, dtype=np.float64)
