"""watch: every hour that ended since the last look, held against the champion's reference."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from configs.params import Params
from configs.project import Project
from tasks.adapters.journal import Journal
from tasks.adapters.profiles import SETTLED, Parallel, Profiles
from tasks.adapters.registry import Registry
from tasks.errors import ArtifactError
from tasks.monitoring.answers import Answers
from tasks.monitoring.bets import Bets
from tasks.monitoring.errors import ProfileError, ReferenceMissing
from tasks.monitoring.hourly import HOUR, Watch, Watched
from tasks.monitoring.hours import together
from tasks.monitoring.reference import Reference, read_reference
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
    params = project.params(case_name)
    end = _hour(as_of - SETTLED)
    moment = _Moment(case_name, as_of, end, champion.version if champion else None)
    if champion is None:
        text = f"`{case_name}` has no champion yet, so nothing is there to hold its hours against."
        return moment.said(Answer.waiting, text)
    try:
        reference = read_reference(project, case_name, champion.version)
        made = _watch(params, reference)
        journal = Journal(project)
        kept = _kept(journal, case_name, reference, made)
        goes_back = kept.until is not None and end < kept.until
        before = _nothing(reference, made) if goes_back else kept
        start = _start(params, before, end)
        hours = Profiles(project, case_name, reference.grid).hours(answers, start, end, as_of, parallel)
        state, rows = before, 0
        for begin, hour in hours.items():
            profile = together((hour,), reference.grid, reference.version)
            state, rows = made.take(state, begin, profile), rows + profile.rows
    except (ReferenceMissing, ArtifactError, ProfileError) as error:
        return moment.said(Answer.unknown, str(error))
    state = state.model_copy(update={"begun": state.begun or start, "until": end})
    if not goes_back:
        journal.keep_state(case_name, STATE, state.model_dump_json())
    verdict = made.verdict(case_name, state, as_of, start, rows)
    log.info("watch %s: %d hours, %d rows: %s", case_name, len(hours), rows, verdict.answer)
    return Findings(verdicts=(verdict,))


def _watch(params: Params, reference: Reference) -> Watch:
    hourly = params.monitoring.hourly
    sampled = reference.scores[reference.scores["sampled"].to_numpy(dtype=bool)]
    hours = pd.to_datetime(sampled["event_time"], utc=True).dt.floor("h")
    groupings = tuple(pd.factorize(values)[0].astype(np.intp) for values in (hours, sampled["batch_id"]))
    usual = Usual(reference.sample, groupings, hourly.error_rate)
    bets = Bets.against(reference.profile, reference.grid, hourly.tolerance, hourly.error_rate, usual)
    return Watch(bets, hourly, params.monitoring.reference.expected)


def _kept(journal: Journal, case: str, reference: Reference, made: Watch) -> Watched:
    """What is remembered of this champion and this reference; nothing if it is of another."""
    nothing = _nothing(reference, made)
    told = journal.state(case, STATE)
    kept = Watched.model_validate_json(told) if told else nothing
    return kept if (kept.version, kept.reference) == (nothing.version, nothing.reference) else nothing


def _nothing(reference: Reference, made: Watch) -> Watched:
    return Watched(version=reference.version, reference=f"{reference.grid.digest[:16]} {made.bets.digest}")


def _start(params: Params, state: Watched, end: datetime) -> datetime:
    """Where the watch goes on; it begins with one window, and does not catch up on more than its horizon."""
    longest = timedelta(days=params.monitoring.hourly.horizon_days)
    if state.until is None:
        return end - min(params.monitoring.window, longest)
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
