"""A scan over all groups of rows: where is what happens no longer what the scores say, while the rest still is?

Each category, and each quantile bin of a number, is one slice. The scores are first brought in line with the window as
a whole, so that what all rows have in common is left to the test of all rows. A slice may be off as far as it was in
the reference, give or take what the reference is too small to know and what usually wavers from batch to batch. Beyond,
four things are asked, with p-values that hold for few rows too (`tail.py`): more events, fewer events, more loss, and
scores that rank worse (`ranks.py`). Holm's procedure keeps the chance of any false alarm over all slices below the
error rate, whatever they have in common.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

from tasks.evaluation.intervals import in_utc
from tasks.evaluation.predictions import Floats
from tasks.evaluation.slices import holm
from tasks.monitoring.wavering import excess
from tasks.outcomes.calibration import DUST, Calibration, Groups
from tasks.outcomes.ranks import Cells, Seen, Slopes, Window, learn, spread_of
from tasks.outcomes.tail import Sums, log_upper_tail

FEWEST_ROWS = 20
_MOST_VALUES, _MOST_GROUPS, _BINS = 12, 200, 8
_CELLS = 10
"""Bins of the score within a slice."""
_NAMED, _LOOKED_AT = 5, 5
_NO_ORDER = 0.15
"""A slope nearer to 0, as a share of the usual one, is said to be none."""
_FLATTER = 3
"""Place of the tail that is about ranks."""
_SHARE_OF_ERRORS = 0.1
_LEAST_SPREAD = 0.1
"""Log odds by which slices of one column differ in any case."""


@dataclass(frozen=True)
class Labelled:
    """Rows with an outcome."""

    frame: pd.DataFrame
    """The columns that make slices."""
    scores: Floats
    hits: Floats
    batches: Groups
    """Rows that may resemble each other, numbered from 0."""
    days: Groups
    """The day each is of, numbered from 0."""

    @classmethod
    def of(cls, frame: pd.DataFrame, scores: Floats, hits: Floats, batches: Groups, moments: pd.Series) -> "Labelled":
        """Rows that were asked about at such moments."""
        days = in_utc(moments).dt.floor("D")
        numbers = ((days - days.min()) // pd.Timedelta(days=1)).to_numpy(dtype=np.intp)
        return cls(frame.reset_index(drop=True), scores, hits, batches, numbers)

    def __len__(self) -> int:
        return len(self.scores)

    def at(self, rows: NDArray[np.bool_]) -> "Labelled":
        return Labelled(self.frame[rows], self.scores[rows], self.hits[rows], self.batches[rows], self.days[rows])


@dataclass(frozen=True)
class Slice:
    """One group, and how it stands."""

    column: str
    value: str
    rows: int
    expected: float
    """Share of events to be expected of its scores, as the window is."""
    observed: float
    worse_by: float
    """Mean Brier score beyond the expected."""
    steepness: float
    """How well its scores rank, as a share of what is usual: 0 says nothing any more, below 0 is upside down."""
    flatter: bool
    """That is what is most striking about it, not how many events there are."""
    log_p: float
    refuted: bool = False

    @property
    def name(self) -> str:
        return f"{self.column}={self.value}"

    @property
    def p_value(self) -> float:
        return float(np.exp(self.log_p))

    @property
    def text(self) -> str:
        """What is most striking about it."""
        if not self.flatter:
            return f"{self.observed:.1%} of {self.rows:,} rows where {self.expected:.1%} were expected"
        if self.steepness < -_NO_ORDER:
            how = "rank upside down"
        elif self.steepness < _NO_ORDER:
            how = "say nothing any more"
        else:
            how = "rank worse"
        return f"the scores {how} ({self.steepness:.0%} as steep as usual, {self.rows:,} rows)"


@dataclass(frozen=True)
class Cut:
    """How one column is cut."""

    column: str
    names: tuple[str, ...]
    codes: Groups
    """Of the window's rows; -1: of no slice."""
    reference: Groups


@dataclass(frozen=True)
class _Band:
    """How far each slice of a column may be off, in log odds, and how steep it usually is."""

    low: Floats
    high: Floats
    slopes: Slopes


