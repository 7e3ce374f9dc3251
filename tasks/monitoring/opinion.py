"""A second opinion on the champion's answers: what a model says that has also learnt from the labels since.

The champion's own probabilities cannot tell where it has come to be wrong. Another model, fitted on the rows of the
reference and on what was labelled since, can: the performance the champion would have were that model right is what is
to be expected of it. It learns from rows answered before the window alone, and is fitted anew once in a window's time.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import AwareDatetime

from configs.case import Case, Problem
from configs.params import Params
from configs.project import Project
from tasks.evaluation.predictions import Floats
from tasks.features.artifact import MODEL_FILE, save_model
from tasks.monitoring.estimate import as_probability
from tasks.monitoring.estimator import QUICK, Known
from tasks.monitoring.hours import ASKED_THE_CHAMPION
from tasks.monitoring.kept import KeptModel, recall
from tasks.monitoring.reference import Reference, kept_at
from tasks.outcomes.table import read_outcomes
from tasks.training.pipeline import build_pipeline

log = logging.getLogger(__name__)

MOST_ROWS = 100_000
"""Of those labelled since; beyond, about so many drawn by hash."""
_RECORD = "opinion.json"


@dataclass(frozen=True)
class Opinion:
    """What a model of its own says of rows."""

    model: Any
    columns: tuple[str, ...]
    classes: int
    """Of a multiclass case; else 1."""
    since: int
    """Labelled rows, later than the reference, that it learnt from."""

    def __call__(self, rows: pd.DataFrame) -> Floats:
        """P(positive) of rows (n,), or the probability of each class (n, k)."""
        told = np.asarray(self.model.predict_proba(rows[list(self.columns)]), dtype=np.float64)
        each = np.zeros((len(rows), max(self.classes, 2)))
        each[:, np.asarray(self.model.classes_, dtype=np.intp)] = told
        return each if self.classes > 1 else each[:, 1]


class Kept(KeptModel):
    """An opinion that was kept, and of what moment it is."""

    champion_sha256: str
    until: AwareDatetime
    as_of: AwareDatetime
    since: int


def second_opinion(
    project: Project, case: Case, reference: Reference, start: datetime, as_of: datetime
) -> Opinion | None:
    """The opinion on the window that begins at `start`, from labels known at `as_of`: kept from before, or fitted.

    None for a regression, and where too few labels came since the reference. Raises OutcomesAltered, StoreUnreachable.
    """
    params = project.params(case.name)
    end = max(batch.end for batch in reference.batches)
    whole = (start - end) // params.monitoring.window
    if case.problem is Problem.regression or whole < 1:
        return None
    until = end + whole * params.monitoring.window
    folder = kept_at(project, case.name, reference.version).parent / "opinion"
    champion = reference.about.model_sha256
    found = recall(
        Kept,
        folder / _RECORD,
        lambda kept: (kept.champion_sha256, kept.until) == (champion, until) and kept.as_of <= as_of,
    )
    if found:
        kept, model = found
        return _opinion(reference, model, kept.since)
    rows = _labelled(project, case, reference, (end, until), as_of)
    if len(rows) < params.monitoring.outcomes.min_labels:
        return None
    known = reference.known(reference.units(params.monitoring.window))
    truth = as_probability(case.problem, rows["label"].to_numpy(), reference.about.classes)
    model = fit(case, params, known, rows[list(reference.about.used)], truth)
    log.info("foresee %s: a second opinion from %d labels until %s", case.name, len(rows), until)
    digest = save_model(model, folder / MODEL_FILE)
    Kept(
        champion_sha256=champion,
        until=until,
        as_of=as_of,
        since=len(rows),
        model_sha256=digest,
    ).write(folder / _RECORD)
    return _opinion(reference, model, len(rows))


def fit(case: Case, params: Params, known: Known, since: pd.DataFrame, truth: Floats) -> Any:
    """The model, fitted on the sampled rows of a reference and on `since`, whose labels are `truth`."""
    rows = pd.concat([known.sample, since], ignore_index=True)
    missing = tuple(name for name in case.contract.features if name not in rows)
    features = params.features.model_copy(update={"leave_out": missing})
    labels = np.concatenate([_class_of(known.truth[known.sampled]), _class_of(truth)])
    return build_pipeline(case, features, QUICK, params.seed).fit(rows, labels)


def _class_of(truth: Floats) -> NDArray[np.intp]:
    return (truth if truth.ndim == 1 else truth.argmax(axis=1)).astype(np.intp)


def _opinion(reference: Reference, model: Any, since: int) -> Opinion:
    return Opinion(model, reference.about.used, max(len(reference.about.classes), 1), since)


def _labelled(
    project: Project, case: Case, reference: Reference, span: tuple[datetime, datetime], as_of: datetime
) -> pd.DataFrame:
    """What the champion was asked in `span`, whoever answered, and what came true."""
    columns = [*reference.about.used, "label", "role"]
    rows = read_outcomes(project, case.name, *span, columns, as_of=as_of, at_most=MOST_ROWS)
    return rows[rows["label"].notna() & rows["role"].isin(ASKED_THE_CHAMPION)].reset_index(drop=True)
