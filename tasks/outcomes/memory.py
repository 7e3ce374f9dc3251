"""What is remembered of a champion's life, day by day, so that a look costs the days that changed and not the life.

A day is known by the files its outcomes lie in: they are never changed, so the same files are the same rows and labels.
A late or corrected label is a new file of its day, which is then read anew; what was never different is added up from
here. So the sums are those of reading everything again, to the last bit.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from tasks.evaluation.predictions import Floats
from tasks.files import sha256
from tasks.monitoring import sequential
from tasks.outcomes import calibration, concept, promise
from tasks.outcomes.promise import Promise
from tasks.outcomes.shelf import Shelf
from tasks.outcomes.state import Day
from tasks.records import Record

_CODE = (calibration, concept, promise, sequential)
"""What the sums are computed by: another release computes them anew."""


class DayTold(Record):
    """What the outcomes of one day of answers told."""

    files: str
    """Digest of what the store says of the day."""
    came: tuple[tuple[int | None, int], ...]
    """Rows of any version by the hours after which their label came; None: it has not."""
    rows: int
    """Answered by the champion."""
    labels: int
    """Of these."""
    log_ratios: tuple[float, ...]
    """Of each change that is watched for, summed."""


class Memory(Record):
    """The days of one champion's life that were read."""

    version: str
    promise: str
    """Digest of what its labels are held against, and by which code."""
    days: dict[date, DayTold] = Field(default_factory=dict)

    def told(self, day: Day, shelf: Shelf) -> DayTold | None:
        """What a day told, if its outcomes are still those that were read."""
        kept = self.days.get(day.day)
        return kept if kept and kept.files == digest_of(day, shelf) else None


def recalled(text: str | None, version: str, learnt: Promise) -> Memory:
    """What was kept, if it is about this champion, this promise and this code; else nothing."""
    nothing = Memory(version=version, promise=_digest(learnt))
    kept = Memory.model_validate_json(text) if text else nothing
    return kept if (kept.version, kept.promise) == (nothing.version, nothing.promise) else nothing


def digest_of(day: Day, shelf: Shelf) -> str:
    """Of all the store says of a day, and of its files as they lie here."""
    stamps = [shelf.stamp(name) for name in (*(part.name for part in day.parts), *day.late)]
    return hashlib.sha256("\n".join([day.model_dump_json(), *stamps]).encode()).hexdigest()


def counts_of(days: Mapping[date, DayTold]) -> pd.DataFrame:
    """The days' labels as `count_labels` counts them."""
    rows = [(day, hours, count) for day, told in sorted(days.items()) for hours, count in told.came]
    found = pd.DataFrame(rows, columns=["day", "hours", "rows"])
    return found.assign(day=pd.to_datetime(found["day"]), hours=found["hours"].astype(np.float64))


def _digest(learnt: Promise) -> str:
    told = {
        name: {key: _plain(value) for key, value in sorted(vars(each).items())}
        for name, each in learnt.calibrations.items()
    }
    errors = {} if learnt.errors is None else {key: _plain(value) for key, value in sorted(vars(learnt.errors).items())}
    return hashlib.sha256(json.dumps([learnt.problem, told, errors, _code()]).encode()).hexdigest()


def _plain(value: Floats | float | Mapping[str, Floats]) -> object:
    if isinstance(value, Mapping):
        return {name: each.tolist() for name, each in sorted(value.items())}
    return value.tolist() if isinstance(value, np.ndarray) else value


@cache
def _code() -> str:
    return hashlib.sha256("".join(sha256(Path(str(module.__file__))) for module in _CODE).encode()).hexdigest()