def scan(window: Labelled, reference: Labelled | None, error_rate: float, *, follows: bool = True) -> tuple[Slice, ...]:
    """All slices: first those that are off, each the one that explains most of what is left; then the most striking.

    `follows`: the score is a chance itself. Without a reference, slices are taken to have been right.
    """
    if len(window) < FEWEST_ROWS:
        return ()
    cuts = list(cuts_of(window, reference))
    count = max(sum(len(cut.names) for cut in cuts), 1)
    before = None if reference is None else _Before.of(reference, error_rate, follows=follows)
    slopes = _slopes(cuts, reference if follows else None)
    bands = {cut.column: _band(cut, before, slopes[cut.column], error_rate, count) for cut in cuts}
    chances = _chances(window, follows=follows)

    def without(rows: NDArray[np.bool_]) -> list[Slice]:
        return _ask(window.at(rows), chances[rows], [_left(cut, rows) for cut in cuts], bands, follows=follows)

    named: list[Slice] = []
    left = np.ones(len(window), dtype=np.bool_)
    told = found = without(left)
    while len(named) < _NAMED and (off := _refuted(found, error_rate)):
        # Slices share rows: the one is named without whose rows the others have nothing more to say, or the least. Of
        # those that leave hardly a row that says little.
        off = [one for one in off if one.rows <= left.sum() / 2] or off[:1]
        rows = [left & ~members(cuts, one) for one in off]
        rests = [without(rest) for rest in rows]
        explains = max(range(len(off)), key=lambda place: _left_to_say(rests[place], error_rate))
        named.append(replace(off[explains], refuted=True))
        left, found = rows[explains], rests[explains]
    names = {one.name for one in named}
    return (*named, *(one for one in told if one.name not in names))


def _refuted(found: Sequence[Slice], error_rate: float) -> list[Slice]:
    """Those that are off, the most striking first, as far as they are looked at."""
    off = holm([one.p_value for one in found], (1 - _SHARE_OF_ERRORS) * error_rate)
    return [one for one, refuted in zip(found, off, strict=True) if refuted][:_LOOKED_AT]


def _left_to_say(found: Sequence[Slice], error_rate: float) -> float:
    """The logarithm of the smallest p-value; 0 where none of them is off, so that of two such the first is as good."""
    off = _refuted(found, error_rate)
    return off[0].log_p if off else 0.0


def _chances(window: Labelled, *, follows: bool) -> Floats:
    """The chance of each row's event if only the window as a whole had changed."""
    whole = Calibration.fit(window.scores, window.hits, np.zeros(len(window), dtype=np.intp), 0.05, follows=follows)
    return whole.chances(window.scores)


def _ask(
    window: Labelled, chances: Floats, cuts: Sequence[Cut], bands: dict[str, _Band], *, follows: bool
) -> list[Slice]:
    cells = _cells(chances)
    found = [
        one
        for cut in cuts
        for one in _of_column(_Asked(window.hits, chances, cells, window.days, cut), bands[cut.column], follows=follows)
    ]
    return sorted(found, key=lambda one: (one.log_p, one.name))


@dataclass(frozen=True)
class _Asked:
    """The window, cut by one column."""

    hits: Floats
    chances: Floats
    cells: Groups
    days: Groups
    cut: Cut

    def table(self) -> Cells:
        """Rows, chances and events of each slice and bin of the score."""
        return _table(self.cut.codes, len(self.cut.names), self.cells, self.chances, self.hits)

    def by_day(self) -> Window:
        groups, days = len(self.cut.names), int(self.days.max(initial=0)) + 1
        codes = np.where(self.cut.codes >= 0, self.cut.codes * days + self.days, -1)
        return Window(_table(codes, groups * days, self.cells, self.chances, self.hits), groups)


def _table(codes: Groups, groups: int, cells: Groups, chances: Floats, hits: Floats) -> Cells:
    inside = codes >= 0
    keys = codes[inside] * _CELLS + cells[inside]

    def sums(values: Floats) -> Floats:
        found: Floats = np.bincount(keys, weights=values[inside], minlength=groups * _CELLS).astype(np.float64)
        return found.reshape(groups, _CELLS)

    rows, expected = sums(np.ones(len(codes))), sums(chances)
    return Cells(rows, np.divide(expected, rows, out=np.full_like(expected, 0.5), where=rows > 0), sums(hits))


