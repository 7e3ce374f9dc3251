"""detect: whether what happens still follows from the scores: over the champion's life, and slice by slice just now."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import pandas as pd

from configs.case import Case, ColumnType, Problem
from configs.monitoring import MonitoringParams
from configs.project import Project
from tasks.adapters.journal import Journal
from tasks.adapters.registry import Registry
from tasks.errors import ArtifactError
from tasks.evaluation.intervals import in_utc
from tasks.evaluation.predictions import Floats
from tasks.monitoring.errors import ProfileError, ReferenceMissing
from tasks.monitoring.reference import Reference, read_reference
from tasks.monitoring.sequential import ConfidenceSequence
from tasks.outcomes.began import began
from tasks.outcomes.concept import ConceptTest, settle
from tasks.outcomes.maturity import curve
from tasks.outcomes.memory import DayTold, counts_of, digest_of, recalled
from tasks.outcomes.promise import Promise, Told
from tasks.outcomes.shelf import Shelf
from tasks.outcomes.slices import Labelled, Slice, scan
from tasks.outcomes.state import Day
from tasks.outcomes.table import count_labels, read_outcomes
from tasks.verdicts import Answer, Evidence, Figure, Findings, Monitor, Verdict

log = logging.getLogger(__name__)

ALL = "all rows"
STATE = "concept"
"""Under this name the journal keeps what was added up of the champion's life."""
_DAY = timedelta(days=1)
_MOST_WINDOWS = 104
"""A champion's life is looked at from here on at most."""
_MOST_WINDOWS_BACK = 13
"""For the day on which a slice became another."""
_GIVEN_UP = 4
"""After so many windows without an answer of the champion it is taken to have given none."""
_MOST_ROWS = 500_000
"""Of a window; beyond, so many drawn by hash speak for all."""
_MOST_ROWS_OF_A_DAY = 70_000
"""Of a day of the champion's life, likewise."""
_NAMED, _SHOWN = 3, 5
_ABOUT = ("request_id", "row", "answered_at", "role", "model_version", "score", "prediction", "label")


def detect(project: Project, case_name: str, as_of: datetime) -> Findings:
    """The verdicts `concept` and `slices`, from what `gather` knew at `as_of`: days with nearly all labels count.

    Reads the reference that `refer` left here, and of the champion's life the days whose outcomes changed since the
    last look. Raises OutcomesAltered, StoreUnreachable.
    """
    case, monitoring = project.case(case_name), project.params(case_name).monitoring
    champion = Registry(project).holder(case_name, "champion")
    scene = _Scene(project, case, monitoring, as_of, champion.version if champion else None)
    if champion is None:
        return scene.said(
            Answer.waiting, f"`{case_name}` has no champion yet, so there is nothing labels could refute."
        )
    try:
        reference = read_reference(project, case_name, champion.version)
    except (ReferenceMissing, ArtifactError, ProfileError) as error:
        return scene.said(Answer.unknown, str(error))
    told, batches = _told_by(reference)
    if len(told) < monitoring.outcomes.min_labels:
        return scene.said(
            Answer.unknown,
            f"The reference of version {champion.version} has {len(told):,} labels; what its scores promise takes "
            f"{monitoring.outcomes.min_labels:,}.",
        )
    promise = Promise.learn(case.problem, told, batches, monitoring.outcomes.error_rate)
    life = _life(scene, promise)
    if life.labels < monitoring.outcomes.min_labels:
        more = monitoring.outcomes.min_labels - life.labels
        return scene.said(
            Answer.waiting,
            f"{life.labels:,} labels are in on days that have nearly all of theirs; {more:,} more are needed to speak "
            "of concept drift.",
            life.labels,
        )
    concept, figure = _concept(scene, promise, life)
    slices = _slices(scene, promise, life, *_sliced(scene, promise, reference, life))
    for verdict in (concept, slices):
        log.info("detect %s: %s %s: %s", case_name, verdict.monitor, verdict.answer, verdict.text)
    return Findings(verdicts=(concept, slices), figures=(figure,))


