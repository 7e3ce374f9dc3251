"""A served case: which models stand ready, who of them answers a row, and what happens when one cannot."""

import asyncio
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from configs.case import Case
from configs.serving import StandIn
from serving.engine.engine import Engine
from serving.errors import NotFound, Refused, Unavailable
from serving.records import Part, Role, Rows, Scores
from tasks.rollout.draw import each_to_challenger, to_challenger

log = logging.getLogger(__name__)

_NONE_READY = "No model of this case is ready yet; try again in a moment."


@dataclass(frozen=True, slots=True)
class Arm:
    """A version with its loaded model."""

    version: str
    engine: Engine


@dataclass(frozen=True, slots=True)
class Arms:
    """Who stands ready for a case; swapped as a whole, so that one request sees one state."""

    champion: Arm | None = None
    challenger: Arm | None = None
    retired: Arm | None = None
    share: float = 0.0
    """Of the entities, that the challenger answers."""
    shadow: float = 0.0
    """Of the entities that the champion answers, whose rows the challenger scores too."""
    salt: str = ""

    immediate: bool = field(init=False)
    """Whether whoever may have to answer does so at once."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "immediate", all(arm.engine.immediate for arm in self.all))

    @property
    def all(self) -> tuple[Arm, ...]:
        return tuple(arm for arm in (self.champion, self.challenger, self.retired) if arm)


Choice = tuple[Arm, Role, list[int] | None]
"""A version, its role, and the positions of the rows it answers (None for all of them)."""


class ServedCase:
    """Answers rows of one case with whoever stands ready."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.arms = Arms()
        self._confidence = case.serving.fallback.min_confidence

    async def answer(self, rows: Rows, request_id: str, version: str | None = None) -> list[Part]:
        """Each row's scores, by the version whose turn it is, or by its fallback.

        Raises NotFound for a version that is not in service, and Unavailable when nobody can answer.
        """
        arms = self.arms
        if arms.champion is None:
            raise Unavailable(_NONE_READY)
        if version is None and (arms.challenger is None or not arms.share):
            return await self._ask(arms, (arms.champion, Role.champion, None), rows)
        choices = self._choices(arms, rows, request_id, version)
        if len(choices) == 1:
            return await self._ask(arms, choices[0], rows)
        asked = await asyncio.gather(*(self._ask(arms, choice, rows) for choice in choices))
        return [part for parts in asked for part in parts]

    def _choices(self, arms: Arms, rows: Rows, request_id: str, version: str | None) -> list[Choice]:
        assert arms.champion
        champion, challenger = (arms.champion, Role.champion), (arms.challenger or arms.champion, Role.challenger)
        if version is not None:
            return [self._pinned(arms, version)]
        if rows.count == 1:
            moved = [to_challenger(arms.salt, rows.entities[0] or request_id, arms.share)]
        else:
            moved = each_to_challenger(arms.salt, [entity or request_id for entity in rows.entities], arms.share)
        if moved.count(moved[0]) == rows.count:
            return [(*(challenger if moved[0] else champion), None)]
        return [
            (*champion, [position for position, other in enumerate(moved) if not other]),
            (*challenger, [position for position, other in enumerate(moved) if other]),
        ]

    def _pinned(self, arms: Arms, version: str) -> Choice:
        for arm, role in ((arms.champion, Role.champion), (arms.challenger, Role.challenger)):
            if arm and arm.version == version:
                return arm, role, None
        ready = ", ".join(arm.version for arm in (arms.champion, arms.challenger) if arm)
        raise NotFound(f"Version {version[:20]} of `{self.case.name}` is not in service; these are: {ready}.")

    async def _ask(self, arms: Arms, choice: Choice, rows: Rows) -> list[Part]:
        arm, role, positions = choice
        scores, why = await self._scores(arm, rows, positions)
        unsure = [] if scores is None else self._unsure(scores)
        if scores is not None and not unsure:
            return [Part(positions, arm.version, role, scores, arm.engine.classes)]
        mine = rows if positions is None else rows.take(positions)
        if scores is None:
            return [await self._fall_back(arms, _Failure(arm, mine, positions, why))]
        where = list(range(rows.count)) if positions is None else positions
        doubted = _Failure(arm, mine.take(unsure), [where[i] for i in unsure], "confidence", said=_pick(scores, unsure))
        parts = [await self._fall_back(arms, doubted)]
        if sure := sorted(set(range(mine.count)) - set(unsure)):
            own = Part([where[i] for i in sure], arm.version, role, _pick(scores, sure), arm.engine.classes)
            parts.insert(0, own)
        return parts

    async def _scores(self, arm: Arm, rows: Rows, positions: list[int] | None = None) -> tuple[Scores | None, str]:
        """The scores of the rows, or of those at `positions`; or None and why there are none."""
        try:
            if arm.engine.immediate:
                scores = arm.engine.score(rows, positions)
            else:
                async with asyncio.timeout(self.case.serving.timeout_ms / 1000):
                    scores = await arm.engine.submit(rows if positions is None else rows.take(positions))
        except TimeoutError:
            return None, "timeout"
        except Refused:
            return None, "overload"
        except Exception:  # whatever a model does, its fallback answers
            log.exception("%s: version %s failed to answer", self.case.name, arm.version)
            return None, "error"
        if len(scores) != (rows.count if positions is None else len(positions)) or not finite(scores):
            log.error("%s: version %s gave no finite number for each row", self.case.name, arm.version)
            return None, "error"
        return scores, ""

    def _unsure(self, scores: Scores) -> list[int]:
        """Positions of the scores that are less sure than the case demands."""
        wanted = self._confidence
        if wanted is None:
            return []
        sure = [max(one, 1 - one) if isinstance(one, float) else max(one) for one in scores]
        return [position for position, confidence in enumerate(sure) if confidence < wanted]

    async def _fall_back(self, arms: Arms, failure: "_Failure") -> Part:
        """The champion for a challenger, then the former champion, then the case's rules and prior.

        A model that was only unsure answers after all when there is nobody else. Raises Unavailable.
        """
        others = [arms.champion, arms.retired if self.case.serving.fallback.former_champion else None]
        for arm in others:
            if arm is None or arm is failure.arm:
                continue
            scores, _ = await self._scores(arm, failure.rows)
            if scores is not None and not (failure.said and self._unsure(scores)):
                return failure.answered_by(arm.version, scores, arm.engine.classes)
        classes = failure.arm.engine.classes
        stand_in = _stand_in(self.case, failure.rows, classes)
        if stand_in is not None:
            return failure.answered_by(None, stand_in, classes)
        if failure.said is not None:
            return failure.answered_by(failure.arm.version, failure.said, classes)
        raise Unavailable(f"No model of `{self.case.name}` can answer now ({failure.why}), and it has no prior.")


