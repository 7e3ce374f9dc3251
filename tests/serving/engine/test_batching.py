"""A pipeline answers in batches of whatever came while it was busy; nobody suffers for another's request."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info  # type: ignore[import-untyped] # it ships no types

from serving.engine.frame import frame_of
from serving.engine.pipeline import PipelineEngine
from serving.errors import Unavailable
from serving.records import Rows, Scores
from tasks.features.artifact import score

from .orchard import Ask, Fitted, fitted

ASK = Ask("hist_gradient_boosting", "binary", (("max_iter", 3), ("min_samples_leaf", 5)))
LONG = 20
"""Seconds no test waits for in vain."""


class Gate:
    """The fitted pipeline, which waits before each batch until it is let through, and keeps the sizes of batches."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._open = threading.Event()
        self.batches: list[int] = []
        self.fails_at: Callable[[pd.DataFrame], bool] = lambda frame: False

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        self.batches.append(len(frame))
        assert self._open.wait(LONG)
        if self.fails_at(frame):
            raise ArithmeticError("this row cannot be scored")
        return np.asarray(self._model.predict_proba(frame))

    def open(self) -> None:
        self._open.set()

    async def until_busy(self) -> None:
        """Until it has begun with a batch."""
        deadline = time.monotonic() + LONG
        while not self.batches:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)


@pytest.fixture
def model() -> Fitted:
    return fitted(ASK)


@pytest.fixture
def gate(model: Fitted) -> Gate:
    return Gate(model.model)


def engine_of(model: Fitted, gate: Gate, **limits: int) -> PipelineEngine:
    return PipelineEngine(gate, model.candidate, model.case.contract, **limits)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(work, LONG)

    return asyncio.run(bounded())


async def behind_a_closed_gate(gate: Gate, engine: PipelineEngine, asked: list[Rows]) -> "list[asyncio.Task[Scores]]":
    """Submits the first request, waits until it is being scored, then submits the others; the gate is still closed."""
    tasks = [asyncio.create_task(engine.submit(asked[0]))]
    await gate.until_busy()
    tasks += [asyncio.create_task(engine.submit(rows)) for rows in asked[1:]]
    await asyncio.sleep(0)
    return tasks


def parts(rows: Rows, *sizes: int) -> list[Rows]:
    ends = np.cumsum(sizes).tolist()
    return [rows.take(range(end - size, end)) for end, size in zip(ends, sizes, strict=True)]


async def let_through(gate: Gate, tasks: "list[asyncio.Task[Scores]]") -> list[Any]:
    gate.open()
    return list(await asyncio.gather(*tasks, return_exceptions=True))


def test_what_came_while_a_batch_ran_is_the_next_batch(model: Fitted, gate: Gate) -> None:
    async def work() -> list[Any]:
        tasks = await behind_a_closed_gate(gate, engine_of(model, gate), parts(model.rows, 1, 2, 1, 4, 1))
        return await let_through(gate, tasks)

    answers = run(work())
    assert gate.batches == [1, 8]
    assert [len(answer) for answer in answers] == [1, 2, 1, 4, 1]


def test_an_idle_engine_answers_at_once(model: Fitted, gate: Gate) -> None:
    gate.open()
    engine = engine_of(model, gate)

    async def work() -> None:
        for rows in parts(model.rows, 1, 1, 3):
            await engine.submit(rows)

    run(work())
    assert gate.batches == [1, 1, 3]


def test_the_answers_are_those_of_offline_scoring_in_any_company(model: Fitted, gate: Gate) -> None:
    asked = parts(model.rows, 1, 5, 90, 1, 3, 400)

    async def work() -> list[Any]:
        return await let_through(gate, await behind_a_closed_gate(gate, engine_of(model, gate), asked))

    offline = score(model.model, frame_of(model.rows.take(range(500)), model.case.contract), model.candidate)
    assert np.concatenate(run(work())).tobytes() == offline.tobytes()


def test_a_batch_has_a_bounded_number_of_rows_but_at_least_one_request(model: Fitted, gate: Gate) -> None:
    async def work() -> None:
        engine = engine_of(model, gate, rows_a_batch=4)
        tasks = await behind_a_closed_gate(gate, engine, parts(model.rows, 1, 2, 2, 1, 9, 1))
        await let_through(gate, tasks)

    run(work())
    assert gate.batches == [1, 4, 1, 9, 1]


