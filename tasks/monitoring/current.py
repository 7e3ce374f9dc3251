"""The champion's answers in a window: all of them counted, and a bounded sample drawn by hash."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from configs.case import Problem
from tasks.monitoring.answers import Answers
from tasks.monitoring.estimate import Answers as Estimable
from tasks.monitoring.grid import SCORE
from tasks.monitoring.reference import About

MOST_SCORES = 1_000_000
"""Beyond so many rows, those with the lowest hash of request and row speak for all."""

_HASHES = 2.0**64
_ABOUT = ("request_id", "row", "model_version", "role", "fallback", "contract_version")


@dataclass(frozen=True)
class Current:
    """What the champion answered in a window."""

    rows: int
    """Answered by the champion itself."""
    others: int
    """Answered by another version, another role, or a stand-in."""
    of_another_contract: int
    """Of the champion's, checked against another contract version than its reference; not in `rows`."""
    answers: Estimable
    sample: pd.DataFrame
    """Features and `score` of at most so many rows."""
    unusable: int = 0
    """Of the champion's, whose score is no number, or of other classes than its reference; not in `rows`."""

    @property
    def sampled_answers(self) -> Estimable:
        """The answers to the rows of the sample: both hold the lowest hashes, in their order."""
        return self.answers.at(np.arange(len(self.sample)))


@dataclass(frozen=True)
class Wanted:
    """Whose answers, and what of them."""

    version: str
    contract_version: int
    problem: Problem
    classes: tuple[str, ...]
    features: tuple[str, ...]
    sample_rows: int

    @classmethod
    def of(cls, about: About, sample_rows: int) -> "Wanted":
        """The answers of the version a reference is of."""
        return cls(about.version, about.contract_version, about.problem, about.classes, about.features, sample_rows)


def read_current(log: Answers, wanted: Wanted, start: datetime, end: datetime) -> Current:
    """Read the window `[start, end)` once."""
    scores, sample = _Lowest(MOST_SCORES), _Lowest(wanted.sample_rows)
    rows = seen = elsewhere = unusable = 0
    for batch in log.batches(start, end, (*_ABOUT, *_answer_columns(wanted.problem), *wanted.features)):
        seen += batch.num_rows
        own = batch.filter(_own(batch, wanted))
        same = own.filter(pc.equal(own.column("contract_version").cast(pa.int64()), wanted.contract_version))
        elsewhere += own.num_rows - same.num_rows
        usable, numbers = _scores(same, wanted)
        unusable += int((~usable).sum())
        kept = same.filter(pa.array(usable))
        rows += kept.num_rows
        keys = _keys(kept)
        scores.add(keys, pd.DataFrame(numbers).assign(**_predicted(kept, wanted)))
        low = keys < sample.limit
        features = kept.select(list(wanted.features)).filter(pa.array(low)).to_pandas()
        sample.add(keys[low], features.assign(**{SCORE: _top(numbers)[low]}))
    return Current(
        rows=rows,
        others=seen - rows - elsewhere - unusable,
        of_another_contract=elsewhere,
        answers=_estimable(scores.frame, wanted),
        sample=sample.frame.reindex(columns=[*wanted.features, SCORE]),
        unusable=unusable,
    )


