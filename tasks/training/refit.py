"""refit: fit an accepted candidate again, on the rows that judged it too, and make sure that it is still that model."""

import logging
import shutil
import time

import pandas as pd

from configs.case import Case
from configs.params import Params
from configs.project import CaseFiles, Project
from tasks.errors import TooLittleData
from tasks.evaluation.contender import Contender
from tasks.evaluation.fresh import read_fresh
from tasks.evaluation.predictions import Predictions, columns_of
from tasks.evaluation.twin import like_its_twin, liken
from tasks.files import write_whole
from tasks.records import Candidate, Evaluation, Reason, Refit, Window, Windows
from tasks.training.fit import describe, fit, keep
from tasks.training.rows import read_rows

log = logging.getLogger(__name__)


def refit(project: Project, case_name: str) -> Refit:
    """Where `gate.refit` asks for it, fit the accepted candidate's recipe on training and evaluation window.

    Settings and seed are the candidate's, also those a search found, so that the same data give bit-identical
    predictions. A model that cannot be fitted so, or is unlike its twin, is turned down with the reasons: the twin, as
    it was judged, is registered then. Raises ArtifactMissing or ArtifactAltered for the twin's file.
    """
    case, params, files = project.case(case_name), project.params(case_name), project.files(case_name)
    accepted = Evaluation.read(files.evaluation / "evaluation.json")
    shutil.rmtree(files.refit, ignore_errors=True)
    record = Refit(case=case_name, asked=params.gate.refit)
    if record.asked and accepted.decision.promote:
        record = _fitted_again(case, params, files, accepted)
    record.write(files.refit / "refit.json")
    log.info("refit %s: %s", case_name, record)
    return record


def _fitted_again(case: Case, params: Params, files: CaseFiles, accepted: Evaluation) -> Refit:
    twin = Contender.load(case.problem, Candidate.read(files.model / "candidate.json"), files.model)
    windows = Windows.read(files.windows)
    try:
        candidate = _fit(case, params, files, twin.record, windows)
    except TooLittleData as error:
        return Refit(case=case.name, asked=True, reasons=(Reason(rule="fit", passed=False, text=str(error)),))
    rows = read_fresh(case, files.deliveries, windows.evaluate, accepted.start, _columns(case, params, twin.record))
    refitted = Contender.load(case.problem, candidate, files.refit)
    answers = refitted.predict(rows.frame)
    _write(files, answers)
    likeness = liken(params.gate, rows, refitted, answers, twin.predict(rows.frame))
    reasons = tuple(like_its_twin(params.gate, candidate, twin.record, likeness))
    return Refit(case=case.name, asked=True, candidate=candidate, likeness=likeness, reasons=reasons)


def _fit(case: Case, params: Params, files: CaseFiles, twin: Candidate, windows: Windows) -> Candidate:
    train, evaluate = windows.train, windows.evaluate
    window = Window(start=train.start, end=evaluate.end, batches=(*train.batches, *evaluate.batches))
    started = time.perf_counter()
    rows = read_rows(case, params, files.deliveries, window)
    model = fit(case, params, twin.settings, rows)
    seconds = round(time.perf_counter() - started, 3)
    described = describe(case, params, window, twin.settings, rows).model_copy(update={"seconds": seconds})
    return keep(case.problem, described, model, rows, files.refit)


def _write(files: CaseFiles, answers: Predictions) -> None:
    """The evaluation's table of predictions, with the answers of the model fitted again in place of its twin's."""
    table = pd.read_parquet(files.evaluation / "predictions.parquet")
    kept = table[[name for name in table if not str(name).startswith("candidate")]].assign(
        **columns_of("candidate", answers)
    )
    write_whole(files.refit / "predictions.parquet", lambda part: kept.to_parquet(part, index=False))


def _columns(case: Case, params: Params, twin: Candidate) -> list[str]:
    return list(dict.fromkeys([case.contract.event_time, *params.gate.slices.columns, *twin.features]))
