"""Where a case's labels come from (`labels:` in configs/<case>.yaml), and how they name what they are about."""

from datetime import timedelta
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from configs.frozen import Frozen
from configs.sources import Source


class LabelKey(StrEnum):
    """How a label names the prediction it is about."""

    request = "request"
    """By the request's id, and the row in it."""
    event = "event"
    """By entity and event time."""
    entity = "entity"
    """By entity alone: a label is about what was answered before it."""


class LabelSource(Frozen):
    """Labels from a source of their own; each value but `source` and the hours names a column of it.

    Left out of a case, its labels come from the target in its own source, and are known `label_delay_hours` after the
    event.
    """

    source: Source
    """A query may use `:start` and `:end`, the bounds in UTC of the label time (without one, of the event time)."""
    entity: str | None = None
    event_time: str | None = None
    """Needed where one entity is asked about more than once."""
    request_id: str | None = None
    row: str | None = None
    """Which row of the request, from 0; without it, its first."""
    label: str | None = None
    """Holds labels: true or false (1 or 0), the class, or the number."""
    target: str | None = None
    """Holds the target instead, of which the case's contract says how it becomes a label."""
    labelled_at: str | None = None
    """When the label became known; without it, `label_delay_hours` after the event."""
    version: str | None = None
    """Which revision of a label this is: the largest counts, whatever the clocks say."""
    look_back_hours: float = Field(672, ge=0)
    """A query is asked again so far back, for labels written late; files are read whole anyway."""

    @property
    def key(self) -> LabelKey:
        if self.request_id:
            return LabelKey.request
        return LabelKey.event if self.event_time else LabelKey.entity

    @property
    def look_back(self) -> timedelta:
        return timedelta(hours=self.look_back_hours)

    @model_validator(mode="after")
    def _can_be_joined_and_read(self) -> Self:
        if not (self.request_id or self.entity):
            raise ValueError("labels need `request_id` or `entity`, or nothing says which prediction they are about")
        if self.row and not self.request_id:
            raise ValueError("`row` is the row of a request; it needs `request_id`")
        if (self.label is None) == (self.target is None):
            raise ValueError("give exactly one of `label` and `target`")
        if self.labelled_at is None and not self.event_time:
            raise ValueError("without `labelled_at` and `event_time` nothing says when a label became known")
        return self
