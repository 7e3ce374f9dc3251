"""watch: every hour that ended since the last look, held against what was usual before.

That is the champion's own reference, or with a seasonal `monitoring.reference` what that says of the window an hour
lies in. Such a reference moves along, and the bets with it: from window to window they begin anew, which costs no error
rate, as games that are given up win nothing.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
import pandas as pd

from configs.monitoring import MonitoringParams
from configs.project import Project
from tasks.adapters.journal import Journal
from tasks.adapters.profiles import SETTLED, Parallel, Profiles
from tasks.adapters.registry import Registry
from tasks.errors import ArtifactError
from tasks.evaluation.intervals import in_utc
from tasks.monitoring.answers import Answers
from tasks.monitoring.bets import Bets
from tasks.monitoring.errors import ProfileError, ReferenceMissing
from tasks.monitoring.hourly import HOUR, Watch, Watched
from tasks.monitoring.hours import Hour, Sample, together
from tasks.monitoring.profile import Profile
from tasks.monitoring.reference import Reference, read_reference
from tasks.monitoring.season import Stretch, in_words, reference_stretches, windows_of
from tasks.monitoring.wavering import Usual
from tasks.verdicts import Answer, Findings, Monitor, Verdict

log = logging.getLogger(__name__)

STATE = "hourly"
"""Under this name the journal keeps what the watch remembers."""


def watch(project: Project, case_name: str, as_of: datetime, answers: Answers, parallel: Parallel = map) -> Findings:
    """The verdict on all hours so far; an hour counts once, when no more rows can come to it.

    Reads the reference that `refer` left here; a new champion begins a new watch. With an as-of before what was watched
    already, the window up to it is watched by itself, and nothing is remembered. Raises StoreUnreachable, and what the
    log raises.
    """
    champion = Registry(project).holder(case_name, "champion")
    params = project.params(case_name).monitoring
    end = _hour(as_of - SETTLED)
    moment = _Moment(case_name, as_of, end, champion.version if champion else None)
    if champion is None:
        text = f"`{case_name}` has no champion yet, so nothing is there to hold its hours against."
        return moment.said(Answer.waiting, text)
    try:
        reference = read_reference(project, case_name, champion.version)
        journal, nothing = Journal(project), _nothing(params, reference)
        kept = _kept(journal, case_name, nothing)
        goes_back = kept.until is not None and end < kept.until
        before = nothing if goes_back else kept
        start = _start(params, before, end)
        read = partial(Profiles(project, case_name, reference.grid).hours, answers, as_of=as_of, parallel=parallel)
        hours, held = read(start, end), _Held(params, reference, read)
        made: Watch | None = None
        state, rows = before, 0
        for window in windows_of(params.reference, params.window, start, end):
            made = held.against(window)
            if made is None:
                continue
            for begin in [begin for begin in hours if window[0] <= begin < window[1]]:
                profile = together((hours[begin],), reference.grid, reference.version)
                state, rows = made.take(state, begin, profile), rows + profile.rows
    except (ReferenceMissing, ArtifactError, ProfileError) as error:
        return moment.said(Answer.unknown, str(error))
    begun = state.begun or start
    if before.until == end:
        start, rows = before.added_since or start, before.added
    state = state.model_copy(update={"begun": begun, "until": end, "added_since": start, "added": rows})
    if not goes_back:
        journal.keep_state(case_name, STATE, state.model_dump_json())
    if made is None:
        return moment.said(Answer.waiting, held.too_little)
    verdict = made.verdict(case_name, state, as_of, start, rows)
    log.info("watch %s: %d hours, %d rows: %s", case_name, len(hours), rows, verdict.answer)
    return Findings(verdicts=(verdict,))


@dataclass(frozen=True)
class _Held:
    """What hours are held against."""

    params: MonitoringParams
    reference: Reference
    read: Callable[[datetime, datetime], dict[datetime, Hour]]

    def against(self, window: Stretch) -> Watch | None:
        """The bets on the hours of a window; None where too little is there to know what is usual."""
        stretches = reference_stretches(self.params.reference, *window)
        if not stretches:
            return self._watch(self.reference.profile, self._usual_of_accepted(), self.params.hourly.error_rate)
        hours: dict[datetime, Hour] = {}
        for one in stretches:
            hours |= self.read(*one)
        profile = together(hours.values(), self.reference.grid, self.reference.version)
        if profile.rows < self.params.inputs.min_rows:
            return None
        # Within the horizon so many references may each be farther from the truth than they say.
        times = max(timedelta(days=self.params.hourly.horizon_days) / self.params.window, 1.0)
        return self._watch(profile, self._usual_of(hours), self.params.hourly.error_rate / times)

    @property
    def too_little(self) -> str:
        against = in_words(self.params.reference)
        return (
            f"The reference ({against}) holds fewer rows than the {self.params.inputs.min_rows:,} it takes to know "
            "what is usual: these hours were held against nothing."
        )

    def _watch(self, profile: Profile, usual: Usual, error_rate: float) -> Watch:
        hourly = self.params.hourly
        bets = Bets.against(profile, self.reference.grid, hourly.tolerance, error_rate, usual)
        return Watch(bets, hourly, self.params.reference.expected)

    def _usual_of_accepted(self) -> Usual:
        scores = self.reference.scores
        sampled = scores[scores["sampled"].to_numpy(dtype=bool)]
        hours = in_utc(sampled["event_time"]).dt.floor("h")
        return self._usual(self.reference.sample, hours, sampled["batch_id"])

    def _usual_of(self, hours: Mapping[datetime, Hour]) -> Usual:
        samples = [hour.sample for hour in hours.values()]
        drawn = Sample.together(samples, self.reference.grid).at_most(self.params.inputs.sample_rows)
        sizes = [len(sample.below(drawn.limit).hashes) for sample in samples]
        begun = pd.Series(list(hours)).repeat(sizes)
        return self._usual(drawn.rows.to_pandas(), begun, (begun - begun.min()) // self.params.window)

    def _usual(self, rows: pd.DataFrame, *groupings: pd.Series) -> Usual:
        numbered = tuple(pd.factorize(values)[0].astype(np.intp) for values in groupings)
        return Usual(rows, numbered, self.params.hourly.error_rate)


def _kept(journal: Journal, case: str, nothing: Watched) -> Watched:
    """What is remembered of this champion and this reference; nothing if it is of another."""
    told = journal.state(case, STATE)
    kept = Watched.model_validate_json(told) if told else nothing
    return kept if (kept.version, kept.reference) == (nothing.version, nothing.reference) else nothing


def _nothing(params: MonitoringParams, reference: Reference) -> Watched:
    against = f"{reference.grid.digest[:16]} {in_words(params.reference)}"
    return Watched(version=reference.version, reference=against)


def _start(params: MonitoringParams, state: Watched, end: datetime) -> datetime:
    """Where the watch goes on; it begins with one window, and does not catch up on more than its horizon."""
    longest = timedelta(days=params.hourly.horizon_days)
    if state.until is None:
        return end - min(params.window, longest)
    return max(state.until, end - longest)


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


@dataclass(frozen=True)
class _Moment:
    """The last hour, for what is to be said without a look at it."""

    case: str
    as_of: datetime
    end: datetime
    version: str | None

    def said(self, answer: Answer, text: str) -> Findings:
        verdict = Verdict(
            case=self.case, monitor=Monitor.hourly, answer=answer, as_of=self.as_of, start=self.end - HOUR,
            end=self.end, version=self.version, rows=0, text=text,
        )  # fmt: skip
        return Findings(verdicts=(verdict,))
