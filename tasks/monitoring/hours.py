"""The answers of one hour, counted: a profile for each version that answered, and a sample drawn by hash.

An hour is read once. What a monitor asks of a window is the sum of its hours: the counts exactly, and of the samples
the rows with a hash below which every hour has all of its rows: each row of the window has the same chance to be in it.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from configs.case import Problem
from tasks.monitoring.answers import Answers
from tasks.monitoring.bins import CategoryBins, Counts, NumberBins, as_integers
from tasks.monitoring.errors import ProfileUnreadable
from tasks.monitoring.grid import PREDICTION, SCORE, Grid
from tasks.monitoring.profile import WHEN, Counting, Pairs, Profile, total

HOUR = timedelta(hours=1)
STAND_IN = ""
"""Instead of a version: the champion was asked, and something else answered."""
_META = b"evergreen.hour"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_MICROSECONDS = 3_600_000_000
_ABOUT = ("role", "model_version", "contract_version", "request_id", "row", WHEN)
ASKED_THE_CHAMPION = ("champion", "fallback")
_EVERY_HASH = 2**64 - 1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Sample:
    """The rows with the lowest hashes: of all rows with a hash below `limit`, each is here."""

    hashes: Hashes
    rows: pa.Table
    limit: int = _EVERY_HASH

    def at_most(self, most: int) -> "Sample":
        """No more than `most` of the rows."""
        if len(self.hashes) <= most:
            return self
        order = np.argsort(self.hashes, kind="stable")
        limit = int(self.hashes[order[most]])
        return self.below(limit)

    def below(self, limit: int) -> "Sample":
        """The rows with a hash below `limit`."""
        kept = np.flatnonzero(self.hashes < np.uint64(limit))
        return Sample(self.hashes[kept], self.rows.take(pa.array(kept)), min(limit, self.limit))

    @classmethod
    def together(cls, samples: Sequence["Sample"], grid: Grid) -> "Sample":
        """A sample of all their rows."""
        limit = min((sample.limit for sample in samples), default=_EVERY_HASH)
        below = [sample.below(limit) for sample in samples]
        hashes = np.concatenate([np.empty(0, np.uint64), *(sample.hashes for sample in below)])
        return cls(hashes, pa.concat_tables([sample.rows for sample in below] or [_no_rows(grid)]), limit)


@dataclass(frozen=True, eq=False)
class Hour:
    """What was asked of the champion in the hour that begins at `start`."""

    start: datetime
    profiles: Mapping[str, Profile]
    """By the version that answered; of what stood in for it, the inputs alone."""
    of_another_contract: int
    """Rows that were checked against another version of the contract; not counted."""
    sample: Sample
    of_challenger: int = 0
    """Rows that a challenger answered instead: they came, and say nothing of the champion."""

    @property
    def rows(self) -> int:
        """All that was answered."""
        return self.of_challenger + self.of_another_contract + sum(profile.rows for profile in self.profiles.values())

    def to_bytes(self) -> bytes:
        """It as one file."""
        sink = io.BytesIO()
        pq.write_table(self.sample.rows.append_column("hash", pa.array(self.sample.hashes)), sink, compression="zstd")
        parts = [
            *((version, profile.to_bytes()) for version, profile in self.profiles.items()),
            (None, sink.getvalue()),
        ]
        told = {
            "start": self.start.isoformat(),
            "rows": self.rows,
            "others": self.of_another_contract,
            "challenger": self.of_challenger,
            "limit": self.sample.limit,
        }
        schema = pa.schema({"version": pa.string(), "data": pa.binary()}, metadata={_META: json.dumps(told)})
        columns = [pa.array(column, field.type) for column, field in zip(zip(*parts, strict=True), schema, strict=True)]
        written = pa.BufferOutputStream()
        with pa.ipc.new_file(written, schema) as writer:
            writer.write(pa.record_batch(columns, schema=schema))
        return bytes(written.getvalue())

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "a file") -> "Hour":
        """Raises ProfileUnreadable."""
        try:
            with pa.ipc.open_file(pa.BufferReader(data)) as reader:
                told = json.loads(reader.schema.metadata[_META])
                parts = reader.get_batch(0).to_pylist()
            rows = pq.read_table(pa.BufferReader(parts[-1]["data"]))
        except (pa.ArrowException, ValueError, KeyError, TypeError, IndexError) as error:
            raise ProfileUnreadable(where, f"{type(error).__name__}: {error}") from error
        hashes = as_integers(rows.column("hash").combine_chunks().view(pa.int64())).view(np.uint64)
        profiles = {part["version"]: Profile.from_bytes(part["data"], where) for part in parts[:-1]}
        sample = Sample(hashes, rows.drop_columns("hash"), told["limit"])
        start, of_challenger = datetime.fromisoformat(told["start"]), told.get("challenger", 0)
        return cls(start, profiles, told["others"], sample, of_challenger)

    @staticmethod
    def rows_of(data: bytes, where: str = "a file") -> int:
        """How many rows an hour has, by its file. Raises ProfileUnreadable."""
        try:
            with pa.ipc.open_file(pa.BufferReader(data)) as reader:
                return int(json.loads(reader.schema.metadata[_META])["rows"])
        except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
            raise ProfileUnreadable(where, f"{type(error).__name__}: {error}") from error


def count_hours(
    answers: Answers, grid: Grid, problem: Problem, sample_rows: int, span: tuple[datetime, datetime]
) -> list[Hour]:
    """The hours of `span` that have rows, read once. Both ends are full hours; the last hour may not be over yet."""
    counting: dict[int, _Counting] = {}
    nothing = Sample(np.empty(0, np.uint64), _no_rows(grid))
    names = [name for name in grid.columns if name not in (SCORE, PREDICTION)]
    columns = [*names, *_ABOUT, *_answers(problem).values()]
    for batch in answers.batches(*span, list(dict.fromkeys(columns))):
        for hour, rows in _by_hour(_answered(batch)):
            if hour not in counting:
                counting[hour] = _Counting(grid, problem, nothing, sample_rows)
            counting[hour].add(rows)
    return [one.hour(_EPOCH + HOUR * hour) for hour, one in sorted(counting.items())]


def rows_by_hour(answers: Answers, start: datetime, end: datetime) -> dict[datetime, int]:
    """How many rows `count_hours` would find in each hour of `[start, end)`; two columns are read."""
    found: dict[int, int] = {}
    for batch in answers.batches(start, end, ["role", WHEN]):
        for hour, rows in _by_hour(_answered(batch)):
            found[hour] = found.get(hour, 0) + rows.num_rows
    return {_EPOCH + HOUR * hour: rows for hour, rows in sorted(found.items())}


def together(hours: Iterable[Hour], grid: Grid, version: str | None) -> Profile:
    """The inputs of all these hours, with the answers of one version; without one, with those of any."""
    hours = list(hours)
    every = total((profile for hour in hours for profile in hour.profiles.values()), grid)
    if version is None:
        return every
    own = total((hour.profiles[version] for hour in hours if version in hour.profiles), grid)
    for name in (SCORE, PREDICTION):
        if name in own.columns:
            every = every.with_column(name, own.columns[name])
    return replace(every, pairs=_with_score_of(every.pairs, own.pairs)) if SCORE in grid.paired else every


def scores_of(hours: Iterable[Hour], version: str, grid: Grid) -> Counts:
    """How many answers of a version fall in each of the grid's bins for the score."""
    return total((hour.profiles[version] for hour in hours if version in hour.profiles), grid).columns[SCORE].counts