def test_a_queue_is_bounded_and_the_next_is_told_to_come_back(model: Fitted, gate: Gate) -> None:
    async def work() -> list[Any]:
        engine = engine_of(model, gate, most_waiting=4)
        tasks = await behind_a_closed_gate(gate, engine, parts(model.rows, 1, 2, 2))
        assert engine.waiting == 4
        with pytest.raises(Unavailable, match="4 rows are waiting already; try again in a moment"):
            await engine.submit(model.rows.take([0]))
        answers = await let_through(gate, tasks)
        assert engine.waiting == 0
        assert len(await engine.submit(model.rows.take(range(6)))) == 6  # alone, even a long request is taken
        return answers

    assert [len(answer) for answer in run(work())] == [1, 2, 2]


def test_a_row_that_cannot_be_scored_fails_alone(model: Fitted, gate: Gate) -> None:
    asked = parts(model.rows, 1, 1, 1, 1)
    asked[2].columns[model.features.index("sugar")][0] = 777.0
    gate.fails_at = lambda frame: bool((frame["sugar"] == 777.0).any())

    async def work() -> list[Any]:
        return await let_through(gate, await behind_a_closed_gate(gate, engine_of(model, gate), asked))

    answers = run(work())
    assert isinstance(answers.pop(2), ArithmeticError)
    assert [len(answer) for answer in answers] == [1, 1, 1]
    assert gate.batches == [1, 3, 1, 1, 1]


def test_rows_that_make_no_table_fail_alone(model: Fitted, gate: Gate) -> None:
    asked = parts(model.rows, 1, 1, 1)
    asked[1].columns[model.features.index("sugar")][0] = "sweet"

    async def work() -> list[Any]:
        return await let_through(gate, await behind_a_closed_gate(gate, engine_of(model, gate), asked))

    first, second, third = run(work())
    assert isinstance(second, ValueError)
    assert (len(first), len(third)) == (1, 1)


def test_a_client_that_has_gone_is_not_scored_and_holds_up_nobody(model: Fitted, gate: Gate) -> None:
    async def work() -> list[Any]:
        tasks = await behind_a_closed_gate(gate, engine_of(model, gate), parts(model.rows, 1, 2, 1))
        tasks[0].cancel()  # while it is being scored
        tasks[1].cancel()  # while it is waiting
        await asyncio.sleep(0)
        return await let_through(gate, tasks)

    answers = run(work())
    assert [type(answer) for answer in answers] == [asyncio.CancelledError, asyncio.CancelledError, list]
    assert gate.batches == [1, 1]


def test_a_loop_that_has_ended_holds_up_nobody(model: Fitted, gate: Gate) -> None:
    engine = engine_of(model, gate)

    async def leave() -> None:
        waiting = asyncio.create_task(engine.submit(model.rows.take([0])))
        await gate.until_busy()
        waiting.cancel()

    run(leave())
    gate.open()
    assert len(run(engine.submit(model.rows.take([1])))) == 1


def test_requests_of_several_loops_share_a_batch(model: Fitted, gate: Gate) -> None:
    engine, answers = engine_of(model, gate), []
    threads = [
        threading.Thread(target=lambda part=part: answers.append(run(engine.submit(part))))
        for part in parts(model.rows, 1, 2, 3)
    ]
    threads[0].start()
    run(gate.until_busy())
    for thread in threads[1:]:
        thread.start()
    deadline = time.monotonic() + LONG
    while engine.waiting < 5:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    gate.open()
    for thread in threads:
        thread.join(LONG)
    assert gate.batches == [1, 5]
    assert sorted(map(len, answers)) == [1, 2, 3]


def test_engines_take_turns(model: Fitted) -> None:
    first, second = Gate(model.model), Gate(model.model)
    order: list[str] = []

    async def work() -> None:
        engines = [engine_of(model, gate, rows_a_batch=1) for gate in (first, second)]
        engines[0].on_batch = lambda rows: order.append("first")
        engines[1].on_batch = lambda rows: order.append("second")
        tasks = await behind_a_closed_gate(first, engines[0], parts(model.rows, 1, 1, 1))
        tasks += [asyncio.create_task(engines[1].submit(rows)) for rows in parts(model.rows, 1, 1)]
        await asyncio.sleep(0)
        second.open()
        await let_through(first, tasks)

    run(work())
    assert order == ["first", "first", "second", "first", "second"]


def test_those_who_were_just_answered_are_waited_for(model: Fitted, gate: Gate) -> None:
    async def work() -> None:
        engine, asked = engine_of(model, gate), parts(model.rows, *[1] * 6)
        engine.gather_seconds = LONG
        tasks = await behind_a_closed_gate(gate, engine, asked)
        await asyncio.sleep(0.8)  # a batch that takes so long is worth a fifth of a second
        gate.open()
        await tasks[0]
        await asyncio.gather(engine.submit(asked[0]), *tasks[1:])

    run(work())
    assert gate.batches == [1, 6]


