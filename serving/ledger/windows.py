"""The prediction log of a case, as the monitors read it: a window at a time, in bounded memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa

from serving.ledger.read import count_predictions, stream_predictions


@dataclass(frozen=True)
class LoggedAnswers:
    """The rows at `url`; with `fresh`, a folder of segments, those that are not Parquet yet too."""

    url: str
    case: str
    fresh: Path | None = None

    def batches(self, start: datetime, end: datetime, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """As `tasks.monitoring.answers.Answers` promises. Raises LogUnreadable, StoreUnreachable."""
        return stream_predictions(self.url, self.case, start, end, columns, fresh=self.fresh)

    def rows_by_day(self, first: date, last: date) -> Mapping[date, int]:
        """As `tasks.monitoring.answers.Answers` promises. Raises LogUnreadable, StoreUnreachable."""
        return count_predictions(self.url, self.case, first, last, fresh=self.fresh)
