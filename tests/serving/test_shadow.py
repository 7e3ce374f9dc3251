"""The shadow: in which batches challengers score what champions answered, and what is dropped."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from configs.case import Problem
from configs.project import Project
from serving.metrics import Metrics
from serving.records import Part, Role, Rows
from serving.served import Arm, Arms, ServedCase
from serving.shadow import Answered, Shadow

ROOT = Path(__file__).parents[2]


class Counting:
    """An engine that gives every row one score, and remembers the size of each batch."""

    classes = (0, 1)
    kind = "plan"
    waiting = 0

    def __init__(self, *, immediate: bool) -> None:
        self.immediate = immediate
        self.batches: list[int] = []

    def score(self, rows: Rows) -> Sequence[float]:
        self.batches.append(rows.count)
        return [0.5] * rows.count

    async def submit(self, rows: Rows) -> Sequence[float]:
        return self.score(rows)

    def close(self) -> None:
        raise AssertionError("nobody closes an engine that serves")


class Stage:
    """A shadow of one case, and what it wrote down."""

    def __init__(self, *, immediate: bool, shadow: bool = True) -> None:
        self.challenger = Counting(immediate=immediate)
        self.served = ServedCase(Project(ROOT).case("flights"))
        champion = Arm("1", Counting(immediate=True))
        self.served.arms = Arms(champion, Arm("2", self.challenger), shadow=shadow)
        self.metrics = Metrics({"flights": Problem.binary})
        self.written: list[tuple[str, Part]] = []
        self.shadow = Shadow(self.metrics, lambda answered, part: self.written.append((answered.request_id, part)))

    def offer(self, requests: int, *, rows: int = 1, received: float | None = None) -> None:
        width = len(self.served.case.contract.features)
        for number in range(requests):
            asked = Rows(rows, [[None] * rows for _ in range(width)], [None] * rows, [None] * rows)
            self.shadow.offer(Answered(self.served, asked, f"r-{number}", received or time.time(), None))

    async def run_for(self, seconds: float) -> None:
        running = asyncio.create_task(self.shadow.run())
        await asyncio.sleep(seconds)
        before = [*self.challenger.batches]
        running.cancel()
        await running
        self.challenger.batches, self.rest = before, self.challenger.batches[len(before) :]


def test_a_plan_scores_in_small_batches_at_once() -> None:
    stage = Stage(immediate=True)
    stage.offer(300)
    asyncio.run(stage.run_for(0.12))
    assert stage.challenger.batches == [128, 128, 44]
    assert [name for name, _ in stage.written] == [f"r-{number}" for number in range(300)]
    assert {part.role for _, part in stage.written} == {Role.shadow}


def test_a_pipeline_waits_for_company_but_not_for_long() -> None:
    stage = Stage(immediate=False)
    stage.offer(300)
    asyncio.run(stage.run_for(0.12))
    assert (stage.challenger.batches, stage.rest) == ([], [300]), "what is left is scored when the worker ends"
    stage.offer(40, received=time.time() - 1)
    asyncio.run(stage.run_for(0.12))
    assert stage.challenger.batches[-1] == 40


def test_a_pipeline_that_has_enough_rows_scores_them_at_once() -> None:
    stage = Stage(immediate=False)
    stage.offer(30, rows=50)
    asyncio.run(stage.run_for(0.12))
    assert stage.challenger.batches == [1000]
    assert stage.rest == [500]


def test_what_comes_while_too_many_rows_wait_is_dropped_and_counted() -> None:
    stage = Stage(immediate=False)
    stage.offer(5, rows=6_000)
    assert stage.metrics.shadow_dropped[("flights",)] == 12_000
    asyncio.run(stage.run_for(0.01))
    assert len(stage.written) == 3


def test_nothing_is_scored_once_the_shadow_is_over() -> None:
    stage = Stage(immediate=True)
    stage.offer(10)
    stage.served.arms = Arms(stage.served.arms.champion, stage.served.arms.challenger, shadow=False)
    asyncio.run(stage.run_for(0.12))
    assert (stage.written, stage.challenger.batches) == ([], [])
