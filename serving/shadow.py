"""Shadow: the challenger scores what the champion answered, or a share of it, after the answer and off its path.

Of a sample both models score one request by itself, one right after the other, so that what the challenger would take
to answer can be compared: a batch says nothing about that.
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

from serving.engine.engine import Engine
from serving.errors import Refused
from serving.metrics import Metrics
from serving.records import Part, Role, Rows, Scores
from serving.served import Arm, Arms, ServedCase, finite
from tasks.rollout.draw import in_shadow

log = logging.getLogger(__name__)

_EVERY_SECONDS = 0.05
_MOST_WAITING = 20_000
"""Rows; what comes while so many wait is dropped and counted, never made to wait."""
_ROWS_AT_ONCE = 128
"""A longer batch of a compiled plan would keep requests waiting for more than a millisecond."""
_ROWS_OF_A_PIPELINE = 1024
_PIPELINE_SECONDS = 0.5
"""A pipeline costs the same for a row and for hundreds, and whoever is answered by one waits meanwhile: fewer turns."""
_TIMED_EVERY_SECONDS = 1.0
"""Of each case: a pipeline takes milliseconds for it, in a thread that answers users too."""


class Answered(NamedTuple):
    """A request as the champion answered it."""

    served: ServedCase
    rows: Rows
    request_id: str
    received: float
    trace: str | None

    def drawn(self, arms: Arms) -> list[int] | None:
        """Positions of the rows that the challenger scores too; None for all of them."""
        if arms.shadow == 1:
            return None
        units = (entity or self.request_id for entity in self.rows.entities)
        return [position for position, unit in enumerate(units) if in_shadow(arms.salt, unit, arms.shadow)]


class _Drawn(NamedTuple):
    """What of a request is to be scored."""

    answered: Answered
    positions: list[int] | None
    rows: Rows


Record = Callable[[Sequence[tuple[Answered, Part]]], None]
"""Writes down what the challenger said of a batch of requests. Raises Refused."""


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
        self._timed_at: defaultdict[ServedCase, float] = defaultdict(float)

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
                arms = served.arms
                arm = arms.challenger
                if arm is None or not arms.shadow:
                    queue.take(queue.rows)
                    break
                if not ripe and not queue.ripe(arm.engine):
                    break
                batch = queue.take(_ROWS_AT_ONCE if arm.engine.immediate else _ROWS_OF_A_PIPELINE)
                if drawn := _drawn(batch, arms):
                    await self._score_with(served, arm, drawn)
                await asyncio.sleep(0)  # requests that came meanwhile go first

    async def _score_with(self, served: ServedCase, arm: Arm, batch: list[_Drawn]) -> None:
        began = time.perf_counter()
        rows = _together([drawn.rows for drawn in batch])
        try:
            scores = await _scored(arm.engine, rows, patient=True)
        except Exception:  # a challenger that fails in the shadow is counted and seen, and disturbs nobody
            log.exception("%s: version %s failed in the shadow", served.case.name, arm.version)
            self._metrics.shadow_dropped[(served.case.name,)] += rows.count
            return
        seconds = (time.perf_counter() - began) / len(batch)
        timed = await self._timed(served, arm, batch[0].rows)
        parts = []
        start = 0
        for drawn in batch:
            mine = scores[start : start + drawn.rows.count]
            start += drawn.rows.count
            parts.append(Part(drawn.positions, arm.version, Role.shadow, mine, arm.engine.classes))
        parts[0].timed = timed
        try:
            self._record([(drawn.answered, part) for drawn, part in zip(batch, parts, strict=True)])
        except Refused as error:
            log.error("%s: what version %s said is not in the log: %s", served.case.name, arm.version, error)  # noqa: TRY400
            self._metrics.shadow_dropped[(served.case.name,)] += rows.count
            return
        self._metrics.arm(served.case.name, arm.version, Role.shadow).add(seconds, rows.count, scores, len(batch))

    async def _timed(self, served: ServedCase, arm: Arm, rows: Rows) -> tuple[float, float] | None:
        """Seconds that the challenger and the champion take for one request; None while it is not time, or one fails.

        Both have just scored others, so that neither is the cold one.
        """
        champion, now = served.arms.champion, time.monotonic()
        if champion is None or now - self._timed_at[served] < _TIMED_EVERY_SECONDS:
            return None
        self._timed_at[served] = now
        taken = []
        for engine in (arm.engine, champion.engine):
            began = time.perf_counter()
            try:
                await _scored(engine, rows)
            except Exception:  # noqa: BLE001 - failures are counted where scores are wanted, not where time is taken
                return None
            taken.append(time.perf_counter() - began)
        return taken[0], taken[1]


def _drawn(batch: list[Answered], arms: Arms) -> list[_Drawn]:
    found = []
    for answered in batch:
        positions = answered.drawn(arms)
        if positions is None or len(positions) == answered.rows.count:
            found.append(_Drawn(answered, None, answered.rows))
        elif positions:
            found.append(_Drawn(answered, positions, answered.rows.take(positions)))
    return found


async def _scored(engine: Engine, rows: Rows, *, patient: bool = False) -> Scores:
    """A finite score for each row. Raises what the model raises, or ValueError."""
    scores = engine.score(rows) if engine.immediate else await engine.submit(rows, patient=patient)
    if len(scores) != rows.count or not finite(scores):
        raise ValueError("it gave no finite number for each row")
    return scores


def _together(all_rows: list[Rows]) -> Rows:
    if len(all_rows) == 1:
        return all_rows[0]
    return Rows(
        count=sum(rows.count for rows in all_rows),
        columns=[[*chain.from_iterable(parts)] for parts in zip(*[rows.columns for rows in all_rows], strict=True)],
        entities=[entity for rows in all_rows for entity in rows.entities],
        event_times=[time for rows in all_rows for time in rows.event_times],
    )
