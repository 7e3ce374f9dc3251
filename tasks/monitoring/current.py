"""The champion's answers in a window: all of them counted, and a bounded sample drawn by hash."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from configs.case import Problem
from tasks.monitoring.answers import Answers
from tasks.monitoring.estimate import Answers as Estimable
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
    told = _answer_columns(wanted.problem)
    scores, sample = _Lowest(MOST_SCORES), _Lowest(wanted.sample_rows)
    rows = seen = elsewhere = unusable = 0
    for batch in log.batches(start, end, (*_ABOUT, *told, *wanted.features)):
        seen += batch.num_rows
        own = _own(batch, wanted)
        own_contract = own & _same_contract(batch, wanted)
        elsewhere += int((own & ~own_contract).sum())
        frame = batch.filter(pa.array(own_contract)).to_pandas()
        usable = _usable(frame, wanted)
        unusable += int((~usable).sum())
        frame = frame[usable].reset_index(drop=True)
        rows += len(frame)
        keys = _keys(frame)
        scores.add(keys, _numbers(frame, wanted))
        sample.add(keys, frame[list(wanted.features)].assign(score=_score(frame, wanted)))
    return Current(
        rows=rows,
        others=seen - rows - elsewhere - unusable,
        of_another_contract=elsewhere,
        answers=_estimable(scores.frame, wanted),
        sample=sample.frame.reindex(columns=[*wanted.features, "score"]),
        unusable=unusable,
    )


class _Lowest:
    """The rows with the lowest keys among all that were added, at most `most`: the same in whatever order they come."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = _HASHES
        self._kept: list[tuple[NDArray[np.uint64], pd.DataFrame]] = []
        self._rows = 0

    def add(self, keys: NDArray[np.uint64], frame: pd.DataFrame) -> None:
        low = keys < self._limit
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
            self._limit = float(keys[order[-1]])
        self._kept, self._rows = [(keys[order], frame.iloc[order].reset_index(drop=True))], len(order)


def _answer_columns(problem: Problem) -> tuple[str, ...]:
    return {
        Problem.binary: ("prediction", "probability"),
        Problem.multiclass: ("probabilities", "classes"),
        Problem.regression: ("prediction",),
    }[problem]


def _own(batch: pa.RecordBatch, wanted: Wanted) -> NDArray[np.bool_]:
    """Rows the champion answered itself."""
    version, role, fallback = (_texts(batch.column(name)) for name in ("model_version", "role", "fallback"))
    own: NDArray[np.bool_] = (version == wanted.version) & (role == "champion") & (fallback == "")
    return own


def _same_contract(batch: pa.RecordBatch, wanted: Wanted) -> NDArray[np.bool_]:
    versions = batch.column("contract_version").cast(pa.float64()).to_numpy(zero_copy_only=False)
    same: NDArray[np.bool_] = versions == wanted.contract_version
    return same


def _texts(array: pa.Array) -> NDArray[np.object_]:
    return np.array([value or "" for value in array.to_pylist()], dtype=object)


def _usable(frame: pd.DataFrame, wanted: Wanted) -> NDArray[np.bool_]:
    """Rows with a score that can be read."""
    if wanted.problem is Problem.multiclass:
        return np.array([tuple(map(str, some)) == wanted.classes for some in frame["classes"]], dtype=bool)
    return np.isfinite(_score(frame, wanted))


def _score(frame: pd.DataFrame, wanted: Wanted) -> NDArray[np.float64]:
    """One number for each row: the probability (of several classes the largest), or the prediction."""
    if wanted.problem is Problem.multiclass:
        return np.array([max(each) for each in frame["probabilities"]], dtype=np.float64)
    name = "probability" if wanted.problem is Problem.binary else "prediction"
    return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)


def _numbers(frame: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    if wanted.problem is Problem.multiclass:
        return pd.DataFrame(
            np.array(frame["probabilities"].tolist(), dtype=np.float64).reshape(len(frame), len(wanted.classes))
        )
    scores = pd.DataFrame({"score": _score(frame, wanted)})
    if wanted.problem is Problem.binary:
        return scores.assign(predicted=frame["prediction"].to_numpy(dtype=np.float64, na_value=0.0) > 0)
    return scores


def _estimable(frame: pd.DataFrame, wanted: Wanted) -> Estimable:
    if frame.empty:
        shape = (0, len(wanted.classes)) if wanted.problem is Problem.multiclass else (0,)
        return Estimable(wanted.problem, np.empty(shape))
    if wanted.problem is Problem.multiclass:
        return Estimable(wanted.problem, frame.to_numpy(dtype=np.float64))
    predicted = frame["predicted"].to_numpy(dtype=bool) if wanted.problem is Problem.binary else None
    return Estimable(wanted.problem, frame["score"].to_numpy(dtype=np.float64), predicted)


def _keys(frame: pd.DataFrame) -> NDArray[np.uint64]:
    """A hash of each row's request and number: evenly spread, and the same whenever it is read."""
    request, row = (pd.util.hash_array(frame[name].to_numpy(dtype=object)) for name in ("request_id", "row"))
    return pd.util.hash_array(request ^ (row * np.uint64(0x9E3779B97F4A7C15)))
