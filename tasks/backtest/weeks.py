"""A case's recorded history, cut into the weeks that a back-test walks through (months, where a batch is a month).

Every delivered batch is taken as it was delivered; what was never delivered is taken from the source and kept beside
the fits, in the same form. Nothing is validated here: history is what the case's models did learn from.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from configs.case import Case
from configs.project import Project
from tasks.backtest.errors import OutsideHistory, TooShort
from tasks.features.labels import labels
from tasks.files import sha256, write_text, write_whole
from tasks.ingestion.batches import batch_of, delivered, period_end, period_id, period_of, period_start, read_batch
from tasks.ingestion.sources import BEGINNING, rows
from tasks.records import Batch

log = logging.getLogger(__name__)

_WHOLE = "whole"
_A_DAY = timedelta(days=1)
_ROOT = Path("/")
"""Batches of a history are named by their whole path."""


@dataclass(frozen=True)
class Week:
    """One step of the walk: the batches of a week (or month)."""

    name: str
    start: datetime
    end: datetime
    first: int
    """Of its batches in the history, and the one after its last."""
    stop: int


@dataclass(frozen=True)
class Rows:
    """The rows of some batches, in the order of their files."""

    frame: pd.DataFrame
    event_time: pd.Series
    label: pd.Series
    """Missing where none ever came."""

    @cached_property
    def known(self) -> np.ndarray:
        return self.label.notna().to_numpy()


class History:
    """Batches in order, the weeks they make, and their rows."""

    def __init__(self, case: Case, batches: Iterable[Batch]) -> None:
        self.case = case
        self.batches = tuple(batches)
        self.weeks = tuple(_weeks(case, self.batches))
        self._rows: dict[int, Rows] = {}

    @property
    def unit(self) -> Literal["week", "month"]:
        return "month" if self.case.batch_every == "month" else "week"

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each batch's file."""
        return tuple(sha256(Path(batch.file)) for batch in self.batches)

    def rows(self, batch: int) -> Rows:
        """The rows of one batch; read once."""
        if batch not in self._rows:
            frame = read_batch(_ROOT, self.batches[batch])
            event_time = frame[self.case.contract.event_time]
            self._rows[batch] = Rows(frame, event_time, labels(self.case, frame))
        return self._rows[batch]

    def rows_of(self, batch: Batch) -> int:
        """How many rows one of the batches holds."""
        return len(self.rows(self.batches.index(batch)).frame)

    def labels(self, stop: int) -> int:
        """How many labels the batches before `stop` hold."""
        return sum(int(self.rows(batch).known.sum()) for batch in range(stop))

    def labelled(self, as_of: datetime) -> int:
        """How many batches, from the first on, have had the time to get all of their labels by `as_of`."""
        return sum(batch.end + self.case.label_delay <= as_of for batch in self.batches)

    def decides_at(self, week: Week) -> datetime:
        """When policies decide in a week: at the hour at which the labels of some whole week have just come in."""
        length = timedelta(days=7 if self.unit == "week" else 28)
        return week.start + self.case.label_delay % length


def collect(project: Project, case_name: str, folder: Path, as_of: datetime) -> History:
    """The history of a case up to `as_of`, its last week whole. Raises SourceUnreadable or TooShort."""
    case = project.case(case_name)
    was = {period_of(batch.batch_id): batch for batch in delivered(case, project.files(case_name).deliveries, as_of)}
    here = {
        period: batch.model_copy(update={"file": str(project.files(case_name).deliveries / batch.file)})
        for period, batch in was.items()
    }
    from_source = _from_source(case, folder / "history", as_of)
    found = from_source | here
    history = History(case, [found[period] for period in sorted(found)])
    if len(history.weeks) < 2:
        raise TooShort(case_name, len(history.weeks), 2, history.unit)
    return history


def between(history: History, start: datetime | None, end: datetime | None, warm_up: int) -> tuple[Week, ...]:
    """The weeks that lie in `[start, end)`, all of those with `warm_up` weeks before them by default.

    Raises OutsideHistory or TooShort.
    """
    weeks, case = history.weeks, history.case.name
    if len(weeks) <= warm_up:
        raise TooShort(case, len(weeks), warm_up + 1, history.unit)
    possible = weeks[warm_up].start, weeks[-1].end
    asked = start or possible[0], end or possible[1]
    chosen = tuple(week for week in weeks if week.start >= asked[0] and week.end <= asked[1])
    if asked[0] < possible[0] or asked[1] > possible[1] or not chosen:
        why = (
            f"{len(weeks)} whole {history.unit}s from {weeks[0].start:%Y-%m-%d}, the first {warm_up} for a first model"
        )
        raise OutsideHistory(case, asked, possible, why)
    return chosen


def _from_source(case: Case, folder: Path, as_of: datetime) -> dict[str, Batch]:
    if not ((folder / _WHOLE).is_file() and case.source.kind == "recorded"):
        _write(case, folder, rows(case, BEGINNING, as_of))
    kept = (folder / _WHOLE).read_text(encoding="utf-8").split()
    found = {name: batch_of(case, name) for name in kept}
    return {
        name: batch.model_copy(update={"file": str(folder / batch.file)})
        for name, batch in found.items()
        if batch.end <= as_of
    }


def _write(case: Case, folder: Path, frame: pd.DataFrame) -> None:
    """The source's rows as batches; the last one only if rows reach into its last day."""
    moments = frame[case.contract.event_time]
    starts = {
        day: period_start(case.batch_every, day.to_pydatetime()) for day in moments.dt.floor("D").dropna().unique()
    }
    names = []
    for start, part in frame.groupby(moments.dt.floor("D").map(starts), sort=True):
        if moments.max() >= period_end(case.batch_every, start) - _A_DAY:
            names.append(period_id(case.batch_every, start))
            whole = part.reset_index(drop=True)
            write_whole(folder / f"{names[-1]}.parquet", partial(whole.to_parquet, index=False, compression="zstd"))
    write_text(folder / _WHOLE, "\n".join(names))
    log.info("backtest %s: %d batches taken from the source", case.name, len(names))


def _weeks(case: Case, batches: tuple[Batch, ...]) -> Iterable[Week]:
    every = "month" if case.batch_every == "month" else "week"
    for start, group in groupby(range(len(batches)), key=lambda number: period_start(every, batches[number].start)):
        numbers = list(group)
        end = period_end(every, start)
        if batches[numbers[-1]].end >= end:
            yield Week(period_id(every, start), start, end, numbers[0], numbers[-1] + 1)
