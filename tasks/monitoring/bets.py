"""What is bet on when hours are held against a reference: that a column moved, spread, lost values, or met others.

Each bet is the likelihood ratio of a shifted truth against the nearest one the reference allows; in the counts of an
hour it is linear, `slope * sum - cost * rows`. Numbers are bet on by their normal scores (the expected normal order
statistic of a bin; van der Waerden 1952), tilted exponentially: with `psi` the cumulant function of the reference's
scores, the ratio of tilt `t + d` against tilt `t` has a mean of at most 1 whenever the truth is tilted by `t` or less,
as `psi` is convex. Categories, missing values and what lies beyond the reference are shares, and the ratio is that of
two shares.

The tolerance is widened by what hours of the reference usually differ by (`wavering.py`), and by what the reference, a
sample, may be wrong by: by the normal bound for scores, by Clopper and
Pearson's (1934) for shares, by the missing mass for categories nobody listed (Berend and Kontorovich 2013, Electronic
Communications in Probability 18:3).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq
from scipy.special import logsumexp, ndtri, softmax

from tasks.evaluation.predictions import Floats
from tasks.monitoring.bins import CategoryBins, Counts, NumberBins
from tasks.monitoring.grid import Bins, Grid
from tasks.monitoring.profile import ColumnProfile, Profile
from tasks.monitoring.wavering import Usual

_SHIFTS = ((0.03, 0.15), (0.08, 0.4), (0.18, 0.25), (0.48, 0.2))
"""In standard deviations beyond the tolerance, with their shares of the money."""
_LEAP = (2.0, 0.2)
"""For rare things: a share that multiplies."""
_WIDEST_SPREAD = 0.2
"""Beyond, the mean of the ratio cannot be told from a sample of the reference: squares have heavy tails."""
_SHARE_OF_ERRORS = 0.1
_MOST_SHARES = 40
_HIGHEST_SHARE = 0.999
_STEEPEST = 50.0
"""A tilt that leaves next to nothing but the outermost values."""

What = Literal["mean", "spread", "missing", "beyond", "share", "unseen"]


@dataclass(frozen=True)
class Reading:
    """One number of a column's counts in an hour, out of so many rows."""

    column: str
    what: What
    weights: Floats | None = None
    """Of each bin; None for rows that lack a value."""
    bins: NDArray[np.intp] | None = None
    """For a share: whose counts."""
    name: str = ""

    def read(self, found: ColumnProfile) -> tuple[float, int]:
        """The sum, and the rows it is over."""
        if self.weights is not None:
            return float(self.weights @ found.counts), int(found.counts.sum())
        if self.bins is not None:
            return float(found.counts[self.bins].sum()), found.present
        return float(found.rows - found.present), found.rows


@dataclass(frozen=True)
class Bet:
    """A shift of a reading, up or down."""

    reading: int
    up: bool
    shift: float
    """In standard deviations, tolerance included."""
    slope: float
    cost: float
    weight: float


@dataclass(frozen=True)
class Bets:
    """All bets on all columns of a reference."""

    columns: tuple[str, ...]
    readings: tuple[Reading, ...]
    bets: tuple[Bet, ...]
    column: NDArray[np.intp]
    """Of each bet."""
    log_weights: Floats
    """Of each bet among those of its column."""

    @classmethod
    def against(
        cls, reference: Profile, grid: Grid, tolerance: float, error_rate: float, usual: Usual | None = None
    ) -> "Bets":
        """The bets against a reference; `usual` widens the tolerance. Raises ContractDiffers or GridDiffers."""
        reference.must_fit(grid.digest, grid.contract_version, "The reference")
        columns = tuple(grid.columns)
        risk = _SHARE_OF_ERRORS * error_rate / len(columns)
        readings: list[Reading] = []
        bets: list[Bet] = []
        for column in columns:
            held = _Against(column, grid.columns[column], reference.columns[column], tolerance, risk / 4, usual)
            made = list(held.bets())
            for reading, placed in made:
                bets += [Bet(len(readings), *bet) for bet in placed]
                readings.append(reading)
        place = {column: index for index, column in enumerate(columns)}
        owner = np.array([place[readings[bet.reading].column] for bet in bets], dtype=np.intp)
        weights = np.array([bet.weight for bet in bets])
        weights /= np.bincount(owner, weights=weights, minlength=len(columns))[owner]
        return cls(columns, tuple(readings), tuple(bets), owner, np.log(weights))

    @cached_property
    def digest(self) -> str:
        """What tells these bets from others: their sums cannot be carried over."""
        told = [(bet.reading, bet.up, round(bet.slope, 6), round(bet.cost, 6)) for bet in self.bets]
        return hashlib.sha256(repr((self.readings_named, told)).encode()).hexdigest()[:16]

    @property
    def readings_named(self) -> tuple[tuple[str, str, str], ...]:
        return tuple((reading.column, reading.what, reading.name) for reading in self.readings)

    def log_ratios(self, hour: Profile) -> Floats:
        """What each bet pays for an hour, as a logarithm."""
        read = [reading.read(hour.columns[reading.column]) for reading in self.readings]
        sums, rows = (np.array(values, dtype=np.float64) for values in zip(*read, strict=True))
        which = np.array([bet.reading for bet in self.bets])
        slopes, costs = (np.array([getattr(bet, name) for bet in self.bets]) for name in ("slope", "cost"))
        ratios: Floats = slopes * sums[which] - costs * rows[which]
        return ratios

    def by_column(self, log_sums: Floats, log_weights: Floats) -> Floats:
        """The logarithm of each column's mean wealth."""
        return np.array([_mixed(log_sums, log_weights, self.column == index) for index in range(len(self.columns))])


