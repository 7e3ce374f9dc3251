"""Windows: which batches train a candidate and which judge it, once their labels have had time to arrive."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from configs.case import Case
from configs.params import Params, WindowParams
from tasks.errors import TooLittleData
from tasks.ingestion.batches import period_end, period_start
from tasks.records import Batch, BatchReport, Finding, LeftOut, Severity, Window, Windows
from tasks.validation.wording import listing

_MOST_WARNINGS = 20
_FOR_SO_MANY_LABELS = 1.2
"""Rows, for each that is to have a label."""


def labelled(batches: Iterable[Batch], label_delay: timedelta, as_of: datetime) -> list[Batch]:
    """The batches whose every label has had time to arrive by `as_of`."""
    return [batch for batch in batches if batch.end + label_delay <= as_of]


def spans(batches: Sequence[Batch], rejected: Collection[str], params: WindowParams) -> tuple[list[Batch], list[Batch]]:
    """The batches that training and evaluation span, rejected ones among them included.

    Evaluation reaches back until it holds `evaluate_batches` that are not rejected; training takes what lies before.
    """
    first, accepted = len(batches), 0
    while first and accepted < params.evaluate_batches:
        first -= 1
        accepted += batches[first].batch_id not in rejected
    earliest = 0 if params.train_batches is None else max(0, first - params.train_batches)
    return list(batches[earliest:first]), list(batches[first:])


def only_since(train: Sequence[Batch], moment: datetime, rows: Callable[[Batch], int], params: Params) -> list[Batch]:
    """Of the batches to train on, those since a moment, and as many before them as make enough rows.

    Enough is a fifth more than `min_train_rows`, for not each row gets a label, and a batch more than calibration keeps
    back. All of them if none came since; `rows` says how many rows of a batch count.
    """
    first = sum(_middle(batch) < moment for batch in train)
    if first == len(train):
        return list(train)
    enough = _FOR_SO_MANY_LABELS * params.window.min_train_rows
    kept_back = params.training.calibration_batches if params.training.calibration != "none" else 0
    while first and (sum(map(rows, train[first:])) < enough or len(train) - first <= kept_back):
        first -= 1
    return list(train[first:])


def learnable_at(case: Case, judged_by: int, moment: datetime) -> datetime:
    """When the labels are in of a batch since a moment, and of those after it that judge who has learned from it."""
    start = period_start(case.batch_every, moment)
    end = period_end(case.batch_every, start)
    late = moment > start + (end - start) / 2
    for _ in range(judged_by + late):
        end = period_end(case.batch_every, end)
    return end + case.label_delay


def _middle(batch: Batch) -> datetime:
    return batch.start + (batch.end - batch.start) / 2


def windows(
    train: Sequence[Batch],
    evaluate: Sequence[Batch],
    reports: Mapping[str, BatchReport],
    params: WindowParams,
    as_of: datetime,
) -> Windows:
    """The two windows within their spans, without the batches that were rejected. Raises TooLittleData."""
    left_out = tuple(
        LeftOut(batch_id=batch.batch_id, why=why(reports[batch.batch_id]))
        for batch in (*train, *evaluate)
        if not reports[batch.batch_id].accepted
    )
    refuse_too_many(left_out, len(train) + len(evaluate), params.max_left_out)
    training = [batch for batch in train if reports[batch.batch_id].accepted]
    judging = [batch for batch in evaluate if reports[batch.batch_id].accepted]
    _refuse_too_few(training, judging, reports, params)
    return Windows(
        as_of=as_of,
        train=_window(training),
        evaluate=_window(judging),
        left_out=left_out,
        warnings=_bounded([*_gaps([*train, *evaluate]), *_warnings([*training, *judging], reports)]),
    )


def refuse_too_many(left_out: Sequence[LeftOut], spanned: int, max_left_out: float) -> None:
    """Raise TooLittleData if more than `max_left_out` of the spanned batches are left out."""
    if left_out and len(left_out) > max_left_out * spanned:
        raise TooLittleData(
            "train on what was promised",
            f"{len(left_out)} of {spanned} batches in quarantine ({listing([o.batch_id for o in left_out], 5)})",
            f"at most {max_left_out:.0%} (window.max_left_out)",
            f"The first was rejected because of {left_out[0].why}. Have the source deliver them again, "
            "or mend the contract if it promises too much.",
        )


def why(report: BatchReport) -> str:
    """Why a batch was rejected, in one line."""
    more = len(report.blocking) - 1
    return worded(report.blocking[0]) + (f", and {more} more" if more else "")


def worded(finding: Finding) -> str:
    """A finding in one line: `distance`: 412 of 5,893 rows outside (expected 0 to 6000 miles)."""
    about = f"`{finding.column}`: " if finding.column else ""
    return f"{about}{finding.found} (expected {finding.expected})"


def _refuse_too_few(
    training: Sequence[Batch], judging: Sequence[Batch], reports: Mapping[str, BatchReport], params: WindowParams
) -> None:
    rows = sum(reports[batch.batch_id].rows for batch in training)
    wait = "Wait for more deliveries and their labels (a batch counts once the label delay after its end is over)"
    if len(judging) < params.evaluate_batches:
        found, wanted = f"{len(judging)} accepted batches with labels", f"{params.evaluate_batches}"
        raise TooLittleData("judge a candidate", found, wanted, f"{wait}, or lower window.evaluate_batches.")
    if not training:
        raise TooLittleData(
            "train a candidate",
            f"no accepted batch in the window before the {len(judging)} that judge it",
            "at least one",
            f"{wait}, or lower window.evaluate_batches.",
        )
    if rows < params.min_train_rows:
        found, wanted = (
            f"{rows:,} rows in {len(training)} batches",
            f"{params.min_train_rows:,} (window.min_train_rows)",
        )
        raise TooLittleData("train a candidate", found, wanted, f"{wait}, or raise window.train_batches.")


def _window(batches: Sequence[Batch]) -> Window:
    return Window(start=batches[0].start, end=batches[-1].end, batches=tuple(batches))


def _gaps(batches: Sequence[Batch]) -> list[str]:
    gaps = ((before, after) for before, after in pairwise(batches) if before.end < after.start)
    return [f"nothing was delivered between {before.batch_id} and {after.batch_id}" for before, after in gaps]


def _warnings(batches: Iterable[Batch], reports: Mapping[str, BatchReport]) -> list[str]:
    failed = ((batch.batch_id, finding) for batch in batches for finding in reports[batch.batch_id].failed)
    return [f"{batch_id}: {worded(finding)}" for batch_id, finding in failed if finding.severity is Severity.warning]


def _bounded(warnings: list[str]) -> tuple[str, ...]:
    more = len(warnings) - _MOST_WARNINGS
    return (*warnings[:_MOST_WARNINGS], *([f"and {more} more, see the batches' reports"] if more > 0 else []))
