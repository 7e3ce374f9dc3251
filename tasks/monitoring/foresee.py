"""foresee: what the champion's answers say about themselves before their labels are in."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from configs.case import Problem
from configs.params import Params
from configs.project import Project
from tasks.adapters.journal import Journal
from tasks.adapters.registry import ModelVersion, Registry
from tasks.errors import ArtifactError
from tasks.evaluation.predictions import Floats
from tasks.evaluation.slices import groups
from tasks.features.artifact import MODEL_FILE, load_model
from tasks.monitoring.answers import Answers
from tasks.monitoring.conformal import Reach, Residual, learn
from tasks.monitoring.current import Current, Wanted, read_current
from tasks.monitoring.errors import ProfileError, ReferenceMissing
from tasks.monitoring.estimate import (
    HEADLINE,
    Expected,
    Judged,
    residuals,
    usual,
    worse_by,
)
from tasks.monitoring.estimator import Estimator, learn_estimator
from tasks.monitoring.movers import comparable, movers
from tasks.monitoring.reference import Reference, count_scores, kept_at, read_reference
from tasks.monitoring.score import FEWEST_UNITS, ScoreDrift, drift
from tasks.verdicts import Answer, Evidence, Figure, Findings, Monitor, Verdict

log = logging.getLogger(__name__)

_REMEMBERED = 26
"""Windows whose labels are in, that make the interval beside those of the reference."""
_SHOWN = 8
_FEWEST_IN_A_SLICE = 50


def foresee(project: Project, case_name: str, as_of: datetime, answers: Answers) -> Findings:
    """Drift of the champion's score, and its performance as estimated, in the window that ends at `as_of`.

    Reads the reference that `refer` left here. What cannot be computed is a verdict of its own: waiting where there is
    too little evidence, else unknown. Raises StoreUnreachable.
    """
    params = project.params(case_name)
    champion = Registry(project).holder(case_name, "champion")
    start = (as_of - params.monitoring.window).replace(minute=0, second=0, microsecond=0)
    window = Watched(case_name, as_of, start, champion.version if champion else None)
    if champion is None:
        return window.both(Answer.waiting, f"`{case_name}` has no champion yet, so that nobody's answers are watched.")
    try:
        reference = _reference(project, champion)
        found = _read(params, reference, answers, window)
    except (ReferenceMissing, ArtifactError, ProfileError) as error:
        return window.both(Answer.unknown, str(error))
    trouble = _too_little(params, reference, found)
    if trouble:
        return window.both(*trouble, rows=found.rows)
    scored = _score_verdict(project, params, reference, found, window)
    estimated, figures = _estimated(project, reference, found, window)
    return Findings(verdicts=(scored.verdict, estimated), figures=(*scored.figures, *figures))


@dataclass(frozen=True)
class Watched:
    """The window that the verdicts are about."""

    case: str
    as_of: datetime
    start: datetime
    version: str | None

    def verdict(self, monitor: Monitor, answer: Answer, text: str, rows: int = 0, **more: Any) -> Verdict:
        return Verdict(
            case=self.case, monitor=monitor, answer=answer, as_of=self.as_of, start=self.start, end=self.as_of,
            version=self.version, rows=rows, text=text, **more,
        )  # fmt: skip

    def both(self, answer: Answer, text: str, rows: int = 0) -> Findings:
        """The same answer for the score and the estimate."""
        both = (Monitor.score, Monitor.estimated)
        return Findings(verdicts=tuple(self.verdict(monitor, answer, text, rows) for monitor in both))

    def figure(self, kind: str, metric: str, value: float | None, rows: int, **more: Any) -> Figure:
        told = {"case": self.case, "kind": kind, "metric": metric, "value": value, "rows": rows, **more}
        return Figure.model_validate(told | {"start": self.start, "end": self.as_of, "version": self.version})


@dataclass(frozen=True)
class _Scored:
    verdict: Verdict
    figures: tuple[Figure, ...]


def _reference(project: Project, champion: ModelVersion) -> Reference:
    reference = read_reference(project, champion.case, champion.version)
    if reference.about.model_sha256 != champion.tags["model_sha256"]:
        raise ReferenceMissing(
            f"The reference of version {champion.version} here is that of another model with this number. Let the "
            "drift flow's step `refer` build it anew."
        )
    return reference


def _read(params: Params, reference: Reference, answers: Answers, window: Watched) -> Current:
    wanted = Wanted.of(reference.about, params.monitoring.inputs.sample_rows)
    return read_current(answers, wanted, window.start, window.as_of)


def _too_little(params: Params, reference: Reference, found: Current) -> tuple[Answer, str] | None:
    """Why nothing can be said of the window, if so."""
    needed = params.monitoring.inputs.min_rows
    if found.rows < needed and found.of_another_contract:
        return Answer.unknown, (
            f"{found.of_another_contract:,} answers of the champion keep another contract version than "
            f"{reference.contract_version}, which its reference is of, and only {found.rows:,} keep that one. "
            "Train a champion on the contract that is served."
        )
    if found.unusable and found.rows < needed:
        return Answer.unknown, (
            f"{found.unusable:,} answers of the champion hold no score its reference could be compared with (no "
            f"number, or other classes), and only {found.rows:,} do. See what the gateway logs."
        )
    if found.rows < needed:
        return Answer.waiting, (
            f"The champion answered {found.rows:,} rows itself in this window; it takes {needed:,}, "
            f"{needed - found.rows:,} more. {found.others:,} were answered by others or a stand-in."
        )
    return None


def _score_verdict(project: Project, params: Params, reference: Reference, found: Current, window: Watched) -> _Scored:
    bins, length = reference.bins(), params.monitoring.window
    units = reference.counts(bins, length)
    if len(units) < FEWEST_UNITS:
        text = (
            f"The reference holds {len(units)} windows of {length.total_seconds() / 3600:g} hours; to know what "
            f"change of the score is usual takes {FEWEST_UNITS}. Watch shorter windows, or train on more."
        )
        return _Scored(window.verdict(Monitor.score, Answer.waiting, text, found.rows), ())
    if np.ptp(reference.answers.scores) == 0:
        text = "The champion gave one score to every row of its reference: nothing can be compared with it."
        return _Scored(window.verdict(Monitor.score, Answer.unknown, text, found.rows), ())
    drifted = drift(units, count_scores(bins, found.answers), params.monitoring.inputs.error_rate)
    evidence = _movers(project, params, reference, found, drifted)
    verdict = window.verdict(
        Monitor.score,
        Answer.alarm if drifted.alarm else Answer.clear,
        _said(drifted, evidence),
        found.rows,
        statistic=drifted.distance,
        threshold=drifted.threshold,
        error_rate=drifted.error_rate,
        evidence=evidence,
        cause=next((entry.subject for entry in evidence if entry.alarm), "score") if drifted.alarm else "",
    )
    figures = (
        window.figure("drift", "score drift", drifted.distance, found.rows),
        window.figure("drift", "score drift threshold", drifted.threshold, found.rows),
    )
    return _Scored(verdict, figures)


def _said(drifted: ScoreDrift, evidence: tuple[Evidence, ...]) -> str:
    moved = ", ".join(f"{entry.subject} ({entry.text.partition(' of')[0]})" for entry in evidence[:3] if entry.effect)
    by = f"; what moved it: {moved}" if moved else ""
    return (
        f"The score is {drifted.distance:.3f} from its reference (Jensen-Shannon distance); {drifted.usual:.3f} is "
        f"usual from window to window, and up to {drifted.threshold:.3f} was to be expected{by}."
    )


def _movers(
    project: Project, params: Params, reference: Reference, found: Current, drifted: ScoreDrift
) -> tuple[Evidence, ...]:
    """The columns that moved the score, the largest first, and those that could not be asked."""
    about = reference.about
    usable, left_out = comparable(reference.sample[list(about.used)], found.sample)
    model = load_model(kept_at(project, about.case, about.version).parent / MODEL_FILE, about.model_sha256)
    before = reference.sample[list(about.used)]
    moved = movers(lambda frame: _ask(about.problem, model, frame), before, found.sample, usable, params.seed)
    told = [
        Evidence(
            subject=one.column,
            test="share of the score's drift (Shapley values of sampled orders)",
            statistic=one.by,
            effect=one.share,
            alarm=drifted.alarm and position == 0,
            expected=one.column in params.monitoring.reference.expected,
            text=f"{one.share:.0%} of the drift of the score, {one.by:+.4f}",
        )
        for position, one in enumerate(moved[:_SHOWN])
    ]
    unasked = [
        Evidence(subject=name, test="share of the score's drift", text=f"not asked: {why}")
        for name, why in left_out.items()
    ]
    return (*told, *unasked)


def _ask(problem: Problem, model: Any, frame: pd.DataFrame) -> Floats:
    if problem is Problem.regression:
        return np.asarray(model.predict(frame), dtype=np.float64)
    probabilities = np.asarray(model.predict_proba(frame), dtype=np.float64)
    return probabilities[:, 1] if problem is Problem.binary else probabilities


@dataclass(frozen=True)
class _Outlook:
    """What an estimate is made and judged with."""

    estimator: Estimator
    judged: list[Judged]
    past: list[tuple[Figure, Figure]]
    """Estimates of windows whose labels are in, each with what they said."""
    confidence: float

    def reach(self, metric: str, now: Expected, rows: int) -> Reach | None:
        """How far the truth may be, from the reference's windows and those that came true."""
        told = [
            Residual(float(true.value or 0) - float(said.value or 0), now.error * float(np.sqrt(rows / said.rows)))
            for said, true in self.past
            if said.metric == metric and said.rows
        ]
        return learn([*residuals(self.judged, metric), *told[-_REMEMBERED:]], self.confidence)


