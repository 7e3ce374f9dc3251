"""Batches: how time is cut into them, how they are named, found and read."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from configs.case import Case
from tasks.errors import SourceUnreadable
from tasks.records import Batch


def period_start(every: str, moment: datetime) -> datetime:
    """The start in UTC of the day, ISO week or month that `moment` lies in."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match every:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
    raise ValueError(f"no such period: {every}")


def period_end(every: str, start: datetime) -> datetime:
    """The end (exclusive) of the period that starts at `start`."""
    match every:
        case "day":
            return start + timedelta(days=1)
        case "week":
            return start + timedelta(days=7)
        case "month":
            return (start + timedelta(days=32)).replace(day=1)
    raise ValueError(f"no such period: {every}")


def period_id(every: str, start: datetime) -> str:
    """`2013-05-13`, `2013-W20` or `2013-05`; sorts by time."""
    match every:
        case "day":
            return start.strftime("%Y-%m-%d")
        case "week":
            return "{}-W{:02}".format(*start.isocalendar()[:2])
        case "month":
            return start.strftime("%Y-%m")
    raise ValueError(f"no such period: {every}")


def delivered(case: Case, deliveries: Path, as_of: datetime) -> list[Batch]:
    """The batches in `deliveries` that had ended by `as_of`, oldest first.

    Of a period that was delivered again (`2013-W20.2`), only the newest delivery counts.
    """
    newest: dict[str, Batch] = {}
    for path in sorted(deliveries.glob("*.parquet"), key=_order):
        batch = batch_of(case, path.stem)
        if batch.end <= as_of:
            newest[period_of(batch.batch_id)] = batch
    return [newest[period] for period in sorted(newest)]


def period_of(batch_id: str) -> str:
    """The period a batch is about, whichever delivery of it this is."""
    return batch_id.partition(".")[0]


def delivery_of(batch_id: str) -> int:
    """1 for the first delivery of a period, 2 for the first that replaces it, and so on."""
    return int(batch_id.partition(".")[2] or 1)


def read_batch(deliveries: Path, batch: Batch) -> pd.DataFrame:
    """The rows of a batch as they were delivered. Raises SourceUnreadable if the file is corrupt."""
    path = deliveries / batch.file
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise SourceUnreadable(
            str(path),
            str(error),
            "Restore it with `dvc checkout`, or take the delivery again with `evergreen redeliver`.",
        ) from error


def _order(path: Path) -> tuple[str, int]:
    return period_of(path.stem), delivery_of(path.stem)


def batch_of(case: Case, batch_id: str) -> Batch:
    """The batch with this id. Raises ValueError if the id is not one of the case's."""
    start = _start(case.batch_every, period_of(batch_id))
    return Batch(batch_id=batch_id, start=start, end=period_end(case.batch_every, start), file=f"{batch_id}.parquet")


def _start(every: str, period: str) -> datetime:
    formats = {"day": "%Y-%m-%d", "week": "%G-W%V-%u", "month": "%Y-%m"}
    return datetime.strptime(f"{period}-1" if every == "week" else period, formats[every]).replace(tzinfo=UTC)
