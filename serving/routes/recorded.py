"""recorded: rows that really came, delivered or asked for, to prove a plan on."""

import logging
from collections.abc import Iterable, Iterator

import pandas as pd

from configs.case import Case
from configs.project import Project
from serving.engine.frame import rows_of
from serving.ledger.entry import decode_entry
from serving.ledger.errors import SegmentAltered
from serving.ledger.header import logged_cases
from serving.ledger.places import segments_folder
from serving.ledger.segment import OPEN, SEALED, Segment
from serving.records import Rows, Value

log = logging.getLogger(__name__)


def delivered_rows(project: Project, case: Case, at_most: int) -> Rows:
    """Rows of the newest deliveries that lie here; none where they do not."""
    return _gathered(case, _delivered(project, case, at_most), at_most)


def logged_rows(project: Project, case: Case, at_most: int) -> Rows:
    """Rows of answers in that part of the prediction log that is not yet Parquet."""
    return _gathered(case, _logged(project, case), at_most)


def _gathered(case: Case, found: Iterable[Rows], at_most: int) -> Rows:
    columns: list[list[Value]] = [[] for _ in case.contract.features]
    count = 0
    for rows in found:
        some = rows.take(range(min(rows.count, at_most - count)))
        for column, values in zip(columns, some.columns, strict=True):
            column.extend(values)
        count += some.count
        if count >= at_most:
            break
    return Rows(count, columns, [None] * count, [None] * count)


def _delivered(project: Project, case: Case, at_most: int) -> Iterator[Rows]:
    for path in sorted(project.files(case.name).deliveries.glob("*.parquet"), reverse=True):
        try:
            frame = pd.read_parquet(path)
            yield rows_of(frame.iloc[:: len(frame) // at_most + 1], case.contract)
        except (OSError, ValueError, TypeError) as error:
            # A delivery that breaks the contract is validation's to tell, and no reason to refuse a model.
            log.warning("%s: the delivery %s is not used to prove a plan: %s", case.name, path.name, error)


def _logged(project: Project, case: Case) -> Iterator[Rows]:
    folder = segments_folder(project)
    paths = [path for end in (OPEN, SEALED) for path in folder.glob(f"*{end}")]
    for path in sorted(paths, key=lambda path: path.name, reverse=True):
        try:
            segment = Segment(path)
        except (FileNotFoundError, SegmentAltered):
            continue  # became Parquet meanwhile, or is the compactor's to tell
        described = segment.header.cases.get(case.name)
        if described is None or described.features != logged_cases([case])[case.name].features:
            continue  # of another contract
        for payload in segment:
            entry = decode_entry(payload, segment.header.cases)
            if entry.case == case.name:
                yield entry.rows