def _estimated(
    project: Project, reference: Reference, found: Current, window: Watched
) -> tuple[Verdict, tuple[Figure, ...]]:
    case, params = project.case(window.case), project.params(window.case)
    if case.problem is Problem.regression:
        _, missing = comparable(reference.sample[list(reference.about.used)], found.sample)
        if missing:
            why = "; ".join(f"`{name}`: {reason}" for name, reason in missing.items())
            text = f"The errors of a regression are estimated from its inputs, and the window lacks some: {why}."
            return window.verdict(Monitor.estimated, Answer.unknown, text, found.rows), ()
    units = reference.units(params.monitoring.window)
    outlook = _Outlook(
        *learn_estimator(case, params, reference.known(units)),
        _came_true(Journal(project), window),
        params.monitoring.estimate.confidence,
    )
    now = outlook.estimator(found.answers, found.sample)
    metric = HEADLINE[case.problem]
    before = usual(outlook.judged)
    reach = outlook.reach(metric, now[metric], found.rows) if metric in now else None
    if reach is None or metric not in before:
        text = (
            f"{metric} cannot be estimated: the reference holds {len(outlook.judged)} windows of this length with "
            "labels, and three are needed to know how far an estimate is from the truth."
        )
        return window.verdict(Monitor.estimated, Answer.waiting, text, found.rows), ()
    figures = [*_figures(outlook, now, window, found.rows), *_slice_figures(params, outlook, found, window)]
    one = _Estimate(metric, now[metric], reach, before[metric], found.rows)
    limit = params.monitoring.estimate.largest_drop
    return _judge(window, limit, one, _past_error(metric, outlook)), tuple(figures)