def _of_column(asked: _Asked, band: _Band, *, follows: bool) -> Iterator[Slice]:
    cells = asked.table()
    by_day = asked.by_day()
    tails = _tails(cells, by_day, band, follows=follows)
    log_p = np.minimum(np.min(tails, axis=0) + np.log(len(tails)), 0.0)
    flatter = np.argmin(tails, axis=0) >= _FLATTER
    steep = by_day.steepness(band.slopes)
    sizes, observed, expected = (
        values.sum(axis=1) for values in (cells.rows, cells.events, cells.rows * cells.chances)
    )
    loss = ((cells.events - cells.rows * cells.chances) * (1 - 2 * cells.chances)).sum(axis=1)
    for index in np.flatnonzero(sizes >= FEWEST_ROWS):
        yield Slice(
            column=asked.cut.column,
            value=asked.cut.names[index],
            rows=int(sizes[index]),
            expected=float(expected[index] / sizes[index]),
            observed=float(observed[index] / sizes[index]),
            worse_by=float(loss[index] / sizes[index]),
            steepness=float(steep[index]),
            flatter=bool(flatter[index]),
            log_p=float(log_p[index]),
        )


def _tails(cells: Cells, by_day: Window, band: _Band, *, follows: bool) -> list[Floats]:
    """Logarithms of p-values of each slice: more events, fewer, and where scores are chances more loss, worse order."""
    rows, observed = cells.rows, cells.events
    low, high = expit(cells.odds + band.low[:, None]), expit(cells.odds + band.high[:, None])
    ones = np.ones_like(rows)
    more = log_upper_tail(Sums(rows, high, ones), observed.sum(axis=1), counts=True)
    fewer = log_upper_tail(Sums(rows, 1 - low, ones), (rows - observed).sum(axis=1), counts=True)
    if not follows:
        return [more, fewer]
    weights = 1 - 2 * cells.chances
    worst = Sums(rows, np.where(weights > 0, high, low), weights)
    loss = log_upper_tail(worst, (observed * weights).sum(axis=1), counts=False)
    return [more, fewer, loss, by_day.log_p_flatter(band.slopes), by_day.newest_half().log_p_flatter(band.slopes)]


@dataclass(frozen=True)
class _Before:
    """The reference, with what its own calibration expects of each row."""

    rows: Labelled
    surprise: Floats
    weight: Floats

    @classmethod
    def of(cls, rows: Labelled, error_rate: float, *, follows: bool) -> "_Before":
        fitted = Calibration.fit(rows.scores, rows.hits, rows.batches, error_rate, follows=follows)
        chance = fitted.chances(rows.scores)
        return cls(rows, rows.hits - chance, chance * (1 - chance))