def test_nobody_is_waited_for_longer_than_a_moment(model: Fitted, gate: Gate) -> None:
    async def work() -> float:
        tasks = await behind_a_closed_gate(gate, engine_of(model, gate), parts(model.rows, *[1] * 9))
        await asyncio.sleep(1.2)
        gate.open()
        await tasks[0]
        began = time.monotonic()
        await asyncio.gather(*tasks[1:])  # the first one does not come back
        return time.monotonic() - began

    assert run(work()) < 0.25 * 1.2
    assert gate.batches == [1, 8]


def test_patient_rows_let_the_others_go_first(model: Fitted) -> None:
    first, second = Gate(model.model), Gate(model.model)
    order: list[str] = []

    async def work() -> None:
        engines = [engine_of(model, gate, rows_a_batch=1) for gate in (first, second)]
        engines[0].on_batch = lambda rows: order.append("first")
        engines[1].on_batch = lambda rows: order.append("second" if rows == 1 else "patient")
        tasks = await behind_a_closed_gate(first, engines[0], parts(model.rows, 1))
        tasks += [asyncio.create_task(engines[1].submit(model.rows.take([0, 1]), patient=True))]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(engines[place].submit(model.rows.take([0]))) for place in (0, 1, 0)]
        await asyncio.sleep(0)
        second.open()
        await let_through(first, tasks)

    run(work())
    assert order == ["first", "first", "second", "first", "patient"]


def test_patient_rows_have_a_turn_after_a_while_however_many_others_come(model: Fitted, gate: Gate) -> None:
    gate.open()

    async def others(engine: PipelineEngine, until: asyncio.Event) -> None:
        while not until.is_set():
            await engine.submit(model.rows.take([0]))

    async def work() -> float:
        engine, answered = engine_of(model, gate), asyncio.Event()
        busy = [asyncio.create_task(others(engine, answered)) for _ in range(4)]
        await gate.until_busy()
        began = time.monotonic()
        await engine.submit(model.rows.take(range(50)), patient=True)
        waited = time.monotonic() - began
        answered.set()
        await asyncio.gather(*busy)
        return waited

    assert run(work()) < 2.0
    assert 50 in gate.batches


def test_what_counts_batches_is_told_their_rows(model: Fitted, gate: Gate) -> None:
    told: list[int] = []

    async def work() -> None:
        engine = engine_of(model, gate)
        engine.on_batch = told.append
        await let_through(gate, await behind_a_closed_gate(gate, engine, parts(model.rows, 1, 2, 3)))

    run(work())
    assert told == [1, 5]


def test_a_closed_engine_refuses_those_that_wait_and_those_that_come(model: Fitted, gate: Gate) -> None:
    engine = engine_of(model, gate)

    async def work() -> list[Any]:
        tasks = await behind_a_closed_gate(gate, engine, parts(model.rows, 1, 1))
        engine.close()
        assert engine.waiting == 0
        with pytest.raises(Unavailable, match="This model was just replaced; try again"):
            await engine.submit(model.rows.take([0]))
        return await let_through(gate, tasks)

    first, second = run(work())
    assert len(first) == 1  # it was being scored
    assert isinstance(second, Unavailable)


def test_an_engine_that_left_service_is_forgotten(model: Fitted, gate: Gate) -> None:
    gate.open()
    engine = engine_of(model, gate)
    run(engine.submit(model.rows.take([0])))
    engine.close()
    left = weakref.ref(engine)
    del engine
    deadline = time.monotonic() + LONG
    while left() is not None:
        assert time.monotonic() < deadline
        gc.collect()
        time.sleep(0.005)


def test_native_libraries_have_one_thread_where_a_pipeline_predicts(model: Fitted, gate: Gate) -> None:
    gate.open()
    threads: list[int] = []
    engine = engine_of(model, gate)
    engine.on_batch = lambda rows: threads.extend(library["num_threads"] for library in threadpool_info())
    run(engine.submit(model.rows.take([0])))
    assert set(threads) == {1}


def test_a_pipeline_is_not_asked_while_everybody_waits(model: Fitted, gate: Gate) -> None:
    with pytest.raises(TypeError, match="a pipeline is asked with `submit`"):
        engine_of(model, gate).score(model.rows)
