"""What the monitors would have said of a champion at a moment, from what was known by then.

The formulas are those of the monitors; what they are given comes from the table of answers. Two things differ from
production, for the sake of speed: the champion's reference is its history walked through forwards (each batch answered
by a model that had learned from half as much and more, and not from it), and the window is made of whole weeks. Never
said here: freshness, contract, hourly, labels, skew; and `estimated` of a regression.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa

from configs.case import ColumnType, Problem
from configs.params import Params
from tasks.backtest.fits import Fits, Model
from tasks.backtest.weeks import History
from tasks.evaluation.predictions import Floats
from tasks.monitoring import estimate, inputs, outlook, score
from tasks.monitoring.correction import Past
from tasks.monitoring.estimate import HEADLINE, Answers, as_probability
from tasks.monitoring.grid import PREDICTION, SCORE, Grid
from tasks.monitoring.profile import Profile, profile_of, total
from tasks.monitoring.reference import count_scores
from tasks.monitoring.season import in_words, reference_stretches
from tasks.outcomes import realised, slices
from tasks.outcomes.began import began
from tasks.outcomes.concept import concept_test
from tasks.outcomes.promise import Promise, Told
from tasks.verdicts import Answer, Evidence, Monitor, Verdict

_FEWEST_IN_A_UNIT = 50
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Reign:
    """A champion while it answers."""

    model: Model
    version: str
    since: datetime
    """Of its first answer."""
    made_for: datetime
    """The as-of it was trained for."""
    promoted: bool = True
    """It came by promotion, not back by a rollback."""


@dataclass(frozen=True)
class _Told:
    """Answers to some rows, and what came true."""

    frame: pd.DataFrame
    event_time: pd.Series
    label: pd.Series
    scores: Floats
    batch: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def at(self, mask: np.ndarray) -> "_Told":
        return _Told(
            self.frame[mask].reset_index(drop=True),
            self.event_time[mask].reset_index(drop=True),
            self.label[mask].reset_index(drop=True),
            self.scores[mask],
            self.batch[mask],
        )

    @cached_property
    def known(self) -> np.ndarray:
        return self.label.notna().to_numpy()

    @cached_property
    def labelled(self) -> "_Told":
        return self.at(self.known)


class Known:
    """The verdicts of one case, each computed once: policies that share a champion share them."""

    def __init__(self, fits: Fits, params: Params) -> None:
        self._fits, self._params = fits, params
        self._history, self._case = fits.history, fits.history.case
        self._said: dict[tuple[Monitor, Model, datetime, datetime], Verdict] = {}
        self._references: dict[tuple[Model, datetime], _Told] = {}
        self._promises: dict[tuple[Model, datetime], tuple[Promise, slices.Labelled]] = {}
        self._profiles: dict[int, Profile] = {}
        self._grid: Grid | None = None
        contract, dropped = self._case.contract, self._case.serving.log.dropped
        self._columns = [
            name
            for name in contract.features
            if name not in dropped and contract.columns[name].type is not ColumnType.timestamp
        ]
        """That make slices."""
        self._ask: dict[Monitor, Callable[[Reign, datetime], Verdict]] = {
            Monitor.inputs: self._inputs,
            Monitor.score: self._score,
            Monitor.estimated: self._estimated,
            Monitor.realised: self._realised,
            Monitor.concept: self._concept,
            Monitor.slices: self._slices,
        }

    def verdicts(
        self, monitors: Sequence[Monitor], reign: Reign, as_of: datetime, before: Sequence[Verdict]
    ) -> dict[Monitor, Verdict]:
        """What those of `monitors` say that say anything here; `before`: what was said of this reign, newest first."""
        return {monitor: self._asked(monitor, reign, as_of, before) for monitor in monitors if monitor in self._ask}

    def _asked(self, monitor: Monitor, reign: Reign, as_of: datetime, before: Sequence[Verdict]) -> Verdict:
        key = monitor, reign.model, reign.since, as_of
        if key not in self._said:
            self._said[key] = self._ask[monitor](reign, as_of)
        verdict = self._said[key].model_copy(update={"version": reign.version})
        return self._persists(verdict, before) if monitor is Monitor.inputs else verdict

    def _persists(self, verdict: Verdict, before: Sequence[Verdict]) -> Verdict:
        """The scan of the inputs alarms when k of the last n scans found something."""
        least, last = self._params.monitoring.inputs.persistence
        earlier = [one for one in before if one.monitor is Monitor.inputs][: last - 1]
        found = sum(any(entry.alarm for entry in one.evidence) for one in (verdict, *earlier))
        if verdict.answer is Answer.alarm and found < least:
            return verdict.model_copy(update={"answer": Answer.clear})
        return verdict

    # What was known

    def _newest(self, reign: Reign, end: datetime) -> _Told:
        """The champion's answers in the newest window that ended by `end`."""
        return self._answered(reign, end - self._params.monitoring.window, end)

    def _answered(self, reign: Reign, start: datetime, end: datetime) -> _Told:
        begin = max(start, reign.since)
        parts = [
            self._told(reign.model, number)
            for number, batch in enumerate(self._history.batches)
            if batch.end > begin and batch.end <= end and number >= reign.model.stop
        ]
        if not parts:
            rows = self._history.rows(0)
            no = np.empty(0, dtype=np.intp)
            frame, moments, label = rows.frame[self._columns].iloc[:0], rows.event_time.iloc[:0], rows.label.iloc[:0]
            return _Told(frame, moments, label, np.empty(0), no)
        told = _joined(parts)
        return told.at((told.event_time >= begin).to_numpy())

    def _told(self, model: Model, number: int) -> _Told:
        rows = self._history.rows(number)
        answers = self._fits.answers(model, number)
        return _Told(rows.frame[self._columns], rows.event_time, rows.label, answers, np.full(len(answers), number))

    def _ended(self, as_of: datetime) -> datetime:
        """The end of the newest week that is over."""
        return max(week.end for week in self._history.weeks if week.end <= as_of)

    def _mature(self, as_of: datetime) -> datetime:
        """The end of the newest batch whose labels are in."""
        return self._history.batches[self._history.labelled(as_of) - 1].end

    def _reference(self, reign: Reign) -> _Told:
        key = reign.model, reign.made_for
        if key not in self._references:
            model = reign.model
            judged = range(model.stop, self._history.labelled(reign.made_for))
            parts = [self._told(unseen, number) for number, unseen in walked(self._history, self._params, model)]
            self._references[key] = _joined([*parts, *(self._told(model, number) for number in judged)])
        return self._references[key]

    def _units(self, told: _Told) -> np.ndarray:
        units = score.units_of(told.event_time, self._params.monitoring.window)
        few = np.bincount(units) < _FEWEST_IN_A_UNIT
        return np.where(few[units], -1, units)

    def _of(self, told: _Told) -> Answers:
        return Answers(self._case.problem, told.scores)

    # What the monitors make of it

    def _inputs(self, reign: Reign, as_of: datetime) -> Verdict:
        monitoring, end = self._params.monitoring, self._ended(as_of)
        start = end - monitoring.window
        accepted = range(reign.model.first, self._history.labelled(reign.made_for))
        if self._grid is None:
            frames = (_record_batch(self._history.rows(number).frame) for number in accepted)
            self._grid = Grid.fit(self._case.contract, self._case.problem, frames, 1, monitoring.inputs.text)
        stretches = reference_stretches(monitoring.reference, start, end)
        held = [n for begin, until in stretches for n in self._within(begin, until)] if stretches else accepted
        before, now = (
            total([self._profile(n) for n in numbers], self._grid) for numbers in (held, self._within(start, end))
        )
        left_out = frozenset({SCORE, PREDICTION} & set(self._grid.columns))
        scope = inputs.Scope(monitoring.inputs, self._params.seed, frozenset(monitoring.reference.expected), left_out)
        evidence = inputs.compare_inputs(inputs.Side(before), inputs.Side(now), self._grid, scope)
        params = monitoring.inputs.model_copy(update={"persistence": (1, 1)})
        ruled = inputs.rule_on(evidence, (before.rows, now.rows), in_words(monitoring.reference), params, ())
        return self._verdict(Monitor.inputs, ruled.answer, reign, as_of, now.rows, ruled.text, evidence)

    def _score(self, reign: Reign, as_of: datetime) -> Verdict:
        told, reference = self._newest(reign, self._ended(as_of)), self._reference(reign)
        needed = self._params.monitoring.inputs.min_rows
        if len(told) < needed:
            return self._waits(Monitor.score, reign, as_of, len(told), f"{needed} answers are needed")
        answers, units = self._of(reference), self._units(reference)
        each = [answers.at(units == unit) for unit in np.unique(units[units >= 0])]
        if len(each) < score.FEWEST_UNITS:
            return self._waits(Monitor.score, reign, as_of, len(told), f"{len(each)} windows in the reference")
        bins = score.Bins.of(*_top(answers))
        found = score.drift(
            [count_scores(bins, one) for one in each],
            count_scores(bins, self._of(told)),
            self._params.monitoring.inputs.error_rate,
        )
        text = f"{found.distance:.3f} from the reference; up to {found.threshold:.3f} was to be expected"
        return self._verdict(Monitor.score, _answer(found.alarm), reign, as_of, len(told), text)

    def _estimated(self, reign: Reign, as_of: datetime) -> Verdict:
        problem, metric = self._case.problem, HEADLINE[self._case.problem]
        told, reference = self._newest(reign, self._ended(as_of)), self._reference(reign).labelled
        if problem is Problem.regression or len(told) < self._params.monitoring.inputs.min_rows:
            return self._waits(Monitor.estimated, reign, as_of, len(told), "it is not estimated here")
        truth = as_probability(problem, reference.label.to_numpy(), self._fits.classes)
        answers = self._of(reference)
        calibration = estimate.Calibration.learn(answers, truth)
        limits, now = self._params.monitoring.estimate, self._of(told)
        judged = estimate.back_test(answers, truth, self._units(reference))
        came = [self._came_true(week, metric, calibration) for week in self._weeks_of(reign, as_of)]
        look = outlook.look_out(metric, judged, [one for one in came if one], limits.largest_drop, limits.confidence)
        expected = estimate.expected(now, calibration(now)).get(metric)
        if look is None or expected is None:
            return self._waits(Monitor.estimated, reign, as_of, len(told), f"{len(judged)} windows in the reference")
        seen = look.see(now.mean_score, expected)
        text = f"estimated {metric} {seen.value:.4f}, {look.before:.4f} in the reference"
        alarm = seen.chance_of_loss >= limits.alarm_chance
        return self._verdict(Monitor.estimated, _answer(alarm), reign, as_of, len(told), text)

    def _weeks_of(self, reign: Reign, as_of: datetime) -> list[_Told]:
        """The champion's labelled answers, week by week, as far as all of a week's labels are in."""
        end = self._mature(as_of)
        weeks = [week for week in self._history.weeks if week.end > reign.since and week.end <= end]
        each = [self._answered(reign, week.start, week.end).labelled for week in weeks]
        return [told for told in each if len(told) >= _FEWEST_IN_A_UNIT]

    def _came_true(self, told: _Told, metric: str, calibration: estimate.Calibration) -> outlook.CameTrue | None:
        answers = self._of(told)
        said = estimate.expected(answers, calibration(answers)).get(metric)
        truth = as_probability(self._case.problem, told.label.to_numpy(), self._fits.classes)
        was = estimate.expected(answers, truth).get(metric)
        if said is None or was is None:
            return None
        past = Past(answers.mean_score, said.value, was.value, said.error, live=True)
        return outlook.CameTrue(told.event_time.min(), told.event_time.max(), past, said.value, None, None)

    def _realised(self, reign: Reign, as_of: datetime) -> Verdict:
        problem, metric = self._case.problem, HEADLINE[self._case.problem]
        told = self._newest(reign, self._mature(as_of)).labelled
        monitoring = self._params.monitoring
        if len(told) < monitoring.outcomes.min_labels:
            return self._waits(Monitor.realised, reign, as_of, len(told), "more labels are needed")
        measured = realised.measure(problem, self._outcomes(told), monitoring.estimate.confidence).get(metric)
        reference = self._reference(reign).labelled
        truth = as_probability(problem, reference.label.to_numpy(), self._fits.classes)
        usual = realised.standard(metric, self._of(reference), truth, self._units(reference), self._fits.classes)
        if measured is None or usual is None:
            return self._waits(Monitor.realised, reign, as_of, len(told), f"{metric} is not defined")
        found = realised.fall(metric, measured, usual, None)
        drop = monitoring.estimate.largest_drop
        text = (
            f"{metric} {measured.interval}: worse by {found.worse_by.value:.3f} than the reference ({usual.value:.4f})"
        )
        unsure = found.worse_by.high - found.worse_by.value > drop
        answer = Answer.alarm if found.alarm(drop) else Answer.waiting if unsure else Answer.clear
        return self._verdict(Monitor.realised, answer, reign, as_of, len(told), text)

    def _outcomes(self, told: _Told) -> pd.DataFrame:
        rows = pd.DataFrame({"answered_at": told.event_time, "label": told.label})
        if self._case.problem is not Problem.multiclass:
            return rows.assign(score=told.scores)
        return rows.assign(
            probabilities=list(told.scores), classes=pd.Series([self._fits.classes] * len(told), dtype=object)
        )

    def _concept(self, reign: Reign, as_of: datetime) -> Verdict:
        error_rate = self._params.monitoring.outcomes.error_rate
        life = self._answered(reign, reign.since, self._mature(as_of)).labelled
        held = self._held_against(reign, len(life))
        if held is None:
            return self._waits(Monitor.concept, reign, as_of, len(life), "more labels are needed")
        promise, _ = held
        first = life.event_time.min().floor("D")
        days = ((life.event_time - first) // _DAY).to_numpy(dtype=np.intp)
        test = concept_test(promise.events(self._promised(life)), days, error_rate)
        text = f"{len(life):,} labels say nothing against the scores"
        if test.alarm and test.change is not None:
            text = f"since day {test.began} {test.change.text}"
        verdict = self._verdict(Monitor.concept, _answer(test.alarm), reign, as_of, len(life), text)
        since = first.to_pydatetime() + test.began * _DAY if test.alarm else None
        return verdict.model_copy(update={"since": since})

    def _slices(self, reign: Reign, as_of: datetime) -> Verdict:
        newest = self._newest(reign, self._mature(as_of)).labelled
        held = self._held_against(reign, len(newest))
        if held is None:
            return self._waits(Monitor.slices, reign, as_of, len(newest), "more labels are needed")
        promise, sample = held
        error_rate, follows = self._params.monitoring.outcomes.error_rate, self._case.problem.gives_probabilities
        found = slices.scan(self._sliced(promise, newest), sample, error_rate, follows=follows)
        named = [one for one in found if one.refuted]
        text = (
            "; ".join(f"in `{one.name}` {one.text}" for one in named[:3])
            or f"{len(newest):,} labels say nothing against the scores in any slice"
        )
        verdict = self._verdict(Monitor.slices, _answer(bool(named)), reign, as_of, len(newest), text)
        return verdict.model_copy(
            update={"since": self._since(promise, reign, as_of, named[0], sample) if named else None}
        )

    def _since(
        self, promise: Promise, reign: Reign, as_of: datetime, named: slices.Slice, sample: slices.Labelled
    ) -> datetime | None:
        end = self._mature(as_of)
        life = self._answered(reign, reign.since, end).labelled
        now = (life.event_time >= end - self._params.monitoring.window).to_numpy()
        follows = self._case.problem.gives_probabilities
        day = began(self._sliced(promise, life), sample, named, now, follows=follows)
        return None if day is None else life.event_time.min().floor("D").to_pydatetime() + day * _DAY

    def _held_against(self, reign: Reign, labels: int) -> tuple[Promise, slices.Labelled] | None:
        """What the champion's labels are held against; None while there are too few, of its own or of the reference."""
        reference, fewest = self._reference(reign).labelled, self._params.monitoring.outcomes.min_labels
        return self._promise(reign, reference) if min(labels, len(reference)) >= fewest else None

    def _promise(self, reign: Reign, reference: _Told) -> tuple[Promise, slices.Labelled]:
        """What the reference promises about labels, and a sample of it to hold slices against."""
        key = reign.model, reign.made_for
        if key not in self._promises:
            batches = pd.factorize(reference.batch)[0].astype(np.intp)
            rate = self._params.monitoring.outcomes.error_rate
            promise = Promise.learn(self._case.problem, self._promised(reference), batches, rate)
            most = min(len(reference), self._params.monitoring.inputs.sample_rows)
            drawn = np.random.default_rng(self._params.seed).choice(len(reference), most, replace=False)
            sample = reference.at(np.isin(np.arange(len(reference)), drawn))
            self._promises[key] = promise, self._sliced(promise, sample)
        return self._promises[key]

    def _sliced(self, promise: Promise, told: _Told) -> slices.Labelled:
        (event, *_) = promise.events(self._promised(told))
        batches = pd.factorize(told.batch)[0].astype(np.intp)
        return slices.Labelled.of(told.frame, event.scores, event.hits, batches, told.event_time)

    def _promised(self, told: _Told) -> Told:
        if self._case.problem is not Problem.multiclass:
            return Told(told.scores, told.label.reset_index(drop=True))
        names = np.array(self._fits.classes, dtype=object)[told.scores.argmax(axis=1)]
        return Told(told.scores.max(axis=1), told.label.reset_index(drop=True), pd.Series(names))

    # Small things

    def _within(self, start: datetime, end: datetime) -> list[int]:
        batches = enumerate(self._history.batches)
        return [number for number, batch in batches if batch.start >= start and batch.end <= end]

    def _profile(self, number: int) -> Profile:
        assert self._grid is not None
        if number not in self._profiles:
            self._profiles[number] = profile_of([_record_batch(self._history.rows(number).frame)], self._grid)
        return self._profiles[number]

    def _waits(self, monitor: Monitor, reign: Reign, as_of: datetime, rows: int, why: str) -> Verdict:
        return self._verdict(monitor, Answer.waiting, reign, as_of, rows, why)

    def _verdict(  # noqa: PLR0913, PLR0917 - the parts of a verdict
        self, monitor: Monitor, answer: Answer, reign: Reign, as_of: datetime, rows: int, text: str,
        evidence: tuple[Evidence, ...] = (),
    ) -> Verdict:  # fmt: skip
        end = self._ended(as_of)
        return Verdict(
            case=self._case.name, monitor=monitor, answer=answer, as_of=as_of,
            start=end - self._params.monitoring.window, end=end, version=reign.version, rows=rows, text=text,
            evidence=evidence,
        )  # fmt: skip


def walked(history: History, params: Params, model: Model) -> list[tuple[int, Model]]:
    """For each batch of the later half of what `model` learned from, the model of all weeks before that batch's."""
    half = (model.first + model.stop) // 2
    return [
        (number, Model(0, week.first))
        for week in history.weeks
        if week.first >= max(half, 1) and week.first < model.stop
        if history.labels(week.first) >= params.window.min_train_rows
        for number in range(week.first, min(week.stop, model.stop))
    ]


def reference_models(history: History, params: Params, model: Model) -> set[Model]:
    """Whose answers make the reference of `model`."""
    return {unseen for _, unseen in walked(history, params, model)}


def _joined(parts: Sequence[_Told]) -> _Told:
    return _Told(
        pd.concat([part.frame for part in parts], ignore_index=True),
        pd.concat([part.event_time for part in parts], ignore_index=True),
        pd.concat([part.label for part in parts], ignore_index=True),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.batch for part in parts]),
    )


def _top(answers: Answers) -> tuple[Floats] | tuple[Floats, int]:
    """What the bins of a score are made for."""
    if answers.problem is not Problem.multiclass:
        return (answers.scores,)
    return answers.scores.max(axis=1), answers.scores.shape[1]


def _answer(alarm: bool) -> Answer:
    return Answer.alarm if alarm else Answer.clear


def _record_batch(frame: pd.DataFrame) -> pa.RecordBatch:
    return pa.RecordBatch.from_pandas(frame, preserve_index=False)