@dataclass(frozen=True)
class _Scene:
    """What the verdicts are about."""

    project: Project
    case: Case
    monitoring: MonitoringParams
    as_of: datetime
    version: str | None

    def said(self, answer: Answer, text: str, rows: int = 0) -> Findings:
        """An answer without a look at the labels."""
        start, end = self.as_of - self.monitoring.window, self.as_of
        each = (self.verdict(monitor, answer, start, end, rows, text) for monitor in (Monitor.concept, Monitor.slices))
        return Findings(verdicts=tuple(each))

    def verdict(  # noqa: PLR0913, PLR0917 - the parts of a verdict
        self, monitor: Monitor, answer: Answer, start: datetime, end: datetime, rows: int, text: str, **more: Any
    ) -> Verdict:  # fmt: skip
        return Verdict(
            case=self.case.name, monitor=monitor, answer=answer, as_of=self.as_of, start=start, end=end,
            version=self.version, rows=rows, error_rate=self.monitoring.outcomes.error_rate, text=text, **more,
        )  # fmt: skip


@dataclass(frozen=True)
class _Life:
    """The champion's labels so far."""

    start: datetime
    test: ConceptTest
    labels: int
    mature: set[date]
    """The days with nearly all of their labels."""
    newest: pd.DataFrame
    """The newest window in which nearly all labels are in: all rows that have one, of any version."""
    end: datetime


def _told_by(reference: Reference) -> tuple[Told, np.ndarray]:
    """The reference's rows that have a label, and the number of their batch."""
    rows = reference.scores[reference.labelled]
    batches = pd.factorize(rows["batch_id"])[0].astype(np.intp)
    answers = reference.answers.at(reference.labelled)
    if reference.about.problem is not Problem.multiclass:
        return Told(answers.scores, rows["label"].reset_index(drop=True)), batches
    predicted = pd.Series(np.array(reference.about.classes, dtype=object)[answers.scores.argmax(axis=1)])
    return Told(answers.scores.max(axis=1), rows["label"].reset_index(drop=True), predicted), batches


