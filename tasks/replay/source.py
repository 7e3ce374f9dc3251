"""The history that is replayed, and the source system that shows it as it was known at each moment."""

from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from configs.case import Case
from configs.faults import Kill
from configs.project import Project
from tasks.files import write_whole
from tasks.ingestion.batches import period_start
from tasks.ingestion.sources import BEGINNING, rows
from tasks.replay.errors import NotReplayable, NotToBeKilled, OutsideRows, TooLittleBefore
from tasks.replay.feed import as_known, periods
from tasks.replay.plant import KNOWN_AT, must_fit, planted
from tasks.replay.steps import Plan

_AT_MOST_WITHOUT = timedelta(days=2)
"""A history that ends so little before the replay has no end of its own: a night, a holiday."""


def history_of(project: Project, plan: Plan) -> pd.DataFrame:
    """The case's rows up to the end of the plan, with its faults in them; checked before anything starts.

    Raises OutsideRows, TooLittleBefore, NotReplayable, FaultUnfit, SourceUnreadable.
    """
    case = project.case(plan.case)
    if case.labels is not None:
        raise NotReplayable(case.name)
    frame = rows(case, BEGINNING, plan.end)
    first, last = (frame[case.contract.event_time].agg(one) for one in ("min", "max"))
    if not first < plan.start < plan.end or last < plan.end - _AT_MOST_WITHOUT:
        raise OutsideRows(case.name, (plan.start, plan.end), (first, last))
    _must_have_enough_before(project, case, frame, plan.start)
    if plan.in_process and any(isinstance(fault, Kill) for fault in plan.faults):
        raise NotToBeKilled
    for fault in plan.faults:
        must_fit(case, frame, fault, plan.start, plan.end)
    return planted(case, frame, plan.faults, plan.seed)


def _must_have_enough_before(project: Project, case: Case, frame: pd.DataFrame, start: datetime) -> None:
    until = period_start(case.batch_every, start - case.label_delay)
    when = frame[case.contract.event_time]
    found = periods(case, frame[when < until]).nunique()
    wanted = project.params(case.name).window.evaluate_batches + 1
    if found < wanted:
        raise TooLittleBefore(case.name, found, wanted, start)


class Source:
    """Files that stand for the source system: what it shows is what was known."""

    def __init__(self, case: Case, history: pd.DataFrame, rows_folder: Path, labels_folder: Path) -> None:
        self._case = case
        self._periods = {str(name): part for name, part in history.groupby(periods(case, history), sort=True)}
        self._rows, self._labels = rows_folder, labels_folder

    def show(self, moment: datetime, before: datetime | None) -> None:
        """Bring the files to what was known at `moment`; `before` is the moment they show already."""
        contract = self._case.contract
        keys = [contract.entity, contract.event_time, self._case.target, KNOWN_AT]
        for name, part in self._periods.items():
            when = part[contract.event_time]
            if when.iloc[0] >= moment or (before and part[KNOWN_AT].max() <= before and when.iloc[-1] < before):
                continue
            there = as_known(self._case, part, moment)
            _write(there.drop(columns=KNOWN_AT), self._rows / f"{name}.parquet")
            _write(there.loc[there[KNOWN_AT] <= moment, keys], self._labels / f"{name}.parquet")


def _write(frame: pd.DataFrame, path: Path) -> None:
    write_whole(path, lambda part: frame.to_parquet(part, index=False))
