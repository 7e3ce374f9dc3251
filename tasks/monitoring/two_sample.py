"""Two-sample tests on counts: both samples are samples, neither is the truth.

Every p-value holds the pooled counts fixed and asks how the rows could have fallen into the two samples, so ties, atoms
and rare categories are in it. Their cost depends on the bins, not on the rows.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from tasks.monitoring.bins import Counts, Floats

_FEWEST_EXPECTED = 5.0
"""Categories of which the smaller sample is to have fewer are merged."""
_POSSIBLE = 0.01
"""A category that could not have a p-value as small as this is not tested, and costs the others nothing."""
_MOST_EXACT = 100_000
"""Up to so many pooled rows with a property their hypergeometric chances are summed; from there on they are normal."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What a test found."""

    name: str
    statistic: float
    p_value: float
    effect: float
    """How large the difference is, as a share of the rows."""
    place: int | None = None
    """The bin that gives it away, where one does."""


def kolmogorov_smirnov(reference: Counts, current: Counts) -> Difference:
    """The largest gap between the two distributions. Ties only make the p-value larger, never too small.

    The limit distribution of Kolmogorov, as by Smirnov (1939); for small samples it is on the safe side.
    """
    gap = largest_gap(reference, current)
    size = 1 / (1 / reference.sum() + 1 / current.sum())
    p_value = float(special.kolmogorov(np.sqrt(size) * gap))
    return Difference("two-sample Kolmogorov-Smirnov", gap, p_value, gap)


def wilcoxon(reference: Counts, current: Counts) -> Difference:
    """Whether values are larger or smaller: Wilcoxon's rank sum, its variance corrected for ties."""
    score, p_value = _linear_rank(reference, current, _middle_ranks(reference + current))
    return Difference("two-sample Wilcoxon", score, p_value, largest_gap(reference, current))


def mood(reference: Counts, current: Counts) -> Difference:
    """Whether values spread more or less: Mood (1954, Annals of Mathematical Statistics 25:514)."""
    ranks = _middle_ranks(reference + current)
    score, p_value = _linear_rank(reference, current, (ranks - 0.5) ** 2)
    return Difference("two-sample Mood", score, p_value, largest_gap(reference, current))


def numbers(reference: Counts, current: Counts) -> Difference | None:
    """The three tests above as one: its p-value is three times the smallest. None if all rows are alike."""
    if np.count_nonzero(reference + current) < 2 or not reference.any() or not current.any():
        return None
    three = [test(reference, current) for test in (kolmogorov_smirnov, wilcoxon, mood)]
    sharpest = min(three, key=lambda test: test.p_value)
    return Difference(sharpest.name, sharpest.statistic, min(1.0, 3 * sharpest.p_value), sharpest.effect)


def chi_squared(reference: Counts, current: Counts) -> Difference | None:
    """Pearson's test of homogeneity on the table of both samples, rare categories merged; None if one is left.

    What is merged is decided on the pooled counts, so it does not favour either answer. The effect is the share of rows
    that would have to be in another category.
    """
    pooled = reference + current
    seen = pooled > 0
    if seen.sum() < 2 or not reference.any() or not current.any():
        return None
    table = _merge_rare(np.stack([reference[seen], current[seen]]).astype(np.float64))
    if table.shape[1] < 2:
        return None
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    shares = table / table.sum(axis=1, keepdims=True)
    moved = np.abs(reference / reference.sum() - current / current.sum())
    return Difference(
        name="two-sample chi-squared",
        statistic=statistic,
        p_value=float(special.chdtrc(table.shape[1] - 1, statistic)),
        effect=float(np.abs(shares[0] - shares[1]).sum() / 2),
        place=int(np.argmax(moved)),
    )


def share(name: str, reference: tuple[int, int], current: tuple[int, int]) -> Difference | None:
    """Whether a property is as frequent in both: (rows with it, rows). None if all or no rows have it.

    Fisher's exact test, two-sided by doubling. The effect is the difference of the shares.
    """
    (ours, of_ours), (theirs, of_theirs) = current, reference
    together = ours + theirs
    if together in (0, of_ours + of_theirs) or not of_ours or not of_theirs:
        return None
    p_value = float(_both_sides(np.array([ours]), np.array([together]), of_ours, of_ours + of_theirs)[0])
    difference = ours / of_ours - theirs / of_theirs
    return Difference(name, difference, p_value, abs(difference))


