"""Shadow: the challenger scores what the champion answered, after the answer and off its path."""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from serving.engine.engine import Engine
from serving.metrics import Metrics
from serving.records import Part, Role, Rows
from serving.served import Arm, ServedCase

log = logging.getLogger(__name__)

_EVERY_SECONDS = 0.05
_MOST_WAITING = 20_000
"""Rows; what comes while so many wait is dropped and counted, never made to wait."""
_ROWS_AT_ONCE = 128
"""A longer batch of a compiled plan would keep requests waiting for more than a millisecond."""
_ROWS_OF_A_PIPELINE = 1024
_PIPELINE_SECONDS = 0.5
"""A pipeline costs the same for a row and for hundreds, and whoever is answered by one waits meanwhile: fewer turns."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A request as the champion answered it."""

    served: ServedCase
    rows: Rows
    request_id: str
    received: float
    trace: str | None


Record = Callable[[Answered, Part], None]


class _Queue:
    """The answered requests of one case, oldest first."""

    def __init__(self) -> None:
        self.waiting: deque[Answered] = deque()
        self.rows = 0

    def add(self, answered: Answered) -> None:
        self.waiting.append(answered)
        self.rows += answered.rows.count

    def take(self, at_most: int) -> list[Answered]:
        """The first requests, up to a number of rows, but at least one of them."""
        batch: list[Answered] = []
        rows = 0
        while self.waiting and (not batch or rows + self.waiting[0].rows.count <= at_most):
            batch.append(self.waiting.popleft())
            rows += batch[-1].rows.count
        self.rows -= rows
        return batch

    def ripe(self, engine: Engine) -> bool:
        if engine.immediate or self.rows >= _ROWS_OF_A_PIPELINE:
            return True
        return time.time() - self.waiting[0].received >= _PIPELINE_SECONDS


class Shadow:
    """Bounded queues of answered requests that challengers score in batches."""

    def __init__(self, metrics: Metrics, record: Record) -> None:
        self._metrics = metrics
        self._record = record
        self._queues: defaultdict[ServedCase, _Queue] = defaultdict(_Queue)

    def offer(self, answered: Answered) -> None:
        """Take a request for later, or drop and count it when too many wait."""
        queue = self._queues[answered.served]
        if queue.rows + answered.rows.count > _MOST_WAITING:
            self._metrics.shadow_dropped[(answered.served.case.name,)] += answered.rows.count
            return
        queue.add(answered)

    async def run(self) -> None:
        """Score what waits, every few milliseconds, until cancelled; then what is left."""
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                await asyncio.sleep(_EVERY_SECONDS)
                await self._turn()
        await self.drain()

    async def drain(self) -> None:
        """Score all that waits."""
        await self._turn(ripe=True)

    async def _turn(self, *, ripe: bool = False) -> None:
        for served, queue in [*self._queues.items()]:
            while queue.waiting:
                arm = served.arms.challenger
                if arm is None or not served.arms.shadow:
                    queue.take(queue.rows)
                    break
                if not ripe and not queue.ripe(arm.engine):
                    break
                batch = queue.take(_ROWS_AT_ONCE if arm.engine.immediate else _ROWS_OF_A_PIPELINE)
                await self._score_with(served, arm, batch)
                await asyncio.sleep(0)  # requests that came meanwhile go first

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
