"""validate: hold the deliveries against the contract, keep what breaks it apart, and cut the windows."""

import logging
import multiprocessing
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from configs.case import Case
from configs.params import Params
from configs.project import CaseFiles, Project
from tasks.errors import BatchRejected, SourceStale, SourceUnreadable, TooLittleData
from tasks.files import sha256, write_text, write_whole
from tasks.ingestion.batches import delivered, read_batch
from tasks.records import Batch, BatchReport, Order, Windows
from tasks.validation.findings import findings, fingerprint
from tasks.validation.report import page
from tasks.validation.windows import labelled, only_since, spans, why, windows

log = logging.getLogger(__name__)

_ENOUGH_TO_COMPARE = 3
_WORTH_A_PROCESS = 2
"""Batches."""


def validate(project: Project, case_name: str, *, at_once: int = 1) -> Windows:
    """Write the windows that may be trained on and judged by, and a report of each batch that takes part.

    A batch that has its report already is not checked again; of many that have none, up to `at_once` are checked side
    by side, in forked processes: this one should have no threads that hold locks. Raises BatchRejected if the newest
    batch breaks the contract, SourceStale if it is too old, and TooLittleData if what was accepted does not fill the
    windows.
    """
    case, files = project.case(case_name), project.files(case_name)
    order = Order.read(files.order)
    as_of, params = order.as_of, _as_ordered(project.params(case_name), order)
    # The windows of an earlier order must not be there for training if this order is refused.
    files.windows.unlink(missing_ok=True)
    batches = delivered(case, files.deliveries, as_of)
    inspection = Inspection(case, params, files, batches, at_once)
    _refuse_stale(case, params, batches, as_of)
    _refuse_broken(project, inspection, batches[-1])
    found = _cut(inspection, order)
    found.write(files.windows)
    log.info("validate %s: %s", case.name, _said(found, inspection))
    return found


def _as_ordered(params: Params, order: Order) -> Params:
    """The parameters, with the length of the training window that this order asks for."""
    if order.train_batches is None:
        return params
    window = params.window.model_copy(update={"train_batches": order.train_batches})
    return params.model_copy(update={"window": window})