def plain_rows(batch: pa.RecordBatch, grid: Grid) -> pa.Table:
    """The watched columns as numbers and texts, whatever they came as; free text is left out."""
    names = set(batch.schema.names)
    arrays: dict[str, pa.Array] = {}
    for name, bins in grid.columns.items():
        array = batch.column(name) if name in names else pa.nulls(batch.num_rows)
        if isinstance(bins, NumberBins):
            values = bins.values(array)
            arrays[name] = pa.nulls(len(array), pa.float64()) if values is None else pa.array(values)
        elif isinstance(bins, CategoryBins):
            nested = pa.types.is_nested(array.type)
            arrays[name] = pa.nulls(len(array), pa.string()) if nested else array.cast(pa.string())
    return pa.table(arrays) if arrays else pa.table({})


class _Counting:
    """An hour while its rows come in."""

    def __init__(self, grid: Grid, problem: Problem, sample: Sample, sample_rows: int) -> None:
        self._grid = grid
        self._answers = _answers(problem)
        self._sample_rows = sample_rows
        self._profiles: dict[str, Counting] = {}
        self._others = self._challenger = 0
        self._sample = sample

    def add(self, answered: pa.RecordBatch) -> None:
        batch = answered.filter(pc.is_in(answered.column("role"), value_set=pa.array(ASKED_THE_CHAMPION)))
        self._challenger += answered.num_rows - batch.num_rows
        same = pc.fill_null(
            pc.equal(batch.column("contract_version").cast(pa.int64()), self._grid.contract_version), fill_value=False
        )
        own = batch.filter(same)
        self._others += batch.num_rows - own.num_rows
        for version, rows in self._by_version(own):
            watched = self._watched(rows, is_stand_in=version == STAND_IN)
            self._profiles.setdefault(version, Counting(self._grid)).add(watched)
            self._draw(rows, watched)

    def _by_version(self, batch: pa.RecordBatch) -> Iterable[tuple[str, pa.RecordBatch]]:
        is_champion = pc.equal(batch.column("role"), "champion")
        version = pc.fill_null(pc.if_else(is_champion, batch.column("model_version").cast(pa.string()), STAND_IN), "?")
        found = pc.unique(version).to_pylist()
        return [(one, batch.filter(pc.equal(version, one)) if len(found) > 1 else batch) for one in sorted(found)]

    def _watched(self, rows: pa.RecordBatch, *, is_stand_in: bool) -> pa.RecordBatch:
        answers = {} if is_stand_in else {name: rows.column(told) for name, told in self._answers.items()}
        if PREDICTION in answers:
            answers[PREDICTION] = answers[PREDICTION].cast(pa.string())
        inputs = {name: rows.column(name) for name in self._grid.columns if name not in self._answers}
        return pa.record_batch({**inputs, **answers, WHEN: rows.column(WHEN)})

    def _draw(self, rows: pa.RecordBatch, watched: pa.RecordBatch) -> None:
        hashes = _hashes(rows)
        low = np.flatnonzero(hashes < np.uint64(self._sample.limit))
        if len(low):
            drawn = Sample(hashes[low], plain_rows(watched.take(pa.array(low)), self._grid), self._sample.limit)
            self._sample = Sample.together([self._sample, drawn], self._grid).at_most(self._sample_rows)

    def hour(self, start: datetime) -> Hour:
        profiles = {version: counting.profile for version, counting in sorted(self._profiles.items())}
        return Hour(start, profiles, self._others, self._sample, self._challenger)


