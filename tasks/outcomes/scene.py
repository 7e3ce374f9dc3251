"""What the verdicts on labels and performance are made from, and how they are worded."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import pandas as pd

from configs.case import Case
from configs.monitoring import MonitoringParams
from configs.params import SliceParams
from configs.project import Project
from tasks.monitoring.estimate import HEADLINE
from tasks.verdicts import Answer, Figure, Monitor, Verdict

WINDOWS_BACK = 4
"""A window is judged when its labels are in, and forgotten when they are not after so many more windows."""
HISTORY = 8
"""Windows from which the usual age of labels is learnt."""


@dataclass(frozen=True)
class Scene:
    """What a verdict is made from."""

    project: Project
    case: Case
    monitoring: MonitoringParams
    as_of: datetime
    version: str | None
    slices: SliceParams
    estimated: tuple[Figure, ...] = ()
    """What was estimated of the windows before labels came."""

    @property
    def metric(self) -> str:
        return HEADLINE[self.case.problem]


def verdict_about(  # noqa: PLR0913, PLR0917
    scene: Scene, monitor: Monitor, answer: Answer, start: datetime, end: datetime, rows: int, text: str
) -> Verdict:
    return Verdict(
        case=scene.case.name,
        monitor=monitor,
        answer=answer,
        as_of=scene.as_of,
        start=start,
        end=end,
        version=scene.version,
        rows=rows,
        text=text,
    )


def figure_of(  # noqa: PLR0913, PLR0917
    scene: Scene,
    kind: Literal["realised", "labels"],
    metric: str,
    start: datetime,
    end: datetime,
    value: float | None,
    rows: int,
    **who: str,
) -> Figure:
    version = who.pop("version", scene.version)
    return Figure(
        case=scene.case.name,
        kind=kind,
        metric=metric,
        start=start,
        end=end,
        version=version,
        value=value,
        rows=rows,
        **who,
    )


def days(start: datetime, end: datetime) -> str:
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def name_of(metric: str) -> str:
    return {"auc": "AUC", "mae": "MAE", "rmse": "RMSE"}.get(metric, metric)


def between(counts: pd.DataFrame, start: datetime, end: datetime) -> pd.Series:
    """Which of `count_labels` are about days that touch `[start, end)`."""
    first = pd.to_datetime(counts["day"], utc=True)
    within: pd.Series = (first + timedelta(days=1) > start) & (first < end)
    return within