@dataclass
class Inspection:
    """The batches of one case and their reports, made when they are asked for."""

    case: Case
    params: Params
    files: CaseFiles
    batches: Sequence[Batch]
    at_once: int = 1
    reports: dict[str, BatchReport] = field(default_factory=dict)
    checked: int = 0
    """How many batches had no report that still holds."""
    _digests: dict[str, tuple[str, str]] = field(default_factory=dict)

    def report(self, batch: Batch) -> BatchReport:
        """The report on a batch, kept with its page beside it; a rejected batch is put in quarantine."""
        if batch.batch_id not in self.reports:
            report = self._kept_or_made(batch)
            self._quarantine(batch, report)
            self.reports[batch.batch_id] = report
        return self.reports[batch.batch_id]

    def make_ahead(self, batches: Sequence[Batch]) -> None:
        """Make the reports that these batches do not have yet, in processes side by side; `report` finds them then."""
        if self.at_once < 2:
            return
        missing = [batch for batch in batches if self._kept(batch) is None]
        others = min(self.at_once, len(missing) // _WORTH_A_PROCESS) - 1
        if others < 1:
            return
        forked = multiprocessing.get_context("fork")  # a new interpreter would import for longer than this takes
        shares = [missing[number :: others + 1] for number in range(others + 1)]
        beside = []
        try:
            for share in shares[1:]:
                process = forked.Process(target=self._make, args=(share,))
                process.start()
                beside.append(process)
        except OSError as error:
            log.warning(
                "validate %s: %d processes instead of %d: %s", self.case.name, len(beside) + 1, others + 1, error
            )
        self._make(shares[0])
        for process in beside:
            process.join()
        self.checked += sum(self._kept(batch) is not None for batch in missing)

    def _make(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            try:
                self._keep(self._made(batch), batch)
            except Exception:  # noqa: BLE001 - it is made again where it is asked for, and fails there, and is told
                return

    def _kept_or_made(self, batch: Batch) -> BatchReport:
        report = self._kept(batch)
        if report is None:
            self.checked += 1
            report = self._made(batch)
            self._keep(report, batch)
        return report

    def _kept(self, batch: Batch) -> BatchReport | None:
        """The report that was made of this very batch by the checks of today."""
        report = _read(self.files.validation / f"{batch.batch_id}.json")
        if report is None or (report.digest, report.fingerprint) != self._made_from(batch):
            return None
        return report

    def _keep(self, report: BatchReport, batch: Batch) -> None:
        kept = self.files.validation / f"{batch.batch_id}.json"
        # The page first: where there is a report, its page is there too, even if this is killed in between.
        write_text(kept.with_suffix(".html"), page(report, batch))
        report.write(kept)

    def _made(self, batch: Batch) -> BatchReport:
        digest, checks = self._made_from(batch)
        frame = read_batch(self.files.deliveries, batch)
        return BatchReport(
            case=self.case.name,
            batch_id=batch.batch_id,
            contract_version=self.case.contract.version,
            rows=len(frame),
            digest=digest,
            fingerprint=checks,
            findings=findings(self.case, self.params.validation, batch, frame, self._typical_rows(batch)),
        )

    def _made_from(self, batch: Batch) -> tuple[str, str]:
        """What a report on it is made from: the digests of its file and of its checks."""
        if batch.batch_id not in self._digests:
            checks = fingerprint(self.case, self.params.validation, batch, self._typical_rows(batch))
            self._digests[batch.batch_id] = sha256(self.files.deliveries / batch.file), checks
        return self._digests[batch.batch_id]

    def _typical_rows(self, batch: Batch) -> float | None:
        earlier = [other for other in self.batches if other.start < batch.start]
        recent = earlier[-self.params.validation.volume_batches :]
        if len(recent) < _ENOUGH_TO_COMPARE:
            return None
        return median(_rows_in(self.files.deliveries / other.file) for other in recent)

    def _quarantine(self, batch: Batch, report: BatchReport) -> None:
        kept = self.files.quarantine / f"{batch.batch_id}.parquet"
        if report.accepted:
            # The contract it once broke has been mended since.
            kept.unlink(missing_ok=True)
        elif not kept.is_file() or sha256(kept) != report.digest:
            write_whole(kept, lambda part: shutil.copyfile(self.files.deliveries / batch.file, part))


def _refuse_stale(case: Case, params: Params, batches: Sequence[Batch], as_of: datetime) -> None:
    if not batches:
        raise TooLittleData(
            "validate",
            f"no batch of `{case.name}` that ended by {as_of:%Y-%m-%d %H:%M}Z",
            "at least one",
            f"Take the deliveries with `python -m tasks ingest {case.name}`, or check the as-of.",
        )
    newest = batches[-1]
    age = (as_of - case.label_delay - newest.end) / (newest.end - newest.start)
    if age > params.validation.stale_after_batches:
        raise SourceStale(
            case.name,
            newest.batch_id,
            f"{newest.end:%Y-%m-%d %H:%M}Z",
            f"{as_of:%Y-%m-%d %H:%M}Z",
            f"{age:.1f} {case.batch_every}s (accepted: {params.validation.stale_after_batches:g})",
        )


def _refuse_broken(project: Project, inspection: Inspection, newest: Batch) -> None:
    report, files = inspection.report(newest), inspection.files
    if not report.accepted:
        page_file = files.validation / f"{newest.batch_id}.html"
        quarantine_file = files.quarantine / f"{newest.batch_id}.parquet"
        raise BatchRejected(
            report, str(page_file.relative_to(project.root)), str(quarantine_file.relative_to(project.root))
        )


def _cut(inspection: Inspection, order: Order) -> Windows:
    params, usable = inspection.params.window, labelled(inspection.batches, inspection.case.label_delay, order.as_of)

    def rows(batch: Batch) -> int:
        report = inspection.report(batch)
        return report.rows if report.accepted else 0

    while True:
        # A batch that turns out rejected makes evaluation reach further back, to batches not looked at so far.
        rejected = {batch_id for batch_id, report in inspection.reports.items() if not report.accepted}
        train, evaluate = spans(usable, rejected, params)
        unseen = [batch for batch in (*train, *evaluate) if batch.batch_id not in inspection.reports]
        if not unseen:
            if order.train_since:
                train = only_since(train, order.train_since, rows, inspection.params)
            return windows(train, evaluate, inspection.reports, params, order.as_of)
        inspection.make_ahead(unseen)
        for batch in unseen:
            report = inspection.report(batch)
            if not report.accepted:
                log.warning("validate %s: %s is left out: %s", inspection.case.name, batch.batch_id, why(report))


def _said(found: Windows, inspection: Inspection) -> str:
    train, judge = found.train.batches, found.evaluate.batches
    rows = sum(inspection.reports[batch.batch_id].rows for batch in train)
    return (
        f"train on {train[0].batch_id} to {train[-1].batch_id} ({len(train)} batches, {rows:,} rows), "
        f"judge by {judge[0].batch_id} to {judge[-1].batch_id}; {len(found.left_out)} left out, "
        f"{len(found.warnings)} warnings, {inspection.checked} of {len(inspection.reports)} batches checked anew"
    )


def _read(kept: Path) -> BatchReport | None:
    """The report, if it can be read and its page is beside it."""
    try:
        return BatchReport.read(kept) if kept.with_suffix(".html").is_file() else None
    except (FileNotFoundError, ValidationError):
        return None


def _rows_in(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        remedy = "Restore it with `dvc checkout`, or take the delivery again with `evergreen redeliver`."
        raise SourceUnreadable(str(path), str(error), remedy) from error
