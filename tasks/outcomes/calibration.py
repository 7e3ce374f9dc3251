"""What chance the reference gives an event, given the score; how sure it is, and how much that usually wavers.

In bins of the score the log odds are the score's own, moved until as many events are expected as there were. Around
them lies a band, made of three parts: dust; what the reference is too small to know (robust to rows of one batch
resembling each other); and how far whole batches of the reference were off. A change within the band is no change.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logit

from tasks.evaluation.predictions import Floats

Groups = NDArray[np.intp]

DUST = 0.05
"""Log odds that differ by less are not looked for: at even odds, one and a quarter points."""
_SHARE_OF_ERRORS = 0.1
"""Of the error rate, kept for a reference that is farther from the truth than the band says."""
_MOST_BINS, _ROWS_OF_A_BIN = 10, 500
_SURE = 1e-6


@dataclass(frozen=True)
class Calibration:
    """Log odds of an event by score, and the band around them."""

    edges: Floats
    offsets: Floats
    """Added to the score's own log odds, bin by bin."""
    errors: Floats
    """What the reference is too small to know: half-widths, simultaneous over the bins."""
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
        bins, own = np.searchsorted(edges, scores, side="right"), _own(scores, follows)
        offsets = _offsets(own, hits, bins, len(edges) + 1)
        logits = own + offsets[bins]
        surprise, weight = hits - expit(logits), expit(logits) * expit(-logits)
        pairs = ranked_pairs(logits, hits, batches)
        return cls(
            edges=edges,
            offsets=offsets,
            errors=_errors(surprise, weight, bins, batches, error_rate),
            shift=usual(surprise, weight, batches, error_rate),
            slope=usual(
                pairs.surprise * pairs.gap, pairs.weight * np.square(pairs.gap), batches[pairs.rows], error_rate
            ),
            pivot=float(logit(np.clip(hits.mean(), _SURE, 1 - _SURE))),
            follows=follows,
        )

    def logits(self, scores: Floats) -> Floats:
        """Log odds of the event for each score."""
        moved: Floats = _own(scores, self.follows) + self.offsets[self._bins(scores)]
        return moved

    def chances(self, scores: Floats) -> Floats:
        return np.asarray(expit(self.logits(scores)), dtype=np.float64)

    def unknown(self, scores: Floats) -> Floats:
        """What the reference is too small to know about each score's log odds."""
        unknown: Floats = self.errors[self._bins(scores)]
        return unknown

    def reach(self, scores: Floats) -> Floats:
        """Half-width of the band around the log odds."""
        reach: Floats = DUST + self.unknown(scores) + self.shift
        return reach

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
    error: Floats

    @property
    def surprise(self) -> Floats:
        return np.asarray(self.hits - expit(self.gap), dtype=np.float64)

    @property
    def weight(self) -> Floats:
        return np.asarray(expit(self.gap) * expit(-self.gap), dtype=np.float64)


def ranked_pairs(logits: Floats, hits: Floats, groups: Groups, errors: Floats | None = None) -> RankedPairs:
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
    error = np.zeros(len(first)) if errors is None else errors[first] + errors[second]
    return RankedPairs(first, np.abs(gap), higher, error)


def stretched(scores: Floats, hits: Floats) -> Floats:
    """The scores as chances again, by the line of their log odds that fits the events best (Platt 1999)."""
    own = _own(scores, follows=True)
    inputs = np.stack([np.ones(len(own)), own], axis=1)
    line = np.array([0.0, 1.0])
    for _ in range(25):
        chance = expit(inputs @ line)
        weight = chance * (1 - chance)
        # A trace of the line we began with keeps the fit finite where the events are all alike.
        pull = inputs.T @ (hits - chance) - 1e-3 * (line - [0.0, 1.0])
        line = line + np.clip(np.linalg.solve(inputs.T @ (inputs * weight[:, None]) + 1e-3 * np.eye(2), pull), -2, 2)
    return np.asarray(expit(inputs @ line), dtype=np.float64)


def usual(surprise: Floats, weight: Floats, batches: Groups, error_rate: float) -> float:
    """How far whole batches are off beyond chance: a bound that as many batches all keep, but for `error_rate`.

    A batch is off by about `sum(surprise) / sum(weight)`, of which 1 / sum(weight) is the variance of chance; what is
    left of the variance is theirs (method of moments, as DerSimonian and Laird 1986, Controlled Clinical Trials 7:177).
    """
    sums, weights = (np.bincount(batches, weights=values) for values in (surprise, weight))
    filled = weights > 0
    count = int(filled.sum())
    if count < 2:
        return 0.0
    sums, weights = sums[filled], weights[filled]
    variance = float((np.square(sums) - weights).sum() / np.square(weights).sum())
    return float(stats.t.ppf(1 - error_rate / (2 * count), count - 1) * np.sqrt(max(variance, 0.0)))


def _own(scores: Floats, follows: bool) -> Floats:
    if not follows:
        return np.zeros(len(scores))
    return np.asarray(logit(np.clip(scores, _SURE, 1 - _SURE)), dtype=np.float64)


def _offsets(own: Floats, hits: Floats, bins: Groups, count: int) -> Floats:
    """Newton's method, bin by bin; half an event and half a miss are added, so that no bin is sure for ever."""
    rows = np.bincount(bins, minlength=count)
    wanted = (np.bincount(bins, weights=hits, minlength=count) + 0.5) * rows / (rows + 1)
    offsets = np.zeros(count)
    for _ in range(40):
        chance = expit(own + offsets[bins])
        missing = wanted - np.bincount(bins, weights=chance, minlength=count)
        weight = np.bincount(bins, weights=chance * (1 - chance), minlength=count)
        offsets += np.clip(missing / np.maximum(weight, 1e-12), -2, 2)
    return offsets


def _errors(surprise: Floats, weight: Floats, bins: Groups, batches: Groups, error_rate: float) -> Floats:
    count, groups = int(bins.max()) + 1, int(batches.max()) + 1
    sums = np.bincount(batches * count + bins, weights=surprise, minlength=groups * count).reshape(groups, count)
    known = np.maximum(np.bincount(bins, weights=weight, minlength=count), 1e-12)
    robust = groups / (groups - 1) * np.square(sums).sum(axis=0) / known**2 if groups > 1 else 0.0
    reach = stats.norm.isf(_SHARE_OF_ERRORS * error_rate / (2 * count))
    errors: Floats = reach * np.sqrt(np.maximum(robust, 1 / known))
    return errors