def new_category(reference: Counts, current: Counts) -> Difference | None:
    """Whether a category that the reference never had is in the current rows more often than chance leaves one out.

    A category that both samples together have k times is in the current one alone with the chance (n over k) to
    (N over k), times the number of categories that could be as telling. The effect is the share of rows in categories
    never seen.
    """
    pooled, rows, every = reference + current, int(current.sum()), int(reference.sum() + current.sum())
    if not reference.any() or not rows:
        return None
    chances = np.ones(len(pooled))
    fits = (pooled > 0) & (pooled <= rows)
    chances[fits] = np.exp(_log_choose(rows, pooled[fits]) - _log_choose(every, pooled[fits]))
    possible = fits & (chances <= _POSSIBLE)
    if not possible.any():
        return None
    fresh = np.where((reference == 0) & (current > 0), current, 0)
    telling = int(np.argmax(fresh))
    chance = float(chances[telling]) if fresh[telling] and possible[telling] else 1.0
    return Difference(
        name="categories never seen",
        statistic=float(fresh.sum() / rows),
        p_value=min(1.0, chance * int(possible.sum())),
        effect=float(fresh.sum() / rows),
        place=telling if fresh[telling] else None,
    )


def terms(reference: tuple[Counts, int], current: tuple[Counts, int]) -> Difference | None:
    """Whether each term is in as many rows: (rows with the term, rows). The p-value is that of the most telling one."""
    (theirs, of_theirs), (ours, of_ours) = reference, current
    if not of_theirs or not of_ours:
        return None
    pooled, every = ours + theirs, of_ours + of_theirs
    possible = np.flatnonzero(_least_p(pooled, of_ours, every) <= _POSSIBLE)
    if not len(possible):
        return None
    p_values = _both_sides(ours[possible], pooled[possible], of_ours, every)
    telling = int(possible[np.argmin(p_values)])
    difference = ours[telling] / of_ours - theirs[telling] / of_theirs
    return Difference(
        "share of rows with a term",
        difference,
        min(1.0, float(p_values.min()) * len(possible)),
        abs(difference),
        telling,
    )


def largest_gap(reference: Counts, current: Counts) -> float:
    """The largest difference between the two cumulative distributions."""
    return float(np.abs(np.cumsum(reference) / reference.sum() - np.cumsum(current) / current.sum()).max())


def _middle_ranks(pooled: Counts) -> Floats:
    """For each bin the middle rank of its rows, from 0 to 1."""
    return np.asarray((np.cumsum(pooled) - pooled / 2) / pooled.sum())


def _linear_rank(reference: Counts, current: Counts, scores: Floats) -> tuple[float, float]:
    """The standardised sum of the current rows' scores, and its two-sided p-value given the pooled counts."""
    ours, theirs = float(current.sum()), float(reference.sum())
    every = ours + theirs
    pooled = reference + current
    away = scores - (pooled @ scores) / every
    variance = ours * theirs / (every * (every - 1)) * (pooled @ away**2)
    if variance <= 0:
        return 0.0, 1.0
    score = float((current @ away) / np.sqrt(variance))
    return score, float(2 * stats.norm.sf(abs(score)))


def _merge_rare(table: Floats) -> Floats:
    """The columns of the table by size, the rarest of them added up until none is too small."""
    table = table[:, np.argsort(-table.sum(axis=0), kind="stable")]
    expected = table.sum(axis=0) * table.sum(axis=1).min() / table.sum()
    kept = int((expected >= _FEWEST_EXPECTED).sum())
    rest = table[:, kept:].sum(axis=1, keepdims=True)
    if kept < table.shape[1] and expected[kept:].sum() < _FEWEST_EXPECTED:
        kept = max(kept - 1, 0)
        rest = table[:, kept:].sum(axis=1, keepdims=True)
    return table[:, :kept] if not rest.any() else np.concatenate([table[:, :kept], rest], axis=1)


def _both_sides(ours: Counts, pooled: Counts, rows: int, every: int) -> Floats:
    """Twice the smaller hypergeometric tail: `pooled` of `every` rows have a property, and `ours` of `rows` do."""
    mean = rows * pooled / every
    deviation = np.sqrt(mean * (1 - rows / every) * (every - pooled) / max(every - 1, 1))
    nearer = np.maximum(np.abs(ours - mean) - 0.5, 0)
    normal = 2 * stats.norm.sf(nearer / np.maximum(deviation, 1e-300))
    below = stats.hypergeom.cdf(ours, every, pooled, rows)
    above = stats.hypergeom.sf(ours - 1, every, pooled, rows)
    exact = 2 * np.minimum(below, above)
    few = np.minimum(pooled, every - pooled) <= _MOST_EXACT
    return np.asarray(np.minimum(np.where(few, exact, normal), 1.0))


def _least_p(pooled: Counts, rows: int, every: int) -> Floats:
    """The smallest p-value that a property of `pooled` rows could have."""
    least, most = np.maximum(0, pooled + rows - every), np.minimum(pooled, rows)
    return np.minimum(_both_sides(least, pooled, rows, every), _both_sides(most, pooled, rows, every))


def _log_choose(rows: int, taken: Counts) -> Floats:
    return np.asarray(special.gammaln(rows + 1) - special.gammaln(taken + 1) - special.gammaln(rows - taken + 1))
