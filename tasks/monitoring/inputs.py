"""One window's inputs against the reference: columns one by one, pairs of columns, and all of them together.

The scan's error rate is split between the three (discovery.py). A difference alarms if it is a discovery and more than
dust. The p-values told are corrected for all tests of the scan: each may be compared with the scan's error rate itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from configs.monitoring import InputParams
from tasks.monitoring.bins import CategoryBins, Counts, NumberBins
from tasks.monitoring.columns import category_name, names_of
from tasks.monitoring.discovery import Split, adjusted
from tasks.monitoring.grid import Bins, Grid
from tasks.monitoring.joint import PairTest, correlations, tell_apart
from tasks.monitoring.profile import ColumnProfile, Profile
from tasks.monitoring.terms import TermBins
from tasks.monitoring.two_sample import Difference, chi_squared, new_category, numbers, share, terms
from tasks.verdicts import Answer, Evidence, Verdict

TOGETHER = "all columns together"
MISSING = "share of missing values"
_MOST_PAIRS = 5
_FEWEST_SAMPLED = 60


@dataclass(frozen=True)
class Side:
    """The reference, or the current window."""

    profile: Profile
    sample: pd.DataFrame | None = None
    """Some of its rows, as `plain_rows` gives them; without one, all columns together are not tested."""


@dataclass(frozen=True)
class Scope:
    """Which columns are looked at, and how."""

    params: InputParams
    seed: int
    expected: frozenset[str] = frozenset()
    """Their drift is shown, and alarms nobody."""
    leave_out: frozenset[str] = frozenset()
    out_of_step: frozenset[str] = frozenset()
    """Columns that go round with the week, where the window holds other parts of it than the reference."""

    @property
    def not_jointly(self) -> frozenset[str]:
        """Columns that are looked at one by one only, if at all."""
        return self.leave_out | self.expected | self.out_of_step

    def expects(self, name: str, difference: Difference) -> bool:
        """Whether this column was to differ in this."""
        return name in self.expected or (name in self.out_of_step and difference.name != MISSING)


def compare_inputs(reference: Side, current: Side, grid: Grid, scope: Scope) -> tuple[Evidence, ...]:
    """What differs, alarms first: columns, the surest first, then pairs, then all together.

    Raises ContractDiffers or GridDiffers if a profile was not counted on this grid.
    """
    reference.profile.must_fit(grid.digest, grid.contract_version, "The reference")
    current.profile.must_fit(grid.digest, grid.contract_version, "The current window")
    found = [
        *_columns(reference.profile, current.profile, grid, scope),
        *_pairs(reference.profile, current.profile, grid, scope),
        *_together(reference.sample, current.sample, scope),
    ]
    return tuple(sorted(found, key=lambda evidence: (not evidence.alarm, not evidence.expected)))


@dataclass(frozen=True, slots=True)
class Ruled:
    """The answer of a scan of the inputs."""

    answer: Answer
    text: str


def rule_on(
    evidence: Sequence[Evidence], rows: tuple[int, int], against: str, params: InputParams, earlier: Sequence[Verdict]
) -> Ruled:
    """Alarm when k of the last n scans found something: this one, and the `earlier` ones, the newest first.

    `rows`: of the reference, and of the current window.
    """
    for what, found in zip((f"the reference ({against})", "the window"), rows, strict=True):
        if found < params.min_rows:
            wanted = f"at least {params.min_rows:,} are needed, {params.min_rows - found:,} more"
            return Ruled(Answer.waiting, f"{found:,} rows in {what}: {wanted}")
    hits = [one for one in evidence if one.alarm]
    if not hits:
        tested = len({one.subject for one in evidence})
        shown = names_of(one.model_copy(update={"alarm": True}) for one in evidence if one.expected)
        also = f"; expected to change, and did: {shown}" if shown else ""
        return Ruled(Answer.clear, f"no difference from {against} in {tested} columns and pairs{also}")
    differ = "differs" if len({one.subject for one in hits}) == 1 else "differ"
    text = f"{names_of(hits)} {differ} from {against}: {hits[0].text}"
    least, last = params.persistence
    before = sum(any(one.alarm for one in verdict.evidence) for verdict in earlier[: last - 1])
    if 1 + before >= least:
        return Ruled(Answer.alarm, text)
    return Ruled(Answer.clear, f"{text}; found in {1 + before} of the last {last} scans, {least} make an alarm")


def _columns(reference: Profile, current: Profile, grid: Grid, scope: Scope) -> list[Evidence]:
    watched = [name for name in current.columns if name not in scope.leave_out]
    found: list[tuple[float, Evidence]] = []
    for is_expected in (False, True):
        family = [
            (name, difference)
            for name in watched
            for difference in _differences(grid.columns[name], reference.columns[name], current.columns[name])
            if scope.expects(name, difference) is is_expected
        ]
        rate = scope.params.error_rate
        part = Split.of(rate).columns
        corrected = adjusted([difference.p_value for _, difference in family])
        for (name, difference), p_value in zip(family, corrected, strict=True):
            told = min(1.0, p_value * rate / part)
            is_found = told <= rate and difference.effect >= scope.params.least_effect
            sides = reference.columns[name], current.columns[name]
            evidence = Evidence(
                subject=name,
                test=difference.name,
                statistic=difference.statistic,
                p_value=told,
                effect=difference.effect,
                alarm=is_found and not is_expected,
                expected=is_found and is_expected,
                text=_in_words(name, grid.columns[name], difference, *sides),
            )
            found.append((difference.p_value, evidence))
    # The surest first; where several are as sure as can be, the largest.
    return [evidence for _, evidence in sorted(found, key=lambda one: (one[0], -(one[1].effect or 0.0)))]


def _differences(bins: Bins, reference: ColumnProfile, current: ColumnProfile) -> Iterator[Difference]:
    """The tests of one column that have something to test."""
    values: Difference | None
    if isinstance(bins, NumberBins):
        values = numbers(reference.counts, current.counts)
    elif isinstance(bins, CategoryBins):
        values = chi_squared(reference.counts, current.counts)
    else:
        values = terms((reference.counts, reference.present), (current.counts, current.present))
    told = (reference.nulls, reference.rows - reference.absent), (current.nulls, current.rows - current.absent)
    tests = [values, share(MISSING, *told)]
    if isinstance(bins, CategoryBins):
        tests.append(new_category(reference.counts, current.counts))
    yield from (test for test in tests if test is not None)


def _in_words(name: str, bins: Bins, found: Difference, reference: ColumnProfile, current: ColumnProfile) -> str:
    if found.name == MISSING:
        shares = [_percent(side.nulls, side) for side in (current, reference)]
        return f"`{name}` is missing in {shares[0]} of rows, was {shares[1]}"
    if isinstance(bins, NumberBins):
        halves = [_middle(bins, side.counts) for side in (current, reference)]
        return f"`{name}` has median {halves[0]:.4g}, was {halves[1]:.4g}; largest gap {found.effect:.3f}"
    if found.place is None:
        return f"`{name}`: no category that was never seen"
    called = bins.name(found.place) if isinstance(bins, TermBins) else f"`{category_name(bins, found.place, current)}`"
    now, before = (_percent(int(side.counts[found.place]), side) for side in (current, reference))
    return f"`{name}` is {called} in {now} of rows, was {before}"


def _percent(found: int, side: ColumnProfile) -> str:
    return f"{100 * found / side.rows:.2g} %" if side.rows else "none"


def _middle(bins: NumberBins, counts: Counts) -> float:
    """The median, as closely as the bins tell."""
    return float(bins.middles[np.searchsorted(np.cumsum(counts), counts.sum() / 2)])


def _pairs(reference: Profile, current: Profile, grid: Grid, scope: Scope) -> list[Evidence]:
    tests = correlations(reference.pairs, current.pairs, grid.paired, scope.not_jointly)
    rate = scope.params.error_rate
    times = len(tests) * rate / Split.of(rate).pairs
    tests = sorted(tests, key=lambda test: test.p_value)[:_MOST_PAIRS]
    return [_pair(test, min(1.0, test.p_value * times), scope.params) for test in tests]


def _pair(test: PairTest, p_value: float, params: InputParams) -> Evidence:
    one, other = test.pair
    return Evidence(
        subject=f"{one} & {other}",
        test="rank correlation",
        statistic=test.now - test.before,
        p_value=p_value,
        effect=test.effect,
        alarm=p_value <= params.error_rate and test.effect >= params.least_effect,
        text=f"`{one}` and `{other}` have rank correlation {test.now:.2f}, was {test.before:.2f}",
    )


def _together(reference: pd.DataFrame | None, current: pd.DataFrame | None, scope: Scope) -> list[Evidence]:
    if reference is None or current is None or min(len(reference), len(current)) < _FEWEST_SAMPLED:
        return []
    names = [name for name in reference.columns if name in current and name not in scope.not_jointly]
    names = [name for name in names if reference[name].notna().any() or current[name].notna().any()]
    if not names:
        return []
    rate, most = scope.params.error_rate, scope.params.sample_rows
    part = Split.of(rate).together
    told = tell_apart(reference[names].head(most), current[names].head(most), part, scope.seed)
    p_value = min(1.0, told.p_value * rate / part)
    given = f", mostly by {', '.join(f'`{name}`' for name in told.columns)}" if told.columns else ""
    return [
        Evidence(
            subject=TOGETHER,
            test="cross-fitted domain classifier",
            statistic=told.auc,
            p_value=p_value,
            effect=told.effect,
            alarm=p_value <= rate and told.effect >= scope.params.least_effect,
            text=f"current rows are told from the reference's with AUC {told.auc:.3f}{given}",
        )
    ]