def _answers(problem: Problem) -> dict[str, str]:
    """What the monitors call the champion's answer, and what the log calls it."""
    if problem is Problem.multiclass:
        return {SCORE: "probability", PREDICTION: "prediction"}
    return {SCORE: "probability" if problem is Problem.binary else "prediction"}


def _answered(batch: pa.RecordBatch) -> pa.RecordBatch:
    """What users were answered: a shadow answers nobody."""
    return batch.filter(pc.is_in(batch.column("role"), value_set=pa.array((*ASKED_THE_CHAMPION, "challenger"))))


def _by_hour(batch: pa.RecordBatch) -> Iterable[tuple[int, pa.RecordBatch]]:
    if not batch.num_rows:
        return []
    moments = batch.column(WHEN).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    hours = as_integers(moments) // _HOUR_MICROSECONDS
    found = np.unique(hours)
    if len(found) == 1:
        return [(int(found[0]), batch)]
    return [(int(hour), batch.filter(pa.array(hours == hour))) for hour in found]


def _hashes(batch: pa.RecordBatch) -> Hashes:
    """A hash of each row's request and number: evenly spread, and the same whenever it is read."""
    requests = np.array(batch.column("request_id").to_pylist(), dtype=object)
    numbers = as_integers(pc.fill_null(batch.column("row").cast(pa.int64()), 0)).view(np.uint64)
    both: Any = pd.util.hash_array(requests, categorize=False) ^ (numbers * _GOLDEN)
    return np.asarray(pd.util.hash_array(both), np.uint64)


def _no_rows(grid: Grid) -> pa.Table:
    return plain_rows(pa.record_batch({name: pa.nulls(0) for name in grid.columns}), grid)


def _with_score_of(every: Pairs, own: Pairs) -> Pairs:
    """The pairs of all rows; those with the score, which comes first, of a version's own."""

    def mixed(all_rows: Any, of_own: Any) -> Any:
        matrix = all_rows.copy()
        matrix[0, :], matrix[:, 0] = of_own[0, :], of_own[:, 0]
        return matrix

    return Pairs(mixed(every.rows, own.rows), mixed(every.products, own.products), mixed(every.squares, own.squares))
