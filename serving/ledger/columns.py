"""The columns of the prediction log: one Parquet row for each row of a request and each model that answered it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from configs.case import ColumnType, Problem
from serving.ledger.header import LoggedCase
from serving.ledger.privacy import pseudonym
from serving.protocols.answers import prediction

_UTC = pa.timestamp("us", tz="UTC")
_WALL_CLOCK = pa.timestamp("us")
_FEATURE = {
    ColumnType.string: pa.string(),
    ColumnType.integer: pa.float64(),
    ColumnType.number: pa.float64(),
    ColumnType.boolean: pa.bool_(),
    ColumnType.timestamp: _WALL_CLOCK,
}
"""An integer may be missing, and models take it as a float: it is kept as one."""
_PREDICTION = {Problem.binary: pa.int64(), Problem.multiclass: pa.string(), Problem.regression: pa.float64()}
_BEFORE = {
    "request_id": pa.string(),
    "row": pa.int64(),
    "entity": pa.string(),
    "event_time": _UTC,
    "received_at": _UTC,
    "answered_at": _UTC,
}
_AFTER = {
    "model_version": pa.string(),
    "role": pa.string(),
    "fallback": pa.string(),
    "contract_version": pa.int64(),
    "scoring_seconds": pa.float64(),
    "champion_scoring_seconds": pa.float64(),
    "trace": pa.string(),
}
_BY_ROW = ("row", "entity", "event_time")
"""Of these, what each row of an answer has of its own."""
COMMON = pa.schema({**_BEFORE, "probability": pa.float64(), **_AFTER})
"""What every case has."""


def schema_of(case: LoggedCase) -> pa.Schema:
    """The columns of a case's log; `probabilities` and the `classes` they belong to are a multiclass case's only."""
    features = {n: pa.string() if n in case.hashed else _FEATURE[type_] for n, type_ in case.features.items()}
    answer = {"prediction": _PREDICTION[case.problem], "probability": pa.float64()}
    if case.problem is Problem.multiclass:
        answer |= {"probabilities": pa.list_(pa.float64()), "classes": pa.list_(pa.string())}
    every = {**_BEFORE, **features, **answer, **_AFTER}
    return pa.schema({name: type_ for name, type_ in every.items() if name not in case.dropped})


class Gathered:
    """The rows of entries of one case, column by column, until they become a table."""

    def __init__(self, case: LoggedCase, key: Callable[[], bytes]) -> None:
        """`key` is asked for only if columns are to be hashed."""
        self._case = case
        self._key = key
        self._features: list[list[Any]] = [[] for _ in case.features]
        self._by_row: dict[str, list[Any]] = {name: [] for name in _BY_ROW}
        self._by_part: dict[str, list[Any]] = {name: [] for name in (*_BEFORE, *_AFTER) if name not in _BY_ROW}
        """What all rows of a part of an answer have in common, once for each part."""
        self._classes: list[list[Any]] = []
        """Of each part too."""
        self._counts: list[int] = []
        """The rows of each part."""
        self._scores: list[Any] = []

    @property
    def rows(self) -> int:
        return len(self._scores)

    def add(self, entry: dict[str, Any]) -> None:
        """Take an entry as JSON gives it. If its form is wrong, raises ValueError or KeyError and is of no more use."""
        count, columns = entry["n"], entry["columns"]
        entities, event_times = entry["entities"], entry["event_times"]
        if {count, len(entities), len(event_times), *map(len, columns)} != {count}:
            raise ValueError("the columns of an entry are not of one length")
        for part in entry["parts"]:
            rows = part["rows"]
            if rows is None:
                self._take(entry, part, range(count), columns, entities, event_times)
            else:
                *taken, some, times = ([column[i] for i in rows] for column in (*columns, entities, event_times))
                self._take(entry, part, rows, taken, some, times)

    def _take(  # noqa: PLR0913, PLR0917 - the inner loop of compaction
        self, entry: dict[str, Any], part: dict[str, Any], rows: Any, columns: Any, entities: Any, event_times: Any
    ) -> None:
        if len(part["scores"]) != len(rows):
            raise ValueError("a part of an entry has not one score for each of its rows")
        for gathered, column in zip(self._features, columns, strict=True):
            gathered.extend(column)
        self._scores += part["scores"]
        self._counts.append(len(rows))
        self._classes.append(part["classes"])
        by_row, by_part = self._by_row, self._by_part
        by_row["row"] += rows
        by_row["entity"] += entities
        by_row["event_time"] += event_times
        by_part["request_id"].append(entry["id"])
        by_part["received_at"].append(entry["received"])
        by_part["answered_at"].append(entry["answered"])
        by_part["model_version"].append(part["version"])
        by_part["role"].append(part["role"])
        by_part["fallback"].append(part["fallback"])
        by_part["contract_version"].append(entry["contract"])
        ours, champions = part.get("timed") or (None, None)
        by_part["scoring_seconds"].append(ours)
        by_part["champion_scoring_seconds"].append(champions)
        by_part["trace"].append(entry["trace"])

    def table(self) -> pa.Table:
        """The rows. Raises ValueError or TypeError if a value is not of its column's type."""
        schema = schema_of(self._case)
        features = dict(zip(self._case.features, self._features, strict=True))
        columns = {**self._by_row, **features, **self._answers()}
        part_of_row = pa.array(np.repeat(np.arange(len(self._counts)), self._counts))
        arrays = [
            self._array(field, columns[field.name])
            if field.name in columns
            else self._array(field, self._by_part[field.name]).take(part_of_row)
            for field in schema
        ]
        return pa.table(arrays, schema=schema)

    def _answers(self) -> dict[str, Any]:
        problem, scores = self._case.problem, self._scores
        if problem is not Problem.multiclass:
            said = [prediction(problem, score, ()) for score in scores]
            return {"prediction": said, "probability": scores if problem is Problem.binary else [None] * len(scores)}
        classes = [one for one, count in zip(self._classes, self._counts, strict=True) for _ in range(count)]
        return {
            "prediction": [str(prediction(problem, *both)) for both in zip(scores, classes, strict=True)],
            "probability": [max(score) for score in scores],
            "probabilities": scores,
            "classes": [[str(label) for label in each] for each in classes],
        }

    def _array(self, field: pa.Field, values: list[Any]) -> pa.Array:
        if field.name in self._case.hashed:
            key = self._key()
            return pa.array([pseudonym(key, value) for value in values], field.type)
        if field.name in ("received_at", "answered_at"):
            return pa.array(np.rint(np.array(values, np.float64) * 1e6).astype(np.int64)).cast(field.type)
        if pa.types.is_timestamp(field.type):
            return pa.array(values, pa.string()).cast(field.type)
        return pa.array(values, field.type)