@dataclass(frozen=True)
class _Estimate:
    """The metric that is judged."""

    metric: str
    now: Expected
    reach: Reach
    before: float
    """In the reference."""
    rows: int


def _judge(window: Watched, limit: float, one: _Estimate, past: tuple[Evidence, ...]) -> Verdict:
    """Alarm if the estimate itself is worse by `limit`, and the whole interval is worse than the reference."""
    metric, now, reach, before = one.metric, one.now, one.reach, one.before
    low, high = reach.around(now.value, now.error)
    best = max((low, high), key=lambda value: -worse_by(metric, value, before))
    worse = worse_by(metric, now.value, before)
    alarm = worse >= limit and worse_by(metric, best, before) > 0
    text = (
        f"Estimated {metric} {now.value:.4f} ({low:.4f} to {high:.4f}, {reach.confidence:.0%} from {reach.windows} "
        f"earlier windows); {before:.4f} in the reference. An alarm is an estimate worse by {limit:g} with all of its "
        "interval worse than the reference. What changes given the inputs cannot be seen without labels."
    )
    return window.verdict(
        Monitor.estimated,
        Answer.alarm if alarm else Answer.clear,
        text,
        one.rows,
        statistic=worse,
        threshold=limit,
        error_rate=1 - reach.confidence,
        evidence=past,
        cause=metric if alarm else "",
    )


