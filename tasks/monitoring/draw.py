"""draw: the report for people, in pictures, with the verdicts at its top."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from configs.case import Case, ColumnType
from configs.params import Params
from configs.project import Project
from tasks.adapters.registry import Registry
from tasks.errors import NothingServes
from tasks.files import write_text
from tasks.monitoring.answers import Answers
from tasks.monitoring.current import Wanted, read_current
from tasks.monitoring.grid import SCORE
from tasks.monitoring.reference import monitoring_folder, read_reference
from tasks.verdicts import Verdict

log = logging.getLogger(__name__)

Kind = Literal["number", "category"]

_ARTIFACTS = "monitoring"
"""The folder of the champion's run that reports are logged to."""


def draw_report(
    project: Project, case_name: str, as_of: datetime, answers: Answers, verdicts: Sequence[Verdict]
) -> Path:
    """Draw the window that ends at `as_of` against the champion's reference, as one HTML file; log it to its run.

    Raises NothingServes without a champion, NoReference or ArtifactAltered, and StoreUnreachable.
    """
    from tasks.monitoring.report import Sides, page  # noqa: PLC0415 - Evidently takes seconds that others need not pay

    case, params = project.case(case_name), project.params(case_name)
    registry = Registry(project)
    champion = registry.holder(case_name, "champion")
    if champion is None:
        raise NothingServes(case_name)
    reference = read_reference(project, case_name, champion.version)
    start = (as_of - params.monitoring.window).replace(minute=0, second=0, microsecond=0)
    found = read_current(answers, Wanted.of(reference.about, params.monitoring.inputs.sample_rows), start, as_of)
    kinds, left_out = _kinds(case, params)
    sides = Sides(reference.sample, found.sample, kinds, reference.about.rows, found.rows, left_out)
    title = f"{case_name}, version {champion.version}: {start:%Y-%m-%d %H:%M} to {as_of:%Y-%m-%d %H:%M} UTC"
    path = monitoring_folder(project, case_name) / "reports" / f"{champion.version}-{as_of:%Y%m%dT%H%M%SZ}.html"
    write_text(path, page(title, verdicts, sides))
    registry.log_files(champion.run_id, [path], _ARTIFACTS)
    log.info("draw %s: %s", case_name, path)
    return path


def _kinds(case: Case, params: Params) -> tuple[Mapping[str, Kind], Mapping[str, str]]:
    """How each column is drawn, the score first; and which are not, by what they are."""
    private = {*case.serving.log.hashed, *case.serving.log.dropped}
    kinds: dict[str, Kind] = {SCORE: "number"}
    left_out = {}
    for name in case.contract.features:
        kind = case.contract.columns[name].type
        if name in private:
            left_out[name] = "hashed or not logged, for privacy"
        elif name in params.monitoring.inputs.text:
            left_out[name] = "free text"
        elif kind is ColumnType.timestamp:
            left_out[name] = "a time"
        else:
            kinds[name] = "number" if kind in (ColumnType.number, ColumnType.integer) else "category"
    return kinds, left_out
