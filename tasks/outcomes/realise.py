"""realise: whether labels arrive, and how good the champion turned out to be."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd

from configs.case import Case, ColumnType, Problem
from configs.monitoring import MonitoringParams
from configs.params import SliceParams
from configs.project import Project
from tasks.adapters.journal import Journal
from tasks.adapters.registry import Registry
from tasks.evaluation.slices import groups
from tasks.monitoring.errors import NoReference
from tasks.monitoring.estimate import HEADLINE
from tasks.monitoring.reference import Reference, read_reference
from tasks.outcomes.maturity import Maturity, curve, lateness, missing_at_random
from tasks.outcomes.realised import (
    Fall,
    Measured,
    base_rate,
    expected_of_scores,
    fall,
    given_answers,
    labels_needed,
    measure,
    same_rows,
    standard,
)
from tasks.outcomes.table import count_labels, read_outcomes
from tasks.verdicts import Answer, Evidence, Figure, Findings, Monitor, Verdict

log = logging.getLogger(__name__)

_WINDOWS_BACK = 4
"""A window is judged when its labels are in, and forgotten when they are not after so many more windows."""
_HISTORY = 8
"""Windows from which the usual age of labels is learnt."""
_MOST_ROWS = 1_000_000
_SAMPLE = 20_000
_LATE_EFFECT = 0.1
"""Labels are late when this share of them is missing, however sure we are of less."""


@dataclass(frozen=True)
class _Scene:
    """What a verdict is made from."""

    project: Project
    case: Case
    monitoring: MonitoringParams
    as_of: datetime
    version: str | None
    slices: SliceParams

    @property
    def metric(self) -> str:
        return HEADLINE[self.case.problem]


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
    scene = _Scene(project, case, monitoring, as_of, champion.version if champion else None, slices)
    back = as_of - (_HISTORY + _WINDOWS_BACK) * monitoring.window
    counts = count_labels(project, case.name, back, as_of, as_of)
    start, end, maturity = _newest_mature(scene, counts)
    labels, labels_figures = _labels(scene, counts, start, end, maturity)
    realised, realised_figures = _realised(scene, start, end, maturity)
    for verdict in (labels, realised):
        log.info("realise %s: %s is %s: %s", case.name, verdict.monitor, verdict.answer, verdict.text)
    return Findings(verdicts=(labels, realised), figures=(*labels_figures, *realised_figures))


def _newest_mature(scene: _Scene, counts: pd.DataFrame) -> tuple[datetime, datetime, Maturity]:
    """The newest window with enough of its labels in; if there is none, the newest one."""
    window = scene.monitoring.window
    step = min(window, timedelta(days=1))
    outcomes = scene.monitoring.outcomes
    newest = datetime.combine(scene.as_of.astimezone(UTC).date(), time(), UTC) if step.days else scene.as_of
    ever = curve(counts, scene.as_of).ever
    found = [_maturity(counts, end - window, end, ever) for end in _ends(newest, step, window)]
    for end, maturity in zip(_ends(newest, step, window), found, strict=True):
        if maturity.share >= outcomes.mature_share and maturity.labelled >= outcomes.min_labels:
            return end - window, end, maturity
    return newest - window, newest, found[0]


def _ends(newest: datetime, step: timedelta, window: timedelta) -> list[datetime]:
    return [newest - number * step for number in range(int(_WINDOWS_BACK * window / step) + 1)]


def _maturity(counts: pd.DataFrame, start: datetime, end: datetime, ever: float) -> Maturity:
    inside = counts[_between(counts, start, end)]
    return Maturity(
        rows=int(inside["rows"].sum()), labelled=int(inside.loc[inside["hours"].notna(), "rows"].sum()), ever=ever
    )


def _between(counts: pd.DataFrame, start: datetime, end: datetime) -> pd.Series:
    days = pd.to_datetime(counts["day"], utc=True)
    within: pd.Series = (days + timedelta(days=1) > start) & (days < end)
    return within


# Labels


def _labels(
    scene: _Scene, counts: pd.DataFrame, start: datetime, end: datetime, maturity: Maturity
) -> tuple[Verdict, list[Figure]]:
    window, error_rate = scene.monitoring.window, scene.monitoring.outcomes.error_rate
    newest = scene.as_of - scene.case.label_delay
    now = counts[_between(counts, newest - window, newest)]
    before = counts[_between(counts, scene.as_of - (_HISTORY + _WINDOWS_BACK) * window, newest - window)]
    figures = [
        _figure(scene, "labels", "share of labels", start, end, maturity.share, maturity.rows),
        _figure(scene, "labels", "labels", start, end, float(maturity.labelled), maturity.rows),
    ]

    def verdict(answer: Answer, text: str, rows: int, **rest: Any) -> tuple[Verdict, list[Figure]]:
        told = _verdict(scene, Monitor.labels, answer, newest - window, newest, rows, text)
        return told.model_copy(update={"error_rate": error_rate, **rest}), figures

    rows = int(now["rows"].sum())
    if counts.empty or not rows:
        return verdict(
            Answer.waiting, f"Nothing was answered in {_days(newest - window, newest)}: no labels are due.", 0
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
    found = f"{_percent(judged.share)} of labels are in where {_percent(judged.expected)} were at that age before"
    if judged.p_value < error_rate and shortfall >= _LATE_EFFECT * judged.expected:
        text = f"Labels are late: {found} (p = {judged.p_value:.2g})."
        return verdict(Answer.alarm, text, rows, cause="labels", **shared)
    biased = [one.subject for one in evidence if one.alarm]
    told = f" Those missing for good are not like the others ({', '.join(biased[:3])})." if biased else ""
    return verdict(Answer.clear, f"Labels arrive as they did: {found}.{told}", rows, **shared)


def _overdue(scene: _Scene, now: pd.DataFrame) -> bool:
    """Whether a label of the oldest of these days should have come, give or take a day."""
    oldest = pd.to_datetime(now["day"], utc=True).min().to_pydatetime()
    return bool(scene.as_of - oldest > scene.case.label_delay + timedelta(days=2))


def _missing(scene: _Scene, start: datetime, end: datetime, maturity: Maturity) -> tuple[Evidence, ...]:
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


# Performance


def _realised(scene: _Scene, start: datetime, end: datetime, maturity: Maturity) -> tuple[Verdict, list[Figure]]:
    columns = ["request_id", "row", "answered_at", "score", "label", "role", "model_version", *scene.slices.columns]
    if scene.case.problem is Problem.multiclass:
        columns += ["probabilities", "classes"]
    rows = read_outcomes(scene.project, scene.case.name, start, end, columns, as_of=scene.as_of, at_most=_MOST_ROWS)
    rows = rows[rows["label"].notna() & rows["model_version"].notna()]
    figures = [*_figures(scene, start, end, rows), *_of_estimates(scene, end)]
    mine = rows[rows["model_version"] == scene.version]
    verdict = _judged(scene, start, end, maturity, mine, rows)
    return verdict.model_copy(update={"error_rate": (1 - scene.monitoring.estimate.confidence) / 2}), figures


def _judged(  # noqa: PLR0913, PLR0917
    scene: _Scene, start: datetime, end: datetime, maturity: Maturity, mine: pd.DataFrame, rows: pd.DataFrame
) -> Verdict:
    """How the champion stands to its reference."""

    def verdict(answer: Answer, text: str) -> Verdict:
        return _verdict(scene, Monitor.realised, answer, start, end, len(mine), text)

    if scene.version is None:
        return verdict(Answer.unknown, "There is no champion whose answers could be judged.")
    needed = _needed(scene, maturity, len(mine))
    if needed:
        return verdict(
            Answer.waiting,
            f"{len(mine):,} labelled answers of version {scene.version} in {_days(start, end)}, with "
            f"{_percent(maturity.share)} of the labels that will come: {needed:,} more are needed.",
        )
    try:
        reference = read_reference(scene.project, scene.case.name, scene.version)
    except NoReference as error:
        return verdict(Answer.unknown, str(error))
    measured = measure(scene.case.problem, mine, scene.monitoring.estimate.confidence).get(scene.metric)
    found = _fall(scene, reference, mine, measured) if measured else None
    if measured is None or found is None:
        metric = _name(scene.metric)
        return verdict(
            Answer.unknown, f"{metric} is not defined on {len(mine):,} labelled answers, or on the reference."
        )
    drop = scene.monitoring.estimate.largest_drop
    answer, more = _answer(found, measured, drop)
    on = f"on {len(mine):,} labelled answers of {_days(start, end)}"
    return verdict(answer, f"{_name(scene.metric)} {measured.interval} {on}: {_told(found)}{more}").model_copy(
        update={
            "statistic": found.worse_by.value,
            "threshold": drop,
            "evidence": (*_why(found), *_others(scene, mine, rows)),
            "cause": ("harder" if found.harder else "worse") if answer is Answer.alarm else "",
        }
    )


def _needed(scene: _Scene, maturity: Maturity, labelled: int) -> int:
    """How many more labels it takes before a window is judged."""
    wanted = scene.monitoring.outcomes
    if maturity.share >= wanted.mature_share:
        return max(wanted.min_labels - labelled, 0)
    return max(maturity.more(wanted.mature_share), wanted.min_labels - labelled, 1)


def _answer(found: Fall, measured: Measured, drop: float) -> tuple[Answer, str]:
    if found.alarm(drop):
        return Answer.alarm, ""
    if found.worse_by.high - found.worse_by.value <= drop:
        return Answer.clear, ""
    more = labels_needed(measured, drop)
    return Answer.waiting, f" Too uncertain to see a loss of {drop:g}: about {more:,} more labels are needed."


def _fall(scene: _Scene, reference: Reference, mine: pd.DataFrame, measured: Measured) -> Fall | None:
    labelled, classes = reference.labelled, reference.about.classes
    learnt_on, truth = reference.answers.at(labelled), reference.truth(labelled)
    usual = standard(scene.metric, learnt_on, truth, reference.units(scene.monitoring.window)[labelled], classes)
    if usual is None:
        return None
    given = given_answers(scene.case.problem, mine)
    return fall(scene.metric, measured, usual, expected_of_scores(scene.metric, learnt_on, truth, given))


def _told(found: Fall) -> str:
    by = found.worse_by
    text = f"worse by {by.value:.3f} ({by.low:.3f} to {by.high:.3f}) than the reference"
    if found.harder_by is None or by.value <= 0:
        return f"{text}."
    return f"{text}, of which {found.harder_by:.3f} was to be expected of its scores (harder rows)."


def _why(found: Fall) -> tuple[Evidence, ...]:
    if found.harder_by is None:
        return ()
    worse = found.worse_by.value - found.harder_by
    return (
        Evidence(
            subject="worse", test="loss that the scores do not let expect", effect=worse, text="the model got worse"
        ),
        Evidence(
            subject="harder", test="loss to be expected of the scores", effect=found.harder_by, text="harder rows"
        ),
    )


def _others(scene: _Scene, mine: pd.DataFrame, rows: pd.DataFrame) -> tuple[Evidence, ...]:
    """Other versions on the rows that both answered: if they are no better, the rows are harder."""
    found = []
    for version, theirs in rows[rows["model_version"] != scene.version].groupby("model_version"):
        better = same_rows(scene.case.problem, scene.metric, mine, theirs, scene.monitoring.estimate.confidence)
        if better is not None and better.rows >= scene.monitoring.outcomes.min_labels:
            proven = better.interval.low > 0
            found.append(
                Evidence(
                    subject=f"version {version}",
                    test=f"{_name(scene.metric)} of version {version} less the champion's, same {better.rows:,} rows",
                    effect=better.interval.value,
                    alarm=proven,
                    text=f"{better.interval}: " + ("it does better" if proven else "it is not shown to do better"),
                )
            )
    return tuple(found)


def _figures(scene: _Scene, start: datetime, end: datetime, rows: pd.DataFrame) -> list[Figure]:
    """Every metric of every version and role, and the one that is judged in every slice."""
    figures = []
    for (role, version), theirs in rows.groupby(["role", "model_version"]):
        who = {"role": str(role), "version": str(version)}
        figures += _metrics(scene, start, end, theirs, who)
        rate = base_rate(scene.case.problem, theirs["label"])
        figures.append(_figure(scene, "realised", "base rate", start, end, rate, len(theirs), **who))
        for column in scene.slices.columns:
            for value, members in groups(theirs[column], scene.slices):
                figures += _metrics(scene, start, end, theirs.iloc[members], {**who, "slice": f"{column}={value}"})
    return figures


def _metrics(scene: _Scene, start: datetime, end: datetime, rows: pd.DataFrame, who: dict[str, str]) -> list[Figure]:
    found = measure(scene.case.problem, rows, scene.monitoring.estimate.confidence)
    wanted = found if "slice" not in who else {name: one for name, one in found.items() if name == scene.metric}
    return [
        _figure(scene, "realised", name, start, end, one.interval.value, one.rows, **who).model_copy(
            update=_finite(one) if np.isfinite(one.error) else {}
        )
        for name, one in wanted.items()
    ]


def _finite(measured: Measured) -> dict[str, float]:
    return {"low": measured.interval.low, "high": measured.interval.high}


def _of_estimates(scene: _Scene, until: datetime) -> list[Figure]:
    """What came true in the windows that were estimated last, now that their labels are in: estimate against truth."""
    estimated = Journal(scene.project).figures(
        scene.case.name, "estimated", scene.metric, scene.as_of - _HISTORY * scene.monitoring.window, until, slice=""
    )
    figures = []
    for one in [each for each in estimated if each.version is not None][-_WINDOWS_BACK:]:
        columns = ["answered_at", "score", "label", "model_version"]
        if scene.case.problem is Problem.multiclass:
            columns += ["probabilities", "classes"]
        rows = read_outcomes(
            scene.project, scene.case.name, one.start, one.end, columns, as_of=scene.as_of, at_most=_MOST_ROWS
        )
        rows = rows[rows["label"].notna() & (rows["model_version"] == one.version)]
        truth = measure(scene.case.problem, rows, scene.monitoring.estimate.confidence).get(scene.metric)
        if truth is not None and one.value is not None:
            who = {"version": one.version or "", "role": one.role}
            metric = f"{scene.metric} less its estimate"
            difference = truth.interval.value - one.value
            figures.append(_figure(scene, "realised", metric, one.start, one.end, difference, len(rows), **who))
    return figures


# Words


def _verdict(  # noqa: PLR0913, PLR0917
    scene: _Scene, monitor: Monitor, answer: Answer, start: datetime, end: datetime, rows: int, text: str
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


def _figure(  # noqa: PLR0913, PLR0917
    scene: _Scene,
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


def _days(start: datetime, end: datetime) -> str:
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _name(metric: str) -> str:
    return {"auc": "AUC", "mae": "MAE", "rmse": "RMSE"}.get(metric, metric)