def _life(scene: _Scene, promise: Promise) -> _Life:
    """Window by window back to where the champion began, added up day by day."""
    window = _window(scene)
    midnight = datetime.combine(scene.as_of.astimezone(UTC).date(), time(), UTC) + _DAY
    days = _days(scene, promise, midnight)
    mature = _mature_days(scene, days)
    sums: list[Floats] = []
    labels, start = 0, midnight
    newest: datetime | None = None
    answered = False
    for number in range(1, _MOST_WINDOWS + 1):
        begin = midnight - number * window
        told = [days.get((begin + place * _DAY).date()) for place in range(window // _DAY)]
        answers = sum(day.rows for day in told if day)
        if not answers and (answered or number >= _GIVEN_UP):
            break
        answered = answered or bool(answers)
        ripe = [day if day and (begin + place * _DAY).date() in mature else None for place, day in enumerate(told)]
        nothing = np.zeros(len(promise.changes))
        sums.insert(0, np.stack([np.array(day.log_ratios) if day else nothing for day in ripe]))
        count = sum(day.labels for day in ripe if day)
        labels, start = labels + count, begin if answers else start
        if newest is None and count >= scene.monitoring.outcomes.min_labels:
            newest = begin
    test = settle(np.concatenate(sums), promise.changes, labels, scene.monitoring.outcomes.error_rate)
    first = midnight - len(sums) * window
    end = midnight if newest is None else newest + window
    rows = _rows(scene, end - window, end)
    return _Life(
        start=first + int(test.began) * _DAY if test.alarm else start,
        test=test,
        labels=labels,
        mature=mature,
        newest=rows[rows["day"].dt.date.isin(mature) & rows["label"].notna()] if newest else rows.iloc[:0],
        end=end,
    )


def _window(scene: _Scene) -> timedelta:
    """The window in whole days, at least one."""
    return max(_DAY, timedelta(days=int(np.ceil(scene.monitoring.window / _DAY))))


def _days(scene: _Scene, promise: Promise, midnight: datetime) -> dict[date, DayTold]:
    """What each day of outcomes told; read are those whose files are not those that were read before."""
    shelf = Shelf(scene.project, scene.case.name)
    state = shelf.state()
    if state is None or scene.version is None:
        return {}
    first = midnight - _MOST_WINDOWS * _window(scene)
    there = state.on(first.date(), (midnight - _DAY).date())
    journal = Journal(scene.project)
    memory = recalled(journal.state(scene.case.name, STATE), scene.version, promise)
    # What is known now is what all files say; at an earlier moment some of it was not known, and is nothing to keep.
    now = scene.as_of >= state.as_of
    days = {day.day: (memory.told(day, shelf) if now else None) or _day(scene, promise, day, shelf) for day in there}
    if now and days != memory.days:
        journal.keep_state(scene.case.name, STATE, memory.model_copy(update={"days": days}).model_dump_json())
    return days


def _day(scene: _Scene, promise: Promise, day: Day, shelf: Shelf) -> DayTold:
    begin = datetime.combine(day.day, time(), UTC)
    rows = _rows(scene, begin, begin + _DAY, _MOST_ROWS_OF_A_DAY)
    own = rows[rows["model_version"] == scene.version]
    together = np.zeros(len(own), dtype=np.intp)
    ratios = [event.log_ratios(together, 1)[0] for event in promise.events(_told(scene.case, own))]
    counts = count_labels(scene.project, scene.case.name, begin, begin + _DAY, scene.as_of)
    hours = counts["hours"].astype(object).where(counts["hours"].notna(), None)
    return DayTold(
        files=digest_of(day, shelf),
        came=tuple(
            (None if hour is None else int(hour), int(n)) for hour, n in zip(hours, counts["rows"], strict=True)
        ),
        rows=len(own),
        labels=int(own["label"].notna().sum()),
        log_ratios=tuple(np.concatenate(ratios).tolist()),
    )


def _mature_days(scene: _Scene, days: dict[date, DayTold]) -> set[date]:
    """The days that have nearly all labels that will ever come to them: before, labels may tell half the story."""
    if not days:
        return set()
    ever = curve(counts_of(days), scene.as_of).ever
    least = scene.monitoring.outcomes.mature_share * ever
    found = set()
    for day, told in days.items():
        rows, labelled = (sum(n for hours, n in told.came if every or hours is not None) for every in (True, False))
        if labelled and labelled >= least * rows:
            found.add(day)
    return found


def _rows(scene: _Scene, start: datetime, end: datetime, at_most: int = _MOST_ROWS) -> pd.DataFrame:
    """The outcomes whose answer is a number: nothing can be held against the others."""
    rows = read_outcomes(scene.project, scene.case.name, start, end, list(_ABOUT), as_of=scene.as_of, at_most=at_most)
    rows = rows[rows["score"].notna()].reset_index(drop=True)
    return rows.assign(day=in_utc(rows["answered_at"]).dt.floor("D"))


def _told(case: Case, rows: pd.DataFrame) -> Told:
    predicted = rows["prediction"].reset_index(drop=True) if case.problem is Problem.multiclass else None
    return Told(rows["score"].to_numpy(dtype=np.float64), rows["label"].reset_index(drop=True), predicted)


# Slices


def _follows(case: Case) -> bool:
    return case.problem.gives_probabilities


def _sliced(scene: _Scene, promise: Promise, reference: Reference, life: _Life) -> tuple[Labelled, Labelled | None]:
    """The newest window and the reference, with the columns that make slices."""
    columns = _slice_columns(scene.case)
    own = life.newest[life.newest["model_version"] == scene.version]
    features = read_outcomes(
        scene.project, scene.case.name, life.end - _window(scene), life.end, ["request_id", "row", "role", *columns],
        as_of=scene.as_of, at_most=_MOST_ROWS,
    )  # fmt: skip
    rows = own.merge(features, on=["request_id", "row", "role"], how="inner", validate="one_to_one")
    together = np.zeros(len(rows), dtype=np.intp)
    now = _labelled(promise, _told(scene.case, rows), rows[columns], together, rows["answered_at"])
    sampled = reference.scores["sampled"].to_numpy(dtype=np.bool_)
    told, batches = _told_by(reference)
    place = sampled[reference.labelled]
    frame = reference.sample[reference.labelled[sampled]]
    shared = [column for column in columns if column in frame]
    before = Told(
        told.scores[place],
        told.labels[place].reset_index(drop=True),
        None if told.predicted is None else told.predicted[place].reset_index(drop=True),
    )
    if not len(before):
        return now, None
    moments = reference.scores.loc[reference.labelled & sampled, "event_time"]
    return now, _labelled(promise, before, frame[shared], batches[place], moments)


def _labelled(promise: Promise, told: Told, frame: pd.DataFrame, batches: np.ndarray, moments: pd.Series) -> Labelled:
    return Labelled.of(frame, told.scores, promise.events(told)[0].hits, batches, moments)


def _slice_columns(case: Case) -> list[str]:
    kept = case.serving.log
    return [
        name
        for name in case.contract.features
        if name not in kept.dropped and case.contract.columns[name].type is not ColumnType.timestamp
    ]


# The verdicts


def _concept(scene: _Scene, promise: Promise, life: _Life) -> tuple[Verdict, Figure]:
    test = life.test
    now = life.newest[life.newest["model_version"] == scene.version]
    told = _told(scene.case, now)
    stands = _Stands.of(promise, told) if len(told) else None
    verdict = scene.verdict(
        Monitor.concept,
        Answer.alarm if test.alarm else Answer.clear,
        min(life.start, life.end - _DAY),
        life.end,
        life.labels,
        _text(life, stands),
        statistic=float(np.exp(min(test.log_e, 700.0))),
        threshold=float(np.exp(test.log_threshold)),
        evidence=(
            _of_all(test, stands.loss - stands.expected if stands else None),
            *([_of_scores(stands)] if stands else []),
            *_of_others(scene, promise, life.newest),
        ),
        since=life.start if test.alarm else None,
        cause=ALL if test.alarm else "",
    )
    figure = Figure(
        case=scene.case.name, kind="drift", metric="concept evidence (log10)", start=verdict.start, end=verdict.end,
        version=scene.version, value=test.log_e / float(np.log(10)), rows=life.labels,
    )  # fmt: skip
    return verdict, figure


def _slices(scene: _Scene, promise: Promise, life: _Life, now: Labelled, before: Labelled | None) -> Verdict:
    start, fewest = life.end - _window(scene), scene.monitoring.outcomes.min_labels
    if len(now) < fewest:
        more = f"{len(now):,} labels are in; {fewest - len(now):,} more are needed to speak of slices."
        return scene.verdict(Monitor.slices, Answer.waiting, start, life.end, len(now), more)
    found = scan(now, before, scene.monitoring.outcomes.error_rate, follows=_follows(scene.case))
    refuted = [one for one in found if one.refuted]
    named = "; ".join(f"in `{one.name}` {one.text}" for one in refuted[:_NAMED])
    since = _since(scene, promise, life, refuted[0], before) if refuted else None
    ago = f" since about {since:%Y-%m-%d}" if since else ""
    return scene.verdict(
        Monitor.slices,
        Answer.alarm if refuted else Answer.clear,
        start,
        life.end,
        len(now),
        f"What happens given the scores has changed in a part of the rows{ago}: {named}."
        if refuted
        else f"{len(now):,} labels say nothing against the scores in any of {len(found):,} slices.",
        evidence=tuple(_of_slice(one) for one in found[: len(refuted) + _SHOWN]),
        since=since,
        cause=refuted[0].name if refuted else "",
    )


def _since(scene: _Scene, promise: Promise, life: _Life, named: Slice, before: Labelled | None) -> datetime | None:
    """When the slice that explains most began to be what it is in the newest window."""
    first = life.end - _MOST_WINDOWS_BACK * _window(scene)
    asked = list(dict.fromkeys([*_ABOUT, named.column]))
    rows = read_outcomes(scene.project, scene.case.name, first, life.end, asked, as_of=scene.as_of, at_most=_MOST_ROWS)
    rows = rows[rows["score"].notna() & rows["label"].notna() & (rows["model_version"] == scene.version)]
    rows = rows[in_utc(rows["answered_at"]).dt.date.isin(life.mature)].reset_index(drop=True)
    together = np.zeros(len(rows), dtype=np.intp)
    told = _labelled(promise, _told(scene.case, rows), rows[[named.column]], together, rows["answered_at"])
    answered = in_utc(rows["answered_at"])
    now = (answered >= life.end - _window(scene)).to_numpy()
    day = began(told, before, named, now, follows=_follows(scene.case))
    return None if day is None else answered.min().floor("D").to_pydatetime() + day * _DAY


@dataclass(frozen=True)
class _Stands:
    """How the champion does in the newest window: mean losses."""

    loss: float
    expected: float
    """Of its scores, if they keep what they promised."""
    usual: float
    """Of the reference."""

    @classmethod
    def of(cls, promise: Promise, told: Told) -> "_Stands":
        return cls(float(promise.losses(told).mean()), float(promise.expected_losses(told.scores).mean()), promise.loss)

    @property
    def text(self) -> str:
        promised = f"{self.expected:.4f} to be expected of these scores, {self.usual:.4f} of the reference's"
        harder = "harder" if self.expected > self.usual else "no harder"
        worse = "worse" if self.loss > self.expected else "no worse"
        return f"Loss {self.loss:.4f}, {promised}: these rows are {harder}, and the model is {worse} than it promises."


def _text(life: _Life, stands: _Stands | None) -> str:
    now = f" {stands.text}" if stands else ""
    if life.test.alarm and life.test.change is not None:
        since = f"since about {life.start:%Y-%m-%d} {life.test.change.text}"
        return f"What happens given the scores has changed: {since}.{now}"
    return f"{life.labels:,} labels say nothing against the scores.{now}"


def _of_all(test: ConceptTest, beyond: float | None) -> Evidence:
    return Evidence(
        subject=ALL,
        test="e-process of labels given scores, over the champion's life",
        statistic=float(np.exp(min(test.log_e, 700.0))),
        p_value=float(np.exp(min(-test.log_e, 0.0))),
        effect=beyond,
        alarm=test.alarm,
        text=test.change.text if test.change and test.alarm else "nothing beyond chance",
    )


def _of_scores(stands: _Stands) -> Evidence:
    return Evidence(
        subject="how hard the rows are",
        test="loss expected of the scores, against the reference's",
        statistic=stands.expected,
        effect=stands.expected - stands.usual,
        text="no change of concept: the same model on other rows",
    )


def _of_slice(one: Slice) -> Evidence:
    return Evidence(
        subject=one.name,
        test="saddlepoint tails of events, loss and order given scores, over all slices",
        statistic=one.steepness if one.flatter else one.observed,
        p_value=one.p_value,
        effect=one.steepness - 1 if one.flatter else one.observed - one.expected,
        alarm=one.refuted,
        text=one.text,
    )


def _of_others(scene: _Scene, promise: Promise, newest: pd.DataFrame) -> Iterator[Evidence]:
    """Other versions that answered the same rows: is the champion worse than they are?"""
    if scene.case.problem is Problem.regression:
        return
    mine = newest[newest["model_version"] == scene.version]
    for version, theirs in newest[newest["model_version"] != scene.version].groupby("model_version"):
        both = mine.merge(theirs, on=["request_id", "row"], suffixes=("", "_theirs"), validate="many_to_many")
        both = both.drop_duplicates(["request_id", "row"])
        if both.empty:
            continue
        ours = promise.losses(_told(scene.case, both))
        other = both[["score_theirs", "prediction_theirs", "label"]].set_axis(["score", "prediction", "label"], axis=1)
        seen = ConfidenceSequence(low=-1, high=1, confidence=1 - scene.monitoring.outcomes.error_rate)
        differs = seen.seen(np.clip(ours - promise.losses(_told(scene.case, other)), -1, 1)).interval
        yield Evidence(
            subject=f"version {version}",
            test="loss of the champion minus that of another version on the same rows (confidence sequence)",
            statistic=differs.value,
            effect=differs.value,
            text=f"{differs} on {len(both):,} rows",
        )
