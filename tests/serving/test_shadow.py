"""The shadow: in which batches challengers score what champions answered, and what is dropped."""

import asyncio
import math
import time
from collections.abc import Sequence
from pathlib import Path

from configs.case import Problem
from configs.project import Project
from serving.metrics import Metrics
from serving.records import Part, Role, Rows
from serving.served import Arm, Arms, ServedCase
from serving.shadow import Answered, Shadow
from tasks.rollout.draw import in_shadow

ROOT = Path(__file__).parents[2]


class Counting:
    """An engine that gives every row one score, and remembers the size of each batch."""

    classes = (0, 1)
    kind = "plan"
    waiting = 0

    def __init__(self, *, immediate: bool) -> None:
        self.immediate = immediate
        self.batches: list[int] = []
        self.seconds = 0.0
        self.answer = 0.5

    def score(self, rows: Rows, positions: Sequence[int] | None = None) -> Sequence[float]:
        self.batches.append(rows.count)
        time.sleep(self.seconds)
        return [self.answer] * (rows.count if positions is None else len(positions))

    async def submit(self, rows: Rows, *, patient: bool = False) -> Sequence[float]:
        return self.score(rows)

    def close(self) -> None:
        raise AssertionError("nobody closes an engine that serves")


class Stage:
    """A shadow of one case, and what it wrote down."""

    def __init__(self, *, immediate: bool, shadow: float = 1.0) -> None:
        self.challenger = Counting(immediate=immediate)
        self.served = ServedCase(Project(ROOT).case("flights"))
        self.champion = Counting(immediate=True)
        self.served.arms = Arms(Arm("1", self.champion), Arm("2", self.challenger), shadow=shadow, salt="flights/2")
        self.metrics = Metrics({"flights": Problem.binary})
        self.written: list[tuple[str, Part]] = []
        self.shadow = Shadow(self.metrics, self.write)

    def write(self, scored: Sequence[tuple[Answered, Part]]) -> None:
        self.written += [(answered.request_id, part) for answered, part in scored]

    def offer(self, requests: int, *, rows: int = 1, received: float | None = None) -> None:
        width = len(self.served.case.contract.features)
        for number in range(requests):
            entities = [f"e-{number}-{row}" for row in range(rows)]
            asked = Rows(rows, [[None] * rows for _ in range(width)], [*entities], [None] * rows)
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
    assert stage.challenger.batches == [128, 1, 128, 44], "and one request by itself, to be timed"
    assert [name for name, _ in stage.written] == [f"r-{number}" for number in range(300)]
    assert {part.role for _, part in stage.written} == {Role.shadow}


def test_a_pipeline_waits_for_company_but_not_for_long() -> None:
    stage = Stage(immediate=False)
    stage.offer(300)
    asyncio.run(stage.run_for(0.12))
    assert (stage.challenger.batches, stage.rest) == ([], [300, 1]), "what is left is scored when the worker ends"
    stage.offer(40, received=time.time() - 1)
    asyncio.run(stage.run_for(0.12))
    assert stage.challenger.batches == [40], "within a second nothing is timed again"


def test_a_pipeline_that_has_enough_rows_scores_them_at_once() -> None:
    stage = Stage(immediate=False)
    stage.offer(30, rows=50)
    asyncio.run(stage.run_for(0.12))
    assert stage.challenger.batches == [1000, 50]
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
    stage.served.arms = Arms(stage.served.arms.champion, stage.served.arms.challenger)
    asyncio.run(stage.run_for(0.12))
    assert (stage.written, stage.challenger.batches) == ([], [])


def test_of_a_share_the_same_entities_are_scored_whatever_request_they_come_in() -> None:
    stage = Stage(immediate=True, shadow=0.3)
    stage.offer(200, rows=3)
    asyncio.run(stage.run_for(0.12))
    scored = {(name, row) for name, part in stage.written for row in (part.rows or range(3))}
    drawn = {(f"r-{n}", row) for n in range(200) for row in range(3) if in_shadow("flights/2", f"e-{n}-{row}", 0.3)}
    assert scored == drawn
    assert 120 < len(drawn) < 240
    assert all(len(part.scores) == len(part.rows or range(3)) for _, part in stage.written)


def test_one_request_a_second_is_timed_with_both_models() -> None:
    stage = Stage(immediate=True)
    stage.champion.seconds, stage.challenger.seconds = 0.001, 0.004
    stage.offer(30)
    asyncio.run(stage.run_for(0.3))
    [timed] = [part.timed for _, part in stage.written if part.timed]
    assert 0.004 <= timed[0] < 0.03
    assert 0.001 <= timed[1] < timed[0]
    assert stage.champion.batches == [1], "the champion scores one request again, and no more"


def test_a_model_that_cannot_be_timed_is_scored_all_the_same() -> None:
    stage = Stage(immediate=True)
    stage.champion.answer = math.nan
    stage.offer(30)
    asyncio.run(stage.run_for(0.12))
    assert len(stage.written) == 30
    assert all(part.timed is None for _, part in stage.written)


def test_a_score_that_is_no_number_is_not_written_down_but_counted_as_unscored() -> None:
    stage = Stage(immediate=True)
    stage.challenger.answer = math.nan
    stage.offer(30)
    asyncio.run(stage.run_for(0.12))
    assert (stage.written, stage.metrics.shadow_dropped[("flights",)]) == ([], 30)
