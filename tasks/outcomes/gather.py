"""gather: take the labels that became known, and join them with the predictions that were logged."""

import logging
import shutil
from datetime import datetime

from pydantic import AwareDatetime, Field

from configs.project import Project
from tasks.adapters.locks import exclusive
from tasks.monitoring.answers import Answers
from tasks.outcomes.increment import Increment
from tasks.outcomes.intake import take
from tasks.outcomes.join import engine
from tasks.outcomes.labels import read_labels
from tasks.outcomes.shelf import Shelf
from tasks.records import Record

log = logging.getLogger(__name__)


class Gathered(Record):
    """What one run of `gather` took and joined."""

    case: str
    as_of: AwareDatetime
    predictions: int
    """Rows of the prediction log that came in."""
    new_labels: int
    """Labels that came in, those about unknown predictions among them."""
    joined: int
    """Rows of predictions that got their first label."""
    orphans: int
    """New labels about predictions that nobody has logged (yet)."""
    corrections: int
    """New labels that say something else than the one before."""
    contradictions: int
    """New labels that say something else of the very same moment."""
    duplicates: int
    """New labels that say the same again."""
    empty: int
    """Rows of the source that hold no label (yet)."""
    unnamed: int
    """Labels that do not say what they are about, or when they became known; left out."""
    repeated: int
    """Rows of the log with the request id, row and role of an earlier one; left out."""
    contradicting: tuple[str, ...] = Field((), max_length=5)
    """What some of the contradictions are about."""
    orphaned: tuple[str, ...] = Field((), max_length=5)
    """What some of the orphans are about."""


def gather(project: Project, case_name: str, as_of: datetime, answers: Answers) -> Gathered:
    """Bring the outcomes of a case up to `as_of`. Killed anywhere, it left everything as it was; run it again.

    Asked for a moment before its last run, it changes nothing: outcomes as of then are read with `read_outcomes`.
    Raises SourceUnreadable, LabelsUnreadable, LabelsUnjoinable, StoreUnreachable, DiskFull.
    """
    case = project.case(case_name)
    shelf = Shelf(project, case.name)
    with exclusive(project.stores / f"{case.name}.outcomes.lock"):
        state = shelf.state()
        if state and as_of < state.as_of:
            log.info("gather %s: outcomes are known as of %s, after %s already", case.name, state.as_of, as_of)
            return _nothing(case.name, as_of)
        shelf.sweep(state)
        shutil.rmtree(shelf.scratch, ignore_errors=True)
        delivered = read_labels(case, state.as_of if state else None, as_of)
        with engine(shelf.scratch) as connection:
            taken = take(connection, shelf, state, delivered, as_of)
            increment = Increment(connection, shelf, state, case, taken)
            joined = increment.run(answers)
            shelf.commit(joined.state)
        gathered = Gathered(
            case=case.name,
            as_of=as_of,
            empty=delivered.empty,
            unnamed=delivered.unnamed,
            **taken.counts,
            **joined.counts,
        )
        shutil.rmtree(shelf.scratch, ignore_errors=True)
    log.info(
        "gather %s: %d predictions, %d labels, %d joined, %d orphans, %d corrections, %d contradictions",
        case.name, gathered.predictions, gathered.new_labels, gathered.joined, gathered.orphans,
        gathered.corrections, gathered.contradictions,
    )  # fmt: skip
    return gathered


def _nothing(case: str, as_of: datetime) -> Gathered:
    counted = set(Gathered.model_fields) - {"case", "as_of", "contradicting", "orphaned"}
    return Gathered(case=case, as_of=as_of, **dict.fromkeys(counted, 0))