def _past_error(metric: str, outlook: _Outlook) -> tuple[Evidence, ...]:
    """How far earlier estimates were from the truth."""
    back = [abs(one.value) for one in residuals(outlook.judged, metric)]
    told: list[tuple[str, list[float], int | None]] = [("reference, each window left out", back, None)]
    true = [
        (abs(float(true.value or 0) - float(said.value or 0)), _covered(said, true))
        for said, true in outlook.past
        if said.metric == metric
    ]
    if true:
        told.append(("windows that came true", [error for error, _ in true], sum(covered for _, covered in true)))
    return tuple(
        Evidence(
            subject=subject,
            test=f"mean absolute error of estimated {metric}",
            statistic=float(np.mean(errors)),
            text=f"{np.mean(errors):.4f} over {len(errors)} windows"
            + ("" if covered is None else f"; the interval held the truth in {covered} of them"),
        )
        for subject, errors, covered in told
    )


def _covered(said: Figure, true: Figure) -> bool:
    return said.low is not None and said.high is not None and said.low <= float(true.value or 0) <= said.high


def _came_true(journal: Journal, window: Watched) -> list[tuple[Figure, Figure]]:
    """Estimates about the champion with the realised figures of the same windows, the oldest first."""
    told = {
        kind: {
            (figure.metric, figure.start, figure.end): figure
            for figure in journal.figures(
                window.case, kind=kind, end=window.start, version=str(window.version), role="champion", slice=""
            )
            if figure.value is not None
        }
        for kind in ("estimated", "realised")
    }
    return [(figure, told["realised"][key]) for key, figure in told["estimated"].items() if key in told["realised"]]


def _figures(outlook: _Outlook, now: dict[str, Expected], window: Watched, rows: int, group: str = "") -> list[Figure]:
    figures = []
    for metric, one in now.items():
        reach = outlook.reach(metric, one, rows)
        low, high = reach.around(one.value, one.error) if reach else (None, None)
        figures.append(window.figure("estimated", metric, one.value, rows, low=low, high=high, slice=group))
    return figures


def _slice_figures(params: Params, outlook: _Outlook, found: Current, window: Watched) -> list[Figure]:
    """Estimates for the groups of the sampled rows."""
    some = found.sampled_answers
    figures: list[Figure] = []
    for column in params.monitoring.outcomes.slices or params.gate.slices.columns:
        if column not in found.sample or found.sample[column].isna().all():
            continue
        for value, members in groups(found.sample[column], params.gate.slices):
            if len(members) >= _FEWEST_IN_A_SLICE:
                now = outlook.estimator(some.at(members), found.sample.iloc[members])
                figures += _figures(outlook, now, window, len(members), f"{column}={value}")
    return figures
