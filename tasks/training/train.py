"""train: fit the case's pipeline on the training window and write the candidate down."""

import logging
import time

from configs.project import Project
from tasks.records import Candidate, Windows
from tasks.training.fit import describe, fit, keep, settings_for
from tasks.training.rows import read_rows

log = logging.getLogger(__name__)


def train(project: Project, case_name: str) -> Candidate:
    """Fit on the training window; the same data, parameters and seed give bit-identical predictions.

    Raises TooLittleData when too few rows have a label, or they all have the same one, or not enough of them are left
    to search or to calibrate with.
    """
    case, params, files = project.case(case_name), project.params(case_name), project.files(case_name)
    window = Windows.read(files.windows).train
    started = time.perf_counter()
    rows = read_rows(case, params, files.deliveries, window)
    settings = settings_for(case, params, rows)
    model = fit(case, params, settings, rows)
    seconds = round(time.perf_counter() - started, 3)
    described = describe(case, params, window, settings, rows).model_copy(update={"seconds": seconds})
    candidate = keep(case.problem, described, model, rows, files.model)
    log.info(
        "train %s: %s on %d rows, %s to %s", case.name, candidate.estimator, candidate.rows, window.start, window.end
    )
    return candidate
