"""realise: whether labels arrive, and how good the champion turned out to be."""

import logging
from datetime import UTC, datetime, time, timedelta

import pandas as pd

from configs.params import SliceParams
from configs.project import Project
from tasks.adapters.journal import Journal
from tasks.adapters.registry import Registry
from tasks.ingestion.sources import BEGINNING
from tasks.monitoring.estimate import HEADLINE
from tasks.outcomes.arrival import judge_labels
from tasks.outcomes.maturity import Maturity, curve
from tasks.outcomes.performance import judge_performance
from tasks.outcomes.scene import HISTORY, WINDOWS_BACK, Scene, between
from tasks.outcomes.table import count_labels
from tasks.verdicts import Findings

log = logging.getLogger(__name__)


def realise(project: Project, case_name: str, as_of: datetime) -> Findings:
    """The verdicts `labels` and `realised` with their figures, from what `gather` knew at `as_of`.

    Judged is the newest window of answers whose labels are in. Raises OutcomesAltered, StoreUnreachable.
    """
    case, params = project.case(case_name), project.params(case_name)
    champion = Registry(project).holder(case.name, "champion")
    monitoring = params.monitoring
    slices = SliceParams(
        columns=monitoring.outcomes.slices or params.gate.slices.columns, min_share=params.gate.slices.min_share
    )
    back = as_of - (HISTORY + WINDOWS_BACK) * monitoring.window
    estimated = Journal(project).figures(case.name, "estimated", HEADLINE[case.problem], back, as_of, slice="")
    version = champion.version if champion else None
    scene = Scene(project, case, monitoring, as_of, version, slices, tuple(estimated))
    counts = count_labels(project, case.name, back, as_of, as_of)
    start, end, maturity = _newest_mature(scene, counts)
    labels, labels_figures = judge_labels(scene, counts, start, end, maturity)
    realised, realised_figures = judge_performance(scene, start, end, maturity)
    for verdict in (labels, realised):
        log.info("realise %s: %s is %s: %s", case.name, verdict.monitor, verdict.answer, verdict.text)
    return Findings(verdicts=(labels, realised), figures=(*labels_figures, *realised_figures))


def _newest_mature(scene: Scene, counts: pd.DataFrame) -> tuple[datetime, datetime, Maturity]:
    """The newest window with enough of its labels in; if there is none, the newest one."""
    window = scene.monitoring.window
    step = min(window, timedelta(days=1))
    outcomes = scene.monitoring.outcomes
    newest = datetime.combine(scene.as_of.astimezone(UTC).date(), time(), UTC) if step.days else scene.as_of
    # Labels that have stopped must not pass for labels that never come: what was usual before counts as well.
    before = counts[between(counts, BEGINNING, scene.as_of - scene.case.label_delay - window)]
    ever = max(curve(some, scene.as_of).ever for some in (counts, before))
    found = [_maturity(counts, end - window, end, ever) for end in _ends(newest, step, window)]
    for end, maturity in zip(_ends(newest, step, window), found, strict=True):
        if maturity.share >= outcomes.mature_share and maturity.labelled >= outcomes.min_labels:
            return end - window, end, maturity
    return newest - window, newest, found[0]


def _ends(newest: datetime, step: timedelta, window: timedelta) -> list[datetime]:
    return [newest - number * step for number in range(int(WINDOWS_BACK * window / step) + 1)]


def _maturity(counts: pd.DataFrame, start: datetime, end: datetime, ever: float) -> Maturity:
    inside = counts[between(counts, start, end)]
    return Maturity(
        rows=int(inside["rows"].sum()), labelled=int(inside.loc[inside["hours"].notna(), "rows"].sum()), ever=ever
    )
