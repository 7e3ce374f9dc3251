"""What a monitor needs of the prediction log of one case."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Protocol

import pyarrow as pa


class Answers(Protocol):
    """The answers that were given, and the inputs they were given to."""

    @property
    def case(self) -> str:
        """The case whose answers these are."""
        ...

    def batches(self, start: datetime, end: datetime, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows answered in `[start, end)`, in no order, a bounded number at a time.

        With `columns`, every batch has exactly these, in this order; one that its rows do not have is of type null.
        A column may be of one type in one batch and of another in the next.
        """
        ...

    def rows_by_day(self, first: date, last: date) -> Mapping[date, int]:
        """How many rows each day (UTC) from `first` to `last` has, of any role: counted without reading them."""
        ...
