"""ingest: take from the source every batch whose labels are in by the as-of and that has not been delivered yet."""

import logging

import pandas as pd

from configs.case import Case
from configs.project import Project
from tasks.errors import EmptyDelivery, SourceUnreadable
from tasks.files import write_whole
from tasks.ingestion.batches import batch_of, delivered, delivery_of, period_id, period_of, period_start
from tasks.ingestion.sources import BEGINNING, rows
from tasks.records import Order

log = logging.getLogger(__name__)


def ingest(project: Project, case_name: str) -> list[str]:
    """Write the batches that are due, and return their ids; a delivered batch is never rewritten.

    Raises SourceUnreadable, and EmptyDelivery when there is nothing at all up to the as-of.
    """
    case, files = project.case(case_name), project.files(case_name)
    as_of = Order.read(files.order).as_of
    # A batch is immutable, so it is taken when its labels are in: what is delivered earlier stays without them.
    until = period_start(case.batch_every, as_of - case.label_delay)
    files.deliveries.mkdir(parents=True, exist_ok=True)
    before = delivered(case, files.deliveries, as_of)
    since = before[-1].end if before else BEGINNING
    written = _deliver(project, case, rows(case, since, until)) if since < until else []
    if not before and not written:
        raise EmptyDelivery(
            f"The source of `{case.name}`", f"any {case.batch_every} whose labels are in by {as_of:%Y-%m-%d %H:%M}Z"
        )
    log.info("ingest %s: %d new batches, %d in all", case.name, len(written), len(before) + len(written))
    return written


def redeliver(project: Project, case_name: str, period: str) -> str:
    """Take one period from the source again, as a new delivery that replaces the one before; returns its id.

    Raises EmptyDelivery or SourceUnreadable when there is nothing to replace it with; the old delivery stays.
    """
    case, files = project.case(case_name), project.files(case_name)
    earlier = [path for path in files.deliveries.glob("*.parquet") if period_of(path.stem) == period_of(period)]
    if not earlier:
        raise SourceUnreadable(
            f"Delivery {period} of `{case.name}`", "it was never delivered", "See `evergreen status`."
        )
    batch = batch_of(case, period_of(period))
    again = rows(case, batch.start, batch.end)
    if again.empty:
        raise EmptyDelivery(f"The source of `{case.name}`", period)
    batch_id = f"{period_of(period)}.{max(delivery_of(path.stem) for path in earlier) + 1}"
    _write(project, case, batch_id, again)
    return batch_id


def _deliver(project: Project, case: Case, frame: pd.DataFrame) -> list[str]:
    starts = _period_starts(case, frame)
    written = []
    for start, batch in frame.groupby(starts, sort=True):
        batch_id = period_id(case.batch_every, start)
        _write(project, case, batch_id, batch)
        written.append(batch_id)
    return written


def _period_starts(case: Case, frame: pd.DataFrame) -> pd.Series:
    """Each row's period; rows without an event time travel with the newest, where validation will find them."""
    days = frame[case.contract.event_time].dt.floor("D")
    if len(days) and days.isna().all():
        raise SourceUnreadable(
            f"The source of `{case.name}`",
            f"none of its {len(days)} new rows says when it happened (`{case.contract.event_time}` is empty)",
            "Mend the source; rows cannot be put into batches without their time.",
        )
    known = {day: period_start(case.batch_every, day.to_pydatetime()) for day in days.dropna().unique()}
    starts: pd.Series = days.map(known)
    return starts.fillna(starts.max())


def _write(project: Project, case: Case, batch_id: str, frame: pd.DataFrame) -> None:
    path = project.files(case.name).deliveries / f"{batch_id}.parquet"
    whole = frame.reset_index(drop=True)
    write_whole(path, lambda part: whole.to_parquet(part, index=False, compression="zstd"))