Placed = tuple[bool, float, float, float, float]


def _mixed(log_sums: Floats, log_weights: Floats, mine: NDArray[np.bool_]) -> float:
    return float(logsumexp(log_sums[mine] + log_weights[mine]))


@dataclass(frozen=True)
class _Against:
    """One column of the reference, and how sure one is of it."""

    column: str
    bins: Bins
    found: ColumnProfile
    tolerance: float
    risk: float
    usual: Usual | None

    def bets(self) -> Iterator[tuple[Reading, list[Placed]]]:
        usual = self.usual.of_missing(self.column) if self.usual else 0.0
        missing = self.found.rows - self.found.present
        yield Reading(self.column, "missing"), self._on_share(missing, self.found.rows, usual, 0.1)
        if isinstance(self.bins, NumberBins):
            yield from self._of_numbers()
        elif isinstance(self.bins, CategoryBins):
            yield from self._of_names(self.bins.categories, 0.85)
            if not self.bins.of_truth and self.found.present:
                yield self._unseen(self.bins)
        else:
            yield from self._of_names(self.bins.terms, 0.9)

    def _of_numbers(self) -> Iterator[tuple[Reading, list[Placed]]]:
        counts = self.found.counts
        rows, filled = int(counts.sum()), np.flatnonzero(counts)
        if not rows:
            return
        beyond = np.r_[: filled[0], filled[-1] + 1 : len(counts)].astype(np.intp)
        most = min(2 * np.log(2 / self.risk) / rows, 0.5)
        yield Reading(self.column, "beyond", bins=beyond), list(_up(most, 0.05))
        scores = normal_scores(counts)
        yield from self._on_scores("mean", scores, 0.7)
        yield from self._on_scores("spread", np.square(scores), 0.15)

    def _on_scores(self, what: What, values: Floats, weight: float) -> Iterator[tuple[Reading, list[Placed]]]:
        counts = self.found.counts
        shares = counts / counts.sum()
        centred = values - shares @ values
        deviation = float(np.sqrt(shares @ np.square(centred)))
        if deviation < 1e-9:
            return
        weights = centred / deviation
        noise = float(stats.norm.isf(self.risk / 2) / np.sqrt(counts.sum()))
        usual = self.usual.of_numbers(self.column, self.bins, weights) if self.usual else 0.0
        widest = _WIDEST_SPREAD if what == "spread" else np.inf
        placed = list(_tilted(weights, shares, (max(self.tolerance, noise), usual), weight, widest))
        yield Reading(self.column, what, weights=weights), placed

    def _of_names(self, names: tuple[str, ...], weight: float) -> Iterator[tuple[Reading, list[Placed]]]:
        counts, rows = self.found.counts[: len(names)], self.found.present
        frequent = [index for index in np.argsort(-counts, kind="stable")[:_MOST_SHARES] if counts[index]]
        for index in frequent:
            usual = self.usual.of_share(self.column, self.bins, names[index]) if self.usual else 0.0
            reading = Reading(self.column, "share", bins=np.array([index], dtype=np.intp), name=names[index])
            money = weight / len(frequent)
            yield reading, self._on_share(int(counts[index]), rows, usual, money, self.risk / len(names))

    def _unseen(self, bins: CategoryBins) -> tuple[Reading, list[Placed]]:
        counts, rows = self.found.counts, self.found.present
        if bins.listed:
            others = np.arange(bins.listed, bins.size, dtype=np.intp)
            placed = self._on_share(int(counts[others].sum()), rows, 0.0, 0.05)
        else:
            others = np.flatnonzero(counts == 0)
            placed = list(_up(_missing_mass(counts, rows, self.risk), 0.05))
        return Reading(self.column, "unseen", bins=others), placed

    def _on_share(self, hits: int, rows: int, usual: float, weight: float, risk: float | None = None) -> list[Placed]:
        """Bets that a share is above or below all the reference allows."""
        if not rows:
            return []
        share, risk = hits / rows, risk or self.risk
        wavers = max(self.tolerance, usual) * np.sqrt(share * (1 - share))
        high = stats.beta.ppf(1 - risk / 2, hits + 1, rows - hits) if hits < rows else 1.0
        low = stats.beta.ppf(risk / 2, hits, rows - hits + 1) if hits else 0.0
        return [*_up(max(float(high), share + wavers), weight), *_down(min(float(low), share - wavers), weight)]


