"""Every model that could have been trained, fitted once, and what it answers to each later batch.

A model is known by the batches it learned from. Its answers are kept under the digest of all that made them: rows,
parameters, code, libraries. So a back-test that was killed goes on where it stopped, and another policy over the same
history trains nothing that was trained before. The models themselves are not kept.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn

from configs.case import Case, Problem
from configs.params import Params
from configs.project import Project
from tasks.backtest.weeks import History
from tasks.evaluation.predictions import Floats, digest, predict_in_parts
from tasks.features import inputs, labels
from tasks.files import sha256, write_whole
from tasks.ingestion.batches import read_batch
from tasks.records import Batch, Record, Window
from tasks.training import fit, pipeline, rows, search

log = logging.getLogger(__name__)

Parallel = Callable[[Callable[..., Any], Iterable[Any]], Iterable[Any]]
"""Like `map`."""

_RECORD, _ANSWERS = "fit.json", "answers.parquet"
_CODE = (inputs, labels, fit, pipeline, rows, search)
_ROOT = Path("/")


@dataclass(frozen=True, order=True)
class Model:
    """A model by what it learned from: the batches `[first, stop)` of the history."""

    first: int
    stop: int


class Fitted(Record):
    """What is known of a model that was fitted."""

    case: str
    batches: tuple[str, ...]
    rows: int
    features: tuple[str, ...]
    scored: tuple[str, ...]
    answers_sha256: str
    """Of its answers, bit for bit."""


@dataclass(frozen=True)
class _Wanted:
    """One model to fit: all a process elsewhere needs to know."""

    project: Project
    case: str
    folder: Path
    learns: tuple[Batch, ...]
    scores: tuple[Batch, ...]
    classes: tuple[str, ...]


class Fits:
    """The table of answers: one row of it for each model, one column for each batch."""

    def __init__(self, project: Project, history: History, last: int, folder: Path) -> None:
        """Batches up to `last` (exclusive) are scored."""
        self.history = history
        self.fitted = 0
        """How many models had to be fitted."""
        self._project, self._last, self._folder = project, last, folder
        self._params = project.params(history.case.name)
        self._kept: dict[Model, dict[int, Floats]] = {}
        self._made_with = _made_with(history.case, self._params)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """All labels of a multiclass history: the order of its probabilities."""
        if self.history.case.problem is not Problem.multiclass:
            return ()
        found = {str(one) for batch in range(self._last) for one in self.history.rows(batch).label.dropna().unique()}
        return tuple(sorted(found))

    def ensure(self, models: Iterable[Model], parallel: Parallel = map) -> None:
        """Fit those of `models` that were not fitted before, wherever `parallel` runs."""
        missing = [model for model in sorted(set(models)) if not (self._place(model) / _RECORD).is_file()]
        if not missing:
            return
        classes = self.classes
        for number, model in enumerate(parallel(_fit, [self._wanted(model, classes) for model in missing]), 1):
            log.info("backtest %s: %s (%d of %d)", self.history.case.name, model, number, len(missing))
        self.fitted += len(missing)

    def answers(self, model: Model, batch: int) -> Floats:
        """What `model` answers to each row of a later batch; it is fitted now if it was not before."""
        if model not in self._kept:
            self.ensure([model])
            self._kept[model] = self._read(model)
        return self._kept[model][batch]

    def _read(self, model: Model) -> dict[int, Floats]:
        table = pd.read_parquet(self._place(model) / _ANSWERS)
        numbers = {self.history.batches[number].batch_id: number for number in range(model.stop, self._last)}
        columns = [name for name in table if name != "batch"]
        return {
            numbers[str(name)]: part[columns].to_numpy()[:, 0] if len(columns) == 1 else part[columns].to_numpy()
            for name, part in table.groupby("batch", sort=False, observed=True)
        }

    def _wanted(self, model: Model, classes: tuple[str, ...]) -> _Wanted:
        batches = self.history.batches
        return _Wanted(
            self._project,
            self.history.case.name,
            self._place(model),
            batches[model.first : model.stop],
            batches[model.stop : self._last],
            classes,
        )

    def _place(self, model: Model) -> Path:
        made = {
            "with": self._made_with,
            "learns": self.history.digests[model.first : model.stop],
            "scores": self.history.digests[model.stop : self._last],
        }
        return self._folder / "fits" / hashlib.sha256(json.dumps(made).encode()).hexdigest()[:32]


def _made_with(case: Case, params: Params) -> dict[str, Any]:
    return {
        "contract": case.contract.model_dump(mode="json"),
        "problem": [case.problem, case.positive and case.positive.model_dump(mode="json")],
        "params": [params.seed, params.features.model_dump(mode="json"), params.training.model_dump(mode="json")],
        "code": _code(),
        "libraries": [sklearn.__version__, np.__version__, pd.__version__],
    }


@cache
def _code() -> str:
    return hashlib.sha256("".join(sha256(Path(str(module.__file__))) for module in _CODE).encode()).hexdigest()


def _fit(wanted: _Wanted) -> str:
    """Fit one model, and keep its answers; gives the words for the log."""
    case, params = wanted.project.case(wanted.case), wanted.project.params(wanted.case)
    window = Window(start=wanted.learns[0].start, end=wanted.learns[-1].end, batches=wanted.learns)
    learnt = rows.read_rows(case, params, _ROOT, window)
    model = fit.fit(case, params, fit.settings_for(case, params, learnt), learnt)
    features = tuple(learnt.frame.columns)
    table = _scored(case.problem, model, features, wanted)
    write_whole(wanted.folder / _ANSWERS, lambda part: table.to_parquet(part, index=False, compression="zstd"))
    # The record comes last: a folder with one is whole.
    Fitted(
        case=wanted.case,
        batches=tuple(batch.batch_id for batch in wanted.learns),
        rows=len(learnt.y),
        features=features,
        scored=tuple(batch.batch_id for batch in wanted.scores),
        answers_sha256=digest(table.drop(columns="batch").to_numpy(dtype=np.float64)),
    ).write(wanted.folder / _RECORD)
    return f"fitted on {wanted.learns[0].batch_id} to {wanted.learns[-1].batch_id}, {len(learnt.y):,} rows"


def _scored(problem: Problem, model: Any, features: tuple[str, ...], wanted: _Wanted) -> pd.DataFrame:
    """A row for each row of the later batches: its `batch`, and the answer."""
    if not wanted.scores:
        return pd.DataFrame({"batch": [], "answer": []})
    frames = [read_batch(_ROOT, batch).loc[:, list(features)] for batch in wanted.scores]
    whole = pd.concat(frames, ignore_index=True)
    if problem is Problem.regression:
        told = pd.DataFrame({"answer": predict_in_parts(lambda part: np.asarray(model.predict(part)), whole)})
    elif problem is Problem.binary:
        told = pd.DataFrame({"answer": predict_in_parts(lambda part: model.predict_proba(part)[:, 1], whole)})
    else:
        seen = [str(one) for one in model.classes_]
        each = predict_in_parts(model.predict_proba, whole, len(seen))
        # A model need not have met every class.
        told = pd.DataFrame(each, columns=seen).reindex(columns=list(wanted.classes), fill_value=0.0)
    names = np.repeat([batch.batch_id for batch in wanted.scores], [len(frame) for frame in frames])
    return told.assign(batch=pd.Categorical(names))