@dataclass(frozen=True)
class _Batches:
    """The reference, its scores brought in line with each batch as a whole, as a window's are with the window."""

    rows: Labelled
    chances: Floats
    cells: Groups

    @classmethod
    def of(cls, rows: Labelled) -> "_Batches":
        chances, cells = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.intp)
        for batch in np.unique(rows.batches):
            mine = rows.batches == batch
            chances[mine] = _chances(rows.at(mine), follows=True)
            cells[mine] = _cells(chances[mine])
        return cls(rows, chances, cells)

    def seen(self, cut: Cut) -> Seen:
        """The slices of a column, batch by batch."""
        groups, days = len(cut.names), int(self.rows.days.max(initial=0)) + 1
        keys = (self.rows.batches * groups + cut.reference) * days + self.rows.days
        cells, there = self._told(np.where(cut.reference >= 0, keys, -1))
        return Seen.of(cells, there // days // groups, there // days % groups)

    def of_a_day(self) -> float:
        """Variance of slopes of whole days."""
        cells, there = self._told(self.rows.days)
        return spread_of([Seen.of(cells, there, np.zeros_like(there))])

    def _told(self, keys: Groups) -> tuple[Cells, Groups]:
        """Tables of the rows of each key from 0, and the keys."""
        there, places = np.unique(keys[keys >= 0], return_inverse=True)
        codes = np.full(len(keys), -1, dtype=np.intp)
        codes[keys >= 0] = places
        return _table(codes, len(there), self.cells, self.chances, self.rows.hits), there


def _slopes(cuts: Sequence[Cut], reference: Labelled | None) -> dict[str, Slopes]:
    """How steep the slices of each column are; of a column that the reference does not have, as steep as all rows."""
    slopes = {cut.column: Slopes.unknown(len(cut.names)) for cut in cuts}
    if reference is None:
        return slopes
    batches = _Batches.of(reference)
    seen = {cut.column: batches.seen(cut) for cut in cuts if cut.column in reference.frame}
    spread, of_a_day, count = spread_of(list(seen.values())), batches.of_a_day(), len(np.unique(reference.batches))
    return slopes | {
        column: learn(of_column, len(slopes[column].usual), spread, of_a_day, count)
        for column, of_column in seen.items()
    }


def _band(cut: Cut, before: _Before | None, slopes: Slopes, error_rate: float, count: int) -> _Band:
    """How far off each slice was in the reference, with what that does not know; dust where there is no reference."""
    groups = len(cut.names)
    dust = np.full(groups, DUST)
    if before is None or cut.column not in before.rows.frame:
        return _Band(-dust, dust, slopes)
    inside = cut.reference >= 0
    codes, batches = cut.reference[inside], before.rows.batches[inside]
    surprise, weight = before.surprise[inside], before.weight[inside]
    known, off = (np.bincount(codes, weights=values, minlength=groups) for values in (weight, surprise))
    # A slice the reference hardly has is taken to be as right as the others of its column are.
    alike = 1 / max(excess(off, known), _LEAST_SPREAD**2)
    off = off / (known + alike)
    reach = stats.norm.isf(_SHARE_OF_ERRORS * error_rate / (2 * count)) / np.sqrt(known + alike)
    wavers = stats.norm.isf(error_rate / (2 * count)) * _wavering(codes, batches, surprise, weight, groups)
    return _Band(off - reach - wavers - dust, off + reach + wavers + dust, slopes)


def _wavering(codes: Groups, batches: Groups, surprise: Floats, weight: Floats, groups: int) -> float:
    """Standard deviation by which slices differ from batch to batch beyond chance; 0 if it may be chance."""
    keys = batches * groups + codes
    return float(np.sqrt(excess(np.bincount(keys, weights=surprise), np.bincount(keys, weights=weight))))


def cuts_of(window: Labelled, reference: Labelled | None) -> Iterator[Cut]:
    """How the columns are cut into slices: numbers at quantiles of the reference, if there is one."""
    for column in window.frame.columns:
        before = reference.frame[column] if reference is not None and column in reference.frame else None
        cut = _cut(column, window.frame[column], before)
        if cut is not None and len(cut.names) > 1:
            yield cut


def _cut(column: str, now: pd.Series, before: pd.Series | None) -> Cut | None:
    both = now if before is None else pd.concat([before, now], ignore_index=True)
    if pd.api.types.is_numeric_dtype(both) and not pd.api.types.is_bool_dtype(both) and both.nunique() > _MOST_VALUES:
        of = before if before is not None and before.notna().any() else now
        edges = np.unique(np.quantile(of.dropna().to_numpy(dtype=np.float64), np.linspace(0, 1, _BINS + 1)[1:-1]))
        numbers = both.to_numpy(dtype=np.float64, na_value=np.nan)
        codes = np.where(np.isnan(numbers), len(edges) + 1, np.searchsorted(edges, numbers, side="right"))
        names = _stretches(edges)
    elif pd.api.types.is_datetime64_any_dtype(both):
        return None
    else:
        codes, values = pd.factorize(both.astype("object"), use_na_sentinel=False)
        names = ["missing" if pd.isna(value) else str(value) for value in values]
    split = 0 if before is None else len(before)
    return _frequent(column, names, codes.astype(np.intp), split)


def _frequent(column: str, names: Sequence[str], codes: Groups, split: int) -> Cut:
    """Only groups with enough rows in the window, and no more than can be looked through."""
    sizes = np.bincount(codes[split:], minlength=len(names))
    kept = [index for index in np.argsort(-sizes, kind="stable")[:_MOST_GROUPS] if sizes[index] >= FEWEST_ROWS]
    place = np.full(len(names), -1, dtype=np.intp)
    place[kept] = np.arange(len(kept))
    return Cut(column, tuple(names[index] for index in kept), place[codes[split:]], place[codes[:split]])


def _stretches(edges: Floats) -> list[str]:
    ends = [f"{edge:.4g}" for edge in edges]
    inner = [f"{low} to {high}" for low, high in pairwise(ends)]
    return [f"below {ends[0]}", *inner, f"{ends[-1]} or more", "missing"]


def _cells(chances: Floats) -> Groups:
    edges = np.unique(np.quantile(chances, np.linspace(0, 1, _CELLS + 1)[1:-1])) if len(chances) else np.empty(0)
    return np.searchsorted(edges, chances, side="right")


def members(cuts: Sequence[Cut], one: Slice) -> NDArray[np.bool_]:
    """Which rows are of a slice that one of the cuts makes."""
    cut = next(cut for cut in cuts if cut.column == one.column)
    return np.asarray(cut.codes == cut.names.index(one.value))


def _left(cut: Cut, rows: NDArray[np.bool_]) -> Cut:
    return replace(cut, codes=cut.codes[rows])
