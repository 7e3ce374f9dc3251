"""History with faults planted in it: how each changes the rows that are asked, and when labels are known; pure."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs.case import Case, ColumnType, Problem
from configs.faults import Concept, Fault, LateLabels, Nulls, Outage, Shift, Stale, Timed, Units
from tasks.features.labels import labels
from tasks.replay.errors import FaultUnfit

KNOWN_AT = "known_at"
"""When a row's target is known, beside the columns of the source."""
Mask = NDArray[np.bool_]
_NUMBERS = (ColumnType.integer, ColumnType.number)


def planted(case: Case, frame: pd.DataFrame, faults: Sequence[Fault], seed: int) -> pd.DataFrame:
    """The rows in order of time with every fault in them, and KNOWN_AT. Raises FaultUnfit.

    The same rows, faults and seed give the same history. Rows without an event time are left out: nobody asks them.
    """
    when = case.contract.event_time
    there = frame[frame[when].notna()].sort_values([when, case.contract.entity], kind="stable", ignore_index=True)
    changed = there.assign(**{KNOWN_AT: there[when] + case.label_delay})
    for number, fault in enumerate(faults):
        draw = np.random.default_rng([seed, number])
        changed = _plant(case, changed, fault, draw)
    return changed


def _plant(  # noqa: PLR0911 - one for each kind
    case: Case, frame: pd.DataFrame, fault: Fault, draw: np.random.Generator
) -> pd.DataFrame:
    touched = during(fault, frame[case.contract.event_time])
    match fault:
        case Units():
            return _number(case, frame, fault, touched, frame[fault.column].astype("float64") * fault.factor)
        case Shift():
            values = frame[fault.column].astype("float64")
            return _number(case, frame, fault, touched, _inside(case, fault.column, values + fault.by * values.std()))
        case Nulls():
            return _without(case, frame, fault.column, touched & (draw.random(len(frame)) < fault.share))
        case Stale():
            return _repeated(case, frame, touched)
        case Outage():
            return frame[~touched].reset_index(drop=True)
        case Concept():
            return _turned(case, frame, touched & _slice(frame, fault) & (draw.random(len(frame)) < fault.share), draw)
        case LateLabels():
            later = frame[KNOWN_AT] + pd.Timedelta(hours=fault.hours)
            return frame.assign(**{KNOWN_AT: frame[KNOWN_AT].where(~touched, later)})
    return frame  # what happens to a model or to the gateway changes no row


def during(fault: Timed, moments: pd.Series) -> Mask:
    """Which of the moments a fault covers."""
    inside = moments >= fault.start
    return np.asarray(inside if fault.end is None else inside & (moments < fault.end), dtype=np.bool_)


def must_fit(case: Case, frame: pd.DataFrame, fault: Fault, start: datetime, end: datetime) -> None:
    """Raises FaultUnfit for a time outside `[start, end)`, a column or a slice that is not there, or not a number."""
    name = f"{fault.fault}@{fault.start:%Y-%m-%d}"
    if not start <= fault.start < end:
        raise FaultUnfit(name, f"the replay goes from {start:%Y-%m-%d} to {end:%Y-%m-%d}.")
    if isinstance(fault, Units | Shift | Nulls):
        _must_be_a_feature(case, name, fault.column)
    if isinstance(fault, Units | Shift) and case.contract.columns[fault.column].type not in _NUMBERS:
        raise FaultUnfit(name, f"`{fault.column}` is {case.contract.columns[fault.column].type}, not a number.")
    if isinstance(fault, Concept) and fault.column is not None:
        _must_be_a_feature(case, name, fault.column)
        if not _slice(frame, fault).any():
            some = ", ".join(map(str, frame[fault.column].dropna().unique()[:5]))
            raise FaultUnfit(name, f"no row has `{fault.column}` = {fault.value}; some of its values: {some}.")


def _must_be_a_feature(case: Case, name: str, column: str) -> None:
    if column not in case.contract.features:
        raise FaultUnfit(name, f"`{case.name}` has no feature `{column}`; it has: {', '.join(case.contract.features)}.")


def _number(case: Case, frame: pd.DataFrame, fault: Units | Shift, touched: Mask, values: pd.Series) -> pd.DataFrame:
    """The column with `values` where it is touched, in the type it is delivered in."""
    column, old = fault.column, frame[fault.column]
    if case.contract.columns[column].type is ColumnType.integer:
        values = values.round()
    mixed = old.astype("float64").where(~touched, values)
    return frame.assign(**{column: mixed if mixed.isna().any() else mixed.astype(old.dtype)})


def _inside(case: Case, column: str, values: pd.Series) -> pd.Series:
    low, high = case.contract.columns[column].range or (None, None)
    return values.clip(low, high)


def _without(case: Case, frame: pd.DataFrame, column: str, touched: Mask) -> pd.DataFrame:
    old = frame[column]
    nothing = old.astype("Int64") if case.contract.columns[column].type is ColumnType.integer else old
    if old.dtype == np.bool_:
        nothing = old.astype("object")
    return frame.assign(**{column: nothing.mask(touched)})


def _repeated(case: Case, frame: pd.DataFrame, touched: Mask) -> pd.DataFrame:
    """Features of the rows just before, again and again; who is asked about and when stays."""
    places = np.flatnonzero(touched)
    if not len(places) or not places[0]:
        return frame
    length = min(len(places), places[0])
    source = places[0] - length + np.arange(len(places)) % length
    columns = [*case.contract.features]
    again = frame[columns].copy()
    again.iloc[places] = frame[columns].iloc[source].to_numpy(dtype=object)
    return frame.assign(**{name: again[name].astype(frame[name].dtype) for name in columns})


def _slice(frame: pd.DataFrame, fault: Concept) -> Mask:
    if fault.column is None:
        return np.ones(len(frame), dtype=np.bool_)
    return np.asarray(frame[fault.column].astype("string") == fault.value, dtype=np.bool_)


def _turned(case: Case, frame: pd.DataFrame, touched: Mask, draw: np.random.Generator) -> pd.DataFrame:
    """Each touched row gets the target of some row that turned out the other way."""
    label = labels(case, frame)
    if case.problem is Problem.regression:
        label = (label > label.median()).astype("float64").where(label.notna())
    target = frame[case.target].copy()
    known = label.notna().to_numpy()
    for value in label.dropna().unique():
        mine = np.flatnonzero(touched & known & (label == value).to_numpy())
        others = np.flatnonzero(known & (label != value).to_numpy())
        if len(mine) and len(others):
            target.iloc[mine] = frame[case.target].iloc[draw.choice(others, len(mine))].to_numpy()
    return frame.assign(**{case.target: target})
