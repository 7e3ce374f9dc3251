"""What a model's scores say, row by row, whoever gave them."""

from collections.abc import Sequence
from typing import Any

from configs.case import Problem
from serving.records import Outcome, Part


def by_row(outcome: Outcome) -> list[tuple[Part, Any]]:
    """The part that answered each row, and the row's score."""
    first = outcome.answer.parts[0]
    if first.rows is None:
        return [(first, score) for score in first.scores]
    given = {
        row: (part, score)
        for part in outcome.answer.parts
        for row, score in zip(part.rows or (), part.scores, strict=True)
    }
    return [given[row] for row in range(outcome.count)]


def prediction(problem: Problem, score: Any, classes: Sequence[Any]) -> Any:
    """What the score decides: 1 or 0, the likeliest class, or the number itself; as the pipeline's predict would."""
    if problem is Problem.binary:
        return 1 if score > 0.5 else 0
    if problem is Problem.regression:
        return score
    return classes[score.index(max(score))]