@dataclass(frozen=True, slots=True)
class _Failure:
    """Rows that the version whose turn it was did not answer, or not surely enough."""

    arm: Arm
    rows: Rows
    positions: list[int] | None
    why: str
    said: Scores | None = None

    def answered_by(self, version: str | None, scores: Scores, classes: tuple[str | int | bool, ...]) -> Part:
        return Part(self.positions, version, Role.fallback, scores, classes, self.why)


def _stand_in(case: Case, rows: Rows, classes: Sequence[str | int | bool]) -> Scores | None:
    """What the case's rules, then its prior, say of each row; None if one row gets no answer."""
    fallback, features = case.serving.fallback, case.contract.features
    columns = [rows.columns[features.index(rule.column)] for rule in fallback.rules]
    answers: list[StandIn] = []
    for row in range(rows.count):
        found = fallback.prior
        for rule, column in zip(fallback.rules, columns, strict=True):
            value = column[row]
            if value == rule.equals if rule.at_least is None else _at_least(value, rule.at_least):
                found = rule.answer
                break
        if found is None:
            return None
        answers.append(found)
    return [_as_scores(answer, classes) for answer in answers]  # type: ignore[return-value] # all of one kind


def _at_least(value: object, bound: float) -> bool:
    return isinstance(value, int | float) and value >= bound


def _as_scores(answer: StandIn, classes: Sequence[str | int | bool]) -> float | list[float]:
    if answer.probabilities is not None:
        return [answer.probabilities.get(str(label), 0.0) for label in classes]
    one = answer.probability if answer.probability is not None else answer.prediction
    assert one is not None  # StandIn holds exactly one answer
    return one


def finite(scores: Scores) -> bool:
    """Whether every score is a number one can answer with."""
    numbers: Any = scores if isinstance(scores[0], float) else chain.from_iterable(scores)  # type: ignore[arg-type]
    return all(map(math.isfinite, numbers))


def _pick(scores: Scores, positions: Sequence[int]) -> Scores:
    return [scores[position] for position in positions]  # type: ignore[return-value] # all of one kind
