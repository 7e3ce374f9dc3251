"""The engine for any pipeline: it answers itself, in micro-batches, with the code that offline scoring runs.

A batch of 64 rows costs little more than one row, so a batch is made of whatever came while the one before it ran,
and an idle engine answers at once. Clients that have just been answered ask again in a moment: for a fraction of the
time a batch takes they are waited for, or half of them would always miss the batch of the other half. One thread of
the process predicts, for all engines in turn; two would fight for the interpreter, and both be slower. Patient rows,
which nobody waits for, have their turn when no others want one, or after a while.

Boosting and forests answer a row with the same bits in any company. Dense linear models do not, here as in offline
scoring: the matrix product of BLAS adds up in an order that depends on the number of rows, which moves a last bit now
and then.
"""

import asyncio
import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # it ships no types

from configs.case import Contract
from serving.engine.frame import frame_of
from serving.errors import Unavailable
from serving.records import Rows, Scores
from tasks.features.artifact import MODEL_FILE, load_model, score
from tasks.records import Candidate

log = logging.getLogger(__name__)

CANDIDATE_FILE = "candidate.json"

_ROWS_A_BATCH = 1024
_MOST_WAITING = 20_000
"""Rows; at 10,000 rows a second the last of them waits two seconds."""
_GATHER = 0.25
"""Of the time a batch took: how long the next one waits for as many requests as there were."""
_PATIENCE = 0.5
"""Seconds after which patient rows have a turn among the others."""
_REPLACED = "This model was just replaced; try again."


@dataclass(eq=False, slots=True)
class _Asked:
    rows: Rows
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Scores]"


class PipelineEngine:
    """Scores rows with a fitted model; takes `Rows` of `contract`."""

    kind = "pipeline"
    immediate = False
    gather_seconds = 0.005
    """No batch waits longer for company."""

    def __init__(
        self,
        model: Any,
        candidate: Candidate,
        contract: Contract,
        *,
        rows_a_batch: int = _ROWS_A_BATCH,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        self.classes = candidate.classes
        self.waiting = 0
        self.on_batch: Callable[[int], None] | None = None
        """Told the number of rows of each batch, in the predict thread."""
        self._model, self._candidate, self._contract = model, candidate, contract
        self._rows_a_batch, self._most_waiting = rows_a_batch, most_waiting
        self._queue: deque[_Asked] = deque()
        self._patient: deque[_Asked] = deque()
        self._company, self._gathers_until = 0, 0.0
        self._closed = False
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path, model_sha256: str, contract: Contract) -> "PipelineEngine":
        """The model in `folder`. Raises ArtifactMissing, or ArtifactAltered if its digest is not the expected one."""
        model = load_model(folder / MODEL_FILE, model_sha256)
        return cls(model, Candidate.read(folder / CANDIDATE_FILE), contract)

    def score(self, rows: Rows, positions: Sequence[int] | None = None) -> Scores:  # noqa: ARG002
        """Refused: whoever waits here would hold up everybody."""
        raise TypeError(f"a pipeline is asked with `submit`, not with `score` ({rows.count} rows)")

    async def submit(self, rows: Rows, *, patient: bool = False) -> Scores:
        """Scores of the rows, with the next batch. Raises Unavailable when too many are waiting, or it was closed."""
        loop = asyncio.get_running_loop()
        asked = _Asked(rows, loop, loop.create_future())
        with self._lock:
            if self._closed:
                raise Unavailable(_REPLACED, retry_after=0.1)
            if self.waiting and self.waiting + rows.count > self._most_waiting:
                raise Unavailable(f"{self.waiting} rows are waiting already; try again in a moment.")
            (self._patient if patient else self._queue).append(asked)
            self.waiting += rows.count
        predict_thread().due(self, patient=patient)
        return await asked.answer

    def close(self) -> None:
        """Take no more rows, and refuse those that wait."""
        with self._lock:
            self._closed = True
            waiting, self.waiting = [*self._queue, *self._patient], 0
            self._queue.clear()
            self._patient.clear()
        _deliver([(asked, Unavailable(_REPLACED, retry_after=0.1)) for asked in waiting])

    def gathers(self) -> float:
        """Seconds that the next batch should still wait for company."""
        return 0.0 if len(self._queue) >= self._company else self._gathers_until - time.monotonic()

    def answer_next(self, *, patient: bool = False) -> bool:
        """Answer one batch; whether more of them are waiting. Only the predict thread calls this."""
        queue = self._patient if patient else self._queue
        if batch := self._next_batch(queue):
            began = time.monotonic()
            answers = self._answers(batch)
            if not patient:
                now = time.monotonic()
                self._gathers_until = now + min(_GATHER * (now - began), self.gather_seconds)
                self._company = min(len(batch) + len(queue), self._rows_a_batch)
            _deliver(answers)
        return bool(queue)

    def _next_batch(self, queue: deque[_Asked]) -> list[_Asked]:
        """The requests that came first, up to a bounded number of rows, but at least one of them."""
        batch: list[_Asked] = []
        rows = 0
        with self._lock:
            while queue and (not batch or rows + queue[0].rows.count <= self._rows_a_batch):
                asked = queue.popleft()
                self.waiting -= asked.rows.count
                if not asked.answer.cancelled():  # a client that has gone costs nothing
                    batch.append(asked)
                    rows += asked.rows.count
        return batch

    def _answers(self, batch: Sequence[_Asked]) -> "list[_Answered]":
        """All at once; if that fails, each by itself, so that it fails only for those who cause it."""
        try:
            scores = self._scores(batch[0].rows if len(batch) == 1 else _together([asked.rows for asked in batch]))
        except Exception as error:  # noqa: BLE001 - whatever a model raises is its answer, to whoever asked
            if len(batch) == 1:
                return [(batch[0], error)]
            log.warning("a batch of %d requests failed, so each is scored by itself: %s", len(batch), error)
            return [answered for asked in batch for answered in self._answers([asked])]
        ends = np.cumsum([asked.rows.count for asked in batch]).tolist()
        return [(asked, scores[end - asked.rows.count : end]) for asked, end in zip(batch, ends, strict=True)]

    def _scores(self, rows: Rows) -> Scores:
        if self.on_batch:
            self.on_batch(rows.count)
        with np.errstate(all="ignore"):
            frame = frame_of(rows, self._contract, self._candidate.features)
            found: Scores = score(self._model, frame, self._candidate).tolist()
        return found


