"""Shadow: the challenger scores what the champion answered, after the answer and off its path."""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from serving.metrics import Metrics
from serving.records import Part, Role, Rows
from serving.served import Arm, ServedCase

log = logging.getLogger(__name__)

_EVERY_SECONDS = 0.05
_MOST_WAITING = 20_000
"""Rows; what comes while so many wait is dropped and counted, never made to wait."""
_ROWS_AT_ONCE = 128
"""A longer batch of a compiled plan would keep requests waiting for more than a millisecond."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A request as the champion answered it."""

    served: ServedCase
    rows: Rows
    request_id: str
    received: float
    trace: str | None


Record = Callable[[Answered, Part], None]


class Shadow:
    """A bounded queue of answered requests that challengers score in small batches."""

    def __init__(self, metrics: Metrics, record: Record) -> None:
        self._metrics = metrics
        self._record = record
        self._waiting: deque[Answered] = deque()
        self._rows = 0

    def offer(self, answered: Answered) -> None:
        """Take a request for later, or drop and count it when too many wait."""
        if self._rows + answered.rows.count > _MOST_WAITING:
            self._metrics.shadow_dropped[(answered.served.case.name,)] += answered.rows.count
            return
        self._rows += answered.rows.count
        self._waiting.append(answered)

    async def run(self) -> None:
        """Score what waits, every few milliseconds, until cancelled; then what is left."""
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                await asyncio.sleep(_EVERY_SECONDS)
                await self.drain()
        await self.drain()

    async def drain(self) -> None:
        while self._waiting:
            await self._score(self._next_batch())
            await asyncio.sleep(0)  # requests that came meanwhile go first

    def _next_batch(self) -> list[Answered]:
        batch: list[Answered] = []
        rows = 0
        while self._waiting and (not batch or rows + self._waiting[0].rows.count <= _ROWS_AT_ONCE):
            batch.append(self._waiting.popleft())
            rows += batch[-1].rows.count
        self._rows -= rows
        return batch

    async def _score(self, batch: list[Answered]) -> None:
        by_case: defaultdict[ServedCase, list[Answered]] = defaultdict(list)
        for answered in batch:
            by_case[answered.served].append(answered)
        for served, mine in by_case.items():
            arm = served.arms.challenger
            if arm is not None and served.arms.shadow:
                await self._score_with(served, arm, mine)

    async def _score_with(self, served: ServedCase, arm: Arm, batch: list[Answered]) -> None:
        began = time.perf_counter()
        rows = _together([answered.rows for answered in batch])
        try:
            scores = arm.engine.score(rows) if arm.engine.immediate else await arm.engine.submit(rows)
        except Exception:  # a challenger that fails in the shadow is counted and seen, and disturbs nobody
            log.exception("%s: version %s failed in the shadow", served.case.name, arm.version)
            self._metrics.shadow_dropped[(served.case.name,)] += rows.count
            return
        seconds = (time.perf_counter() - began) / len(batch)
        start = 0
        for answered in batch:
            mine = scores[start : start + answered.rows.count]
            start += answered.rows.count
            part = Part(None, arm.version, Role.shadow, mine, arm.engine.classes)
            self._metrics.answered(served.case.name, [part], answered.rows.count, seconds)
            self._record(answered, part)


def _together(all_rows: list[Rows]) -> Rows:
    if len(all_rows) == 1:
        return all_rows[0]
    first = all_rows[0]
    return Rows(
        count=sum(rows.count for rows in all_rows),
        columns=[[value for rows in all_rows for value in rows.columns[i]] for i in range(len(first.columns))],
        entities=[entity for rows in all_rows for entity in rows.entities],
        event_times=[time for rows in all_rows for time in rows.event_times],
    )
