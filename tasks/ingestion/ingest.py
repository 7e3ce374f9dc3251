"""ingest: take from the source every batch whose labels are in by the as-of and that has not been delivered yet."""

import logging

import pandas as pd

from configs.case import Case
from configs.project import CaseFiles, Project
from tasks.errors import EmptyDelivery, SourceUnreadable
from tasks.files import write_whole
from tasks.ingestion.batches import batch_of, delivered, delivery_of, period_id, period_of, period_start
from tasks.ingestion.sources import BEGINNING, rows
from tasks.records import Batch, Order

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

    A period that the source had late, after the one that followed it was delivered, is delivered so for the first time.
    Raises SourceUnreadable if it is no period until the newest delivery, and EmptyDelivery or SourceUnreadable when
    there is nothing to deliver; the old delivery stays.
    """
    case, files = project.case(case_name), project.files(case_name)
    batch = _until_the_newest(case, files, period_of(period))
    again = rows(case, batch.start, batch.end)
    if again.empty:
        raise EmptyDelivery(f"The source of `{case.name}`", period)
    earlier = [path.stem for path in files.deliveries.glob("*.parquet") if period_of(path.stem) == batch.batch_id]
    number = max(map(delivery_of, earlier), default=0) + 1
    batch_id = batch.batch_id if number == 1 else f"{batch.batch_id}.{number}"
    _write(project, case, batch_id, again)
    return batch_id


def _until_the_newest(case: Case, files: CaseFiles, period: str) -> Batch:
    """The batch of a period that lies before the newest delivery, or is it. Raises SourceUnreadable."""
    newest = max((period_of(path.stem) for path in files.deliveries.glob("*.parquet")), default=None)
    try:
        batch = batch_of(case, period)
    except ValueError:
        batch = None
    if batch is None or period_id(case.batch_every, batch.start) != period:
        raise SourceUnreadable(
            f"Delivery {period} of `{case.name}`",
            f"it is no {case.batch_every}",
            f"Name one as `evergreen status` does{f', such as {newest}' if newest else ''}.",
        )
    if newest is None or period > newest:
        raise SourceUnreadable(
            f"Delivery {period} of `{case.name}`",
            f"it was never delivered, nor was one after it (the newest is {newest or 'still to come'})",
            "`evergreen train` takes it when it is due.",
        )
    return batch


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