class _Lowest:
    """The rows with the lowest keys among all that were added, at most `most`: the same in whatever order they come."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = _HASHES
        """Rows with a key at or above it are not taken any more."""
        self._kept: list[tuple[NDArray[np.uint64], pd.DataFrame]] = []
        self._rows = 0

    def add(self, keys: NDArray[np.uint64], frame: pd.DataFrame) -> None:
        low = keys < self.limit
        if not low.any():
            return
        self._kept.append((keys[low], frame[low]))
        self._rows += int(low.sum())
        if self._rows > 2 * self._most:
            self._thin()

    @property
    def frame(self) -> pd.DataFrame:
        self._thin()
        return self._kept[0][1] if self._kept else pd.DataFrame()

    def _thin(self) -> None:
        if not self._kept:
            return
        keys = np.concatenate([kept for kept, _ in self._kept])
        frame = pd.concat([kept for _, kept in self._kept], ignore_index=True)
        order = np.argsort(keys, kind="stable")[: self._most]
        if len(keys) > self._most:
            self.limit = float(keys[order[-1]])
        self._kept, self._rows = [(keys[order], frame.iloc[order].reset_index(drop=True))], len(order)


def _answer_columns(problem: Problem) -> tuple[str, ...]:
    return {
        Problem.binary: ("prediction", "probability"),
        Problem.multiclass: ("probabilities", "classes"),
        Problem.regression: ("prediction",),
    }[problem]


def _own(batch: pa.RecordBatch, wanted: Wanted) -> pa.Array:
    """Rows the champion answered itself."""
    version, role, fallback = (batch.column(name).cast(pa.string()) for name in ("model_version", "role", "fallback"))
    by_it = pc.and_(pc.equal(version, wanted.version), pc.equal(role, "champion"))
    return pc.and_(by_it, pc.equal(pc.fill_null(fallback, ""), ""))


def _scores(batch: pa.RecordBatch, wanted: Wanted) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which rows have a score that can be read, and these scores: (n,), or (n, k) of k classes."""
    if wanted.problem is Problem.multiclass:
        return _probabilities(batch, wanted.classes)
    told = batch.column("probability" if wanted.problem is Problem.binary else "prediction")
    numbers = told.cast(pa.float64()).to_numpy(zero_copy_only=False)
    usable = np.isfinite(numbers)
    return usable, numbers[usable]


def _probabilities(batch: pa.RecordBatch, classes: tuple[str, ...]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    count = len(classes)
    lists = [batch.column(name) for name in ("probabilities", "classes")]
    if any(not pa.types.is_list(each.type) for each in lists):
        return np.zeros(batch.num_rows, dtype=bool), np.empty((0, count))
    lengths = [pc.fill_null(pc.list_value_length(each), -1).to_numpy(zero_copy_only=False) for each in lists]
    usable = (lengths[0] == count) & (lengths[1] == count)
    values, names = (each.filter(pa.array(usable)).flatten() for each in lists)
    numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False).reshape(-1, count)
    place = pc.fill_null(pc.index_in(names.cast(pa.string()), value_set=pa.array(classes, pa.string())), -1)
    in_order = (place.to_numpy(zero_copy_only=False).reshape(-1, count) == np.arange(count)).all(axis=1)
    right = in_order & np.isfinite(numbers).all(axis=1)
    usable[np.flatnonzero(usable)[~right]] = False
    return usable, numbers[right]


def _predicted(batch: pa.RecordBatch, wanted: Wanted) -> dict[str, NDArray[np.bool_]]:
    """What a binary champion said, where its threshold is not a half."""
    if wanted.problem is not Problem.binary:
        return {}
    said = pc.fill_null(batch.column("prediction").cast(pa.float64()), 0.0)
    return {"predicted": said.to_numpy(zero_copy_only=False) > 0}


def _top(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    return numbers if numbers.ndim == 1 else numbers.max(axis=1)


def _estimable(frame: pd.DataFrame, wanted: Wanted) -> Estimable:
    numbers = frame.drop(columns="predicted", errors="ignore").to_numpy(dtype=np.float64)
    if wanted.problem is Problem.multiclass:
        return Estimable(wanted.problem, numbers.reshape(len(frame), len(wanted.classes)))
    predicted = frame["predicted"].to_numpy(dtype=bool) if "predicted" in frame else None
    return Estimable(wanted.problem, numbers.reshape(len(frame)), predicted)


def _keys(batch: pa.RecordBatch) -> NDArray[np.uint64]:
    """A hash of each row's request and number: evenly spread, and the same whenever it is read."""
    request = pd.util.hash_array(batch.column("request_id").to_numpy(zero_copy_only=False))
    row = batch.column("row").cast(pa.int64()).to_numpy(zero_copy_only=False).astype(np.uint64)
    return pd.util.hash_array(request ^ (row * np.uint64(0x9E3779B97F4A7C15)))
