"""How good the champion turned out to be in a window, beside its reference, its estimate, and other versions."""

from datetime import datetime

import numpy as np
import pandas as pd

from configs.case import Problem
from tasks.evaluation.slices import groups
from tasks.monitoring.errors import NoReference
from tasks.monitoring.reference import Reference, read_reference
from tasks.outcomes.maturity import Maturity
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
from tasks.outcomes.scene import WINDOWS_BACK, Scene, days, figure_of, name_of, percent, verdict_about
from tasks.outcomes.table import read_outcomes
from tasks.verdicts import Answer, Evidence, Figure, Monitor, Verdict

_MOST_ROWS = 1_000_000
"""A window with more is judged on so many, drawn by hash."""


def judge_performance(scene: Scene, start: datetime, end: datetime, maturity: Maturity) -> tuple[Verdict, list[Figure]]:
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
    scene: Scene, start: datetime, end: datetime, maturity: Maturity, mine: pd.DataFrame, rows: pd.DataFrame
) -> Verdict:
    """How the champion stands to its reference."""

    def verdict(answer: Answer, text: str) -> Verdict:
        return verdict_about(scene, Monitor.realised, answer, start, end, len(mine), text)

    if scene.version is None:
        return verdict(Answer.unknown, "There is no champion whose answers could be judged.")
    needed = _needed(scene, maturity, len(mine))
    if needed:
        return verdict(
            Answer.waiting,
            f"{len(mine):,} labelled answers of version {scene.version} in {days(start, end)}, with "
            f"{percent(maturity.share)} of the labels that will come: {needed:,} more are needed.",
        )
    try:
        reference = read_reference(scene.project, scene.case.name, scene.version)
    except NoReference as error:
        return verdict(Answer.unknown, str(error))
    measured = measure(scene.case.problem, mine, scene.monitoring.estimate.confidence).get(scene.metric)
    found = _fall(scene, reference, mine, measured) if measured else None
    if measured is None or found is None:
        metric = name_of(scene.metric)
        return verdict(
            Answer.unknown, f"{metric} is not defined on {len(mine):,} labelled answers, or on the reference."
        )
    drop = scene.monitoring.estimate.largest_drop
    answer, more = _answer(found, measured, drop)
    on = f"on {len(mine):,} labelled answers of {days(start, end)}"
    return verdict(answer, f"{name_of(scene.metric)} {measured.interval} {on}: {_told(found)}{more}").model_copy(
        update={
            "statistic": found.worse_by.value,
            "threshold": drop,
            "evidence": (*_why(found), *_others(scene, mine, rows)),
            "cause": ("harder" if found.harder else "worse") if answer is Answer.alarm else "",
        }
    )


def _needed(scene: Scene, maturity: Maturity, labelled: int) -> int:
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


def _fall(scene: Scene, reference: Reference, mine: pd.DataFrame, measured: Measured) -> Fall | None:
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


def _others(scene: Scene, mine: pd.DataFrame, rows: pd.DataFrame) -> tuple[Evidence, ...]:
    """Other versions on the rows that both answered: if they are no better, the rows are harder."""
    found = []
    for version, theirs in rows[rows["model_version"] != scene.version].groupby("model_version"):
        better = same_rows(scene.case.problem, scene.metric, mine, theirs, scene.monitoring.estimate.confidence)
        if better is not None and better.rows >= scene.monitoring.outcomes.min_labels:
            proven = better.interval.low > 0
            found.append(
                Evidence(
                    subject=f"version {version}",
                    test=f"{name_of(scene.metric)} of version {version} less the champion's, same {better.rows:,} rows",
                    effect=better.interval.value,
                    alarm=proven,
                    text=f"{better.interval}: " + ("it does better" if proven else "it is not shown to do better"),
                )
            )
    return tuple(found)


def _figures(scene: Scene, start: datetime, end: datetime, rows: pd.DataFrame) -> list[Figure]:
    """Every metric of every version and role, and the one that is judged in every slice."""
    figures = []
    for (role, version), theirs in rows.groupby(["role", "model_version"]):
        who = {"role": str(role), "version": str(version)}
        figures += _metrics(scene, start, end, theirs, who)
        rate = base_rate(scene.case.problem, theirs["label"])
        figures.append(figure_of(scene, "realised", "base rate", start, end, rate, len(theirs), **who))
        for column in scene.slices.columns:
            for value, members in groups(theirs[column], scene.slices):
                figures += _metrics(scene, start, end, theirs.iloc[members], {**who, "slice": f"{column}={value}"})
    return figures


def _metrics(scene: Scene, start: datetime, end: datetime, rows: pd.DataFrame, who: dict[str, str]) -> list[Figure]:
    found = measure(scene.case.problem, rows, scene.monitoring.estimate.confidence)
    wanted = found if "slice" not in who else {name: one for name, one in found.items() if name == scene.metric}
    return [
        figure_of(scene, "realised", name, start, end, one.interval.value, one.rows, **who).model_copy(
            update=_finite(one) if np.isfinite(one.error) else {}
        )
        for name, one in wanted.items()
    ]


def _finite(measured: Measured) -> dict[str, float]:
    return {"low": measured.interval.low, "high": measured.interval.high}


def _of_estimates(scene: Scene, until: datetime) -> list[Figure]:
    """What came true in the windows that were estimated last, now that their labels are in: estimate against truth."""
    figures = []
    for one in [each for each in scene.estimated if each.version is not None and each.end <= until][-WINDOWS_BACK:]:
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
            figures.append(figure_of(scene, "realised", metric, one.start, one.end, difference, len(rows), **who))
    return figures
