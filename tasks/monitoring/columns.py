"""Columns that are broken rather than drifted: each gets its own words, and none stops the others.

What the contract allows in a share of the rows is tested: an alarm is raised where chance would find such a share less
than once in ten thousand columns.
"""

from collections.abc import Collection, Iterable, Iterator

import numpy as np
from scipy import stats

from configs.case import Column, Contract
from tasks.monitoring.bins import CategoryBins, NumberBins
from tasks.monitoring.grid import Bins, Grid
from tasks.monitoring.profile import ColumnProfile, Profile
from tasks.verdicts import Evidence

CHANCE = 1e-4
_DIFFER = "values differ"
_TOLERATED = 0.001
"""A smaller share of rows outside a range or a list is shown, and alarms nobody."""


def broken_columns(  # noqa: PLR0913, PLR0917
    contract: Contract,
    grid: Grid,
    current: Profile,
    reference: Profile | None,
    leave_out: frozenset[str],
    expected: Collection[str] = (),
) -> tuple[Evidence, ...]:
    """What is wrong with the features of the current rows, alarms first, the most affected rows first.

    An `expected` column may well have one value in all rows of a window, as the season has.
    """
    found = [
        evidence
        for name in contract.features
        if name in current.columns and name not in leave_out
        for evidence in _column(
            name,
            contract.columns[name],
            grid.columns[name],
            current.columns[name],
            reference.columns[name] if reference else None,
        )
    ]
    found = [_as_expected(one) if one.test == _DIFFER and one.subject in expected else one for one in found]
    return tuple(sorted(found, key=lambda evidence: (not evidence.alarm, -(evidence.effect or 0.0))))


def _column(
    name: str, promised: Column, bins: Bins, current: ColumnProfile, reference: ColumnProfile | None
) -> Iterator[Evidence]:
    rows = current.rows
    if not rows:
        return
    if current.absent == rows:
        yield _said(name, "column is there", rows, rows, f"none of the {rows:,} rows has the column: it vanished")
        return
    if current.absent:
        yield _said(name, "column is there", current.absent, rows, f"{_of(current.absent, rows)} have no such column")
    if current.wrong:
        text = f"{_of(current.wrong, rows)} have values of another type than {promised.type}: it was retyped"
        yield _said(name, "type", current.wrong, rows, text)
    if current.infinite:
        yield _said(name, "finite values", current.infinite, rows, f"{_of(current.infinite, rows)} are infinite")
    yield from _missing(name, promised, current, reference)
    yield from _outside(name, promised, bins, current)
    yield from _constant(name, bins, current, reference)


def _missing(
    name: str, promised: Column, current: ColumnProfile, reference: ColumnProfile | None
) -> Iterator[Evidence]:
    nulls, rows = current.nulls, current.rows - current.absent
    if not nulls:
        return
    allowed = promised.may_be_missing
    if allowed >= 1 and reference is not None and reference.rows:
        allowed = (reference.nulls + 1) / (reference.rows + 2) if nulls == rows else 1.0
    if nulls == rows and _is_too_many(nulls, rows, allowed):
        yield _said(name, "missing values", nulls, rows, f"all {rows:,} values are missing")
    elif _is_too_many(nulls, rows, promised.may_be_missing):
        text = f"{_of(nulls, rows)} are missing; the contract allows {100 * promised.may_be_missing:g} %"
        yield _said(name, "missing values", nulls, rows, text)


def _outside(name: str, promised: Column, bins: Bins, current: ColumnProfile) -> Iterator[Evidence]:
    if isinstance(bins, NumberBins):
        outside, allowed = bins.outside(current.counts), 0.0
        what = f"outside {bins.low} to {bins.high} (from {current.low:g} to {current.high:g})" if outside else ""
    elif isinstance(bins, CategoryBins):
        outside, allowed = bins.unlisted(current.counts), promised.unseen
        what = f"of a category the contract does not list{_examples(bins, current)}"
    else:
        return
    if not outside:
        return
    alarm = _is_too_many(outside, current.rows, max(allowed, _TOLERATED))
    yield _said(name, "range" if isinstance(bins, NumberBins) else "categories", outside, current.rows,
                f"{_of(outside, current.rows)} are {what}", alarm=alarm)  # fmt: skip


def _constant(name: str, bins: Bins, current: ColumnProfile, reference: ColumnProfile | None) -> Iterator[Evidence]:
    """One value alone, where the reference says that so many rows with the same one are hardly chance."""
    filled = np.flatnonzero(current.counts)
    is_one_value = len(filled) == 1 and (not isinstance(bins, NumberBins) or current.low == current.high)
    if not is_one_value or reference is None or reference.present < 1 or np.count_nonzero(reference.counts) == 1:
        return
    usual = (int(reference.counts[filled[0]]) + 1) / (reference.present + 2)
    if _is_too_many(current.present, current.present, usual):
        value = (
            f"{current.low:g}" if isinstance(bins, NumberBins) else f"`{category_name(bins, int(filled[0]), current)}`"
        )
        text = f"all {current.present:,} values are {value}, which {100 * usual:.2g} % of the reference are"
        yield _said(name, _DIFFER, current.present, current.rows, text)


def _as_expected(evidence: Evidence) -> Evidence:
    return evidence.model_copy(update={"alarm": False, "expected": True})


def category_name(bins: Bins, place: int, counted: ColumnProfile) -> str:
    """What a bin of categories is called."""
    if not isinstance(bins, CategoryBins):
        return ""
    if place < len(bins.categories):
        return bins.categories[place]
    return counted.names[place - len(bins.categories)] or "another"


def _examples(bins: CategoryBins, current: ColumnProfile) -> str:
    listed = bins.listed or 0
    places = [int(place) for place in np.flatnonzero(current.counts) if place >= listed]
    places.sort(key=lambda place: -int(current.counts[place]))
    names = [f"`{category_name(bins, place, current)}`" for place in places[:3]]
    return f" (for example {', '.join(names)})" if names else ""


def _is_too_many(found: int, rows: int, allowed: float) -> bool:
    """Whether chance finds so many less often than once in ten thousand where the contract allows this share."""
    if allowed >= 1 or not found:
        return False
    return bool(stats.binom.sf(found - 1, rows, allowed) < CHANCE)


def _said(  # noqa: PLR0913
    name: str, test: str, found: int, rows: int, text: str, *, alarm: bool = True
) -> Evidence:
    share = found / rows
    return Evidence(subject=name, test=test, statistic=float(found), effect=share, alarm=alarm, text=text)


def _of(found: int, rows: int) -> str:
    return f"{found:,} of {rows:,} rows ({100 * found / rows:.2g} %)"


def names_of(evidence: Iterable[Evidence], most: int = 3) -> str:
    """The subjects that alarm, for a sentence."""
    names = list(dict.fromkeys(f"`{one.subject}`" for one in evidence if one.alarm))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