def normal_scores(counts: Counts) -> Floats:
    """The expected normal score of each bin: the mean of a standard normal between its ranks; zero over all rows.

    As a mean it varies less than the normal itself, bin by bin (Jensen), so ties cost nothing but power.
    """
    rows = counts.sum()
    ends = np.cumsum(counts) / rows
    starts = ends - counts / rows
    margin = 1 / (rows + 1)
    middle = ndtri(np.clip((starts + ends) / 2, margin, 1 - margin))
    share = ends - starts
    height = stats.norm.pdf(ndtri(np.clip(starts, 0, 1))) - stats.norm.pdf(ndtri(np.clip(ends, 0, 1)))
    exact = height / np.maximum(share, 1e-300)
    scores: Floats = np.where(share > 1e-7, exact, middle)
    return scores


def _tilted(
    scores: Floats, shares: Floats, tolerated: tuple[float, float], weight: float, widest: float
) -> Iterator[Placed]:
    """Bets on tilts, up and down, beyond one that is tolerated and one by which means usually differ."""
    filled = shares > 0
    logs, values = np.log(shares[filled]), scores[filled]
    for sign in (1.0, -1.0):
        usual = _tilt_to(logs, sign * values, tolerated[1])
        if usual is None:
            continue
        tolerance = max(*tolerated, usual)
        allowed = logsumexp(logs + sign * tolerance * values)
        for shift, share in _SHIFTS:
            if shift <= widest:
                tilt = tolerance + shift
                cost = float(logsumexp(logs + sign * tilt * values) - allowed)
                yield sign > 0, tilt, sign * shift, cost, weight * share / 2


def _tilt_to(logs: Floats, values: Floats, mean: float) -> float | None:
    """The tilt of the mean `mean`; None where no value lies so far out, so that no hour can be farther than usual.

    It is `mean` itself only where values are normal: squares of scores end not far below their mean.
    """

    def beyond(tilt: float) -> float:
        return float(softmax(logs + tilt * values) @ values) - mean

    if mean <= 0:
        return 0.0
    return float(brentq(beyond, 0.0, _STEEPEST)) if beyond(_STEEPEST) > 0 else None


def _up(most: float, weight: float) -> Iterator[Placed]:
    """Bets that a share is above `most`, in steps of its standard deviation."""
    if most >= _HIGHEST_SHARE:
        return
    deviation = np.sqrt(most * (1 - most))
    for shift, money in (*_SHIFTS, _LEAP):
        to = min(most + shift * deviation, _HIGHEST_SHARE)
        cost = float(np.log1p(-most) - np.log1p(-to))
        yield True, shift, float(np.log(to / most)) + cost, cost, weight * money / 2


def _down(least: float, weight: float) -> Iterator[Placed]:
    """Bets that a share is below `least`."""
    deviation = np.sqrt(max(least * (1 - least), 0.0))
    for shift, money in _SHIFTS:
        to = least - shift * deviation
        if to > 0:
            cost = float(np.log1p(-least) - np.log1p(-to))
            yield False, shift, float(np.log(to / least)) + cost, cost, weight * money / 2


def _missing_mass(counts: Counts, rows: int, risk: float) -> float:
    """A bound on the share of categories the reference happens not to hold: Good and Turing's estimate, and more."""
    reach = (1 + np.sqrt(2)) * np.sqrt(np.log(2 / risk) / rows)
    return float(min(np.count_nonzero(counts == 1) / rows + reach, 1.0))