_Answered = tuple[_Asked, Scores | Exception]


class PredictThread:
    """Lets engines answer their batches one after another, in turn."""

    def __init__(self) -> None:
        self._due: deque[PipelineEngine] = deque()
        self._patient: dict[PipelineEngine, float] = {}
        """Since when they wait, in that order."""
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="predict", daemon=True).start()

    def due(self, engine: PipelineEngine, *, patient: bool = False) -> None:
        """Let the engine have a turn, if it is not waiting for one."""
        with self._changed:
            if patient:
                self._patient.setdefault(engine, time.monotonic())
            elif engine not in self._due:
                self._due.append(engine)
            elif engine.gathers() > 0:
                return
            self._changed.notify()

    def _run(self) -> None:
        # OpenMP counts the threads of each calling thread by itself, so this thread has to say it.
        with threadpool_limits(1):
            while True:
                engine, patient = self._next()
                if engine.answer_next(patient=patient):
                    self.due(engine, patient=patient)
                del engine  # an engine that left service must not live until the next one has a turn

    def _next(self) -> "tuple[PipelineEngine, bool]":
        """Whose turn it is, and whether it is the turn of its patient rows; waits until there is one."""
        with self._changed:
            while True:
                oldest = next(iter(self._patient), None)
                if oldest and (not self._due or time.monotonic() - self._patient[oldest] > _PATIENCE):
                    del self._patient[oldest]
                    return oldest, True
                gathering = [(engine.gathers(), engine) for engine in self._due]
                for left, engine in gathering:
                    if left <= 0:
                        self._due.remove(engine)
                        return engine, False
                self._changed.wait(min((left for left, _ in gathering), default=None))


@cache
def predict_thread() -> PredictThread:
    """The one of this process."""
    return PredictThread()


def _together(parts: Sequence[Rows]) -> Rows:
    width = len(parts[0].columns)
    columns = [[value for part in parts for value in part.columns[place]] for place in range(width)]
    count = sum(part.count for part in parts)
    return Rows(count, columns, [None] * count, [None] * count)


def _deliver(answered: Sequence[_Answered]) -> None:
    """Hand the answers to the loops they were asked in, with one call to each."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Answered]] = defaultdict(list)
    for asked, answer in answered:
        by_loop[asked.loop].append((asked, answer))
    for loop, mine in by_loop.items():
        try:
            loop.call_soon_threadsafe(_tell, mine)
        except RuntimeError:  # the loop was closed: nobody is left who could be told
            log.info("%d answers came after whoever asked was gone", len(mine))


def _tell(answered: Sequence[_Answered]) -> None:
    for asked, answer in answered:
        if asked.answer.done():  # cancelled by a client that has gone
            continue
        if isinstance(answer, Exception):
            asked.answer.set_exception(answer)
        else:
            asked.answer.set_result(answer)
