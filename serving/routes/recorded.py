"""recorded: rows that really came, delivered or asked for, to prove a plan on."""

import logging
from collections.abc import Iterator
from itertools import islice

import pandas as pd

from configs.case import Case
from configs.project import Project
from serving.engine.frame import rows_of
from serving.ledger.entry import decode_entry
from serving.ledger.errors import SegmentAltered
from serving.ledger.header import logged_cases
from serving.ledger.places import segments_folder
from serving.ledger.segment import OPEN, SEALED, Segment
from serving.records import Rows

log = logging.getLogger(__name__)


def delivered_rows(project: Project, case: Case, at_most: int) -> Rows:
    """Rows of the newest deliveries that lie here; none where they do not."""
    frames: list[pd.DataFrame] = []
    wanted = at_most
    for path in sorted(project.files(case.name).deliveries.glob("*.parquet"), reverse=True):
        try:
            frame = pd.read_parquet(path)
            rows_of(frame.head(wanted), case.contract)
        except (OSError, ValueError, TypeError) as error:
            # A delivery that breaks the contract is validation's to tell, and no reason to refuse a model.
            log.warning("%s: the delivery %s is not used to prove a plan: %s", case.name, path.name, error)
            continue
        frames.append(frame.head(wanted))
        wanted -= len(frames[-1])
        if wanted <= 0:
            break
    return rows_of(pd.concat(frames), case.contract) if frames else _none(case)


def logged_rows(project: Project, case: Case, at_most: int) -> Rows:
    """Rows of the newest answers in the prediction log that is not yet Parquet."""
    rows = _none(case)
    for one in islice(_logged(project, case), at_most):
        for column, values in zip(rows.columns, one.columns, strict=True):
            column.extend(values)
        rows.count += one.count
        if rows.count >= at_most:
            break
    entities: list[str | None] = [None] * rows.count
    return Rows(rows.count, rows.columns, entities, entities).take(range(min(rows.count, at_most)))


def _logged(project: Project, case: Case) -> Iterator[Rows]:
    folder = segments_folder(project)
    paths = [path for end in (OPEN, SEALED) for path in folder.glob(f"*{end}")]
    for path in sorted(paths, key=lambda path: path.name, reverse=True):
        try:
            segment = Segment(path)
        except (FileNotFoundError, SegmentAltered):
            continue  # became Parquet meanwhile, or is the compactor's to tell
        if segment.header.cases.get(case.name) is None:
            continue
        if segment.header.cases[case.name].features != logged_cases([case])[case.name].features:
            continue  # of another contract
        for payload in segment:
            entry = decode_entry(payload, segment.header.cases)
            if entry.case == case.name:
                yield entry.rows


def _none(case: Case) -> Rows:
    return Rows(0, [[] for _ in case.contract.features], [], [])
