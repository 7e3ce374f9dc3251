"""engines: what a version answers with: a plan if it gives the pipeline's bits, else the pipeline itself."""

import logging
from collections.abc import Iterator

import numpy as np

from serving.engine.compile import CompiledPlan, Unrecognised, compile_plan
from serving.engine.example import write_example
from serving.engine.frame import frame_of, rows_of
from serving.engine.prove import edge_rows, first_difference
from serving.records import Rows
from serving.routes.prepare import Made, Material
from serving.routes.recorded import delivered_rows, logged_rows
from tasks.errors import AnswersDiffer
from tasks.features.artifact import score
from tasks.features.example import read_example

log = logging.getLogger(__name__)

_RECORDED_ROWS = 1000
"""Of each source: enough to meet every common value, and a fraction of a second."""


def make_engine(material: Material) -> Made:
    """Write the example a worker checks itself by, and the plan, if there is one and it can be trusted.

    A plan is compared with the pipeline on the example, on edge rows, and on delivered and logged rows of the project.
    """
    example = _write_example(material)
    try:
        compiled = compile_plan(material.model, material.candidate, material.case.contract)
        if isinstance(compiled, Unrecognised):
            return Made(None, 0, compiled.reason)
        rows, because = _compared(material, compiled, _trials(material, compiled, example))
    except Exception as error:  # whatever keeps a plan from being made, the pipeline can answer
        log.exception("%s: version %s: no plan could be made", material.case.name, material.version)
        return Made(None, 0, f"no plan could be made of it: {error}")
    return Made(None, rows, because) if because else Made(compiled.write(material.folder), rows)


def _write_example(material: Material) -> Rows:
    """The rows a worker checks itself by. Raises AnswersDiffer if they are answered otherwise on the gateway's way."""
    frame, answers = read_example(material.folder)
    contract = material.case.contract
    rows = rows_of(frame, contract)
    served = score(material.model, frame_of(rows, contract), material.candidate)
    if served.tobytes() != np.ascontiguousarray(answers).tobytes():
        raise AnswersDiffer(material.case.name, material.version)
    write_example(material.folder, rows, answers.tolist())
    return rows


def _trials(material: Material, compiled: CompiledPlan, example: Rows) -> Iterator[tuple[str, Rows]]:
    project, case = material.project, material.case
    # Drawn by the model itself: the same version meets the same rows wherever it is proven.
    seed = int(material.model_sha256[:8], 16)
    yield "its input example", example
    yield "rows made to find a difference", edge_rows(compiled, case.contract, example, seed)
    yield "delivered rows", delivered_rows(project, case, _RECORDED_ROWS)
    yield "logged rows", logged_rows(project, case, _RECORDED_ROWS)


def _compared(material: Material, compiled: CompiledPlan, trials: Iterator[tuple[str, Rows]]) -> tuple[int, str | None]:
    """How many rows were compared, and the first difference."""
    contract, compared = material.case.contract, 0
    plan = compiled.plan(contract.features)
    for what, rows in trials:
        difference = first_difference(plan, material.model, material.candidate, contract, rows)
        compared += rows.count
        if difference:
            return compared, f"its plan differs on {what}, {difference}"
    return compared, None
