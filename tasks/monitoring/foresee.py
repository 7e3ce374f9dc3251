"""foresee: what the champion's answers say about themselves before their labels are in."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs.case import Problem
from configs.params import Params
from configs.project import Project
from tasks.adapters.journal import Journal
from tasks.adapters.profiles import Profiles
from tasks.adapters.registry import ModelVersion, Registry
from tasks.errors import ArtifactError
from tasks.evaluation.predictions import Floats
from tasks.evaluation.slices import groups
from tasks.features.artifact import MODEL_FILE, load_model
from tasks.monitoring.answers import Answers
from tasks.monitoring.correction import Past
from tasks.monitoring.current import Current, Wanted, read_current
from tasks.monitoring.errors import ProfileError, ReferenceMissing
from tasks.monitoring.estimate import BETTER_WHEN_LOWER, HEADLINE, Expected, Judged, past_of
from tasks.monitoring.estimate import Answers as Estimable
from tasks.monitoring.estimator import Estimator, learn_estimator, weights_for
from tasks.monitoring.hours import scores_of
from tasks.monitoring.loss import loss_estimator
from tasks.monitoring.movers import comparable, movers
from tasks.monitoring.opinion import second_opinion
from tasks.monitoring.outlook import CameTrue, Foreseen, Outlook, apart, look_out
from tasks.monitoring.reference import Reference, count_scores, kept_at, read_reference
from tasks.monitoring.score import FEWEST_UNITS, Counts, ScoreDrift, coarser, drift
from tasks.monitoring.season import in_words, reference_stretches, windows_in
from tasks.outcomes.errors import OutcomesAltered
from tasks.verdicts import Answer, Evidence, Figure, Findings, Monitor, Verdict

log = logging.getLogger(__name__)

MEAN_SCORE = "mean score"
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
    window = replace(window, rows=found.rows)
    try:
        scored = _score_verdict(project, params, reference, answers, found, window)
    except ProfileError as error:
        scored = _Scored(window.verdict(Monitor.score, Answer.unknown, str(error), found.rows), ())
    estimated, figures = _estimated(project, reference, found, window)
    return Findings(verdicts=(scored.verdict, estimated), figures=(*scored.figures, *figures))


@dataclass(frozen=True)
class Watched:
    """The window that the verdicts are about."""

    case: str
    as_of: datetime
    start: datetime
    version: str | None
    rows: int = 0

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


def _score_verdict(  # noqa: PLR0913, PLR0917
    project: Project, params: Params, reference: Reference, answers: Answers, found: Current, window: Watched
) -> _Scored:
    length, against = params.monitoring.window, in_words(params.monitoring.reference)
    units, current = _counted(project, params, reference, answers, found, window)
    if len(units) < FEWEST_UNITS:
        text = (
            f"The reference ({against}) holds {len(units)} windows of {length.total_seconds() / 3600:g} hours with "
            f"answers of the champion; to know what change of the score is usual takes {FEWEST_UNITS}. Watch shorter "
            "windows, or compare with more."
        )
        return _Scored(window.verdict(Monitor.score, Answer.waiting, text, found.rows), ())
    if np.ptp(reference.answers.scores) == 0:
        text = "The champion gave one score to every row of its reference: nothing can be compared with it."
        return _Scored(window.verdict(Monitor.score, Answer.unknown, text, found.rows), ())
    drifted = drift(units, current, params.monitoring.inputs.error_rate)
    evidence = _movers(project, params, reference, found, drifted)
    verdict = window.verdict(
        Monitor.score,
        Answer.alarm if drifted.alarm else Answer.clear,
        _said(drifted, against, evidence),
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


def _counted(  # noqa: PLR0913, PLR0917
    project: Project, params: Params, reference: Reference, answers: Answers, found: Current, window: Watched
) -> tuple[list[Counts], Counts]:
    """The scores of the windows compared with, those that have rows enough, and of this one, in the same bins."""
    monitoring = params.monitoring
    stretches = reference_stretches(monitoring.reference, window.start, window.as_of)
    if not stretches:
        bins = reference.bins()
        return reference.counts(bins, monitoring.window), count_scores(bins, found.answers)
    profiles = Profiles(project, window.case, reference.grid)

    def counted(start: datetime, end: datetime) -> Counts:
        hours = profiles.hours(answers, start, end, window.as_of).values()
        return scores_of(hours, reference.version, reference.grid)

    windows = [counted(*one) for one in windows_in(stretches, monitoring.window)]
    units = [counts for counts in windows if counts.sum() >= monitoring.inputs.min_rows]
    *units, current = coarser([*units, counted(window.start, window.as_of)])
    return units, current


def _said(drifted: ScoreDrift, against: str, evidence: tuple[Evidence, ...]) -> str:
    moved = ", ".join(f"{entry.subject} ({entry.text.partition(' of')[0]})" for entry in evidence[:3] if entry.effect)
    by = f"; what moved it: {moved}" if moved else ""
    return (
        f"The score is {drifted.distance:.3f} from {against} (Jensen-Shannon distance); {drifted.usual:.3f} is "
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


def _estimated(
    project: Project, reference: Reference, found: Current, window: Watched
) -> tuple[Verdict, tuple[Figure, ...]]:
    case, params = project.case(window.case), project.params(window.case)
    _, missing = comparable(reference.sample[list(reference.about.used)], found.sample)
    if missing and case.problem is Problem.regression:
        return window.verdict(Monitor.estimated, Answer.unknown, _inputs_missing(missing), found.rows), ()
    try:
        source = _source(project, reference, found, window, usable=not missing)
    except OutcomesAltered as error:
        return window.verdict(Monitor.estimated, Answer.unknown, str(error), found.rows), ()
    estimator, judged = source.estimator, source.judged
    now, estimate = estimator(found.answers, found.sample), params.monitoring.estimate
    came = _came_true(Journal(project), window, now)
    looks = {name: look_out(name, judged, came[name], estimate.largest_drop, estimate.confidence) for name in now}
    known = {name: look for name, look in looks.items() if look is not None}
    metric = HEADLINE[case.problem]
    if metric not in known:
        text = (
            f"{metric} cannot be estimated: the reference holds {len(judged)} windows of this length with labels, and "
            "three in which it is defined are needed to know how far an estimate is from the truth."
        )
        return window.verdict(Monitor.estimated, Answer.waiting, text, found.rows), ()
    figures = _figures(window, known, now, found.answers)
    figures.append(window.figure("drift", MEAN_SCORE, found.answers.mean_score, found.rows))
    for group, members in _groups(params, found):
        some = found.sampled_answers.at(members)
        figures += _figures(window, known, estimator(some, found.sample.iloc[members]), some, group)
    look = known[metric]
    seen = look.see(found.answers.mean_score, now[metric])
    verdict = _judge(window, look, seen, estimate.alarm_chance, _past_error(look, judged, came[metric]))
    return verdict.model_copy(update={"text": verdict.text + source.said}), tuple(figures)


@dataclass(frozen=True)
class _Source:
    """What an estimate rests on."""

    estimator: Estimator
    judged: list[Judged]
    said: str = ""


def _source(project: Project, reference: Reference, found: Current, window: Watched, *, usable: bool) -> _Source:
    """A loss model, a second opinion, or a calibration; of inputs that are not `usable` nothing is asked."""
    case, params = project.case(window.case), project.params(window.case)
    if case.problem is Problem.regression:
        return _Source(*loss_estimator(project, case, reference))
    known = reference.known(reference.units(params.monitoring.window))
    if not usable:
        return _Source(*learn_estimator(known))
    opinion = second_opinion(project, case, reference, window.start, window.as_of)
    if opinion is not None:
        said = f" A second opinion, learnt from {opinion.since:,} labels since the reference, says so."
        return _Source(*learn_estimator(known, opinion), said)
    weights = weights_for(known, found.sample, params.seed)
    if weights is None:
        return _Source(*learn_estimator(known))
    said = (
        f" The inputs moved the calibration: the reference's rows are weighted to be like the window's, and "
        f"{weights.effective:,.0f} of {len(weights.of_rows):,} speak."
    )
    return _Source(*learn_estimator(known, weights=weights), said)


def _inputs_missing(missing: Mapping[str, str]) -> str:
    """Why the errors of a regression cannot be estimated from its inputs."""
    why = "; ".join(f"`{name}`: {reason}" for name, reason in missing.items())
    return f"The errors of a regression are estimated from its inputs, and some cannot be used: {why}."


def _judge(window: Watched, look: Outlook, seen: Foreseen, likely: float, past: tuple[Evidence, ...]) -> Verdict:
    alarm = seen.chance_of_loss >= likely
    worse = f"{look.tolerated:.0%}" if look.metric in BETTER_WHEN_LOWER else f"{look.tolerated:g}"
    text = (
        f"Estimated {look.metric} {seen.value:.4f} ({seen.low:.4f} to {seen.high:.4f}, {look.reach.confidence:.0%}, "
        f"from {look.reach.windows} earlier windows); {look.before:.4f} in the reference. It is worse by {worse} with "
        f"a chance of {seen.chance_of_loss:.0%}; from {likely:.0%} on that is an alarm. A change of what happens given "
        "the inputs is not seen before labels come."
    )
    return window.verdict(
        Monitor.estimated,
        Answer.alarm if alarm else Answer.clear,
        text,
        window.rows,
        statistic=seen.chance_of_loss,
        threshold=likely,
        evidence=past,
        cause=look.metric if alarm else "",
    )


def _past_error(look: Outlook, judged: list[Judged], came: Sequence[CameTrue]) -> tuple[Evidence, ...]:
    """How far earlier estimates were from the truth."""
    back = [abs(past.realised - past.estimated) for past in past_of(judged, look.metric)]
    told = [("reference, each window left out", back, "")]
    if came:
        errors = [abs(one.past.realised - one.told) for one in came]
        held = f"; the interval held the truth in {sum(one.held for one in came)} of them"
        told.append(("windows that came true", errors, held))
    return tuple(
        Evidence(
            subject=subject,
            test=f"mean absolute error of estimated {look.metric}",
            statistic=float(np.mean(errors)),
            text=f"{np.mean(errors):.4f} over {len(errors)} windows{more}",
        )
        for subject, errors, more in told
        if errors
    )


def _came_true(journal: Journal, window: Watched, now: Mapping[str, Expected]) -> dict[str, list[CameTrue]]:
    """For each metric, estimates about the champion with the realised figures of the same windows, the oldest first."""
    told: dict[tuple[str, str, datetime, datetime], Figure] = {
        (figure.kind, figure.metric, figure.start, figure.end): figure
        for figure in journal.figures(
            window.case, end=window.start, version=str(window.version), role="champion", slice=""
        )
        if figure.value is not None
    }
    came: dict[str, list[CameTrue]] = {name: [] for name in now}
    for (kind, name, start, end), said in told.items():
        true, mean = told.get(("realised", name, start, end)), told.get(("drift", MEAN_SCORE, start, end))
        plain = told.get(("estimated", _uncorrected(name), start, end), said)
        if kind == "estimated" and name in now and true and mean and said.rows:
            # Fewer rows err more: by their square root.
            error = now[name].error * float(np.sqrt(window.rows / said.rows))
            past = Past(_value(mean), _value(plain), _value(true), error, live=True)
            came[name].append(CameTrue(start, end, past, _value(said), said.low, said.high))
    return {name: apart(each) for name, each in came.items()}


def _uncorrected(metric: str) -> str:
    return f"{metric}, uncorrected"


def _value(figure: Figure) -> float:
    assert figure.value is not None, "those without were left out"
    return figure.value


def _figures(
    window: Watched, known: Mapping[str, Outlook], now: Mapping[str, Expected], answers: Estimable, group: str = ""
) -> list[Figure]:
    rows, figures = len(answers) if group else window.rows, []
    for name in [name for name in now if name in known]:
        seen = known[name].see(answers.mean_score, now[name])
        figures.append(window.figure("estimated", name, seen.value, rows, low=seen.low, high=seen.high, slice=group))
        if not group:
            figures.append(window.figure("estimated", _uncorrected(name), now[name].value, rows))
    return figures


def _groups(params: Params, found: Current) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """The groups of the sampled rows that are large enough to say something of."""
    for column in params.monitoring.outcomes.slices or params.gate.slices.columns:
        if column in found.sample and found.sample[column].notna().any():
            for value, members in groups(found.sample[column], params.gate.slices):
                if len(members) >= _FEWEST_IN_A_SLICE:
                    yield f"{column}={value}", members
