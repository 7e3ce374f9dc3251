"""Whether labels arrive as they did, and whether those that are missing for good are like the others."""

from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from configs.case import ColumnType
from tasks.outcomes.maturity import Maturity, lateness, missing_at_random
from tasks.outcomes.scene import HISTORY, WINDOWS_BACK, Scene, between, days, figure_of, percent, verdict_about
from tasks.outcomes.table import read_outcomes
from tasks.verdicts import Answer, Evidence, Figure, Monitor, Verdict

_SAMPLE = 20_000
_LATE_EFFECT = 0.1
"""Labels are late when this share of them is missing, however sure we are of less."""


def judge_labels(
    scene: Scene, counts: pd.DataFrame, start: datetime, end: datetime, maturity: Maturity
) -> tuple[Verdict, list[Figure]]:
    window, error_rate = scene.monitoring.window, scene.monitoring.outcomes.error_rate
    newest = scene.as_of - scene.case.label_delay
    now = counts[between(counts, newest - window, newest)]
    before = counts[between(counts, scene.as_of - (HISTORY + WINDOWS_BACK) * window, newest - window)]
    figures = [
        figure_of(scene, "labels", "share of labels", start, end, maturity.share, maturity.rows),
        figure_of(scene, "labels", "labels", start, end, float(maturity.labelled), maturity.rows),
    ]

    def verdict(answer: Answer, text: str, rows: int, **rest: Any) -> tuple[Verdict, list[Figure]]:
        told = verdict_about(scene, Monitor.labels, answer, newest - window, newest, rows, text)
        return told.model_copy(update={"error_rate": error_rate, **rest}), figures

    rows = int(now["rows"].sum())
    if counts.empty or not rows:
        return verdict(
            Answer.waiting, f"Nothing was answered in {days(newest - window, newest)}: no labels are due.", 0
        )
    judged = lateness(before, now, scene.as_of)
    labelled = int(now.loc[now["hours"].notna(), "rows"].sum())
    if judged is None:
        if labelled:
            text = f"{labelled:,} of {rows:,} labels are in; what is usual is known after three more days of labels."
            return verdict(Answer.waiting, text, rows)
        if _overdue(scene, now):
            text = (
                f"None of {rows:,} labels is in, although {scene.case.label_delay_hours:g} hours and more have passed."
            )
            return verdict(Answer.alarm, text, rows, statistic=0.0, cause="labels")
        return verdict(Answer.waiting, f"None of {rows:,} labels is in; the first are not due yet.", rows)
    evidence = _missing(scene, start, end, maturity)
    shared = {"statistic": judged.share, "threshold": judged.expected, "evidence": evidence}
    shortfall = judged.expected - judged.share
    found = f"{percent(judged.share)} of labels are in where {percent(judged.expected)} were at that age before"
    if judged.p_value < error_rate and shortfall >= _LATE_EFFECT * judged.expected:
        text = f"Labels are late: {found} (p = {judged.p_value:.2g})."
        return verdict(Answer.alarm, text, rows, cause="labels", **shared)
    biased = [one.subject for one in evidence if one.alarm]
    told = f" Those missing for good are not like the others ({', '.join(biased[:3])})." if biased else ""
    return verdict(Answer.clear, f"Labels arrive as they did: {found}.{told}", rows, **shared)


def _overdue(scene: Scene, now: pd.DataFrame) -> bool:
    """Whether a label of the oldest of these days should have come, give or take a day."""
    oldest = pd.to_datetime(now["day"], utc=True).min().to_pydatetime()
    return bool(scene.as_of - oldest > scene.case.label_delay + timedelta(days=2))


def _missing(scene: Scene, start: datetime, end: datetime, maturity: Maturity) -> tuple[Evidence, ...]:
    """Where nearly all labels are in that will ever come: whether rows without are like those with."""
    if maturity.share < scene.monitoring.outcomes.mature_share:
        return ()
    contract, kept = scene.case.contract, scene.case.serving.log
    features = [
        name
        for name in contract.features
        if name not in (*kept.dropped, *kept.hashed) and contract.columns[name].type is not ColumnType.timestamp
    ]
    rows = read_outcomes(
        scene.project, scene.case.name, start, end, [*features, "score", "label"], as_of=scene.as_of, at_most=_SAMPLE
    )
    numeric = [n for n in features if contract.columns[n].type in (ColumnType.integer, ColumnType.number)]
    labelled = rows["label"].notna().to_numpy()
    columns = rows[["score", *features]]
    return missing_at_random(labelled, columns, ["score", *numeric], scene.monitoring.outcomes.error_rate)
