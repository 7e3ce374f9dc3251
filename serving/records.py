"""What travels inside the gateway: checked rows, answers, and what a protocol asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

import numpy as np
import orjson

Array = np.ndarray[Any, np.dtype[Any]]

Value = str | float | bool | datetime | None
"""A checked feature: text, a finite float, a truth value, a time without offset (its wall clock), or missing."""
Scores = Sequence[float] | Sequence[Sequence[float]]
"""Per row, as `tasks.features.artifact.score` gives them: the probability of the positive label, the probabilities
in the order of the model's classes, or the number."""


class Role(StrEnum):
    """In which role a model (or none) made an answer."""

    champion = "champion"
    challenger = "challenger"
    shadow = "shadow"
    fallback = "fallback"


@dataclass(slots=True)
class Rows:
    """Rows that keep their contract: one list of values for each feature of the contract, in its order."""

    count: int
    columns: list[list[Value]]
    entities: list[str | None]
    event_times: list[str | None]
    """ISO 8601 in UTC."""
    numbers: dict[int, Array] | None = field(default=None, compare=False, repr=False)
    """Columns that are float64 already, with NaN for a missing value, by their position."""
    made: dict[str, Array] | None = field(default=None, compare=False, repr=False)
    """What plans made of columns, by how: those that score the same rows make it once."""
    encoded: tuple[orjson.Fragment, ...] | None = field(default=None, compare=False, repr=False)
    """Entities, event times and columns as the log has them, which says the same rows once for each model."""

    def take(self, positions: Sequence[int]) -> "Rows":
        """The rows at `positions`, in that order."""
        return Rows(
            count=len(positions),
            columns=[[column[i] for i in positions] for column in self.columns],
            entities=[self.entities[i] for i in positions],
            event_times=[self.event_times[i] for i in positions],
        )


@dataclass(slots=True)
class Part:
    """The rows of one request that one model (or stand-in) answered."""

    rows: list[int] | None
    """Positions in the request; None for all of them."""
    version: str | None
    """None for a rule or a prior."""
    role: Role
    scores: Scores
    classes: tuple[str | int | bool, ...]
    """Labels in the order of multiclass scores; two of them for a binary model, none for a regression."""
    fallback: str | None = None
    """Why it was not the first choice that answered: `error`, `timeout`, `confidence`, `overload`."""
    timed: tuple[float, float] | None = None
    """In the shadow, of a sample: seconds that this version and the champion each took to score these rows alone."""


@dataclass(slots=True)
class Answer:
    """What the gateway answers to one request."""

    request_id: str
    parts: list[Part]


@dataclass(slots=True)
class Asked:
    """A request as its protocol reads it, before the contract is checked; `records` or `columns`, never both."""

    records: list[dict[str, Any]] | None = None
    """One mapping of column to JSON value for each row."""
    columns: dict[str, Sequence[Any]] | None = None
    """One sequence of JSON values (or a numpy array) for each column, all of `count` values."""
    count: int = 0
    request_id: str | None = None
    version: str | None = None
    """A version the client insists on."""
    reasons: int = 0
    """How many of the strongest reasons for each answer are asked for."""
    partial: bool = False
    """Answer the good rows and report the bad ones, instead of refusing them all."""
    form: dict[str, Any] = field(default_factory=dict)
    """What the protocol needs to remember for its answer."""


Reason = Literal["missing", "type", "value", "unknown"]
"""What is wrong with a field: it is missing, of another type, has a value that was not promised, or nobody knows it."""


@dataclass(slots=True)
class RowProblem:
    """Why one row was refused."""

    row: int
    field: str | None
    message: str
    reason: Reason


@dataclass(slots=True)
class Outcome:
    """What a protocol has to word: the answer, the rows refused, and the reasons that were asked for."""

    answer: Answer
    count: int
    """Rows in the answer: those asked for without those refused."""
    refused: list[RowProblem] = field(default_factory=list)
    positions: list[int] | None = None
    """Where each answered row stood in the request; None when none was refused."""
    reasons: list[list[tuple[str, float]]] | None = None
    """For each row: a feature, and by how much the answer would move with that feature's typical value instead."""


@dataclass(slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()
