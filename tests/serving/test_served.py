"""Who answers a row, and who does when that one cannot."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from configs.case import Case
from configs.project import Project
from serving.errors import NotFound, Unavailable
from serving.records import Part, Role, Rows
from serving.served import Arm, Arms, ServedCase

ROOT = Path(__file__).parents[2]
PRIOR = 0.24


class Constant:
    """An engine that gives every row one score, or fails in the way it is told to."""

    classes = (0, 1)
    kind = "plan"
    waiting = 0

    def __init__(self, score: float | Exception, *, immediate: bool = True, seconds: float = 0) -> None:
        self._score = score
        self.immediate = immediate
        self._seconds = seconds

    def score(self, rows: Rows, positions: Sequence[int] | None = None) -> Sequence[float]:
        if isinstance(self._score, Exception):
            raise self._score
        return [self._score] * (rows.count if positions is None else len(positions))

    async def submit(self, rows: Rows, *, patient: bool = False) -> Sequence[float]:
        await asyncio.sleep(self._seconds)
        return self.score(rows)

    def close(self) -> None:
        raise AssertionError("nobody closes an engine that serves")


def arm(version: str, score: float | Exception, **how: Any) -> Arm:
    return Arm(version, Constant(score, **how))


def rows(count: int = 1) -> Rows:
    features = Project(ROOT).case("flights").contract.features
    return Rows(count, [[None] * count for _ in features], [f"e{i}" for i in range(count)], [None] * count)


@pytest.fixture
def flights() -> Callable[..., Case]:
    def build(**serving: Any) -> Case:
        case = Project(ROOT).case("flights")
        changed = {**case.serving.model_dump(), **serving}
        return Case.model_validate({**case.model_dump(), "serving": changed})

    return build


def answer(case: Case, arms: Arms, asked: Rows | None = None, version: str | None = None) -> list[Part]:
    served = ServedCase(case)
    served.arms = arms
    return asyncio.run(served.answer(asked or rows(), "request-1", version))


def test_without_a_share_the_champion_answers_every_row(flights: Callable[..., Case]) -> None:
    (part,) = answer(flights(), Arms(arm("1", 0.1), arm("2", 0.9)), rows(50))
    assert (part.version, part.role, part.rows, list(part.scores)) == ("1", Role.champion, None, [0.1] * 50)


def test_with_a_share_each_row_goes_to_one_of_two(flights: Callable[..., Case]) -> None:
    parts = answer(flights(), Arms(arm("1", 0.1), arm("2", 0.9), share=0.5, salt="s"), rows(200))
    assert {part.role for part in parts} == {Role.champion, Role.challenger}
    assert sorted(row for part in parts for row in part.rows or []) == list(range(200))
    assert all(len(part.scores) == len(part.rows or []) > 50 for part in parts)


def test_an_entity_stays_with_its_version(flights: Callable[..., Case]) -> None:
    arms = Arms(arm("1", 0.1), arm("2", 0.9), share=0.5, salt="s")
    once, again = answer(flights(), arms, rows(100)), answer(flights(), arms, rows(100))
    assert [part.rows for part in once] == [part.rows for part in again]


def test_a_client_may_insist_on_a_version_in_service(flights: Callable[..., Case]) -> None:
    (part,) = answer(flights(), Arms(arm("1", 0.1), arm("2", 0.9)), version="2")
    assert (part.version, part.role) == ("2", Role.challenger)


def test_a_version_out_of_service_is_not_found(flights: Callable[..., Case]) -> None:
    with pytest.raises(NotFound, match="Version 7 of `flights` is not in service; these are: 1, 2"):
        answer(flights(), Arms(arm("1", 0.1), arm("2", 0.9)), version="7")


def test_before_there_is_a_champion_nobody_answers(flights: Callable[..., Case]) -> None:
    with pytest.raises(Unavailable, match="No model of this case is ready"):
        answer(flights(), Arms())


def test_the_former_champion_answers_for_one_that_fails(flights: Callable[..., Case]) -> None:
    (part,) = answer(flights(), Arms(arm("2", ZeroDivisionError()), retired=arm("1", 0.3)))
    assert (part.version, part.role, part.fallback, list(part.scores)) == ("1", Role.fallback, "error", [0.3])


def test_the_champion_answers_for_a_challenger_that_fails(flights: Callable[..., Case]) -> None:
    arms = Arms(arm("1", 0.1), arm("2", ZeroDivisionError()), arm("0", 0.3), share=1.0, salt="s")
    (part,) = answer(flights(), arms)
    assert (part.version, part.role, part.fallback) == ("1", Role.fallback, "error")


def test_a_model_that_takes_too_long_is_not_waited_for(flights: Callable[..., Case]) -> None:
    slow = arm("2", 0.9, immediate=False, seconds=5)
    (part,) = answer(flights(timeout_ms=30), Arms(slow, retired=arm("1", 0.3)))
    assert (part.version, part.fallback) == ("1", "timeout")


def test_a_model_with_a_full_queue_is_not_waited_for(flights: Callable[..., Case]) -> None:
    (part,) = answer(flights(), Arms(arm("2", Unavailable("full")), retired=arm("1", 0.3)))
    assert (part.version, part.fallback) == ("1", "overload")


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_an_answer_that_is_no_number_is_no_answer(flights: Callable[..., Case], broken: float) -> None:
    (part,) = answer(flights(), Arms(arm("2", broken), retired=arm("1", 0.3)), rows(3))
    assert (part.version, part.fallback) == ("1", "error")


def test_when_every_model_fails_the_prior_answers(flights: Callable[..., Case]) -> None:
    arms = Arms(arm("2", ZeroDivisionError()), retired=arm("1", ZeroDivisionError()))
    (part,) = answer(flights(), arms, rows(2))
    assert (part.version, part.role, list(part.scores)) == (None, Role.fallback, [PRIOR, PRIOR])


def test_a_rule_that_fits_goes_before_the_prior(flights: Callable[..., Case]) -> None:
    rule = {"column": "origin", "equals": "JFK", "answer": {"probability": 0.5}}
    case = flights(fallback={"rules": [rule], "prior": {"probability": 0.2}})
    asked = rows(2)
    asked.columns[case.contract.features.index("origin")] = ["JFK", "EWR"]
    (part,) = answer(case, Arms(arm("2", ZeroDivisionError())), asked)
    assert list(part.scores) == [0.5, 0.2]


def test_a_rule_may_ask_for_at_least_a_number(flights: Callable[..., Case]) -> None:
    rule = {"column": "precipitation", "at_least": 0.1, "answer": {"probability": 0.6}}
    case = flights(fallback={"rules": [rule], "prior": {"probability": 0.2}})
    asked = rows(3)
    asked.columns[case.contract.features.index("precipitation")] = [0.1, 0.09, None]
    (part,) = answer(case, Arms(arm("2", ZeroDivisionError())), asked)
    assert list(part.scores) == [0.6, 0.2, 0.2]


def test_without_anybody_left_the_request_is_refused(flights: Callable[..., Case]) -> None:
    case = flights(fallback={"prior": None})
    with pytest.raises(Unavailable, match=r"No model of `flights` can answer now \(error\), and it has no prior"):
        answer(case, Arms(arm("2", ZeroDivisionError())))


def test_the_former_champion_can_be_left_out(flights: Callable[..., Case]) -> None:
    case = flights(fallback={"former_champion": False, "prior": {"probability": 0.2}})
    (part,) = answer(case, Arms(arm("2", ZeroDivisionError()), retired=arm("1", 0.3)))
    assert part.version is None


def test_an_unsure_answer_gives_way_to_a_surer_one(flights: Callable[..., Case]) -> None:
    case = flights(fallback={"min_confidence": 0.8, "prior": {"probability": 0.2}})
    (part,) = answer(case, Arms(arm("2", 0.7), retired=arm("1", 0.1)))
    assert (part.version, part.fallback) == ("1", "confidence")


def test_confidence_counts_on_both_sides(flights: Callable[..., Case]) -> None:
    case = flights(fallback={"min_confidence": 0.8})
    (part,) = answer(case, Arms(arm("2", 0.2), retired=arm("1", 0.5)))
    assert (part.version, part.role) == ("2", Role.champion)


def test_an_unsure_answer_is_given_when_there_is_no_other(flights: Callable[..., Case]) -> None:
    case = flights(fallback={"min_confidence": 0.8, "prior": None})
    (part,) = answer(case, Arms(arm("2", 0.7)))
    assert (part.version, part.role, part.fallback, list(part.scores)) == ("2", Role.fallback, "confidence", [0.7])


class Unsure(Constant):
    """Sure of even rows only."""

    def score(self, rows: Rows, positions: Sequence[int] | None = None) -> Sequence[float]:
        asked = rows if positions is None else rows.take(positions)
        return [0.95 if int((entity or "e1")[1:]) % 2 == 0 else 0.55 for entity in asked.entities]


def test_of_several_rows_only_the_unsure_ones_give_way(flights: Callable[..., Case]) -> None:
    case = flights(fallback={"min_confidence": 0.8, "prior": {"probability": 0.2}})
    arms = Arms(arm("1", 0.9), Arm("2", Unsure(0.0)), share=0.5, salt="s")
    parts = answer(case, arms, rows(100))
    by_row = {row: part for part in parts for row in part.rows or []}
    assert sorted(by_row) == list(range(100))
    unsure = [part for part in parts if part.fallback == "confidence"]
    assert [part.version for part in unsure] == ["1"]
    assert all(row % 2 for row in unsure[0].rows or [])
    assert len(unsure[0].rows or []) == len(unsure[0].scores) > 10


def test_a_failure_is_written_down_with_its_version(
    flights: Callable[..., Case], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer(flights(), Arms(arm("2", ZeroDivisionError("planted")), retired=arm("1", 0.3)))
    assert "flights: version 2 failed to answer" in caplog.text
    assert "planted" in caplog.text
